"""The routed experts of one layer in kt-kernel, alone.

usage as a program: kt_kernel_moe.py FOLDER CLASS EXPERTS THREADS REPETITIONS

kt-kernel computes experts only, for another engine around it: no speed of a model can be
measured. Its extension is loaded without the torch package around it. Weights are 4-bit
integers in groups of 32 with bf16 scales, as the published checkpoint has them; every
expert is packed from the same random source, of which the engine keeps a copy each.
Prints a JSON list with one object per batch size.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

PACKAGE = "kt-kernel==0.7.2"
# What kt-kernel itself chooses for such weights on every processor with AVX-512.
CLASSES = ["AMXInt4_KGroup_MOE"]
HIDDEN, WIDTH, USED, GROUP = 7168, 2048, 8, 32
BATCHES = [1, 8, 64, 512]
WEIGHTS = "int4, groups of 32"
# From the most to the least capable build that the package brings.
VARIANTS = [
    ("amx", {"amx_tile", "amx_int8", "amx_bf16"}),
    ("avx512_bf16", {"avx512f", "avx512bw", "avx512_vnni", "avx512vbmi", "avx512_bf16"}),
    ("avx512_vbmi", {"avx512f", "avx512bw", "avx512_vnni", "avx512vbmi"}),
    ("avx512_vnni", {"avx512f", "avx512bw", "avx512_vnni"}),
    ("avx512_base", {"avx512f", "avx512bw"}),
    ("avx2", {"avx2"}),
]


def measure(args: argparse.Namespace, machine) -> None:
    """Measures every class in its own process and appends to moe.jsonl."""
    folder = args.work / "kt-kernel"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", "--target", str(folder), PACKAGE], check=True)
    for name in CLASSES:
        command = [sys.executable, __file__, folder, name, args.kt_experts, args.threads, args.repetitions]
        status, printed, rows, disturbance = 0, "", [], ""
        words = [str(word) for word in command]
        for _ in range(args.retries + 1):
            [player], conditions = machine.run([words], [args.work / "errors-kt.log"])
            status, printed = player.status, player.printed
            disturbance = machine.disturbance(conditions, args.most_foreign, 1)
            if status != 0 or not disturbance:
                break
        if status == 0:
            rows = [row | {"disturbance": disturbance} for row in json.loads(printed.splitlines()[-1])]
        else:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            rows = [{"class": name, "weights": WEIGHTS, "error": f"it ended with {how}"}]
        with (args.work / "moe.jsonl").open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        print(f"kt-kernel {name}: {rows}", flush=True)


def load_extension(folder: Path):
    """The build for this processor, loaded by its path."""
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    has = set(flags.split())
    variant = next(name for name, needed in VARIANTS if needed <= has)
    found = next((folder / "kt_kernel").glob(f"_kt_kernel_ext_{variant}.*.so"))
    spec = importlib.util.spec_from_file_location("kt_kernel_ext", found)
    extension = importlib.util.module_from_spec(spec)
    # Its submodules are registered by this name.
    sys.modules["kt_kernel_ext"] = extension
    spec.loader.exec_module(extension)
    return extension


def bf16(values: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


class Layer:
    """One layer of experts and everything that it points to."""

    def __init__(self, kt, name: str, n_experts: int, threads: int) -> None:
        self.random = np.random.default_rng(1)
        self.n_experts = n_experts
        workers = kt.WorkerPoolConfig()
        workers.subpool_count = 1
        workers.subpool_numa_map = [0]
        workers.subpool_thread_count = [threads]
        self.cpu = kt.CPUInfer(workers)
        self.on_gpu = np.zeros(n_experts, np.bool_)
        self.places = np.arange(n_experts, dtype=np.int64)
        config = kt.moe.MOEConfig(n_experts, USED, HIDDEN, WIDTH, self.on_gpu.ctypes.data)
        config.layer_idx = 0
        config.pool = self.cpu.backend_
        config.max_len = max(BATCHES)
        config.quant_config.bits = 4
        config.quant_config.group_size = GROUP
        config.quant_config.zero_point = False
        self.sources = {}
        for part, (rows, columns) in {
            "gate": (WIDTH, HIDDEN),
            "up": (WIDTH, HIDDEN),
            "down": (HIDDEN, WIDTH),
        }.items():
            codes = self.random.integers(0, 256, (rows, columns // 2), np.uint8)
            scales = bf16(np.full((rows, columns // GROUP), 2e-3))
            self.sources[part] = (codes, scales)
            setattr(config, f"{part}_projs", [[codes.ctypes.data] * n_experts])
            setattr(config, f"{part}_scales", [[scales.ctypes.data] * n_experts])
        self.experts = getattr(kt.moe, name)(config)
        self.cpu.submit(self.experts.load_weights_task(self.places.ctypes.data))
        self.cpu.sync()

    def seconds(self, n_tokens: int, repetitions: int) -> list[float]:
        """Of each repetition, after one that is not counted; new routes every time."""
        inputs = bf16(self.random.standard_normal((n_tokens, HIDDEN)))
        outputs = np.zeros((n_tokens, HIDDEN), np.uint16)
        weights = np.full((n_tokens, USED), 1 / USED, np.float32)
        count = np.array([n_tokens], np.int32)
        elapsed = []
        for _ in range(repetitions + 1):
            order = np.argsort(self.random.random((n_tokens, self.n_experts)), axis=1)
            routes = np.ascontiguousarray(order[:, :USED], np.int64)
            started = time.perf_counter()
            task = self.experts.forward_task(
                count.ctypes.data,
                USED,
                routes.ctypes.data,
                weights.ctypes.data,
                inputs.ctypes.data,
                outputs.ctypes.data,
                False,
            )
            self.cpu.submit(task)
            self.cpu.sync()
            elapsed.append(time.perf_counter() - started)
        values = (outputs.astype(np.uint32) << 16).view(np.float32)
        if not np.isfinite(values).all() or not values.any():
            sys.exit("the outputs are not numbers, or nothing")
        return elapsed[1:]


def main(folder: Path, name: str, n_experts: int, threads: int, repetitions: int) -> None:
    layer = Layer(load_extension(folder), name, n_experts, threads)
    rows = []
    for n_tokens in BATCHES:
        # A step of one token takes milliseconds: more of them for the same certainty.
        elapsed = layer.seconds(n_tokens, repetitions * max(1, 64 // n_tokens))
        rows.append(
            {
                "class": name,
                "weights": WEIGHTS,
                "experts": n_experts,
                "tokens": n_tokens,
                "ms": median(elapsed) * 1e3,
                "rate": n_tokens / median(elapsed),
                "spread": [n_tokens / max(elapsed), n_tokens / min(elapsed)],
            }
        )
    print(json.dumps(rows), flush=True)
    # Its threads outlive the interpreter's clean end.
    os._exit(0)


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
