"""Recipes of published files, encoded by ik_llama.cpp's own quantiser.

Each recipe is made of the F32 model: every matrix encoded by the functions of the library
inside `ik_llama_cpp_python`, and once more decoded by them into an F32 twin. On the encoded
file our logits must be those of the twin, bit for bit: all decoding in the program is exact.
And they must be near ik_llama.cpp's, which rounds activations to 8 bits and so differs.
"""

import importlib.util
import re
import struct
from pathlib import Path

import gguf
import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
ALIGNMENT = 32
F32 = 0

EXPERTS = r"ffn_(gate|up|down)_exps"
SMOL = [(r"token_embd", "IQ4_K"), (r"^output\.weight", "IQ6_K"), (r".", "Q8_0")]

# name: rules (the first that matches wins), bound on the mean KL to ik_llama.cpp. Layer 0 is
# dense, layers 1 and 2 have experts.
RECIPES = {
    "Q4_X": ([(EXPERTS, "Q4_X"), (r".", "Q8_0")], 1e-3),
    "IQ3_K": ([(r"ffn_(gate|up)_exps", "IQ3_K"), (r"ffn_down_exps", "Q4_0"), (r".", "Q8_0")], 1e-3),
    "smol-IQ3_KS": ([(EXPERTS, "IQ3_KS"), *SMOL], 2e-3),
    "smol-IQ2_KL": ([(EXPERTS, "IQ2_KL"), *SMOL], 2e-3),
    "smol-IQ2_KS": ([(EXPERTS, "IQ2_KS"), *SMOL], 2e-3),
    "smol-IQ1_KT": ([(EXPERTS, "IQ1_KT"), *SMOL], 2e-3),
    "UD-IQ1": (
        [
            (r"blk\.1\.ffn_(gate|up)_exps", "IQ1_S"),
            (r"blk\.2\.ffn_(gate|up)_exps", "IQ1_M"),
            (r"blk\.1\.ffn_down_exps", "IQ3_XXS"),
            (r"blk\.2\.ffn_down_exps", "IQ2_S"),
            (r"shexp", "Q5_K"),
            (r"attn_(q_b|output)", "Q6_K"),
            (r"token_embd", "Q4_K"),
            (r"^output\.weight", "Q6_K"),
            (r".", "Q8_0"),
        ],
        2e-3,
    ),
    "UD-Q2": (
        [
            (r"blk\.1\.ffn_(gate|up)_exps", "IQ2_XXS"),
            (r"blk\.2\.ffn_(gate|up)_exps", "Q2_K"),
            (r"blk\.1\.ffn_down_exps", "Q3_K"),
            (r"blk\.2\.ffn_down_exps", "IQ4_XS"),
            (r"shexp", "Q4_K"),
            (r"attn_(q_b|output)", "Q5_K"),
            (r"blk\.0\.ffn", "IQ4_NL"),
            (r"token_embd", "Q4_K"),
            (r"^output\.weight", "Q6_K"),
            (r".", "Q8_0"),
        ],
        4e-3,
    ),
    "mixed": (
        [
            (r"blk\.1\.ffn_gate_exps", "IQ4_KS"),
            (r"blk\.1\.ffn_up_exps", "IQ4_KSS"),
            (r"blk\.1\.ffn_down_exps", "IQ5_KS"),
            (r"blk\.2\.ffn_gate_exps", "IQ2_K"),
            (r"blk\.2\.ffn_up_exps", "IQ3_S"),
            (r"blk\.2\.ffn_down_exps", "IQ5_K"),
            (r"ffn_gate_shexp", "IQ2_XS"),
            (r"ffn_up_shexp", "IQ2_KT"),
            (r"ffn_down_shexp", "IQ3_KT"),
            (r"attn_q_b", "IQ4_KT"),
            (r"attn_output", "MXFP4"),
            (r"attn_k_b", "Q6_0"),
            (r"attn_kv_a", "Q5_1"),
            (r"blk\.0\.ffn", "Q4_1"),
            (r"attn_q_a", "Q5_0"),
            (r".", "Q8_0"),
        ],
        4e-3,
    ),
}


