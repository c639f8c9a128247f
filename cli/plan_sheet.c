/* Tables of plans for programs: the listed ones, and all candidates. */
#include "cli/plan_sheet.h"

#include "base/csv.h"
#include "base/file.h"
#include "cli/block_words.h"
#include "cli/output.h"

/* Of `layered`, or else of the strategy alone. */
static void put_choice(galv_text *out, const galv_strategy *s, const galv_plan *layered,
                       galv_block_choice which)
{
    char words[64];
    if (layered != NULL) {
        galv_block_words(words, layered, which);
    } else {
        galv_block_word(words, s, which);
    }
    galv_csv_put(out, words, false);
}

static void put_degrees(galv_text *out, const galv_strategy *s,
                        const galv_plan *layered, int32_t pp, int32_t vpp,
                        int32_t micro_batch, const char *schedule)
{
    put_choice(out, s, layered, GALV_BLOCKS_TP);
    put_choice(out, s, layered, GALV_BLOCKS_CP);
    put_choice(out, s, layered, GALV_BLOCKS_EP);
    put_choice(out, s, layered, GALV_BLOCKS_DP);
    galv_csv_put_i64(out, pp, false);
    galv_csv_put_i64(out, vpp, false);
    put_choice(out, s, layered, GALV_BLOCKS_SP);
    put_choice(out, s, layered, GALV_BLOCKS_ZERO);
    put_choice(out, s, layered, GALV_BLOCKS_RECOMPUTE);
    galv_csv_put_i64(out, micro_batch, false);
    galv_csv_put(out, schedule, false);
}

#define DEGREES "tp,cp,ep,dp,pp,vpp,sp,zero,recompute,micro_batch_size,schedule"

void galv_plan_sheet_put(galv_text *out, const galv_search_result *found,
                         const galv_plan_sheet *sheet)
{
    galv_text_append(out, "rank," DEGREES ",iteration_time_s,tokens_per_s,"
                          "tokens_per_s_per_gpu,mfu,peak_memory_bytes,bubble_frac,"
                          "exposed_comm_frac");
    galv_text_append(out, sheet->batches ? ",global_batch_size" : "");
    galv_text_append(out, sheet->rank_orders ? ",rank_order\n" : "\n");
    for (int32_t i = 0; i < found->n_plans; i++) {
        const galv_plan *plan = found->plans[i].plan;
        const galv_result *r = &found->plans[i].result;
        galv_csv_put_i64(out, i + 1, true);
        put_degrees(out, NULL, plan, plan->pp, plan->vpp, galv_plan_micro_batch(plan),
                    plan->schedule);
        const double values[] = {
            r->iteration_time_s,  r->tokens_per_s, r->tokens_per_s_per_gpu, r->mfu,
            r->peak_memory_bytes, r->bubble_frac,  r->exposed_comm_frac};
        for (size_t k = 0; k < sizeof values / sizeof values[0]; k++) {
            galv_csv_put_f64(out, values[k], false);
        }
        if (sheet->batches) {
            galv_csv_put_i64(out, plan->global_batch_size, false);
        }
        if (sheet->rank_orders) {
            galv_csv_put(out, plan->rank_order, false);
        }
        galv_text_append(out, "\n");
    }
}

static void put_candidates(galv_text *text, const galv_search_result *found,
                           int64_t batch, bool orders)
{
    for (size_t i = 0; i < found->n_searched; i++) {
        const galv_searched *s = &found->searched[i];
        const galv_candidate *c = &s->candidate;
        galv_csv_put(text, galv_fate_names[s->fate], true);
        put_degrees(text, &c->strategy, c->layered, c->pp, c->vpp, c->micro_batch_size,
                    c->schedule == NULL ? "none" : c->schedule->name);
        galv_csv_put_f64(text, s->bound_s, false);
        galv_csv_put_f64(text, s->time_s, false);
        galv_csv_put_f64(text, s->peak_memory_bytes, false);
        galv_csv_put(text, c->layered == NULL ? "uniform" : "per-layer", false);
        if (batch > 0) {
            galv_csv_put_i64(text, batch, false);
        }
        if (orders) {
            galv_csv_put(text, galv_rank_order_names[c->rank_order], false);
        }
        galv_text_append(text, "\n");
    }
}

galv_status galv_plan_sheet_write_candidates(const char *path,
                                             const galv_search_result *found,
                                             const galv_batches_result *batched,
                                             const galv_plan_sheet *sheet,
                                             galv_err *err)
{
    galv_text text = GALV_TEXT_INIT;
    bool orders = sheet->rank_orders;
    galv_text_append(&text, "fate," DEGREES
                            ",bound_s,iteration_time_s,peak_memory_bytes,layers");
    galv_text_append(&text, sheet->batches ? ",global_batch_size" : "");
    galv_text_append(&text, orders ? ",rank_order\n" : "\n");
    for (size_t i = 0; i < batched->n_points; i++) {
        const galv_batch_point *point = &batched->points[i];
        put_candidates(&text, &point->found, point->job->workload.global_batch_size,
                       orders);
    }
    put_candidates(&text, found, 0, orders);
    galv_status status =
        text.failed ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                    : galv_file_write(path, galv_text_string(&text), text.length, err);
    galv_text_release(&text);
    return status;
}
