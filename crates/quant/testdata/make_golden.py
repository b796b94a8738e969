"""Writes the goldens of this folder: what other programs decode, encode, and lose.

    pip install numpy gguf ik_llama_cpp_python
    python make_golden.py

Files (little-endian):

decode/KIND.bin   u32 number of rows, u32 weights of a row, then of each row its bytes and the
                  f32s they decode to: by the `gguf` package for llama.cpp's types, by the
                  library inside `ik_llama_cpp_python` for ik's, and for IQ6_K by the table
                  below, because ik's scalar decoder evaluates a cubic instead.
decode/IQ6_K_cubic.bin
                  the same rows of IQ6_K as ik's scalar decoder has them.
encode/KIND.bin   the same, of rows given as f32s first, with the bytes they encode to.
rmse.tsv          what ik's encoders lose on the rows that `rows` draws.

Rows of decode/: the deterministic rows of a published table, checked here against the table's
hashes; random bytes with random and with extreme scales; rows that ik has encoded.
"""

import ctypes
import hashlib
import struct
from importlib.metadata import distribution
from pathlib import Path

import gguf
import numpy as np

HERE = Path(__file__).parent

# name: (ggml_type, weights and bytes of a block, offset of the f16 scale, C name)
KINDS = {
    "F32": (0, 1, 4, None, None),
    "F16": (1, 1, 2, None, None),
    "BF16": (30, 1, 2, None, None),
    "Q4_0": (2, 32, 18, 0, "q4_0"),
    "Q8_0": (8, 32, 34, 0, "q8_0"),
    "Q6_K": (14, 256, 210, 208, "q6_K"),
    "IQ3_K": (138, 256, 110, 0, "iq3_k"),
    "IQ4_K": (139, 256, 144, 0, "iq4_k"),
    "IQ6_K": (141, 256, 212, 0, "iq6_k"),
}

# First 32 hex digits of the SHA-256 of the decoded deterministic row, -0 turned into +0.
HASHES = {
    "Q4_0": "3c15e266dbbbd003553825a56bf23626",
    "Q8_0": "c8543c447dfeda673ac4c559f2d7e16e",
    "Q6_K": "a3fdad4bb51bacc63cb6507c11d890fc",
    "IQ3_K": "b632d3e62a20b88ea047b4883aab3aee",
    "IQ4_K": "baaeb46222c776d7d56f89d5a03acd39",
    "IQ6_K": "97f36b15199e31df51d38918163f7ad9",
    "IQ6_K_cubic": "3f744f89a0ca91769f65857230ea8571",
}

IQ6_VALUES = np.array([
    -127, -121, -115, -109, -104, -98, -93, -88, -84, -79, -74, -70, -66, -62, -58, -54,
    -51, -47, -44, -40, -37, -34, -31, -28, -25, -22, -19, -16, -13, -11, -8, -5,
    -2, 0, 3, 6, 9, 12, 14, 17, 20, 23, 27, 30, 33, 36, 40, 44,
    47, 51, 55, 59, 63, 68, 72, 77, 82, 87, 92, 98, 103, 109, 115, 121,
], np.float32)


