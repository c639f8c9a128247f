/* Compiled plans played with costs of our own, whatever the cost model says: what may
 * run beside what, and what may not. */
#include "sim/simulate.h"
#include "tests/schedule/small_job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>

GALV_TEST_SUITE(sim_compiled_waits);

typedef struct stand {
    galv_arena *arena;
    galv_job job;
    galv_plan *plan;
    galv_program *program;
    galv_sim_result result;
} stand;

/* Every op takes 1, odd layers a little more; gathered weights are counted in BUFFERS
 * as 1 per layer and part. */
static stand play(galv_layer_kind kind, int32_t n_devices, galv_strategy strategy,
                  int32_t pp, galv_overlap overlap)
{
    stand s = {0};
    galv_err err = GALV_ERR_INIT;
    galv_uniform_plan parameters = {strategy, pp, 1, NULL, 1, overlap, NULL};
    galv_sim_options options = {.record_timeline = true};
    s.arena = galv_arena_new();
    s.job = small_job(kind, 8, n_devices, 8 * strategy.dp);
    cr_assert_eq(galv_plan_make_uniform(&s.plan, &s.job, &parameters, s.arena, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(galv_program_compile(&s.program, &s.job, s.plan, s.arena, &err),
                 GALV_OK, "%s", err.message);
    galv_cost *costs = GALV_NEW_ARRAY(s.arena, galv_cost, s.program->n_classes);
    for (uint32_t i = 0; i < s.program->n_classes; i++) {
        const galv_operation *class = &s.program->classes[i];
        costs[i].work_s =
            class->kind == GALV_OP_RECV
                ? 0
                : 1 + (class->first_layer % 2) / 16.0 + class->part / 64.0;
        costs[i].compute_slowdown = costs[i].comm_slowdown = 1;
        bool weights = class->stream == GALV_STREAM_DP &&
                       class->kind == GALV_OP_ALL_GATHER &&
                       class->pass != GALV_OP_OPTIMIZER;
        bool frees = class->kind == GALV_OP_FORWARD || class->kind == GALV_OP_BACKWARD;
        if (strategy.zero == 3 && weights) {
            costs[i].start_bytes[GALV_MEMORY_BUFFERS] = 1;
        } else if (strategy.zero == 3 && frees && class->part == GALV_PART_WHOLE) {
            costs[i].end_bytes[GALV_MEMORY_BUFFERS] = -1;
        }
    }
    cr_assert_eq(
        galv_simulate(&s.result, s.program, costs, NULL, &options, s.arena, &err),
        GALV_OK, "%s", err.message);
    return s;
}

static bool overlap_in_time(const galv_span *a, const galv_span *b)
{
    return a->rank == b->rank && a->start_s < b->end_s - 1e-9 &&
           b->start_s < a->end_s - 1e-9;
}

static bool is_compute(const galv_span *span)
{
    return span->stream == GALV_STREAM_COMPUTE;
}

Test(sim_compiled_waits, forward_collectives_never_run_beside_computation)
{
    galv_strategy strategy = {4, 1, 1, 2, GALV_SP_MEGATRON, 1, GALV_RECOMPUTE_FULL};
    galv_overlap overlap = GALV_OVERLAP_INIT;
    for (int sp = GALV_SP_NONE; sp <= GALV_SP_ULYSSES; sp++) {
        strategy.sp = (galv_sp)sp;
        stand s = play(GALV_LAYER_DECODER, 16, strategy, 2, overlap);
        const galv_timeline *t = &s.result.timeline;
        uint32_t n = 0;
        for (size_t i = 0; i < t->n_spans; i++) {
            for (size_t k = 0; k < t->n_spans; k++) {
                const galv_span *c = &t->spans[i];
                if (c->stream == GALV_STREAM_TP &&
                    (c->pass == GALV_OP_FORWARD || c->pass == GALV_OP_RECOMPUTE) &&
                    is_compute(&t->spans[k])) {
                    n++;
                    cr_assert_not(overlap_in_time(c, &t->spans[k]),
                                  "sp %s: %s of layer %d beside %s of layer %d",
                                  galv_sp_names[sp], galv_part_names[c->part],
                                  (int)c->first_layer,
                                  galv_op_kind_names[t->spans[k].kind],
                                  (int)t->spans[k].first_layer);
                }
            }
        }
        cr_expect(n > 0);
        galv_arena_free(s.arena);
    }
}

/* Seconds in which a collective of a stream and pass runs beside computation. */
static double hidden_s(const stand *s, int stream, int pass)
{
    const galv_timeline *t = &s->result.timeline;
    double sum = 0;
    for (size_t i = 0; i < t->n_spans; i++) {
        for (size_t k = 0; k < t->n_spans; k++) {
            const galv_span *a = &t->spans[i];
            const galv_span *b = &t->spans[k];
            if (a->stream == stream && a->pass == pass && is_compute(b) &&
                overlap_in_time(a, b)) {
                double from = a->start_s > b->start_s ? a->start_s : b->start_s;
                sum += (a->end_s < b->end_s ? a->end_s : b->end_s) - from;
            }
        }
    }
    return sum;
}

Test(sim_compiled_waits, the_input_gradients_reduction_hides_behind_the_weights)
{
    galv_strategy strategy = {8, 1, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE};
    galv_overlap overlap = GALV_OVERLAP_INIT;
    stand s = play(GALV_LAYER_DECODER, 8, strategy, 1, overlap);
    /* 8 blocks of two parts and the head, 8 micro-batches, about 1 s each */
    cr_expect_float_eq(hidden_s(&s, GALV_STREAM_TP, GALV_OP_BACKWARD), 17 * 8, 17, "%g",
                       hidden_s(&s, GALV_STREAM_TP, GALV_OP_BACKWARD));
    cr_expect_float_eq(hidden_s(&s, GALV_STREAM_TP, GALV_OP_FORWARD), 0, 1e-9);
    galv_arena_free(s.arena);
    overlap.tp_comm = true;
    s = play(GALV_LAYER_DECODER, 8, strategy, 1, overlap);
    cr_expect(hidden_s(&s, GALV_STREAM_TP, GALV_OP_FORWARD) > 100);
    galv_arena_free(s.arena);
}

Test(sim_compiled_waits, the_ring_runs_beside_attention_and_holds_up_what_follows)
{
    galv_strategy strategy = {1, 8, 1, 1, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE};
    galv_overlap overlap = GALV_OVERLAP_INIT;
    stand s = play(GALV_LAYER_DECODER, 8, strategy, 1, overlap);
    const galv_timeline *t = &s.result.timeline;
    for (size_t i = 0; i < t->n_spans; i++) {
        const galv_span *ring = &t->spans[i];
        for (size_t k = 0; ring->stream == GALV_STREAM_CP && k < t->n_spans; k++) {
            const galv_span *other = &t->spans[k];
            bool own = other->part == GALV_PART_ATTENTION &&
                       other->micro_batch == ring->micro_batch &&
                       other->first_layer == ring->first_layer;
            if (is_compute(other) && own && other->kind == ring->pass) {
                cr_expect_float_eq(other->start_s, ring->start_s, 1e-9);
            } else if (is_compute(other) && !own) {
                cr_assert_not(overlap_in_time(ring, other));
            }
        }
    }
    galv_arena_free(s.arena);
}

Test(sim_compiled_waits, zero_3_never_holds_more_than_two_layers)
{
    galv_strategy strategy = {1, 1, 1, 8, GALV_SP_NONE, 3, GALV_RECOMPUTE_NONE};
    galv_overlap overlap = GALV_OVERLAP_INIT;
    for (int ahead = 0; ahead < 2; ahead++) {
        overlap.param_gather = ahead == 1;
        stand s = play(GALV_LAYER_DECODER, 8, strategy, 1, overlap);
        cr_expect_float_eq(s.result.ranks[0].peak_bytes, ahead == 1 ? 2 : 1, 1e-9,
                           "%g layers", s.result.ranks[0].peak_bytes);
        const galv_timeline *t = &s.result.timeline;
        for (size_t i = 0; i < t->n_spans; i++) {
            const galv_span *gather = &t->spans[i];
            if (gather->kind != GALV_OP_ALL_GATHER) {
                continue;
            }
            for (size_t k = 0; k < t->n_spans; k++) { /* weights come before use */
                const galv_span *use = &t->spans[k];
                if (is_compute(use) && use->kind == gather->pass &&
                    use->first_layer == gather->first_layer &&
                    use->micro_batch == gather->micro_batch) {
                    cr_expect(use->start_s >= gather->end_s - 1e-9);
                }
            }
        }
        if (ahead == 1) { /* most of the gathers are hidden */
            double all = s.result.ranks[0].comm_s[GALV_STREAM_DP];
            cr_expect(hidden_s(&s, GALV_STREAM_DP, GALV_OP_FORWARD) > 0.2 * all);
        }
        galv_arena_free(s.arena);
    }
}

Test(sim_compiled_waits, gradients_are_reduced_after_backward_and_before_the_step)
{
    galv_strategy strategy = {1, 1, 2, 8, GALV_SP_NONE, 1, GALV_RECOMPUTE_NONE};
    for (int bits = 0; bits < 4; bits++) {
        galv_overlap overlap = {(bits & 1) != 0, (bits & 2) != 0, false, true, false};
        stand s = play(GALV_LAYER_MOE_DECODER, 16, strategy, 2, overlap);
        const galv_timeline *t = &s.result.timeline;
        double step_s = 0;
        for (size_t i = 0; i < t->n_spans; i++) {
            if (t->spans[i].kind == GALV_OP_OPTIMIZER) {
                step_s = t->spans[i].start_s;
            }
        }
        for (size_t i = 0; i < t->n_spans; i++) {
            const galv_span *a = &t->spans[i];
            if (a->stream != GALV_STREAM_DP) {
                continue;
            }
            bool reduces = a->pass == GALV_OP_BACKWARD;
            cr_expect(!reduces || a->end_s <= step_s + 1e-9);
            for (size_t k = 0; k < t->n_spans; k++) {
                const galv_span *b = &t->spans[k];
                bool same = b->rank == a->rank && is_compute(b) &&
                            b->first_layer < a->first_layer + a->n_layers &&
                            b->first_layer + b->n_layers > a->first_layer;
                if (same && reduces && b->kind == GALV_OP_BACKWARD) {
                    cr_assert(b->end_s <= a->start_s + 1e-9);
                }
                if (same && !reduces && overlap.param_gather &&
                    b->kind == GALV_OP_FORWARD) {
                    cr_assert(a->end_s <= b->start_s + 1e-9);
                }
            }
            cr_expect(reduces || overlap.param_gather || a->start_s > step_s);
        }
        galv_arena_free(s.arena);
    }
}

Test(sim_compiled_waits, without_overlap_a_sender_waits_for_its_message)
{
    galv_strategy strategy = {1, 1, 1, 4, GALV_SP_NONE, 0, GALV_RECOMPUTE_NONE};
    for (int p2p = 0; p2p < 2; p2p++) {
        galv_overlap overlap = {true, true, false, p2p == 1, false};
        stand s = play(GALV_LAYER_DECODER, 16, strategy, 4, overlap);
        const galv_timeline *t = &s.result.timeline;
        uint32_t beside = 0;
        for (size_t i = 0; i < t->n_spans; i++) {
            for (size_t k = 0; k < t->n_spans; k++) {
                beside += t->spans[i].kind == GALV_OP_SEND &&
                          is_compute(&t->spans[k]) &&
                          overlap_in_time(&t->spans[i], &t->spans[k]);
            }
        }
        cr_expect(p2p == 1 ? beside > 0 : beside == 0, "p2p %d: %u", p2p, beside);
        galv_arena_free(s.arena);
    }
}
