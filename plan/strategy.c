/* The strategy: which degrees may spread which layer.
 *
 * Rules are those of Megatron Core and of Galvatron's Ulysses layers: what a degree
 * cuts must divide by it. A tensor-parallel degree above the number of key/value heads
 * is allowed when it is a multiple of it: the heads are then held several times, as
 * Megatron does since it supports GQA. The vocabulary is padded to the degree, so it
 * never refuses one. Not modelled: expert tensor parallelism (experts stay whole). */
#include "plan/strategy.h"

#define MAX_DEGREE 1048576

const char *const galv_sp_names[GALV_N_SPS] = {"none", "megatron", "ulysses"};
const char *const galv_recompute_names[GALV_N_RECOMPUTES] = {"none", "selective",
                                                             "full"};

bool galv_strategy_equal(const galv_strategy *a, const galv_strategy *b)
{
    return a->tp == b->tp && a->cp == b->cp && a->ep == b->ep && a->dp == b->dp &&
           a->sp == b->sp && a->zero == b->zero && a->recompute == b->recompute;
}

int32_t galv_strategy_gradient_ranks(const galv_strategy *strategy)
{
    int32_t ranks = strategy->dp * strategy->cp;
    return strategy->sp == GALV_SP_ULYSSES ? ranks * strategy->tp : ranks;
}

int32_t galv_strategy_expert_gradient_ranks(const galv_strategy *strategy)
{
    return strategy->dp * strategy->cp * strategy->tp / strategy->ep;
}

/* Refuses a degree that does not divide a count, with the nearest ones that do. */
static galv_status require_divides(const char *degree_name, int32_t degree,
                                   const char *what, int64_t count, galv_err *err)
{
    if (count % degree == 0) {
        return GALV_OK;
    }
    int64_t below = degree < count ? degree : count;
    while (count % below != 0) {
        below--;
    }
    int64_t above = degree;
    while (above < count && count % above != 0) {
        above++;
    }
    galv_fail(err, GALV_USAGE, "%s %d does not divide %s (%lld)", degree_name,
              (int)degree, what, (long long)count);
    if (above < count || (above == count && below != above)) {
        galv_hint(err, "nearest: %s %lld or %lld", degree_name, (long long)below,
                  (long long)above);
    } else {
        galv_hint(err, "nearest: %s %lld", degree_name, (long long)below);
    }
    return GALV_USAGE;
}

static bool has_attention(const galv_layer_group *layer)
{
    return layer->num_attention_heads > 0;
}

static galv_status check_ranges(const galv_strategy *s, galv_err *err)
{
    const struct {
        const char *name;
        int32_t degree;
    } degrees[] = {{"tp", s->tp}, {"cp", s->cp}, {"ep", s->ep}, {"dp", s->dp}};
    for (size_t i = 0; i < sizeof degrees / sizeof degrees[0]; i++) {
        if (degrees[i].degree < 1 || degrees[i].degree > MAX_DEGREE) {
            return galv_fail(err, GALV_USAGE, "%s %d is not in 1 .. %d",
                             degrees[i].name, (int)degrees[i].degree, MAX_DEGREE);
        }
    }
    if ((int64_t)s->tp * s->cp > MAX_DEGREE ||
        (int64_t)s->tp * s->cp * s->dp > MAX_DEGREE * (int64_t)8) {
        return galv_fail(err, GALV_USAGE, "tp %d, cp %d and dp %d multiply to too many",
                         (int)s->tp, (int)s->cp, (int)s->dp);
    }
    if ((unsigned)s->sp >= GALV_N_SPS || (unsigned)s->recompute >= GALV_N_RECOMPUTES) {
        return galv_fail(err, GALV_USAGE, "unknown sp or recompute");
    }
    if (s->zero < 0 || s->zero > 3) {
        return galv_fail(err, GALV_USAGE, "zero %d is not in 0 .. 3", (int)s->zero);
    }
    return GALV_OK;
}

static galv_status check_tensor(const galv_strategy *s, const galv_layer_group *layer,
                                galv_err *err)
{
    galv_status status = GALV_OK;
    if (has_attention(layer)) {
        status = require_divides("tp", s->tp, "the attention heads",
                                 layer->num_attention_heads, err);
        int32_t groups = layer->num_query_groups;
        if (status == GALV_OK && groups > 0 && groups % s->tp != 0 &&
            s->tp % groups != 0) {
            status = require_divides("tp", s->tp, "the query groups", groups, err);
        }
    }
    if (s->sp == GALV_SP_ULYSSES) {
        return status; /* weights are whole, nothing else is cut */
    }
    if (status == GALV_OK && layer->ffn_hidden_size > 0) {
        status = require_divides("tp", s->tp, "the ffn hidden size",
                                 layer->ffn_hidden_size, err);
    }
    if (status == GALV_OK && layer->moe_shared_ffn_hidden_size > 0) {
        status = require_divides("tp", s->tp, "the shared experts' ffn hidden size",
                                 layer->moe_shared_ffn_hidden_size, err);
    }
    if (status == GALV_OK) {
        status =
            require_divides("tp", s->tp, "the hidden size", layer->hidden_size, err);
    }
    return status;
}

