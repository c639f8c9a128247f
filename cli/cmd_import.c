/* import: files of other tools into ours. */
#include "base/file.h"
#include "base/words.h"
#include "cli/job.h"
#include "cli/output.h"
#include "cli/report.h"
#include "plan/model.h"
#include "traces/galvatron.h"
#include "traces/galvatron_plan.h"
#include "traces/profile.h"

#include <string.h>

static const char *destination(const galv_cli *cli)
{
    const char *path = galv_cli_value(cli, GALV_OPTION_OUTPUT);
    return path == NULL ? "-" : path;
}

static void say_where(const galv_cli *cli, const char *path)
{
    if (strcmp(path, "-") != 0) {
        galv_cli_wrote(cli, path);
    }
}

static galv_status need(const galv_cli *cli, galv_option_id id, const char *what,
                        galv_err *err)
{
    if (galv_cli_given(cli, id)) {
        return GALV_OK;
    }
    galv_fail(err, GALV_USAGE, "'import %s' needs --%s", cli->arguments[0],
              galv_options[id].name);
    galv_hint(err, "the files do not say %s; for example: %s", what,
              galv_options[id].example);
    return GALV_USAGE;
}

static galv_status read_galvatron(galv_galvatron_import *import, const galv_cli *cli,
                                  galv_err *err)
{
    int64_t n_nodes = 1, per_node = 8;
    int precision = GALV_BF16;
    galv_status status =
        need(cli, GALV_OPTION_GPU, "on which GPU they were measured", err);
    if (status == GALV_OK) {
        status = galv_cli_count(&n_nodes, cli, GALV_OPTION_NODES, 1, 1000000, err);
    }
    if (status == GALV_OK) {
        status =
            galv_cli_count(&per_node, cli, GALV_OPTION_GPUS_PER_NODE, 1, 4096, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_word(&precision, cli, GALV_OPTION_PRECISION,
                               galv_precision_names, GALV_N_PRECISIONS, err);
    }
    *import = (galv_galvatron_import){
        .folder = cli->arguments[1],
        .model = galv_cli_value(cli, GALV_OPTION_MODEL),
        .device = galv_cli_value(cli, GALV_OPTION_GPU),
        .n_nodes = (int32_t)n_nodes,
        .devices_per_node = (int32_t)per_node,
        .precision = (galv_precision)precision,
    };
    return status;
}

static galv_status import_galvatron(const galv_cli *cli, galv_err *err)
{
    galv_galvatron_import import;
    size_t n_files = 0;
    galv_status status = read_galvatron(&import, cli, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_profile *profile = galv_profile_new();
    if (profile == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    const char *path = destination(cli);
    status = galv_profile_import_galvatron(profile, &n_files, &import, err);
    if (status == GALV_OK) {
        status = galv_profile_write_csv(profile, path, err);
    }
    if (status == GALV_OK) {
        say_where(cli, path);
        if (strcmp(path, "-") != 0) {
            galv_print(cli, "%zu measurements from %zu files\n", profile->n_rows,
                       n_files);
        }
    }
    galv_profile_free(profile);
    return status;
}

static galv_status write_model(const galv_cli *cli, const galv_model *model,
                               galv_err *err)
{
    galv_text text = GALV_TEXT_INIT;
    galv_json_writer writer;
    galv_json_writer_init(&writer, &text);
    galv_model_to_json(model, &writer);
    const char *path = destination(cli);
    galv_status status = galv_json_finish(&writer, err);
    if (status == GALV_OK && strcmp(path, "-") == 0) {
        *cli->out_is_data = true;
        galv_text_append_bytes(cli->out, galv_text_string(&text), text.length);
    } else if (status == GALV_OK) {
        status = galv_file_write(path, galv_text_string(&text), text.length, err);
        if (status == GALV_OK) {
            say_where(cli, path);
        }
    }
    galv_text_release(&text);
    return status;
}

static galv_status import_huggingface(const galv_cli *cli, galv_err *err)
{
    galv_json *document = NULL;
    galv_model model;
    galv_status status = galv_json_read_file(&document, cli->arguments[1], err);
    if (status == GALV_OK) {
        status = galv_model_from_huggingface(&model, galv_json_root(document), err);
    }
    galv_json_free(document);
    if (status == GALV_OK) {
        galv_model_name_from_path(&model, cli->arguments[1]);
    }
    return status == GALV_OK ? write_model(cli, &model, err) : status;
}

static galv_status import_model(const galv_cli *cli, galv_err *err)
{
    galv_model model;
    galv_status status = galv_model_load(&model, cli->arguments[1], err);
    return status == GALV_OK ? write_model(cli, &model, err) : status;
}

/* The strategy says how and the options on what: model, and a cluster of its size. */
static galv_status import_galvatron_plan(const galv_cli *cli, galv_err *err)
{
    galv_setup setup = {.seed = 0};
    galv_plan *plan = NULL;
    galv_status status = need(cli, GALV_OPTION_MODEL, "which model they spread", err);
    if (status == GALV_OK && !galv_cli_given(cli, GALV_OPTION_CLUSTER)) {
        status = need(cli, GALV_OPTION_GPU, "for which GPU they were found", err);
    }
    if (status == GALV_OK) {
        status = galv_setup_read(&setup, cli, err);
    }
    if (status == GALV_OK) {
        status = galv_galvatron_plan_load(&setup.job, &plan, cli->arguments[1],
                                          cli->arena, err);
    }
    const char *path = destination(cli);
    if (status == GALV_OK && strcmp(path, "-") == 0) {
        galv_json_writer writer;
        *cli->out_is_data = true;
        galv_json_writer_init(&writer, cli->out);
        galv_plan_to_json(&setup.job, plan, &writer);
        status = galv_json_finish(&writer, err);
    } else if (status == GALV_OK) {
        status = galv_plan_write(path, &setup.job, plan, err);
        if (status == GALV_OK) {
            say_where(cli, path);
        }
    }
    galv_setup_release(&setup);
    return status;
}

int galv_cmd_import(const galv_cli *cli)
{
    static const char *const formats[] = {"galvatron", "galvatron-plan", "huggingface",
                                          "model"};
    static galv_status (*const readers[])(const galv_cli *, galv_err *) = {
        import_galvatron, import_galvatron_plan, import_huggingface, import_model};
    galv_err err = GALV_ERR_INIT;
    int format = galv_word_index(formats, 4, cli->arguments[0]);
    if (format < 0) {
        galv_fail(&err, GALV_USAGE, "unknown format '%.64s'", cli->arguments[0]);
        galv_hint_words(&err, formats, 4, cli->arguments[0]);
        return galv_cli_fail(cli, &err);
    }
    return readers[format](cli, &err) == GALV_OK ? 0 : galv_cli_fail(cli, &err);
}
