/* Our search beside Galvatron's, on runs of its published engine.
 *
 *   benchmarks/compare-galvatron RUNS_DIR [--json] [--no-simulator] ...
 *
 * docs/galvatron.md says what is compared and what came of it. */
#include "base/file.h"
#include "base/json.h"
#include "benchmarks/galvatron_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define NO_WORSE 1e-9 /* relative: rounding of sums */

static const char help[] =
    "Usage: compare-galvatron RUNS_DIR [OPTIONS]\n"
    "\n"
    "Compares plans with those that Galvatron's published search engine found: under\n"
    "its cost model, by an exact search of its own space and of a wider one, and "
    "under\n"
    "our simulator, fed with the same profiles.\n"
    "\n"
    "RUNS_DIR holds one JSON file for each run of the engine:\n"
    "  request          what was asked: memory_GB, gbsz, pipeline_type,\n"
    "                   default_dp_type, num_nodes, ...; config_dir and hw_dir name\n"
    "                   the profile folders, relative to the folder above RUNS_DIR\n"
    "  resolved_inputs  the numbers its cost model was fed with\n"
    "  result           best_task.time_cost and galvatron_config, null when it found\n"
    "                   no plan\n"
    "\n"
    "Options:\n"
    "      --only TEXT       only runs whose name holds TEXT\n"
    "      --no-simulator    only its cost model: takes a moment\n"
    "      --own-knobs       our search under our simulator chooses only what\n"
    "                        Galvatron's can: its schedules, ZeRO, recomputation\n"
    "      --whole-memory    our search under our simulator may use the whole budget;\n"
    "                        without this, what Galvatron may: it keeps a fifth of "
    "one\n"
    "                        above 20 GiB free\n"
    "      --large           instead, time the search in its space for 80 such layers "
    "on\n"
    "                        512 GPUs, batch 1024, by the numbers of the first run\n"
    "  -j, --jobs N          threads of the search under our simulator (1)\n"
    "      --json            one JSON document instead of text\n"
    "  -h, --help            this text\n"
    "\n"
    "Exit status: 0 when no published plan is better under its model, 10 when one is,\n"
    "2 and 4 for wrong arguments and files.\n";

typedef struct command {
    const char *folder, *only;
    bool json, large;
    compare_options options;
} command;

/* ---- sums ---- */

/* Ratios theirs / ours of one side. */
typedef struct side {
    int n, n_better, n_worse;
    double sum, least, most; /* of theirs / ours - 1 */
    double sum_s, most_s;    /* of the search */
    int n_searches, n_proven;
} side;

static void add_ratio(side *s, double theirs, double ours)
{
    if (!isfinite(theirs) || !isfinite(ours)) {
        return;
    }
    double gain = theirs / ours - 1;
    s->least = s->n == 0 ? gain : fmin(s->least, gain);
    s->most = s->n == 0 ? gain : fmax(s->most, gain);
    s->sum += gain;
    s->n++;
    s->n_better += gain > NO_WORSE;
    s->n_worse += gain < -NO_WORSE;
}

static void add_search(side *s, double seconds, bool proven)
{
    s->sum_s += seconds;
    s->most_s = fmax(s->most_s, seconds);
    s->n_searches++;
    s->n_proven += proven;
}

typedef struct sums {
    int n_runs, n_without;     /* without: the engine found no plan */
    int n_found_more;          /* and we did, under its model */
    int n_found_less;          /* the other way round */
    int n_unlike;              /* its plan cannot be simulated */
    int n_engine_too_big;      /* by our memory model */
    side own, wide, simulated; /* simulated: where its plan can be simulated */
    side fitting, too_big;     /* and fits by our memory, or not */
} sums;

