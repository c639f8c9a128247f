/* Does a plan fit its job? Every refusal names the numbers, and the nearest ones that
 * work.
 *
 * Checked: that arrays hold what they say, that degrees multiply to the cluster, that
 * each layer can be spread as its strategy says, that batches divide, that every
 * virtual stage holds a layer, that a stage does not straddle two pools, and that
 * copies of the same layers lie in one. Not checked here: memory (simulated), and
 * whether a schedule of that name exists and takes these stages (the schedule's own
 * business). */
#include "plan/chunks.h"
#include "plan/placement.h"

#include <stdio.h>
#include <string.h>

#define MAX_DEGREE        1048576
#define MAX_STAGE_DEVICES 1073741824

static galv_status check_arrays(const galv_plan *plan, const galv_job *job,
                                galv_err *err)
{
    if (plan->pp < 1 || plan->vpp < 1 || (int64_t)plan->pp * plan->vpp > 1048576) {
        return galv_fail(err, GALV_USAGE, "pp %d and vpp %d must be positive",
                         (int)plan->pp, (int)plan->vpp);
    }
    if (plan->vpp > 1 && plan->pp == 1) {
        galv_fail(err, GALV_USAGE, "vpp %d with pp 1: there is no bubble to divide",
                  (int)plan->vpp);
        galv_hint(err, "use vpp 1, or pp 2 and more");
        return GALV_USAGE;
    }
    int32_t n_layers = galv_model_n_layers(&job->model);
    if (plan->n_layers != n_layers) {
        return galv_fail(err, GALV_USAGE,
                         "the plan has %d layers, the model %d (embedding and head "
                         "included)",
                         (int)plan->n_layers, (int)n_layers);
    }
    for (int32_t layer = 0; layer < n_layers; layer++) {
        if (plan->layer_strategy[layer] < 0 ||
            plan->layer_strategy[layer] >= plan->n_strategies) {
            return galv_fail(err, GALV_USAGE, "layer %d has no strategy", (int)layer);
        }
    }
    int32_t n_virtual = plan->pp * plan->vpp;
    if (plan->first_layer[0] != 0 || plan->first_layer[n_virtual] != n_layers) {
        return galv_fail(err, GALV_USAGE,
                         "the stages hold layers %d .. %d, not 0 .. %d",
                         (int)plan->first_layer[0],
                         (int)plan->first_layer[n_virtual] - 1, (int)n_layers - 1);
    }
    for (int32_t s = 0; s < n_virtual; s++) {
        if (plan->first_layer[s + 1] <= plan->first_layer[s]) {
            return galv_fail(err, GALV_USAGE, "virtual stage %d of %d holds no layer",
                             (int)s, (int)n_virtual);
        }
    }
    return GALV_OK;
}

static galv_status check_words(const galv_plan *plan, galv_err *err)
{
    size_t length = strlen(plan->schedule);
    if (length == 0 ||
        strspn(plan->schedule, "abcdefghijklmnopqrstuvwxyz0123456789-") != length) {
        return galv_fail(err, GALV_USAGE, "'%s' is not the name of a schedule",
                         plan->schedule);
    }
    if (strcmp(plan->rank_order, galv_rank_order_names[galv_plan_rank_order(plan)]) !=
        0) {
        galv_fail(err, GALV_USAGE, "rank order '%s' is not known", plan->rank_order);
        galv_hint(err, "use tp-cp-dp-pp or tp-cp-pp-dp");
        return GALV_USAGE;
    }
    if (plan->group_size < 0) {
        return galv_fail(err, GALV_USAGE, "group size %d is negative",
                         (int)plan->group_size);
    }
    return GALV_OK;
}

/* Degrees that would work: "dp 16", when the other degrees divide the cluster. */
static void hint_degrees(galv_err *err, const galv_strategy *s, int32_t pp,
                         int64_t n_devices)
{
    int64_t others = (int64_t)s->tp * s->cp * pp;
    if (others <= n_devices && n_devices % others == 0) {
        galv_hint(err, "dp %lld would use them all", (long long)(n_devices / others));
    } else if (n_devices % ((int64_t)s->tp * s->cp) == 0) {
        galv_hint(err, "with tp %d and cp %d, pp * dp must be %lld", (int)s->tp,
                  (int)s->cp, (long long)(n_devices / ((int64_t)s->tp * s->cp)));
    } else {
        galv_hint(err, "tp * cp * pp * dp must be %lld", (long long)n_devices);
    }
}

