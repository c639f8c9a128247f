/* Plan documents: "schema": "galvatron-sim/plan".
 *
 * What is written is self-contained: the whole job, the stages as numbers of layers,
 * the strategies run-length. Reading it gives the same job and plan to the last bit.
 *
 * What is read may be written by hand: "model" and "cluster" may be names ("n_nodes"
 * beside them), the workload may be left out, and degrees at the top ("tp": 8, "pp": 4)
 * stand for a uniform plan, whose blocks are shared out evenly unless "stage_blocks"
 * says otherwise and whose dp, when left out, uses the cluster up. */
#include "plan/plan.h"

#include "plan/document_internal.h"

#include <stdio.h>
#include <string.h>

#define SCHEMA "galvatron-sim/plan"

/* ---- writing ---- */

static void write_layers(const galv_plan *plan, galv_json_writer *writer)
{
    galv_json_put_key(writer, "layers");
    galv_json_begin_array(writer, false);
    int32_t layer = 0;
    while (layer < plan->n_layers) {
        const galv_strategy *strategy = galv_plan_strategy(plan, layer);
        int32_t first = layer;
        while (layer < plan->n_layers &&
               galv_strategy_equal(strategy, galv_plan_strategy(plan, layer))) {
            layer++;
        }
        galv_json_begin_object(writer, true);
        galv_json_key_i64(writer, "n_layers", layer - first);
        galv_json_put_key(writer, "strategy");
        galv_strategy_to_json(strategy, writer);
        galv_json_end_object(writer);
    }
    galv_json_end_array(writer);
}

static void write_stages(const galv_plan *plan, galv_json_writer *writer)
{
    galv_json_put_key(writer, "stages");
    galv_json_begin_array(writer, true);
    for (int32_t s = 0; s < plan->pp * plan->vpp; s++) {
        galv_json_put_i64(writer, plan->first_layer[s + 1] - plan->first_layer[s]);
    }
    galv_json_end_array(writer);
}

void galv_plan_to_json(const galv_job *job, const galv_plan *plan,
                       galv_json_writer *writer)
{
    galv_json_begin_object(writer, false);
    galv_document_write_schema(writer, SCHEMA);
    galv_json_key_i64(writer, "pp", plan->pp);
    galv_json_key_i64(writer, "vpp", plan->vpp);
    galv_json_key_string(writer, "schedule", plan->schedule);
    if (plan->order != NULL) {
        galv_json_put_key(writer, "schedule_order");
        galv_order_to_json(plan->order, writer);
    }
    galv_json_key_i64(writer, "group_size", plan->group_size);
    galv_json_key_i64(writer, "micro_batch_size", plan->micro_batch_size);
    galv_json_key_i64(writer, "global_batch_size", plan->global_batch_size);
    galv_json_key_string(writer, "rank_order", plan->rank_order);
    galv_json_put_key(writer, "overlap");
    galv_json_begin_object(writer, true);
    galv_json_key_bool(writer, "grad_reduce", plan->overlap.grad_reduce);
    galv_json_key_bool(writer, "param_gather", plan->overlap.param_gather);
    galv_json_key_bool(writer, "tp_comm", plan->overlap.tp_comm);
    galv_json_key_bool(writer, "p2p", plan->overlap.p2p);
    galv_json_key_bool(writer, "step", plan->overlap.step);
    galv_json_end_object(writer);
    write_stages(plan, writer);
    write_layers(plan, writer);
    galv_json_put_key(writer, "model");
    galv_model_to_json(&job->model, writer);
    galv_json_put_key(writer, "cluster");
    galv_cluster_to_json(&job->cluster, writer);
    galv_json_put_key(writer, "workload");
    galv_workload_to_json(&job->workload, writer);
    galv_json_end_object(writer);
}

/* ---- reading the job ---- */

static void read_model(galv_json_object *o, galv_model *model)
{
    galv_json_value value = galv_json_get(o, "model", GALV_REQUIRED);
    if (galv_json_type_of(value) != GALV_JSON_STRING) {
        if (o->err->status == GALV_OK) {
            galv_model_from_json(model, value, o->err);
        }
        return;
    }
    const char *name = "";
    galv_err why = GALV_ERR_INIT;
    if (galv_json_to_string(&name, value, o->err) == GALV_OK &&
        galv_model_load(model, name, &why) != GALV_OK) {
        galv_document_refuse(value, &why, o->err);
    }
}

