/* The record of a run of Galvatron's search: its inputs as they were after its own
 * fits. Such records hold every argument that its cost model was made with; feeding
 * them, and not the files, takes the noise of two curve fits out of a comparison. */
#include "costmodel/galvatron_inputs_internal.h"

#include "traces/galvatron_files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct run_reader {
    galv_galvatron_inputs *inputs;
    galv_err *err;
    galv_status status; /* the first failure */
} run_reader;

static galv_json_value member(run_reader *r, galv_json_value object, const char *key)
{
    galv_json_value found = {0};
    if (r->status == GALV_OK) {
        r->status = galv_galvatron_need(&found, object, key, r->err);
    }
    return found;
}

static void number(run_reader *r, galv_json_value object, const char *key, double *to)
{
    galv_json_value value = member(r, object, key);
    if (r->status == GALV_OK) {
        r->status = galv_galvatron_number(to, value, r->err);
    }
}

static void whole(run_reader *r, galv_json_value object, const char *key, int32_t *to)
{
    galv_json_value value = member(r, object, key);
    int64_t count = 0;
    if (r->status == GALV_OK) {
        r->status = galv_json_to_i64(&count, value, 1, 1000000000, r->err);
    }
    if (r->status == GALV_OK) {
        *to = (int32_t)count;
    }
}

static void flag(run_reader *r, galv_json_value object, const char *key, bool *to)
{
    if (r->status == GALV_OK && galv_json_type_of(object) == GALV_JSON_OBJECT) {
        galv_json_object o;
        galv_json_enter(&o, object, r->err);
        o.ignore_unknown = true;
        galv_json_bool(&o, key, GALV_REQUIRED, to);
        r->status = galv_json_leave(&o);
    }
}

static void by_degree(run_reader *r, galv_json_value object, const char *key,
                      galv_galvatron_by_degree *to)
{
    galv_json_value value = member(r, object, key);
    if (r->status == GALV_OK) {
        r->status = galv_galvatron_put_object(to, value, r->err);
    }
}

/* A time for any number of samples is [slope, constant], one of a fixed shape a number
 * of ms for one sample. */
static void line(run_reader *r, galv_json_value object, const char *key,
                 galv_galvatron_line *to)
{
    galv_json_value value = member(r, object, key);
    if (r->status != GALV_OK) {
        return;
    }
    if (galv_json_type_of(value) != GALV_JSON_ARRAY) {
        to->constant = 0;
        r->status = galv_galvatron_number(&to->slope, value, r->err);
        return;
    }
    if (galv_json_length(value) != 2) {
        r->status =
            galv_json_fail(value, r->err, "slope and constant are expected here");
        return;
    }
    r->status =
        galv_json_to_f64(&to->slope, galv_json_element(value, 0),
                         -GALV_GALVATRON_MAX_INPUT, GALV_GALVATRON_MAX_INPUT, r->err);
    if (r->status == GALV_OK) {
        r->status = galv_json_to_f64(&to->constant, galv_json_element(value, 1),
                                     -GALV_GALVATRON_MAX_INPUT,
                                     GALV_GALVATRON_MAX_INPUT, r->err);
    }
}

static void ends(run_reader *r, galv_json_value value, galv_galvatron_place place)
{
    by_degree(r, value, "model_states", &r->inputs->ends[place].states_mib);
    by_degree(r, value, "activation", &r->inputs->ends[place].activation_mib);
}

static void read_profile_model(run_reader *r, galv_json_value profile)
{
    galv_json_value kept = member(r, profile, "tp_activation_per_bsz_dict");
    number(r, kept, "checkpoint", &r->inputs->checkpoint_mib);
    by_degree(r, profile, "tp_activation_per_bsz_dict", &r->inputs->activation_mib);
    line(r, profile, "forward_computation_time", &r->inputs->layer_ms);
    line(r, profile, "other_time_profiled", &r->inputs->ends_ms);
    galv_json_value pipelined = member(r, profile, "other_memory_pp_on");
    ends(r, member(r, profile, "other_memory_pp_off"), GALV_GALVATRON_WHOLE);
    ends(r, member(r, pipelined, "first_stage"), GALV_GALVATRON_FIRST);
    ends(r, member(r, pipelined, "last_stage"), GALV_GALVATRON_LAST);
}

/* "8_1": eight consecutive ranks, "8_0": strided; "8" repeats one of them. */
static void read_bandwidths(run_reader *r, galv_json_value object)
{
    for (size_t i = 0; r->status == GALV_OK && i < galv_json_n_keys(object); i++) {
        galv_json_value value;
        int32_t key[2];
        double ms_per_mib = 0;
        if (!galv_galvatron_scan_key(galv_json_key(object, i, &value), "#_#", key)) {
            continue;
        }
        r->status = galv_galvatron_number(&ms_per_mib, value, r->err);
        if (r->status == GALV_OK) {
            r->status =
                galv_galvatron_put(key[1] == 1 ? &r->inputs->consecutive_ms_per_mib
                                               : &r->inputs->strided_ms_per_mib,
                                   key[0], ms_per_mib, value, r->err);
        }
    }
}