static void add_run(sums *s, const compared_run *r, const compare_options *options)
{
    s->n_runs++;
    s->n_without += !r->engine_found;
    s->n_found_more += r->own_found && !r->engine_found;
    s->n_found_less += !r->own_found && r->engine_found;
    add_search(&s->own, r->own_s, r->own_proven);
    add_search(&s->wide, r->wide_s, r->wide_proven);
    add_ratio(&s->own, r->engine.galvatron_s, r->own.galvatron_s);
    add_ratio(&s->wide, r->engine.galvatron_s, r->wide.galvatron_s);
    if (!options->simulate) {
        return;
    }
    add_search(&s->simulated, r->simulated_s, r->simulated_proven);
    if (r->engine_found) {
        bool can = isfinite(r->engine.ours_s);
        s->n_unlike += !can;
        s->n_engine_too_big += can && !r->engine.ours_fits;
        add_ratio(&s->simulated, r->engine.ours_s, r->simulated.ours_s);
        add_ratio(r->engine.ours_fits ? &s->fitting : &s->too_big, r->engine.ours_s,
                  r->simulated.ours_s);
    }
}

/* ---- text ---- */

static void print_cell(double seconds)
{
    if (isfinite(seconds)) {
        printf(" %9.4f", seconds);
    } else {
        printf(" %9s", "-");
    }
}

static void print_gain(double theirs, double ours)
{
    if (isfinite(theirs) && isfinite(ours)) {
        printf(" %+7.2f", 100 * (theirs / ours - 1));
    } else {
        printf(" %7s", "");
    }
}

static void print_plan(const char *whose, const judged_plan *p,
                       const judged_plan *engine, double search_s, bool proven)
{
    printf("  %-16s", whose);
    print_cell(p->galvatron_s);
    print_gain(p == engine ? (double)NAN : engine->galvatron_s, p->galvatron_s);
    print_cell(p->ours_s);
    print_gain(p == engine ? (double)NAN : engine->ours_s, p->ours_s);
    if (isfinite(p->ours_s)) {
        printf(" %6.1f%s", p->ours_gib, p->ours_fits ? " " : "!");
    } else {
        printf(" %6s ", "");
    }
    if (search_s >= 0) {
        printf(" %8.4f%s", search_s, proven ? " *" : "");
    }
    printf("\n");
}

/* The plan in words, on as many lines as it takes, broken after a comma. */
static void print_words(const char *whose, const judged_plan *p)
{
    enum { WIDTH = 64 };
    for (const char *rest = p->text; *rest != '\0';) {
        size_t n = strlen(rest);
        if (n > WIDTH) {
            for (n = WIDTH; n > 1 && !(rest[n - 1] == ',' && rest[n] == ' '); n--) {
            }
        }
        printf("    %-11s%.*s\n", rest == p->text ? whose : "", (int)n, rest);
        rest += n + (rest[n] == ' ' ? 1 : 0);
    }
    if (p->why[0] != '\0') {
        printf("    %-11snot simulated: %.49s\n", p->text[0] == '\0' ? whose : "",
               p->why);
    }
}

static void print_run(const compared_run *r, const compare_options *options)
{
    printf("\n%s\n", r->name);
    if (!r->engine_found) {
        printf("  Galvatron finds no plan\n");
    } else {
        print_plan("Galvatron", &r->engine, &r->engine, -1, false);
    }
    print_plan("ours, its space", &r->own, &r->engine, r->own_s, r->own_proven);
    print_plan("ours, wider", &r->wide, &r->engine, r->wide_s, r->wide_proven);
    if (options->simulate) {
        print_plan("ours, simulated", &r->simulated, &r->engine, r->simulated_s,
                   r->simulated_proven);
    }
    print_words("Galvatron", &r->engine);
    print_words("its space", &r->own);
    print_words("wider", &r->wide);
    print_words("simulated", &r->simulated);
    if (r->limit_raised) {
        printf(
            "    simulated within %.1f GiB, what Galvatron's plan takes by our model:\n"
            "    more than the budget\n",
            r->limit_gib);
    }
}

static void print_side(const char *what, const side *s)
{
    if (s->n > 0) {
        printf("  %-15s %3d runs: better in %d, worse in %d; mean %+.2f %%, "
               "%+.2f to %+.2f %%\n",
               what, s->n, s->n_better, s->n_worse, 100 * s->sum / s->n, 100 * s->least,
               100 * s->most);
    }
    if (s->n_searches > 0) {
        printf("  %-15s search: mean %.4f s, at most %.4f s; proven in %d of %d\n", "",
               s->sum_s / s->n_searches, s->most_s, s->n_proven, s->n_searches);
    }
}