static void read_cluster(galv_json_object *o, galv_cluster *cluster)
{
    galv_json_value value = galv_json_get(o, "cluster", GALV_REQUIRED);
    galv_err why = GALV_ERR_INIT;
    if (galv_json_type_of(value) == GALV_JSON_STRING) {
        const char *name = "";
        if (galv_json_to_string(&name, value, o->err) == GALV_OK &&
            galv_cluster_load(cluster, name, 0, &why) != GALV_OK) {
            galv_document_refuse(value, &why, o->err);
        }
    } else if (o->err->status == GALV_OK) {
        galv_cluster_from_json(cluster, value, o->err);
    }
    galv_json_value nodes = galv_json_get(o, "n_nodes", GALV_OPTIONAL);
    int64_t n_nodes = 0;
    if (galv_json_type_of(nodes) != GALV_JSON_ABSENT &&
        galv_json_to_i64(&n_nodes, nodes, 1, 1000000, o->err) == GALV_OK &&
        galv_cluster_set_nodes(cluster, (int32_t)n_nodes, &why) != GALV_OK) {
        galv_document_refuse(nodes, &why, o->err);
    }
}

static void read_job(galv_json_object *o, galv_job *job)
{
    galv_workload workload = GALV_WORKLOAD_INIT;
    job->workload = workload;
    read_model(o, &job->model);
    read_cluster(o, &job->cluster);
    galv_json_value value = galv_json_get(o, "workload", GALV_OPTIONAL);
    if (galv_json_type_of(value) != GALV_JSON_ABSENT) {
        galv_workload_from_json(&job->workload, value, o->err);
    }
}

/* ---- reading the plan ---- */

/* What stands at the top of the document. */
typedef struct top {
    galv_strategy strategy; /* dp 0 = not given */
    int32_t pp, vpp, group_size, micro_batch_size;
    int64_t global_batch_size; /* 0 = not given */
    char schedule[24];
    char rank_order[24];
    galv_overlap overlap;
    galv_json_value layers, stages, stage_blocks, order;
} top;

static void read_overlap(galv_json_object *o, galv_overlap *overlap)
{
    galv_json_value value = galv_json_get(o, "overlap", GALV_OPTIONAL);
    if (galv_json_type_of(value) == GALV_JSON_ABSENT) {
        return;
    }
    galv_json_object inner;
    galv_json_enter(&inner, value, o->err);
    galv_json_bool(&inner, "grad_reduce", GALV_OPTIONAL, &overlap->grad_reduce);
    galv_json_bool(&inner, "param_gather", GALV_OPTIONAL, &overlap->param_gather);
    galv_json_bool(&inner, "tp_comm", GALV_OPTIONAL, &overlap->tp_comm);
    galv_json_bool(&inner, "p2p", GALV_OPTIONAL, &overlap->p2p);
    galv_json_bool(&inner, "step", GALV_OPTIONAL, &overlap->step);
    galv_json_leave(&inner);
}

static void read_uniform_strategy(galv_json_object *o, galv_strategy *strategy)
{
    int sp = (int)strategy->sp;
    int recompute = (int)strategy->recompute;
    galv_json_i32(o, "tp", GALV_OPTIONAL, 1, 1048576, &strategy->tp);
    galv_json_i32(o, "cp", GALV_OPTIONAL, 1, 1048576, &strategy->cp);
    galv_json_i32(o, "ep", GALV_OPTIONAL, 1, 1048576, &strategy->ep);
    galv_json_i32(o, "dp", GALV_OPTIONAL, 1, 1048576, &strategy->dp);
    galv_json_word(o, "sp", GALV_OPTIONAL, galv_sp_names, GALV_N_SPS, &sp);
    galv_json_i32(o, "zero", GALV_OPTIONAL, 0, 3, &strategy->zero);
    galv_json_word(o, "recompute", GALV_OPTIONAL, galv_recompute_names,
                   GALV_N_RECOMPUTES, &recompute);
    strategy->sp = (galv_sp)sp;
    strategy->recompute = (galv_recompute)recompute;
}