def load_quant():
    """The functions that also make the goldens of crates/quant."""
    path = ROOT / "crates/quant/testdata/make_golden.py"
    spec = importlib.util.spec_from_file_location("make_golden", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_models(source: Path, folder: Path) -> list[tuple[str, Path, Path, float]]:
    """(name, encoded file, its F32 twin, bound) of every recipe."""
    quant = load_quant()
    reader = gguf.GGUFReader(source)
    first = min(tensor.field.offset for tensor in reader.tensors)
    head = np.fromfile(source, np.uint8, first).tobytes()
    made = []
    for name, (rules, bound) in RECIPES.items():
        encoded, twin = [], []
        for tensor in reader.tensors:
            shape = [int(n) for n in tensor.shape]
            x = np.array(tensor.data, np.float32).reshape(-1, shape[0])
            kind = kind_of(rules, tensor.name, shape)
            if kind is None:
                parts = (F32, x.tobytes())
                encoded.append((tensor.name, shape, *parts))
                twin.append((tensor.name, shape, *parts))
                continue
            rows = encode(quant, kind, x)
            kind = "Q4_0" if kind == "Q4_X" else kind
            values = quant.decode(kind, rows, shape[0])
            encoded.append((tensor.name, shape, quant.KINDS[kind][0], rows.tobytes()))
            twin.append((tensor.name, shape, F32, values.tobytes()))
        paths = [folder / f"recipe-{name}{suffix}.gguf" for suffix in ("", ".decoded")]
        for path, tensors in zip(paths, (encoded, twin)):
            write_file(path, head, tensors)
        made.append((name, *paths, bound))
    return made


def kind_of(rules: list, name: str, shape: list) -> str | None:
    """The type of a tensor; vectors, norms and the router stay F32."""
    if len(shape) < 2 or "norm" in name or "ffn_gate_inp" in name:
        return None
    return next(kind for rule, kind in rules if re.search(rule, name))


def encode(quant, kind: str, x: np.ndarray) -> np.ndarray:
    if kind == "Q4_X":
        return symmetric_q4_0(x)
    importance = None
    if kind in quant.NEEDS_IMPORTANCE:
        importance = np.random.default_rng(7).uniform(0.5, 2.0, x.shape[1]).astype(np.float32)
    return quant.ik_encode(kind, np.ascontiguousarray(x), importance)


def symmetric_q4_0(x: np.ndarray) -> np.ndarray:
    """Q4_0 with d = max|x|/7, as ik's --symmetric-q40 makes it: its switch is not exported."""
    blocks = x.reshape(-1, 32)
    d = np.abs(blocks).max(1) / np.float32(7)
    inverse = np.divide(np.float32(1), d, out=np.zeros_like(d), where=d > 0)
    codes = np.minimum((blocks * inverse[:, None] + np.float32(8.5)).astype(np.uint8), 15)
    packed = codes[:, :16] | codes[:, 16:] << 4
    scales = d.astype("<f2").view(np.uint8).reshape(-1, 2)
    return np.concatenate([scales, packed], 1).reshape(x.shape[0], -1)


def write_file(path: Path, head: bytes, tensors: list) -> None:
    """The source's metadata with other tensors."""
    infos, offset = b"", 0
    for name, shape, kind, data in tensors:
        infos += struct.pack("<Q", len(name)) + name.encode()
        infos += struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        infos += struct.pack("<IQ", kind, offset)
        offset += -(-len(data) // ALIGNMENT) * ALIGNMENT
    with path.open("wb") as file:
        file.write(head + infos)
        file.write(bytes(-file.tell() % ALIGNMENT))
        for _, _, _, data in tensors:
            file.write(data + bytes(-len(data) % ALIGNMENT))
