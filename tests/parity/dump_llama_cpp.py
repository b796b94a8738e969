"""Logits of every position of one token sequence, from llama.cpp.

usage: dump_llama_cpp.py MODEL TOKENS OUT

The same arguments and output as dump_ik.cpp. No wheel holds both a header and a library
that an older C library can load, so two are used: the engine is inside the extension
module of `xllamacpp` (which exports the C interface), and the cffi declarations of
`llama-cpp-py-sync` describe it. Both are of the same week; `check_declarations` notices
when they are not. Engine defaults throughout (absorbed attention, F16 KV cache).
"""

import sys
from importlib import metadata

import llama_cpp_py_sync._cffi_bindings as bindings

LOG_LEVEL_ERROR = 4
GGML_TYPE_F16 = 1


def check_declarations(params) -> None:
    """Known defaults in the places where the declarations look for them."""
    found = (params.n_batch, params.n_ubatch, params.n_seq_max, params.type_k, params.type_v)
    if found != (2048, 512, 1, GGML_TYPE_F16, GGML_TYPE_F16):
        sys.exit(f"dump_llama_cpp: the declarations are of another llama.cpp: {found}")


def main(model_path: str, token_path: str, out_path: str) -> None:
    ffi = bindings.ffi
    engine = metadata.distribution("xllamacpp").locate_file("xllamacpp/xllamacpp.abi3.so")
    lib = ffi.dlopen(str(engine))

    # Errors only: the engine's loading log is hundreds of lines.
    @ffi.callback("void(enum ggml_log_level, const char *, void *)")
    def log_errors(level, text, _):
        if level == LOG_LEVEL_ERROR:
            sys.stderr.write(ffi.string(text).decode(errors="replace"))

    lib.llama_log_set(log_errors, ffi.NULL)
    lib.llama_backend_init()
    with open(token_path) as file:
        tokens = [int(word) for word in file.read().split()]

    model_params = lib.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = lib.llama_model_load_from_file(model_path.encode(), model_params)
    if model == ffi.NULL:
        sys.exit("dump_llama_cpp: the model was refused")

    params = lib.llama_context_default_params()
    check_declarations(params)
    params.n_ctx = (len(tokens) + 255) // 256 * 256
    params.n_batch = params.n_ubatch = max(len(tokens), 32)
    params.n_outputs_max = params.n_outputs_max_per_seq = len(tokens)
    params.n_threads = params.n_threads_batch = 2
    context = lib.llama_init_from_model(model, params)
    if context == ffi.NULL:
        sys.exit("dump_llama_cpp: no context")

    batch = lib.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i] = token
        batch.pos[i] = i
        batch.n_seq_id[i] = 1
        batch.seq_id[i][0] = 0
        batch.logits[i] = 1
    if lib.llama_decode(context, batch) != 0:
        sys.exit("dump_llama_cpp: decoding failed")

    n_vocab = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    with open(out_path, "wb") as out:
        for i in range(len(tokens)):
            row = lib.llama_get_logits_ith(context, i)
            out.write(ffi.buffer(row, 4 * n_vocab))
    lib.llama_batch_free(batch)
    lib.llama_free(context)
    lib.llama_model_free(model)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