static void read_top(galv_json_object *o, top *t)
{
    t->strategy = (galv_strategy)GALV_STRATEGY_INIT;
    t->strategy.dp = 0;
    t->pp = 1;
    t->vpp = 1;
    t->micro_batch_size = 1;
    t->overlap = (galv_overlap)GALV_OVERLAP_INIT;
    snprintf(t->rank_order, sizeof t->rank_order, "tp-cp-dp-pp");
    galv_json_i32(o, "pp", GALV_OPTIONAL, 1, 65536, &t->pp);
    galv_json_i32(o, "vpp", GALV_OPTIONAL, 1, 65536, &t->vpp);
    galv_json_string(o, "schedule", GALV_OPTIONAL, t->schedule, sizeof t->schedule);
    galv_json_i32(o, "group_size", GALV_OPTIONAL, 0, 1 << 24, &t->group_size);
    galv_json_i32(o, "micro_batch_size", GALV_OPTIONAL, 1, 1 << 20,
                  &t->micro_batch_size);
    galv_json_i64(o, "global_batch_size", GALV_OPTIONAL, 1, (int64_t)1 << 40,
                  &t->global_batch_size);
    galv_json_string(o, "rank_order", GALV_OPTIONAL, t->rank_order,
                     sizeof t->rank_order);
    read_overlap(o, &t->overlap);
    t->layers = galv_json_get(o, "layers", GALV_OPTIONAL);
    t->stages = galv_json_get(o, "stages", GALV_OPTIONAL);
    t->order = galv_json_get(o, "schedule_order", GALV_OPTIONAL);
    t->stage_blocks = galv_json_get(o, "stage_blocks", GALV_OPTIONAL);
    read_uniform_strategy(o, &t->strategy);
}

static bool is_given(galv_json_value value)
{
    return galv_json_type_of(value) != GALV_JSON_ABSENT;
}

/* Whole numbers of an array of exactly `count`. */
static galv_status read_counts(int32_t *counts, int64_t count, galv_json_value array,
                               int64_t low, galv_err *err)
{
    if (galv_json_type_of(array) != GALV_JSON_ARRAY ||
        (int64_t)galv_json_length(array) != count) {
        return galv_json_fail(array, err,
                              "expected an array of pp * vpp = %lld numbers",
                              (long long)count);
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t number = 0;
        galv_status status = galv_json_to_i64(
            &number, galv_json_element(array, (size_t)i), low, 1 << 20, err);
        if (status != GALV_OK) {
            return status;
        }
        counts[i] = (int32_t)number;
    }
    return GALV_OK;
}

