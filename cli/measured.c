/* A join of two timelines.
 *
 * Both are lists of spans with the same vocabulary, so they are compared by what the
 * spans say they are: sums by (stream, kind), as the mean of the ranks that each
 * timeline has (a folded simulation has one rank for each stage). A kind that only one
 * of the two has is shown with nothing on the other side. */
#include "cli/measured.h"

#include "base/units.h"
#include "cli/output.h"
#include "cli/table.h"
#include "sim/evaluate.h"

#include <math.h>

typedef struct sums {
    double seconds[GALV_N_STREAMS][GALV_N_OP_KINDS]; /* mean of the ranks */
} sums;

static galv_status sum_up(sums *s, const galv_timeline *timeline, const char *path,
                          galv_err *err)
{
    *s = (sums){{{0}}};
    if (timeline->n_ranks < 1 || !(timeline->duration_s > 0)) {
        return galv_fail_at(err, path, 0, 0, "no iteration in this timeline");
    }
    for (size_t i = 0; i < timeline->n_spans; i++) {
        const galv_span *span = &timeline->spans[i];
        if (span->stream < GALV_N_STREAMS && span->kind < GALV_N_OP_KINDS) {
            s->seconds[span->stream][span->kind] +=
                (span->end_s - span->start_s) / timeline->n_ranks;
        }
    }
    return GALV_OK;
}

static galv_status simulate(galv_timeline *timeline, const galv_cli *cli,
                            const char *path, galv_err *err)
{
    galv_setup setup;
    galv_costmodel *model = NULL;
    galv_result result;
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    options.sim.record_timeline = true;
    galv_status status = galv_setup_load(&setup, cli, path, err);
    if (status == GALV_OK) {
        status = galv_setup_costmodel(&model, &setup, cli, err);
    }
    if (status == GALV_OK) {
        status = galv_evaluate(&result, model, setup.plan, &options, cli->arena, err);
    }
    if (status == GALV_OK) {
        *timeline = result.timeline;
    }
    galv_costmodel_free(model);
    galv_setup_release(&setup);
    return status;
}

static void cell_seconds(galv_table *table, double seconds)
{
    char text[32];
    if (seconds > 0) {
        galv_table_cell(table, "%s", galv_print_number(text, sizeof text, seconds));
    } else {
        galv_table_cell(table, "-");
    }
}

static void add_row(galv_table *table, const char *stream, const char *kind,
                    double measured_s, double predicted_s)
{
    galv_table_row(table);
    galv_table_cell(table, "%s", kind);
    galv_table_cell(table, "%s", stream);
    cell_seconds(table, measured_s);
    cell_seconds(table, predicted_s);
    if (measured_s > 0 && predicted_s > 0) {
        galv_table_cell(table, "%+.1f", 100 * (predicted_s / measured_s - 1));
    } else {
        galv_table_cell(table, "-");
    }
}

static void print_table(const galv_cli *cli, const galv_timeline *measured,
                        const galv_timeline *predicted, const sums *m, const sums *p)
{
    static const galv_column columns[] = {{"operation", "", true, 0, 0},
                                          {"stream", "", true, 0, 0},
                                          {"measured", "s", false, 0, 0},
                                          {"predicted", "s", false, 0, 0},
                                          {"error", "%", false, 0, 0}};
    galv_table table;
    galv_table_init(&table, cli->arena, columns, 5);
    add_row(&table, "", "iteration", measured->duration_s, predicted->duration_s);
    for (int s = 0; s < GALV_N_STREAMS; s++) {
        for (int k = 0; k < GALV_N_OP_KINDS; k++) {
            if (m->seconds[s][k] > 0 || p->seconds[s][k] > 0) {
                add_row(&table, galv_stream_names[s], galv_op_kind_names[k],
                        m->seconds[s][k], p->seconds[s][k]);
            }
        }
    }
    galv_cli_print_table(cli, &table);
    galv_print(cli, "seconds of one rank, the mean of all\n");
}

static galv_status print_json(const galv_cli *cli, const galv_timeline *measured,
                              const galv_timeline *predicted, const sums *m,
                              const sums *p, galv_err *err)
{
    galv_json_writer writer;
    galv_cli_begin_json(cli, &writer, "validate");
    galv_json_key_f64(&writer, "measured_iteration_time_s", measured->duration_s);
    galv_json_key_f64(&writer, "predicted_iteration_time_s", predicted->duration_s);
    galv_json_key_f64(&writer, "error",
                      predicted->duration_s / measured->duration_s - 1);
    galv_json_put_key(&writer, "operations");
    galv_json_begin_array(&writer, false);
    for (int s = 0; s < GALV_N_STREAMS; s++) {
        for (int k = 0; k < GALV_N_OP_KINDS; k++) {
            if (m->seconds[s][k] <= 0 && p->seconds[s][k] <= 0) {
                continue;
            }
            galv_json_begin_object(&writer, true);
            galv_json_key_string(&writer, "kind", galv_op_kind_names[k]);
            galv_json_key_string(&writer, "stream", galv_stream_names[s]);
            galv_json_key_f64(&writer, "measured_s", m->seconds[s][k]);
            galv_json_key_f64(&writer, "predicted_s", p->seconds[s][k]);
            galv_json_end_object(&writer);
        }
    }
    galv_json_end_array(&writer);
    return galv_cli_end_json(cli, &writer, err);
}

galv_status galv_measured_compare(double *error_frac, const galv_cli *cli,
                                  const char *plan_path, const char *timeline_path,
                                  galv_err *err)
{
    galv_timeline measured, predicted;
    sums m, p;
    galv_status status =
        galv_timeline_read_csv(&measured, timeline_path, cli->arena, err);
    if (status == GALV_OK) {
        status = simulate(&predicted, cli, plan_path, err);
    }
    if (status == GALV_OK) {
        status = sum_up(&m, &measured, timeline_path, err);
    }
    if (status == GALV_OK) {
        status = sum_up(&p, &predicted, plan_path, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    *error_frac = predicted.duration_s / measured.duration_s - 1;
    if (galv_cli_given(cli, GALV_OPTION_JSON)) {
        return print_json(cli, &measured, &predicted, &m, &p, err);
    }
    print_table(cli, &measured, &predicted, &m, &p);
    return GALV_OK;
}