def load_ik():
    """The ggml library of the installed wheel, with its f16 tables filled."""
    files = distribution("ik_llama_cpp_python").files
    found = {f.name.split("-")[0]: f.locate() for f in files if ".libs/" in str(f)}
    ctypes.CDLL(str(found["libgomp"]), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(found["libggml"]))

    class InitParams(ctypes.Structure):
        _fields_ = [("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]

    library.ggml_init.argtypes = [InitParams]
    library.ggml_init.restype = ctypes.c_void_p
    library.ggml_init(InitParams(1 << 20, None, False))
    return library


IK = load_ik()


def pointer(array):
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


def row_bytes(kind, n):
    _, length, size, _, _ = KINDS[kind]
    return n // length * size


def ik_encode(kind, x, importance=None):
    """Rows x: [n_rows, n] as ik's file quantiser encodes them."""
    out = np.zeros((x.shape[0], row_bytes(kind, x.shape[1])), np.uint8)
    encode = getattr(IK, "quantize_" + KINDS[kind][4])
    encode(pointer(x), pointer(out), ctypes.c_int64(x.shape[0]), ctypes.c_int64(x.shape[1]), pointer(importance))
    return out


def ik_decode(kind, rows, n):
    out = np.zeros((rows.shape[0], n), np.float32)
    rows = np.ascontiguousarray(rows)
    getattr(IK, "dequantize_row_" + KINDS[kind][4])(pointer(rows), pointer(out), ctypes.c_int64(out.size))
    return out


def table_decode_iq6_k(rows, n):
    """IQ6_K weight by weight from the description of the layout."""
    out = np.zeros((rows.shape[0], n), np.float32)
    for r, row in enumerate(rows):
        for start in range(0, n, 256):
            b = row[start // 256 * 212:][:212]
            d = b[:2].view(np.float16)[0].astype(np.float32)
            extra = int(b[2]) | int(b[3]) << 8
            for i in range(256):
                low = b[20 + 32 * (i // 64) + i % 32] >> (4 * (i // 32 % 2)) & 15
                high = b[148 + 32 * (i // 128) + i % 32] >> (2 * (i // 32 % 4)) & 3
                value = IQ6_VALUES[low | high << 4] + np.float32(extra >> (i // 16) & 1)
                scale = np.float32(b[4 + i // 16].view(np.int8))
                out[r, start + i] = np.float32(d * scale) * value
    return out


def decode(kind, rows, n):
    with np.errstate(all="ignore"):
        if kind == "IQ6_K":
            return table_decode_iq6_k(rows, n)
        if kind.startswith("IQ"):
            return ik_decode(kind, rows, n)
        return gguf.quants.dequantize(rows, gguf.GGMLQuantizationType(KINDS[kind][0])).reshape(rows.shape[0], n)


class Lcg:
    """x <- 1664525 x + 1013904223 mod 2^32."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state * 1664525 + 1013904223) & 0xFFFFFFFF
        return self.state

    def gauss(self):
        """Nearly normal: twelve uniforms, exact in f64."""
        return (sum(self.next() >> 8 for _ in range(12)) - 6 * 2**24) / 2**24


def rows(distribution, seed, n_rows, n):
    """Rows and importances; the tests draw the same numbers."""
    lcg = Lcg(seed)
    x = np.zeros((n_rows, n), np.float32)
    for r in range(n_rows):
        for i in range(n):
            g = lcg.gauss()
            if distribution == "product":  # of two gaussians: tails as of a Laplace law
                g *= lcg.gauss()
            elif distribution == "outliers":  # one in 256 is sixteen times as large
                g *= 16.0 if lcg.next() >> 24 == 0 else 1.0
            x[r, i] = np.float32(0.25 * g)
    importance = np.array([0.05 + lcg.gauss() ** 2 for _ in range(n)], np.float64).astype(np.float32)
    return x, importance


def deterministic_row(kind):
    seed, length, size, offset, _ = KINDS[kind]
    lcg = Lcg(seed)
    row = np.array([lcg.next() >> 24 for _ in range(row_bytes(kind, 512))], np.uint8)
    for k in range(512 // length if offset is not None else 0):
        row[k * size + offset:][:2] = list(struct.pack("<H", 0x2C00 + k))
    return row


def check_hash(name, values):
    digest = hashlib.sha256((values + np.float32(0)).astype("<f4").tobytes()).hexdigest()
    assert digest.startswith(HASHES[name]), name


def decode_rows(kind):
    """[n_rows, bytes of 512 weights]."""
    _, length, size, offset, encoder = KINDS[kind]
    random = np.random.default_rng(KINDS[kind][0])
    found = [deterministic_row(kind)]
    found += list(random.integers(0, 256, (3, row_bytes(kind, 512)), np.uint8))
    if offset is not None:
        extremes = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01]
        for first in range(0, len(extremes), 5):
            row = random.integers(0, 256, row_bytes(kind, 512), np.uint8)
            for k in range(512 // length):
                scale = extremes[(first + k) % len(extremes)]
                row[k * size + offset:][:2] = list(struct.pack("<H", scale))
            found.append(row)
        found += list(ik_encode(kind, rows("product", 77, 2, 512)[0]))
    return np.stack(found)


def write_pairs(path, n, pairs):
    path.parent.mkdir(exist_ok=True)
    packed = b"".join(a.tobytes() + b.tobytes() for a, b in pairs)
    path.write_bytes(struct.pack("<II", len(pairs), n) + packed)


def write_decode_goldens():
    for kind in KINDS:
        encoded = decode_rows(kind)
        values = decode(kind, encoded, 512)
        if kind in HASHES:
            check_hash(kind, values[0])
        write_pairs(HERE / f"decode/{kind}.bin", 512, list(zip(encoded, values)))
    cubic = ik_decode("IQ6_K", encoded, 512)
    check_hash("IQ6_K_cubic", cubic[0])
    write_pairs(HERE / "decode/IQ6_K_cubic.bin", 512, list(zip(encoded, cubic)))


def write_encode_goldens():
    """Of the types that round plainly, and for which all encoders agree."""
    random = np.random.default_rng(1)
    any_bits = random.integers(0, 2**32, 512, np.uint32)
    # f32s in and around the range of f16: ties, subnormals, overflow.
    halves = random.integers(0, 2**16, 512).astype(np.uint16).view(np.float16).astype(np.float32)
    ties = halves.view(np.uint32) + random.choice([0, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000], 512).astype(np.uint32)
    small = (random.standard_normal(512) * 2.0**-22).astype(np.float32)
    floats = np.stack([any_bits.view(np.float32), ties.view(np.float32), small])
    blocks = np.concatenate([rows(d, 5, 1, 512)[0] for d in ("gaussian", "product", "outliers")])
    blocks[0, :64] = 0
    blocks[1, 32:64] = np.round(blocks[1, 32:64] * 8) / 16  # ties
    blocks[2, 64:96] *= 1e-7  # scales that are subnormal as f16
    for kind, x in [("F16", floats), ("BF16", floats), ("Q4_0", blocks), ("Q8_0", blocks)]:
        with np.errstate(all="ignore"):
            encoded = gguf.quants.quantize(x, gguf.GGMLQuantizationType(KINDS[kind][0])).view(np.uint8)
        if kind.startswith("Q"):
            assert (encoded == ik_encode(kind, x)).all(), kind
        write_pairs(HERE / f"encode/{kind}.bin", 512, list(zip(x, encoded)))


def relative_rmse(y, x, weight):
    square = lambda e: (e.astype(np.float64) ** 2 * weight).sum()
    return (square(y.astype(np.float64) - x) / square(x)) ** 0.5


def write_rmse():
    lines = ["kind\tdistribution\timatrix\tplain\tweighted"]
    for distribution in ("gaussian", "product", "outliers"):
        x, importance = rows(distribution, 2026, 8, 2048)
        for kind in ("Q4_0", "Q8_0", "Q6_K", "IQ3_K", "IQ4_K"):
            for name, given in (("none", None), ("given", importance)):
                y = decode(kind, ik_encode(kind, x, given), 2048)
                plain, weighted = relative_rmse(y, x, 1.0), relative_rmse(y, x, importance.astype(np.float64))
                lines.append(f"{kind}\t{distribution}\t{name}\t{plain:.7f}\t{weighted:.7f}")
    (HERE / "rmse.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write_decode_goldens()
    write_encode_goldens()
    write_rmse()
