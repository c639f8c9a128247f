/* Tokens by counter: nothing is drawn in an order, so no plan can change it. */
#include "exec/batch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Source: Steele, Lea, Flood 2014 (SplitMix64). */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

int32_t galv_batch_token(const galv_batch *batch, int64_t sample, int32_t position)
{
    if (batch->n_tokens > 0) {
        uint64_t windows = (batch->n_tokens - 1) / (uint64_t)batch->seq_length;
        size_t begin = (size_t)((uint64_t)sample % windows) * (size_t)batch->seq_length;
        return batch->tokens[begin + (size_t)position];
    }
    uint64_t key = mix(batch->seed ^ mix((uint64_t)sample));
    return (int32_t)(mix(key ^ (uint64_t)position) % (uint64_t)batch->vocabulary);
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static galv_status read_tokens(galv_batch *batch, FILE *file, size_t size,
                               const char *path, galv_err *err)
{
    size_t capacity = 0;
    size_t n = 0;
    int32_t *tokens = NULL;
    unsigned char bytes[4] = {0, 0, 0, 0};
    galv_status status = GALV_OK;
    size_t got = fread(bytes, 1, size, file);
    for (; status == GALV_OK && got == size; got = fread(bytes, 1, size, file)) {
        if (n == capacity) {
            capacity = capacity == 0 ? 65536 : capacity * 2;
            int32_t *grown = realloc(tokens, capacity * sizeof *tokens);
            if (grown == NULL) {
                status = galv_fail(err, GALV_NO_MEMORY, "no memory for %s", path);
                break;
            }
            tokens = grown;
        }
        uint32_t token = bytes[0];
        for (size_t i = 1; i < size; i++) {
            token |= (uint32_t)bytes[i] << (8 * i);
        }
        if (token >= (uint32_t)batch->vocabulary) {
            status =
                galv_fail_at(err, path, 0, 0, "token %zu is %lu, the vocabulary has %d",
                             n, (unsigned long)token, (int)batch->vocabulary);
            break;
        }
        tokens[n++] = (int32_t)token;
    }
    if (status == GALV_OK && ferror(file)) {
        status = galv_fail_at(err, path, 0, 0, "cannot read the tokens: %s",
                              strerror(errno));
    }
    if (status == GALV_OK && got > 0) {
        status = galv_fail_at(err, path, 0, 0,
                              "it ends within token %zu of %zu bytes: it is cut short",
                              n, size);
    }
    if (status == GALV_OK && n < (size_t)batch->seq_length + 1) {
        status = galv_fail_at(err, path, 0, 0,
                              "%zu tokens; a sample and its targets take %d", n,
                              (int)batch->seq_length + 1);
    }
    if (status != GALV_OK) {
        free(tokens);
        return status;
    }
    batch->tokens = tokens;
    batch->n_tokens = n;
    return GALV_OK;
}

galv_status galv_batch_read(galv_batch *batch, const char *path, galv_err *err)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        galv_fail(err, GALV_INPUT, "cannot open the tokens: %s", strerror(errno));
        galv_err_set_file(err, path);
        return GALV_INPUT;
    }
    size_t size = ends_in(path, ".u16") ? 2 : ends_in(path, ".i32") ? 4 : 1;
    galv_status status = read_tokens(batch, file, size, path, err);
    fclose(file);
    return status;
}

void galv_batch_release(galv_batch *batch)
{
    free(batch->tokens);
    batch->tokens = NULL;
    batch->n_tokens = 0;
}
