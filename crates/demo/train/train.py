"""Trains the network on tokenised documents, on the CPU.

    python train.py DATA_DIR --run RUN_DIR --vocab vocabulary.json --minutes 20
    python train.py NEXT_DIR --run RUN_DIR --resume --minutes 30 --decay 0.4

DATA_DIR holds ids.npy (uint16), loss.npy (uint8: a token's weight as a target, in hundredths) and
starts.npy (first token of every document). Matrices are updated by Muon (orthogonalised momentum),
embedding, head, router and norms by Adam. Experts are balanced by their selection bias alone: it
moves by a fixed step against the sign of each expert's excess of load.

To end, `export.py --freeze` encodes the routed experts and `--resume --frozen encoded.npz` trains the
other tensors around what encoding made of them.

RUN_DIR receives train.log, state.pt (to resume) and weights.pt (bf16). SIGTERM saves and stops.
"""

import argparse
import ctypes
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import model as network


def keep_freed_memory():
    """Tells glibc to reuse large blocks: mapping them anew each time costs page faults."""
    libc = ctypes.CDLL(None)
    libc.mallopt(-4, 0)  # M_MMAP_MAX: none
    libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


class Documents:
    """Batches of documents drawn at random, without end."""

    def __init__(self, folder, batch_tokens, longest, seed, plain_weight=1.0):
        self.plain_weight = plain_weight
        self.ids, self.loss = np.load(f"{folder}/ids.npy"), np.load(f"{folder}/loss.npy")
        starts = np.load(f"{folder}/starts.npy").astype(np.int64)
        ends = np.append(starts[1:], len(self.ids))
        keep = (ends - starts > 1) & (ends - starts <= longest)
        self.spans = np.stack((starts, ends), 1)[keep]
        self.batch_tokens, self.random = batch_tokens, np.random.default_rng(seed)

    def batches(self):
        """(ids, targets, weights f32) of every batch of one shuffled pass after the other, each a
        list of [B, L]: the batch's documents grouped by length, which is padded with weight 0."""
        groups, total = {}, 0
        while True:
            for k in self.random.permutation(len(self.spans)):
                length = padded(self.spans[k])
                if total and total + length > self.batch_tokens:
                    yield tuple(zip(*(self.pack(n, groups[n]) for n in sorted(groups))))
                    groups, total = {}, 0
                groups.setdefault(length, []).append(self.spans[k])
                total += length

    def pack(self, length, spans):
        ids, targets = (np.zeros((len(spans), length), np.int64) for _ in range(2))
        weights = np.zeros((len(spans), length), np.float32)
        for row, (start, end) in enumerate(spans):
            n = end - start - 1
            ids[row, :n], targets[row, :n] = self.ids[start : end - 1], self.ids[start + 1 : end]
            weights[row, :n] = self.loss[start + 1 : end] / 100
            if weights[row, : n - 1].min() == 1:
                weights[row] *= self.plain_weight
        return tuple(map(torch.from_numpy, (ids, targets, weights)))


def padded(span):
    """Inputs of a document, in whole steps of 32."""
    return -(-(int(span[1]) - int(span[0]) - 1) // 32) * 32


def orthogonalise(g, steps=4):
    """The nearest orthogonal matrices to g [n, rows, cols], roughly, by a quintic Newton-Schulz
    iteration in bf16."""
    x = g.bfloat16()
    wide = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2).contiguous() if wide else x
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    for _ in range(steps):
        a = torch.bmm(x, x.transpose(1, 2))
        b = torch.baddbmm(a, a, a, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, b, x, beta=3.4445)
    return (x.transpose(1, 2) if wide else x).float()


