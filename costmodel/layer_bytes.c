/* Bytes of one layer on one rank: parameters, kept activations, what a pass needs.
 *
 * Activations in 16 bits, per token and layer (tp t, with sp=megatron everything over
 * t): inputs of the two norms 4h, of the QKV and first MLP products 4h, queries, keys
 * and values 2 (a + 2 g) d / t, input of the projection 2 a d / t, of the activation
 * and of the last product 2 (1 + gated) f/t + 2 f/t, dropout masks 2h; and the square
 * of attention, 2 a s / t (5 with dropout), or 4 a / t where attention is fused. For h
 * = a d, f = 4 h that is Korthikanti's 34 + 5 a s / h.
 *
 * Under fp8 the inputs of products are kept in 8 bits, that of attention's projection
 * beside the 16-bit output that attention keeps for itself. PyTorch's selective
 * recomputation keeps the layer's input, attention's output and that of every second
 * product: queries, values, the first of the MLP's and, where that is gated, its last.
 * For Llama-3 8B those are 15.5 h bytes a token, which is what torchtitan's compiled
 * runs hold beside states and logits.
 *
 * Experts, per routed row: the permuted token 2h, and their inner tensors. Permuting
 * keeps indices alone. Since 2025 Megatron-LM weighs rows by the router's probability
 * inside the expert, between its two products, so that the last product's output need
 * not be kept; without a gate the activation is no part of that kernel and its output
 * is kept beside the weighed one. Others, and Megatron-LM before, weigh the output and
 * keep it. Source: Megatron Core, token dispatchers and grouped MLP.
 *
 * Left out: what eager frameworks keep twice (the factor "activation_stack"),
 * transposed copies of fp8 tensors. */
#include "costmodel/layer_internal.h"

#include <math.h>

/* Bytes of an activation's element. */
static double width(const galv_layer_share *s)
{
    return s->workload->precision <= GALV_TF32 ? 4 : 2;
}

/* Bytes of a product's kept input: fp8 training keeps the converted tensor. */
static double kept_width(const galv_layer_share *s)
{
    switch (s->workload->precision) {
    case GALV_FP8:
    case GALV_MXFP8:
        return 1;
    case GALV_NVFP4:
        return 0.5625; /* and a scale for every sixteen */
    default:
        return width(s);
    }
}

/* Bytes of what is kept of it beside the element itself, where another operation keeps
 * that. */
static double converted_width(const galv_layer_share *s)
{
    return kept_width(s) < width(s) ? kept_width(s) : 0;
}

/* The core keeps its square unless that is what selective recomputation makes again. */
static double core_bytes(const galv_layer_share *s, double seq_kv, bool selective)
{
    double rows = s->samples * s->heads * s->seq / s->cp;
    if (s->fused) {
        return 4 * rows;
    }
    if (selective &&
        (s->again == 0 || galv_layer_makes_again(s, GALV_AGAIN_CORE_ATTN))) {
        return 0;
    }
    double each = s->group->dropout > 0 ? 2 * width(s) + 1 : width(s);
    return each * rows * seq_kv;
}

static double attention_bytes(const galv_layer_share *s, bool selective)
{
    const galv_layer_group *g = s->group;
    double e = width(s);
    double h = g->hidden_size;
    double a = s->heads_out;
    double groups = g->num_query_groups > s->tp ? g->num_query_groups / s->tp : 1;
    double region = s->region_tokens;
    double mask = g->dropout > 0 ? region * h : 0;
    bool latent = g->kv_lora_rank > 0;
    bool lone = latent && galv_layer_makes_again(s, GALV_AGAIN_LAYERNORM);
    double bytes = (e + (lone ? 0 : kept_width(s))) * region * h + mask +
                   (e + converted_width(s)) * s->tokens * a * s->v_dim;
    if (latent) {
        bool up = galv_layer_makes_again(s, GALV_AGAIN_MLA_UP_PROJ);
        bytes += (up ? 1 : 2) * e * region * (g->q_lora_rank + g->kv_lora_rank) +
                 (up ? 0 : e * s->tokens * a * (2 * s->qk_dim + s->v_dim));
    } else {
        bytes += e * s->tokens * (a + 2 * groups) * g->kv_channels;
    }
    bytes += core_bytes(s, s->seq, selective);
    if (g->kind == GALV_LAYER_CROSS_DECODER) {
        double encoder = s->tokens * s->encoder_seq / s->seq;
        bytes += 2 * e * region * h + mask + 2 * e * s->tokens * a * g->kv_channels +
                 2 * e * encoder * groups * g->kv_channels +
                 core_bytes(s, s->encoder_seq, selective);
    }
    return bytes;
}

