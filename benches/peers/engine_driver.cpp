// Prompt and generation speed of ik_llama.cpp (-DENGINE_IK) or llama.cpp, through llama.h.
//
// usage: engine_driver MODEL OPTION=VALUE…
//   prompts=128,512   prompt lengths (0 or absent: none)
//   generate=32       tokens per generation test (0 or absent: none)
//   depth=4096        tokens of context before each test
//   repetitions=3     counted repetitions, after one that is not counted
//   threads=2 ubatch=2048
//   turns=1           before every repetition print a line "turn" and wait for a line
//   state=FILE        cached rows of the first DEPTH tokens: read if there, else written
//   flash=1 repack=1  flash attention; weights rearranged while loading
//   mla=3 fused=1 merge=0 huge=0   (ik_llama.cpp) attention path, fused experts, gate and
//                     up in one tensor, transparent huge pages
//
// Prints the fields of `perigee bench -o json --all-logits`: a list with one object per
// test, the time of every repetition in samples_ns; and what the engine was compiled for
// in features. Logits are asked for every token of a
// prompt: with the last token alone both engines drop all other rows before the last
// layer's experts, which is half of the work of a file with two layers. Weights are read
// into memory, never mapped.

#include "llama.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <vector>

static void check(bool ok, const char * what) {
    if (!ok) {
        std::fprintf(stderr, "engine_driver: %s\n", what);
        std::exit(1);
    }
}

// Errors only: the loading log is hundreds of lines.
static void log_errors(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) {
        std::fputs(text, stderr);
    }
}

struct Options {
    std::map<std::string, std::string> values;

    Options(int argc, char ** argv) {
        for (int i = 2; i < argc; i++) {
            const std::string option = argv[i];
            const size_t equals = option.find('=');
            check(equals != std::string::npos, "options are spelled NAME=VALUE");
            values[option.substr(0, equals)] = option.substr(equals + 1);
        }
    }

    std::string text(const char * name) const {
        const auto found = values.find(name);
        return found == values.end() ? "" : found->second;
    }

    int number(const char * name, int otherwise) const {
        const std::string value = text(name);
        return value.empty() ? otherwise : std::atoi(value.c_str());
    }

    std::vector<int> numbers(const char * name) const {
        std::vector<int> all;
        std::stringstream stream(text(name));
        for (std::string one; std::getline(stream, one, ',');) {
            if (const int value = std::atoi(one.c_str()); value > 0) {
                all.push_back(value);
            }
        }
        return all;
    }
};

static llama_model * load(const char * path, const Options & options) {
    llama_model_params params = llama_model_default_params();
    params.n_gpu_layers = 0;
#ifdef ENGINE_IK
    params.use_mmap = false;
    params.mla = options.number("mla", 3);
    params.flash_attn = options.number("flash", 1) != 0;
    params.repack_tensors = options.number("repack", 1) != 0;
    params.merge_up_gate_exps = options.number("merge", 0) != 0;
    params.use_thp = options.number("huge", 0) != 0;
#else
    params.load_mode = LLAMA_LOAD_MODE_NONE;
    params.use_extra_bufts = options.number("repack", 1) != 0;
#endif
    return llama_model_load_from_file(path, params);
}

static llama_context * open_context(llama_model * model, const Options & options, int n_ctx, int ubatch) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = static_cast<uint32_t>((n_ctx + 255) / 256 * 256);
    params.n_batch = params.n_ubatch = static_cast<uint32_t>(ubatch);
    params.n_threads = params.n_threads_batch = options.number("threads", 2);
    params.type_k = params.type_v = GGML_TYPE_F16;
#ifdef ENGINE_IK
    params.mla_attn = options.number("mla", 3);
    params.flash_attn = options.number("flash", 1) != 0;
    params.fused_moe_up_gate = params.fused_up_gate = params.fused_mmad = options.number("fused", 1) != 0;
#else
    params.flash_attn_type =
        options.number("flash", 1) ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
#endif
    return llama_init_from_model(model, params);
}

// Forgets everything from `position` on.
static void forget(llama_context * context, int position) {
#ifdef ENGINE_IK
    if (position == 0) {
        llama_kv_cache_clear(context);
    } else {
        check(llama_kv_cache_seq_rm(context, 0, position, -1), "the cache cannot be shortened");
    }
#else
    llama_memory_t memory = llama_get_memory(context);
    if (position == 0) {
        llama_memory_clear(memory, false);
    } else {
        check(llama_memory_seq_rm(memory, 0, position, -1), "the cache cannot be shortened");
    }
#endif
}

class Bench {
  public:
    Bench(llama_context * context, int n_vocab, int ubatch, bool turns)
        : context(context), n_vocab(n_vocab), ubatch(ubatch), turns(turns), batch(llama_batch_init(ubatch, 0, 1)) {}

    ~Bench() { llama_batch_free(batch); }

