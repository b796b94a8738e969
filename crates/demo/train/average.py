"""The mean of several `weights.pt` of one network: `python average.py OUT.pt WEIGHTS.pt…`."""

import argparse
from pathlib import Path

import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    args = parser.parse_args()
    parts = [torch.load(path, map_location="cpu", weights_only=False) for path in args.weights]
    torch.save(mean(parts), args.out)


def mean(parts):
    """Of tensors of floats in nested dictionaries; what is no such tensor is that of the first."""
    first = parts[0]
    if isinstance(first, dict):
        return {key: mean([part[key] for part in parts]) for key in first}
    if isinstance(first, torch.Tensor) and first.is_floating_point():
        return (sum(part.float() for part in parts) / len(parts)).to(first.dtype)
    return first


if __name__ == "__main__":
    main()