/* Inner tensors of an MLP of `f` columns on this rank: what goes into the activation
 * and, unless that is made `again`, what comes out of it. */
static double inner_bytes(const galv_layer_share *s, double rows, double f, bool again)
{
    bool gated = s->group->gated_linear_unit;
    bool narrow = gated && s->workload->fp8_activation_input && converted_width(s) > 0;
    double in = (narrow ? 1 : width(s)) * (gated ? 2 : 1);
    return rows * f * (in + (again ? 0 : kept_width(s)));
}

static double mlp_bytes(const galv_layer_share *s)
{
    double h = s->group->hidden_size;
    double mask = s->group->dropout > 0 ? s->region_tokens * h : 0;
    return (width(s) + kept_width(s)) * s->region_tokens * h + mask +
           inner_bytes(s, s->tokens, s->group->ffn_hidden_size / s->tp, false);
}

static double router_bytes(const galv_layer_share *s)
{
    const galv_layer_group *g = s->group;
    bool lone = galv_layer_makes_again(s, GALV_AGAIN_LAYERNORM);
    double bytes = s->region_tokens *
                   ((lone ? 1 : 2) * width(s) * g->hidden_size + 4.0 * g->num_experts);
    if (g->moe_shared_ffn_hidden_size > 0) {
        bytes +=
            inner_bytes(s, s->tokens, g->moe_shared_ffn_hidden_size / s->tp, false);
    }
    return bytes;
}

static bool is_weighed_inside(const galv_layer_share *s)
{
    return galv_software_has(s->workload, GALV_CHANGE_WEIGHS_ROWS_INSIDE);
}

static double experts_bytes(const galv_layer_share *s)
{
    const galv_layer_group *g = s->group;
    double f = g->moe_ffn_hidden_size / s->expert_tp;
    bool again = galv_layer_makes_again(s, GALV_AGAIN_MOE_ACT);
    bool twice = is_weighed_inside(s) && !g->gated_linear_unit && !again;
    return kept_width(s) * s->routed_rows * g->hidden_size +
           inner_bytes(s, s->routed_rows, f, again) +
           (twice ? width(s) * s->routed_rows * f : 0);
}

static double combine_bytes(const galv_layer_share *s)
{
    return is_weighed_inside(s) ? 0 : width(s) * s->routed_rows * s->group->hidden_size;
}

/* Input, queries, values and output of attention. */
static double selective_attention_bytes(const galv_layer_share *s)
{
    const galv_layer_group *g = s->group;
    double groups = g->num_query_groups > s->tp ? g->num_query_groups / s->tp : 1;
    double columns = s->heads_out * (s->qk_dim + s->v_dim) + groups * s->v_dim;
    return width(s) * (s->region_tokens * g->hidden_size + s->tokens * columns) +
           core_bytes(s, s->seq, true);
}

double galv_layer_activation_bytes(const galv_layer_share *s, bool selective, int part)
{
    double h = s->group->hidden_size;
    switch (s->group->kind) {
    case GALV_LAYER_EMBEDDING:
        return s->group->dropout > 0 ? s->region_tokens * h : 0;
    case GALV_LAYER_PATCH_EMBEDDING:
        return width(s) * s->tokens * s->group->patch_size * s->group->patch_size *
               s->group->num_channels;
    case GALV_LAYER_PATCH_MERGE:
        return 4 * width(s) * s->tokens * h;
    case GALV_LAYER_HEAD:
        return 2 * width(s) * s->region_tokens * h;
    default:
        break;
    }
    bool whole = part == GALV_PART_WHOLE;
    bool moe = s->group->kind == GALV_LAYER_MOE_DECODER;
    double bytes = 0;
    if (selective && galv_layer_is_op_selective(s, GALV_RECOMPUTE_SELECTIVE) && !moe) {
        if (whole || part == GALV_PART_ATTENTION) {
            bytes += selective_attention_bytes(s);
        }
        if (whole || part == GALV_PART_MLP) {
            double last = s->group->gated_linear_unit ? s->region_tokens * h : 0;
            bytes += width(s) * (s->tokens * s->group->ffn_hidden_size / s->tp + last);
        }
        return bytes;
    }
    if (whole || part == GALV_PART_ATTENTION) {
        bytes += attention_bytes(s, selective);
    }
    if (!moe) {
        return whole || part == GALV_PART_MLP ? bytes + mlp_bytes(s) : bytes;
    }
    if (whole || part == GALV_PART_ROUTER) {
        bytes += router_bytes(s);
    }
    if (whole || part == GALV_PART_EXPERTS) {
        bytes += experts_bytes(s);
    }
    if (whole || part == GALV_PART_COMBINE) {
        bytes += combine_bytes(s);
    }
    return bytes;
}

