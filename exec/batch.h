/* The batch: which tokens a step trains on.
 *
 * Sample i of step t is sample t * global_batch + i of an endless row, so a step is the
 * same whatever the plan makes of it. Tokens are either random, a function of (seed,
 * sample, position), or a file: its windows of seq_length + 1 tokens, seq_length apart,
 * again from the begin when it is over. The target of a token is the one after it. */
#ifndef GALV_EXEC_BATCH_H
#define GALV_EXEC_BATCH_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct galv_batch {
    uint64_t seed;
    int32_t vocabulary;
    int32_t seq_length;
    size_t n_tokens; /* of the file; 0 = random */
    int32_t *tokens; /* freed by galv_batch_release */
} galv_batch;

/* Reads a file of tokens: 16-bit little-endian numbers where its name ends in .u16,
 * 32-bit ones for .i32, else bytes. Errors: GALV_IO; GALV_INPUT (a token outside of the
 * vocabulary, fewer than seq_length + 1). */
galv_status galv_batch_read(galv_batch *batch, const char *path, galv_err *err);
void galv_batch_release(galv_batch *batch);

/* Token at a position, 0 .. seq_length, of a sample of the endless row. */
int32_t galv_batch_token(const galv_batch *batch, int64_t sample, int32_t position);

#endif
