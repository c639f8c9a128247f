/* Options are few and read by hand here: the executor has no option table, since it
 * must not link what the planner's command line needs. */
#include "exec/run_options.h"

#include "base/units.h"

#include <stdio.h>
#include <string.h>

const char *const galv_run_help =
    "galvatron-exec run: trains by a plan, and measures it.\n"
    "\n"
    "Usage: [mpirun -np N] galvatron-exec run PLAN.json [OPTION]...\n"
    "\n"
    "PLAN.json is a plan document, as galvatron-sim plan -o writes it; N is the "
    "number\n"
    "of devices that it uses.\n"
    "\n"
    "  --steps N           optimizer steps (default 10), those before a checkpoint\n"
    "                      counted: the run ends after step N\n"
    "  --seed S            of the first weights and of random tokens (default 1)\n"
    "  --tokens FILE       train on these tokens, not on random ones: 16-bit numbers\n"
    "                      where the name ends in .u16, 32-bit for .i32, else bytes\n"
    "  --learning-rate X   of AdamW (default 0.001)\n"
    "  --backend NAME      host (MPI and a BLAS, float32) or cuda; by default cuda\n"
    "                      where there is a device, else host\n"
    "  -o, --out DIR       write timeline.csv (of the median step), memory.csv and\n"
    "                      losses.csv\n"
    "\n"
    "  --checkpoint-dir DIR   write checkpoints here, a folder that all ranks see\n"
    "  --checkpoint-every N   after every N steps and after the last (default: the\n"
    "                         last only)\n"
    "  --checkpoint-keep K    keep the last K (default 3; 0 = all)\n"
    "  --resume [DIR]         go on from a checkpoint, or from the last one in a\n"
    "                         folder; by any plan for the same model, on as many\n"
    "                         ranks as that needs. Without DIR, at the end or before\n"
    "                         another option: from --checkpoint-dir where there is\n"
    "                         one, else from the start. Seed and learning rate are\n"
    "                         those of the checkpoint unless given\n"
    "\n"
    "  --adapt             where steps take another time than predicted for good,\n"
    "                      let galvatron-sim plan anew from what was measured, and\n"
    "                      change to its plan, without a restart, where that is\n"
    "                      repaid by the steps that are left. galvatron-sim is looked\n"
    "                      for at $GALVATRON_SIM, beside this program, in PATH\n"
    "  --predicted TIME    of a step, by the plan's simulation (for example 120ms);\n"
    "                      without it the first steady steps are what is expected\n"
    "  --profile FILE|DIR  measured numbers for galvatron-sim to plan by, as profile\n"
    "                      wrote them\n"
    "  --switch-to PLAN2.json --switch-at STEP\n"
    "                      change to another plan after that step, in memory; it may\n"
    "                      be for sequences of another length\n"
    "  --slow-rank R=F[@STEP]\n"
    "                      for tries: rank R computes F times as slowly, from that\n"
    "                      step on (host backend)\n"
    "  --slow-link A-B=BW[@STEP]\n"
    "                      for tries: data between ranks A and B goes at no more\n"
    "                      than BW (10MB/s) each way (host backend)\n"
    "\n"
    "  --json              print one JSON document at the end\n"
    "  -q, --quiet         print nothing but errors\n"
    "  -h, --help          this text\n";

static galv_status read_float(float *value, const char *text, galv_err *err)
{
    double number = 0;
    galv_status status = galv_parse_number(&number, text, err);
    if (status == GALV_OK) {
        *value = (float)number;
    }
    return status;
}

/* Cuts "WHO=HOW[@STEP]" into who, how and the step (0 = the first). */
static galv_status cut_trial(char who[32], char how[32], int64_t *from,
                             const char *value, galv_err *err)
{
    const char *sign = strchr(value, '=');
    const char *at = sign != NULL ? strchr(sign, '@') : NULL;
    size_t n_who = sign != NULL ? (size_t)(sign - value) : 0;
    size_t n_how = at != NULL     ? (size_t)(at - sign - 1)
                   : sign != NULL ? strlen(sign + 1)
                                  : 0;
    if (n_who == 0 || n_who >= 32 || n_how == 0 || n_how >= 32) {
        return GALV_USAGE;
    }
    snprintf(who, 32, "%.*s", (int)n_who, value);
    snprintf(how, 32, "%.*s", (int)n_how, sign + 1);
    return at != NULL ? galv_parse_count(from, at + 1, 1, 1000000000, err) : GALV_OK;
}

/* "R=F" or "R=F@STEP" */
static galv_status read_slow_rank(galv_run_options *o, const char *value, galv_err *err)
{
    char rank[32];
    char factor[32];
    int64_t number = 0;
    galv_status status = cut_trial(rank, factor, &o->slow_from, value, err);
    if (status != GALV_OK) {
        return galv_fail(err, GALV_USAGE, "--slow-rank wants RANK=FACTOR, not '%s'",
                         value);
    }
    status = galv_parse_count(&number, rank, 0, INT32_MAX, err);
    if (status == GALV_OK) {
        status = galv_parse_number(&o->slow_factor, factor, err);
    }
    if (status == GALV_OK && (o->slow_factor < 1 || o->slow_factor > 1000)) {
        status = galv_fail(err, GALV_USAGE, "a slow rank is 1 to 1000 times as slow");
    }
    o->slow_rank = (int32_t)number;
    return status;
}

