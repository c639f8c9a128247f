/* validate: predicted beside measured.
 *
 * Every case is predicted by the same model with the same factors (--leave-out: with
 * factors that were fitted to others); a case that cannot be predicted is counted and
 * named, never dropped in silence. */
#include "accuracy/leave_out.h"
#include "base/file.h"
#include "base/words.h"
#include "cli/job.h"
#include "cli/measured.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/validate_report.h"
#include "viz/accuracy_figure.h"

#include <math.h>
#include <string.h>

#define MAX_BYS 24

/* What --by takes; the features follow by their own names. */
static const char *const by_words[] = {"all",    "source",     "family", "gpu",
                                       "memory", "confidence", "sweep"};
static const int bys[] = {GALV_BY_ALL, GALV_BY_SOURCE,      GALV_BY_FAMILY,
                          GALV_BY_GPU, GALV_BY_MEMORY_KIND, GALV_BY_CONFIDENCE,
                          -1};
#define N_BY_WORDS (sizeof by_words / sizeof by_words[0])

typedef struct validating {
    const galv_cli *cli;
    galv_setup setup; /* only its profile is used */
    galv_target target;
    int n_jobs;
    galv_case *cases;
    size_t n_cases;
    size_t n_bys;
    int bys[MAX_BYS]; /* -1 = the sweeps */
    galv_validation validation;
    galv_validate_report report;
    galv_err first_wrong; /* row that could not be read */
} validating;

/* ---- input ---- */

/* An id of another file tells cases apart no longer. */
static galv_status warn_of_repeated(const validating *v, size_t n_before, galv_err *err)
{
    for (size_t i = n_before; i < v->n_cases; i++) {
        for (size_t j = 0; j < n_before; j++) {
            const galv_case *a = &v->cases[j];
            const galv_case *b = &v->cases[i];
            if (strcmp(a->case_id, b->case_id) == 0) {
                return galv_cli_warn(v->cli, err,
                                     "case_id '%.80s' of %s:%ld is one of %s:%ld too",
                                     b->case_id, b->file, b->line, a->file, a->line);
            }
        }
    }
    return GALV_OK;
}

