/* simulate: one plan, from a file or by degrees.
 *
 * One simulation has one thread; --jobs is accepted so that scripts can pass it to
 * every command, and changes nothing. */
#include "base/csv.h"
#include "base/file.h"
#include "cli/choices.h"
#include "cli/config.h"
#include "cli/output.h"
#include "cli/report.h"
#include "schedule/program.h"

typedef struct simulation {
    const galv_cli *cli;
    galv_setup setup;
    galv_costmodel *model;
    galv_plan *plan;
    galv_result result;
    galv_target target;
} simulation;

static galv_status read_plan(simulation *s, galv_err *err)
{
    int n_jobs = 1;
    galv_status status =
        galv_target_read(&s->target, s->cli, ".json .csv .png .svg .pdf", true, err);
    if (status == GALV_OK) {
        status = galv_jobs_read(&n_jobs, s->cli, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (s->cli->n_arguments > 0) {
        status = galv_setup_load(&s->setup, s->cli, s->cli->arguments[0], err);
        s->plan = s->setup.plan;
        return status;
    }
    status = galv_setup_read(&s->setup, s->cli, err);
    if (status == GALV_OK && !galv_cli_given(s->cli, GALV_OPTION_PRINT_CONFIG)) {
        status = galv_plan_by_hand(&s->plan, &s->setup, s->cli, err);
    }
    return status;
}

static galv_status print_program(const simulation *s, galv_err *err)
{
    galv_program *program = NULL;
    galv_status status =
        galv_program_compile(&program, &s->setup.job, s->plan, s->cli->arena, err);
    if (status == GALV_OK) {
        *s->cli->out_is_data = true;
        galv_program_print(s->cli->out, program);
    }
    return status;
}

static void report_csv(const simulation *s)
{
    const galv_result *r = &s->result;
    const struct {
        const char *name;
        double value;
    } values[] = {
        {"iteration_time_s", r->iteration_time_s},
        {"tokens_per_s", r->tokens_per_s},
        {"tokens_per_s_per_gpu", r->tokens_per_s_per_gpu},
        {"samples_per_s", r->samples_per_s},
        {"mfu", r->mfu},
        {"hfu", r->hfu},
        {"peak_memory_bytes", r->peak_memory_bytes},
        {"memory_limit_bytes", r->memory_limit_bytes},
        {"bubble_frac", r->bubble_frac},
        {"exposed_comm_frac", r->exposed_comm_frac},
    };
    char line[160];
    galv_text *out = s->cli->out;
    *s->cli->out_is_data = true;
    galv_text_append(out, "plan");
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        galv_csv_put(out, values[i].name, false);
    }
    galv_text_append(out, "\n");
    galv_csv_put(out, galv_plan_print(line, sizeof line, s->plan), true);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        galv_csv_put_f64(out, values[i].value, false);
    }
    galv_text_append(out, "\n");
}

static galv_status report(const simulation *s, galv_err *err)
{
    if (galv_cli_given(s->cli, GALV_OPTION_JSON)) {
        *s->cli->out_is_data = true;
        return galv_result_document(s->cli->out, s->cli, &s->setup, s->plan, &s->result,
                                    err);
    }
    if (galv_cli_given(s->cli, GALV_OPTION_CSV)) {
        report_csv(s);
        return GALV_OK;
    }
    galv_report_job(s->cli, &s->setup);
    galv_report_result(s->cli, &s->setup, s->model, s->plan, &s->result, "Plan");
    galv_print(s->cli, "\n");
    galv_report_stages(s->cli, &s->result);
    return GALV_OK;
}

static galv_status write_folder(const simulation *s, galv_err *err)
{
    static const char *const names[] = {"plan.json", "result.json", "timeline.csv",
                                        "timeline.png", "trace.json"};
    galv_status status = galv_folder_make(s->target.folder, err);
    for (int i = 0; status == GALV_OK && i < 5; i++) {
        const char *path = galv_path_join(s->cli->arena, s->target.folder, names[i]);
        if (path == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        status = i == 0   ? galv_plan_write(path, &s->setup.job, s->plan, err)
                 : i == 1 ? galv_result_write(path, s->cli, &s->setup, s->plan,
                                              &s->result, err)
                          : galv_timeline_write(path, &s->result.timeline, err);
        if (status == GALV_OK) {
            galv_cli_wrote(s->cli, path);
        }
    }
    return status;
}

static galv_status write_files(const simulation *s, galv_err *err)
{
    if (s->target.folder != NULL) {
        return write_folder(s, err);
    }
    galv_status status =
        galv_target_is(&s->target, ".json")
            ? galv_result_write(s->target.file, s->cli, &s->setup, s->plan, &s->result,
                                err)
            : galv_timeline_write(s->target.file, &s->result.timeline, err);
    if (status == GALV_OK) {
        galv_cli_wrote(s->cli, s->target.file);
    }
    return status;
}

static galv_status simulate_it(simulation *s, galv_err *err)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    options.sim.record_timeline = s->target.given;
    galv_status status = galv_setup_costmodel(&s->model, &s->setup, s->cli, err);
    if (status == GALV_OK) {
        status =
            galv_evaluate(&s->result, s->model, s->plan, &options, s->cli->arena, err);
    }
    if (status == GALV_OK) {
        status = report(s, err);
    }
    if (status == GALV_OK && s->target.given) {
        status = write_files(s, err);
    }
    return status;
}

int galv_cmd_simulate(const galv_cli *cli)
{
    simulation s = {.cli = cli};
    galv_err err = GALV_ERR_INIT;
    galv_status status = read_plan(&s, &err);
    if (status == GALV_OK && galv_cli_given(cli, GALV_OPTION_PRINT_CONFIG)) {
        status = galv_config_print(cli, &s.setup, &err);
    } else if (status == GALV_OK && galv_cli_given(cli, GALV_OPTION_PROGRAM)) {
        status = print_program(&s, &err);
    } else if (status == GALV_OK) {
        status = simulate_it(&s, &err);
    }
    galv_costmodel_free(s.model);
    galv_setup_release(&s.setup);
    return status == GALV_OK ? 0 : galv_cli_fail(cli, &err);
}
