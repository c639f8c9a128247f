/* galvatron-exec profile: measures what the planner asks for, on this machine. */
#include "base/units.h"
#include "exec/commands.h"
#include "exec/cuda.h"
#include "exec/host.h"
#include "exec/profile_session.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct profile_command {
    galv_profile_options profile;
    const char *backend;
    bool help;
} profile_command;

static const char *const help_text =
    "galvatron-exec profile: measures this machine for the planner.\n"
    "\n"
    "Usage: [mpirun -np N] galvatron-exec profile -m MODEL -o DIR [OPTION]...\n"
    "       [mpirun -np N] galvatron-exec profile --for PLAN.json -o DIR [OPTION]...\n"
    "\n"
    "Writes DIR/profile.csv (layers by phase, tp and micro-batch; collectives; "
    "memory;\n"
    "what overlaps) and DIR/cluster.json (this machine, N devices), to be given to\n"
    "galvatron-sim as --profile and -c. Rows that DIR/profile.csv has already are "
    "kept\n"
    "and not measured again.\n"
    "\n"
    "  -m, --model M       a model of the catalog, or a file\n"
    "  --for PLAN.json     measure what this plan needs, and nothing else\n"
    "  --seq-length N      tokens of a sample (default: the model's)\n"
    "  --micro-batch-size LIST\n"
    "                      samples on one rank (default 1,2)\n"
    "  --tp LIST           tensor-parallel degrees (default 1,2,4... as N allows)\n"
    "  --samples N         of each thing at least (default 10); more are taken until\n"
    "                      the median is known to 1 % or --patience is over\n"
    "  --patience TIME     most for one thing (default 1s)\n"
    "  --backend NAME      host or cuda; by default cuda where there is a device\n"
    "  --device ID         name of the device (default: of the processor)\n"
    "  --fresh             measure everything anew\n"
    "  -o, --out DIR       folder of both files\n"
    "  -q, --quiet         print nothing but errors\n"
    "  -h, --help          this text\n";

/* ---- interrupts ---- */

/* The one thing that a signal may change: it has no argument to reach anything else. */
static atomic_bool stopped;

static void stop(int signal)
{
    (void)signal;
    atomic_store_explicit(&stopped, true, memory_order_relaxed);
}