static double peak_mib(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss / 1024 : 0;
}

static void print_sums(const sums *s, const compare_options *options)
{
    printf("\nall %d runs (%d without a plan of Galvatron's; of those we find %d, and "
           "miss %d\nof the others)\n",
           s->n_runs, s->n_without, s->n_found_more, s->n_found_less);
    print_side("its space", &s->own);
    print_side("wider", &s->wide);
    if (options->simulate) {
        print_side("our simulator", &s->simulated);
        print_side("  where it fits", &s->fitting);
        print_side("  where not", &s->too_big);
        printf("  Galvatron's plan cannot be simulated in %d runs, takes more than the "
               "budget by\n  our memory model in %d; there ours may take as much as it "
               "does, and no more\n",
               s->n_unlike, s->n_engine_too_big);
    }
    printf("  memory of this program %.0f MiB\n", peak_mib());
}

/* ---- JSON ---- */

static void put_plan(galv_json_writer *w, const char *key, const judged_plan *p)
{
    galv_json_put_key(w, key);
    galv_json_begin_object(w, false);
    galv_json_key_string(w, "plan", p->text);
    galv_json_key_f64(w, "galvatron_iteration_s", p->galvatron_s);
    galv_json_key_f64(w, "simulated_iteration_s", p->ours_s);
    galv_json_key_f64(w, "simulated_peak_gib", p->ours_gib);
    galv_json_key_bool(w, "simulated_fits", p->ours_fits);
    if (p->why[0] != '\0') {
        galv_json_key_string(w, "not_simulated", p->why);
    }
    galv_json_end_object(w);
}

static void put_run(galv_json_writer *w, const compared_run *r,
                    const compare_options *options)
{
    galv_json_begin_object(w, false);
    galv_json_key_string(w, "name", r->name);
    galv_json_key_f64(w, "memory_gib", r->budget_gib);
    galv_json_key_i64(w, "global_batch_size", r->global_batch_size);
    galv_json_key_string(w, "pipeline", r->pipeline);
    galv_json_key_string(w, "default_dp", r->default_dp);
    galv_json_key_bool(w, "engine_found", r->engine_found);
    put_plan(w, "engine", &r->engine);
    put_plan(w, "own_space", &r->own);
    galv_json_key_f64(w, "own_space_search_s", r->own_s);
    galv_json_key_bool(w, "own_space_proven", r->own_proven);
    put_plan(w, "wider_space", &r->wide);
    galv_json_key_f64(w, "wider_space_search_s", r->wide_s);
    galv_json_key_bool(w, "wider_space_proven", r->wide_proven);
    if (options->simulate) {
        put_plan(w, "simulator", &r->simulated);
        galv_json_key_f64(w, "simulator_limit_gib", r->limit_gib);
        galv_json_key_bool(w, "simulator_limit_raised", r->limit_raised);
        galv_json_key_f64(w, "simulator_search_s", r->simulated_s);
        galv_json_key_bool(w, "simulator_proven", r->simulated_proven);
    }
    galv_json_end_object(w);
}

static void put_side(galv_json_writer *w, const char *key, const side *s)
{
    galv_json_put_key(w, key);
    galv_json_begin_object(w, false);
    galv_json_key_i64(w, "runs", s->n);
    galv_json_key_i64(w, "better", s->n_better);
    galv_json_key_i64(w, "worse", s->n_worse);
    galv_json_key_f64(w, "mean_gain", s->n > 0 ? s->sum / s->n : (double)NAN);
    galv_json_key_f64(w, "least_gain", s->least);
    galv_json_key_f64(w, "most_gain", s->most);
    galv_json_key_f64(w, "mean_search_s",
                      s->n_searches > 0 ? s->sum_s / s->n_searches : (double)NAN);
    galv_json_key_f64(w, "most_search_s", s->most_s);
    galv_json_key_i64(w, "proven", s->n_proven);
    galv_json_end_object(w);
}

