/* What comes once an iteration: gathers of stepped parameters, reductions of gradients
 * that no pass makes, tied embeddings, the step. compile.c tells where each stands. */
#include "schedule/compile_program_internal.h"

#include "plan/chunks.h"

void galv_compile_gather_chunk(galv_compiler *c, const galv_chunk *chunk,
                               uint32_t *gathers, uint32_t after)
{
    for (int32_t b = 0; b < chunk->n_buckets; b++) {
        const galv_bucket *bucket = &chunk->buckets[b];
        int32_t zero = galv_plan_strategy(c->plan, bucket->first_layer)->zero;
        int parts[2];
        int n_parts = zero == 1 || zero == 2
                          ? galv_compile_reduced_parts(parts, c->job, c->plan,
                                                       bucket->first_layer)
                          : 0;
        for (int i = 0; i < n_parts; i++) {
            galv_operation operation = galv_compile_operation(
                GALV_OP_ALL_GATHER, GALV_STREAM_DP, parts[i], GALV_OP_OPTIMIZER, chunk);
            operation.first_layer = bucket->first_layer;
            operation.n_layers = bucket->n_layers;
            uint32_t op = galv_compile_add(c, &operation, -1);
            galv_builder_add_wait(&c->builder, op, after);
            if (gathers != NULL) {
                gathers[b] = op;
            }
        }
    }
}

const galv_chunk *galv_compile_ith_chunk(const galv_compiler *c, int32_t stage,
                                         int32_t i)
{
    bool turned = c->schedule->two_way &&
                  c->chunks[stage][1].virtual_stage < c->chunks[stage][0].virtual_stage;
    return &c->chunks[stage][turned ? 1 - i : i];
}

void galv_compile_reduce_at_end(galv_compiler *c, int32_t stage)
{
    for (int32_t i = c->n_chunks - 1; i >= 0; i--) {
        const galv_chunk *chunk = galv_compile_ith_chunk(c, stage, i);
        for (int32_t b = chunk->n_buckets - 1; b >= 0; b--) {
            const galv_bucket *bucket = &chunk->buckets[b];
            int32_t zero = galv_plan_strategy(c->plan, bucket->first_layer)->zero;
            int parts[2];
            int n_parts = zero < 2 ? galv_compile_reduced_parts(parts, c->job, c->plan,
                                                                bucket->first_layer)
                                   : 0;
            for (int k = 0; k < n_parts; k++) {
                galv_operation operation = galv_compile_operation(
                    zero == 0 ? GALV_OP_ALL_REDUCE : GALV_OP_REDUCE_SCATTER,
                    GALV_STREAM_DP, parts[k], GALV_OP_BACKWARD, chunk);
                operation.first_layer = bucket->first_layer;
                operation.n_layers = bucket->n_layers;
                galv_compile_wait_for_carry(c, galv_compile_add(c, &operation, -1),
                                            &c->ranks[stage]);
            }
        }
    }
}

/* First and last stage add up the gradients of their copies of the table: each waits
 * for what the other did before. In a two-way plan both stages hold the first and the
 * last layers, and each adds up its own. Where steps overlap, weight gradients of the
 * table are computed before the others that are left, so that the first stage need not
 * wait for all of the last one's.
 * Source: github.com/sail-sg/zero-bubble-pipeline-parallelism, WeightGradStore.clear
 * ("do async all-reduce for embedding grads firstly"). */
static void reduce_tied(galv_compiler *c)
{
    int32_t n_virtual = c->n_virtual;
    int32_t ends[2] = {c->stage_of[0], c->stage_of[n_virtual - 1]};
    if (!c->job->model.tied_embeddings || ends[0] == ends[1] || c->schedule->two_way) {
        return;
    }
    uint32_t before[2];
    uint32_t ops[2];
    for (int i = 0; i < 2; i++) {
        before[i] = c->ranks[ends[i]].last_data_parallel;
    }
    for (int i = 0; i < 2; i++) {
        const galv_chunk *chunk = &c->chunks[ends[i]][0];
        for (int32_t k = 0; k < c->n_chunks; k++) { /* the chunk with the table */
            if (c->chunks[ends[i]][k].virtual_stage == (i == 0 ? 0 : n_virtual - 1)) {
                chunk = &c->chunks[ends[i]][k];
            }
        }
        galv_operation operation =
            galv_compile_operation(GALV_OP_ALL_REDUCE, GALV_STREAM_DP, GALV_PART_TIED,
                                   GALV_OP_BACKWARD, chunk);
        operation.first_layer = i == 0 ? chunk->first_layer : chunk->end_layer - 1;
        operation.n_layers = 1;
        operation.peer_stage = ends[1 - i];
        ops[i] = galv_compile_add(c, &operation, -1);
    }
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) {
            if (c->plan->overlap.step) {
                galv_builder_add_wait(&c->builder, ops[i],
                                      c->ranks[ends[k]].last_passed_on);
            } else {
                galv_compile_wait_for_carry(c, ops[i], &c->ranks[ends[k]]);
            }
            galv_builder_add_wait(&c->builder, ops[i], before[k]);
        }
    }
}

static void step(galv_compiler *c)
{
    for (int32_t stage = 0; stage < c->plan->pp; stage++) {
        uint32_t op = GALV_NO_OP;
        for (int32_t i = 0; i < c->n_chunks; i++) {
            const galv_chunk *chunk = &c->chunks[stage][i];
            if (chunk->first_layer == chunk->end_layer) {
                continue;
            }
            galv_operation operation =
                galv_compile_operation(GALV_OP_OPTIMIZER, GALV_STREAM_COMPUTE,
                                       GALV_PART_WHOLE, GALV_OP_OPTIMIZER, chunk);
            bool first = op == GALV_NO_OP;
            op = galv_compile_add(c, &operation, -1);
            int32_t begin = c->plan->overlap.step ? stage : 0;
            int32_t end = c->plan->overlap.step ? stage + 1 : c->plan->pp;
            for (int32_t k = begin; first && k < end; k++) {
                galv_compile_wait_for_carry(c, op, &c->ranks[k]);
                galv_builder_add_wait(&c->builder, op, c->ranks[k].last_data_parallel);
            }
        }
        c->ranks[stage].unit_ends[0] = op;
    }
    for (int32_t stage = 0; stage < c->plan->pp; stage++) {
        for (int32_t i = 0; i < c->n_chunks && !c->plan->overlap.param_gather; i++) {
            galv_compile_gather_chunk(c, galv_compile_ith_chunk(c, stage, i), NULL,
                                      c->ranks[stage].unit_ends[0]);
        }
    }
}

void galv_compile_finish(galv_compiler *c)
{
    reduce_tied(c);
    step(c);
}
