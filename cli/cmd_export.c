/* export: our plans as files of other tools. */
#include "base/file.h"
#include "base/words.h"
#include "cli/job.h"
#include "cli/output.h"
#include "traces/galvatron_plan.h"

#include <string.h>

static galv_status write_result(const galv_cli *cli, const galv_text *text,
                                galv_err *err)
{
    const char *path = galv_cli_value(cli, GALV_OPTION_OUTPUT);
    if (path == NULL || strcmp(path, "-") == 0) {
        *cli->out_is_data = true;
        galv_text_append_bytes(cli->out, galv_text_string(text), text->length);
        return GALV_OK;
    }
    galv_status status =
        galv_file_write(path, galv_text_string(text), text->length, err);
    if (status == GALV_OK) {
        galv_cli_wrote(cli, path);
    }
    return status;
}

static galv_status export_galvatron(const galv_cli *cli, galv_err *err)
{
    galv_setup setup = {.seed = 0};
    galv_text text = GALV_TEXT_INIT;
    galv_json_writer writer;
    galv_json_writer_init(&writer, &text);
    galv_status status = galv_setup_load(&setup, cli, cli->arguments[1], err);
    if (status == GALV_OK) {
        status = galv_galvatron_plan_to_json(&setup.job, setup.plan, &writer, err);
    }
    if (status == GALV_OK) {
        status = galv_json_finish(&writer, err);
    }
    if (status == GALV_OK) {
        status = write_result(cli, &text, err);
    }
    galv_text_release(&text);
    galv_setup_release(&setup);
    return status;
}

int galv_cmd_export(const galv_cli *cli)
{
    static const char *const formats[] = {"galvatron"};
    galv_err err = GALV_ERR_INIT;
    if (galv_word_index(formats, 1, cli->arguments[0]) < 0) {
        galv_fail(&err, GALV_USAGE, "unknown format '%.64s'", cli->arguments[0]);
        galv_hint_words(&err, formats, 1, cli->arguments[0]);
        return galv_cli_fail(cli, &err);
    }
    return export_galvatron(cli, &err) == GALV_OK ? 0 : galv_cli_fail(cli, &err);
}