static void put_sums(galv_json_writer *w, const sums *s, const compare_options *options)
{
    galv_json_put_key(w, "all");
    galv_json_begin_object(w, false);
    galv_json_key_i64(w, "runs", s->n_runs);
    galv_json_key_i64(w, "engine_found_none", s->n_without);
    galv_json_key_i64(w, "found_where_it_did_not", s->n_found_more);
    galv_json_key_i64(w, "not_found_where_it_did", s->n_found_less);
    put_side(w, "own_space", &s->own);
    put_side(w, "wider_space", &s->wide);
    if (options->simulate) {
        put_side(w, "simulator", &s->simulated);
        put_side(w, "simulator_where_it_fits", &s->fitting);
        put_side(w, "simulator_where_not", &s->too_big);
        galv_json_key_i64(w, "engine_not_simulated", s->n_unlike);
        galv_json_key_i64(w, "engine_does_not_fit", s->n_engine_too_big);
    }
    galv_json_key_f64(w, "memory_mib", peak_mib());
    galv_json_end_object(w);
}

/* ---- the command ---- */

static galv_status read_jobs(int *n_jobs, const char *text, galv_err *err)
{
    char *end = NULL;
    long n = text == NULL ? 0 : strtol(text, &end, 10);
    if (n < 1 || n > 1024 || *end != '\0') {
        galv_fail(err, GALV_USAGE, "--jobs wants a number of threads, not '%s'",
                  text == NULL ? "" : text);
        galv_hint(err, "for example: -j 2");
        return GALV_USAGE;
    }
    *n_jobs = (int)n;
    return GALV_OK;
}

static galv_status read_command(command *c, int argc, char **argv, galv_err *err)
{
    galv_status status = GALV_OK;
    for (int i = 1; status == GALV_OK && i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--json") == 0) {
            c->json = true;
        } else if (strcmp(word, "--no-simulator") == 0) {
            c->options.simulate = false;
        } else if (strcmp(word, "--large") == 0) {
            c->large = true;
        } else if (strcmp(word, "--own-knobs") == 0) {
            c->options.own_knobs = true;
        } else if (strcmp(word, "--whole-memory") == 0) {
            c->options.whole_memory = true;
        } else if (strcmp(word, "-j") == 0 || strcmp(word, "--jobs") == 0) {
            status = read_jobs(&c->options.n_jobs, argv[++i], err);
        } else if (strcmp(word, "--only") == 0 && i + 1 < argc) {
            c->only = argv[++i];
        } else if (word[0] == '-' || c->folder != NULL) {
            galv_fail(err, GALV_USAGE, "'%s' is not understood", word);
            galv_hint(err, "see compare-galvatron --help");
            status = GALV_USAGE;
        } else {
            c->folder = word;
        }
    }
    if (status == GALV_OK && c->folder == NULL) {
        galv_fail(err, GALV_USAGE, "a folder of recorded runs is needed");
        galv_hint(err, "compare-galvatron --help says what is in it");
        status = GALV_USAGE;
    }
    return status;
}

static galv_status list_runs(char ***names, size_t *n_names, const command *c,
                             galv_arena *arena, galv_err *err)
{
    size_t n = 0;
    galv_status status = galv_folder_list(names, n_names, c->folder, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    for (size_t i = 0; i < *n_names; i++) {
        const char *name = (*names)[i];
        if (galv_path_has_extension(name, ".json") &&
            (c->only == NULL || strstr(name, c->only) != NULL)) {
            (*names)[n++] = (*names)[i];
        }
    }
    *n_names = n;
    if (n == 0) {
        galv_fail_at(err, c->folder, 0, 0, "no run (*.json)%s%s in this folder",
                     c->only != NULL ? " whose name holds " : "",
                     c->only != NULL ? c->only : "");
        galv_hint(err, "compare-galvatron --help says what is expected");
        return GALV_INPUT;
    }
    return GALV_OK;
}

static void show_progress(size_t done, size_t n, const char *name)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%zu of %zu  %.60s", done, n, name);
    }
}