    // Computes `n` tokens after `start`, in steps of one micro-batch.
    void compute(int start, int n, bool logits) {
        for (int done = 0; done < n; done += batch.n_tokens) {
            batch.n_tokens = std::min(ubatch, n - done);
            for (int i = 0; i < batch.n_tokens; i++) {
                batch.token[i] = token();
                batch.pos[i] = start + done + i;
                batch.n_seq_id[i] = 1;
                batch.seq_id[i][0] = 0;
                batch.logits[i] = logits;
            }
            check(llama_decode(context, batch) == 0, "decoding failed");
            if (logits) {
                const float * row = llama_get_logits_ith(context, batch.n_tokens - 1);
                check(row != nullptr && std::isfinite(row[0]), "the logits are not numbers");
            }
        }
    }

    // Cached rows of `depth` tokens, from the file if it has them.
    void fill(int depth, const std::string & state) {
        if (depth == 0) {
            return;
        }
        std::vector<llama_token> tokens(static_cast<size_t>(depth));
        size_t found = 0;
        std::FILE * existing = state.empty() ? nullptr : std::fopen(state.c_str(), "rb");
        if (existing != nullptr) {
            std::fclose(existing);
            const size_t read =
                llama_state_seq_load_file(context, state.c_str(), 0, tokens.data(), tokens.size(), &found);
            check(read > 0 && found == tokens.size(), "the saved state is of another model or depth");
            return;
        }
        compute(0, depth, false);
        if (!state.empty()) {
            const std::string partial = state + ".partial";
            check(llama_state_seq_save_file(context, partial.c_str(), 0, tokens.data(), tokens.size()) > 0,
                  "the state cannot be written");
            check(std::rename(partial.c_str(), state.c_str()) == 0, "the state cannot be renamed");
        }
    }

    std::vector<double> measure(int n_prompt, int n_generate, int depth, int repetitions) {
        std::vector<double> nanoseconds;
        for (int repetition = 0; repetition <= repetitions; repetition++) {
            forget(context, depth);
            if (turns) {
                await_turn();
            }
            const auto started = std::chrono::steady_clock::now();
            compute(depth, n_prompt, true);
            for (int i = 0; i < n_generate; i++) {
                compute(depth + i, 1, true);
            }
            const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - started;
            if (repetition > 0) {
                nanoseconds.push_back(elapsed.count());
            }
        }
        return nanoseconds;
    }

  private:
    // Another program may be measured meanwhile.
    static void await_turn() {
        std::puts("turn");
        std::fflush(stdout);
        int character;
        do {
            character = std::getchar();
            check(character != EOF, "standard input ended before the last repetition");
        } while (character != '\n');
    }

    // What the tokens are does not matter, that experts vary does.
    llama_token token() {
        random = random * 1664525u + 1013904223u;
        return static_cast<llama_token>((random >> 8) % static_cast<uint32_t>(n_vocab));
    }

    llama_context * context;
    int n_vocab;
    int ubatch;
    bool turns;
    llama_batch batch;
    uint32_t random = 1;
};

static std::string json(int n_prompt, int n_generate, int depth, const std::vector<double> & nanoseconds) {
    std::stringstream out;
    out.precision(12);
    out << "{\"n_prompt\":" << n_prompt << ",\"n_gen\":" << n_generate << ",\"n_depth\":" << depth
        << ",\"logits\":\"all\",\"features\":\"" << llama_print_system_info() << "\",\"samples_ns\":[";
    for (size_t i = 0; i < nanoseconds.size(); i++) {
        out << (i > 0 ? "," : "") << nanoseconds[i];
    }
    out << "]}";
    return out.str();
}

int main(int argc, char ** argv) {
    check(argc > 1, "usage: engine_driver MODEL OPTION=VALUE…");
    const Options options(argc, argv);
    const std::vector<int> prompts = options.numbers("prompts");
    const int n_generate = options.number("generate", 0);
    const int depth = options.number("depth", 0);
    const int repetitions = options.number("repetitions", 3);
    const int ubatch = options.number("ubatch", 2048);
    check(n_generate >= 0 && depth >= 0 && repetitions > 0 && ubatch > 0, "an option is out of range");
    int longest = n_generate;
    for (const int n_prompt : prompts) {
        longest = std::max(longest, n_prompt);
    }

    llama_log_set(log_errors, nullptr);
    llama_backend_init();
    llama_model * model = load(argv[1], options);
    check(model != nullptr, "the model was refused");
    llama_context * context = open_context(model, options, depth + longest, ubatch);
    check(context != nullptr, "no context");
#ifdef ENGINE_IK
    const int n_vocab = llama_n_vocab(model);
#else
    const int n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
#endif

    std::vector<std::string> rows;
    {
        Bench bench(context, n_vocab, ubatch, options.number("turns", 0) != 0);
        bench.fill(depth, options.text("state"));
        for (const int n_prompt : prompts) {
            rows.push_back(json(n_prompt, 0, depth, bench.measure(n_prompt, 0, depth, repetitions)));
        }
        if (n_generate > 0) {
            rows.push_back(json(0, n_generate, depth, bench.measure(0, n_generate, depth, repetitions)));
        }
    }
    std::printf("[");
    for (size_t i = 0; i < rows.size(); i++) {
        std::printf("%s%s", i > 0 ? ",\n " : "", rows[i].c_str());
    }
    std::printf("]\n");
    llama_free(context);
#ifdef ENGINE_IK
    llama_free_model(model);
#else
    llama_model_free(model);
#endif
    return 0;
}
