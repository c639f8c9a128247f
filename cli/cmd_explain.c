/* explain: why a plan takes that long, and what would change it.
 *
 * Four views. Where each stage's time and memory go: from the simulation. Which chain
 * of operations sets the end: the critical path. Which operations cost most: their
 * priced seconds on the busiest stage, summed over layers and micro-batches, hidden or
 * not, so they may add up to more than the iteration. What would help: the same plan
 * simulated again with one number of the cluster doubled. */
#include "accuracy/interval.h"
#include "accuracy/validation.h"
#include "base/units.h"
#include "cli/best_instead.h"
#include "cli/config.h"
#include "cli/job.h"
#include "cli/output.h"
#include "cli/path_report.h"
#include "cli/report.h"
#include "cli/table.h"
#include "cli/variants.h"
#include "cli/whole_cluster.h"
#include "schedule/program.h"
#include "sim/critical_path.h"

#include <stdio.h>
#include <string.h>

#define TOP_TERMS 10

typedef struct explaining {
    const galv_cli *cli;
    galv_setup setup;
    galv_costmodel *model;
    galv_evaluate_options options; /* of the plan, and of all that could be otherwise */
    galv_differences differences;
    galv_result result;
    const char *no_path; /* why there is no critical path; NULL = there is one */
    bool compared; /* with `best`: not where ranks differ, which no search knows */
    galv_best_instead best;
    galv_variants variants;
} explaining;

/* ---- the largest terms ---- */

/* Operations of one kind, part and pass on one kind of layer. */
typedef struct term {
    uint8_t kind, part, pass, stream;
    int layer_kind; /* -1: not of a layer */
    int64_t count;
    double total_s;
    double origin_s[GALV_N_PROVENANCES];
} term;

typedef struct terms {
    size_t n;
    term at[128];
} terms;

static int layer_kind_of(const galv_model *model, const galv_operation *op)
{
    if (op->first_layer < 0 || op->first_layer >= galv_model_n_layers(model)) {
        return -1;
    }
    return (int)galv_model_layer(model, op->first_layer)->kind;
}

static void add_term(terms *t, const galv_operation *op, int layer_kind,
                     const galv_cost *cost)
{
    size_t i = 0;
    while (i < t->n && !(t->at[i].kind == op->kind && t->at[i].part == op->part &&
                         t->at[i].pass == op->pass && t->at[i].stream == op->stream &&
                         t->at[i].layer_kind == layer_kind)) {
        i++;
    }
    if (i == sizeof t->at / sizeof t->at[0]) {
        return; /* more kinds than there can be */
    }
    term *same = &t->at[i];
    if (i == t->n) {
        t->n++;
        *same = (term){.kind = op->kind,
                       .part = op->part,
                       .pass = op->pass,
                       .stream = op->stream,
                       .layer_kind = layer_kind};
    }
    same->count++;
    same->total_s += cost->work_s;
    for (int k = 0; k < GALV_N_PROVENANCES; k++) {
        same->origin_s[k] += cost->provenance_s[k];
    }
}

static int32_t busiest_stage(const galv_result *result)
{
    int32_t busiest = 0;
    for (int32_t i = 1; i < result->n_stages; i++) {
        if (result->stages[i].busy_s > result->stages[busiest].busy_s) {
            busiest = i;
        }
    }
    return busiest;
}

