/* The cost of an operation: which law prices it. Messages are message.c's.
 *
 * The host launches kernels one after another while the device computes and
 * communicates (host.c tells the pace that comes of both). What it does once for each
 * pass of a chunk (the loop, the batch, checks) hides behind the kernels that are still
 * queued, except for the part of it that comes before the first launch (factor
 * first_launch) where a pass begins by waiting for a message, and with it an empty
 * queue. With
 * CUDA_LAUNCH_BLOCKING=1 the host waits for each kernel before it launches the next:
 * its time adds to the device's, and nothing runs beside anything.
 *
 * Measured layers replace the kernels' sum; see profile_use.c. A layer measured whole
 * is cut into parts, phases and other degrees in proportion to the kernels' sums: parts
 * keep the origin of the whole, other phases and degrees are "fitted". */
#include "costmodel/layer_times_internal.h"
#include "costmodel/message_internal.h"

#include <string.h>

/* Bytes per parameter that torch.optim.AdamW makes for a step where it is not fused:
 * the root of the second moment and the update, both fp32; and the fp32 copy of
 * gradients kept in 16 bits, by Megatron-LM's mixed-precision optimizer (which lets it
 * go before the next forward) and by runtimes of their own (InternEvo's hybrid
 * optimizer). DeepSpeed and those under stages 1 and 2 make that copy of a flat one of
 * the shard's 16-bit gradients, which lives as long. */
#define UNFUSED_STEP_BYTES  8.0
#define GRADIENT_COPY_BYTES 4.0

/* ---- computation ---- */

/* An operation that computes. */
typedef struct pricer {
    const galv_costmodel *model;
    const galv_device_law *law;
    const galv_plan *plan;
    const galv_operation *operation;
    galv_layer_times *times; /* NULL = none */
} pricer;

static double analytic_time(const pricer *p, const galv_layer_group *group,
                            const galv_strategy *strategy, double samples, int part,
                            int pass, double *flop)
{
    galv_layer_share share;
    galv_layer_share_init(&share, &p->model->facts, &p->model->job.workload, group,
                          strategy, samples, p->law->factors[GALV_FACTOR_IMBALANCE]);
    galv_cost cost;
    memset(&cost, 0, sizeof cost);
    galv_layer_times_add(&cost, p->times, p->law, &share, strategy, part, pass, 1);
    *flop = cost.flop;
    return cost.work_s;
}

/* A measured phase that says most about `pass`: itself, else backward, else forward. */
static const galv_layer_series *best_series(const galv_costmodel *model, int32_t group,
                                            int pass, const galv_strategy *strategy,
                                            bool *exact)
{
    int wanted = pass == GALV_OP_RECOMPUTE ? GALV_OP_FORWARD : pass;
    int phases[3] = {wanted, GALV_OP_BACKWARD, GALV_OP_FORWARD};
    for (int i = 0; i < 3; i++) {
        if (i == 1 && wanted == GALV_OP_FORWARD) {
            continue;
        }
        const galv_layer_series *s =
            galv_measured_series(&model->measured, group, phases[i], strategy, exact);
        if (s != NULL) {
            return s;
        }
    }
    return NULL;
}

