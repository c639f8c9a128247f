/* compare: two plans, simulated under the same options, side by side.
 *
 * A result document is taken as the plan that it holds: both are simulated again, so
 * that numbers of different versions are never compared in silence. */
#include "accuracy/interval.h"
#include "base/units.h"
#include "cli/block_words.h"
#include "cli/job.h"
#include "cli/output.h"
#include "cli/report.h"
#include "cli/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct side {
    const char *path;
    galv_setup setup;
    galv_result result;
} side;

static galv_status read_side(side *s, const galv_cli *cli, galv_err *err)
{
    galv_costmodel *model = NULL;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_status status = galv_setup_load(&s->setup, cli, s->path, err);
    if (status == GALV_OK) {
        status = galv_setup_costmodel(&model, &s->setup, cli, err);
    }
    if (status == GALV_OK) {
        status =
            galv_evaluate(&s->result, model, s->setup.plan, &options, cli->arena, err);
    }
    galv_costmodel_free(model);
    galv_setup_release(&s->setup);
    return status;
}

/* ---- what is compared ---- */

#define MAX_ROWS 32

typedef struct line {
    const char *label;
    const char *unit;
    char a[64], b[64];
    bool is_number; /* then the change is a percentage */
    bool less_is_better;
    double x, y; /* numbers in SI */
    bool differs;
} line;

typedef struct rows {
    size_t n;
    line at[MAX_ROWS];
} rows;

static void add_word(rows *r, const char *label, const char *a, const char *b)
{
    line *row = &r->at[r->n++];
    *row = (line){.label = label, .unit = "", .differs = strcmp(a, b) != 0};
    snprintf(row->a, sizeof row->a, "%.63s", a);
    snprintf(row->b, sizeof row->b, "%.63s", b);
}

static void add_count(rows *r, const char *label, int64_t a, int64_t b)
{
    char x[32], y[32];
    add_word(r, label, galv_print_count(x, sizeof x, a),
             galv_print_count(y, sizeof y, b));
}

static void add_number(rows *r, const char *label, const char *unit, double a, double b,
                       double scale, bool less_is_better)
{
    line *row = &r->at[r->n++];
    *row = (line){.label = label,
                  .unit = unit,
                  .is_number = true,
                  .less_is_better = less_is_better,
                  .x = a,
                  .y = b,
                  .differs = a != b};
    galv_print_number(row->a, sizeof row->a, a / scale);
    galv_print_number(row->b, sizeof row->b, b / scale);
}

/* ---- what may differ from block to block ---- */

static void add_blocks(rows *r, const char *label, const galv_plan *a,
                       const galv_plan *b, galv_block_choice which)
{
    char x[64], y[64];
    galv_block_words(x, a, which);
    galv_block_words(y, b, which);
    add_word(r, label, x, y);
}

/* Blocks of each stage, those of like neighbours said once: "8x16", "17 15". */
static void print_stages(char text[64], const galv_result *result)
{
    size_t length = 0;
    text[0] = '\0';
    for (int32_t stage = 0; stage < result->n_stages;) {
        int32_t n_layers = result->stages[stage].n_layers;
        int32_t n = 0;
        while (stage < result->n_stages && result->stages[stage].n_layers == n_layers) {
            n++;
            stage++;
        }
        if (length > 14) { /* enough to see that they differ */
            snprintf(text + length, 64 - length, " \xe2\x80\xa6");
            return;
        }
        const char *gap = length > 0 ? " " : "";
        length += n > 1 ? (size_t)snprintf(text + length, 64 - length, "%s%dx%d", gap,
                                           (int)n, (int)n_layers)
                        : (size_t)snprintf(text + length, 64 - length, "%s%d", gap,
                                           (int)n_layers);
    }
}

static void add_stages(rows *r, const galv_result *a, const galv_result *b)
{
    char x[64], y[64];
    print_stages(x, a);
    print_stages(y, b);
    add_word(r, "blocks of stages", x, y);
}

static void gather(rows *r, const side *a, const side *b)
{
    const galv_job *ja = &a->setup.job, *jb = &b->setup.job;
    const galv_plan *pa = a->setup.plan, *pb = b->setup.plan;
    r->n = 0;
    add_word(r, "model", ja->model.name, jb->model.name);
    add_word(r, "cluster", ja->cluster.name, jb->cluster.name);
    add_count(r, "GPUs", galv_cluster_n_devices(&ja->cluster),
              galv_cluster_n_devices(&jb->cluster));
    add_count(r, "sequence", ja->workload.seq_length, jb->workload.seq_length);
    add_count(r, "global batch", pa->global_batch_size, pb->global_batch_size);
    add_word(r, "precision", galv_precision_names[ja->workload.precision],
             galv_precision_names[jb->workload.precision]);
    add_blocks(r, "tp", pa, pb, GALV_BLOCKS_TP);
    add_blocks(r, "cp", pa, pb, GALV_BLOCKS_CP);
    add_blocks(r, "ep", pa, pb, GALV_BLOCKS_EP);
    add_count(r, "pp", pa->pp, pb->pp);
    add_count(r, "vpp", pa->vpp, pb->vpp);
    add_blocks(r, "dp", pa, pb, GALV_BLOCKS_DP);
    add_blocks(r, "sp", pa, pb, GALV_BLOCKS_SP);
    add_blocks(r, "zero", pa, pb, GALV_BLOCKS_ZERO);
    add_blocks(r, "recompute", pa, pb, GALV_BLOCKS_RECOMPUTE);
    add_stages(r, &a->result, &b->result);
    add_count(r, "micro-batch", galv_plan_micro_batch(pa), galv_plan_micro_batch(pb));
    add_word(r, "schedule", pa->schedule, pb->schedule);
    const galv_result *x = &a->result, *y = &b->result;
    add_number(r, "step time", "s", x->iteration_time_s, y->iteration_time_s, 1, true);
    add_number(r, "tokens/s", "k", x->tokens_per_s, y->tokens_per_s, 1e3, false);
    add_number(r, "tokens/s/GPU", "", x->tokens_per_s_per_gpu, y->tokens_per_s_per_gpu,
               1, false);
    add_number(r, "MFU", "%", x->mfu, y->mfu, 0.01, false);
    add_number(r, "peak memory", "GiB", x->peak_memory_bytes, y->peak_memory_bytes,
               0x1p30, true);
    add_number(r, "bubble", "%", x->bubble_frac, y->bubble_frac, 0.01, true);
    add_number(r, "exposed comm", "%", x->exposed_comm_frac, y->exposed_comm_frac, 0.01,
               true);
    add_word(r, "fits", x->fits ? "yes" : "no", y->fits ? "yes" : "no");
}

