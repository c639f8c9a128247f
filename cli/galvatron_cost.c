/* Galvatron's cost of a plan beside our simulation of it.
 *
 * The two are fed differently on purpose: Galvatron's from its own profiles, ours from
 * what --profile gives or what is built in. `import galvatron` makes a profile of ours
 * from the same files, so that both can be fed alike. */
#include "cli/galvatron_cost.h"

#include "base/units.h"
#include "cli/output.h"
#include "cli/report.h"

#define MIB 1048576.0

static const char *const models[] = {"own", "galvatron"};

/* The options that come with the model, and only with it. */
static galv_status check_options(bool *wanted, const galv_cli *cli, galv_err *err)
{
    int model = 0;
    galv_status status =
        galv_cli_word(&model, cli, GALV_OPTION_COST_MODEL, models, 2, err);
    if (status != GALV_OK) {
        return status;
    }
    bool profile = galv_cli_given(cli, GALV_OPTION_GALVATRON_PROFILE);
    bool time = galv_cli_given(cli, GALV_OPTION_GALVATRON_TIME);
    if (model == 0 && (profile || time)) {
        galv_fail(err, GALV_USAGE, "--galvatron-%s goes with --cost-model galvatron",
                  profile ? "profile" : "time");
        galv_hint(err, "to feed our own cost model: import galvatron, then --profile");
        return GALV_USAGE;
    }
    if (model == 1 && !profile) {
        galv_fail(err, GALV_USAGE, "--cost-model galvatron needs --galvatron-profile");
        galv_hint(err, "the folder of the profiles that Galvatron made");
        return GALV_USAGE;
    }
    *wanted = model == 1;
    return GALV_OK;
}

double galv_second_opinion_budget_mib(const galv_setup *setup)
{
    double limit = setup->job.workload.memory_limit_bytes;
    return (limit > 0 ? limit
                      : (double)setup->job.cluster.pools[0].device.memory_bytes) /
           MIB;
}

