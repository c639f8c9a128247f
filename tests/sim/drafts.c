#include "tests/sim/drafts.h"

#include <criterion/criterion.h>

draft *draft_make(int32_t n_ranks)
{
    galv_arena *arena = galv_arena_new();
    draft *d = GALV_NEW(arena, draft);
    d->arena = arena;
    galv_builder_init(&d->builder, NULL, n_ranks, 1, 1);
    return d;
}

void draft_drop(draft *d)
{
    galv_builder_release(&d->builder);
    galv_arena_free(d->arena);
}

uint32_t draft_add(draft *d, int32_t rank, int kind, int stream, double work_s)
{
    galv_operation operation = {0};
    operation.kind = (uint8_t)kind;
    operation.stream = (uint8_t)stream;
    operation.stage = rank;
    operation.first_layer = (int32_t)d->builder.n_ops; /* makes the class its own */
    operation.peer_stage = -1;
    cr_assert(d->builder.n_ops < DRAFT_MOST_OPS);
    uint32_t op = galv_builder_add(&d->builder, rank,
                                   galv_builder_class(&d->builder, &operation), 0);
    d->costs[op].work_s = work_s;
    d->costs[op].compute_slowdown = 1;
    d->costs[op].comm_slowdown = 1;
    return op;
}

/* ---- by chance ---- */

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*state >> 33);
}

static double random_unit(uint64_t *state)
{
    return (next_random(state) + 0.5) / 2147483648.0;
}

static void fill_cost(galv_cost *cost, uint64_t *random, bool instants, bool comm)
{
    bool instant = instants && next_random(random) % 4 == 0;
    cost->work_s = instant ? 0 : random_unit(random);
    if (comm) {
        bool intra = next_random(random) % 2 == 0;
        cost->intra_share = intra ? random_unit(random) : 0;
        cost->inter_share = intra ? 0 : random_unit(random);
        cost->compute_slowdown = 1 + random_unit(random);
        cost->comm_slowdown = 1 + 2 * random_unit(random);
    }
    cost->transient_bytes = (double)(next_random(random) % 1000);
    double kept = (double)(next_random(random) % 1000);
    cost->start_bytes[GALV_MEMORY_ACTIVATIONS] = kept;
    cost->end_bytes[GALV_MEMORY_ACTIVATIONS] = -kept;
}

draft *draft_by_chance(uint32_t seed, bool instants)
{
    static const int kinds[GALV_N_STREAMS] = {GALV_OP_FORWARD,       GALV_OP_ALL_GATHER,
                                              GALV_OP_RING_EXCHANGE, GALV_OP_ALL_TO_ALL,
                                              GALV_OP_ALL_REDUCE,    GALV_OP_SEND,
                                              GALV_OP_RECV};
    uint64_t random = seed;
    next_random(&random);
    int32_t n_ranks = 1 + (int32_t)(next_random(&random) % 5);
    uint32_t n_ops = 20 + next_random(&random) % 400;
    draft *d = draft_make(n_ranks);
    for (uint32_t i = 0; i < n_ops; i++) {
        int32_t rank = (int32_t)(next_random(&random) % (uint32_t)n_ranks);
        int stream = (int)(next_random(&random) % GALV_N_STREAMS);
        uint32_t op = draft_add(d, rank, kinds[stream], stream, 0);
        fill_cost(&d->costs[op], &random, instants, stream != GALV_STREAM_COMPUTE);
        for (uint32_t k = next_random(&random) % 3; k > 0 && i > 0; k--) {
            galv_builder_add_wait(&d->builder, op, next_random(&random) % i);
        }
    }
    return d;
}

galv_program *draft_program(draft *d)
{
    galv_err err = GALV_ERR_INIT;
    galv_program *program = NULL;
    cr_assert_eq(galv_builder_finish(&program, &d->builder, d->arena, &err), GALV_OK);
    return program;
}
