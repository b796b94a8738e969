"""Writes a trained checkpoint as one GGUF file.

    python export.py checkpoint.pt vocabulary.json demo.gguf --type mixed
    python export.py checkpoint.pt vocabulary.json demo-bf16.gguf --type bf16
    python export.py demo.gguf vocabulary.json weights.pt --unpack     back, to train on

Types: f32, bf16, or `mixed`: routed gate and up IQ3_K, routed down Q4_0, every other matrix Q8_0;
norms and router are F32 in all of them. The blocks are encoded by the library inside
`ik_llama_cpp_python`, weighing each input column of routed gate and up by its mean square over
some documents of `--data`.

vocabulary.json holds tokens, types, merges, pre, and the ids bos, eos, pad and unk.
"""

import argparse
import ctypes
import json
import struct
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import torch

import model as network

ALIGNMENT = 32
# ggml type, weights of a block, bytes of a block
TYPES = {"F32": (0, 1, 4), "BF16": (30, 1, 2), "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34), "IQ3_K": (138, 256, 110)}
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def load_ggml():
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


def encode(library, kind, rows, importance=None):
    """rows f32 [n, m] -> the bytes of the tensor."""
    if kind == "F32":
        return rows.tobytes()
    if kind == "BF16":
        return torch.from_numpy(rows).bfloat16().view(torch.int16).numpy().tobytes()
    _, length, size = TYPES[kind]
    assert rows.shape[1] % length == 0, (kind, rows.shape)
    out = np.zeros((rows.shape[0], rows.shape[1] // length * size), np.uint8)
    point = lambda a: None if a is None else a.ctypes.data_as(ctypes.c_void_p)
    sizes = (ctypes.c_int64(n) for n in rows.shape)
    getattr(library, "quantize_" + kind.lower())(point(rows), point(out), *sizes, point(importance))
    return out.tobytes()


def decode(library, kind, data, shape):
    """What the bytes stand for, f32 [shape]."""
    out = np.zeros(shape, np.float32)
    call = getattr(library, "dequantize_row_" + kind.lower())
    call(data, out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(out.size))
    return out


def kind_of(name, recipe):
    if network.is_f32(name) or recipe == "f32":
        return "F32"
    if recipe == "bf16":
        return "BF16"
    return {"ffn_gate_exps": "IQ3_K", "ffn_up_exps": "IQ3_K", "ffn_down_exps": "Q4_0"}.get(name.split(".")[-2], "Q8_0")


def metadata(cfg, name, vocabulary):
    """(key, type, value) of every entry, in file order."""
    head = [
        ("general.architecture", STRING, "deepseek2"),
        ("general.type", STRING, "model"),
        ("general.name", STRING, name),
        ("general.quantization_version", U32, 2),
    ]
    body = [
        ("block_count", U32, cfg.layers),
        ("context_length", U32, cfg.context),
        ("embedding_length", U32, cfg.hidden),
        ("feed_forward_length", U32, cfg.dense_width),
        ("vocab_size", U32, cfg.vocab),
        ("leading_dense_block_count", U32, cfg.dense_layers),
        ("attention.head_count", U32, cfg.heads),
        ("attention.layer_norm_rms_epsilon", F32, cfg.eps),
        ("attention.q_lora_rank", U32, cfg.q_rank),
        ("attention.kv_lora_rank", U32, cfg.kv_rank),
        ("attention.head_count_kv", U32, 1),
        ("attention.key_length", U32, cfg.kv_rank + cfg.rope),
        ("attention.value_length", U32, cfg.kv_rank),
        ("attention.key_length_mla", U32, cfg.nope + cfg.rope),
        ("attention.value_length_mla", U32, cfg.v_head),
        ("rope.dimension_count", U32, cfg.rope),
        ("rope.freq_base", F32, cfg.rope_base),
        ("rope.scaling.type", STRING, "yarn"),
        ("rope.scaling.factor", F32, cfg.yarn_factor),
        ("rope.scaling.original_context_length", U32, cfg.yarn_original),
        ("rope.scaling.yarn_log_multiplier", F32, cfg.yarn_log),
        ("rope.scaling.yarn_beta_fast", F32, 32.0),
        ("rope.scaling.yarn_beta_slow", F32, 1.0),
        ("expert_count", U32, cfg.experts),
        ("expert_used_count", U32, cfg.experts_used),
        ("expert_shared_count", U32, cfg.shared),
        ("expert_feed_forward_length", U32, cfg.expert_width),
        ("expert_weights_scale", F32, cfg.scale),
        ("expert_weights_norm", BOOL, True),
        ("expert_gating_func", U32, 2),
        ("expert_group_count", U32, 1),
        ("expert_group_used_count", U32, 1),
    ]
    tokenizer = [
        ("model", STRING, "gpt2"),
        ("pre", STRING, vocabulary["pre"]),
        ("tokens", ARRAY, vocabulary["tokens"]),
        ("token_type", ARRAY, vocabulary["types"]),
        ("merges", ARRAY, vocabulary["merges"]),
        ("bos_token_id", U32, vocabulary["bos"]),
        ("eos_token_id", U32, vocabulary["eos"]),
        ("padding_token_id", U32, vocabulary["pad"]),
        ("unknown_token_id", U32, vocabulary["unk"]),
        ("add_bos_token", BOOL, False),
    ]
    prefixed = [(f"deepseek2.{key}", kind, value) for key, kind, value in body]
    return head + prefixed + [(f"tokenizer.ggml.{key}", kind, value) for key, kind, value in tokenizer]


def value_bytes(kind, value):
    if kind == STRING:
        data = value.encode()
        return struct.pack("<Q", len(data)) + data
    if kind == ARRAY:
        inner = STRING if isinstance(value[0], str) else I32
        return struct.pack("<IQ", inner, len(value)) + b"".join(value_bytes(inner, v) for v in value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def write_gguf(path, entries, tensors):
    """tensors: (name, dimensions with the row length first, kind, bytes)."""
    head = struct.pack("<IIQQ", 0x46554747, 3, len(tensors), len(entries))
    for key, kind, value in entries:
        head += value_bytes(STRING, key) + struct.pack("<I", kind) + value_bytes(kind, value)
    offset = 0
    for name, dims, kind, data in tensors:
        head += value_bytes(STRING, name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
        head += struct.pack("<IQ", TYPES[kind][0], offset)
        offset += -(-len(data) // ALIGNMENT) * ALIGNMENT
    with open(path, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for *_, data in tensors:
            file.write(data + bytes(-len(data) % ALIGNMENT))
    return Path(path).stat().st_size


def tensor_bytes(net, key, recipe, library, importance):
    """(kind, bytes) of one tensor."""
    weight = net.weights[key].detach().float().contiguous().numpy()
    kind = kind_of(key, recipe)
    return kind, encode(library, kind, weight.reshape(-1, weight.shape[-1]), importance.get(key))


def export(net, vocabulary, path, recipe, name="perigee-demo", importance=None, encoded=None):
    """Writes `net`, with the bytes of `encoded` where it has a tensor; returns the file's size."""
    library = load_ggml() if recipe == "mixed" else None
    tensors = []
    for key, shape in network.shapes(net.cfg).items():
        if encoded is not None and f"bytes:{key}" in encoded:
            kind, data = kind_of(key, recipe), encoded[f"bytes:{key}"].tobytes()
        else:
            kind, data = tensor_bytes(net, key, recipe, library, importance or {})
        tensors.append((key, shape[::-1], kind, data))
    return write_gguf(path, metadata(net.cfg, name, vocabulary), tensors)


def freeze(net, path, importance):
    """Encodes the routed experts: their bytes, and under their own names what these stand for."""
    library, found = load_ggml(), {}
    for key, shape in network.shapes(net.cfg).items():
        if "_exps" in key:
            kind, data = tensor_bytes(net, key, "mixed", library, importance)
            found[f"bytes:{key}"] = np.frombuffer(data, np.uint8)
            found[key] = decode(library, kind, data, shape)
    np.savez(path, **found)


@torch.no_grad()
def column_importance(net, folder, documents=64):
    """Mean squares of the inputs of every routed gate and up over some documents of `folder`."""
    ids, starts = np.load(f"{folder}/ids.npy"), np.load(f"{folder}/starts.npy")
    w, sums = net.compute_weights(torch.float32, grad=False), {}
    for k in range(documents):
        squares = {}
        document = torch.from_numpy(ids[starts[k] : starts[k + 1]].astype(np.int64))
        net.hidden(w, [document[None]], dtype=torch.float32, squares=squares)
        for n, square in squares.items():
            sums[n] = sums.get(n, 0) + square.numpy() / documents
    return {f"blk.{n}.ffn_{m}_exps.weight": s.astype(np.float32) for n, s in sums.items() for m in ("gate", "up")}


def unpack(path, vocab):
    """The network in a file of `export`. Only the shapes that `Config` fixes are looked for."""
    data, library = Path(path).read_bytes(), load_ggml()
    kinds = {code: (kind, length, size) for kind, (code, length, size) in TYPES.items()}
    cfg, found, end = network.Config(vocab=vocab), {}, 0
    for key, shape in network.shapes(cfg).items():
        record = value_bytes(STRING, key) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        at = data.index(record) + len(record)
        code, offset = struct.unpack_from("<IQ", data, at)
        found[key], end = (shape, kinds[code], offset), at + 12
    base, weights = -(-end // ALIGNMENT) * ALIGNMENT, {}
    for key, (shape, (kind, length, size), offset) in found.items():
        count = int(np.prod(shape))
        raw = data[base + offset : base + offset + count // length * size]
        if kind == "F32":
            weights[key] = np.frombuffer(raw, np.float32).reshape(shape).copy()
        elif kind == "BF16":
            weights[key] = torch.frombuffer(bytearray(raw), dtype=torch.bfloat16).float().view(shape).numpy()
        else:
            weights[key] = decode(library, kind, raw, shape)
    return network.Model(cfg, {key: torch.from_numpy(weight) for key, weight in weights.items()})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("vocabulary")
    parser.add_argument("out")
    parser.add_argument("--type", choices=("f32", "bf16", "mixed"), default="mixed")
    parser.add_argument("--name", default="perigee-demo")
    parser.add_argument("--data", help="tokenised documents that tell the importance of columns")
    parser.add_argument("--freeze", action="store_true", help="write encoded experts (npz) to OUT, no GGUF")
    parser.add_argument("--encoded", help="npz of --freeze, whose bytes are taken as they are")
    parser.add_argument("--unpack", action="store_true", help="CHECKPOINT is a GGUF of this program, OUT the weights")
    args = parser.parse_args()
    if args.unpack:
        vocab = len(json.loads(Path(args.vocabulary).read_text())["tokens"])
        return network.save(args.out, unpack(args.checkpoint, vocab))
    net = network.load(args.checkpoint)
    importance = column_importance(net, args.data) if args.data else {}
    if args.freeze:
        return freeze(net, args.out, importance)
    encoded = np.load(args.encoded) if args.encoded and args.type == "mixed" else None
    vocabulary = json.loads(Path(args.vocabulary).read_text())
    size = export(net, vocabulary, args.out, args.type, args.name, importance, encoded)
    print(f"{args.out}: {size} bytes")


if __name__ == "__main__":
    main()