static galv_status add_cases(validating *v, const char *path, galv_err *err)
{
    galv_case *more = NULL;
    size_t n = 0;
    galv_status status =
        galv_cases_read_each(&more, &n, path, &v->first_wrong, v->cli->arena, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_case *all = GALV_NEW_ARRAY(v->cli->arena, galv_case, v->n_cases + n + 1);
    if (all == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (v->n_cases > 0) {
        memcpy(all, v->cases, v->n_cases * sizeof all[0]);
    }
    if (n > 0) {
        memcpy(all + v->n_cases, more, n * sizeof all[0]);
    }
    v->cases = all;
    v->n_cases += n;
    return warn_of_repeated(v, v->n_cases - n, err);
}

static galv_status read_profiles(validating *v, galv_err *err)
{
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK; i++) {
        const char *path = galv_cli_repeated(v->cli, GALV_OPTION_PROFILE, i);
        if (path == NULL) {
            break;
        }
        if (v->setup.profile == NULL) {
            v->setup.profile = galv_profile_new();
        }
        status = v->setup.profile == NULL
                     ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                     : galv_profile_read(v->setup.profile, path, err);
    }
    return status;
}

static galv_status read_bys(validating *v, galv_err *err)
{
    const char *words[N_BY_WORDS + GALV_N_FEATURES];
    int64_t indices[MAX_BYS];
    size_t n_words = N_BY_WORDS + GALV_N_FEATURES;
    memcpy(words, by_words, sizeof by_words);
    memcpy(words + N_BY_WORDS, galv_feature_names, sizeof galv_feature_names);
    v->n_bys = 1;
    v->bys[0] = GALV_BY_SOURCE;
    if (!galv_cli_given(v->cli, GALV_OPTION_BY)) {
        return GALV_OK;
    }
    galv_status status = galv_cli_words(indices, &v->n_bys, MAX_BYS, v->cli,
                                        GALV_OPTION_BY, words, n_words, err);
    for (size_t i = 0; i < v->n_bys && status == GALV_OK; i++) {
        int index = (int)indices[i];
        v->bys[i] = index < (int)N_BY_WORDS ? bys[index]
                                            : GALV_BY_FEATURE + index - (int)N_BY_WORDS;
    }
    return status;
}

static galv_status read_input(validating *v, galv_err *err)
{
    const galv_cli *cli = v->cli;
    galv_status status =
        galv_target_read(&v->target, cli, ".png .svg .pdf .csv .json", false, err);
    if (status == GALV_OK) {
        status = galv_jobs_read(&v->n_jobs, cli, err);
    }
    if (status == GALV_OK) {
        status = read_bys(v, err);
    }
    if (status == GALV_OK && cli->n_arguments == 0 &&
        !galv_cli_given(cli, GALV_OPTION_CASES)) {
        galv_fail(err, GALV_USAGE, "'validate' needs measured cases");
        galv_hint(err, "for example: galvatron-sim validate --cases measured.csv");
        return GALV_USAGE;
    }
    for (size_t i = 0; status == GALV_OK; i++) {
        const char *path = galv_cli_repeated(cli, GALV_OPTION_CASES, i);
        if (path == NULL) {
            break;
        }
        status = add_cases(v, path, err);
    }
    for (size_t i = 0; status == GALV_OK && i < cli->n_arguments; i++) {
        status = add_cases(v, cli->arguments[i], err);
    }
    return status == GALV_OK ? read_profiles(v, err) : status;
}

/* ---- files ---- */

static galv_status draw(const validating *v, galv_err *err)
{
    galv_figure_options figure = GALV_FIGURE_OPTIONS_INIT;
    figure.footer = GALV_FOOTER;
    galv_accuracy_point *points =
        GALV_NEW_ARRAY(v->cli->arena, galv_accuracy_point, v->validation.n_cases + 1);
    if (points == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n = 0;
    for (size_t i = 0; i < v->validation.n_cases; i++) {
        const galv_validated_case *c = &v->validation.cases[i];
        if (c->status == GALV_OK && c->measured->iteration_time_s > 0) {
            points[n++] = (galv_accuracy_point){c->measured->iteration_time_s,
                                                c->predicted_iteration_time_s,
                                                c->source, c->measured->case_id};
        }
    }
    return galv_accuracy_draw(points, n, "Predicted and measured iteration time",
                              v->target.file, &figure, err);
}

static galv_status write_file(const validating *v, galv_err *err)
{
    if (galv_target_is_picture(&v->target)) {
        return draw(v, err);
    }
    galv_text text = GALV_TEXT_INIT;
    galv_status status = GALV_OK;
    if (galv_target_is(&v->target, ".json")) {
        status = galv_validate_document(&text, &v->report, err);
    } else {
        galv_validate_csv(&text, &v->report);
    }
    if (status == GALV_OK) {
        status =
            galv_file_write(v->target.file, galv_text_string(&text), text.length, err);
    }
    galv_text_release(&text);
    return status;
}

static galv_status write_residuals(const validating *v, galv_err *err)
{
    const char *path = galv_cli_value(v->cli, GALV_OPTION_RESIDUALS);
    galv_text text = GALV_TEXT_INIT;
    galv_residuals_print(&text, &v->validation);
    galv_status status =
        galv_file_write(path, galv_text_string(&text), text.length, err);
    if (status == GALV_OK) {
        galv_cli_wrote(v->cli, path);
    }
    galv_text_release(&text);
    return status;
}

/* ---- the command ---- */

/* Those whose row is wrong are an error, told at the end. */
static galv_status warn_of_failed(const validating *v, galv_err *err)
{
    const galv_validated_case *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < v->validation.n_cases; i++) {
        const galv_validated_case *c = &v->validation.cases[i];
        if (c->status != GALV_OK && c->measured->fault == NULL) {
            first = n++ == 0 ? c : first;
        }
    }
    return n == 0 ? GALV_OK
                  : galv_cli_warn(v->cli, err,
                                  "%zu of %zu cases not predicted: %s:%ld: %s", n,
                                  v->validation.n_cases, first->measured->file,
                                  first->measured->line, first->why_not);
}

static galv_status predict(validating *v, galv_err *err)
{
    const galv_cli *cli = v->cli;
    galv_interval *intervals = NULL;
    galv_interval *of_memory = NULL;
    bool *refitted = NULL;
    const char *leave_out = galv_cli_value(cli, GALV_OPTION_LEAVE_OUT);
    galv_status status = GALV_OK;
    if (leave_out != NULL) {
        static const char *const words[] = {"family", "source"};
        int word = 0;
        status = galv_cli_word(&word, cli, GALV_OPTION_LEAVE_OUT, words, 2, err);
        if (status != GALV_OK) {
            return status;
        }
        int by = word == 0 ? GALV_BY_FAMILY : GALV_BY_SOURCE;
        status = galv_leave_out(&v->validation, &refitted, v->cases, v->n_cases, by,
                                v->setup.profile, v->n_jobs, cli->arena, err);
    } else {
        status = galv_validate(&v->validation, v->cases, v->n_cases, v->setup.profile,
                               v->n_jobs, cli->arena, err);
    }
    if (status == GALV_OK) {
        status =
            galv_validate_intervals(&intervals, &of_memory, cli, &v->validation, err);
    }
    if (status == GALV_OK) {
        status = warn_of_failed(v, err);
    }
    v->report =
        (galv_validate_report){cli, &v->validation, intervals, of_memory, refitted};
    return status;
}

static galv_status print_tables(const validating *v, galv_err *err)
{
    galv_status status = GALV_OK;
    galv_validate_print_cases(&v->report, galv_cli_given(v->cli, GALV_OPTION_DETAILS));
    for (size_t i = 0; i < v->n_bys && status == GALV_OK; i++) {
        if (i > 0) {
            galv_print(v->cli, "\n");
        }
        status = v->bys[i] < 0 ? galv_validate_print_sweeps(&v->report, err)
                               : galv_validate_print_by(&v->report, v->bys[i], err);
    }
    return status == GALV_OK ? galv_validate_print_foot(&v->report, err) : status;
}

static galv_status validate_it(validating *v, galv_err *err)
{
    galv_status status = predict(v, err);
    if (status != GALV_OK) {
        return status;
    }
    if (galv_cli_given(v->cli, GALV_OPTION_JSON)) {
        *v->cli->out_is_data = true;
        status = galv_validate_document(v->cli->out, &v->report, err);
    } else if (galv_cli_given(v->cli, GALV_OPTION_CSV)) {
        *v->cli->out_is_data = true;
        galv_validate_csv(v->cli->out, &v->report);
    } else {
        status = print_tables(v, err);
    }
    if (status == GALV_OK && v->target.given) {
        status = write_file(v, err);
        if (status == GALV_OK) {
            galv_cli_wrote(v->cli, v->target.file);
        }
    }
    if (status == GALV_OK && galv_cli_given(v->cli, GALV_OPTION_RESIDUALS)) {
        status = write_residuals(v, err);
    }
    return status;
}

/* A gate with nothing to measure must not pass. */
static galv_status check_tolerance(const galv_cli *cli, size_t n, double error_frac,
                                   galv_err *err)
{
    double tolerance = -1;
    galv_status status =
        galv_cli_number(&tolerance, cli, GALV_OPTION_TOLERANCE, 0, 1e6, err);
    if (status != GALV_OK || tolerance < 0) {
        return status;
    }
    if (n == 0) {
        return galv_fail(err, GALV_TOLERANCE, "no case could be compared");
    }
    double percent = 100 * fabs(error_frac);
    if (!(percent <= tolerance)) {
        return galv_fail(err, GALV_TOLERANCE,
                         "the mean error of %.1f %% is over the tolerance of %g %%",
                         percent, tolerance);
    }
    return GALV_OK;
}

/* PLAN.json MEASURED: two timelines, or two times of an iteration, instead of a table
 * of cases. */
static int validate_timeline(const galv_cli *cli)
{
    galv_err err = GALV_ERR_INIT;
    double error_frac = 0;
    check_tolerance(cli, 1, 0, &err); /* a wrong option is told before any work */
    if (err.status == GALV_OK) {
        galv_measured_compare(&error_frac, cli, cli->arguments[0], cli->arguments[1],
                              &err);
    }
    if (err.status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    check_tolerance(cli, 1, error_frac, &err);
    return galv_cli_conclude(cli, &err);
}

int galv_cmd_validate(const galv_cli *cli)
{
    if (cli->n_arguments == 2 && galv_path_has_extension(cli->arguments[0], ".json")) {
        return validate_timeline(cli);
    }
    validating v = {.cli = cli};
    galv_err err = GALV_ERR_INIT;
    galv_status status = check_tolerance(cli, 1, 0, &err);
    if (status == GALV_OK) {
        status = read_input(&v, &err);
    }
    if (status == GALV_OK) {
        status = validate_it(&v, &err);
    }
    galv_setup_release(&v.setup);
    if (status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    if (v.first_wrong.status != GALV_OK) { /* all others were predicted and printed */
        err = v.first_wrong;
    } else {
        check_tolerance(cli, v.validation.n_timed, v.validation.mape_frac, &err);
    }
    return galv_cli_conclude(cli, &err);
}
