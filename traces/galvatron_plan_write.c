/* Writing Galvatron's strategy files.
 *
 * What Galvatron has no word for is refused and not rounded: a plan that was found
 * because of it would run otherwise than it was costed. The first such thing is named,
 * with the nearest that can be said. Nothing is written before all was looked at. */
#include "traces/galvatron_plan.h"

#include "base/text.h"

#include <string.h>

static galv_status refuse(galv_err *err, const char *nearest, const char *format, ...)
    GALV_PRINTF(3, 4);
static galv_status refuse(galv_err *err, const char *nearest, const char *format, ...)
{
    galv_text text = GALV_TEXT_INIT;
    va_list args;
    va_start(args, format);
    galv_text_vprintf(&text, format, args);
    va_end(args);
    galv_fail(err, GALV_USAGE, "Galvatron has no word for %s", galv_text_string(&text));
    galv_hint(err, "nearest: %s", nearest);
    galv_text_release(&text);
    return GALV_USAGE;
}

/* ---- can it be said? ---- */

static galv_status check_pipeline(const galv_job *job, const galv_plan *plan,
                                  galv_err *err)
{
    int32_t n_blocks = galv_model_n_blocks(&job->model);
    if (plan->n_layers != n_blocks + 2) {
        return galv_fail(err, GALV_USAGE,
                         "%s is not an embedding, blocks and a head: Galvatron's "
                         "strategies are of those",
                         job->model.name);
    }
    if (plan->vpp != 1) {
        return refuse(err, "vpp 1, schedule 1f1b", "vpp %d", (int)plan->vpp);
    }
    bool known = strcmp(plan->schedule, "1f1b") == 0 ||
                 (strcmp(plan->schedule, "gpipe") == 0 && plan->pp > 1) ||
                 (strcmp(plan->schedule, "none") == 0 && plan->pp == 1);
    if (!known) {
        return refuse(err, plan->pp == 1 ? "schedule none" : "schedule 1f1b or gpipe",
                      "schedule %s with pp %d", plan->schedule, (int)plan->pp);
    }
    if (strcmp(plan->rank_order, "tp-cp-dp-pp") != 0) {
        return refuse(err, "rank_order tp-cp-dp-pp", "rank_order %s", plan->rank_order);
    }
    for (int32_t s = 0; s < plan->pp; s++) {
        int32_t first = plan->first_layer[s] < 1 ? 1 : plan->first_layer[s];
        int32_t end = plan->first_layer[s + 1] > n_blocks + 1
                          ? n_blocks + 1
                          : plan->first_layer[s + 1];
        if (end <= first) {
            return refuse(err, "a block on every stage", "stage %d without a block",
                          (int)s);
        }
    }
    const galv_overlap *o = &plan->overlap;
    if (!o->grad_reduce || !o->param_gather || o->tp_comm || !o->p2p) {
        return refuse(err,
                      "overlap of grad_reduce, param_gather and p2p, not of tp_comm",
                      "overlap.%s",
                      !o->grad_reduce    ? "grad_reduce false"
                      : !o->param_gather ? "param_gather false"
                      : o->tp_comm       ? "tp_comm true"
                                         : "p2p false");
    }
    return GALV_OK;
}

/* Nothing is shared by one rank, so its ZeRO stage means nothing. */
static bool shares(const galv_strategy *s)
{
    return galv_strategy_gradient_ranks(s) > 1;
}

static galv_status check_strategy(const galv_strategy *s, int32_t layer, bool is_end,
                                  galv_err *err)
{
    if (s->zero == 1 && shares(s)) {
        return refuse(err, "zero 2, or zero 0", "zero 1 (layer %d)", (int)layer);
    }
    if (s->recompute == GALV_RECOMPUTE_SELECTIVE) {
        return refuse(err, "recompute full, or none", "recompute selective (layer %d)",
                      (int)layer);
    }
    if (is_end && s->recompute != GALV_RECOMPUTE_NONE) {
        return refuse(err, "recompute none", "recomputing the embedding or the head");
    }
    if (s->tp > 1 && s->sp == GALV_SP_NONE) {
        return refuse(err, "sp megatron",
                      "tp %d with sp none (layer %d): sequence_parallel is a switch of "
                      "its run and on by default",
                      (int)s->tp, (int)layer);
    }
    return GALV_OK;
}

/* What dp_types_enc 0 stands for, ZeRO 0 or 2. Layers of one rank, whose ZeRO stage
 * means nothing, decide where no others do; where all are ZeRO-3 it is 2. */
static galv_status find_default(int32_t *zero, const galv_plan *plan, galv_err *err)
{
    int32_t layers[3] = {-1, -1, -1}; /* the first with ZeRO 0 and 2 */
    int32_t moot = 2;
    for (int32_t i = plan->n_layers - 1; i >= 0; i--) {
        const galv_strategy *s = galv_plan_strategy(plan, i);
        if (shares(s) && s->zero < 3) {
            layers[s->zero] = i;
        } else if (!shares(s) && s->zero == 0) {
            moot = 0;
        }
    }
    if (layers[0] >= 0 && layers[2] >= 0) {
        return refuse(err, "zero 2 for both, or zero 3 for one of them",
                      "zero 0 (layer %d) beside zero 2 (layer %d)", (int)layers[0],
                      (int)layers[2]);
    }
    *zero = layers[0] >= 0 ? 0 : layers[2] >= 0 ? 2 : moot;
    return GALV_OK;
}