static galv_status gather_terms(terms *t, int32_t stage, const explaining *x,
                                galv_err *err)
{
    galv_program *program = NULL;
    galv_cost *costs = NULL;
    galv_arena *arena = x->cli->arena;
    galv_status status =
        galv_program_compile(&program, &x->setup.job, x->setup.plan, arena, err);
    if (status == GALV_OK) {
        status =
            galv_price_program(&costs, x->model, x->setup.plan, program, arena, err);
    }
    t->n = 0;
    for (uint32_t i = 0; status == GALV_OK && i < program->n_ops; i++) {
        uint32_t class = program->ops[i].class_index;
        const galv_operation *op = &program->classes[class];
        if (op->stage == stage && costs[class].work_s > 0) {
            add_term(t, op, layer_kind_of(&x->setup.job.model, op), &costs[class]);
        }
    }
    for (size_t i = 0; i < t->n; i++) { /* largest first */
        for (size_t k = i + 1; k < t->n; k++) {
            if (t->at[k].total_s > t->at[i].total_s) {
                term swap = t->at[i];
                t->at[i] = t->at[k];
                t->at[k] = swap;
            }
        }
    }
    return status;
}

/* The origin of most of a term's seconds. */
static const char *origin_of_term(const term *t)
{
    int most = 0;
    for (int k = 1; k < GALV_N_PROVENANCES; k++) {
        most = t->origin_s[k] > t->origin_s[most] ? k : most;
    }
    return galv_provenance_names[most];
}

static const char *layer_word(const term *t)
{
    return t->layer_kind < 0 ? "" : galv_layer_kind_names[t->layer_kind];
}

/* What the operations of a term do: passes by their name, what serves one of them with
 * it, as far as it could serve either. */
static const char *term_word(char *buffer, size_t size, const term *t)
{
    bool forward = t->pass == GALV_OP_FORWARD;
    bool backward = t->pass == GALV_OP_BACKWARD || t->pass == GALV_OP_BACKWARD_INPUT ||
                    t->pass == GALV_OP_BACKWARD_WEIGHT;
    bool either = t->stream != GALV_STREAM_COMPUTE && t->stream != GALV_STREAM_DP;
    snprintf(buffer, size, "%s%s", galv_op_kind_names[t->kind],
             !either    ? ""
             : forward  ? " fwd"
             : backward ? " bwd"
                        : "");
    return buffer;
}

static void print_terms(const explaining *x, const terms *t, int32_t stage)
{
    static const galv_column columns[] = {
        {"operation", "", true, 0, 0}, {"layer", "", true, 1, 0},
        {"part", "", true, 1, 0},      {"stream", "", true, 0, 0},
        {"times", "", false, 2, 0},    {"each", "ms", false, 2, 0},
        {"total", "s", false, 0, 0},   {"from", "", true, 0, 0}};
    galv_table table;
    galv_table_init(&table, x->cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < t->n && i < TOP_TERMS; i++) {
        const term *entry = &t->at[i];
        char word[48], count[32], each[32], total[32];
        galv_table_row(&table);
        galv_table_cell(&table, "%s", term_word(word, sizeof word, entry));
        galv_table_cell(&table, "%s", layer_word(entry));
        galv_table_cell(&table, "%s", galv_part_names[entry->part]);
        galv_table_cell(&table, "%s", galv_stream_names[entry->stream]);
        galv_table_cell(&table, "%s",
                        galv_print_count(count, sizeof count, entry->count));
        galv_table_cell(&table, "%s",
                        galv_print_number(each, sizeof each,
                                          1e3 * entry->total_s / (double)entry->count));
        galv_table_cell(&table, "%s",
                        galv_print_number(total, sizeof total, entry->total_s));
        galv_table_cell(&table, "%s", origin_of_term(entry));
    }
    galv_print(x->cli, "\nlargest terms on stage %d (hidden or not)\n", stage);
    galv_cli_print_table(x->cli, &table);
}

/* ---- what would help ---- */

static const struct {
    const char *assignment, *label;
} levers[] = {
    {"device.flops=2x", "GPU twice as fast"},
    {"device.memory_bandwidth=2x", "GPU memory twice as fast"},
    {"intra.bandwidth=2x", "links in the node twice as fast"},
    {"inter.bandwidth=2x", "network twice as fast"},
    {"inter.latency=0.5x", "network latency halved"},
};
#define N_LEVERS (sizeof levers / sizeof levers[0])

