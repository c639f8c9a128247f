/* What a switch of plans moves.
 *
 * The state of one layer is a line from 0 to 1, dense weights and routed experts each
 * on a line of their own; a device holds one interval of it under a plan: its
 * tensor-parallel part (all of it under Ulysses), or its experts, and of that its share
 * under ZeRO. A device receives what its new interval has and its old one had not.
 * Sources: Megatron Core's rank order (tp fastest, then cp, dp, pp); ZeRO shards lie
 * one after another over the gradient ranks (Rajbhandari et al. 2020, section 5).
 *
 * The time is that of the device that receives most, from the network when the cluster
 * has one and from its neighbours when it is a single node: every copy might be near,
 * or its sender busy with others, so this is neither a bound from above nor from below
 * but the time of an even exchange. Processes are not started anew; what a framework
 * adds by restarting is told to the command line (--restart-time). */
#include "search/switching.h"

#include "plan/placement.h"
#include "schedule/schedule.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define STATE_BYTES 12.0 /* float32 master weight and two moments of one parameter */

typedef struct interval {
    double begin, end;
} interval;

static interval shard_of(interval whole, int32_t n, int32_t index)
{
    double step = (whole.end - whole.begin) / n;
    return (interval){whole.begin + step * index, whole.begin + step * (index + 1)};
}

static double common(interval a, interval b)
{
    return fmax(0, fmin(a.end, b.end) - fmax(a.begin, b.begin));
}

/* Where a rank of a stage stands under one strategy. */
static interval dense_of(const galv_strategy *s, int32_t within)
{
    interval all = {0, 1};
    bool whole = s->sp == GALV_SP_ULYSSES;
    interval part = whole ? all : shard_of(all, s->tp, within % s->tp);
    if (s->zero == 0) {
        return part;
    }
    return shard_of(part, galv_strategy_gradient_ranks(s),
                    whole ? within : within / s->tp);
}

static interval experts_of(const galv_strategy *s, int32_t within)
{
    interval part = shard_of((interval){0, 1}, s->ep, within % s->ep);
    if (s->zero == 0) {
        return part;
    }
    return shard_of(part, galv_strategy_expert_gradient_ranks(s), within / s->ep);
}

/* Of a plan: the stage that holds each layer, found by its virtual stage. */
static galv_status stages_of(int32_t *stage_of_layer, const galv_plan *plan,
                             galv_err *err)
{
    galv_schedule schedule;
    galv_status status = galv_schedule_of_plan(&schedule, plan, err);
    if (status != GALV_OK) {
        return status;
    }
    galv_schedule_shape shape = {plan->pp, plan->vpp, galv_plan_n_micro_batches(plan),
                                 plan->group_size, NULL};
    for (int32_t stage = 0; stage < plan->pp; stage++) {
        for (int32_t chunk = 0; chunk < plan->vpp; chunk++) {
            int32_t at = galv_schedule_virtual_stage(&schedule, &shape, stage, chunk);
            for (int32_t layer = plan->first_layer[at];
                 layer < plan->first_layer[at + 1]; layer++) {
                stage_of_layer[layer] = stage;
            }
        }
    }
    return GALV_OK;
}

/* Bytes of one layer that a device must receive. */
static double received_bytes(const galv_layer_parameters *parameters,
                             const galv_strategy *from, int32_t from_within,
                             const galv_strategy *to, int32_t to_within)
{
    interval dense = dense_of(to, to_within);
    interval experts = experts_of(to, to_within);
    double dense_new = dense.end - dense.begin;
    double experts_new = experts.end - experts.begin;
    if (from != NULL) {
        dense_new -= common(dense, dense_of(from, from_within));
        experts_new -= common(experts, experts_of(from, from_within));
    }
    double parameters_new =
        parameters->dense * dense_new + parameters->experts * experts_new;
    return parameters_new <= 1e-9 * (parameters->dense + parameters->experts)
               ? 0 /* rounding of thirds */
               : STATE_BYTES * parameters_new;
}

/* Weights in working precision that a device gathers from its ZeRO peers. */
static double gathered_bytes(const galv_job *job,
                             const galv_layer_parameters *parameters,
                             const galv_strategy *to)
{
    double bytes = galv_precision_bytes(job->workload.precision);
    int32_t cut = to->sp == GALV_SP_ULYSSES ? 1 : to->tp;
    double weights = parameters->dense / cut + parameters->experts / to->ep;
    return to->zero == 0 || to->zero == 3 ? 0 : weights * bytes;
}