static galv_status check_plan(int32_t *zero, const galv_job *job, const galv_plan *plan,
                              galv_err *err)
{
    galv_status status = check_pipeline(job, plan, err);
    for (int32_t i = 0; status == GALV_OK && i < plan->n_layers; i++) {
        bool is_end = i == 0 || i == plan->n_layers - 1;
        status = check_strategy(galv_plan_strategy(plan, i), i, is_end, err);
    }
    if (status == GALV_OK &&
        !galv_strategy_equal(galv_plan_strategy(plan, 0),
                             galv_plan_strategy(plan, plan->n_layers - 1))) {
        status = refuse(err, "the embedding's strategy for both",
                        "a head spread otherwise than the embedding");
    }
    return status == GALV_OK ? find_default(zero, plan, err) : status;
}

/* ---- writing ---- */

typedef enum list_field {
    LIST_TP,
    LIST_CONSECUTIVE,
    LIST_DP_TYPE,
    LIST_USE_SP,
    LIST_CHECKPOINT,
    LIST_CP,
    LIST_EP
} list_field;

static int is_ulysses(const galv_strategy *s)
{
    return s->sp == GALV_SP_ULYSSES && s->tp > 1 ? 1 : 0;
}

static int is_sharded(const galv_strategy *s)
{
    return s->zero == 3 && shares(s) ? 1 : 0;
}

static int list_number(const galv_strategy *s, list_field field)
{
    switch (field) {
    case LIST_TP:
        return (int)s->tp;
    case LIST_DP_TYPE:
        return is_sharded(s);
    case LIST_USE_SP:
        return is_ulysses(s);
    case LIST_CHECKPOINT:
        return s->recompute == GALV_RECOMPUTE_FULL ? 1 : 0;
    case LIST_CP:
        return (int)s->cp;
    case LIST_EP:
        return (int)s->ep;
    default:
        return 1; /* tp_consecutive_flags */
    }
}

static void put_list(galv_json_writer *writer, const char *key, const galv_plan *plan,
                     list_field field)
{
    galv_text text = GALV_TEXT_INIT;
    for (int32_t i = 1; i + 1 < plan->n_layers; i++) {
        galv_text_printf(&text, "%s%d", i > 1 ? "," : "",
                         list_number(galv_plan_strategy(plan, i), field));
    }
    galv_json_key_string(writer, key, galv_text_string(&text));
    galv_text_release(&text);
}

/* Fields of the runtime that its search never writes, where they say something. */
static void put_rare(galv_json_writer *writer, const galv_plan *plan)
{
    bool cp = false, ep = false;
    for (int32_t i = 0; i < plan->n_layers; i++) {
        cp = cp || galv_plan_strategy(plan, i)->cp > 1;
        ep = ep || galv_plan_strategy(plan, i)->ep > 1;
    }
    if (cp) {
        put_list(writer, "cp_sizes_enc", plan, LIST_CP);
        galv_json_key_i64(writer, "vcp", galv_plan_strategy(plan, 0)->cp);
    }
    if (ep) {
        put_list(writer, "ep_sizes_enc", plan, LIST_EP);
        put_list(writer, "tp_of_ep_sizes_enc", plan, LIST_CONSECUTIVE); /* all 1 */
    }
}

static void put_division(galv_json_writer *writer, const galv_plan *plan)
{
    galv_text text = GALV_TEXT_INIT;
    for (int32_t s = 0; s < plan->pp; s++) {
        int32_t blocks = plan->first_layer[s + 1] - plan->first_layer[s];
        blocks -= (s == 0) + (s == plan->pp - 1); /* embedding, head */
        galv_text_printf(&text, "%s%d", s > 0 ? "," : "", (int)blocks);
    }
    galv_json_key_string(writer, "pp_division", galv_text_string(&text));
    galv_text_release(&text);
}

galv_status galv_galvatron_plan_to_json(const galv_job *job, const galv_plan *plan,
                                        galv_json_writer *writer, galv_err *err)
{
    int32_t zero = 2;
    galv_status status = check_plan(&zero, job, plan, err);
    if (status != GALV_OK) {
        return status;
    }
    const galv_strategy *ends = galv_plan_strategy(plan, 0);
    galv_json_begin_object(writer, false);
    galv_json_key_i64(writer, "pp_deg", plan->pp);
    put_list(writer, "tp_sizes_enc", plan, LIST_TP);
    put_list(writer, "tp_consecutive_flags", plan, LIST_CONSECUTIVE);
    put_list(writer, "dp_types_enc", plan, LIST_DP_TYPE);
    put_list(writer, "use_sp", plan, LIST_USE_SP);
    put_list(writer, "checkpoint", plan, LIST_CHECKPOINT);
    put_rare(writer, plan);
    galv_json_key_i64(writer, "world_size", galv_plan_n_devices(plan));
    galv_json_key_i64(writer, "global_bsz", plan->global_batch_size);
    galv_json_key_i64(writer, "chunks", galv_plan_n_micro_batches(plan));
    put_division(writer, plan);
    galv_json_key_string(writer, "pipeline_type",
                         strcmp(plan->schedule, "gpipe") == 0 ? "gpipe"
                                                              : "pipedream_flush");
    galv_json_key_string(writer, "default_dp_type", zero == 0 ? "ddp" : "zero2");
    galv_json_key_i64(writer, "vtp", ends->tp);
    galv_json_key_i64(writer, "vsp", is_ulysses(ends));
    galv_json_key_i64(writer, "embed_sdp", is_sharded(ends));
    galv_json_key_i64(writer, "vocab_sdp", is_sharded(ends));
    galv_json_end_object(writer);
    return GALV_OK;
}