static void print_head(void)
{
    printf("Seconds of one iteration and how much faster than Galvatron's plan, %%;\n"
           "memory by our model, GiB (! does not fit); seconds of the search\n"
           "(* proven best).\n\n"
           "  %-16s %9s %7s %9s %7s %6s  %8s\n",
           "plan", "its model", "%", "simulated", "%", "GiB", "search");
}

static galv_status compare(sums *total, galv_text *json, const command *c,
                           galv_arena *arena, galv_err *err)
{
    char **names = NULL;
    size_t n = 0;
    galv_json_writer writer;
    galv_status status = list_runs(&names, &n, c, arena, err);
    galv_json_writer_init(&writer, json);
    galv_json_begin_object(&writer, false);
    galv_json_put_key(&writer, "runs");
    galv_json_begin_array(&writer, false);
    if (status == GALV_OK && !c->json) {
        print_head();
    }
    for (size_t i = 0; status == GALV_OK && i < n; i++) {
        compared_run run;
        const char *path = galv_path_join(arena, c->folder, names[i]);
        show_progress(i, n, names[i]);
        status = path == NULL ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                              : compare_run(&run, path, &c->options, err);
        show_progress(i + 1, n, "");
        if (status == GALV_OK) {
            add_run(total, &run, &c->options);
            put_run(&writer, &run, &c->options);
        }
        if (status == GALV_OK && !c->json) {
            print_run(&run, &c->options);
            fflush(stdout);
        }
    }
    show_progress(n, n, "\r\033[K");
    galv_json_end_array(&writer);
    put_sums(&writer, total, &c->options);
    galv_json_end_object(&writer);
    return status == GALV_OK ? galv_json_finish(&writer, err) : status;
}

/* The large cluster, of the numbers of the first run. */
static galv_status time_large(const command *c, galv_arena *arena, galv_err *err)
{
    char **names = NULL;
    size_t n = 0;
    galv_galvatron_found found = {0};
    double seconds = 0;
    galv_status status = list_runs(&names, &n, c, arena, err);
    const char *path =
        status == GALV_OK ? galv_path_join(arena, c->folder, names[0]) : NULL;
    if (status == GALV_OK) {
        status = path == NULL ? galv_fail(err, GALV_NO_MEMORY, "out of memory")
                              : compare_large(&found, &seconds, path, arena, err);
    }
    if (status == GALV_OK) {
        printf("80 layers, 512 GPUs of 80 GB, batch 1024 (network made up from %s):\n"
               "%.4f s; %llu tasks, %llu solved; pp %d, %d micro-batches, %.4f s, %s\n",
               names[0], seconds, (unsigned long long)found.n_tasks,
               (unsigned long long)found.n_solved, (int)found.task.pp,
               (int)found.task.n_micro_batches, found.iteration_s,
               found.proven ? "proven" : "not proven");
    }
    return status;
}

int main(int argc, char **argv)
{
    command c = {.options = {.simulate = true, .n_jobs = 1}};
    galv_err err = GALV_ERR_INIT;
    galv_text json = GALV_TEXT_INIT;
    sums total = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
    }
    galv_arena *arena = galv_arena_new();
    galv_status status = arena == NULL
                             ? galv_fail(&err, GALV_NO_MEMORY, "out of memory")
                             : read_command(&c, argc, argv, &err);
    if (status == GALV_OK) {
        status = c.large ? time_large(&c, arena, &err)
                         : compare(&total, &json, &c, arena, &err);
    }
    if (status == GALV_OK && c.large) {
        fflush(stdout);
    } else if (status == GALV_OK && c.json) {
        fputs(galv_text_string(&json), stdout);
    } else if (status == GALV_OK) {
        print_sums(&total, &c.options);
    } else {
        fprintf(stderr, "compare-galvatron: %s%s%s\n", err.file,
                err.file[0] != '\0' ? ": " : "", err.message);
        if (err.hint[0] != '\0') {
            fprintf(stderr, "  hint: %s\n", err.hint);
        }
    }
    galv_text_release(&json);
    galv_arena_free(arena);
    bool worse = total.own.n_worse > 0 || total.n_found_less > 0;
    return status != GALV_OK ? galv_status_exit_code(status)
           : worse           ? galv_status_exit_code(GALV_DIFFERENT)
                             : 0;
}
