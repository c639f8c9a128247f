/* The plan: making a uniform one, checking any, and saying it in one line.
 *
 * A stage's devices are shared out anew for every layer, so strategies of one plan may
 * differ in every degree, but tp * cp * dp is the same for all of them, and so is the
 * global batch: a layer whose dp is half of layer 0's sees twice the samples per rank.
 *
 * Balance: n blocks over pp * vpp virtual stages give each n / (pp * vpp); of the
 * remainder, every full round of pp goes to one chunk more of all stages (the middle
 * chunks first), and what is left goes to the middle stages, whose neighbours at the
 * ends hold the embedding and the head. The head weighs more than the embedding, so the
 * odd one goes towards the front. With one or two virtual stages more than blocks, the
 * head, then the embedding too, has a stage of its own (as in the Zero Bubble runs, 22
 * blocks on 24 virtual stages). */
#include "plan/plan.h"

#include "base/text.h"
#include "plan/placement.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define MAX_STAGES 65536

const galv_strategy *galv_plan_strategy(const galv_plan *plan, int32_t layer)
{
    assert(layer >= 0 && layer < plan->n_layers);
    return &plan->strategies[plan->layer_strategy[layer]];
}

int32_t galv_plan_n_micro_batches(const galv_plan *plan)
{
    int64_t per_step =
        (int64_t)plan->micro_batch_size * galv_plan_strategy(plan, 0)->dp;
    return (int32_t)(plan->global_batch_size / per_step);
}

double galv_plan_local_samples(const galv_plan *plan, int32_t layer)
{
    return (double)plan->micro_batch_size * galv_plan_strategy(plan, 0)->dp /
           galv_plan_strategy(plan, layer)->dp;
}

int32_t galv_plan_micro_batch(const galv_plan *plan)
{
    return (int32_t)galv_plan_local_samples(plan, plan->n_layers > 2 ? 1 : 0);
}

int64_t galv_plan_n_devices(const galv_plan *plan)
{
    const galv_strategy *s = galv_plan_strategy(plan, 0);
    return (int64_t)s->dp * s->cp * s->tp * plan->pp;
}

/* ---- making ---- */

void galv_plan_balance(int32_t *stage_blocks, int32_t n_blocks, int32_t pp, int32_t vpp)
{
    int32_t n_virtual = pp * vpp;
    if (n_blocks < n_virtual) { /* the head alone at the end, the embedding in front */
        for (int32_t s = 0; s < n_virtual; s++) {
            bool alone = s == n_virtual - 1 || s < n_virtual - 1 - n_blocks;
            stage_blocks[s] = alone ? 0 : 1;
        }
        return;
    }
    int32_t remainder = n_blocks % n_virtual;
    int32_t full_rounds = remainder / pp;
    int32_t left = remainder % pp;
    int32_t first_chunk = (vpp - full_rounds - (left > 0 ? 1 : 0)) / 2;
    int32_t first_stage = (pp - left) / 2;
    for (int32_t s = 0; s < n_virtual; s++) {
        int32_t chunk = s / pp;
        int32_t stage = s % pp;
        stage_blocks[s] = n_blocks / n_virtual;
        if (chunk >= first_chunk && chunk < first_chunk + full_rounds) {
            stage_blocks[s]++;
        } else if (chunk == first_chunk + full_rounds && stage >= first_stage &&
                   stage < first_stage + left) {
            stage_blocks[s]++;
        }
    }
}

static bool is_block(const galv_layer_group *layer)
{
    return layer->kind == GALV_LAYER_ENCODER || layer->kind == GALV_LAYER_DECODER ||
           layer->kind == GALV_LAYER_CROSS_DECODER ||
           layer->kind == GALV_LAYER_MOE_DECODER;
}

galv_strategy galv_plan_strategy_for(const galv_strategy *uniform,
                                     const galv_layer_group *layer)
{
    galv_strategy strategy = *uniform;
    if (layer->num_experts == 0) {
        strategy.ep = 1;
    }
    if (!is_block(layer)) {
        strategy.recompute = GALV_RECOMPUTE_NONE;
    }
    return strategy;
}

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

/* Boundaries in layers from blocks per virtual stage: what is not a block (embedding,
 * patch merges, head) goes with the block after it, at the end with the one before. */