class Optimizer:
    """Muon for matrices, Adam for everything else."""

    def __init__(self, weights, args, frozen=()):
        self.weights, self.args, self.frozen = weights, args, frozenset(frozen)
        self.adam = [k for k in weights if network.is_f32(k) and not k.endswith(".bias")]
        self.adam += ["token_embd.weight", "output.weight"]
        rest = [k for k in weights if k not in {*self.adam, *frozen} and not k.endswith(".bias")]
        self.groups = {}
        for name in rest:
            self.groups.setdefault(tuple(weights[name].shape[-2:]), []).append(name)
        self.first = {k: torch.zeros_like(weights[k]) for k in self.adam + rest}
        self.second = {k: torch.zeros_like(weights[k]) for k in self.adam}
        self.count = 0

    def step(self, grads, factor):
        """Clips by the global norm and updates the masters; returns the norm."""
        norm = torch.stack([g.float().norm() for g in grads.values()]).norm()
        clip = min(1.0, self.args.clip / (float(norm) + 1e-6))
        self.count += 1
        for name in self.adam:
            self.adam_step(name, grads[name].float() * clip, factor)
        for shape, names in self.groups.items():
            self.muon_step(shape, names, grads, factor)
        return float(norm)

    def adam_step(self, name, grad, factor):
        b1, b2 = 0.9, 0.95
        first = self.first[name].mul_(b1).add_(grad, alpha=1 - b1)
        second = self.second[name].mul_(b2).addcmul_(grad, grad, value=1 - b2)
        lr = self.args.adam_lr * factor * (0.3 if "norm" in name or "gate_inp" in name else 1.0)
        scale = (second / (1 - b2**self.count)).sqrt_().add_(1e-10)
        self.weights[name].addcdiv_(first, scale, value=-lr / (1 - b1**self.count))

    def muon_step(self, shape, names, grads, factor):
        momentum, updates = self.args.momentum, []
        for name in names:
            grad = grads[name].float()
            moving = self.first[name].mul_(momentum).add_(grad, alpha=1 - momentum)
            updates.append(torch.lerp(grad, moving, momentum).view(-1, *shape))
        lr = self.args.lr * factor
        update = orthogonalise(torch.cat(updates)) * max(1.0, shape[0] / shape[1]) ** 0.5
        sizes = [u.shape[0] for u in updates]
        for name, part in zip(names, update.split(sizes)):
            weight = self.weights[name]
            weight.mul_(1 - lr * self.args.weight_decay).sub_(part.reshape(weight.shape), alpha=lr)

    def state(self):
        return {"first": self.first, "second": self.second, "count": self.count}

    def restore(self, state):
        # Tensors frozen before start anew, without momentum.
        self.first.update({k: v for k, v in state["first"].items() if k in self.first})
        self.second, self.count = state["second"], state["count"]


def train_step(net, optimizer, batch, factor, bias_step):
    """One update; returns the counts that the log adds up."""
    ids, targets, weights = batch
    flat = torch.cat([t.flatten() for t in weights])
    rows = flat.nonzero()[:, 0]
    w, loads = net.compute_weights(frozen=optimizer.frozen), {}
    h = net.hidden(w, ids, rows, loads)
    logits = F.linear(h, w["output.weight"]).float()
    target = torch.cat([t.flatten() for t in targets])[rows]
    weight = flat[rows]
    each = F.cross_entropy(logits, target, reduction="none")
    ((each * weight).sum() / weight.sum()).backward()
    grads = {k: v.grad for k, v in w.items() if v.requires_grad}
    norm = optimizer.step(grads, factor)
    for n, load in loads.items():
        excess = load.float() - load.float().mean()
        net.weights[f"blk.{n}.exp_probs_b.bias"] -= bias_step * excess.sign()
    full = weight >= 1
    right = (logits.detach().argmax(-1) == target) & full
    seen = torch.cat([seen_before(*pair).flatten() for pair in zip(ids, targets)])[rows] & full
    share = torch.stack([load / load.sum() for load in loads.values()])
    return {
        "loss": float((each.detach() * weight).sum()),
        "weight": float(weight.sum()),
        "answer": float(each.detach()[full].sum()),
        "full": float(full.sum()),
        "right": float(right.sum()),
        "copies": float(seen.sum()),
        "copied": float((right & seen).sum()),
        "norm": norm,
        "steps": 1.0,
        "tokens": float(len(flat)),
        "most": float(share.max(1).values.mean()) * share.shape[1],
        "least": float(share.min(1).values.mean()) * share.shape[1],
    }


def seen_before(ids, targets):
    """[B, L] bool: the target has occurred in its document at or before this place."""
    position = torch.arange(ids.shape[1])
    vocab = int(max(ids.max(), targets.max())) + 1
    first = torch.full((ids.shape[0], vocab), ids.shape[1], dtype=torch.long)
    first.scatter_reduce_(1, ids, position.expand_as(ids), "amin")
    return first.gather(1, targets) <= position


def schedule(done, count, args):
    """Warm-up by steps, then level, then a straight fall over the last `decay` of the run, of which
    `done` is behind."""
    left = max(0.0, 1 - done)
    fall = min(1.0, left / args.decay) if args.decay > 0 else 1.0
    return min(1.0, (count + 1) / args.warmup) * max(fall, 0.02)