double galv_layer_input_bytes(const galv_layer_share *s)
{
    return width(s) * s->region_tokens * s->group->hidden_size;
}

double galv_layer_logit_bytes(const galv_layer_share *s)
{
    return s->group->kind == GALV_LAYER_HEAD ? 4 * s->head_tokens * s->vocab : 0;
}

/* ---- what waits for the gradients of weights ---- */

/* Input and gradient of the output of each product of attention, converted where the
 * products are narrow. */
static double attention_waiting_bytes(const galv_layer_share *s)
{
    const galv_layer_group *g = s->group;
    double k = kept_width(s);
    double groups = g->num_query_groups > s->tp ? g->num_query_groups / s->tp : 1;
    double region = s->region_tokens;
    double projection = s->tokens * s->heads_out * s->v_dim + region * g->hidden_size;
    double elements = region * g->hidden_size + projection;
    if (g->kv_lora_rank > 0) {
        elements +=
            2 * region * (g->q_lora_rank + g->kv_lora_rank) +
            s->tokens * s->heads_out * (s->qk_dim + g->qk_nope_head_dim + s->v_dim);
    } else {
        elements += s->tokens * (s->heads_out + 2 * groups) * g->kv_channels;
    }
    if (g->kind == GALV_LAYER_CROSS_DECODER) {
        double encoder = s->tokens * s->encoder_seq / s->seq;
        elements += region * g->hidden_size + projection +
                    s->tokens * s->heads_out * g->kv_channels +
                    2 * encoder * groups * g->kv_channels;
    }
    return k * elements;
}

/* The same of two products with `f` columns between them. */
static double products_waiting_bytes(const galv_layer_share *s, double rows, double f,
                                     double outer_rows)
{
    double n_in = s->group->gated_linear_unit ? 2 : 1;
    return kept_width(s) *
           (2 * outer_rows * s->group->hidden_size + (1 + n_in) * rows * f);
}

double galv_layer_waiting_bytes(const galv_layer_share *s, int part)
{
    const galv_layer_group *g = s->group;
    if (g->kind == GALV_LAYER_HEAD) {
        return width(s) *
               (s->region_tokens * g->hidden_size + s->head_tokens * s->vocab);
    }
    if (g->kind == GALV_LAYER_EMBEDDING || g->kind == GALV_LAYER_PATCH_EMBEDDING ||
        g->kind == GALV_LAYER_PATCH_MERGE) {
        return galv_layer_activation_bytes(s, false, part) / 2;
    }
    bool whole = part == GALV_PART_WHOLE;
    double bytes =
        whole || part == GALV_PART_ATTENTION ? attention_waiting_bytes(s) : 0;
    if (g->kind != GALV_LAYER_MOE_DECODER) {
        return bytes +
               (whole || part == GALV_PART_MLP
                    ? products_waiting_bytes(s, s->tokens, g->ffn_hidden_size / s->tp,
                                             s->region_tokens)
                    : 0);
    }
    if (whole || part == GALV_PART_ROUTER) {
        bytes += width(s) * s->region_tokens * (g->hidden_size + g->num_experts);
        if (g->moe_shared_ffn_hidden_size > 0) {
            bytes += products_waiting_bytes(
                s, s->tokens, g->moe_shared_ffn_hidden_size / s->tp, s->region_tokens);
        }
    }
    if (whole || part == GALV_PART_EXPERTS) {
        bytes += products_waiting_bytes(
            s, s->routed_rows, g->moe_ffn_hidden_size / s->expert_tp, s->routed_rows);
    }
    return bytes;
}

/* ---- while a pass runs ---- */

/* Gradients that a backward pass holds at once of an MLP of `inner` elements between
 * its products: those of the activation and of what it was computed from, less the
 * activation itself, which the second product has let go by then. Split from the
 * gradients of weights, it is still needed. */
static double inner_gradient_bytes(const galv_layer_share *s, double inner, int pass)
{
    double n_in = s->group->gated_linear_unit ? 2 : 1;
    double let_go = pass == GALV_OP_BACKWARD ? 1 : 0;
    return width(s) * inner * (1 + n_in - let_go);
}

/* Gradients around the core of attention: of its output, queries, keys and values, and
 * the sum in fp32 that a fused kernel makes of the queries' (Dao 2023, arXiv
 * 2307.08691, algorithm 2); or of two squares. */
