/* galvatron-exec run: trains by a plan for some steps, and tells what it measured.
 *
 * Every rank reads the plan itself; rank 0 prints and writes. Times of the first steps
 * are printed as they are, but the timeline that is kept is that of the median step of
 * those after the warm-up. */
#include "base/file.h"
#include "base/units.h"
#include "exec/commands.h"
#include "exec/cuda.h"
#include "exec/host.h"
#include "exec/trainer.h"
#include "schedule/program.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WARM_UP 2 /* steps whose times do not count */

typedef struct run_options {
    const char *plan_path;
    const char *backend;
    const char *out; /* folder; NULL = nothing is written */
    int64_t steps;
    bool json, quiet, help;
    galv_trainer_options trainer;
} run_options;

typedef struct run {
    run_options options;
    galv_world *world;
    galv_backend *backend;
    galv_trainer *trainer;
    galv_arena *arena;
    galv_job job;
    galv_plan *plan;
    galv_step_result *results; /* [steps] */
    galv_timeline *timelines;  /* [steps] on rank 0 */
    size_t *peaks;             /* [n_ranks] bytes */
} run;

static const char *const help_text =
    "galvatron-exec run: trains by a plan, and measures it.\n"
    "\n"
    "Usage: [mpirun -np N] galvatron-exec run PLAN.json [OPTION]...\n"
    "\n"
    "PLAN.json is a plan document, as galvatron-sim plan -o writes it; N is the "
    "number\n"
    "of devices that it uses.\n"
    "\n"
    "  --steps N           optimizer steps (default 10)\n"
    "  --seed S            of the first weights and of random tokens (default 1)\n"
    "  --tokens FILE       train on these tokens, not on random ones: 16-bit numbers\n"
    "                      where the name ends in .u16, 32-bit for .i32, else bytes\n"
    "  --learning-rate X   of AdamW (default 0.001)\n"
    "  --backend NAME      host (MPI and a BLAS, float32) or cuda; by default cuda\n"
    "                      where there is a device, else host\n"
    "  -o, --out DIR       write timeline.csv (of the median step), memory.csv and\n"
    "                      losses.csv\n"
    "  --json              print one JSON document at the end\n"
    "  -q, --quiet         print nothing but errors\n"
    "  -h, --help          this text\n";

/* ---- options ---- */

static galv_status read_float(float *value, const char *text, galv_err *err)
{
    double number = 0;
    galv_status status = galv_parse_number(&number, text, err);
    if (status == GALV_OK) {
        *value = (float)number;
    }
    return status;
}

/* An option with a value; GALV_USAGE when there is no such option. */
static galv_status read_value(run_options *o, const char *name, const char *value,
                              galv_err *err)
{
    int64_t number = 0;
    galv_status status = GALV_OK;
    if (strcmp(name, "--steps") == 0) {
        status = galv_parse_count(&o->steps, value, 1, 1000000, err);
    } else if (strcmp(name, "--seed") == 0) {
        status = galv_parse_count(&number, value, 0, INT64_MAX / 2, err);
        o->trainer.seed = (uint64_t)number;
    } else if (strcmp(name, "--tokens") == 0) {
        o->trainer.tokens_path = value;
    } else if (strcmp(name, "--learning-rate") == 0) {
        status = read_float(&o->trainer.learning_rate, value, err);
    } else if (strcmp(name, "--backend") == 0) {
        o->backend = value;
        if (strcmp(value, "host") != 0 && strcmp(value, "cuda") != 0) {
            status = galv_fail(err, GALV_USAGE, "no backend '%s': host or cuda", value);
        }
    } else if (strcmp(name, "-o") == 0 || strcmp(name, "--out") == 0) {
        o->out = value;
    } else {
        status = galv_fail(err, GALV_USAGE, "unknown option '%s'", name);
        galv_hint(err, "options: galvatron-exec run --help");
    }
    return status;
}

