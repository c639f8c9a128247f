/* Schedules under stage times from a file: a table of them, a document, a picture.
 *
 * No job is read: the times say all that there is. So of the options of simulate only
 * those that shape a schedule are taken, and the others are refused rather than
 * ignored. What cannot be played with so many stages and micro-batches is listed below
 * the table with its reason when all schedules were asked for, and is an error when it
 * was asked for by name. */
#include "cli/stage_times.h"

#include "base/file.h"
#include "base/units.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/stage_sheet.h"
#include "schedule/schedule_file.h"
#include "viz/timelines_figure.h"

#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

static galv_status refuse_others(const galv_cli *cli, galv_err *err)
{
    for (size_t i = 0; i < cli->n_settings; i++) {
        const galv_option *option = cli->settings[i].option;
        bool taken =
            option->group == GALV_IN_OUTPUT || option->id == GALV_OPTION_STAGE_TIMES ||
            option->id == GALV_OPTION_MICRO_BATCHES ||
            option->id == GALV_OPTION_PRINT_ORDER ||
            option->id == GALV_OPTION_SCHEDULE || option->id == GALV_OPTION_VPP ||
            option->id == GALV_OPTION_GROUP_SIZE || option->id == GALV_OPTION_OVERLAP ||
            option->id == GALV_OPTION_MEMORY_LIMIT;
        if (!taken || option->id == GALV_OPTION_PRINT_CONFIG) {
            galv_fail(err, GALV_USAGE, "--%s and --stage-times do not go together",
                      option->name);
            galv_hint(err, "the file says it all; beside it: --schedule, --vpp, "
                           "--group-size, --micro-batches, --overlap, --memory-limit");
            return GALV_USAGE;
        }
    }
    if (cli->n_arguments > 0) {
        return galv_fail(err, GALV_USAGE, "'%.200s' and --stage-times: one of the two",
                         cli->arguments[0]);
    }
    return GALV_OK;
}