/* Degrees whose products cannot overflow. */
static galv_status check_degrees(const galv_plan *plan, galv_err *err)
{
    for (int32_t i = 0; i < plan->n_strategies; i++) {
        const galv_strategy *s = &plan->strategies[i];
        int32_t degrees[] = {s->tp, s->cp, s->ep, s->dp};
        for (size_t d = 0; d < sizeof degrees / sizeof degrees[0]; d++) {
            if (degrees[d] < 1 || degrees[d] > MAX_DEGREE) {
                return galv_fail(
                    err, GALV_USAGE, "tp %d, cp %d, ep %d and dp %d must be in 1 .. %d",
                    (int)s->tp, (int)s->cp, (int)s->ep, (int)s->dp, MAX_DEGREE);
            }
        }
        int64_t product = (int64_t)s->tp * s->cp * s->dp;
        if (product > MAX_STAGE_DEVICES) {
            return galv_fail(err, GALV_USAGE,
                             "tp %d * cp %d * dp %d = %lld devices are too many",
                             (int)s->tp, (int)s->cp, (int)s->dp, (long long)product);
        }
    }
    return GALV_OK;
}

static galv_status check_devices(const galv_plan *plan, const galv_job *job,
                                 galv_err *err)
{
    int64_t n_devices = galv_cluster_n_devices(&job->cluster);
    const galv_strategy *first = galv_plan_strategy(plan, 0);
    int64_t per_stage = (int64_t)first->tp * first->cp * first->dp;
    if (per_stage * plan->pp != n_devices) {
        galv_fail(err, GALV_USAGE,
                  "tp %d * cp %d * pp %d * dp %d = %lld devices, the cluster has %lld",
                  (int)first->tp, (int)first->cp, (int)plan->pp, (int)first->dp,
                  (long long)(per_stage * plan->pp), (long long)n_devices);
        hint_degrees(err, first, plan->pp, n_devices);
        return GALV_USAGE;
    }
    for (int32_t layer = 1; layer < plan->n_layers; layer++) {
        const galv_strategy *s = galv_plan_strategy(plan, layer);
        int64_t product = (int64_t)s->tp * s->cp * s->dp;
        if (product != per_stage) {
            return galv_fail(err, GALV_USAGE,
                             "layer %d: tp %d * cp %d * dp %d = %lld devices of a "
                             "stage, layer 0 has %lld",
                             (int)layer, (int)s->tp, (int)s->cp, (int)s->dp,
                             (long long)product, (long long)per_stage);
        }
    }
    int64_t boundary = 0;
    for (int32_t i = 0; i + 1 < job->cluster.n_pools; i++) {
        const galv_pool *pool = &job->cluster.pools[i];
        boundary += (int64_t)pool->n_nodes * pool->devices_per_node;
        if (boundary % per_stage != 0) {
            galv_fail(err, GALV_USAGE,
                      "a pipeline stage of %lld devices straddles pools %d and %d",
                      (long long)per_stage, (int)i, (int)i + 1);
            galv_hint(err, "tp * cp * dp must divide %lld", (long long)boundary);
            return GALV_USAGE;
        }
    }
    return GALV_OK;
}

/* Copies of the same layers reduce their gradients together, at one pace. */
static galv_status check_copies(const galv_plan *plan, const galv_job *job,
                                galv_err *err)
{
    for (int32_t stage = 0; galv_plan_n_copies(plan) > 1 && stage < plan->pp / 2;
         stage++) {
        int32_t twin = plan->pp - 1 - stage;
        int32_t pools[2] = {galv_placement_pool(plan, &job->cluster, stage),
                            galv_placement_pool(plan, &job->cluster, twin)};
        if (pools[0] != pools[1]) {
            galv_fail(err, GALV_USAGE,
                      "schedule %s: stages %d and %d hold copies of the same layers, "
                      "but lie in pools %d and %d",
                      plan->schedule, (int)stage, (int)twin, (int)pools[0],
                      (int)pools[1]);
            galv_hint(err, "dualpipev has one copy");
            return GALV_USAGE;
        }
    }
    return GALV_OK;
}

static galv_status check_layers(const galv_plan *plan, const galv_job *job,
                                galv_err *err)
{
    int32_t seq_length =
        job->workload.seq_length > 0 ? job->workload.seq_length : job->model.seq_length;
    int32_t layer = 0;
    for (int32_t g = 0; g < job->model.n_groups; g++) {
        const galv_layer_group *group = &job->model.groups[g];
        int32_t checked = -1; /* neighbours mostly share a strategy */
        for (int32_t i = 0; i < group->n_layers; i++, layer++) {
            if (plan->layer_strategy[layer] == checked) {
                continue;
            }
            checked = plan->layer_strategy[layer];
            galv_err why = GALV_ERR_INIT;
            galv_status status = galv_strategy_check(&plan->strategies[checked], group,
                                                     seq_length, &why);
            if (status != GALV_OK) {
                galv_fail(err, status, "layer %d (%s): %s", (int)layer,
                          galv_layer_kind_names[group->kind], why.message);
                if (why.hint[0] != '\0') {
                    galv_hint(err, "%s", why.hint);
                }
                return status;
            }
        }
    }
    return GALV_OK;
}

