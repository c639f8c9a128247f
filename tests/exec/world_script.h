/* What a world must do whatever way its ranks reach each other: run by every rank, over
 * TCP (world_test.c) and over MPI (mpi/world.c). Returns the claims that were false. */
#ifndef GALV_TESTS_EXEC_WORLD_SCRIPT_H
#define GALV_TESTS_EXEC_WORLD_SCRIPT_H

#include "exec/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLD_CLAIM(condition)                                                    \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "rank %d: %s:%d: %s: %s\n", rank, __FILE__, __LINE__, \
                    #condition, err.message);                                     \
            n_failed++;                                                           \
        }                                                                         \
    } while (0)

static int world_words(galv_world *world, int32_t rank, int32_t size)
{
    galv_err err = GALV_ERR_INIT;
    int n_failed = 0;
    /* 300 kB from each: more than a socket takes at once */
    enum { N = 75000 };
    int32_t *one = malloc(N * sizeof *one);
    int32_t *all = malloc((size_t)size * N * sizeof *all);
    WORLD_CLAIM(one != NULL && all != NULL);
    for (int32_t i = 0; i < N; i++) {
        one[i] = rank * N + i;
    }
    WORLD_CLAIM(galv_world_all_gather(world, all, one, N * sizeof *one, &err) ==
                GALV_OK);
    for (int32_t i = 0; i < size * N && n_failed == 0; i++) {
        WORLD_CLAIM(all[i] == i);
    }
    for (int32_t root = 0; root < size; root++) {
        memset(one, 0, N * sizeof *one);
        one[N - 1] = rank == root ? 77 + root : -1;
        WORLD_CLAIM(galv_world_broadcast(world, one, N * sizeof *one, root, &err) ==
                    GALV_OK);
        WORLD_CLAIM(one[N - 1] == 77 + root);
    }
    WORLD_CLAIM(galv_world_barrier(world, &err) == GALV_OK);
    free(one);
    free(all);
    return n_failed;
}

static int world_agreement(galv_world *world, int32_t rank, int32_t size)
{
    galv_err err = GALV_ERR_INIT;
    int n_failed = 0;
    WORLD_CLAIM(galv_world_agree(world, &err) == GALV_OK);
    WORLD_CLAIM(err.status == GALV_OK);
    if (rank == size - 1) {
        galv_fail(&err, GALV_INPUT, "layer %d is odd", 7);
        galv_hint(&err, "make it even");
    } else if (rank == 0 && size > 2) {
        galv_fail(&err, GALV_USAGE, "less bad");
    }
    WORLD_CLAIM(galv_world_agree(world, &err) == GALV_INPUT);
    char want[64] = "layer 7 is odd";
    if (size > 1) {
        snprintf(want, sizeof want, "rank %d: layer 7 is odd", size - 1);
    }
    WORLD_CLAIM(err.status == GALV_INPUT && strcmp(err.message, want) == 0);
    WORLD_CLAIM(strcmp(err.hint, "make it even") == 0);
    return n_failed;
}

static int world_script(galv_world *world)
{
    galv_err err = GALV_ERR_INIT;
    int n_failed = 0;
    int32_t rank = galv_world_rank(world);
    int32_t size = galv_world_size(world);
    WORLD_CLAIM(galv_world_local_rank(world) == rank); /* one machine */
    n_failed += world_words(world, rank, size);
    n_failed += world_agreement(world, rank, size);
    double offset_s = NAN;
    WORLD_CLAIM(galv_world_clock_offset_s(world, &offset_s, 30, &err) == GALV_OK);
    /* one machine, one clock: off by no more than half a round trip */
    WORLD_CLAIM(fabs(offset_s) < 1 && (rank != 0 || offset_s == 0));
    WORLD_CLAIM(galv_world_barrier(world, &err) == GALV_OK);
    return n_failed;
}

#endif