static void place_layers(galv_plan *plan, const galv_model *model,
                         const int32_t *stage_blocks)
{
    int32_t n_virtual = plan->pp * plan->vpp;
    int32_t layer = 0;
    for (int32_t s = 0; s < n_virtual; s++) {
        plan->first_layer[s] = layer;
        int32_t left = stage_blocks[s];
        if (s == 0) {
            layer = 1; /* the embedding, also where no block follows it */
        }
        while (layer < plan->n_layers && left > 0) {
            left -= is_block(galv_model_layer(model, layer)) ? 1 : 0;
            layer++;
        }
    }
    plan->first_layer[n_virtual] = plan->n_layers;
}

static galv_status check_stage_blocks(const int32_t *stage_blocks, int32_t n_virtual,
                                      int32_t n_blocks, galv_err *err)
{
    int64_t total = 0;
    for (int32_t s = 0; s < n_virtual; s++) {
        if (stage_blocks[s] < 0) {
            return galv_fail(err, GALV_USAGE, "stage %d has %d blocks", (int)s,
                             (int)stage_blocks[s]);
        }
        total += stage_blocks[s];
    }
    if (total != n_blocks) {
        return galv_fail(err, GALV_USAGE,
                         "the stages hold %lld blocks, the model has %d",
                         (long long)total, (int)n_blocks);
    }
    return GALV_OK;
}

static galv_status check_depth(int32_t pp, int32_t vpp, int32_t n_blocks, galv_err *err)
{
    if (pp < 1 || vpp < 1 || pp > MAX_STAGES || vpp > MAX_STAGES) {
        return galv_fail(err, GALV_USAGE, "pp %d and vpp %d are not in 1 .. %d",
                         (int)pp, (int)vpp, MAX_STAGES);
    }
    int32_t most = n_blocks + 2; /* embedding and head may have stages of their own */
    if ((int64_t)pp * vpp > most) {
        galv_fail(err, GALV_USAGE, "pp %d * vpp %d stages for %d blocks", (int)pp,
                  (int)vpp, (int)n_blocks);
        if (pp > most) {
            galv_hint(err, "pp is at most %d here", (int)most);
        } else {
            galv_hint(err, "with pp %d, vpp is at most %d", (int)pp, (int)(most / pp));
        }
        return GALV_USAGE;
    }
    return GALV_OK;
}

const char *const galv_rank_order_names[GALV_N_RANK_ORDERS] = {"tp-cp-dp-pp",
                                                               "tp-cp-pp-dp"};

galv_rank_order galv_plan_rank_order(const galv_plan *plan)
{
    return strcmp(plan->rank_order, galv_rank_order_names[GALV_RANK_ORDER_PP_INSIDE]) ==
                   0
               ? GALV_RANK_ORDER_PP_INSIDE
               : GALV_RANK_ORDER_DP_INSIDE;
}

galv_status galv_plan_set_rank_order(galv_plan *plan, galv_rank_order order,
                                     const galv_job *job, galv_err *err)
{
    snprintf(plan->rank_order, sizeof plan->rank_order, "%s",
             galv_rank_order_names[order]);
    return galv_placement_check(plan, &job->cluster, err);
}

static galv_plan *allocate(const galv_job *job, const galv_uniform_plan *parameters,
                           int32_t most_strategies, galv_arena *arena)
{
    galv_plan *plan = GALV_NEW(arena, galv_plan);
    if (plan == NULL) {
        return NULL;
    }
    plan->pp = parameters->pp;
    plan->vpp = parameters->vpp;
    plan->n_layers = galv_model_n_layers(&job->model);
    plan->strategies = GALV_NEW_ARRAY(arena, galv_strategy, most_strategies);
    plan->layer_strategy = GALV_NEW_ARRAY(arena, int32_t, plan->n_layers);
    plan->first_layer = GALV_NEW_ARRAY(arena, int32_t, plan->pp * plan->vpp + 1);
    if (plan->strategies == NULL || plan->layer_strategy == NULL ||
        plan->first_layer == NULL) {
        return NULL;
    }
    return plan;
}

