/* Galvatron's inputs: which files, whose job, and the tables they go into.
 *
 * Galvatron takes four numbers of the model from its yaml (layers, hidden size,
 * sequence length, name), knows one kind of layer, and finds its profiles by names made
 * of precision, model, nodes and GPUs in a node. A job of ours says all of that. A job
 * that says more than Galvatron can (two kinds of blocks, two pools, fp8) is refused:
 * costing something else in its stead would be worse.
 *
 * The parts: galvatron_inputs_model.c and galvatron_inputs_hardware.c read the files,
 * galvatron_inputs_run.c the record of a run. */
#include "costmodel/galvatron_inputs.h"
#include "costmodel/galvatron_inputs_internal.h"

#include "traces/galvatron_files.h"

#include <gsl/gsl_fit.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT_MIB 1024 /* pytorch_context_mem, a constant of Galvatron's */

const char *const galv_galvatron_time_mode_names[3] = {"static", "batch", "sequence"};
const char *const galv_galvatron_memory_mode_names[2] = {"static", "sequence"};

/* ---- tables ---- */

bool galv_galvatron_at_degree(double *value, const galv_galvatron_by_degree *table,
                              int32_t degree)
{
    for (int32_t i = 0; i < table->n; i++) {
        if (table->degrees[i] == degree) {
            *value = table->values[i];
            return true;
        }
    }
    return false;
}

galv_status galv_galvatron_put(galv_galvatron_by_degree *table, int32_t degree,
                               double number, galv_json_value value, galv_err *err)
{
    double before;
    if (degree < 1) {
        return galv_json_fail(value, err, "a degree of %d cannot be", (int)degree);
    }
    if (galv_galvatron_at_degree(&before, table, degree)) {
        return galv_json_fail(value, err, "degree %d is given twice", (int)degree);
    }
    if (table->n == GALV_GALVATRON_MAX_DEGREES) {
        return galv_json_fail(value, err, "more than %d degrees",
                              GALV_GALVATRON_MAX_DEGREES);
    }
    table->degrees[table->n] = degree;
    table->values[table->n++] = number;
    return GALV_OK;
}

galv_status galv_galvatron_number(double *number, galv_json_value value, galv_err *err)
{
    return galv_json_to_f64(number, value, 0, GALV_GALVATRON_MAX_INPUT, err);
}

galv_status galv_galvatron_need(galv_json_value *member, galv_json_value object,
                                const char *key, galv_err *err)
{
    if (galv_json_type_of(object) != GALV_JSON_OBJECT) {
        return galv_json_fail(object, err, "an object is expected here");
    }
    galv_json_value found = galv_json_member(object, key);
    if (galv_json_type_of(found) == GALV_JSON_ABSENT) {
        return galv_json_fail(object, err, "'%s' is missing", key);
    }
    *member = found;
    return GALV_OK;
}