static galv_status check_experts(const galv_strategy *s, const galv_layer_group *layer,
                                 galv_err *err)
{
    if (s->ep == 1) {
        return GALV_OK;
    }
    if (layer->num_experts == 0) {
        galv_fail(err, GALV_USAGE, "ep %d for a layer without experts (%s)", (int)s->ep,
                  galv_layer_kind_names[layer->kind]);
        galv_hint(err, "use ep 1");
        return GALV_USAGE;
    }
    galv_status status =
        require_divides("ep", s->ep, "the experts", layer->num_experts, err);
    if (status == GALV_OK) {
        status = require_divides("ep", s->ep, "dp * cp * tp",
                                 (int64_t)s->dp * s->cp * s->tp, err);
    }
    return status;
}

galv_status galv_strategy_check(const galv_strategy *strategy,
                                const galv_layer_group *layer, int32_t seq_length,
                                galv_err *err)
{
    galv_status status = check_ranges(strategy, err);
    if (status == GALV_OK) {
        status = check_tensor(strategy, layer, err);
    }
    if (status == GALV_OK) {
        status = check_experts(strategy, layer, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    int32_t seq = layer->seq_length > 0 ? layer->seq_length : seq_length;
    if (strategy->cp > 1) {
        /* twice: causal ring attention gives each rank an early and a late piece */
        status = require_divides("2 * cp", 2 * strategy->cp, "the sequence length", seq,
                                 err);
    }
    int32_t split_ranks = strategy->sp == GALV_SP_NONE ? 1 : strategy->tp;
    /* encoders pad: the 197 tokens of an image divide by nothing */
    if (status == GALV_OK && split_ranks > 1 && has_attention(layer) &&
        layer->kind != GALV_LAYER_ENCODER) {
        status = require_divides(
            strategy->cp > 1 ? "tp * cp (with sp)" : "tp (with sp)",
            split_ranks * strategy->cp, "the sequence length", seq, err);
    }
    return status;
}

galv_status galv_strategy_from_json(galv_strategy *strategy, galv_json_value value,
                                    galv_err *err)
{
    galv_strategy read = GALV_STRATEGY_INIT;
    int sp = 0;
    int recompute = 0;
    galv_json_object o;
    galv_json_enter(&o, value, err);
    galv_json_i32(&o, "tp", GALV_OPTIONAL, 1, MAX_DEGREE, &read.tp);
    galv_json_i32(&o, "cp", GALV_OPTIONAL, 1, MAX_DEGREE, &read.cp);
    galv_json_i32(&o, "ep", GALV_OPTIONAL, 1, MAX_DEGREE, &read.ep);
    galv_json_i32(&o, "dp", GALV_OPTIONAL, 1, MAX_DEGREE, &read.dp);
    galv_json_word(&o, "sp", GALV_OPTIONAL, galv_sp_names, GALV_N_SPS, &sp);
    galv_json_i32(&o, "zero", GALV_OPTIONAL, 0, 3, &read.zero);
    galv_json_word(&o, "recompute", GALV_OPTIONAL, galv_recompute_names,
                   GALV_N_RECOMPUTES, &recompute);
    galv_status status = galv_json_leave(&o);
    if (status != GALV_OK) {
        return status;
    }
    read.sp = (galv_sp)sp;
    read.recompute = (galv_recompute)recompute;
    *strategy = read;
    return GALV_OK;
}

void galv_strategy_to_json(const galv_strategy *strategy, galv_json_writer *writer)
{
    galv_json_begin_object(writer, true);
    galv_json_key_i64(writer, "tp", strategy->tp);
    galv_json_key_i64(writer, "cp", strategy->cp);
    galv_json_key_i64(writer, "ep", strategy->ep);
    galv_json_key_i64(writer, "dp", strategy->dp);
    galv_json_key_string(writer, "sp", galv_sp_names[strategy->sp]);
    galv_json_key_i64(writer, "zero", strategy->zero);
    galv_json_key_string(writer, "recompute",
                         galv_recompute_names[strategy->recompute]);
    galv_json_end_object(writer);
}