static galv_status read_inputs(galv_galvatron_inputs *inputs,
                               galv_second_opinion *opinion, const galv_cli *cli,
                               const galv_setup *setup, galv_err *err)
{
    int mode = GALV_GALVATRON_TIME_BATCH;
    galv_status status = galv_cli_word(&mode, cli, GALV_OPTION_GALVATRON_TIME,
                                       galv_galvatron_time_mode_names, 3, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_galvatron_inputs_options options = {
        .folder = galv_cli_repeated(cli, GALV_OPTION_GALVATRON_PROFILE, 0),
        .hardware_folder = galv_cli_repeated(cli, GALV_OPTION_GALVATRON_PROFILE, 1),
        .time_mode = (galv_galvatron_time_mode)mode,
        .memory_mode = mode == GALV_GALVATRON_TIME_SEQUENCE
                           ? GALV_GALVATRON_MEMORY_SEQUENCE
                           : GALV_GALVATRON_MEMORY_STATIC,
    };
    opinion->time_mode = galv_galvatron_time_mode_names[mode];
    return galv_galvatron_inputs_read(inputs, &setup->job, &options, err);
}

galv_status galv_second_opinion_inputs(galv_galvatron_inputs *inputs,
                                       galv_second_opinion *opinion,
                                       const galv_cli *cli, const galv_setup *setup,
                                       galv_err *err)
{
    bool wanted = false;
    galv_status status = check_options(&wanted, cli, err);
    return status == GALV_OK && wanted ? read_inputs(inputs, opinion, cli, setup, err)
                                       : status;
}

galv_status galv_second_opinion_cost(galv_second_opinion *opinion,
                                     const galv_galvatron_inputs *inputs,
                                     const galv_setup *setup, const galv_plan *plan,
                                     galv_arena *arena, galv_err *err)
{
    galv_status status =
        galv_galvatron_plan_cost(&opinion->cost, inputs, plan,
                                 galv_second_opinion_budget_mib(setup), arena, err);
    opinion->given = status == GALV_OK;
    return status;
}

galv_status galv_second_opinion_read(galv_second_opinion *opinion, const galv_cli *cli,
                                     const galv_setup *setup, const galv_plan *plan,
                                     galv_err *err)
{
    bool wanted = false;
    galv_status status = check_options(&wanted, cli, err);
    if (status != GALV_OK || !wanted) {
        return status;
    }
    galv_galvatron_inputs *inputs = GALV_NEW(cli->arena, galv_galvatron_inputs);
    if (inputs == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    status = read_inputs(inputs, opinion, cli, setup, err);
    return status == GALV_OK
               ? galv_second_opinion_cost(opinion, inputs, setup, plan, cli->arena, err)
               : status;
}

/* One row for each stage: time of one micro-batch, memory, ours beside. */
static void print_stages(const galv_galvatron_cost *cost, const galv_cli *cli,
                         const galv_result *ours)
{
    static const galv_column columns[] = {
        {"stage", "", false, 0, 0},
        {"micro-batch", "ms", false, 0, 0},
        {"memory", "GiB", false, 0, 0},
        {"ours", "GiB", false, 1, 0},
    };
    galv_table table;
    galv_table_init(&table, cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (int32_t s = 0; s < cost->n_stages; s++) {
        const galv_galvatron_stage *stage = &cost->stages[s];
        galv_table_row(&table);
        galv_table_cell(&table, "%d", (int)s);
        galv_table_cell(&table, "%.1f", stage->no_sync_s * 1e3);
        galv_table_cell(&table, "%.1f", stage->memory_mib / 1024);
        if (s < ours->n_stages) {
            galv_table_cell(&table, "%.1f",
                            ours->stages[s].peak_memory_bytes / MIB / 1024);
        }
    }
    galv_print(cli, "\n");
    galv_table_print(cli->out, &table,
                     galv_cli_given(cli, GALV_OPTION_WIDE) ? 0 : cli->terminal.width,
                     galv_terminal_bold(&cli->terminal),
                     galv_terminal_plain(&cli->terminal));
}

void galv_second_opinion_print(const galv_second_opinion *opinion, const galv_cli *cli,
                               const galv_result *ours)
{
    const galv_galvatron_cost *cost = &opinion->cost;
    char step[32], own[32], rate[32], memory[32], budget[32], reserve[32];
    if (!opinion->given) {
        return;
    }
    galv_print(cli, "\nGalvatron's cost model, fed by its own profiles (times: %s)\n\n",
               opinion->time_mode);
    galv_print(cli, "  %-16s %s   %+.1f %% of ours, %s\n", "step time",
               galv_print_seconds(step, sizeof step, cost->iteration_s),
               100 * (cost->iteration_s / ours->iteration_time_s - 1),
               galv_print_seconds(own, sizeof own, ours->iteration_time_s));
    galv_print(cli, "  %-16s %s samples/s\n", "throughput",
               galv_print_number(rate, sizeof rate, cost->samples_per_s));
    galv_print(cli, "  %-16s %s of %s on stage %d%s\n", "memory, worst",
               galv_print_bytes(memory, sizeof memory,
                                (cost->memory_mib - cost->reserve_mib) * MIB),
               galv_print_bytes(budget, sizeof budget,
                                (cost->budget_mib - cost->reserve_mib) * MIB),
               (int)cost->fullest_stage, cost->fits ? "" : "   DOES NOT FIT");
    if (cost->reserve_mib > 0) {
        galv_print(cli, "  %-16s %s more are kept free, a fifth\n", "",
                   galv_print_bytes(reserve, sizeof reserve, cost->reserve_mib * MIB));
    }
    print_stages(cost, cli, ours);
}

void galv_second_opinion_to_json(const galv_second_opinion *opinion,
                                 galv_json_writer *writer)
{
    const galv_galvatron_cost *cost = &opinion->cost;
    if (!opinion->given) {
        return;
    }
    galv_json_put_key(writer, "galvatron");
    galv_json_begin_object(writer, false);
    galv_json_key_string(writer, "time_mode", opinion->time_mode);
    galv_json_key_f64(writer, "iteration_time_s", cost->iteration_s);
    galv_json_key_f64(writer, "samples_per_s", cost->samples_per_s);
    galv_json_key_f64(writer, "peak_memory_bytes", cost->memory_mib * MIB);
    galv_json_key_f64(writer, "reserve_bytes", cost->reserve_mib * MIB);
    galv_json_key_f64(writer, "memory_limit_bytes", cost->budget_mib * MIB);
    galv_json_key_bool(writer, "fits", cost->fits);
    galv_json_put_key(writer, "stages");
    galv_json_begin_array(writer, false);
    for (int32_t s = 0; s < cost->n_stages; s++) {
        galv_json_begin_object(writer, true);
        galv_json_key_i64(writer, "stage", s);
        galv_json_key_f64(writer, "micro_batch_s", cost->stages[s].no_sync_s);
        galv_json_key_f64(writer, "layers_with_reduction_s", cost->stages[s].sync_s);
        galv_json_key_f64(writer, "memory_bytes", cost->stages[s].memory_mib * MIB);
        galv_json_end_object(writer);
    }
    galv_json_end_array(writer);
    galv_json_end_object(writer);
}
