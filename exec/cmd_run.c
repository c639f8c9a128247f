/* galvatron-exec run: trains by a plan for some steps, and tells what it measured.
 *
 * Rank 0 reads the plan and tells it to the others, prints and writes. Times of the
 * first steps are printed as they are, but the timeline that is written is that of a
 * step that took the median time of those after the warm-up, or most nearly: timelines
 * are kept of the last steps only, so that a long run needs no more memory. */
#include "base/file.h"
#include "base/units.h"
#include "exec/adapt.h"
#include "exec/checkpoint.h"
#include "exec/commands.h"
#include "exec/cuda.h"
#include "exec/farewell.h"
#include "exec/host.h"
#include "exec/run_options.h"
#include "exec/running.h"
#include "schedule/program.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WARM_UP        2  /* steps whose times do not count */
#define KEPT_TIMELINES 32 /* of the last steps */

typedef struct run {
    galv_run_options options;
    galv_world *world;
    galv_backend *backend;
    galv_running running;
    galv_adapter *adapter; /* NULL: the plan stays */
    galv_arena *arena;
    int64_t first_step; /* done before, by the checkpoint that is resumed */
    int64_t kept_step;  /* of the last checkpoint; 0 = none */
    int64_t n_results;
    int64_t first_result;      /* of the plan that runs last */
    galv_step_result *results; /* [steps] */
    /* of the last steps, step i at i % KEPT_TIMELINES, each with its arena; rank 0 */
    galv_timeline timelines[KEPT_TIMELINES];
    galv_arena *of_timelines[KEPT_TIMELINES];
    double median_s; /* of those of it that were no warm-up */
    size_t *peaks;   /* [n_ranks] bytes */
} run;

/* ---- the run ---- */