static double core_gradient_bytes(const galv_layer_share *s, galv_recompute recompute)
{
    double e = width(s);
    if (!s->fused) {
        double square = 2 * e * s->samples * s->heads * s->seq / s->cp * s->seq;
        return square + (recompute == GALV_RECOMPUTE_SELECTIVE
                             ? core_bytes(s, s->seq, false)
                             : 0);
    }
    double rows = s->samples * s->seq / s->cp;
    double keys = s->groups > s->heads ? s->heads : s->groups;
    keys = s->group->kv_lora_rank > 0 ? s->heads : keys;
    return rows * (s->heads * (e * s->v_dim + (e + 4) * s->qk_dim) +
                   keys * e * (s->qk_dim + s->v_dim));
}

static double mlp_gradient_bytes(const galv_layer_share *s, int part, int pass)
{
    const galv_layer_group *g = s->group;
    if (g->kind != GALV_LAYER_MOE_DECODER) {
        return inner_gradient_bytes(s, g->ffn_hidden_size / s->tp * s->tokens, pass);
    }
    double inner = g->moe_ffn_hidden_size / s->expert_tp * s->routed_rows;
    double grouped = inner_gradient_bytes(s, inner, pass);
    /* rows before and after they are exchanged or permuted */
    double rows = 2 * width(s) * s->routed_rows * g->hidden_size;
    double shared = inner_gradient_bytes(
        s, g->moe_shared_ffn_hidden_size / s->tp * s->tokens, pass);
    if (part == GALV_PART_ROUTER) {
        return shared;
    }
    return part == GALV_PART_COMBINE ? rows : grouped > rows ? grouped : rows;
}

static double head_transient_bytes(const galv_layer_share *s, bool forward)
{
    /* logits or their gradient; unfused losses copy them to fp32 and, backward, hold
     * the gradients of loss and softmax in fp32 beside it */
    bool fused = s->workload->software == GALV_SOFTWARE_MEGATRON ||
                 s->workload->software == GALV_SOFTWARE_DEEPSPEED;
    double unfused = forward ? 4 : 8;
    return (fused ? width(s) : width(s) + unfused) * s->head_tokens * s->vocab;
}

/* What the modules of a part that are made again take while they are there. */
static double again_bytes(const galv_layer_share *s, int part)
{
    galv_layer_share whole = *s;
    whole.again = 0;
    return s->again == 0 ? 0
                         : galv_layer_activation_bytes(&whole, true, part) -
                               galv_layer_activation_bytes(s, true, part);
}

double galv_layer_transient_bytes(const galv_layer_share *s, galv_recompute recompute,
                                  int part, int pass)
{
    const galv_layer_group *g = s->group;
    bool forward = pass == GALV_OP_FORWARD || pass == GALV_OP_RECOMPUTE;
    if (g->kind == GALV_LAYER_HEAD) {
        return head_transient_bytes(s, forward);
    }
    double gathered = width(s) * s->tokens * g->hidden_size; /* output, or gradient */
    if (g->kind == GALV_LAYER_EMBEDDING) {
        /* lookups have a dense gradient of the whole table */
        return forward ? gathered : gathered + width(s) * s->vocab * g->hidden_size;
    }
    if (forward || pass == GALV_OP_BACKWARD_WEIGHT) {
        return gathered;
    }
    double own = again_bytes(s, GALV_PART_ATTENTION);
    double widest = part == GALV_PART_ATTENTION
                        ? 0
                        : mlp_gradient_bytes(s, part, pass) + again_bytes(s, part) -
                              (part == GALV_PART_WHOLE ? own : 0);
    if (part == GALV_PART_WHOLE || part == GALV_PART_ATTENTION) {
        /* what the MLP kept is gone when the gradient comes to attention */
        double core = core_gradient_bytes(s, recompute) + own;
        if (part == GALV_PART_WHOLE && pass == GALV_OP_BACKWARD) {
            core -= galv_layer_activation_bytes(s, true, GALV_PART_WHOLE) -
                    galv_layer_activation_bytes(s, true, GALV_PART_ATTENTION);
        }
        widest = core > widest ? core : widest;
    }
    if (galv_layer_is_op_selective(s, recompute)) {
        /* what is not kept is made again before it is used */
        widest += galv_layer_activation_bytes(s, false, part) -
                  galv_layer_activation_bytes(s, true, part);
    }
    return gathered + widest;
}

/* ---- weights ---- */

