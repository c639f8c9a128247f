/* The critical path in words: what it is made of, and why each stage idles beside it.
 *
 * Where every rank was simulated a stage is shown by the mean of its ranks, since there
 * are too many to list; documents have them all. */
#include "cli/path_report.h"

#include "base/units.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/report.h"

/* The mean rank of a stage, and what all of them have of the path. */
static galv_rank_time mean_of_stage(const galv_critical_path *path, int32_t stage,
                                    double *on_path_s)
{
    galv_rank_time mean = {0};
    int32_t n = path->ranks_per_stage;
    for (int32_t i = 0; i < n; i++) {
        const galv_rank_time *rank = &path->ranks[stage * n + i];
        for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
            *on_path_s += rank->path_s[part];
            mean.spent_s[part] += rank->spent_s[part] / n;
        }
        for (int cause = 0; cause < GALV_N_BUBBLES; cause++) {
            mean.bubble_s[cause] += rank->bubble_s[cause] / n;
        }
    }
    return mean;
}

/* Each stage's share of the path, and why it idles; shares of the iteration. */
static void print_bubbles(const galv_cli *cli, const galv_critical_path *path)
{
    static const galv_column columns[] = {
        {"stage", "", false, 0, 0},      {"on path", "%", false, 0, 0},
        {"idle", "%", false, 0, 0},      {"warm-up", "%", false, 1, 0},
        {"upstream", "%", false, 1, 0},  {"downstream", "%", false, 1, 0},
        {"cool-down", "%", false, 1, 0}, {"message", "%", false, 1, 0},
        {"step", "%", false, 1, 0},      {"collective", "%", false, 0, 0}};
    galv_table table;
    bool folded = path->ranks_per_stage == 1;
    size_t n_columns = sizeof columns / sizeof columns[0] - (folded ? 1 : 0);
    int n_causes = GALV_N_BUBBLES - (folded ? 1 : 0);
    galv_table_init(&table, cli->arena, columns, n_columns);
    for (int32_t stage = 0; stage < path->n_ranks / path->ranks_per_stage; stage++) {
        double on_path_s = 0;
        galv_rank_time mean = mean_of_stage(path, stage, &on_path_s);
        galv_table_row(&table);
        galv_table_cell(&table, "%d", (int)stage);
        galv_table_cell(&table, "%.1f", 100 * on_path_s / path->duration_s);
        galv_table_cell(&table, "%.1f",
                        100 * mean.spent_s[GALV_BREAKDOWN_BUBBLE] / path->duration_s);
        for (int cause = 0; cause < n_causes; cause++) {
            galv_table_cell(&table, "%.1f",
                            100 * mean.bubble_s[cause] / path->duration_s);
        }
    }
    galv_print(cli, "\n");
    galv_cli_print_table(cli, &table);
}

static void print_why_not(const galv_cli *cli, const char *why_not)
{
    galv_text line = GALV_TEXT_INIT;
    galv_text wrapped = GALV_TEXT_INIT;
    galv_text_printf(&line, "no critical path: %s", why_not);
    galv_help_wrap(&wrapped, galv_text_string(&line), 0, 80);
    galv_print(cli, "\n%s", galv_text_string(&wrapped));
    galv_text_release(&wrapped);
    galv_text_release(&line);
}

void galv_path_report_print(const galv_cli *cli, const galv_critical_path *path,
                            const char *why_not)
{
    if (why_not != NULL) {
        print_why_not(cli, why_not);
        return;
    }
    char ops[32], hops[32], slowed[32];
    galv_print(cli, "\ncritical path: the chain of operations that sets the end\n");
    galv_report_share_line(cli, "its time", path->spent_s, galv_breakdown_names,
                           GALV_N_BREAKDOWNS, path->duration_s);
    galv_print(cli, "  %-16s %s operations, %s changes of stage; %s lost to what\n",
               "its shape", galv_print_count(ops, sizeof ops, (int64_t)path->n_ops),
               galv_print_count(hops, sizeof hops, (int64_t)path->n_hops),
               galv_print_seconds(slowed, sizeof slowed, path->slowed_s));
    galv_print(cli, "  %-16s runs beside them\n", "");
    if (path->n_ranks > 1 && path->duration_s > 0) {
        print_bubbles(cli, path);
    }
}

galv_status galv_path_report_find(galv_critical_path *path, const char **why_not,
                                  const galv_costmodel *model, const galv_plan *plan,
                                  const galv_result *result,
                                  const galv_evaluate_options *options,
                                  galv_arena *arena, galv_err *err)
{
    galv_err why = GALV_ERR_INIT;
    *why_not = NULL;
    if (result->cluster.n_ranks == 0) {
        return galv_critical_path_of_plan(path, model, plan, arena, err);
    }
    galv_status status = galv_critical_path_of_all_ranks(
        path, model, plan, options, (uint32_t)result->cluster.spread.median_run, arena,
        &why);
    if (status != GALV_USAGE) {
        *err = why;
        return status;
    }
    *why_not = galv_arena_strdup(arena, why.message);
    return *why_not == NULL ? galv_fail(err, GALV_NO_MEMORY, "out of memory") : GALV_OK;
}