static galv_status read_options(run_options *o, int argc, char **argv, galv_err *err)
{
    galv_status status = GALV_OK;
    for (int i = 1; i < argc && status == GALV_OK; i++) {
        const char *a = argv[i];
        if (strcmp(a, "-h") == 0 || strcmp(a, "--help") == 0) {
            o->help = true;
        } else if (strcmp(a, "-q") == 0 || strcmp(a, "--quiet") == 0) {
            o->quiet = true;
        } else if (strcmp(a, "--json") == 0) {
            o->json = true;
        } else if (a[0] != '-' && o->plan_path == NULL) {
            o->plan_path = a;
        } else if (a[0] != '-') {
            status = galv_fail(err, GALV_USAGE, "one plan, not '%s' too", a);
        } else if (i + 1 == argc) {
            status = galv_fail(err, GALV_USAGE, "%s: unknown, or needs a value", a);
        } else {
            status = read_value(o, a, argv[i + 1], err);
            i++;
        }
    }
    if (status == GALV_OK && o->plan_path == NULL && !o->help) {
        status = galv_fail(err, GALV_USAGE, "which plan? galvatron-exec run PLAN.json");
    }
    return status;
}

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

static bool prints(const run *r)
{
    return galv_world_rank(r->world) == 0 && !r->options.quiet && !r->options.json;
}

static double tokens_of_step(const run *r)
{
    int32_t seq = r->job.workload.seq_length > 0 ? r->job.workload.seq_length
                                                 : r->job.model.seq_length;
    return (double)r->plan->global_batch_size * seq;
}

