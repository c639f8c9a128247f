#include "sim/peak.h"

#include "tests/sim/plans.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(sim_peak);

static galv_result evaluate(const plan_stand *s, bool all_ranks)
{
    galv_result result = {0};
    galv_err err = GALV_ERR_INIT;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    options.attribute_peaks = true;
    options.all_ranks = all_ranks;
    cr_assert_eq(galv_evaluate(&result, s->model, s->plan, &options, s->arena, &err),
                 GALV_OK, "%s: %s", s->name, err.message);
    return result;
}

/* The engine adds up changes as they come; the attribution goes by begins and ends.
 * Both must find the same bytes. */
Test(sim_peak, the_parts_of_the_buffers_are_what_the_engine_counted)
{
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand s = plan_set_up(i);
        galv_result result = evaluate(&s, false);
        cr_expect_null(result.timeline.spans, "%s", s.name);
        for (int32_t stage = 0; stage < result.n_stages; stage++) {
            const galv_stage_result *r = &result.stages[stage];
            const galv_peak *p = &r->peak;
            double parts = p->gathered_bytes + p->logits_bytes + p->workspace_bytes +
                           p->standing_bytes;
            double activations = r->memory[GALV_MEMORY_ACTIVATIONS];
            cr_expect(p->attributed && p->has_operation, "%s", s.name);
            cr_expect_eq(p->operation.stage, stage, "%s", s.name);
            cr_expect(fabs(parts - r->memory[GALV_MEMORY_BUFFERS]) < 16,
                      "%s, stage %d: %.0f parts, %.0f buffers", s.name, (int)stage,
                      parts, r->memory[GALV_MEMORY_BUFFERS]);
            cr_expect(p->gathered_bytes >= 0 && p->logits_bytes >= 0 &&
                          p->workspace_bytes >= 0,
                      "%s, stage %d", s.name, (int)stage);
            cr_expect(p->most_bytes <= activations + 16 &&
                          p->n_micro_batches * p->most_bytes >= activations - 16,
                      "%s, stage %d: %d x %.0f of %.0f", s.name, (int)stage,
                      (int)p->n_micro_batches, p->most_bytes, activations);
            cr_expect(s.plan->strategies[0].zero == 3 || p->gathered_bytes < 16, "%s",
                      s.name);
            cr_expect(p->time_s > 0 && p->time_s <= result.iteration_time_s, "%s",
                      s.name);
        }
        plan_tear_down(&s);
    }
}

/* 1F1B: stage r of p holds min(p - r, m) micro-batches and no more. */
Test(sim_peak, a_stage_of_1f1b_holds_as_many_micro_batches_as_stages_follow)
{
    int n = 0;
    for (size_t i = 0; i < n_plan_cases; i++) {
        plan_stand s = plan_set_up(i);
        int32_t m = galv_plan_n_micro_batches(s.plan);
        if (strcmp(s.plan->schedule, "1f1b") == 0 && s.plan->pp > 1) {
            galv_result result = evaluate(&s, false);
            for (int32_t stage = 0; stage < result.n_stages; stage++) {
                int32_t follow = s.plan->pp - stage;
                cr_expect_eq(result.stages[stage].peak.n_micro_batches,
                             follow < m ? follow : m, "%s, stage %d: %d", s.name,
                             (int)stage,
                             (int)result.stages[stage].peak.n_micro_batches);
            }
            n++;
        }
        plan_tear_down(&s);
    }
    cr_expect(n > 0);
}

Test(sim_peak, every_rank_peaks_in_the_operation_of_its_stage)
{
    plan_stand s = plan_set_up(0);
    galv_result folded = evaluate(&s, false);
    galv_result all = evaluate(&s, true);
    for (int32_t stage = 0; stage < folded.n_stages; stage++) {
        const galv_peak *a = &folded.stages[stage].peak;
        const galv_peak *b = &all.stages[stage].peak;
        cr_expect(b->has_operation && b->attributed);
        cr_expect_eq(a->n_micro_batches, b->n_micro_batches);
        cr_expect_float_eq(a->most_bytes, b->most_bytes, 1);
        cr_expect_float_eq(a->gathered_bytes, b->gathered_bytes, 1);
        cr_expect_float_eq(a->logits_bytes, b->logits_bytes, 1);
        cr_expect_float_eq(a->workspace_bytes, b->workspace_bytes, 1);
        cr_expect_eq(a->operation.kind, b->operation.kind);
        cr_expect_eq(a->operation.first_layer, b->operation.first_layer);
        cr_expect_eq(a->micro_batch, b->micro_batch);
        cr_expect_float_eq(a->time_s, b->time_s, 1e-9 * folded.iteration_time_s);
    }
    plan_tear_down(&s);
}
