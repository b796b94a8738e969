"""Writes the goldens of this folder: what other programs decode, encode, and lose.

    pip install numpy gguf libgguf ik_llama_cpp_python
    python make_golden.py

Files (little-endian):

decode/KIND.bin   u32 number of rows, u32 weights of a row, then of each row its bytes and the
                  f32s they decode to: by the `gguf` package for llama.cpp's types, with which
                  `libgguf` must agree, by the library inside `ik_llama_cpp_python` for
                  ik's, and for IQ6_K by the table below, because ik's scalar decoder
                  evaluates a cubic instead.
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
# An offset of None: no f16 scale in the block.
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
    "Q4_1": (3, 32, 20, 0, "q4_1"),
    "Q5_0": (6, 32, 22, 0, "q5_0"),
    "Q5_1": (7, 32, 24, 0, "q5_1"),
    "Q6_0": (133, 32, 26, 0, "q6_0"),
    "Q2_K": (10, 256, 84, 80, "q2_K"),
    "Q3_K": (11, 256, 110, 108, "q3_K"),
    "Q4_K": (12, 256, 144, 0, "q4_K"),
    "Q5_K": (13, 256, 176, 0, "q5_K"),
    "IQ4_NL": (20, 32, 18, 0, "iq4_nl"),
    "IQ4_XS": (23, 256, 136, 0, "iq4_xs"),
    "IQ2_XXS": (16, 256, 66, 0, "iq2_xxs"),
    "IQ2_XS": (17, 256, 74, 0, "iq2_xs"),
    "IQ2_S": (22, 256, 82, 0, "iq2_s"),
    "IQ3_XXS": (18, 256, 98, 0, "iq3_xxs"),
    "IQ3_S": (21, 256, 110, 0, "iq3_s"),
    "IQ1_S": (19, 256, 50, 0, "iq1_s"),
    "IQ1_M": (29, 256, 56, None, "iq1_m"),
    "TQ1_0": (34, 256, 54, 52, None),
    "TQ2_0": (35, 256, 66, 64, None),
    "MXFP4": (39, 32, 17, None, "mxfp4"),
    "NVFP4": (40, 64, 36, None, None),
    "IQ2_K": (137, 256, 76, 0, "iq2_k"),
    "IQ5_K": (140, 256, 176, 0, "iq5_k"),
    "IQ2_KS": (145, 256, 70, None, "iq2_ks"),
    "IQ2_KL": (157, 256, 86, None, "iq2_kl"),
    "IQ3_KS": (156, 256, 102, None, "iq3_ks"),
    "IQ4_KS": (144, 256, 136, None, "iq4_ks"),
    "IQ4_KSS": (146, 256, 128, None, "iq4_kss"),
    "IQ5_KS": (152, 256, 168, None, "iq5_ks"),
    "IQ1_KT": (158, 256, 56, None, "iq1_kt"),
    "IQ2_KT": (153, 256, 68, None, "iq2_kt"),
    "IQ3_KT": (154, 256, 100, None, "iq3_kt"),
    "IQ4_KT": (155, 256, 128, None, "iq4_kt"),
}

# Bytes of the scale that a row begins with: f16 or f32.
ROW_META = {
    "IQ2_KS": 2, "IQ2_KL": 2, "IQ3_KS": 2, "IQ4_KS": 4, "IQ4_KSS": 4, "IQ5_KS": 4,
    "IQ1_KT": 4, "IQ2_KT": 4, "IQ3_KT": 4, "IQ4_KT": 4,
}

# Offset of the f16 that scales minima.
MINIMUM = {"Q4_1": 2, "Q5_1": 2, "Q2_K": 82, "Q4_K": 2, "Q5_K": 2}

# Types of both programs are decoded by the `gguf` package, the rest by ik's library.
MAINLINE = {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "IQ4_NL", "IQ4_XS",
            "Q8_0", "Q6_K", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S",
            "IQ1_S", "IQ1_M", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4"}

# Types whose encoders are compared.
ENCODED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q6_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "IQ4_NL", "IQ4_XS",
           "Q8_0", "Q6_K", "IQ2_K", "IQ3_K", "IQ4_K", "IQ5_K", "IQ6_K", "IQ2_KS", "IQ2_KL", "IQ3_KS", "IQ4_KS",
           "IQ5_KS")

# Types that ik encodes only with an imatrix.
NEEDS_IMPORTANCE = {"IQ2_XXS", "IQ2_XS", "IQ1_S", "IQ1_M"}

# First 32 hex digits of the SHA-256 of the decoded deterministic row, -0 turned into +0.
HASHES = {
    "Q4_0": "3c15e266dbbbd003553825a56bf23626",
    "Q8_0": "c8543c447dfeda673ac4c559f2d7e16e",
    "Q6_K": "a3fdad4bb51bacc63cb6507c11d890fc",
    "IQ3_K": "b632d3e62a20b88ea047b4883aab3aee",
    "IQ4_K": "baaeb46222c776d7d56f89d5a03acd39",
    "IQ6_K": "97f36b15199e31df51d38918163f7ad9",
    "IQ6_K_cubic": "3f744f89a0ca91769f65857230ea8571",
    "Q4_1": "3a3e48489e4802b6572ba5b92eded647",
    "Q5_0": "d10e8b446f3289fdfd19099d43e8704a",
    "Q5_1": "11ae8fe317bd6d037e0d71765280d179",
    "Q6_0": "a290fb119ac473037a65259447d1f7c2",
    "Q2_K": "cde5c0ace1ba7f93755fb10e0080cf98",
    "Q3_K": "17fb0bd0b8722202210c79bb87050ed9",
    "Q4_K": "2995d3e7d04f4ff4e1e67ccf706b36c5",
    "Q5_K": "9815404b149c12e3223aa2b1397ade73",
    "IQ4_NL": "e1749e5b3b9b9af4dd6cdf6a1b373796",
    "IQ4_XS": "85475d0d06318aa10c92d5737745357b",
    "IQ2_XXS": "c1ab4a69d699be80c16846845467eb27",
    "IQ2_XS": "6d35c813eab16c0cddecf0b399ea5a11",
    "IQ2_S": "7b95139c71d17197722d329d4299134f",
    "IQ3_XXS": "5a74500cdc457a3219150fa18274c797",
    "IQ3_S": "95656271daacf09945269c67be06a343",
    "IQ1_S": "436c2a067648a0f4f3023c0a8c451f48",
    "IQ1_M": "f3cd851a9787ff98ac15317ea91184e6",
    "TQ1_0": "14b44ce041ab15e3a57871d85c7e37d5",
    "TQ2_0": "957be36b8655e622431b0c54514f81f4",
    "MXFP4": "71e3e2d7adb091625d5ddf4fba59a337",
    "IQ2_K": "a20daebea7140f8b78e22ef3dee9e2d7",
    "IQ5_K": "cff679629a20f78ef4df73b7c38cbe9a",
    "IQ2_KS": "cf368f9ad78ade341e4e5fd28f715310",
    "IQ2_KL": "468e1ca791d59c61717358f3715eee7d",
    "IQ3_KS": "7e8e4e8d71595ebcf3a5cb30bebd899e",
    "IQ4_KS": "d24c8e5abe02371d345859ae601cb0ab",
    "IQ4_KSS": "c1faa47da1d19c0b9546cfe9085c35a7",
    "IQ5_KS": "d8a9f62cd0551423047c26dfb4d4845d",
    "IQ1_KT": "9bcc34c26e01d582435fa2638c04f0a3",
    "IQ2_KT": "83e223527f47d77247b6526c0b824b54",
    "IQ3_KT": "1554992f909de93466933e5b42742163",
    "IQ4_KT": "8eea4a34d1c399313fd53ee0bb444e5c",
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
    return ROW_META.get(kind, 0) + n // length * size


def ik_encode(kind, x, importance=None):
    """Rows x: [n_rows, n] as ik's file quantiser encodes them."""
    out = np.zeros((x.shape[0], row_bytes(kind, x.shape[1])), np.uint8)
    IK.ggml_quantize_init(KINDS[kind][0])
    encode = getattr(IK, "quantize_" + KINDS[kind][4])
    encode(pointer(x), pointer(out), ctypes.c_int64(x.shape[0]), ctypes.c_int64(x.shape[1]), pointer(importance))
    return out