/* A schedule by name, or the order in a file, called as the file is. */
static galv_status add_row(galv_stage_sheet *s, const char *name, galv_err *err)
{
    galv_stage_row *r = &s->rows[s->n_rows++];
    galv_order *order = NULL;
    if (!galv_schedule_file_is(name)) {
        return galv_schedule_find(&r->schedule, name, err);
    }
    galv_status status = galv_schedule_file_read(&order, name, s->cli->arena, err);
    galv_schedule *schedule = GALV_NEW(s->cli->arena, galv_schedule);
    if (status == GALV_OK && schedule == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (status != GALV_OK) {
        return status;
    }
    *schedule = galv_schedule_of_order(order);
    schedule->name = name;
    r->schedule = schedule;
    return GALV_OK;
}

/* --group-size is of one schedule. */
static galv_status check_group_size(const galv_stage_sheet *s, galv_err *err)
{
    bool has = false;
    for (size_t i = 0; i < s->n_rows; i++) {
        has |= strcmp(s->rows[i].schedule->name, "interleaved") == 0;
    }
    return has || s->options.group_size == 0
               ? GALV_OK
               : galv_fail(err, GALV_USAGE,
                           "--group-size is of schedule interleaved, which is not "
                           "among those asked for");
}

/* --micro-batches, or those of the files. */
static galv_status count_micro_batches(galv_stage_sheet *s, galv_err *err)
{
    for (size_t i = 0; i < s->n_rows && s->options.n_micro_batches == 0; i++) {
        const galv_order *own = s->rows[i].schedule->own;
        s->options.n_micro_batches = own != NULL ? own->n_micro_batches : 0;
    }
    if (s->options.n_micro_batches == 0) {
        galv_fail(err, GALV_USAGE, "--stage-times needs --micro-batches");
        galv_hint(err, "for example: --micro-batches %d", 4 * (int)s->times.n_stages);
        return GALV_USAGE;
    }
    return GALV_OK;
}

static galv_status add_rows(galv_stage_sheet *s, galv_err *err)
{
    const char **names = NULL;
    size_t n = 0;
    galv_status status = galv_cli_split(&names, &n, s->cli, GALV_OPTION_SCHEDULE, err);
    s->all = n == 0 || (n == 1 && strcmp(names[0], "all") == 0);
    if (s->all && status == GALV_OK) {
        const galv_schedule *schedules = galv_schedules(&n);
        for (size_t i = 0; i < n && i < GALV_MOST_STAGE_ROWS; i++) {
            s->rows[s->n_rows++].schedule = &schedules[i];
        }
        return GALV_OK;
    }
    if (n > GALV_MOST_STAGE_ROWS) {
        return galv_fail(err, GALV_USAGE, "--schedule: too many names");
    }
    for (size_t i = 0; i < n && status == GALV_OK; i++) {
        status = add_row(s, names[i], err);
    }
    return status;
}

/* --overlap: what messages and steps do; p2p where it is not given. */
static galv_status read_overlap(galv_stage_times_options *options, const galv_cli *cli,
                                galv_err *err)
{
    const char **names = NULL;
    size_t n = 0;
    bool p2p = false;
    const char *text = galv_cli_value(cli, GALV_OPTION_OVERLAP);
    if (text == NULL) {
        return GALV_OK;
    }
    galv_status status = galv_cli_split(&names, &n, cli, GALV_OPTION_OVERLAP, err);
    for (size_t i = 0; i < n && status == GALV_OK; i++) {
        bool none = strcmp(names[i], "none") == 0;
        bool step = strcmp(names[i], "step") == 0;
        p2p |= strcmp(names[i], "p2p") == 0;
        options->steps_overlap |= step;
        if ((!none && !step && strcmp(names[i], "p2p") != 0) || (none && n > 1)) {
            galv_fail(err, GALV_USAGE,
                      "with --stage-times it is none, or p2p, step or both");
            status = galv_cli_blame(cli, GALV_OPTION_OVERLAP, text, err);
        }
    }
    options->messages_block = !p2p;
    return status;
}

/* --memory-limit, in activations of one micro-batch on the stage that keeps most. */
static galv_status read_memory_limit(galv_stage_sheet *s, galv_err *err)
{
    double bytes = 0;
    double most = 0;
    galv_status status = galv_cli_bytes(&bytes, s->cli, GALV_OPTION_MEMORY_LIMIT, err);
    if (status != GALV_OK || !(bytes > 0)) {
        return status;
    }
    if (!s->times.has_bytes) {
        return galv_fail(err, GALV_USAGE,
                         "--memory-limit: the stage times give no activation_bytes");
    }
    for (int32_t stage = 0; stage < s->times.n_stages; stage++) {
        double held = 0;
        for (int32_t chunk = 0; chunk < s->times.n_chunks; chunk++) {
            held += s->times.times[stage * s->times.n_chunks + chunk].activation_bytes;
        }
        most = held > most ? held : most;
    }
    s->options.memory_limit = bytes / most;
    return GALV_OK;
}

static galv_status read_sheet(galv_stage_sheet *s, galv_err *err)
{
    int64_t m = 0;
    int64_t vpp = 0;
    int64_t group_size = 0;
    galv_status status = refuse_others(s->cli, err);
    if (status == GALV_OK) {
        status = galv_target_read(&s->target, s->cli, ".json .csv .png .svg .pdf",
                                  false, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_count(&m, s->cli, GALV_OPTION_MICRO_BATCHES, 1, 1000000, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_count(&vpp, s->cli, GALV_OPTION_VPP, 1, 1024, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_count(&group_size, s->cli, GALV_OPTION_GROUP_SIZE, 1, 1 << 24,
                                err);
    }
    if (status == GALV_OK) {
        status = read_overlap(&s->options, s->cli, err);
    }
    if (status == GALV_OK) {
        status = galv_stage_times_read(&s->times,
                                       galv_cli_value(s->cli, GALV_OPTION_STAGE_TIMES),
                                       s->cli->arena, err);
    }
    if (status == GALV_OK) {
        status = read_memory_limit(s, err);
    }
    if (status == GALV_OK) {
        s->options.n_micro_batches = (int32_t)m;
        s->options.n_chunks = (int32_t)vpp;
        s->options.group_size = (int32_t)group_size;
        s->options.record_timeline = s->target.given;
        status = add_rows(s, err);
    }
    if (status == GALV_OK) {
        status = check_group_size(s, err);
    }
    if (status == GALV_OK) {
        status = count_micro_batches(s, err);
    }
    return status;
}

/* ---- playing ---- */

static galv_status play_row(galv_stage_sheet *s, galv_stage_row *r, galv_err *err)
{
    galv_err why = GALV_ERR_INIT;
    galv_stage_times_options options = s->options;
    bool can = options.n_chunks >= r->schedule->min_chunks &&
               options.n_chunks <= r->schedule->max_chunks;
    if (s->all && !can) {
        options.n_chunks = 0; /* what --vpp says is for those that can */
    }
    galv_status status = galv_stage_times_simulate(&r->result, &s->times, r->schedule,
                                                   &options, s->cli->arena, &why);
    if (status == GALV_USAGE && s->all) {
        r->why_not = galv_arena_strdup(s->cli->arena, why.message);
        return r->why_not == NULL ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                                  : GALV_OK;
    }
    if (status != GALV_OK) {
        *err = why;
    }
    return status;
}

/* The fastest first, what could not be played last; where alike, as in the table of
 * schedules. */
static void sort_rows(galv_stage_sheet *s)
{
    for (size_t i = 1; i < s->n_rows; i++) {
        galv_stage_row moving = s->rows[i];
        size_t at = i;
        while (at > 0 && moving.why_not == NULL &&
               (s->rows[at - 1].why_not != NULL ||
                s->rows[at - 1].result.iteration_time_s >
                    moving.result.iteration_time_s)) {
            s->rows[at] = s->rows[at - 1];
            at--;
        }
        s->rows[at] = moving;
    }
}

/* ---- files ---- */

/* One schedule is a timeline like any other; several are drawn above one another, as
 * many as there is room for, the fastest first. */
static galv_status write_timelines(const galv_stage_sheet *s, galv_err *err)
{
    const galv_timeline *all[GALV_MOST_TIMELINES];
    galv_figure_options options = GALV_FIGURE_OPTIONS_INIT;
    size_t n = galv_stage_sheet_n_played(s);
    options.footer = GALV_FOOTER;
    if (n == 1) {
        return galv_timeline_write(s->target.file, &s->rows[0].result.sim.timeline,
                                   err);
    }
    if (n > GALV_MOST_TIMELINES) {
        galv_status status =
            galv_cli_warn(s->cli, err, "the picture shows the %d fastest of %d",
                          GALV_MOST_TIMELINES, (int)n);
        if (status != GALV_OK) {
            return status;
        }
        n = GALV_MOST_TIMELINES;
    }
    for (size_t i = 0; i < n; i++) {
        all[i] = &s->rows[i].result.sim.timeline;
    }
    return galv_timelines_draw(all, n, NULL, s->target.file, &options, err);
}

static galv_status write_target(const galv_stage_sheet *s, galv_err *err)
{
    galv_text text = GALV_TEXT_INIT;
    bool document = galv_target_is(&s->target, ".json");
    bool table = galv_target_is(&s->target, ".csv") && s->n_rows > 1;
    galv_status status = GALV_OK;
    if (!document && !table) {
        status = write_timelines(s, err);
    } else {
        status = document ? galv_stage_sheet_document(&text, s, err) : GALV_OK;
        if (table) {
            galv_stage_sheet_put_csv(&text, s);
        }
        if (status == GALV_OK) {
            status = galv_file_write(s->target.file, galv_text_string(&text),
                                     text.length, err);
        }
    }
    galv_text_release(&text);
    if (status == GALV_OK) {
        galv_cli_wrote(s->cli, s->target.file);
    }
    return status;
}

/* ---- the command ---- */

static galv_status report(const galv_stage_sheet *s, galv_err *err)
{
    if (galv_cli_given(s->cli, GALV_OPTION_JSON)) {
        *s->cli->out_is_data = true;
        return galv_stage_sheet_document(s->cli->out, s, err);
    }
    if (galv_cli_given(s->cli, GALV_OPTION_CSV)) {
        *s->cli->out_is_data = true;
        galv_stage_sheet_put_csv(s->cli->out, s);
        return GALV_OK;
    }
    galv_stage_sheet_print(s);
    return GALV_OK;
}

static galv_status print_order(const galv_stage_sheet *s, galv_err *err)
{
    galv_schedule_shape shape;
    if (s->n_rows != 1) {
        return galv_fail(err, GALV_USAGE, "--print-order is for one --schedule");
    }
    const galv_schedule *schedule = s->rows[0].schedule;
    galv_status status = galv_stage_times_shape(&shape, &s->times, schedule,
                                                &s->options, s->cli->arena, err);
    *s->cli->out_is_data = true;
    return status == GALV_OK
               ? galv_schedule_file_put(s->cli->out, schedule, &shape, err)
               : status;
}

static galv_status play(galv_stage_sheet *s, galv_err *err)
{
    galv_status status = GALV_OK;
    for (size_t i = 0; i < s->n_rows && status == GALV_OK; i++) {
        status = play_row(s, &s->rows[i], err);
    }
    if (status == GALV_OK) {
        sort_rows(s);
        if (galv_stage_sheet_n_played(s) == 0 && s->n_rows > 0) {
            status = galv_fail(err, GALV_USAGE, "no schedule can be played: %s",
                               s->rows[0].why_not);
        }
    }
    if (status == GALV_OK) {
        status = report(s, err);
    }
    return status == GALV_OK && s->target.given ? write_target(s, err) : status;
}

int galv_cmd_stage_times(const galv_cli *cli)
{
    galv_err err = GALV_ERR_INIT;
    galv_stage_sheet *s = GALV_NEW(cli->arena, galv_stage_sheet);
    if (s == NULL) {
        galv_fail(&err, GALV_NO_MEMORY, "out of memory");
        return galv_cli_fail(cli, &err);
    }
    s->cli = cli;
    galv_status status = read_sheet(s, &err);
    if (status == GALV_OK) {
        status = galv_cli_given(cli, GALV_OPTION_PRINT_ORDER) ? print_order(s, &err)
                                                              : play(s, &err);
    }
    return status == GALV_OK ? 0 : galv_cli_fail(cli, &err);
}