/* Everything; `layer_strategies` NULL = parameters->strategy for all. */
static galv_status fill(galv_plan *plan, const galv_job *job,
                        const galv_uniform_plan *parameters,
                        const galv_strategy *layer_strategies, galv_arena *arena,
                        galv_err *err)
{
    int32_t n_virtual = plan->pp * plan->vpp;
    int32_t n_blocks = galv_model_n_blocks(&job->model);
    const char *schedule = parameters->schedule;
    if (schedule == NULL || schedule[0] == '\0') {
        schedule = plan->pp == 1 ? "none" : plan->vpp == 1 ? "1f1b" : "interleaved";
    }
    if (strlen(schedule) >= sizeof plan->schedule) {
        return galv_fail(err, GALV_USAGE, "schedule '%.40s' is too long a name",
                         schedule);
    }
    snprintf(plan->schedule, sizeof plan->schedule, "%s", schedule);
    snprintf(plan->rank_order, sizeof plan->rank_order, "tp-cp-dp-pp");
    plan->micro_batch_size = parameters->micro_batch_size;
    plan->global_batch_size = job->workload.global_batch_size;
    plan->overlap = parameters->overlap;
    for (int32_t layer = 0; layer < plan->n_layers; layer++) {
        galv_strategy strategy =
            layer_strategies != NULL
                ? layer_strategies[layer]
                : galv_plan_strategy_for(&parameters->strategy,
                                         galv_model_layer(&job->model, layer));
        plan->layer_strategy[layer] = intern_strategy(plan, &strategy);
    }
    if (parameters->stage_blocks != NULL) {
        galv_status status =
            check_stage_blocks(parameters->stage_blocks, n_virtual, n_blocks, err);
        if (status == GALV_OK) {
            place_layers(plan, &job->model, parameters->stage_blocks);
        }
        return status;
    }
    int32_t *stage_blocks = GALV_NEW_ARRAY(arena, int32_t, n_virtual);
    if (stage_blocks == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_plan_balance(stage_blocks, n_blocks, plan->pp, plan->vpp);
    place_layers(plan, &job->model, stage_blocks);
    return GALV_OK;
}

static galv_status make(galv_plan **plan, const galv_job *job,
                        const galv_uniform_plan *parameters,
                        const galv_strategy *layer_strategies, galv_arena *arena,
                        galv_err *err)
{
    galv_status status = check_depth(parameters->pp, parameters->vpp,
                                     galv_model_n_blocks(&job->model), err);
    if (status != GALV_OK) {
        return status;
    }
    /* a uniform plan has at most: blocks, dense blocks, and the ends */
    int32_t most = layer_strategies == NULL ? 4 : galv_model_n_layers(&job->model);
    galv_plan *made = allocate(job, parameters, most, arena);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    status = fill(made, job, parameters, layer_strategies, arena, err);
    if (status == GALV_OK) {
        status = galv_plan_check(made, job, err);
    }
    if (status == GALV_OK) {
        *plan = made;
    }
    return status;
}

galv_status galv_plan_make_uniform(galv_plan **plan, const galv_job *job,
                                   const galv_uniform_plan *parameters,
                                   galv_arena *arena, galv_err *err)
{
    return make(plan, job, parameters, NULL, arena, err);
}

galv_status galv_plan_make_layered(galv_plan **plan, const galv_job *job,
                                   const galv_uniform_plan *parameters,
                                   const galv_strategy *layer_strategies,
                                   galv_arena *arena, galv_err *err)
{
    return make(plan, job, parameters, layer_strategies, arena, err);
}

galv_status galv_plan_copy(galv_plan **copy, const galv_plan *plan, galv_arena *arena,
                           galv_err *err)
{
    size_t n_strategies = (size_t)plan->n_strategies;
    size_t n_layers = (size_t)plan->n_layers;
    size_t n_borders = (size_t)plan->pp * (size_t)plan->vpp + 1;
    galv_plan *made = GALV_NEW(arena, galv_plan);
    galv_strategy *strategies = GALV_NEW_ARRAY(arena, galv_strategy, n_strategies);
    int32_t *layer_strategy = GALV_NEW_ARRAY(arena, int32_t, n_layers);
    int32_t *first_layer = GALV_NEW_ARRAY(arena, int32_t, n_borders);
    if (made == NULL || strategies == NULL || layer_strategy == NULL ||
        first_layer == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    *made = *plan;
    if (plan->order != NULL) {
        galv_order *order = NULL;
        galv_status status = galv_order_copy(&order, plan->order, arena, err);
        if (status != GALV_OK) {
            return status;
        }
        made->order = order;
    }
    made->strategies =
        memcpy(strategies, plan->strategies, n_strategies * sizeof *strategies);
    made->layer_strategy =
        memcpy(layer_strategy, plan->layer_strategy, n_layers * sizeof *layer_strategy);
    made->first_layer =
        memcpy(first_layer, plan->first_layer, n_borders * sizeof *first_layer);
    *copy = made;
    return GALV_OK;
}

/* ---- saying ---- */

/* Do the blocks differ in anything but the experts' degree? */
static bool blocks_differ(const galv_plan *plan, const galv_strategy *first)
{
    for (int32_t layer = 1; layer + 1 < plan->n_layers; layer++) {
        galv_strategy here = *galv_plan_strategy(plan, layer);
        here.ep = first->ep;
        if (!galv_strategy_equal(&here, first)) {
            return true;
        }
    }
    return false;
}

/* Numbers that blocks of one plan may differ in, in the order in which they are named.
 */
enum { VALUE_TP, VALUE_CP, VALUE_EP, VALUE_DP, VALUE_MB, VALUE_ZERO, N_VALUES };

static int32_t value_of(const galv_plan *plan, int32_t layer, int which)
{
    const galv_strategy *s = galv_plan_strategy(plan, layer);
    const int32_t values[N_VALUES] = {
        s->tp,  s->cp, s->ep, s->dp, (int32_t)galv_plan_local_samples(plan, layer),
        s->zero};
    return values[which];
}

/* " tp2/4": every value that blocks have, ascending; nothing where all have `silent`.
 */
static void print_values(galv_text *text, const galv_plan *plan, const char *name,
                         int which, int32_t silent)
{
    int32_t last = -1;
    bool any = false;
    for (;;) {
        int32_t next = INT32_MAX;
        for (int32_t layer = 1; layer + 1 < plan->n_layers; layer++) {
            int32_t value = value_of(plan, layer, which);
            next = value > last && value < next ? value : next;
        }
        if (next == INT32_MAX) {
            return;
        }
        bool alone = !any;
        for (int32_t layer = 1; layer + 1 < plan->n_layers && alone; layer++) {
            alone = value_of(plan, layer, which) == next;
        }
        if (alone && next == silent) {
            return;
        }
        if (!any) {
            galv_text_printf(text, "%s%s", text->length > 0 ? " " : "", name);
        }
        galv_text_printf(text, "%s%d", any ? "/" : "", (int)next);
        any = true;
        last = next;
    }
}

/* Do some virtual stages hold more layers than others, beyond a remainder of one? The
 * embedding and the head go along with theirs. */
static bool is_uneven(const galv_plan *plan)
{
    int32_t n_virtual = plan->pp * plan->vpp;
    int32_t least = plan->n_layers;
    int32_t most = 0;
    for (int32_t s = 0; s < n_virtual; s++) {
        int32_t n = plan->first_layer[s + 1] - plan->first_layer[s];
        n -= (s == 0 ? 1 : 0) + (s == n_virtual - 1 ? 1 : 0);
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    return most > least + 1;
}

static void print_degree(galv_text *text, const char *name, int64_t degree)
{
    if (degree > 1) {
        galv_text_printf(text, "%s%s%lld", text->length > 0 ? " " : "", name,
                         (long long)degree);
    }
}

static void print_word(galv_text *text, const char *word)
{
    galv_text_printf(text, "%s%s", text->length > 0 ? " " : "", word);
}

/* What a strategy is besides its degrees. */
static void print_rest(galv_text *text, const galv_strategy *s)
{
    print_degree(text, "zero", s->zero > 1 ? s->zero : 0);
    if (s->zero == 1) {
        print_word(text, "zero1");
    }
    if (s->sp != GALV_SP_NONE) {
        print_word(text, s->sp == GALV_SP_MEGATRON ? "sp" : "ulysses");
    }
    if (s->recompute != GALV_RECOMPUTE_NONE) {
        print_word(text,
                   s->recompute == GALV_RECOMPUTE_FULL ? "recompute" : "selective");
    }
}

/* Embedding or head, where they are spread otherwise than the blocks ("vtp":
 * Galvatron's name of the vocabulary's tensor parallelism). Two plans that differ in
 * them alone are else told alike. */
static void print_vocabulary(galv_text *text, const galv_plan *plan,
                             const galv_strategy *blocks)
{
    const galv_strategy *end = galv_plan_strategy(plan, 0);
    if (end->tp == blocks->tp && end->cp == blocks->cp && end->zero == blocks->zero) {
        end = galv_plan_strategy(plan, plan->n_layers - 1);
    }
    const char *gap = text->length > 0 ? " " : "";
    if (end->tp != blocks->tp) {
        galv_text_printf(text, "%svtp%d", gap, (int)end->tp);
    }
    if (end->cp != blocks->cp) {
        galv_text_printf(text, "%svcp%d", gap, (int)end->cp);
    }
    if (end->zero != blocks->zero) {
        galv_text_printf(text, "%svzero%d", gap, (int)end->zero);
    }
}

char *galv_strategy_print(char *buffer, size_t size, const galv_strategy *s)
{
    galv_text text = GALV_TEXT_INIT;
    print_degree(&text, "tp", s->tp);
    print_degree(&text, "cp", s->cp);
    print_degree(&text, "ep", s->ep);
    galv_text_printf(&text, "%sdp%d", text.length > 0 ? " " : "", (int)s->dp);
    print_rest(&text, s);
    snprintf(buffer, size, "%s", galv_text_string(&text));
    galv_text_release(&text);
    return buffer;
}

char *galv_plan_print(char *buffer, size_t size, const galv_plan *plan)
{
    /* the middle stands for all: layer 0 is the embedding */
    const galv_strategy *s = galv_plan_strategy(plan, plan->n_layers > 2 ? 1 : 0);
    int32_t ep = 1;
    for (int32_t layer = 0; layer < plan->n_layers; layer++) {
        int32_t here = galv_plan_strategy(plan, layer)->ep;
        ep = here > ep ? here : ep;
    }
    bool differ = blocks_differ(plan, s);
    galv_text text = GALV_TEXT_INIT;
    if (!differ) {
        print_degree(&text, "tp", s->tp);
        print_degree(&text, "cp", s->cp);
        print_degree(&text, "ep", ep);
    } else {
        print_values(&text, plan, "tp", VALUE_TP, 1);
        print_values(&text, plan, "cp", VALUE_CP, 1);
        print_values(&text, plan, "ep", VALUE_EP, 1);
    }
    print_degree(&text, "pp", plan->pp);
    if (!differ) {
        galv_text_printf(&text, "%sdp%d", text.length > 0 ? " " : "", (int)s->dp);
    } else {
        print_values(&text, plan, "dp", VALUE_DP, 0);
    }
    print_degree(&text, "v", plan->vpp);
    if (differ) {
        print_values(&text, plan, "mb", VALUE_MB, 0);
        print_values(&text, plan, "zero", VALUE_ZERO, 0);
        print_word(&text, "per-layer");
    } else {
        galv_text_printf(&text, "%smb%d", text.length > 0 ? " " : "",
                         (int)galv_plan_micro_batch(plan));
        print_rest(&text, s);
    }
    if (!differ && plan->n_layers > 2) {
        print_vocabulary(&text, plan, s);
    }
    if (galv_plan_rank_order(plan) == GALV_RANK_ORDER_PP_INSIDE) {
        print_word(&text, "pp-inside");
    }
    if (is_uneven(plan)) {
        print_word(&text, "uneven");
    }
    bool usual = strcmp(plan->schedule, "none") == 0 ||
                 strcmp(plan->schedule, plan->vpp > 1 ? "interleaved" : "1f1b") == 0;
    if (!usual) {
        print_word(&text, plan->schedule);
    }
    snprintf(buffer, size, "%s", galv_text_string(&text));
    galv_text_release(&text);
    return buffer;
}

/* ---- what is left open ---- */

void galv_job_fill_defaults(galv_job *job)
{
    galv_workload *workload = &job->workload;
    if (workload->seq_length == 0) {
        workload->seq_length = job->model.seq_length;
    }
    if (workload->global_batch_size == 0 && workload->seq_length > 0) {
        int64_t n_devices = galv_cluster_n_devices(&job->cluster);
        n_devices = n_devices > 0 ? n_devices : 1;
        int64_t samples = 4194304 / workload->seq_length;
        int64_t multiples = (samples + n_devices / 2) / n_devices;
        workload->global_batch_size = (multiples > 0 ? multiples : 1) * n_devices;
    }
}