static galv_status pull(double *time_s, const explaining *x, const char *assignment,
                        galv_err *err)
{
    galv_job job = x->setup.job;
    galv_costmodel *model = NULL;
    galv_result result;
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = galv_cluster_set(&job.cluster, assignment, err);
    if (status == GALV_OK) {
        status = galv_costmodel_new(&model, &job, x->setup.profile, err);
    }
    if (status == GALV_OK) {
        status = galv_evaluate(&result, model, x->setup.plan, &x->options, arena, err);
    }
    if (status == GALV_OK) {
        *time_s = result.iteration_time_s;
    }
    galv_costmodel_free(model);
    galv_arena_free(arena);
    return status;
}

static void print_levers(const explaining *x, const double *times_s)
{
    static const galv_column columns[] = {{"what if", "", true, 0, 0},
                                          {"step", "s", false, 0, 0},
                                          {"change", "%", false, 0, 0},
                                          {"option", "", true, 0, 0}};
    galv_table table;
    galv_table_init(&table, x->cli->arena, columns, 4);
    for (size_t i = 0; i < N_LEVERS; i++) {
        char text[32];
        double change = times_s[i] / x->result.iteration_time_s - 1;
        galv_table_row(&table);
        galv_table_cell(&table, "%s", levers[i].label);
        galv_table_cell(&table, "%s", galv_print_number(text, sizeof text, times_s[i]));
        bool none = change < 0.0005 && change > -0.0005;
        galv_table_cell(&table, none ? "%.1f" : "%+.1f", none ? 0.0 : 100 * change);
        galv_table_cell(&table, "--set %s", levers[i].assignment);
    }
    galv_print(x->cli, "\nthe same plan on another cluster\n");
    galv_cli_print_table(x->cli, &table);
}

/* ---- memory ---- */

/* What the fullest stage does and holds, in three lines of at most 80 columns. */
static void print_peak(const galv_cli *cli, const galv_stage_result *stage)
{
    char bytes[32];
    const galv_peak *p = &stage->peak;
    galv_text line = GALV_TEXT_INIT;
    galv_text_append(&line, "  in ");
    galv_peak_print(&line, p);
    if (p->attributed) {
        galv_text_printf(&line, "\n  holding activations of %d micro-batch%s",
                         (int)p->n_micro_batches, p->n_micro_batches == 1 ? "" : "es");
        const struct {
            double bytes;
            const char *what;
        } parts[] = {{p->gathered_bytes, "gathered parameters"},
                     {p->logits_bytes, "logits"},
                     {p->workspace_bytes, "workspace"},
                     {p->standing_bytes, "standing buffers"}};
        const char *between = ", ";
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            between = i == 1 ? ",\n  " : between;
            if (parts[i].bytes > 0) {
                galv_text_printf(&line, "%s%s %s", between,
                                 galv_print_bytes(bytes, sizeof bytes, parts[i].bytes),
                                 parts[i].what);
                between = ", ";
            }
        }
    }
    galv_print(cli, "%s\n", galv_text_string(&line));
    galv_text_release(&line);
}

/* What PyTorch counts of it, and what nvidia-smi would show, which sees what an
 * allocator keeps and nothing needs. */
static void print_counted(const explaining *x, const galv_stage_result *stage)
{
    char allocated[32], seen[32];
    galv_kept_memory kept;
    galv_costmodel_kept(&kept, x->model, x->setup.plan, stage->stage);
    galv_print(x->cli, "  %s of it handed out by the allocator; nvidia-smi shows %s\n",
               galv_print_bytes(allocated, sizeof allocated,
                                galv_peak_as_counted(stage, &kept, "torch_peak")),
               galv_print_bytes(seen, sizeof seen,
                                galv_peak_as_counted(stage, &kept, "nvidia_smi")));
}

