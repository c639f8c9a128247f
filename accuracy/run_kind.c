/* The features of a run.
 *
 * They are what the cost model treats by different laws: another feature would split
 * runs that the model prices in the same way. Where layers differ, the middle one
 * speaks for the plan, except for recomputation, which says "mixed".
 *
 * The pace is taken from the prediction: what one rank computes, shared by its layers
 * and micro-batches. */
#include "accuracy/run_kind.h"

#include "accuracy/factors.h"
#include "costmodel/costmodel.h"

#include <math.h>
#include <string.h>

#define STEP_X 0.1 /* of the knob, for a derivative */

#define GALV_WORD(id, word) word,
const char *const galv_feature_names[GALV_N_FEATURES] = {GALV_FEATURE_TABLE(GALV_WORD)};
#undef GALV_WORD

static void put(galv_run_kind *kind, galv_feature feature, const char *word)
{
    size_t size = sizeof kind->words[feature];
    size_t length = strlen(word);
    length = length < size ? length : size - 1;
    memcpy(kind->words[feature], word, length);
    kind->words[feature][length] = '\0';
}

const char *galv_generation(const galv_device *device)
{
    static const char *const known[] = {"Volta", "Ampere", "Ada", "Hopper",
                                        "Blackwell"};
    size_t length = strcspn(device->arch, " +");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i]) == length &&
            strncmp(known[i], device->arch, length) == 0) {
            return known[i];
        }
    }
    return "other";
}

static const char *precision_word(galv_precision precision)
{
    switch (precision) {
    case GALV_FP32:
    case GALV_TF32:
        return "32-bit";
    case GALV_FP8:
    case GALV_MXFP8:
        return "8-bit";
    case GALV_NVFP4:
        return "4-bit";
    default:
        return "16-bit";
    }
}

static const char *recompute_word(const galv_plan *plan, int32_t middle)
{
    galv_recompute recompute = galv_plan_strategy(plan, middle)->recompute;
    for (int32_t layer = 1; layer + 1 < plan->n_layers; layer++) {
        if (galv_plan_strategy(plan, layer)->recompute != recompute) {
            return "mixed";
        }
    }
    return galv_recompute_names[recompute];
}

/* Seconds that one layer's passes of one micro-batch compute, in the mean. */
static double pass_time(const galv_plan *plan, const galv_result *result)
{
    double n_layers = 0;
    for (int32_t i = 0; i < result->n_stages; i++) {
        n_layers += result->stages[i].n_layers;
    }
    double mean_layers = n_layers / result->n_stages;
    double n_passes = mean_layers * galv_plan_n_micro_batches(plan);
    double computed_s = result->breakdown_s[GALV_BREAKDOWN_COMPUTE] +
                        result->breakdown_s[GALV_BREAKDOWN_RECOMPUTE];
    return n_passes > 0 ? computed_s / n_passes : 0;
}

/* What the host needs to launch the same passes, over that. */
static double host_share(const galv_job *job, const galv_plan *plan, double pass_s)
{
    const galv_device *device = &job->cluster.pools[0].device;
    const galv_strategy *s = galv_plan_strategy(plan, plan->n_layers / 2);
    double forward =
        galv_costmodel_factor("host_forward_us", device, &job->workload, NULL);
    double backward =
        galv_costmodel_factor("host_backward_us", device, &job->workload, NULL);
    double host_s =
        1e-6 * (forward * (s->recompute == GALV_RECOMPUTE_FULL ? 2 : 1) + backward);
    return host_s < pass_s ? host_s / pass_s : 1;
}