static void print_begin(const run *r)
{
    char plan[160];
    char state[32];
    char activations[32];
    galv_trainer_memory needs = galv_trainer_needs(r->trainer);
    printf("%s: %s\n", r->job.model.name, galv_plan_print(plan, sizeof plan, r->plan));
    printf("%d ranks on %s (%s, %s, started by %s)\n", (int)r->backend->n_ranks,
           r->backend->device, r->backend->name, r->backend->libraries,
           galv_world_launcher(r->world));
    printf("rank 0 holds %s of parameters and optimizer, and %s of activations at "
           "least\n\n",
           galv_print_bytes(state, sizeof state, needs.state_bytes),
           galv_print_bytes(activations, sizeof activations, needs.activation_bytes));
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

static galv_status take_steps(run *r, galv_err *err)
{
    galv_status status = GALV_OK;
    for (int64_t i = 0; i < r->options.steps && status == GALV_OK; i++) {
        status = galv_trainer_step(r->trainer, &r->results[i], err);
        if (status == GALV_OK && r->options.out != NULL) {
            status = galv_trainer_timeline(&r->timelines[i], r->trainer, r->arena, err);
        }
        if (status == GALV_OK && prints(r)) {
            print_step(r, &r->results[i]);
        }
    }
    size_t peak = r->backend->peak_bytes(r->backend);
    if (status == GALV_OK) {
        status = galv_world_all_gather(r->world, r->peaks, &peak, sizeof peak, err);
    }
    return status;
}

/* The step of median time, warm-up left out where there is more. */
static int64_t median_step(const run *r)
{
    int64_t n = r->options.steps;
    int64_t first = n > WARM_UP ? WARM_UP : 0;
    int64_t best = first;
    for (int64_t i = first; i < n; i++) {
        int64_t faster = 0;
        for (int64_t k = first; k < n; k++) {
            faster += r->results[k].time_s < r->results[i].time_s ||
                      (r->results[k].time_s <= r->results[i].time_s && k < i);
        }
        if (faster == (n - first) / 2) {
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
    if (mkdir(r->options.out, 0777) != 0 && errno != EEXIST) {
        return galv_fail(err, GALV_IO, "cannot make %s: %s", r->options.out,
                         strerror(errno));
    }
    galv_text_append(&losses, "step,loss,gradient_norm,time_s\n");
    for (int64_t i = 0; i < r->options.steps; i++) {
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
        status = galv_timeline_write_csv(&r->timelines[median_step(r)], path, err);
    }
    galv_text_release(&losses);
    galv_text_release(&memory);
    return status;
}

static void print_end(const run *r)
{
    const galv_step_result *median = &r->results[median_step(r)];
    char text[32];
    size_t peak = 0;
    for (int32_t rank = 0; rank < r->backend->n_ranks; rank++) {
        peak = r->peaks[rank] > peak ? r->peaks[rank] : peak;
    }
    if (!r->options.json) {
        printf("\nmedian step %s",
               galv_print_duration(text, sizeof text, median->time_s));
        printf(", %s tokens/s",
               galv_print_si(text, sizeof text, tokens_of_step(r) / median->time_s));
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
           r->backend->name, (int)r->backend->n_ranks, median->time_s,
           tokens_of_step(r) / median->time_s, peak);
    for (int64_t i = 0; i < r->options.steps; i++) {
        printf("%s\n    {\"step\": %lld, \"loss\": %.9g, \"gradient_norm\": %.9g, "
               "\"time_s\": %.9g}",
               i == 0 ? "" : ",", (long long)r->results[i].step, r->results[i].loss,
               r->results[i].gradient_norm, r->results[i].time_s);
    }
    printf("\n  ]\n}\n");
}

static galv_status run_all(run *r, galv_err *err)
{
    size_t n = (size_t)r->options.steps;
    r->arena = galv_arena_new();
    galv_status status = GALV_OK;
    if (r->arena == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory for a run");
    } else {
        status = galv_plan_load(&r->job, &r->plan, r->options.plan_path, r->arena, err);
    }
    if (status == GALV_OK &&
        galv_plan_n_devices(r->plan) != galv_world_size(r->world)) {
        long long n_ranks = (long long)galv_plan_n_devices(r->plan);
        galv_fail(err, GALV_USAGE, "the plan is for %lld ranks, this is a run of %d",
                  n_ranks, (int)galv_world_size(r->world));
        galv_hint(err, "start it with: mpirun -np %lld galvatron-exec run %s", n_ranks,
                  r->options.plan_path);
    }
    if (galv_world_agree(r->world, err) != GALV_OK) {
        return err->status;
    }
    r->results = GALV_NEW_ARRAY(r->arena, galv_step_result, n);
    r->timelines = GALV_NEW_ARRAY(r->arena, galv_timeline, n);
    r->peaks = GALV_NEW_ARRAY(r->arena, size_t, galv_world_size(r->world));
    if (r->results == NULL || r->timelines == NULL || r->peaks == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for a run");
    } else {
        make_backend(r, err);
    }
    status = galv_world_agree(r->world, err);
    if (status == GALV_OK) {
        status = galv_trainer_new(&r->trainer, &r->job, r->plan, r->backend, r->world,
                                  &r->options.trainer, err);
    }
    if (status == GALV_OK && prints(r)) {
        print_begin(r);
    }
    if (status == GALV_OK) {
        status = take_steps(r, err);
    }
    bool first = galv_world_rank(r->world) == 0;
    if (status == GALV_OK && first && r->options.out != NULL) {
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
        fprintf(stderr, "galvatron-exec run: %s%s%s\n", err->file,
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
    r.options.steps = 10;
    r.options.trainer = (galv_trainer_options)GALV_TRAINER_OPTIONS_INIT;
    if (read_options(&r.options, argc, argv, &err) != GALV_OK) {
        return report(&err, true);
    }
    if (r.options.help) {
        printf("%s", help_text);
        return 0;
    }
    if (galv_world_new(&r.world, &argc, &argv, &err) != GALV_OK) {
        return report(&err, true);
    }
    run_all(&r, &err);
    int status = report(&err, galv_world_rank(r.world) == 0);
    galv_trainer_free(r.trainer);
    if (r.backend != NULL) {
        r.backend->free(r.backend);
    }
    galv_arena_free(r.arena);
    galv_world_free(r.world);
    return status;
}