static galv_status read_stages(galv_plan *plan, const top *t, galv_arena *arena,
                               galv_err *err)
{
    int32_t n_virtual = plan->pp * plan->vpp;
    int32_t *counts = GALV_NEW_ARRAY(arena, int32_t, n_virtual);
    plan->first_layer = GALV_NEW_ARRAY(arena, int32_t, n_virtual + 1);
    if (counts == NULL || plan->first_layer == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = read_counts(counts, n_virtual, t->stages, 1, err);
    if (status != GALV_OK) {
        return status;
    }
    int64_t layer = 0;
    for (int32_t s = 0; s < n_virtual; s++) {
        layer += counts[s];
        if (layer > plan->n_layers) {
            break;
        }
        plan->first_layer[s + 1] = (int32_t)layer;
    }
    if (layer != plan->n_layers) {
        return galv_json_fail(t->stages, err,
                              "the stages do not hold the model's %d layers (embedding "
                              "and head included)",
                              (int)plan->n_layers);
    }
    return GALV_OK;
}

/* Index of a strategy among the plan's, added when it is new. */
static int32_t intern_strategy(galv_plan *plan, const galv_strategy *strategy)
{
    for (int32_t i = 0; i < plan->n_strategies; i++) {
        if (galv_strategy_equal(&plan->strategies[i], strategy)) {
            return i;
        }
    }
    plan->strategies[plan->n_strategies] = *strategy;
    return plan->n_strategies++;
}

static galv_status read_layers(galv_plan *plan, const top *t, galv_arena *arena,
                               galv_err *err)
{
    size_t n_runs = galv_json_length(t->layers);
    plan->strategies = GALV_NEW_ARRAY(arena, galv_strategy, n_runs + 1);
    plan->layer_strategy = GALV_NEW_ARRAY(arena, int32_t, plan->n_layers);
    if (plan->strategies == NULL || plan->layer_strategy == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    int32_t layer = 0;
    for (size_t i = 0; i < n_runs; i++) {
        galv_json_object o;
        int32_t n_layers = 1;
        galv_strategy strategy = GALV_STRATEGY_INIT;
        galv_json_enter(&o, galv_json_element(t->layers, i), err);
        galv_json_i32(&o, "n_layers", GALV_OPTIONAL, 1, 1 << 20, &n_layers);
        galv_json_value inner = galv_json_get(&o, "strategy", GALV_REQUIRED);
        if (err->status == GALV_OK) {
            galv_strategy_from_json(&strategy, inner, err);
        }
        galv_status status = galv_json_leave(&o);
        if (status != GALV_OK) {
            return status;
        }
        if (n_layers > plan->n_layers - layer) {
            layer = -1;
            break;
        }
        int32_t index = intern_strategy(plan, &strategy);
        for (int32_t end = layer + n_layers; layer < end; layer++) {
            plan->layer_strategy[layer] = index;
        }
    }
    if (layer != plan->n_layers) {
        return galv_json_fail(t->layers, err,
                              "the strategies do not cover the model's %d layers "
                              "(embedding and head included) once",
                              (int)plan->n_layers);
    }
    return GALV_OK;
}

/* An order of one's own; `schedule` beside it is its name, or left out. */
static galv_status read_order(galv_plan *plan, const top *t, galv_arena *arena,
                              galv_err *err)
{
    galv_order *order = NULL;
    galv_err why = GALV_ERR_INIT;
    if (!is_given(t->order)) {
        return GALV_OK;
    }
    galv_status status = galv_order_from_json(&order, t->order, arena, err);
    if (status == GALV_OK && t->schedule[0] != '\0' &&
        strcmp(t->schedule, galv_order_schedule(order)) != 0) {
        status = galv_json_fail(t->order, err,
                                "an order called '%s'; the schedule must be '%s'",
                                t->schedule, galv_order_schedule(order));
    }
    if (status == GALV_OK && galv_plan_set_order(plan, order, &why) != GALV_OK) {
        status = galv_document_refuse(t->order, &why, err);
    }
    return status;
}

static galv_status make_explicit(galv_plan **plan, const galv_job *job, const top *t,
                                 galv_json_value value, galv_arena *arena,
                                 galv_err *err)
{
    galv_plan *made = GALV_NEW(arena, galv_plan);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    made->pp = t->pp;
    made->vpp = t->vpp;
    memcpy(made->schedule, t->schedule, sizeof made->schedule);
    memcpy(made->rank_order, t->rank_order, sizeof made->rank_order);
    made->group_size = t->group_size;
    made->micro_batch_size = t->micro_batch_size;
    made->global_batch_size = t->global_batch_size;
    made->overlap = t->overlap;
    made->n_layers = galv_model_n_layers(&job->model);
    if ((int64_t)t->pp * t->vpp > made->n_layers) {
        return galv_json_fail(value, err, "pp %d * vpp %d stages for %d layers",
                              (int)t->pp, (int)t->vpp, (int)made->n_layers);
    }
    galv_status status = read_stages(made, t, arena, err);
    if (status == GALV_OK) {
        status = read_layers(made, t, arena, err);
    }
    if (status == GALV_OK) {
        status = read_order(made, t, arena, err);
    }
    galv_err why = GALV_ERR_INIT;
    if (status == GALV_OK && galv_plan_check(made, job, &why) != GALV_OK) {
        status = galv_document_refuse(value, &why, err);
    }
    if (status == GALV_OK) {
        *plan = made;
    }
    return status;
}

static galv_status make_uniform(galv_plan **plan, galv_job *job, top *t,
                                galv_json_value value, galv_arena *arena, galv_err *err)
{
    int64_t n_virtual = (int64_t)t->pp * t->vpp;
    int32_t *stage_blocks = NULL;
    if (is_given(t->stage_blocks)) {
        if (n_virtual > galv_model_n_layers(&job->model)) {
            return galv_json_fail(value, err, "pp %d * vpp %d stages for %d blocks",
                                  (int)t->pp, (int)t->vpp,
                                  (int)galv_model_n_blocks(&job->model));
        }
        stage_blocks = GALV_NEW_ARRAY(arena, int32_t, n_virtual);
        if (stage_blocks == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        galv_status status =
            read_counts(stage_blocks, n_virtual, t->stage_blocks, 0, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    if (t->global_batch_size > 0) {
        job->workload.global_batch_size = t->global_batch_size;
    }
    galv_job_fill_defaults(job);
    int64_t others = (int64_t)t->strategy.tp * t->strategy.cp * t->pp;
    int64_t n_devices = galv_cluster_n_devices(&job->cluster);
    if (t->strategy.dp == 0) {
        t->strategy.dp = n_devices % others == 0 ? (int32_t)(n_devices / others) : 1;
    }
    galv_uniform_plan uniform = {
        t->strategy,         t->pp,      t->vpp,      t->schedule,
        t->micro_batch_size, t->overlap, stage_blocks};
    galv_err why = GALV_ERR_INIT;
    galv_plan *made = NULL;
    if (galv_plan_make_uniform(&made, job, &uniform, arena, &why) != GALV_OK) {
        return galv_document_refuse(value, &why, err);
    }
    made->group_size = t->group_size;
    memcpy(made->rank_order, t->rank_order, sizeof made->rank_order);
    galv_status status = read_order(made, t, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    if (galv_plan_check(made, job, &why) != GALV_OK) {
        return galv_document_refuse(value, &why, err);
    }
    *plan = made;
    return GALV_OK;
}

/* The plan inside a result, or the first of several. */
static galv_json_value unwrap(galv_json_value value)
{
    galv_json_value plan = galv_json_member(value, "plan");
    if (galv_json_type_of(plan) == GALV_JSON_OBJECT) {
        return plan;
    }
    galv_json_value plans = galv_json_member(value, "plans");
    if (galv_json_type_of(plans) == GALV_JSON_ARRAY && galv_json_length(plans) > 0) {
        return unwrap(galv_json_element(plans, 0));
    }
    return value;
}

galv_status galv_plan_from_json(galv_job *job, galv_plan **plan, galv_json_value value,
                                galv_arena *arena, galv_err *err)
{
    value = unwrap(value);
    galv_job read = {0};
    top t = {0};
    galv_json_object o;
    galv_json_enter(&o, value, err);
    galv_document_read_schema(&o, SCHEMA);
    read_job(&o, &read);
    read_top(&o, &t);
    bool is_explicit = is_given(t.layers) || is_given(t.stages);
    if (err->status == GALV_OK && is_explicit &&
        !(is_given(t.layers) && is_given(t.stages) && t.schedule[0] != '\0' &&
          t.global_batch_size > 0 && !is_given(t.stage_blocks) && t.strategy.dp == 0)) {
        galv_json_fail(value, err,
                       "a plan by layers has 'layers', 'stages', 'schedule' and "
                       "'global_batch_size', and no degrees but pp and vpp at the top");
    }
    galv_status status = galv_json_leave(&o);
    if (status != GALV_OK) {
        return status;
    }
    status = is_explicit ? make_explicit(plan, &read, &t, value, arena, err)
                         : make_uniform(plan, &read, &t, value, arena, err);
    if (status == GALV_OK) {
        *job = read;
    }
    return status;
}

galv_status galv_plan_load(galv_job *job, galv_plan **plan, const char *path,
                           galv_arena *arena, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status = galv_json_read_file(&document, path, err);
    if (status == GALV_OK) {
        status = galv_plan_from_json(job, plan, galv_json_root(document), arena, err);
    }
    galv_json_free(document);
    return status;
}
