// Bytes per second that this machine reads from memory now.
//
// usage: read_bandwidth THREADS
//
// Every thread sums its own part of one GiB, four times; the best pass counts, so that a
// short disturbance does not hide what the memory can do. Prints GB/s.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

int main(int argc, char ** argv) {
    const size_t n_threads = argc == 2 ? static_cast<size_t>(std::max(1, std::atoi(argv[1]))) : 1;
    const size_t words = (size_t(1) << 30) / sizeof(uint64_t) / n_threads;
    std::vector<std::vector<uint64_t>> parts(n_threads);
    std::atomic<uint64_t> total{0};

    // A lambda per pass: starting threads costs microseconds, a pass tens of milliseconds.
    const auto in_parallel = [&](auto work) {
        std::vector<std::thread> threads;
        for (size_t i = 0; i < n_threads; i++) {
            threads.emplace_back(work, i);
        }
        for (std::thread & thread : threads) {
            thread.join();
        }
    };
    // Whoever reads a page also touched it first.
    in_parallel([&](size_t i) { parts[i].assign(words, i + 1); });

    double best = 0;
    for (int pass = 0; pass < 4; pass++) {
        const auto started = std::chrono::steady_clock::now();
        in_parallel([&](size_t i) {
            // Independent sums keep several loads in flight.
            uint64_t sums[32] = {};
            const uint64_t * data = parts[i].data();
            for (size_t at = 0; at + 32 <= words; at += 32) {
                for (size_t lane = 0; lane < 32; lane++) {
                    sums[lane] += data[at + lane];
                }
            }
            for (const uint64_t sum : sums) {
                total += sum;
            }
        });
        const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started;
        best = std::max(best, double(words * n_threads * sizeof(uint64_t)) / elapsed.count() / 1e9);
    }
    // The sum is used, so that reading it cannot be left out.
    std::fprintf(stderr, "%llu\n", static_cast<unsigned long long>(total.load()));
    std::printf("%.2f\n", best);
    return 0;
}
