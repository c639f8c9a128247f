#include "tests/exec/mpi/mpi_support.h"

#include <stdlib.h>
#include <string.h>

void claim_failed(team *t, const char *file, int line, const char *condition)
{
    t->n_failed++;
    fprintf(stderr, "rank %d: %s:%d: %s: ", t->rank, file, line, condition);
}

float value_of(int rank, size_t i)
{
    uint32_t x = (uint32_t)rank * 2654435761U + (uint32_t)i * 40503U + 12345U;
    x ^= x >> 13;
    x *= 1597334677U;
    x ^= x >> 16;
    return (float)((double)x / 4294967296.0 - 0.5);
}

float *new_values(team *t, int rank, size_t first, size_t n)
{
    float *values = t->b->allocate(t->b, n * sizeof *values);
    for (size_t i = 0; i < n && values != NULL; i++) {
        values[i] = value_of(rank, first + i);
    }
    CLAIM(t, values != NULL, "memory");
    return values;
}

float *new_zeros(team *t, size_t n)
{
    float *values = t->b->allocate(t->b, n * sizeof *values);
    if (values != NULL) {
        memset(values, 0, n * sizeof *values);
    }
    CLAIM(t, values != NULL, "memory");
    return values;
}

/* Failures of all ranks. */
int team_failures(team *t)
{
    galv_err err = GALV_ERR_INIT;
    int *all = calloc((size_t)t->size, sizeof *all);
    int sum = 0;
    if (all == NULL || galv_world_all_gather(t->world, all, &t->n_failed,
                                             sizeof t->n_failed, &err) != GALV_OK) {
        fprintf(stderr, "rank %d: %s\n", t->rank, err.message);
        galv_world_abort(t->world, 1);
    }
    for (int rank = 0; rank < t->size; rank++) {
        sum += all[rank];
    }
    free(all);
    return sum;
}

bool team_join(team *t, int *argc, char ***argv)
{
    galv_err err = GALV_ERR_INIT;
    if (galv_world_new(&t->world, argc, argv, &err) != GALV_OK ||
        galv_host_backend_new(&t->b, t->world, &err) != GALV_OK) {
        fprintf(stderr, "%s (%s)\n", err.message, err.hint);
        return false;
    }
    t->rank = t->b->rank;
    t->size = t->b->n_ranks;
    int32_t ranks[64];
    for (int rank = 0; rank < t->size; rank++) {
        ranks[rank] = rank;
    }
    t->all = t->b->comm_new(t->b, ranks, t->size);
    return t->all != NULL;
}

int team_main(int argc, char **argv, const team_test *tests, int n_tests)
{
    team t = {NULL, NULL, NULL, 0, 0, 0};
    if (!team_join(&t, &argc, &argv)) {
        return 1;
    }
    int n_bad = 0;
    for (int i = 0; i < n_tests; i++) {
        t.n_failed = 0;
        tests[i].run(&t);
        t.b->synchronize(t.b);
        galv_err err = GALV_ERR_INIT;
        CLAIM(&t, t.b->status(t.b, &err) == GALV_OK, "%s", err.message);
        CLAIM(&t, t.b->allocated_bytes(t.b) == 0, "%zu bytes are not given back",
              t.b->allocated_bytes(t.b));
        if (team_failures(&t) > 0) {
            n_bad++;
            if (t.rank == 0) {
                fprintf(stderr, "FAIL %s\n", tests[i].name);
            }
        }
    }
    if (t.rank == 0) {
        printf(
            "[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0 \n",
            n_tests, n_tests - n_bad, n_bad);
    }
    t.b->comm_free(t.b, t.all);
    t.b->free(t.b);
    galv_world_free(t.world);
    return n_bad > 0;
}