galv_status galv_galvatron_put_object(galv_galvatron_by_degree *table,
                                      galv_json_value object, galv_err *err)
{
    if (galv_json_type_of(object) != GALV_JSON_OBJECT) {
        return galv_json_fail(object, err, "an object of degrees is expected here");
    }
    table->n = 0;
    for (size_t i = 0; i < galv_json_n_keys(object); i++) {
        galv_json_value value;
        int32_t degree[1];
        double number;
        if (!galv_galvatron_scan_key(galv_json_key(object, i, &value), "#", degree)) {
            continue;
        }
        galv_status status = galv_galvatron_number(&number, value, err);
        if (status == GALV_OK) {
            status = galv_galvatron_put(table, degree[0], number, value, err);
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    return table->n > 0 ? GALV_OK : galv_json_fail(object, err, "no degree in here");
}

galv_status galv_galvatron_put_time(galv_galvatron_collective *collective,
                                    int32_t n_ranks, double message_mib, double time_ms,
                                    galv_json_value value, galv_err *err)
{
    int32_t g = 0;
    while (g < collective->n && collective->groups[g].n_ranks != n_ranks) {
        g++;
    }
    if (g == GALV_GALVATRON_MAX_DEGREES) {
        return galv_json_fail(value, err, "more than %d sizes of groups",
                              GALV_GALVATRON_MAX_DEGREES);
    }
    galv_galvatron_times *group = &collective->groups[g];
    if (g == collective->n) {
        collective->n++;
        group->n_ranks = n_ranks;
        group->n = 0;
    }
    if (group->n == GALV_GALVATRON_MAX_MESSAGES) {
        return galv_json_fail(value, err, "more than %d messages of one group",
                              GALV_GALVATRON_MAX_MESSAGES);
    }
    group->message_mib[group->n] = message_mib;
    group->time_ms[group->n++] = time_ms;
    return GALV_OK;
}

/* ---- fits ---- */

galv_galvatron_line galv_galvatron_fit_line(const double *x, const double *y, size_t n)
{
    galv_galvatron_line line = {0};
    double c00, c01, c11, sum;
    gsl_fit_linear(x, 1, y, 1, n, &line.constant, &line.slope, &c00, &c01, &c11, &sum);
    return line;
}

/* By orthogonal polynomials on the points (Forsythe 1957): the normal equations of
 * lengths up to 2^20 squared would lose half the digits. */
double galv_galvatron_fit_parabola(const double *x, const double *y, size_t n,
                                   double at)
{
    double mean = 0, level = 0;
    for (size_t i = 0; i < n; i++) {
        mean += x[i] / (double)n;
        level += y[i] / (double)n;
    }
    double square = 0, cube = 0, tilt = 0;
    for (size_t i = 0; i < n; i++) {
        double d = x[i] - mean;
        square += d * d;
        cube += d * d * d;
        tilt += d * y[i];
    }
    double norm = 0, bend = 0;
    for (size_t i = 0; i < n; i++) {
        double d = x[i] - mean;
        double p = d * d - cube / square * d - square / (double)n;
        norm += p * p;
        bend += p * y[i];
    }
    double d = at - mean;
    double p = d * d - cube / square * d - square / (double)n;
    return level + tilt / square * d + bend / norm * p;
}

/* ---- the job ---- */

static bool is_block(const galv_layer_group *group)
{
    return group->num_attention_heads > 0;
}

/* What Galvatron takes from its yaml. */
static galv_status read_job(galv_galvatron_inputs *inputs, const galv_job *job,
                            const galv_galvatron_inputs_options *options, galv_err *err)
{
    const galv_layer_group *block = NULL;
    for (int32_t i = 0; i < job->model.n_groups; i++) {
        const galv_layer_group *group = &job->model.groups[i];
        if (is_block(group) && block != NULL) {
            return galv_fail(err, GALV_USAGE,
                             "%s has several kinds of blocks: Galvatron's cost model "
                             "knows one",
                             job->model.name);
        }
        block = is_block(group) ? group : block;
    }
    if (block == NULL) {
        return galv_fail(err, GALV_USAGE, "the model has no blocks");
    }
    if (job->cluster.n_pools != 1) {
        return galv_fail(err, GALV_USAGE,
                         "a mixed cluster: Galvatron's cost model knows one kind of "
                         "GPU");
    }
    galv_precision precision = job->workload.precision;
    if (precision != GALV_FP32 && precision != GALV_BF16 && precision != GALV_FP16) {
        galv_fail(err, GALV_USAGE, "Galvatron has no %s",
                  galv_precision_names[precision]);
        galv_hint(err, "it profiles fp32, bf16 and fp16");
        return GALV_USAGE;
    }
    int64_t n_devices = galv_cluster_n_devices(&job->cluster);
    if (n_devices < 1 || n_devices > INT32_MAX) {
        return galv_fail(err, GALV_USAGE, "%lld GPUs cannot be", (long long)n_devices);
    }
    snprintf(inputs->model, sizeof inputs->model, "%s", job->model.name);
    inputs->n_layers = block->n_layers;
    inputs->hidden_size = block->hidden_size;
    inputs->seq_length =
        job->workload.seq_length > 0 ? job->workload.seq_length : job->model.seq_length;
    inputs->n_devices = (int32_t)n_devices;
    inputs->fp32 = precision == GALV_FP32;
    inputs->sequence_parallel = !options->without_sequence_parallel;
    inputs->async_grad_reduce = !options->without_async_grad_reduce;
    inputs->context_mib = CONTEXT_MIB;
    return GALV_OK;
}

/* ---- the files ---- */

typedef struct reader {
    galv_galvatron_inputs *inputs;
    const galv_job *job;
    const galv_galvatron_inputs_options *options;
    galv_arena *arena;
    galv_err *err;
} reader;

/* Opens a file that must be there. Caller frees the document. */
static galv_status open_file(galv_json **document, const reader *r, const char *folder,
                             const char *name)
{
    char *path = NULL;
    if (name == NULL) {
        return galv_fail(r->err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status =
        galv_galvatron_find_file(&path, folder, name, r->arena, r->err);
    if (status == GALV_OK && path == NULL) {
        galv_fail_at(r->err, folder, 0, 0, "%s is not in this folder", name);
        galv_hint(r->err, "Galvatron's cost model needs its profiles of model and "
                          "hardware; --nodes, --gpus-per-node and --precision choose "
                          "among them");
        return GALV_INPUT;
    }
    return status == GALV_OK ? galv_json_read_file(document, path, r->err) : status;
}

static galv_status read_model_files(const reader *r)
{
    const char *model =
        r->options->model != NULL ? r->options->model : r->job->model.name;
    const char *precision = galv_precision_names[r->job->workload.precision];
    galv_json *document = NULL;
    galv_status status =
        open_file(&document, r, r->options->folder,
                  galv_arena_printf(r->arena, "computation_profiling_%s_%s_all.json",
                                    precision, model));
    if (status == GALV_OK) {
        status = galv_galvatron_inputs_computation(r->inputs, galv_json_root(document),
                                                   r->options->time_mode, r->err);
    }
    galv_json_free(document);
    document = NULL;
    if (status == GALV_OK) {
        status =
            open_file(&document, r, r->options->folder,
                      galv_arena_printf(r->arena, "memory_profiling_%s_%s_all.json",
                                        precision, model));
    }
    if (status == GALV_OK) {
        status = galv_galvatron_inputs_memory(r->inputs, galv_json_root(document),
                                              r->options->memory_mode, r->err);
    }
    galv_json_free(document);
    return status;
}

static galv_status read_hardware_files(const reader *r)
{
    typedef galv_status read_file(galv_galvatron_inputs *, galv_json_value, galv_err *);
    static const struct {
        const char *stem;
        read_file *read;
    } kinds[] = {
        {"allreduce_bandwidth", galv_galvatron_inputs_all_reduce},
        {"p2p_bandwidth", galv_galvatron_inputs_p2p},
        {"sp_time", galv_galvatron_inputs_sp_time},
        {NULL, galv_galvatron_inputs_overlap},
    };
    const galv_pool *pool = &r->job->cluster.pools[0];
    const char *folder = r->options->hardware_folder != NULL
                             ? r->options->hardware_folder
                             : r->options->folder;
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK && i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *name =
            kinds[i].stem == NULL
                ? "overlap_coefficient.json"
                : galv_arena_printf(r->arena, "%s_%dnodes_%dgpus_per_node.json",
                                    kinds[i].stem, (int)pool->n_nodes,
                                    (int)pool->devices_per_node);
        galv_json *document = NULL;
        status = open_file(&document, r, folder, name);
        if (status == GALV_OK) {
            status = kinds[i].read(r->inputs, galv_json_root(document), r->err);
        }
        galv_json_free(document);
    }
    return status;
}

galv_status galv_galvatron_inputs_read(galv_galvatron_inputs *inputs,
                                       const galv_job *job,
                                       const galv_galvatron_inputs_options *options,
                                       galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    galv_galvatron_inputs *read =
        arena == NULL ? NULL : GALV_NEW(arena, galv_galvatron_inputs);
    if (read == NULL) {
        galv_arena_free(arena);
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    reader r = {read, job, options, arena, err};
    galv_status status = read_job(read, job, options, err);
    if (status == GALV_OK) {
        status = read_model_files(&r);
    }
    if (status == GALV_OK) {
        status = read_hardware_files(&r);
    }
    if (status == GALV_OK) {
        *inputs = *read;
    }
    galv_arena_free(arena);
    return status;
}