static galv_status make_backend(run *r, galv_err *err)
{
    const char *name = r->options.backend;
    if (name != NULL && strcmp(name, "host") == 0) {
        return galv_host_backend_new(&r->backend, r->world, err);
    }
    galv_err why = GALV_ERR_INIT;
    galv_status status = galv_cuda_backend_new(&r->backend, r->world, &why);
    if (status != GALV_OK && name != NULL) {
        *err = why;
        return status;
    }
    return status == GALV_OK ? status
                             : galv_host_backend_new(&r->backend, r->world, err);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool prints(const run *r)
{
    return galv_world_rank(r->world) == 0 && !r->options.quiet && !r->options.json;
}

static double tokens_of_step(const run *r)
{
    const galv_job *job = r->running.job;
    int32_t seq =
        job->workload.seq_length > 0 ? job->workload.seq_length : job->model.seq_length;
    return (double)r->running.plan->global_batch_size * seq;
}

static void print_begin(const run *r, const char *resumed)
{
    char plan[160];
    char state[32];
    char activations[32];
    galv_trainer_memory needs = galv_trainer_needs(r->running.trainer);
    printf("%s: %s\n", r->running.job->model.name,
           galv_plan_print(plan, sizeof plan, r->running.plan));
    printf("%d ranks on %s (%s, %s, started by %s)\n", (int)r->backend->n_ranks,
           r->backend->device, r->backend->name, r->backend->libraries,
           galv_world_launcher(r->world));
    printf("rank 0 holds %s of parameters and optimizer, and %s of activations at "
           "least\n\n",
           galv_print_bytes(state, sizeof state, needs.state_bytes),
           galv_print_bytes(activations, sizeof activations, needs.activation_bytes));
    if (resumed != NULL) {
        printf("goes on from %s\n\n", resumed);
    }
    printf("%8s %12s %14s %12s %14s\n", "step", "loss", "gradient norm", "time",
           "tokens/s");
}

static void print_step(const run *r, const galv_step_result *result)
{
    char time[32];
    char rate[32];
    printf("%8lld %12.6f %14.6f %12s %14s\n", (long long)result->step, result->loss,
           result->gradient_norm,
           galv_print_duration(time, sizeof time, result->time_s),
           galv_print_si(rate, sizeof rate, tokens_of_step(r) / result->time_s));
    fflush(stdout);
}

/* What is said if the run is ended from outside. */
static void prepare_farewell(const run *r, int64_t kept_step)
{
    char words[1000];
    const char *folder = r->options.checkpoint_dir;
    if (kept_step > 0 && folder != NULL) {
        snprintf(words, sizeof words,
                 "galvatron-exec run: ended from outside: a rank has died, or the job "
                 "was cancelled\n  go on from step %lld with the same command and "
                 "--resume %.600s",
                 (long long)kept_step, folder);
    } else {
        snprintf(words, sizeof words,
                 "galvatron-exec run: ended from outside: a rank has died, or the job "
                 "was cancelled; nothing was kept\n  checkpoints are kept with "
                 "--checkpoint-dir DIR --checkpoint-every N");
    }
    galv_farewell_set(words);
}

/* A checkpoint where one is due. */
static galv_status keep(run *r, int64_t step, galv_err *err)
{
    const galv_run_options *o = &r->options;
    bool due = step == o->steps ||
               (o->checkpoint_every > 0 && step % o->checkpoint_every == 0);
    if (o->checkpoint_dir == NULL || !due) {
        return GALV_OK;
    }
    galv_status status = galv_checkpoint_save(r->running.trainer, o->checkpoint_dir,
                                              o->checkpoint_keep, err);
    if (status == GALV_OK) {
        r->kept_step = step;
        prepare_farewell(r, step);
    }
    return status;
}

static void print_change(const run *r, double time_s)
{
    char plan[160];
    char time[32];
    if (prints(r)) {
        printf("changed to %s in %s\n",
               galv_plan_print(plan, sizeof plan, r->running.plan),
               galv_print_duration(time, sizeof time, time_s));
    }
}

static galv_status change_plan(run *r, const char *path, galv_err *err)
{
    galv_next_plan next;
    galv_err why = GALV_ERR_INIT;
    bool refused = false;
    double began_s = now_s();
    galv_status status = galv_next_plan_read(&next, r->world, path, err);
    if (status == GALV_OK) {
        status = galv_running_change(&r->running, &next, &refused, &why, err);
    }
    if (status == GALV_OK && refused) {
        *err = why;
        status = why.status;
    }
    galv_next_plan_release(&next);
    if (status == GALV_OK) {
        r->first_result = r->n_results;
        print_change(r, now_s() - began_s);
    }
    return status;
}

/* After a step: does another plan pay? */
static galv_status adapt(run *r, const galv_step_result *result, galv_err *err)
{
    galv_text note = GALV_TEXT_INIT;
    bool changed = false;
    double began_s = now_s();
    galv_status status =
        galv_adapter_step(r->adapter, &r->running, result->time_s,
                          r->options.steps - result->step, &note, &changed, err);
    if (prints(r) && note.length > 0) {
        printf("%s", galv_text_string(&note));
    }
    galv_text_release(&note);
    if (changed) {
        r->first_result = r->n_results;
        print_change(r, now_s() - began_s);
    }
    return status;
}

static galv_status take_step(run *r, galv_err *err)
{
    if (r->options.slow_from == r->first_step + r->n_results + 1 &&
        r->options.slow_rank == galv_world_rank(r->world)) {
        r->running.slow_factor = r->options.slow_factor;
        galv_trainer_worker(r->running.trainer)->slow_factor = r->options.slow_factor;
    }
    if (r->options.slow_link_from == r->first_step + r->n_results + 1) {
        galv_host_slow_link(r->backend, r->options.slow_link[0],
                            r->options.slow_link[1], r->options.slow_bytes_per_s);
    }
    galv_step_result *result = &r->results[r->n_results];
    galv_status status = galv_trainer_step(r->running.trainer, result, err);
    if (status == GALV_OK && r->options.out != NULL) {
        int64_t slot = r->n_results % KEPT_TIMELINES;
        galv_arena_reset(r->of_timelines[slot]);
        status = galv_trainer_timeline(&r->timelines[slot], r->running.trainer,
                                       r->of_timelines[slot], err);
    }
    if (status != GALV_OK) {
        return status;
    }
    r->n_results++;
    if (prints(r)) {
        print_step(r, result);
    }
    status = keep(r, result->step, err);
    if (status == GALV_OK && result->step == r->options.switch_at) {
        status = change_plan(r, r->options.switch_to, err);
    }
    if (status == GALV_OK && r->adapter != NULL) {
        status = adapt(r, result, err);
    }
    return status;
}

static galv_status take_steps(run *r, galv_err *err)
{
    galv_status status = GALV_OK;
    for (int64_t i = r->first_step; i < r->options.steps && status == GALV_OK; i++) {
        status = take_step(r, err);
    }
    size_t peak =
        r->backend->peak_bytes(r->backend) + r->backend->beside_bytes(r->backend);
    if (status == GALV_OK) {
        status = galv_world_all_gather(r->world, r->peaks, &peak, sizeof peak, err);
    }
    return status;
}

/* First step of the plan that ran last, warm-up left out where there is more. */
static int64_t first_warm(const run *r)
{
    int64_t n = r->n_results;
    int64_t first = r->first_result < n ? r->first_result : 0;
    return first + (n - first > WARM_UP ? WARM_UP : 0);
}

static int by_time(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static galv_status find_median(run *r, galv_err *err)
{
    int64_t first = first_warm(r);
    size_t n = (size_t)(r->n_results - first);
    double *times_s = GALV_NEW_ARRAY(r->arena, double, n + 1);
    if (times_s == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a run");
    }
    for (size_t i = 0; i < n; i++) {
        times_s[i] = r->results[first + (int64_t)i].time_s;
    }
    qsort(times_s, n, sizeof *times_s, by_time);
    r->median_s = n > 0 ? times_s[n / 2] : 0;
    return GALV_OK;
}

/* Of the last steps, whose timelines are kept, the one that took most nearly the median
 * time. */
static int64_t median_step(const run *r)
{
    int64_t first = first_warm(r);
    if (first < r->n_results - KEPT_TIMELINES) {
        first = r->n_results - KEPT_TIMELINES;
    }
    int64_t best = first;
    for (int64_t i = first; i < r->n_results; i++) {
        if (fabs(r->results[i].time_s - r->median_s) <
            fabs(r->results[best].time_s - r->median_s)) {
            best = i;
        }
    }
    return best;
}

/* ---- what is left behind ---- */

static galv_status write_text(const run *r, const char *name, galv_text *text,
                              galv_err *err)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", r->options.out, name);
    return galv_file_write(path, galv_text_string(text), text->length, err);
}

static galv_status write_files(const run *r, galv_err *err)
{
    char path[1024];
    galv_text losses = GALV_TEXT_INIT;
    galv_text memory = GALV_TEXT_INIT;
    galv_text_append(&losses, "step,loss,gradient_norm,time_s\n");
    for (int64_t i = 0; i < r->n_results; i++) {
        galv_text_printf(&losses, "%lld,%.9g,%.9g,%.9g\n",
                         (long long)r->results[i].step, r->results[i].loss,
                         r->results[i].gradient_norm, r->results[i].time_s);
    }
    galv_text_append(&memory, "rank,peak_bytes\n");
    for (int32_t rank = 0; rank < r->backend->n_ranks; rank++) {
        galv_text_printf(&memory, "%d,%zu\n", (int)rank, r->peaks[rank]);
    }
    galv_status status = write_text(r, "losses.csv", &losses, err);
    if (status == GALV_OK) {
        status = write_text(r, "memory.csv", &memory, err);
    }
    snprintf(path, sizeof path, "%s/timeline.csv", r->options.out);
    if (status == GALV_OK) {
        status = galv_timeline_write_csv(&r->timelines[median_step(r) % KEPT_TIMELINES],
                                         path, err);
    }
    galv_text_release(&losses);
    galv_text_release(&memory);
    return status;
}

static void print_end(const run *r)
{
    char text[32];
    size_t peak = 0;
    for (int32_t rank = 0; rank < r->backend->n_ranks; rank++) {
        peak = r->peaks[rank] > peak ? r->peaks[rank] : peak;
    }
    if (!r->options.json) {
        printf("\nmedian step %s", galv_print_duration(text, sizeof text, r->median_s));
        printf(", %s tokens/s",
               galv_print_si(text, sizeof text, tokens_of_step(r) / r->median_s));
        printf(", peak of a rank %s\n",
               galv_print_bytes(text, sizeof text, (double)peak));
        if (r->options.out != NULL) {
            printf("wrote %s/timeline.csv, memory.csv, losses.csv\n", r->options.out);
        }
        return;
    }
    printf("{\n  \"schema\": \"galvatron-exec/run\",\n  \"backend\": \"%s\",\n"
           "  \"ranks\": %d,\n  \"step_time_s\": %.9g,\n  \"tokens_per_s\": %.9g,\n"
           "  \"peak_bytes\": %zu,\n  \"steps\": [",
           r->backend->name, (int)r->backend->n_ranks, r->median_s,
           tokens_of_step(r) / r->median_s, peak);
    for (int64_t i = 0; i < r->n_results; i++) {
        printf("%s\n    {\"step\": %lld, \"loss\": %.9g, \"gradient_norm\": %.9g, "
               "\"time_s\": %.9g}",
               i == 0 ? "" : ",", (long long)r->results[i].step, r->results[i].loss,
               r->results[i].gradient_norm, r->results[i].time_s);
    }
    printf("\n  ]\n}\n");
}

/* What to resume from, the same on all ranks; `found` stays false without any. */
static galv_status find_checkpoint(run *r, galv_checkpoint *checkpoint, bool *found,
                                   galv_err *err)
{
    const galv_run_options *o = &r->options;
    galv_text ignored = GALV_TEXT_INIT;
    const char *path = o->resume != NULL ? o->resume : o->checkpoint_dir;
    galv_checkpoint_find(checkpoint, path, &ignored, r->arena, err);
    bool none = err->status == GALV_INPUT && checkpoint->path[0] == '\0';
    *found = err->status == GALV_OK;
    if (o->resume == NULL && none) {
        *err = (galv_err)GALV_ERR_INIT; /* the first start of a job that resumes */
    }
    if (ignored.length > 0 && galv_world_rank(r->world) == 0 && !o->quiet) {
        fprintf(stderr, "galvatron-exec run: half written and not used: %s\n",
                galv_text_string(&ignored));
    }
    galv_text_release(&ignored);
    if (*found && o->seed_given && checkpoint->seed != (int64_t)o->trainer.seed) {
        galv_fail(err, GALV_USAGE,
                  "the checkpoint was trained with seed %lld: leave out --seed",
                  (long long)checkpoint->seed);
    }
    if (*found && checkpoint->step >= o->steps) {
        galv_fail(err, GALV_USAGE,
                  "%s is of step %lld already: --steps is the last one",
                  checkpoint->path, (long long)checkpoint->step);
    }
    galv_status status = galv_world_agree(r->world, err);
    return status == GALV_OK
               ? galv_checkpoint_compare(*found ? checkpoint : NULL, r->world, err)
               : status;
}

/* A plan to change to later, looked at before the first step. */
static galv_status look_ahead(const run *r, galv_err *err)
{
    galv_next_plan next;
    if (r->options.switch_to == NULL) {
        return GALV_OK;
    }
    galv_status status =
        galv_next_plan_read(&next, r->world, r->options.switch_to, err);
    if (status == GALV_OK) {
        status = galv_next_plan_check(&next, &r->running, err);
    }
    galv_next_plan_release(&next);
    return status;
}

/* A folder to write to later: rank 0 makes it and tries, so that this is known before
 * the first step. */
static galv_status prepare_folder(const char *folder, galv_err *err)
{
    char path[1024];
    if (folder == NULL || galv_folder_make(folder, err) != GALV_OK) {
        return err->status;
    }
    if ((size_t)snprintf(path, sizeof path, "%s/.galvatron-exec", folder) >=
        sizeof path) {
        return galv_fail(err, GALV_IO, "the path of %.200s... is too long", folder);
    }
    FILE *file = fopen(path, "w");
    if (file == NULL || fclose(file) != 0) {
        return galv_fail(err, GALV_IO, "cannot write to %s: %s", folder,
                         strerror(errno));
    }
    remove(path);
    return GALV_OK;
}

/* Trainer and state, from the checkpoint where one is resumed. */
static galv_status begin(run *r, galv_next_plan *plan, galv_err *err)
{
    galv_run_options *o = &r->options;
    galv_checkpoint checkpoint;
    bool resumes = false;
    if (o->resumes && find_checkpoint(r, &checkpoint, &resumes, err) != GALV_OK) {
        return err->status;
    }
    if (resumes) {
        o->trainer.seed = (uint64_t)checkpoint.seed;
        o->trainer.learning_rate =
            o->rate_given ? o->trainer.learning_rate : (float)checkpoint.learning_rate;
        r->first_step = checkpoint.step;
    }
    r->running.world = r->world;
    r->running.backend = r->backend;
    r->running.options = o->trainer;
    bool slow = o->slow_rank == galv_world_rank(r->world) && o->slow_from == 0;
    r->running.slow_factor = slow ? o->slow_factor : 0;
    double began_s = now_s();
    prepare_farewell(r, r->first_step);
    galv_status status = galv_farewell_begin(r->world, err);
    if (status == GALV_OK) {
        status = galv_running_begin(&r->running, plan, err);
    }
    if (status == GALV_OK) {
        status = look_ahead(r, err);
    }
    if (status == GALV_OK && resumes) {
        status = galv_checkpoint_load(r->running.trainer, &checkpoint, err);
    }
    if (status == GALV_OK && o->adapts) {
        galv_adapter_new(&r->adapter, o->predicted_s, now_s() - began_s, o->out,
                         o->profile, r->world, err);
        status = galv_world_agree(r->world, err);
    }
    if (status == GALV_OK && prints(r)) {
        print_begin(r, resumes ? checkpoint.path : NULL);
    }
    return status;
}

/* What is slowed down for tries: is it there? */
static void check_tries(const run *r, galv_err *err)
{
    const galv_run_options *o = &r->options;
    int32_t last = galv_world_size(r->world) - 1;
    bool slowed = o->slow_rank >= 0 || o->slow_link[0] >= 0;
    if (r->backend != NULL && slowed && strcmp(r->backend->name, "host") != 0) {
        galv_fail(err, GALV_USAGE,
                  "--slow-rank and --slow-link work on the host backend alone");
    }
    if (o->slow_rank > last) {
        galv_fail(err, GALV_USAGE, "--slow-rank %d: the ranks of this run are 0 to %d",
                  (int)o->slow_rank, (int)last);
    }
    if (o->slow_link[0] > last || o->slow_link[1] > last) {
        galv_fail(err, GALV_USAGE,
                  "--slow-link %d-%d: the ranks of this run are 0 to %d",
                  (int)o->slow_link[0], (int)o->slow_link[1], (int)last);
    }
    if (r->backend != NULL && o->slow_link[0] >= 0 && o->slow_link_from == 0 &&
        err->status == GALV_OK) {
        galv_host_slow_link(r->backend, o->slow_link[0], o->slow_link[1],
                            o->slow_bytes_per_s);
    }
}

static galv_status run_all(run *r, galv_err *err)
{
    galv_next_plan plan = {0};
    r->arena = galv_arena_new();
    size_t n = (size_t)r->options.steps;
    if (r->arena == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for a run");
    } else {
        r->results = GALV_NEW_ARRAY(r->arena, galv_step_result, n);
        bool made = true;
        for (int i = 0; i < KEPT_TIMELINES; i++) {
            r->of_timelines[i] = galv_arena_new();
            made &= r->of_timelines[i] != NULL;
        }
        r->peaks = GALV_NEW_ARRAY(r->arena, size_t, galv_world_size(r->world));
        if (r->results == NULL || !made || r->peaks == NULL) {
            galv_fail(err, GALV_NO_MEMORY, "no memory for a run");
        }
    }
    galv_status status = galv_world_agree(r->world, err);
    if (status == GALV_OK) {
        status = galv_next_plan_read(&plan, r->world, r->options.plan_path, err);
    }
    if (status == GALV_OK) {
        make_backend(r, err);
        check_tries(r, err);
        status = galv_world_agree(r->world, err);
    }
    if (status == GALV_OK && galv_world_rank(r->world) == 0 &&
        prepare_folder(r->options.out, err) == GALV_OK) {
        prepare_folder(r->options.checkpoint_dir, err);
    }
    if (status == GALV_OK) {
        status = galv_world_agree(r->world, err);
    }
    if (status == GALV_OK) {
        status = begin(r, &plan, err);
    }
    galv_next_plan_release(&plan);
    if (status == GALV_OK) {
        status = take_steps(r, err);
        if (status != GALV_OK && r->kept_step > 0) {
            galv_hint(err, "go on from step %lld with the same command and --resume",
                      (long long)r->kept_step);
        }
    }
    bool first = galv_world_rank(r->world) == 0;
    if (status == GALV_OK && first && find_median(r, err) == GALV_OK &&
        r->options.out != NULL) {
        write_files(r, err);
    }
    if (status == GALV_OK) {
        status = galv_world_agree(r->world, err);
    }
    if (status == GALV_OK && first && !r->options.quiet) {
        print_end(r);
    }
    return status;
}

static int report(const galv_err *err, bool speaks)
{
    if (err->status != GALV_OK && speaks) {
        char line[32] = "";
        if (err->line > 0) {
            snprintf(line, sizeof line, ":%ld", err->line);
        }
        fprintf(stderr, "galvatron-exec run: %s%s%s%s\n", err->file, line,
                err->file[0] != '\0' ? ": " : "", err->message);
        if (err->hint[0] != '\0') {
            fprintf(stderr, "  %s\n", err->hint);
        }
    }
    return galv_status_exit_code(err->status);
}

int galv_exec_run(int argc, char **argv)
{
    galv_err err = GALV_ERR_INIT;
    run r = {0};
    r.options = (galv_run_options)GALV_RUN_OPTIONS_INIT;
    if (galv_run_options_read(&r.options, argc, argv, &err) != GALV_OK) {
        return report(&err, true);
    }
    if (r.options.help) {
        printf("%s", galv_run_help);
        return 0;
    }
    if (galv_world_new(&r.world, &argc, &argv, &err) != GALV_OK) {
        return report(&err, true);
    }
    run_all(&r, &err);
    galv_farewell_end();
    int status = report(&err, galv_world_rank(r.world) == 0);
    galv_adapter_free(r.adapter);
    galv_running_end(&r.running);
    if (r.backend != NULL) {
        r.backend->free(r.backend);
    }
    for (int i = 0; i < KEPT_TIMELINES; i++) {
        galv_arena_free(r.of_timelines[i]);
    }
    galv_arena_free(r.arena);
    galv_world_free(r.world);
    return status;
}
