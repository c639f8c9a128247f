#include "tests/traces/helpers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t test_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 2685821657736338717ull;
}

static double uniform(uint64_t *state)
{
    return (double)(test_random(state) >> 11) / 9007199254740992.0;
}

static int32_t below(uint64_t *state, uint64_t n)
{
    return (int32_t)(test_random(state) % n);
}

galv_timeline test_random_timeline(uint64_t seed, size_t n_spans, galv_arena *arena)
{
    galv_timeline t = {.measured = seed % 2 == 0, .n_ranks = 5, .n_chunks = 3};
    snprintf(t.title, sizeof t.title, "plan, \"quoted\" %llu\nsecond line",
             (unsigned long long)seed);
    snprintf(t.subtitle, sizeof t.subtitle, "8.79 s, 52 %% MFU");
    t.duration_s = uniform(&seed) * 10;
    t.memory_limit_bytes = 85899345920.0;
    t.first_layer = GALV_NEW_ARRAY(arena, int32_t, t.n_ranks);
    t.last_layer = GALV_NEW_ARRAY(arena, int32_t, t.n_ranks);
    for (int32_t rank = 0; rank < t.n_ranks; rank++) {
        t.first_layer[rank] = rank == 3 ? -1 : 7 * rank;
        t.last_layer[rank] = rank == 3 ? -1 : 7 * rank + 6;
    }
    t.n_spans = n_spans;
    t.spans = GALV_NEW_ARRAY(arena, galv_span, n_spans);
    for (size_t i = 0; i < n_spans; i++) {
        double start_s = uniform(&seed) * 9;
        t.spans[i] = (galv_span){
            .rank = below(&seed, 5),
            .stream = (uint8_t)below(&seed, GALV_N_STREAMS),
            .kind = (uint8_t)below(&seed, GALV_N_OP_KINDS),
            .part = (uint8_t)below(&seed, GALV_N_PARTS),
            .pass = (uint8_t)below(&seed, GALV_N_OP_KINDS),
            .stage = below(&seed, 5),
            .chunk = below(&seed, 3),
            .micro_batch = below(&seed, 8) - 1,
            .first_layer = below(&seed, 40) - 1,
            .n_layers = below(&seed, 9),
            .start_s = start_s,
            .end_s = start_s + uniform(&seed) * uniform(&seed),
            .bytes = below(&seed, 2) == 0 ? 0 : uniform(&seed) * 1e12,
        };
    }
    t.n_samples = n_spans / 2;
    t.samples = GALV_NEW_ARRAY(arena, galv_memory_sample, t.n_samples);
    for (size_t i = 0; i < t.n_samples; i++) {
        t.samples[i] = (galv_memory_sample){below(&seed, 5), uniform(&seed) * 9,
                                            (double)below(&seed, 1u << 30)};
    }
    return t;
}

void test_temporary_path(char path[64])
{
    strcpy(path, "/tmp/galvatron-test-XXXXXX");
    int file = mkstemp(path);
    if (file >= 0) {
        close(file);
    }
}
