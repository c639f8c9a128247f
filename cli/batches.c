/* By tokens a second, since by the time of a step the smallest batch always wins. */
#include "cli/batches.h"

#include "base/units.h"
#include "cli/output.h"

galv_status galv_batches_read(int64_t *batches, size_t *n, const galv_cli *cli,
                              galv_err *err)
{
    *n = 0;
    galv_status status =
        galv_cli_counts(batches, n, GALV_MOST_BATCHES, cli, GALV_OPTION_GLOBAL_BATCH, 1,
                        (int64_t)1 << 40, err);
    *n = *n > 1 ? *n : 0;
    return status;
}

galv_status galv_batches_refuse(const galv_cli *cli, galv_err *err)
{
    int64_t batches[GALV_MOST_BATCHES];
    size_t n = 0;
    galv_status status = galv_batches_read(batches, &n, cli, err);
    if (status == GALV_OK && n > 1) {
        galv_fail(err, GALV_USAGE, "one batch here");
        galv_hint(err, "a list is for a search without --front, --phases, --observed "
                       "or another cost model, and for sweep");
        return galv_cli_blame(cli, GALV_OPTION_GLOBAL_BATCH,
                              galv_cli_value(cli, GALV_OPTION_GLOBAL_BATCH), err);
    }
    return status;
}

const galv_batch_point *galv_batches_of_plan(const galv_batches_result *result,
                                             const galv_plan *plan)
{
    for (size_t i = 0; i < result->n_points; i++) {
        if (result->points[i].job->workload.global_batch_size ==
            plan->global_batch_size) {
            return &result->points[i];
        }
    }
    return &result->points[result->best];
}

void galv_batches_print(const galv_cli *cli, const galv_batches_result *result)
{
    static const galv_column columns[] = {
        {"batch", "", false, 0, 0}, {"step", "s", false, 0, 0},
        {"tok/s", "", false, 0, 0}, {"at most", "", false, 0, 0},
        {"MFU", "%", false, 0, 0},  {"", "", true, 0, 0}};
    galv_table table;
    galv_table_init(&table, cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < result->n_points; i++) {
        const galv_batch_point *p = &result->points[i];
        char number[32];
        galv_table_row(&table);
        galv_table_cell(&table, "%lld", (long long)p->job->workload.global_batch_size);
        if (p->status != GALV_OK) {
            for (int k = 0; k < 4; k++) {
                galv_table_cell(&table, "-");
            }
            galv_table_cell(&table, "%s",
                            p->status == GALV_INFEASIBLE ? "nothing fits" : "no plan");
            continue;
        }
        const galv_result *r = &p->found.plans[0].result;
        galv_table_cell(&table, "%s",
                        galv_print_number(number, sizeof number, r->iteration_time_s));
        galv_table_cell(&table, "%s",
                        galv_print_number(number, sizeof number, p->tokens_per_s));
        galv_table_cell(&table, "%s",
                        galv_print_number(number, sizeof number, p->most_tokens_per_s));
        galv_table_cell(&table, "%.1f", 100 * r->mfu);
        galv_table_cell(&table, "%s", i == result->best ? "*" : "");
    }
    galv_print(cli, "\nby global batch; the plans are in order of tokens a second\n");
    galv_cli_print_table(cli, &table);
}

void galv_batches_to_json(const galv_batches_result *result, galv_json_writer *writer)
{
    galv_json_put_key(writer, "batches");
    galv_json_begin_array(writer, false);
    for (size_t i = 0; i < result->n_points; i++) {
        const galv_batch_point *p = &result->points[i];
        galv_json_begin_object(writer, true);
        galv_json_key_i64(writer, "global_batch_size",
                          p->job->workload.global_batch_size);
        if (p->status == GALV_OK) {
            galv_json_key_f64(writer, "iteration_time_s",
                              p->found.plans[0].result.iteration_time_s);
            galv_json_key_f64(writer, "tokens_per_s", p->tokens_per_s);
            galv_json_key_f64(writer, "upper_bound_tokens_per_s", p->most_tokens_per_s);
            galv_json_key_bool(writer, "proven_optimal", p->found.proven_optimal);
        } else {
            galv_json_key_string(writer, "why_not", p->why_not);
        }
        galv_json_end_object(writer);
    }
    galv_json_end_array(writer);
    galv_json_key_f64(writer, "upper_bound_tokens_per_s", result->most_tokens_per_s);
}