/* Adds `count` layers from measurements; false when nothing was measured of them. */
static bool add_measured(galv_cost *cost, const pricer *p, int32_t group_index,
                         const galv_strategy *strategy, double samples, double count)
{
    const galv_costmodel *model = p->model;
    const galv_layer_group *group = &model->job.model.groups[group_index];
    int part = p->operation->part;
    int pass = p->operation->kind;
    if (model->measured.other_is_measured && group->kind == GALV_LAYER_EMBEDDING) {
        return true; /* its time is in the head's */
    }
    if (pass == GALV_OP_RECOMPUTE && strategy->recompute != GALV_RECOMPUTE_FULL) {
        return false;
    }
    bool exact = false;
    const galv_layer_series *s =
        best_series(model, group_index, pass, strategy, &exact);
    if (s == NULL) {
        return false;
    }
    galv_provenance provenance = GALV_PROVENANCE_FITTED;
    double measured = galv_curve_value(&s->curve, samples, &provenance);
    provenance = provenance > s->best ? provenance : s->best;
    double flop = 0;
    double ignored = 0;
    int phase = pass == GALV_OP_RECOMPUTE ? GALV_OP_FORWARD : pass;
    double part_s = analytic_time(p, group, strategy, samples, part, phase, &flop);
    if (!exact || s->phase != phase) {
        provenance = GALV_PROVENANCE_FITTED;
    }
    double time = measured;
    if (!exact || s->phase != phase || part != GALV_PART_WHOLE) {
        galv_strategy there = *strategy;
        there.tp = s->tp;
        there.cp = s->cp;
        double whole_s = analytic_time(p, group, exact ? strategy : &there, samples,
                                       GALV_PART_WHOLE, s->phase, &ignored);
        time = whole_s > 0 ? measured * part_s / whole_s : measured;
    }
    galv_cost_add(cost, count * time, provenance, count * flop);
    return true;
}

/* The virtual stage that the operation opens, or -1. The loop around passes is charged
 * to the operation that does. */
static int32_t opened_chunk(const galv_plan *plan, const galv_operation *operation)
{
    if (operation->part != GALV_PART_WHOLE && operation->part != GALV_PART_ATTENTION) {
        return -1;
    }
    int32_t low = 0;
    int32_t high = plan->pp * plan->vpp;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (plan->first_layer[middle] < operation->first_layer) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return plan->first_layer[low] == operation->first_layer ? low : -1;
}

int32_t galv_find_group(const galv_model *model, int32_t layer, int32_t *rest)
{
    int32_t g = 0;
    while (g < model->n_groups - 1 && layer >= model->groups[g].n_layers) {
        layer -= model->groups[g++].n_layers;
    }
    *rest = model->groups[g].n_layers - layer;
    return g;
}

/* Seconds of the collectives around a part, which run while the host launches on. */
static double collectives_beside(const pricer *p, const galv_layer_share *share)
{
    const galv_operation *operation = p->operation;
    const galv_strategy *strategy = galv_plan_strategy(p->plan, operation->first_layer);
    bool in_line = operation->kind == GALV_OP_FORWARD ||
                   operation->kind == GALV_OP_RECOMPUTE ||
                   operation->kind == GALV_OP_BACKWARD ||
                   operation->kind == GALV_OP_BACKWARD_INPUT;
    if (!in_line || strategy->tp <= 1 || strategy->sp == GALV_SP_ULYSSES) {
        return 0;
    }
    galv_group group = galv_placement_group(p->plan, &p->model->job.cluster,
                                            GALV_GROUP_TP, operation->first_layer,
                                            operation->stage, operation->stage);
    galv_cost one;
    memset(&one, 0, sizeof one);
    galv_collective_cost(&one, &p->law->collective, GALV_OP_ALL_REDUCE, &group,
                         galv_weight_bytes(&p->model->job.workload) * share->tokens *
                             share->group->hidden_size);
    return one.work_s;
}

/* Adds what a part takes beyond its kernels' time because the host has to launch them.
 */
static void wait_for_host(galv_cost *cost, const pricer *p,
                          const galv_layer_share *share, double busy_s, double count)
{
    const galv_device_law *law = p->law;
    int pass = p->operation->kind;
    if (pass == GALV_OP_RECOMPUTE &&
        galv_plan_strategy(p->plan, p->operation->first_layer)->recompute !=
            GALV_RECOMPUTE_FULL) {
        return;
    }
    double host_s = count * galv_layer_host_time(law, share, p->operation->part, pass);
    if (p->model->job.workload.launch_blocking) {
        galv_cost_add(cost, law->factors[GALV_FACTOR_BLOCKED] * host_s,
                      GALV_PROVENANCE_FITTED, 0);
        return;
    }
    double device_s = busy_s + count * collectives_beside(p, share);
    galv_cost_add(cost, galv_paced_time(law, device_s, host_s) - device_s,
                  GALV_PROVENANCE_FITTED, 0);
}