/* "A-B=RATE" or "A-B=RATE@STEP" */
static galv_status read_slow_link(galv_run_options *o, const char *value, galv_err *err)
{
    char ranks[32];
    char rate[32];
    int64_t ends[2] = {0, 0};
    galv_status status = cut_trial(ranks, rate, &o->slow_link_from, value, err);
    char *dash = status == GALV_OK ? strchr(ranks, '-') : NULL;
    if (dash == NULL) {
        return galv_fail(err, GALV_USAGE,
                         "--slow-link wants RANK-RANK=BANDWIDTH, not '%s'", value);
    }
    *dash = '\0';
    status = galv_parse_count(&ends[0], ranks, 0, INT32_MAX, err);
    if (status == GALV_OK) {
        status = galv_parse_count(&ends[1], dash + 1, 0, INT32_MAX, err);
    }
    if (status == GALV_OK) {
        status = galv_parse_bandwidth(&o->slow_bytes_per_s, rate, err);
    }
    if (status == GALV_OK && (!(o->slow_bytes_per_s > 0) || ends[0] == ends[1])) {
        status = galv_fail(err, GALV_USAGE,
                           "a slow link has two ends and carries "
                           "something");
    }
    o->slow_link[0] = (int32_t)ends[0];
    o->slow_link[1] = (int32_t)ends[1];
    return status;
}

static galv_status read_adapting(galv_run_options *o, const char *name,
                                 const char *value, galv_err *err)
{
    galv_status status = GALV_OK;
    if (strcmp(name, "--switch-to") == 0) {
        o->switch_to = value;
    } else if (strcmp(name, "--switch-at") == 0) {
        status = galv_parse_count(&o->switch_at, value, 1, 1000000000, err);
    } else if (strcmp(name, "--predicted") == 0) {
        status = galv_parse_duration(&o->predicted_s, value, err);
    } else if (strcmp(name, "--slow-rank") == 0) {
        status = read_slow_rank(o, value, err);
    } else if (strcmp(name, "--slow-link") == 0) {
        status = read_slow_link(o, value, err);
    } else if (strcmp(name, "--profile") == 0) {
        o->profile = value;
    } else {
        status = galv_fail(err, GALV_USAGE, "unknown option '%s'", name);
        galv_hint(err, "options: galvatron-exec run --help");
    }
    return status;
}

static galv_status read_keeping(galv_run_options *o, const char *name,
                                const char *value, galv_err *err)
{
    galv_status status = GALV_OK;
    int64_t number = 0;
    if (strcmp(name, "--checkpoint-every") == 0) {
        status = galv_parse_count(&o->checkpoint_every, value, 1, 1000000000, err);
    } else if (strcmp(name, "--checkpoint-dir") == 0) {
        o->checkpoint_dir = value;
    } else if (strcmp(name, "--checkpoint-keep") == 0) {
        status = galv_parse_count(&number, value, 0, 1000000, err);
        o->checkpoint_keep = (int32_t)number;
    } else {
        status = read_adapting(o, name, value, err);
    }
    return status;
}

/* Options that go together. */
static galv_status check_options(const galv_run_options *o, galv_err *err)
{
    if (o->plan_path == NULL) {
        galv_fail(err, GALV_USAGE, "which plan? galvatron-exec run PLAN.json");
    } else if (o->checkpoint_every > 0 && o->checkpoint_dir == NULL) {
        galv_fail(err, GALV_USAGE, "--checkpoint-every needs --checkpoint-dir DIR");
    } else if (o->resumes && o->resume == NULL && o->checkpoint_dir == NULL) {
        galv_fail(err, GALV_USAGE, "--resume needs a folder, or --checkpoint-dir DIR");
    } else if ((o->switch_to != NULL) != (o->switch_at > 0)) {
        galv_fail(err, GALV_USAGE, "--switch-to and --switch-at go together");
    }
    return err->status;
}

/* An option with a value; GALV_USAGE when there is no such option. */
static galv_status read_value(galv_run_options *o, const char *name, const char *value,
                              galv_err *err)
{
    int64_t number = 0;
    galv_status status = GALV_OK;
    if (strcmp(name, "--steps") == 0) {
        status = galv_parse_count(&o->steps, value, 1, 1000000, err);
    } else if (strcmp(name, "--seed") == 0) {
        status = galv_parse_count(&number, value, 0, INT64_MAX / 2, err);
        o->trainer.seed = (uint64_t)number;
        o->seed_given = true;
    } else if (strcmp(name, "--tokens") == 0) {
        o->trainer.tokens_path = value;
    } else if (strcmp(name, "--learning-rate") == 0) {
        status = read_float(&o->trainer.learning_rate, value, err);
        o->rate_given = true;
    } else if (strcmp(name, "--backend") == 0) {
        o->backend = value;
        if (strcmp(value, "host") != 0 && strcmp(value, "cuda") != 0) {
            status = galv_fail(err, GALV_USAGE, "no backend '%s': host or cuda", value);
        }
    } else if (strcmp(name, "-o") == 0 || strcmp(name, "--out") == 0) {
        o->out = value;
    } else {
        status = read_keeping(o, name, value, err);
    }
    return status;
}

galv_status galv_run_options_read(galv_run_options *o, int argc, char **argv,
                                  galv_err *err)
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
        } else if (strcmp(a, "--adapt") == 0) {
            o->adapts = true;
        } else if (strcmp(a, "--resume") == 0) {
            o->resumes = true;
            if (i + 1 < argc && argv[i + 1][0] != '-') {
                o->resume = argv[++i];
            }
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
    return status == GALV_OK && !o->help ? check_options(o, err) : status;
}