/* Messages of one group in MiB ("16") or bytes, and "popt", the line. */
static void read_group(run_reader *r, galv_galvatron_collective *to, int32_t n_ranks,
                       galv_json_value group)
{
    galv_galvatron_line through = {0};
    for (size_t i = 0; r->status == GALV_OK && i < galv_json_n_keys(group); i++) {
        galv_json_value value;
        int32_t mib[1];
        double time_ms = 0;
        if (!galv_galvatron_scan_key(galv_json_key(group, i, &value), "#", mib)) {
            continue;
        }
        r->status = galv_galvatron_number(&time_ms, value, r->err);
        if (r->status == GALV_OK) {
            r->status =
                galv_galvatron_put_time(to, n_ranks, mib[0], time_ms, value, r->err);
        }
    }
    line(r, group, "popt", &through);
    for (int32_t g = 0; r->status == GALV_OK && g < to->n; g++) {
        if (to->groups[g].n_ranks == n_ranks) {
            to->groups[g].line = through;
        }
    }
}

static void read_times(run_reader *r, galv_json_value hardware, const char *key,
                       galv_galvatron_collective *to)
{
    galv_json_value groups = member(r, hardware, key);
    for (size_t i = 0; r->status == GALV_OK && i < galv_json_n_keys(groups); i++) {
        galv_json_value group;
        int32_t n_ranks[1];
        if (galv_galvatron_scan_key(galv_json_key(groups, i, &group), "#", n_ranks)) {
            read_group(r, to, n_ranks[0], group);
        }
    }
}

static void read_hardware(run_reader *r, galv_json_value hardware)
{
    number(r, hardware, "overlap_slowdown_coe", &r->inputs->overlap);
    read_bandwidths(r, member(r, hardware, "comm_coe_dict"));
    by_degree(r, hardware, "p2p_comm_coe_dict", &r->inputs->p2p_ms_per_mib);
    read_times(r, hardware, "allgather_message_size_to_latency_dict_dict",
               &r->inputs->all_gather);
    read_times(r, hardware, "all2all_message_size_to_latency_dict_dict",
               &r->inputs->all_to_all);
}

static void read_all(run_reader *r, galv_json_value request, galv_json_value resolved)
{
    galv_galvatron_inputs *inputs = r->inputs;
    int32_t n_nodes = 1, per_node = 1;
    bool mixed = true;
    whole(r, request, "num_nodes", &n_nodes);
    whole(r, request, "num_gpus_per_node", &per_node);
    if (r->status == GALV_OK && (int64_t)n_nodes * per_node > INT32_MAX) {
        r->status = galv_json_fail(request, r->err, "%d nodes of %d GPUs cannot be",
                                   (int)n_nodes, (int)per_node);
    }
    inputs->n_devices = r->status == GALV_OK ? n_nodes * per_node : 0;
    galv_json_value model = member(r, resolved, "model");
    const char *name = "";
    galv_json_value named = member(r, model, "name");
    if (r->status == GALV_OK) {
        r->status = galv_json_to_string(&name, named, r->err);
    }
    snprintf(inputs->model, sizeof inputs->model, "%s", name);
    whole(r, model, "num_layers", &inputs->n_layers);
    whole(r, model, "hidden_size", &inputs->hidden_size);
    whole(r, model, "seq_length", &inputs->seq_length);
    number(r, model, "parameter_size_MB", &inputs->parameter_mib);
    read_profile_model(r, member(r, resolved, "profile_model"));
    read_hardware(r, member(r, resolved, "profile_hardware"));
    galv_json_value train = member(r, resolved, "train");
    flag(r, train, "mixed_precision", &mixed);
    flag(r, train, "async_grad_reduce", &inputs->async_grad_reduce);
    number(r, train, "pytorch_context_mem", &inputs->context_mib);
    flag(r, member(r, resolved, "parallel"), "sequence_parallel",
         &inputs->sequence_parallel);
    inputs->fp32 = !mixed;
}

galv_status galv_galvatron_inputs_from_run(galv_galvatron_inputs *inputs,
                                           galv_json_value request,
                                           galv_json_value resolved, galv_err *err)
{
    galv_galvatron_inputs read = {0};
    run_reader r = {&read, err, GALV_OK};
    read_all(&r, request, resolved);
    if (r.status == GALV_OK && !(read.overlap >= 1)) {
        r.status = galv_json_fail(resolved, err, "an overlap slows down: 1 or more");
    }
    if (r.status == GALV_OK) {
        *inputs = read;
    }
    return r.status;
}