/* Kernels of a run of layers that were just priced, for one layer. */
typedef struct priced_run {
    int32_t group;
    const galv_strategy *strategy;
    double busy_s;
} priced_run;

/* More than a sum of seconds rounds by. */
#define ROUNDING 1e-9

/* Seconds by which the kernels of a chunk outlast their launches: taken from the layer
 * in its middle, which has neither embedding nor head unless all have. A part of such a
 * layer that was just priced tells what they take at least; where that is `enough`
 * already, the rest of the layer is not looked at. */
static double chunk_slack(const pricer *p, int32_t chunk, const priced_run *last,
                          double enough_s)
{
    const galv_costmodel *model = p->model;
    const galv_plan *plan = p->plan;
    int pass = p->operation->kind;
    int32_t first = plan->first_layer[chunk];
    int32_t n = plan->first_layer[chunk + 1] - first;
    int32_t layer = first + n / 2;
    int32_t rest = 0;
    int32_t g = galv_find_group(&model->job.model, layer, &rest);
    const galv_layer_group *group = &model->job.model.groups[g];
    const galv_strategy *strategy = galv_plan_strategy(plan, layer);
    double samples = galv_plan_local_samples(plan, layer);
    galv_layer_share share;
    galv_layer_share_init(&share, &model->facts, &model->job.workload, group, strategy,
                          samples, 1);
    double host_s = galv_layer_host_time(p->law, &share, GALV_PART_WHOLE, pass);
    bool known = last->group == g && last->strategy == strategy;
    double least_s = known ? n * ((1 - ROUNDING) * last->busy_s - host_s) : 0;
    if (least_s > enough_s) {
        return least_s;
    }
    double flop = 0;
    double busy_s =
        analytic_time(p, group, strategy, samples, GALV_PART_WHOLE, pass, &flop);
    return busy_s > host_s ? n * (busy_s - host_s) : 0;
}

/* What the host does once for a pass of a chunk, as far as it shows (see above). */
static void open_chunk(galv_cost *cost, const pricer *p, const priced_run *last)
{
    const galv_operation *operation = p->operation;
    const galv_device_law *law = p->law;
    bool pass = operation->kind == GALV_OP_FORWARD ||
                operation->kind == GALV_OP_BACKWARD ||
                operation->kind == GALV_OP_BACKWARD_INPUT;
    int32_t chunk = pass ? opened_chunk(p->plan, operation) : -1;
    if (chunk < 0) {
        return;
    }
    double host_s = 1e-6 * law->factors[GALV_FACTOR_CHUNK];
    double first_s =
        p->plan->pp > 1 ? law->factors[GALV_FACTOR_FIRST_LAUNCH] * host_s : 0;
    double slack_s = p->model->job.workload.launch_blocking
                         ? 0
                         : chunk_slack(p, chunk, last, host_s - first_s);
    double shown_s = host_s - slack_s;
    galv_cost_add(cost, shown_s > first_s ? shown_s : first_s, GALV_PROVENANCE_FITTED,
                  0);
}