/* Seconds of the middle layer's passes with the knob MEMORY at x; 0 = not known. */
static double layer_time(const galv_job *job, const galv_plan *plan, double at)
{
    double x[GALV_N_KNOBS] = {0};
    double sum_s = 0;
    galv_err err = GALV_ERR_INIT;
    galv_knob_zeros zeros;
    galv_costmodel *model = NULL;
    const galv_device *device = &job->cluster.pools[0].device;
    galv_profile *profile = galv_profile_new();
    x[GALV_KNOB_MEMORY] = at;
    galv_knob_zeros_init(&zeros, device, &job->workload, NULL);
    if (profile != NULL &&
        galv_knobs_to_profile(profile, x, &zeros, device, job->workload.precision, "",
                              &err) == GALV_OK &&
        galv_costmodel_new(&model, job, profile, &err) == GALV_OK) {
        static const uint8_t passes[] = {GALV_OP_FORWARD, GALV_OP_RECOMPUTE,
                                         GALV_OP_BACKWARD};
        for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
            galv_cost cost;
            galv_operation pass = {.kind = passes[i],
                                   .stream = GALV_STREAM_COMPUTE,
                                   .part = GALV_PART_WHOLE,
                                   .pass = passes[i],
                                   .first_layer = plan->n_layers / 2,
                                   .n_layers = 1,
                                   .peer_stage = -1};
            galv_costmodel_operation(&cost, model, plan, &pass);
            sum_s += cost.work_s;
        }
    }
    galv_costmodel_free(model);
    galv_profile_free(profile);
    return sum_s;
}

static double memory_share(const galv_job *job, const galv_plan *plan)
{
    double at_zero = layer_time(job, plan, 0);
    double moved = layer_time(job, plan, STEP_X);
    return at_zero > 0 && moved > at_zero ? fmin(1, log(moved / at_zero) / STEP_X) : 0;
}

static bool has_experts(const galv_model *model)
{
    for (int32_t i = 0; i < model->n_groups; i++) {
        if (model->groups[i].kind == GALV_LAYER_MOE_DECODER) {
            return true;
        }
    }
    return false;
}

void galv_run_kind_init(galv_run_kind *kind, const galv_job *job, const galv_plan *plan,
                        const galv_result *result)
{
    static const char *const zeros[] = {"0", "1", "2", "3"};
    const galv_pool *pool = &job->cluster.pools[0];
    /* The middle layer: embedding and head may have strategies of their own. */
    const galv_strategy *s = galv_plan_strategy(plan, plan->n_layers / 2);
    int zero = (int)s->zero;
    *kind = (galv_run_kind){.host_share = 0, .memory_share = 0};
    put(kind, GALV_FEATURE_SOFTWARE, galv_software_names[job->workload.software]);
    put(kind, GALV_FEATURE_GENERATION, galv_generation(&pool->device));
    put(kind, GALV_FEATURE_PRECISION, precision_word(job->workload.precision));
    if (result != NULL && result->n_stages > 0) {
        double pass_s = pass_time(plan, result);
        put(kind, GALV_FEATURE_PACE, pass_s < GALV_LAUNCH_PACE_S ? "launch" : "kernel");
        kind->host_share = host_share(job, plan, pass_s);
        kind->memory_share = memory_share(job, plan);
    }
    int64_t domain = pool->scaleup_domain > pool->devices_per_node
                         ? pool->scaleup_domain
                         : pool->devices_per_node;
    put(kind, GALV_FEATURE_NODES,
        galv_plan_n_devices(plan) > domain ? "several" : "one");
    put(kind, GALV_FEATURE_ZERO, zeros[zero >= 0 && zero < 4 ? zero : 0]);
    put(kind, GALV_FEATURE_PIPELINE, plan->pp > 1 ? plan->schedule : "none");
    put(kind, GALV_FEATURE_EXPERTS, has_experts(&job->model) ? "moe" : "dense");
    put(kind, GALV_FEATURE_TENSOR,
        s->tp == 1        ? "tp1"
        : s->tp <= domain ? "tp-in-node"
                          : "tp-across-nodes");
    put(kind, GALV_FEATURE_RECOMPUTE, recompute_word(plan, plan->n_layers / 2));
    put(kind, GALV_FEATURE_ATTENTION,
        job->workload.flash_attention ? "fused" : "matrix");
}