int32_t galv_expert_tp(const galv_workload *workload, const galv_layer_group *group,
                       const galv_strategy *strategy)
{
    if (workload->expert_tp > 0 && group->kind == GALV_LAYER_MOE_DECODER) {
        int32_t ranks = strategy->dp * strategy->cp * strategy->tp;
        return ranks % (strategy->ep * workload->expert_tp) == 0 ? workload->expert_tp
                                                                 : 1;
    }
    bool cut = workload->software == GALV_SOFTWARE_MEGATRON &&
               group->kind == GALV_LAYER_MOE_DECODER &&
               strategy->sp != GALV_SP_ULYSSES &&
               group->moe_ffn_hidden_size >= group->hidden_size &&
               strategy->dp * strategy->cp % strategy->ep == 0;
    return cut ? strategy->tp : 1;
}

double galv_padded_vocab(double vocab, double tp, galv_software software)
{
    bool megatron =
        software == GALV_SOFTWARE_MEGATRON || software == GALV_SOFTWARE_DEEPSPEED;
    double unit = (megatron ? 128 : software == GALV_SOFTWARE_OTHER ? 8 : 1) * tp;
    return ceil(vocab / unit) * unit;
}

/* Elements of a weight, or 0 where one of its shape was seen. */
static double add_shape(galv_weight_shapes *seen, double rows, double columns)
{
    for (int32_t i = 0; i < seen->n_shapes; i++) {
        if (fabs(seen->rows[i] - rows) < 0.5 &&
            fabs(seen->columns[i] - columns) < 0.5) {
            return 0;
        }
    }
    if (seen->n_shapes < GALV_MAX_WEIGHT_SHAPES) {
        seen->rows[seen->n_shapes] = rows;
        seen->columns[seen->n_shapes++] = columns;
    }
    return rows * columns;
}

/* The two products of an MLP of `f` columns; nothing where it has none. */
static double add_mlp_shapes(galv_weight_shapes *seen, const galv_layer_group *g,
                             double f)
{
    if (!(f > 0)) {
        return 0;
    }
    double first = add_shape(seen, (g->gated_linear_unit ? 2 : 1) * f, g->hidden_size);
    return first + add_shape(seen, g->hidden_size, f);
}

double galv_layer_add_shapes(galv_weight_shapes *seen, const galv_layer_share *s)
{
    const galv_layer_group *g = s->group;
    if (!galv_layer_is_block(g->kind)) {
        return 0;
    }
    double h = g->hidden_size;
    double a = s->heads_out;
    double groups = g->num_query_groups > s->tp ? g->num_query_groups / s->tp : 1;
    double sum = add_shape(seen, h, a * s->v_dim);
    if (g->kv_lora_rank > 0) {
        double q_in = g->q_lora_rank > 0 ? g->q_lora_rank : h;
        sum += g->q_lora_rank > 0 ? add_shape(seen, g->q_lora_rank, h) : 0;
        sum += add_shape(seen, a * s->qk_dim, q_in);
        sum += add_shape(seen, g->kv_lora_rank + g->qk_rope_head_dim, h);
        sum += add_shape(seen, a * (g->qk_nope_head_dim + s->v_dim), g->kv_lora_rank);
    } else {
        sum += add_shape(seen, (a + 2 * groups) * g->kv_channels, h);
    }
    if (g->kind == GALV_LAYER_CROSS_DECODER) {
        sum += add_shape(seen, a * g->kv_channels, h);
        sum += add_shape(seen, 2 * groups * g->kv_channels, h);
    }
    if (g->kind != GALV_LAYER_MOE_DECODER) {
        return sum + add_mlp_shapes(seen, g, g->ffn_hidden_size / s->tp);
    }
    sum += add_mlp_shapes(seen, g, g->moe_ffn_hidden_size / s->expert_tp);
    return sum + add_mlp_shapes(seen, g, g->moe_shared_ffn_hidden_size / s->tp);
}

galv_local_parameters galv_layer_local_parameters(const galv_model *model,
                                                  const galv_layer_group *group,
                                                  const galv_strategy *strategy,
                                                  const galv_workload *workload,
                                                  int32_t pp)
{
    galv_layer_parameters whole = galv_layer_count_parameters(model, group);
    double tp = strategy->sp == GALV_SP_ULYSSES ? 1 : strategy->tp;
    double h = group->hidden_size;
    double table =
        h * galv_padded_vocab(group->vocab_size, tp, workload->software) / tp;
    double cut = (double)strategy->ep * galv_expert_tp(workload, group, strategy);
    galv_local_parameters local = {whole.dense / tp, whole.experts / cut};
    if (group->kind == GALV_LAYER_EMBEDDING) {
        local.dense = table + h * group->max_positions;
    } else if (group->kind == GALV_LAYER_HEAD) {
        bool own = !model->tied_embeddings || pp > 1;
        local.dense = (own ? table : 0) + 2 * h;
    }
    return local;
}