bool galv_same_layout(const galv_plan *from, const galv_plan *to)
{
    bool same = from->pp == to->pp && from->vpp == to->vpp &&
                strcmp(from->schedule, to->schedule) == 0 &&
                galv_plan_rank_order(from) == galv_plan_rank_order(to);
    for (int32_t layer = 0; layer < to->n_layers && same; layer++) {
        same = galv_strategy_equal(galv_plan_strategy(from, layer),
                                   galv_plan_strategy(to, layer));
    }
    for (int32_t at = 0; same && at <= to->pp * to->vpp; at++) {
        same = from->first_layer[at] == to->first_layer[at];
    }
    return same;
}

/* Where a device stands in a plan. */
typedef struct place {
    int32_t stage, within;
} place;

static void find_places(place *places, const galv_plan *plan, int64_t n_devices)
{
    int64_t per_stage = n_devices / plan->pp;
    for (int32_t stage = 0; stage < plan->pp; stage++) {
        for (int64_t within = 0; within < per_stage; within++) {
            places[galv_placement_rank(plan, stage, within)] =
                (place){stage, (int32_t)within};
        }
    }
}

typedef struct both_plans {
    const galv_job *job;
    const galv_plan *from, *to;
    int32_t *from_stage, *to_stage;    /* [n_layers] */
    place *from_place, *to_place;      /* [n_devices] */
    galv_layer_parameters *parameters; /* [n_layers] */
} both_plans;

static void device_bytes(double *state, double *weights, const both_plans *b,
                         int64_t device)
{
    const place *was = &b->from_place[device];
    const place *is = &b->to_place[device];
    *state = 0;
    *weights = 0;
    for (int32_t layer = 0; layer < b->to->n_layers; layer++) {
        if (b->to_stage[layer] != is->stage) {
            continue;
        }
        const galv_strategy *to = galv_plan_strategy(b->to, layer);
        const galv_strategy *from = b->from_stage[layer] == was->stage
                                        ? galv_plan_strategy(b->from, layer)
                                        : NULL;
        *state +=
            received_bytes(&b->parameters[layer], from, was->within, to, is->within);
        *weights += gathered_bytes(b->job, &b->parameters[layer], to);
    }
}

static void sum_up(galv_switching *sum, const both_plans *b)
{
    int64_t n = galv_cluster_n_devices(&b->job->cluster);
    double most_state = 0, most_weights = 0;
    for (int64_t device = 0; device < n; device++) {
        double state, weights;
        device_bytes(&state, &weights, b, device);
        sum->moved_bytes += state;
        most_state = fmax(most_state, state);
        most_weights = fmax(most_weights, weights);
    }
    if (sum->moved_bytes > 0) {
        const galv_pool *pool = &b->job->cluster.pools[0];
        bool alone = n <= pool->scaleup_domain;
        double rate = alone ? pool->intra_bytes_per_s
                            : pool->inter_bytes_per_s * pool->inter_efficiency;
        for (int32_t i = 1; i < b->job->cluster.n_pools; i++) {
            const galv_pool *other = &b->job->cluster.pools[i];
            rate = fmin(rate, other->inter_bytes_per_s * other->inter_efficiency);
        }
        sum->most_moved_bytes = most_state + most_weights;
        sum->time_s = sum->most_moved_bytes / rate +
                      (alone ? pool->intra_latency_s : pool->inter_latency_s);
    }
}

galv_status galv_switching_cost(galv_switching *switching, const galv_job *job,
                                const galv_plan *from, const galv_plan *to,
                                galv_err *err)
{
    galv_switching sum = {0};
    int64_t n_devices = galv_cluster_n_devices(&job->cluster);
    galv_arena *arena = galv_arena_new();
    both_plans b = {.job = job, .from = from, .to = to};
    if (arena != NULL) {
        b.from_stage = GALV_NEW_ARRAY(arena, int32_t, to->n_layers);
        b.to_stage = GALV_NEW_ARRAY(arena, int32_t, to->n_layers);
        b.parameters = GALV_NEW_ARRAY(arena, galv_layer_parameters, to->n_layers);
        b.from_place = GALV_NEW_ARRAY(arena, place, n_devices);
        b.to_place = GALV_NEW_ARRAY(arena, place, n_devices);
    }
    galv_status status = GALV_OK;
    if (b.from_stage == NULL || b.to_stage == NULL || b.parameters == NULL ||
        b.from_place == NULL || b.to_place == NULL) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (status == GALV_OK) {
        status = stages_of(b.from_stage, from, err);
    }
    if (status == GALV_OK) {
        status = stages_of(b.to_stage, to, err);
    }
    if (status == GALV_OK) {
        for (int32_t layer = 0; layer < to->n_layers; layer++) {
            b.parameters[layer] = galv_layer_count_parameters(
                &job->model, galv_model_layer(&job->model, layer));
        }
        find_places(b.from_place, from, n_devices);
        find_places(b.to_place, to, n_devices);
        sum.changes = !galv_same_layout(from, to);
        sum_up(&sum, &b);
        *switching = sum;
    }
    galv_arena_free(arena);
    return status;
}