static void print_memory_verdict(const explaining *x)
{
    char peak[32], limit[32], part[32];
    const galv_result *r = &x->result;
    const galv_stage_result *worst = &r->stages[galv_result_fullest_stage(r)];
    int most = 0;
    for (int use = 1; use < GALV_N_MEMORY_USES; use++) {
        most = worst->memory[use] > worst->memory[most] ? use : most;
    }
    galv_print(x->cli, "stage %d %s: %s of %s, most of it %s (%s)\n", worst->stage,
               r->fits ? "is the fullest" : "is out of memory",
               galv_print_bytes(peak, sizeof peak, worst->peak_memory_bytes),
               galv_print_bytes(limit, sizeof limit, r->memory_limit_bytes),
               galv_memory_use_names[most],
               galv_print_bytes(part, sizeof part, worst->memory[most]));
    print_peak(x->cli, worst);
    print_counted(x, worst);
    if (!r->fits) {
        galv_variants_print_fitting(&x->variants, x->cli, r);
    }
}

static void print_peaks(const explaining *x)
{
    static const galv_column columns[] = {
        {"stage", "", false, 0, 0},        {"fullest in", "", true, 0, 0},
        {"held", "micro-b.", false, 0, 0}, {"gathered", "GiB", false, 0, 0},
        {"logits", "GiB", false, 0, 0},    {"workspace", "GiB", false, 0, 0},
        {"standing", "GiB", false, 0, 0}};
    galv_table table;
    galv_table_init(&table, x->cli->arena, columns, 7);
    for (int32_t i = 0; i < x->result.n_stages; i++) {
        const galv_peak *p = &x->result.stages[i].peak;
        galv_text what = GALV_TEXT_INIT;
        galv_peak_print(&what, p);
        galv_table_row(&table);
        galv_table_cell(&table, "%d", (int)x->result.stages[i].stage);
        galv_table_cell(&table, "%s", galv_text_string(&what));
        galv_table_cell(&table, "%d", (int)p->n_micro_batches);
        galv_table_cell(&table, "%.2f", p->gathered_bytes / 0x1p30);
        galv_table_cell(&table, "%.2f", p->logits_bytes / 0x1p30);
        galv_table_cell(&table, "%.2f", p->workspace_bytes / 0x1p30);
        galv_table_cell(&table, "%.2f", p->standing_bytes / 0x1p30);
        galv_text_release(&what);
    }
    galv_print(x->cli, "\n");
    galv_cli_print_table(x->cli, &table);
}

/* ---- the command ---- */

static galv_status document(const explaining *x, const terms *t, int32_t stage,
                            const double *times_s, const galv_critical_path *path,
                            galv_err *err)
{
    galv_json_writer writer;
    galv_cli_begin_json(x->cli, &writer, "explain");
    galv_config_to_json(x->cli, &x->setup, &writer);
    galv_prediction_to_json(&x->result, &x->setup.job, x->setup.plan, &writer);
    galv_json_key_i64(&writer, "busiest_stage", stage);
    galv_json_put_key(&writer, "terms");
    galv_json_begin_array(&writer, false);
    for (size_t i = 0; i < t->n; i++) {
        const term *entry = &t->at[i];
        galv_json_begin_object(&writer, true);
        galv_json_key_string(&writer, "kind", galv_op_kind_names[entry->kind]);
        galv_json_key_string(&writer, "layer", layer_word(entry));
        galv_json_key_string(&writer, "part", galv_part_names[entry->part]);
        galv_json_key_string(&writer, "pass", galv_op_kind_names[entry->pass]);
        galv_json_key_string(&writer, "stream", galv_stream_names[entry->stream]);
        galv_json_key_i64(&writer, "count", entry->count);
        galv_json_key_f64(&writer, "total_s", entry->total_s);
        galv_json_key_string(&writer, "from", origin_of_term(entry));
        galv_json_end_object(&writer);
    }
    galv_json_end_array(&writer);
    galv_json_put_key(&writer, "what_if");
    galv_json_begin_array(&writer, false);
    for (size_t i = 0; i < N_LEVERS; i++) {
        galv_json_begin_object(&writer, true);
        galv_json_key_string(&writer, "set", levers[i].assignment);
        galv_json_key_f64(&writer, "iteration_time_s", times_s[i]);
        galv_json_end_object(&writer);
    }
    galv_json_end_array(&writer);
    galv_whole_cluster_to_json(&x->result, &x->options, &writer);
    if (x->no_path == NULL) {
        galv_json_put_key(&writer, "critical_path");
        galv_critical_path_to_json(path, &writer);
    } else {
        galv_json_key_string(&writer, "critical_path_left_out", x->no_path);
    }
    galv_variants_to_json(&x->variants, &writer);
    if (x->compared) {
        galv_best_instead_to_json(&x->best, &x->setup, &writer);
    }
    return galv_cli_end_json(x->cli, &writer, err);
}

