/* The parts of an iteration add up to it, in both plans, so the differences of the
 * parts add up to what the plan loses. Parts that differ by less than LEAST_SHARE of
 * the iteration are left out of the table. */
#include "cli/best_instead.h"

#include "accuracy/interval.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/help.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/what_fits.h"
#include "search/search.h"

#include <math.h>
#include <stdio.h>

#define LEAST_SHARE 0.002

galv_status galv_best_instead_find(galv_best_instead *best, const galv_cli *cli,
                                   const galv_setup *setup, const galv_costmodel *model,
                                   galv_err *err)
{
    galv_best_instead made = {0};
    galv_search_result found = {0};
    galv_space space = GALV_SPACE_INIT;
    galv_search_options options = GALV_SEARCH_OPTIONS_INIT;
    galv_progress progress;
    galv_err why = GALV_ERR_INIT;
    space.layer_wise = true;
    options.top_k = 1;
    options.max_ops = GALV_SEARCH_USUAL_OPS;
    options.cancel = galv_interrupt_watch();
    options.progress = galv_progress_show;
    options.progress_context = &progress;
    galv_status status = galv_jobs_read(&options.n_jobs, cli, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_progress_begin(&progress, cli);
    made.status = galv_search(&found, model, &space, &options, cli->arena, &why);
    galv_progress_end(&progress);
    if (made.status == GALV_NO_MEMORY) {
        return galv_fail(err, made.status, "%s", why.message);
    }
    if (made.status == GALV_OK) {
        made.plan = found.plans[0].plan;
        made.result = found.plans[0].result;
        made.proven = found.proven_optimal;
    } else {
        if (made.status == GALV_INFEASIBLE) {
            galv_say_what_fits(cli, setup, &space, &why);
        }
        snprintf(made.why_not, sizeof made.why_not, "%.255s; %.250s", why.message,
                 why.hint);
    }
    *best = made;
    return GALV_OK;
}

static void print_parts(const galv_best_instead *best, const galv_cli *cli,
                        const galv_result *result)
{
    static const galv_column columns[] = {{"part", "", true, 0, 0},
                                          {"this plan", "s", false, 0, 0},
                                          {"the best", "s", false, 0, 0},
                                          {"lost", "s", false, 0, 0}};
    galv_table table;
    galv_table_init(&table, cli->arena, columns, 4);
    for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
        double here_s = result->breakdown_s[part];
        double there_s = best->result.breakdown_s[part];
        char a[32], b[32], c[32];
        if (fabs(here_s - there_s) < LEAST_SHARE * result->iteration_time_s) {
            continue;
        }
        galv_table_row(&table);
        galv_table_cell(&table, "%s", galv_breakdown_names[part]);
        galv_table_cell(&table, "%s", galv_print_number(a, sizeof a, here_s));
        galv_table_cell(&table, "%s", galv_print_number(b, sizeof b, there_s));
        galv_table_cell(&table, "%s%s", here_s > there_s ? "+" : "",
                        galv_print_number(c, sizeof c, here_s - there_s));
    }
    galv_cli_print_table(cli, &table);
}

void galv_best_instead_print(const galv_best_instead *best, const galv_cli *cli,
                             const galv_result *result)
{
    char line[160], time[32];
    galv_print(cli, "\nagainst the best plan of this job\n");
    if (best->status != GALV_OK) {
        galv_text why = GALV_TEXT_INIT;
        galv_text_printf(&why, "there is none: %s", best->why_not);
        galv_help_wrap(cli->out, galv_text_string(&why), 2, 79);
        galv_text_release(&why);
        return;
    }
    double less = 1 - best->result.iteration_time_s / result->iteration_time_s;
    if (result->fits && less <= LEAST_SHARE) {
        galv_print(cli, "  this is the best, or as good%s\n",
                   best->proven ? "" : " as any that was looked at");
        return;
    }
    galv_plan_print(line, sizeof line, best->plan);
    galv_print(cli, "  %s\n  step %s, %.1f %% %s; %.1f GiB of %.1f GiB%s\n", line,
               galv_print_seconds(time, sizeof time, best->result.iteration_time_s),
               100 * fabs(less), less < 0 ? "more" : "less",
               best->result.peak_memory_bytes / 0x1p30,
               best->result.memory_limit_bytes / 0x1p30,
               result->fits ? "" : ": it fits");
    print_parts(best, cli, result);
}

void galv_best_instead_to_json(const galv_best_instead *best, const galv_setup *setup,
                               galv_json_writer *writer)
{
    char line[160];
    galv_json_put_key(writer, "best");
    if (best->status != GALV_OK) {
        galv_json_put_null(writer);
        return;
    }
    galv_json_begin_object(writer, false);
    galv_json_key_string(writer, "name",
                         galv_plan_print(line, sizeof line, best->plan));
    galv_json_key_bool(writer, "proven_optimal", best->proven);
    galv_prediction_to_json(&best->result, &setup->job, best->plan, writer);
    galv_json_end_object(writer);
}