static void price_compute(galv_cost *cost, const galv_costmodel *model,
                          const galv_plan *plan, const galv_operation *operation,
                          galv_layer_times *times)
{
    const galv_device_law *law = galv_costmodel_law(model, plan, operation->stage);
    pricer p = {model, law, plan, operation, times};
    const galv_strategy *strategy = galv_plan_strategy(plan, operation->first_layer);
    double samples = galv_plan_local_samples(plan, operation->first_layer);
    int32_t layer = operation->first_layer;
    int32_t left = operation->n_layers;
    bool measured = false;
    priced_run last = {-1, NULL, 0};
    while (left > 0) {
        int32_t rest = 0;
        int32_t g = galv_find_group(&model->job.model, layer, &rest);
        int32_t here = rest < left ? rest : left;
        galv_layer_share share;
        galv_layer_share_init(&share, &model->facts, &model->job.workload,
                              &model->job.model.groups[g], strategy, samples,
                              law->factors[GALV_FACTOR_IMBALANCE]);
        measured = model->measured.n_series > 0 &&
                   add_measured(cost, &p, g, strategy, samples, here);
        if (!measured) {
            double before_s = cost->work_s;
            galv_layer_times_add(cost, times, law, &share, strategy, operation->part,
                                 operation->kind, here);
            last = (priced_run){g, strategy, (cost->work_s - before_s) / here};
            wait_for_host(cost, &p, &share, cost->work_s - before_s, here);
        }
        galv_memory_of_compute(cost, model, law, plan, operation, &share, here);
        layer += here;
        left -= here;
    }
    if (!measured) {
        open_chunk(cost, &p, &last);
    }
}

/* ---- parameters of a run of layers ---- */

galv_run_parameters galv_count_run(const galv_costmodel *model, const galv_plan *plan,
                                   const galv_operation *operation)
{
    galv_run_parameters sum = {0, 0, 0, 0};
    int32_t layer = operation->first_layer;
    int32_t left = operation->n_layers;
    while (left > 0) {
        int32_t rest = 0;
        int32_t g = galv_find_group(&model->job.model, layer, &rest);
        const galv_strategy *strategy = galv_plan_strategy(plan, layer);
        /* layers of one group may differ in strategy: step to where it changes */
        int32_t here = 1;
        while (here < left && here < rest &&
               plan->layer_strategy[layer + here] == plan->layer_strategy[layer]) {
            here++;
        }
        galv_local_parameters local =
            galv_count_local(model, &model->job.model.groups[g], strategy, plan->pp);
        sum.dense += here * local.dense;
        sum.experts += here * local.experts;
        bool sharded = strategy->zero > 0;
        sum.dense_shard +=
            here * local.dense / (sharded ? galv_dense_shards(plan, strategy) : 1);
        sum.experts_shard +=
            here * local.experts /
            (sharded ? galv_expert_shards(&model->job.workload,
                                          &model->job.model.groups[g], plan, strategy)
                     : 1);
        layer += here;
        left -= here;
    }
    return sum;
}

/* The step of a run of layers: read gradient, main weight and moments, write them and
 * the weight; the norm of the gradients before, their clearing after. Source: Adam as
 * fused by Apex. */
static void add_step(galv_cost *cost, const galv_costmodel *model,
                     const galv_device_law *law, const galv_run_parameters *run)
{
    const galv_workload *workload = &model->job.workload;
    double gradient = galv_gradient_bytes(workload);
    double weight = workload->precision <= GALV_TF32 ? 0 : 2;
    double bytes = (run->dense_shard + run->experts_shard) *
                       (2 * gradient + 3 * 4 + 3 * 4 + weight) +
                   (run->dense + run->experts) * gradient;
    galv_cost_add(cost, law->memory.factor * bytes / law->memory.stream_bytes_per_s,
                  law->memory.provenance, 0);
}

/* The step of a layer of a group from measurements of the whole layer, in proportion
 * where only a share is stepped; false when none were made. */
static bool add_measured_step(galv_cost *cost, const galv_costmodel *model,
                              int32_t group, const galv_strategy *strategy,
                              const galv_run_parameters *run)
{
    bool exact = false;
    double whole = run->dense + run->experts;
    const galv_layer_series *s = galv_measured_series(
        &model->measured, group, GALV_OP_OPTIMIZER, strategy, &exact);
    if (s == NULL || !(whole > 0)) {
        return false;
    }
    galv_provenance provenance = GALV_PROVENANCE_FITTED;
    double share = (run->dense_shard + run->experts_shard) / whole;
    double time_s = share * galv_curve_value(&s->curve, 1, &provenance);
    if (!exact) {
        time_s *= (s->ulysses ? 1.0 : s->tp) /
                  (strategy->sp == GALV_SP_ULYSSES ? 1.0 : strategy->tp);
    }
    if (!exact || share < 1) {
        provenance = GALV_PROVENANCE_FITTED;
    }
    galv_cost_add(cost, time_s, provenance, 0);
    return true;
}