static galv_status explain_it(explaining *x, galv_err *err)
{
    terms t;
    double times_s[N_LEVERS] = {0};
    const galv_evaluate_options usual = GALV_EVALUATE_OPTIONS_INIT;
    x->options = usual;
    galv_status status =
        galv_whole_cluster_read(&x->options, &x->differences, x->cli, &x->setup, err);
    if (status == GALV_OK) {
        status = galv_setup_costmodel(&x->model, &x->setup, x->cli, err);
    }
    if (status == GALV_OK) {
        galv_evaluate_options options = x->options;
        options.attribute_peaks = true;
        status = galv_evaluate(&x->result, x->model, x->setup.plan, &options,
                               x->cli->arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_critical_path path;
    int32_t stage = busiest_stage(&x->result);
    status = gather_terms(&t, stage, x, err);
    if (status == GALV_OK) {
        status = galv_path_report_find(&path, &x->no_path, x->model, x->setup.plan,
                                       &x->result, &x->options, x->cli->arena, err);
    }
    for (size_t i = 0; status == GALV_OK && i < N_LEVERS; i++) {
        status = pull(&times_s[i], x, levers[i].assignment, err);
    }
    if (status == GALV_OK) {
        status = galv_variants_try(&x->variants, x->model, &x->setup.job, x->setup.plan,
                                   &x->result, &x->options, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    x->compared = x->result.cluster.n_ranks == 0;
    if (x->compared) {
        status = galv_best_instead_find(&x->best, x->cli, &x->setup, x->model, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    if (galv_cli_given(x->cli, GALV_OPTION_JSON)) {
        return document(x, &t, stage, times_s, &path, err);
    }
    galv_report_job(x->cli, &x->setup);
    galv_report_result(x->cli, &x->setup, x->model, x->setup.plan, &x->result, "Plan");
    galv_print(x->cli, "\n");
    galv_report_stages(x->cli, &x->result);
    galv_whole_cluster_print(x->cli, &x->result, &x->options);
    if (x->result.cluster.n_ranks > 0) {
        galv_print(x->cli, "\n");
    }
    print_memory_verdict(x);
    if (galv_cli_given(x->cli, GALV_OPTION_WIDE)) {
        print_peaks(x);
    }
    galv_path_report_print(x->cli, &path, x->no_path);
    print_terms(x, &t, stage);
    galv_variants_print(&x->variants, x->cli, &x->result);
    print_levers(x, times_s);
    if (x->compared) {
        galv_best_instead_print(&x->best, x->cli, &x->result);
    }
    return GALV_OK;
}

int galv_cmd_explain(const galv_cli *cli)
{
    explaining x = {.cli = cli};
    galv_err err = GALV_ERR_INIT;
    galv_status status = galv_setup_load(&x.setup, cli, cli->arguments[0], &err);
    if (status == GALV_OK) {
        status = explain_it(&x, &err);
    }
    galv_costmodel_free(x.model);
    galv_setup_release(&x.setup);
    return status == GALV_OK ? 0 : galv_cli_fail(cli, &err);
}
