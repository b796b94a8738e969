"""How evenly the experts of each layer are used: `python expert_load.py weights.pt DATA_DIR`.

Prints a Markdown table, a row for each layer: the share of each expert in the selections of some
documents, in percent, and how far the layer's most used one is above an even share.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import model as network


@torch.no_grad()
def shares(net, folder, documents):
    """Layer -> share of each expert, over the first documents of the folder."""
    ids, starts = np.load(folder / "ids.npy"), np.load(folder / "starts.npy")
    w, totals = net.compute_weights(torch.float32, grad=False), {}
    for start, end in zip(starts[:documents], starts[1 : documents + 1]):
        loads = {}
        document = torch.from_numpy(ids[start:end].astype(np.int64))
        net.hidden(w, [document[None]], dtype=torch.float32, loads=loads)
        for layer, load in loads.items():
            totals[layer] = totals.get(layer, 0) + load
    return {layer: (total / total.sum()).tolist() for layer, total in sorted(totals.items())}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--documents", type=int, default=300)
    args = parser.parse_args()
    net = network.load(args.checkpoint)
    n = net.cfg.experts
    print("| Layer | " + " | ".join(str(e) for e in range(n)) + " | Most over even |")
    print("|---:" * (n + 2) + "|")
    for layer, share in shares(net, args.data, args.documents).items():
        print(f"| {layer} | " + " | ".join(f"{100 * s:.1f}" for s in share) + f" | {max(share) * n:.2f} |")


if __name__ == "__main__":
    main()
