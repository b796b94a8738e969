// Logits of every position of one token sequence, from ik_llama.cpp.
//
// usage: dump_ik MODEL TOKENS OUT
//   TOKENS  text file of token ids separated by white space
//   OUT     f32 [n_tokens, n_vocab], little-endian, row-major, no header
//
// All tokens go through one batch with absorbed attention (`-mla 1`): the engine's
// default prompt path (`-mla 3`) is a hundred times less exact in F32. Everything else
// is the engine's default, the F16 KV cache included.

#include "llama.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

static void check(bool ok, const char * what) {
    if (!ok) {
        std::fprintf(stderr, "dump_ik: %s\n", what);
        std::exit(1);
    }
}

// Errors only: the engine's loading log is hundreds of lines.
static void log_errors(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) {
        std::fputs(text, stderr);
    }
}

static std::vector<llama_token> read_tokens(const char * path) {
    std::ifstream file(path);
    check(file.good(), "the token file cannot be read");
    return {std::istream_iterator<llama_token>(file), {}};
}

int main(int argc, char ** argv) {
    check(argc == 4, "usage: dump_ik MODEL TOKENS OUT");
    const std::vector<llama_token> tokens = read_tokens(argv[2]);
    check(!tokens.empty(), "no tokens");

    llama_log_set(log_errors, nullptr);
    llama_backend_init();
    llama_model_params model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    model_params.mla = 1;
    llama_model * model = llama_model_load_from_file(argv[1], model_params);
    check(model != nullptr, "the model was refused");

    const uint32_t n_tokens = static_cast<uint32_t>(tokens.size());
    llama_context_params params = llama_context_default_params();
    params.n_ctx = (n_tokens + 255) / 256 * 256;
    params.n_batch = std::max(n_tokens, 32u);
    params.n_ubatch = params.n_batch;
    params.n_threads = params.n_threads_batch = 2;
    params.mla_attn = 1;
    llama_context * context = llama_init_from_model(model, params);
    check(context != nullptr, "no context");

    llama_batch batch = llama_batch_init(static_cast<int32_t>(n_tokens), 0, 1);
    for (uint32_t i = 0; i < n_tokens; i++) {
        batch.token[i] = tokens[i];
        batch.pos[i] = static_cast<llama_pos>(i);
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    batch.n_tokens = static_cast<int32_t>(n_tokens);
    check(llama_decode(context, batch) == 0, "decoding failed");

    std::FILE * out = std::fopen(argv[3], "wb");
    check(out != nullptr, "the output file cannot be created");
    const size_t n_vocab = static_cast<size_t>(llama_n_vocab(model));
    for (uint32_t i = 0; i < n_tokens; i++) {
        const float * row = llama_get_logits_ith(context, static_cast<int32_t>(i));
        check(row != nullptr, "a position has no logits");
        check(std::fwrite(row, sizeof(float), n_vocab, out) == n_vocab, "short write");
    }
    check(std::fclose(out) == 0, "short write");
    llama_batch_free(batch);
    llama_free(context);
    llama_free_model(model);
    return 0;
}
