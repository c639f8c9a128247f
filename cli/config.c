/* What was decided, and by whom.
 *
 * An option that was typed is from the command line. One that was not is from the file
 * or the catalog entry that --model, --cluster or the plan named, where these say
 * something about it; else it is a default. */
#include "cli/config.h"

#include "base/units.h"
#include "cli/output.h"
#include "cli/table.h"

#include <stdio.h>
#include <string.h>

/* The effective value of an option as text, and where it is from when not typed. */
static galv_origin value_of(char *text, size_t size, const galv_option *option,
                            const galv_cli *cli, const galv_setup *setup)
{
    const galv_workload *w = &setup->job.workload;
    const galv_pool *pool = &setup->job.cluster.pools[0];
    char number[32];
    const char *typed = galv_cli_value(cli, option->id);
    snprintf(text, size, "%s",
             typed != NULL              ? (typed[0] != '\0' ? typed : "yes")
             : option->standard != NULL ? option->standard
             : option->argument == NULL ? "no"
                                        : "none");
    if (typed != NULL &&
        (option->id == GALV_OPTION_NODES || option->id == GALV_OPTION_GPU)) {
        return GALV_ORIGIN_COMMAND_LINE; /* maybe a list, in a sweep */
    }
    switch (option->id) {
    case GALV_OPTION_MODEL:
        return setup->workload_from;
    case GALV_OPTION_CLUSTER:
        snprintf(text, size, "%s", setup->job.cluster.name);
        return setup->workload_from;
    case GALV_OPTION_NODES:
        snprintf(text, size, "%d", galv_cluster_n_nodes(&setup->job.cluster));
        return setup->cluster_from == GALV_ORIGIN_FILE ? GALV_ORIGIN_FILE
                                                       : GALV_ORIGIN_DEFAULT;
    case GALV_OPTION_GPU:
        snprintf(text, size, "%s", pool->device.id);
        return setup->cluster_from;
    case GALV_OPTION_GPUS_PER_NODE:
        snprintf(text, size, "%d", pool->devices_per_node);
        return setup->cluster_from;
    case GALV_OPTION_SEQ_LENGTH:
        snprintf(text, size, "%d", w->seq_length);
        return setup->model_from;
    case GALV_OPTION_GLOBAL_BATCH:
        snprintf(text, size, "%lld", (long long)w->global_batch_size);
        return setup->workload_from;
    case GALV_OPTION_PRECISION:
        snprintf(text, size, "%s", galv_precision_names[w->precision]);
        return setup->workload_from;
    case GALV_OPTION_GRAD_PRECISION:
        snprintf(text, size, "%s", galv_precision_names[w->grad_precision]);
        return setup->workload_from;
    case GALV_OPTION_SOFTWARE:
        snprintf(text, size, "%s", galv_software_names[w->software]);
        return setup->workload_from;
    case GALV_OPTION_MEMORY_LIMIT:
        if (w->memory_limit_bytes > 0) {
            snprintf(text, size, "%s",
                     galv_print_bytes(number, sizeof number, w->memory_limit_bytes));
        }
        return setup->workload_from;
    default:
        return GALV_ORIGIN_DEFAULT;
    }
}

static bool is_shown(const galv_option *option, const galv_cli *cli)
{
    return galv_option_fits(option, cli->command) &&
           (option->group == GALV_IN_JOB || option->group == GALV_IN_STRATEGY ||
            option->group == GALV_IN_SEARCH || option->id == GALV_OPTION_SEED);
}

/* Repeatable options are shown with all of their values. */
static void join_repeated(char *text, size_t size, const galv_cli *cli,
                          galv_option_id id)
{
    size_t length = 0;
    for (size_t i = 0; length < size; i++) {
        const char *value = galv_cli_repeated(cli, id, i);
        if (value == NULL) {
            break;
        }
        int n = snprintf(text + length, size - length, "%s%s", i > 0 ? " " : "", value);
        length += n > 0 ? (size_t)n : 0;
    }
}

galv_status galv_config_print(const galv_cli *cli, const galv_setup *setup,
                              galv_err *err)
{
    static const galv_column columns[] = {{"option", "", true, 0, 0},
                                          {"value", "", true, 0, 0},
                                          {"from", "", true, 0, 0}};
    bool json = galv_cli_given(cli, GALV_OPTION_JSON);
    galv_json_writer writer;
    galv_table table;
    if (json) {
        galv_cli_begin_json(cli, &writer, "config");
        galv_json_put_key(&writer, "values");
        galv_json_begin_object(&writer, false);
    }
    galv_table_init(&table, cli->arena, columns, 3);
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        const galv_option *option = &galv_options[i];
        if (!is_shown(option, cli)) {
            continue;
        }
        char text[200];
        galv_origin origin = value_of(text, sizeof text, option, cli, setup);
        if (galv_cli_given(cli, option->id)) {
            origin = GALV_ORIGIN_COMMAND_LINE;
        }
        if (option->repeatable && origin == GALV_ORIGIN_COMMAND_LINE) {
            join_repeated(text, sizeof text, cli, option->id);
        }
        if (json) {
            galv_json_put_key(&writer, option->name);
            galv_json_begin_object(&writer, true);
            galv_json_key_string(&writer, "value", text);
            galv_json_key_string(&writer, "from", galv_origin_names[origin]);
            galv_json_end_object(&writer);
        } else {
            galv_table_row(&table);
            galv_table_cell(&table, "--%s", option->name);
            galv_table_cell(&table, "%s", text);
            galv_table_cell(&table, "%s", galv_origin_names[origin]);
        }
    }
    if (json) {
        galv_json_end_object(&writer);
        return galv_cli_end_json(cli, &writer, err);
    }
    galv_table_print(cli->out, &table, cli->terminal.width,
                     galv_terminal_bold(&cli->terminal),
                     galv_terminal_plain(&cli->terminal));
    return GALV_OK;
}

void galv_config_to_json(const galv_cli *cli, const galv_setup *setup,
                         galv_json_writer *writer)
{
    galv_json_put_key(writer, "config");
    galv_json_begin_object(writer, false);
    galv_json_put_key(writer, "model");
    galv_model_to_json(&setup->job.model, writer);
    galv_json_put_key(writer, "cluster");
    galv_cluster_to_json(&setup->job.cluster, writer);
    galv_json_put_key(writer, "workload");
    galv_workload_to_json(&setup->job.workload, writer);
    galv_json_put_key(writer, "options");
    galv_json_begin_object(writer, false);
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        const galv_option *option = &galv_options[i];
        if (option->group == GALV_IN_OUTPUT || !galv_cli_given(cli, option->id)) {
            continue;
        }
        galv_json_put_key(writer, option->name);
        if (!option->repeatable) {
            const char *value = galv_cli_value(cli, option->id);
            galv_json_put_string(writer, value[0] != '\0' ? value : "yes");
            continue;
        }
        galv_json_begin_array(writer, true);
        for (size_t k = 0; galv_cli_repeated(cli, option->id, k) != NULL; k++) {
            galv_json_put_string(writer, galv_cli_repeated(cli, option->id, k));
        }
        galv_json_end_array(writer);
    }
    galv_json_end_object(writer);
    galv_json_end_object(writer);
    galv_json_key_i64(writer, "seed", setup->seed);
}