def store(net, optimizer, run, progress):
    """Both files appear whole or not at all."""
    state = {"config": network.asdict(net.cfg), "weights": net.weights, "optimizer": optimizer.state(), **progress}
    torch.save(state, run / "state.tmp")
    os.replace(run / "state.tmp", run / "state.pt")
    network.save(run / "weights.tmp", net)
    os.replace(run / "weights.tmp", run / "weights.pt")


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--vocab", type=Path, help="vocabulary.json; needed for a fresh start")
    parser.add_argument("--weights", type=Path, help="start from these instead of fresh ones")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--frozen", type=Path, help="encoded.npz of export.py: these tensors stay as they are there")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--steps", type=int, help="end after so many instead: the same run again gives the same weights")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--longest", type=int, default=2048, help="longer documents are left out")
    parser.add_argument("--plain-weight", type=float, default=1.0, help="of documents that are targets throughout")
    parser.add_argument("--lr", type=float, default=0.02, help="of Muon")
    parser.add_argument("--adam-lr", type=float, default=4e-3)
    parser.add_argument("--momentum", type=float, default=0.95)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--warmup", type=int, default=30, help="steps")
    parser.add_argument("--decay", type=float, default=0.0, help="last share of the time")
    parser.add_argument("--bias-step", type=float, default=0.003)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--expert-width", type=int, default=256)
    parser.add_argument("--log-every", type=int, default=10)
    parser.add_argument("--save-minutes", type=float, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-compile", action="store_true")
    return parser.parse_args()


def start(args):
    """(model, optimizer, progress), fresh or from the run's state."""
    if args.resume:
        state = torch.load(args.run / "state.pt", weights_only=True)
        net = network.Model(network.Config(**state["config"]), state["weights"])
        frozen = dict(np.load(args.frozen)) if args.frozen else {}
        frozen = {k: torch.from_numpy(v) for k, v in frozen.items() if k in net.weights}
        net.weights.update(frozen)
        optimizer = Optimizer(net.weights, args, frozen)
        optimizer.restore(state["optimizer"])
        return net, optimizer, {"step": state["step"], "tokens": state["tokens"]}
    vocab = len(json.loads(args.vocab.read_text())["tokens"])
    cfg = network.Config(vocab=vocab, layers=args.layers, expert_width=args.expert_width)
    net = network.load(args.weights) if args.weights else network.Model(cfg, network.initial(cfg, args.seed))
    return net, Optimizer(net.weights, args), {"step": 0, "tokens": 0}


def main():
    args = arguments()
    keep_freed_memory()
    torch.set_num_threads(args.threads)
    if not args.no_compile:
        network.use_compiler()
    args.run.mkdir(parents=True, exist_ok=True)
    net, optimizer, progress = start(args)
    log = open(args.run / "train.log", "a", buffering=1)
    log.write(f"# {args.data} {vars(args)}\n# {net.cfg}\n")
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    documents = Documents(args.data, args.batch_tokens, args.longest, args.seed + progress["step"], args.plain_weight)
    began = saved = marked = time.monotonic()
    total, warm = {}, 0
    for batch in documents.batches():
        now = time.monotonic()
        behind, all_of_it = (warm, args.steps) if args.steps else (now - began, 60 * args.minutes)
        if stop or behind >= all_of_it:
            break
        counts = train_step(net, optimizer, batch, schedule(behind / all_of_it, warm, args), args.bias_step)
        total = {k: total.get(k, 0.0) + v for k, v in counts.items()}
        progress["step"] += 1
        progress["tokens"] += int(counts["tokens"])
        warm += 1
        if progress["step"] % args.log_every == 0:
            now = time.monotonic()
            log.write(line(progress, total, now - marked) + "\n")
            total, marked = {}, now
        if now - saved > 60 * args.save_minutes:
            store(net, optimizer, args.run, progress)
            saved = time.monotonic()
    store(net, optimizer, args.run, progress)
    log.write(f"# stopped at step {progress['step']}, {progress['tokens']} tokens\n")


def line(progress, total, seconds):
    """Losses and shares since the last line; `answers`, `right` and so on are of targets of full
    weight, split into those that occur earlier in their document (`copied`) and the others."""
    share = lambda a, b: total[a] / max(total[b], 1e-9)
    unseen = (total["right"] - total["copied"]) / max(total["full"] - total["copies"], 1e-9)
    return (
        f"step {progress['step']} tokens {progress['tokens'] / 1e6:.2f}M loss {share('loss', 'weight'):.4f} "
        f"answers {share('answer', 'full'):.4f} right {share('right', 'full'):.4f} "
        f"copied {share('copied', 'copies'):.4f} unseen {unseen:.4f} answers/tokens {share('full', 'tokens'):.2f} "
        f"norm {share('norm', 'steps'):.2f} load {share('least', 'steps'):.2f}-{share('most', 'steps'):.2f} "
        f"tok/s {total['tokens'] / seconds:.0f} {time.strftime('%H:%M:%S')}"
    )


if __name__ == "__main__":
    main()