def ik_decode(kind, rows, n):
    out = np.zeros((rows.shape[0], n), np.float32)
    for row, values in zip(np.ascontiguousarray(rows), out):
        getattr(IK, "dequantize_row_" + KINDS[kind][4])(pointer(row), pointer(values), ctypes.c_int64(n))
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
        if kind not in MAINLINE:
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
    set_row_scale(kind, row, 0x2C00, 0x3D000000)
    for k in range(512 // length):
        if kind == "MXFP4":
            row[k * size] = 0x78 + k % 8
        elif length > 1 and kind not in ROW_META:
            set_scale(kind, row, k, 0x2C00 + k)
        if kind in MINIMUM:
            row[k * size + MINIMUM[kind]:][:2] = list(struct.pack("<H", 0x2800 + k))
    return row


def set_scale(kind, row, k, bits):
    """The f16 scale of block k."""
    _, _, size, offset, _ = KINDS[kind]
    if kind == "IQ1_M":  # in the top nibbles of four words
        for i in range(4):
            at = k * size + 49 + 2 * i
            row[at] = row[at] & 15 | (bits >> (4 * i) & 15) << 4
    elif offset is not None:
        row[k * size + offset:][:2] = list(struct.pack("<H", bits))


def set_row_scale(kind, row, half, single):
    meta = ROW_META.get(kind, 0)
    row[:meta] = list(struct.pack("<H", half) if meta == 2 else struct.pack("<I", single))[:meta]


def check_hash(name, values):
    digest = hashlib.sha256((values + np.float32(0)).astype("<f4").tobytes()).hexdigest()
    assert digest.startswith(HASHES[name]), name


def decode_rows(kind):
    """[n_rows, bytes of 512 weights]."""
    _, length, size, offset, encoder = KINDS[kind]
    random = np.random.default_rng(KINDS[kind][0])
    found = [deterministic_row(kind)]
    found += list(random.integers(0, 256, (3, row_bytes(kind, 512)), np.uint8))
    if length > 1:
        extremes = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01]
        for first in range(0, len(extremes), 5):
            row = random.integers(0, 256, row_bytes(kind, 512), np.uint8)
            set_row_scale(kind, row, extremes[first // 5], extremes[first // 5 + 5] << 16)
            for k in range(0 if kind in ROW_META else 512 // length):
                set_scale(kind, row, k, extremes[(first + k) % len(extremes)])
            found.append(row)
    if encoder:
        x, importance = rows("product", 77, 2, 512)
        found += list(ik_encode(kind, x, importance if kind in NEEDS_IMPORTANCE else None))
    return np.stack(found)


def write_pairs(path, n, pairs):
    path.parent.mkdir(exist_ok=True)
    packed = b"".join(a.tobytes() + b.tobytes() for a, b in pairs)
    path.write_bytes(struct.pack("<II", len(pairs), n) + packed)


def check_libgguf(kind, rows, values):
    """A third implementation agrees. Imported here: others use this file's functions without it."""
    import libgguf

    if kind in MAINLINE and KINDS[kind][1] > 1:
        other = np.asarray(libgguf.dequantize_rows(rows, KINDS[kind][0]))
        assert np.array_equal(values, other.reshape(values.shape), equal_nan=True), kind


def write_decode_goldens():
    for kind in KINDS:
        encoded = decode_rows(kind)
        values = decode(kind, encoded, 512)
        if kind in HASHES:
            check_hash(kind, values[0])
        check_libgguf(kind, encoded, values)
        write_pairs(HERE / f"decode/{kind}.bin", 512, list(zip(encoded, values)))
    encoded = decode_rows("IQ6_K")
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
        for kind in ENCODED:
            for name, given in (("none", None), ("given", importance)):
                y = decode(kind, ik_encode(kind, x, given), 2048)
                plain, weighted = relative_rmse(y, x, 1.0), relative_rmse(y, x, importance.astype(np.float64))
                lines.append(f"{kind}\t{distribution}\t{name}\t{plain:.7f}\t{weighted:.7f}")
    (HERE / "rmse.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write_decode_goldens()
    write_encode_goldens()
    write_rmse()
