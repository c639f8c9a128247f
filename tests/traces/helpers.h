/* Random timelines, and files to write them to. */
#ifndef GALV_TESTS_TRACES_HELPERS_H
#define GALV_TESTS_TRACES_HELPERS_H

#include "base/arena.h"
#include "traces/timeline.h"

#include <stdint.h>

/* The next number of a generator (xorshift64*; Vigna 2016). The seed is not 0. */
uint64_t test_random(uint64_t *state);

/* A timeline of any sound content: spans overlap, times are odd doubles. */
galv_timeline test_random_timeline(uint64_t seed, size_t n_spans, galv_arena *arena);

/* A fresh path for a temporary file; the caller removes the file. */
void test_temporary_path(char path[64]);

#endif