static void heed_interrupts(void)
{
    struct sigaction action = {0};
    action.sa_handler = stop;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- options ---- */

static galv_status read_value(profile_command *c, const char *name, const char *value,
                              galv_err *err)
{
    galv_profile_options *o = &c->profile;
    int64_t number = 0;
    galv_status status = GALV_OK;
    if (strcmp(name, "-m") == 0 || strcmp(name, "--model") == 0) {
        o->model = value;
    } else if (strcmp(name, "--for") == 0) {
        o->plan_path = value;
    } else if (strcmp(name, "--seq-length") == 0) {
        status = galv_parse_count(&o->seq_length, value, 1, 1 << 24, err);
    } else if (strcmp(name, "--micro-batch-size") == 0) {
        status = galv_parse_counts(o->micro_batches, &o->n_micro_batches,
                                   GALV_MOST_PROFILED, value, 1, 1 << 20, err);
    } else if (strcmp(name, "--tp") == 0) {
        status = galv_parse_counts(o->tps, &o->n_tps, GALV_MOST_PROFILED, value, 1,
                                   65536, err);
    } else if (strcmp(name, "--samples") == 0) {
        status = galv_parse_count(&number, value, 1, 1000000, err);
        o->patience.n_least = (size_t)number;
        o->patience.n_most = o->patience.n_most < o->patience.n_least
                                 ? o->patience.n_least
                                 : o->patience.n_most;
    } else if (strcmp(name, "--patience") == 0) {
        status = galv_parse_duration(&o->patience.most_s, value, err);
    } else if (strcmp(name, "--backend") == 0) {
        c->backend = value;
        if (strcmp(value, "host") != 0 && strcmp(value, "cuda") != 0) {
            status = galv_fail(err, GALV_USAGE, "no backend '%s': host or cuda", value);
        }
    } else if (strcmp(name, "--device") == 0) {
        o->device = value;
        if (strlen(value) > 31 || value[0] == '\0') {
            status = galv_fail(err, GALV_USAGE,
                               "the name of a device has 1 to 31 "
                               "characters");
        }
    } else if (strcmp(name, "-o") == 0 || strcmp(name, "--out") == 0) {
        o->out = value;
    } else {
        status = galv_fail(err, GALV_USAGE, "unknown option '%s'", name);
        galv_hint(err, "options: galvatron-exec profile --help");
    }
    return status;
}

static galv_status read_options(profile_command *c, int argc, char **argv,
                                galv_err *err)
{
    galv_profile_options *o = &c->profile;
    galv_status status = GALV_OK;
    for (int i = 1; i < argc && status == GALV_OK; i++) {
        const char *a = argv[i];
        if (strcmp(a, "-h") == 0 || strcmp(a, "--help") == 0) {
            c->help = true;
        } else if (strcmp(a, "-q") == 0 || strcmp(a, "--quiet") == 0) {
            o->quiet = true;
        } else if (strcmp(a, "--fresh") == 0) {
            o->fresh = true;
        } else if (a[0] != '-') {
            status = galv_fail(err, GALV_USAGE, "unexpected '%s'", a);
        } else if (i + 1 == argc) {
            status = galv_fail(err, GALV_USAGE, "%s: unknown, or needs a value", a);
        } else {
            status = read_value(c, a, argv[i + 1], err);
            i++;
        }
    }
    if (status != GALV_OK || c->help) {
        return status;
    }
    if ((o->plan_path == NULL) == (o->model == NULL)) {
        return galv_fail(err, GALV_USAGE,
                         "of what? either -m MODEL or --for PLAN.json");
    }
    if (o->out == NULL) {
        return galv_fail(err, GALV_USAGE, "where to? -o DIR");
    }
    if (o->plan_path != NULL &&
        (o->seq_length > 0 || o->n_tps > 0 || o->n_micro_batches > 0)) {
        return galv_fail(err, GALV_USAGE,
                         "--for takes shapes from the plan: no --seq-length, "
                         "--micro-batch-size or --tp");
    }
    return GALV_OK;
}

/* ---- all of it ---- */

static galv_status make_backend(galv_backend **backend, const char *name,
                                galv_world *world, galv_err *err)
{
    galv_err why = GALV_ERR_INIT;
    if (name != NULL && strcmp(name, "host") == 0) {
        return galv_host_backend_new(backend, world, err);
    }
    galv_status status = galv_cuda_backend_new(backend, world, &why);
    if (status != GALV_OK && name != NULL) {
        *err = why;
        return status;
    }
    return status == GALV_OK ? status : galv_host_backend_new(backend, world, err);
}

static void print_end(const profile_command *c, const galv_profile_result *r)
{
    char time[32];
    char speed[32];
    char memory[32];
    char link[32];
    const galv_pool *pool = &r->cluster.pools[0];
    printf(
        "%s: %d ranks, %sFLOP/s, memory %s, link %s each\n", pool->device.id,
        (int)galv_cluster_n_devices(&r->cluster),
        galv_print_si(speed, sizeof speed, pool->device.peak_flop_per_s[r->precision]),
        galv_print_bandwidth(memory, sizeof memory, pool->device.memory_bytes_per_s),
        galv_print_bandwidth(link, sizeof link, pool->intra_bytes_per_s));
    printf("%zu rows measured in %s, %zu were there\n", r->n_measured,
           galv_print_duration(time, sizeof time, r->time_s), r->n_kept);
    printf("wrote %s/profile.csv and cluster.json\n", c->profile.out);
}

static int report(const profile_command *c, const galv_profile_result *r,
                  const galv_err *err, bool speaks)
{
    if (err->status == GALV_INTERRUPTED && speaks && r->n_measured == 0) {
        fprintf(stderr, "galvatron-exec profile: interrupted before anything new was "
                        "measured\n");
    } else if (err->status == GALV_INTERRUPTED && speaks) {
        fprintf(stderr,
                "galvatron-exec profile: interrupted; %zu new rows are in "
                "%s/profile.csv, the same command goes on\n",
                r->n_measured, c->profile.out);
    } else if (err->status != GALV_OK && speaks) {
        char line[24] = "";
        if (err->line > 0) {
            snprintf(line, sizeof line, ":%ld", err->line);
        }
        fprintf(stderr, "galvatron-exec profile: %s%s%s%s\n", err->file, line,
                err->file[0] != '\0' ? ": " : "", err->message);
        if (err->hint[0] != '\0') {
            fprintf(stderr, "  %s\n", err->hint);
        }
    }
    return galv_status_exit_code(err->status);
}

int galv_exec_profile(int argc, char **argv)
{
    galv_err err = GALV_ERR_INIT;
    profile_command c = {.profile = GALV_PROFILE_OPTIONS_INIT};
    galv_profile_result result = {0};
    galv_world *world = NULL;
    galv_backend *backend = NULL;
    if (read_options(&c, argc, argv, &err) != GALV_OK) {
        return report(&c, &result, &err, true);
    }
    if (c.help) {
        printf("%s", help_text);
        return 0;
    }
    if (galv_world_new(&world, &argc, &argv, &err) != GALV_OK) {
        return report(&c, &result, &err, true);
    }
    bool first = galv_world_rank(world) == 0;
    heed_interrupts();
    make_backend(&backend, c.backend, world, &err);
    if (galv_world_agree(world, &err) == GALV_OK &&
        galv_profile_run(&result, &c.profile, world, backend, &stopped, &err) ==
            GALV_OK &&
        first && !c.profile.quiet) {
        print_end(&c, &result);
    }
    int status = report(&c, &result, &err, first);
    if (backend != NULL) {
        backend->free(backend);
    }
    galv_world_free(world);
    return status;
}