static int32_t common_divisor(int32_t a, int32_t b)
{
    while (b != 0) {
        int32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static galv_status check_batch(const galv_plan *plan, galv_err *err)
{
    if (plan->micro_batch_size < 1 || plan->micro_batch_size > 1048576) {
        return galv_fail(err, GALV_USAGE, "micro-batch of %d samples",
                         (int)plan->micro_batch_size);
    }
    int32_t dp = galv_plan_strategy(plan, 0)->dp;
    int64_t step = (int64_t)plan->micro_batch_size * dp;
    int64_t batch = plan->global_batch_size;
    if (batch < 1 || batch % step != 0) {
        galv_fail(
            err, GALV_USAGE,
            "global batch %lld is not a multiple of micro-batch %d * dp %d = %lld",
            (long long)batch, (int)plan->micro_batch_size, (int)dp, (long long)step);
        if (batch < step) {
            galv_hint(err, "nearest global batch: %lld", (long long)step);
        } else {
            galv_hint(err, "nearest global batches: %lld and %lld",
                      (long long)(batch / step * step),
                      (long long)((batch / step + 1) * step));
        }
        return GALV_USAGE;
    }
    if (batch / step > 100000000) {
        return galv_fail(err, GALV_USAGE, "%lld micro-batches are too many",
                         (long long)(batch / step));
    }
    for (int32_t layer = 1; layer < plan->n_layers; layer++) {
        int32_t here = galv_plan_strategy(plan, layer)->dp;
        if (step % here != 0) {
            galv_fail(err, GALV_USAGE,
                      "layer %d: dp %d does not divide the %lld samples of a "
                      "micro-batch (%d * dp %d of layer 0)",
                      (int)layer, (int)here, (long long)step,
                      (int)plan->micro_batch_size, (int)dp);
            galv_hint(err, "micro-batches must be multiples of %d",
                      (int)(here / common_divisor(here, dp)));
            return GALV_USAGE;
        }
    }
    return GALV_OK;
}

/* An order of one's own is for one shape. */
static galv_status check_order(const galv_plan *plan, galv_err *err)
{
    const galv_order *order = plan->order;
    int32_t m = galv_plan_n_micro_batches(plan);
    if (order == NULL) {
        return GALV_OK;
    }
    if (strcmp(plan->schedule, galv_order_schedule(order)) != 0) {
        galv_fail(err, GALV_USAGE, "schedule '%s' with an order of one's own",
                  plan->schedule);
        galv_hint(err, "its schedule is called %s", galv_order_schedule(order));
        return GALV_USAGE;
    }
    if (order->n_stages != plan->pp || order->n_chunks != plan->vpp) {
        galv_fail(err, GALV_USAGE,
                  "the order is for pp %d and vpp %d, the plan has pp %d and vpp %d",
                  (int)order->n_stages, (int)order->n_chunks, (int)plan->pp,
                  (int)plan->vpp);
        return GALV_USAGE;
    }
    if (order->n_micro_batches != m) {
        galv_fail(err, GALV_USAGE, "the order has %d micro-batches, the plan %d",
                  (int)order->n_micro_batches, (int)m);
        galv_hint(err, "a global batch of %lld has as many",
                  (long long)order->n_micro_batches * plan->micro_batch_size *
                      galv_plan_strategy(plan, 0)->dp);
        return GALV_USAGE;
    }
    return GALV_OK;
}

galv_status galv_plan_set_order(galv_plan *plan, const galv_order *order, galv_err *err)
{
    galv_plan with = *plan;
    with.order = order;
    snprintf(with.schedule, sizeof with.schedule, "%s", galv_order_schedule(order));
    galv_status status = check_order(&with, err);
    if (status == GALV_OK) {
        *plan = with;
    }
    return status;
}

galv_status galv_plan_check(const galv_plan *plan, const galv_job *job, galv_err *err)
{
    galv_status status = check_arrays(plan, job, err);
    if (status == GALV_OK) {
        status = check_words(plan, err);
    }
    if (status == GALV_OK) {
        status = check_degrees(plan, err);
    }
    if (status == GALV_OK) {
        status = check_devices(plan, job, err);
    }
    if (status == GALV_OK) {
        status = check_copies(plan, job, err);
    }
    if (status == GALV_OK) {
        status = check_layers(plan, job, err);
    }
    if (status == GALV_OK) {
        status = check_batch(plan, err);
    }
    if (status == GALV_OK) {
        status = check_order(plan, err);
    }
    if (status == GALV_OK) {
        status = galv_placement_check(plan, &job->cluster, err);
    }
    return status;
}