/* What a step takes for each parameter that the rank steps. */
static double step_bytes(const galv_workload *workload, int32_t zero)
{
    bool other = workload->software == GALV_SOFTWARE_OTHER;
    bool narrow = workload->precision > GALV_TF32;
    bool narrow_gradients = workload->grad_precision > GALV_TF32;
    bool copies =
        other || (workload->software == GALV_SOFTWARE_MEGATRON && narrow_gradients);
    double unfused =
        other || workload->software == GALV_SOFTWARE_EAGER ? UNFUSED_STEP_BYTES : 0;
    bool is_flat =
        (zero == 1 || zero == 2) &&
        (other ? narrow : galv_is_deepspeed(workload, zero) && narrow_gradients);
    return unfused + (is_flat  ? GALV_FLAT_STEP_BYTES
                      : copies ? GRADIENT_COPY_BYTES
                               : 0);
}

static void price_optimizer(galv_cost *cost, const galv_costmodel *model,
                            const galv_plan *plan, const galv_operation *operation)
{
    const galv_device_law *law = galv_costmodel_law(model, plan, operation->stage);
    const galv_workload *workload = &model->job.workload;
    galv_run_parameters run = galv_count_run(model, plan, operation);
    int32_t zero = galv_plan_strategy(plan, operation->first_layer)->zero;
    double each = step_bytes(workload, zero);
    each *= law->factors[GALV_FACTOR_STEP_TRANSIENT];
    cost->transient_bytes = each * (run.dense_shard + run.experts_shard);
    if (model->measured.n_series == 0) {
        add_step(cost, model, law, &run);
    }
    galv_operation one = *operation;
    one.n_layers = 1;
    int32_t end = operation->first_layer + operation->n_layers;
    for (; model->measured.n_series > 0 && one.first_layer < end; one.first_layer++) {
        int32_t rest = 0;
        int32_t g = galv_find_group(&model->job.model, one.first_layer, &rest);
        run = galv_count_run(model, plan, &one);
        if (!add_measured_step(cost, model, g,
                               galv_plan_strategy(plan, one.first_layer), &run)) {
            add_step(cost, model, law, &run);
        }
    }
    double fixed_us = operation->chunk <= 0 ? law->factors[GALV_FACTOR_STEP] : 0;
    galv_cost_add(cost, 1e-6 * fixed_us, GALV_PROVENANCE_FITTED, 0);
}

void galv_costmodel_operation(galv_cost *cost, const galv_costmodel *model,
                              const galv_plan *plan, const galv_operation *operation)
{
    galv_costmodel_operation_by(cost, model, plan, operation, NULL);
}

void galv_costmodel_operation_by(galv_cost *cost, const galv_costmodel *model,
                                 const galv_plan *plan, const galv_operation *operation,
                                 galv_layer_times *times)
{
    memset(cost, 0, sizeof *cost);
    cost->compute_slowdown = 1;
    cost->comm_slowdown = 1;
    switch (operation->kind) {
    case GALV_OP_FORWARD:
    case GALV_OP_BACKWARD:
    case GALV_OP_BACKWARD_INPUT:
    case GALV_OP_BACKWARD_WEIGHT:
    case GALV_OP_RECOMPUTE:
        price_compute(cost, model, plan, operation, times);
        break;
    case GALV_OP_OPTIMIZER:
        price_optimizer(cost, model, plan, operation);
        break;
    case GALV_OP_SEND:
        galv_price_send(cost, model, plan, operation);
        break;
    case GALV_OP_RECV:
        break;
    default:
        if (operation->stream == GALV_STREAM_DP) {
            galv_price_parameter_message(cost, model, plan, operation);
        } else {
            galv_price_layer_message(cost, model, plan, operation);
        }
        break;
    }
}