/* ---- printing ---- */

static void cell_change(galv_table *table, const line *row)
{
    if (!row->is_number || !row->differs || row->x == 0) {
        galv_table_cell(table, "%s", "");
        galv_table_cell(table, "%s", "");
        return;
    }
    double change = row->y / row->x - 1;
    bool better = (change < 0) == row->less_is_better;
    galv_table_cell(table, "%+.1f %%", 100 * change);
    galv_table_cell(table, "%s", better ? "better" : "worse");
}

static void print_rows(const galv_cli *cli, const rows *r, const side *a, const side *b)
{
    const galv_column columns[] = {{"", "", true, 0, 0},   {"", "", true, 0, 0},
                                   {"A", "", false, 0, 0}, {"B", "", false, 0, 0},
                                   {"", "", true, 0, 0},   {"change", "", false, 0, 0},
                                   {"", "", true, 0, 0}};
    galv_table table;
    galv_table_init(&table, cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < r->n; i++) {
        galv_table_row(&table);
        galv_table_cell(&table, "%s", r->at[i].differs ? "~" : "");
        galv_table_cell(&table, "%s", r->at[i].label);
        galv_table_cell(&table, "%s", r->at[i].a);
        galv_table_cell(&table, "%s", r->at[i].b);
        galv_table_cell(&table, "%s", r->at[i].unit);
        cell_change(&table, &r->at[i]);
    }
    galv_print(cli, "A  %.76s\nB  %.76s\n\n", a->path, b->path);
    galv_table_print(cli->out, &table,
                     galv_cli_given(cli, GALV_OPTION_WIDE) ? 0 : cli->terminal.width,
                     galv_terminal_bold(&cli->terminal),
                     galv_terminal_plain(&cli->terminal));
    galv_print(cli, "~ differs; both predicted\n");
}

static void put_side(galv_json_writer *writer, const char *key, const side *s)
{
    galv_json_put_key(writer, key);
    galv_json_begin_object(writer, false);
    galv_json_key_string(writer, "file", s->path);
    galv_prediction_to_json(&s->result, &s->setup.job, s->setup.plan, writer);
    galv_json_end_object(writer);
}

static galv_status print_json(const galv_cli *cli, const rows *r, const side *a,
                              const side *b, bool differ, galv_err *err)
{
    galv_json_writer writer;
    galv_cli_begin_json(cli, &writer, "compare");
    galv_json_key_bool(&writer, "differ", differ);
    galv_json_put_key(&writer, "differences");
    galv_json_begin_array(&writer, false);
    for (size_t i = 0; i < r->n; i++) {
        const line *row = &r->at[i];
        if (!row->differs) {
            continue;
        }
        galv_json_begin_object(&writer, true);
        galv_json_key_string(&writer, "what", row->label);
        if (row->is_number) {
            galv_json_key_f64(&writer, "a", row->x);
            galv_json_key_f64(&writer, "b", row->y);
        } else {
            galv_json_key_string(&writer, "a", row->a);
            galv_json_key_string(&writer, "b", row->b);
        }
        galv_json_end_object(&writer);
    }
    galv_json_end_array(&writer);
    put_side(&writer, "a", a);
    put_side(&writer, "b", b);
    return galv_cli_end_json(cli, &writer, err);
}

int galv_cmd_compare(const galv_cli *cli)
{
    galv_err err = GALV_ERR_INIT;
    side a = {.path = cli->arguments[0]};
    side b = {.path = cli->arguments[1]};
    galv_status status = read_side(&a, cli, &err);
    if (status == GALV_OK) {
        status = read_side(&b, cli, &err);
    }
    if (status != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    rows r;
    gather(&r, &a, &b);
    bool differ = false;
    for (size_t i = 0; i < r.n; i++) {
        differ = differ || r.at[i].differs;
    }
    if (galv_cli_given(cli, GALV_OPTION_JSON)) {
        if (print_json(cli, &r, &a, &b, differ, &err) != GALV_OK) {
            return galv_cli_fail(cli, &err);
        }
    } else if (!galv_cli_given(cli, GALV_OPTION_QUIET)) {
        print_rows(cli, &r, &a, &b);
    }
    return differ && galv_cli_given(cli, GALV_OPTION_EXIT_CODE)
               ? galv_status_exit_code(GALV_DIFFERENT)
               : 0;
}
