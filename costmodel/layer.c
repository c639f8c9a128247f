/* Layers as lists of kernels.
 *
 * A block's parts are those of plan/operation.h:
 *
 *   ATTENTION  norm, QKV product, rotary positions, core, projection, residual;
 *              a cross_decoder's second attention too
 *   MLP        norm, one or two products in, activation, product out, residual
 *   ROUTER     norm, router product, top-k, permutation; shared experts
 *   EXPERTS    one grouped product in, activation, one out; experts may be cut by tp
 *   COMBINE    un-permutation, residual
 *
 * Every product [T, in] x [in, out] has two backward: for its input [T, out] x
 * [out, in], for its weight [out, T] x [T, in], whose output is summed into the
 * gradient buffer (8 bytes an element in fp32). Fused attention runs five products
 * backward for two forward.
 *
 * Bytes of the memory-bound kernels, per element of the tensor they walk: norm 4
 * forward 8 backward; residual and dropout 6 (7) and 5; activation 4 and 6, gated 6 and
 * 10; rotary 4 and 4; unfused softmax with scale, mask, dropout 9 and 11; loss 6 and 6
 * per logit (reads 16 bits and writes the softmax in fp32, and the way back); table
 * look-up 6 and 10. Eager software keeps nothing fused: its norms are in its lower
 * rates (data/memory_bound.csv), rotary positions as complex numbers in fp32 move 20
 * and 20, gated activations 10 and 18.
 *
 * "Selective" recomputation is Megatron's, of the core of attention alone. PyTorch's
 * own, where attention is fused, works by operation: it keeps attention and every
 * second product, and runs the rest again (torchtitan, selective_ac_option = op). Its
 * full recomputation stops once the last tensor that backward needs is made, and so
 * leaves out the layer's last product (torch.utils.checkpoint, early_stop).
 *
 * Left out: biases (fused into products), norms of single heads, dropout's random
 * numbers, the auxiliary loss of routers. */
#include "costmodel/layer_internal.h"

#include <math.h>

/* Is checkpointing PyTorch's own, and not Megatron's? */
static bool is_pytorch(const galv_layer_share *share)
{
    galv_software software = share->workload->software;
    return software == GALV_SOFTWARE_EAGER || software == GALV_SOFTWARE_OTHER;
}

bool galv_layer_is_op_selective(const galv_layer_share *share, galv_recompute recompute)
{
    return recompute == GALV_RECOMPUTE_SELECTIVE && share->fused && is_pytorch(share);
}

/* ---- building blocks ---- */

/* Bytes moved per element of a weight's gradient after the product that makes it, by
 * DeepSpeed's BF16_Optimizer and each micro-batch: added to the 16-bit gradient (6 less
 * the 4 that the product's law has), converted to fp32 (6), added to the sum (12),
 * cleared (2). Source: DeepSpeed, runtime/bf16_optimizer.py, update_hp_grads. */
#define SUMMED_APART_BYTES 22.0

typedef struct walk {
    galv_cost *cost;
    const galv_device_law *law;
    const galv_layer_share *share;
    const galv_gemm_law *gemm;
    double count; /* layers */
    bool forward; /* run forward kernels */
    bool for_input, for_weight;
    double weight_bytes; /* moved per element of a weight gradient */
    double again;        /* share of products run again before backward */
    double again_anyway; /* ... whatever the module */
    bool stops_early;    /* recomputation ends where the last kept tensor is made */
} walk;

/* Products for the gradient of a weight. Transformer Engine makes inputs and gradients
 * narrow once, for the products before, and along both sides (Float8Tensor,
 * MXFP8Tensor), so that here no kernel converts; others convert anew. */
static double weight_time(const walk *w, const galv_gemm_law *law, double batch,
                          double rows, double in, double out)
{
    double time = galv_gemm_time(law, batch, out, in, rows, w->weight_bytes);
    bool kept =
        law->n_points == 0 &&
        galv_software_has(w->share->workload, GALV_CHANGE_HAS_TRANSFORMER_ENGINE);
    return kept ? time -
                      law->convert_bytes * batch * out * rows / law->memory_bytes_per_s
                : time;
}

static void add_product(walk *w, const galv_gemm_law *law, double rows, double in,
                        double out)
{
    double flop = 2 * rows * in * out;
    double time = 0;
    double passes = 0;
    if (w->forward) {
        time += galv_gemm_time(law, 1, rows, out, in, 2);
        passes++;
    }
    if (w->for_input) {
        time += galv_gemm_time(law, 1, rows, in, out, 2);
        passes++;
        if (w->again > 0) {
            time += w->again * galv_gemm_time(law, 1, rows, out, in, 2);
            passes += w->again;
        }
    }
    if (w->for_weight) {
        time += weight_time(w, law, 1, rows, in, out);
        passes++;
        if (w->share->sums_apart) {
            time += SUMMED_APART_BYTES * in * out / w->law->memory.stream_bytes_per_s;
        }
    }
    galv_cost_add(w->cost, w->count * time, galv_gemm_provenance(law, rows, out, in),
                  w->count * passes * flop);
}

static void linear(walk *w, double rows, double in, double out)
{
    add_product(w, w->gemm, rows, in, out);
}

/* The products of all local experts in one grouped kernel. */
static void grouped_linear(walk *w, double rows, double in, double out)
{
    double experts = w->share->local_experts;
    double each = rows / experts;
    double time = 0;
    double passes = 0;
    if (w->forward) {
        time += galv_gemm_time(w->gemm, experts, each, out, in, 2);
        passes++;
    }
    if (w->for_input) {
        time += galv_gemm_time(w->gemm, experts, each, in, out, 2);
        passes++;
    }
    if (w->for_weight) {
        time += weight_time(w, w->gemm, experts, each, in, out);
        passes++;
    }
    galv_cost_add(w->cost, w->count * time, w->gemm->provenance,
                  w->count * passes * 2 * rows * in * out);
}

static void moved_by(walk *w, double forward_bytes, double forward_kernels,
                     double backward_bytes, double backward_kernels)
{
    const galv_memory_law *law = &w->law->memory;
    double wide = w->share->workload->precision <= GALV_TF32 ? 2 : 1;
    /* again: products are kept in part, the rest not at all */
    double times = w->forward + (w->for_input && w->again > 0);
    double time =
        times * galv_memory_time(law, false, wide * forward_bytes, forward_kernels);
    if (w->for_input) {
        time += galv_memory_time(law, true, wide * backward_bytes, backward_kernels);
    }
    galv_cost_add(w->cost, w->count * time, law->provenance, 0);
}

static void moved(walk *w, double forward_bytes, double backward_bytes, double kernels)
{
    moved_by(w, forward_bytes, kernels, backward_bytes, kernels);
}

/* Does every step of a formula read and write memory, most of them in fp32? */
static bool is_eager(const walk *w)
{
    return w->share->workload->software == GALV_SOFTWARE_EAGER;
}

static void norm(walk *w, double rows)
{
    double elements = rows * w->share->group->hidden_size;
    moved_by(w, 4 * elements, GALV_NORM_FORWARD_KERNELS, 8 * elements,
             GALV_NORM_BACKWARD_KERNELS);
}

/* From here on backward runs kernels again: of a chosen module, or anyway. */
static void run_again(walk *w, bool chosen)
{
    w->again = chosen ? 1 : w->again_anyway;
}

static void residual(walk *w, double rows)
{
    double elements = rows * w->share->group->hidden_size;
    double mask = w->share->group->dropout > 0 ? 1 : 0;
    moved(w, (6 + mask) * elements, (4 + mask) * elements, 1);
}

/* Law of the core's products: 16 bits under the 8-bit kinds too. Heads whose rows are
 * not whole units of 16 bytes leave the tensor cores for the vector units, which take
 * two 16-bit numbers where they take one of fp32 (`room` holds that law). Source:
 * NVIDIA, Matrix Multiplication Background, section 4, and the A100's white paper;
 * BigScience's sweeps, where head sizes of 108 run at two thirds of the speed of 104
 * and 112. */
static const galv_gemm_law *core_law(const walk *w, galv_gemm_law *room)
{
    const galv_layer_share *s = w->share;
    galv_precision precision = s->workload->precision;
    bool aligned = fmod(s->qk_dim, 8) == 0 && fmod(s->v_dim, 8) == 0;
    if (!aligned) {
        *room = w->law->gemm[GALV_FP32];
        room->factor *= precision <= GALV_TF32 ? 1 : 0.5;
        return room;
    }
    return &w->law->gemm[precision > GALV_FP16 ? GALV_BF16 : precision];
}

/* The core as separate products over the whole square, with the matrix in memory. */
static void unfused_core(walk *w, double seq_q, double seq_kv, bool again)
{
    const galv_layer_share *s = w->share;
    galv_gemm_law room;
    const galv_gemm_law *law = core_law(w, &room);
    double batch = s->samples * s->heads;
    double flop = galv_attention_flop(s->samples, s->heads, seq_q, seq_kv, s->qk_dim,
                                      s->v_dim, false);
    double forward = galv_gemm_time(law, batch, seq_q, seq_kv, s->qk_dim, 2) +
                     galv_gemm_time(law, batch, seq_q, s->v_dim, seq_kv, 2);
    double square = batch * seq_q * seq_kv;
    double dropout = s->group->dropout > 0 ? 5 : 0;
    double times = (w->forward ? 1 : 0) + (w->for_input && again ? 1 : 0);
    galv_cost_add(w->cost, w->count * times * forward, law->provenance,
                  w->count * times * flop);
    moved(w, (4 + dropout) * square, (6 + dropout) * square, dropout > 0 ? 2 : 1);
    if (!w->for_input) {
        return;
    }
    if (again) {
        double time =
            galv_memory_time(&w->law->memory, false, (4 + dropout) * square, 1);
        galv_cost_add(w->cost, w->count * time, w->law->memory.provenance, 0);
    }
    double backward = galv_gemm_time(law, batch, seq_q, seq_kv, s->v_dim, 2) +
                      galv_gemm_time(law, batch, seq_kv, s->v_dim, seq_q, 2) +
                      2 * galv_gemm_time(law, batch, seq_q, s->qk_dim, seq_kv, 2);
    galv_cost_add(w->cost, w->count * backward, law->provenance, w->count * 2 * flop);
}

/* Work of a step of ring attention after the first, over what the first does, which is
 * causal. Balanced, each rank has an early and a late part of the sequence, and a step
 * leaves out the half that it must not see: 1. PyTorch's ring does so between two
 * ranks. From four on its steps take what whole squares take (factor ring_step_work):
 * 7.3 s each over the layers of Llama-3 8B at 32k tokens a rank, where the step of two
 * ranks takes 4.5 and a whole square at FlashAttention-2's 0.35 of peak 7.3; twice the
 * work at 1.2 times the speed, for it has no mask. Source: torchtitan,
 * llama3_h100_202412. */
static double step_work(const walk *w, bool masked)
{
    return masked && w->share->cp > 2 ? w->law->factors[GALV_FACTOR_RING] : 1;
}

/* Seconds of one pass over the core, forward or backward: under context parallelism one
 * kernel over the rank's own keys and cp - 1 over those that come around, which need no
 * mask. Adds to `done` what is executed. */
static double fused_pass(const walk *w, bool backward, double seq_q, double seq_kv,
                         bool masked, double *done)
{
    const galv_layer_share *s = w->share;
    const galv_attention_law *law = &w->law->attention;
    double piece = seq_kv / s->cp;
    double flop =
        (backward ? 2.5 : 1) * galv_attention_flop(s->samples, s->heads, seq_q, piece,
                                                   s->qk_dim, s->v_dim, masked);
    double time = galv_attention_time(law, backward, masked, flop, piece, s->qk_dim);
    *done += flop;
    if (s->cp > 1) {
        double step = step_work(w, masked) * flop;
        /* half of the queries or half of the keys: rows of three quarters in the mean
         */
        double rows = masked ? 0.75 * piece : piece;
        time += (s->cp - 1) *
                galv_attention_time(law, backward, false, step, rows, s->qk_dim);
        *done += (s->cp - 1) * step;
    }
    return time;
}

static void core(walk *w, double seq_kv, bool masked, bool again)
{
    const galv_layer_share *s = w->share;
    double seq_q = s->seq / s->cp;
    if (!s->fused) {
        unfused_core(w, seq_q, seq_kv, again);
        return;
    }
    double time = 0;
    double done = 0;
    if (w->forward) {
        time += fused_pass(w, false, seq_q, seq_kv, masked, &done);
    }
    if (w->for_input) {
        time += fused_pass(w, true, seq_q, seq_kv, masked, &done);
    }
    galv_cost_add(w->cost, w->count * time, w->law->attention.provenance,
                  w->count * done);
}

/* ---- parts ---- */

static void latent_products(walk *w)
{
    const galv_layer_group *g = w->share->group;
    double rows = w->share->tokens;
    double own = w->share->region_tokens; /* compression is not cut by tp */
    double h = g->hidden_size;
    double q = g->q_lora_rank;
    double kv = g->kv_lora_rank;
    double a = w->share->heads_out;
    double qk = w->share->qk_dim;
    if (q > 0) {
        linear(w, own, h, q);
    } else {
        linear(w, rows, h, a * qk);
    }
    linear(w, own, h, kv + g->qk_rope_head_dim);
    run_again(w, galv_layer_makes_again(w->share, GALV_AGAIN_MLA_UP_PROJ));
    if (q > 0) {
        moved(w, 4 * own * q, 8 * own * q, 1);
        linear(w, rows, q, a * qk);
    }
    moved(w, 4 * own * kv, 8 * own * kv, 1);
    linear(w, rows, kv, a * (g->qk_nope_head_dim + g->v_head_dim));
    /* keys are put together from their two halves */
    moved(w, 8 * rows * a * qk, 8 * rows * a * qk, 2);
    run_again(w, false);
}

static void attention(walk *w, galv_recompute recompute)
{
    const galv_layer_share *s = w->share;
    const galv_layer_group *g = s->group;
    double h = g->hidden_size;
    double d = g->kv_channels;
    double a = s->heads_out;
    double groups = g->num_query_groups > s->tp ? g->num_query_groups / s->tp : 1;
    bool again = recompute == GALV_RECOMPUTE_SELECTIVE && !s->fused &&
                 (s->again == 0 || galv_layer_makes_again(s, GALV_AGAIN_CORE_ATTN));
    run_again(w,
              g->kv_lora_rank > 0 && galv_layer_makes_again(s, GALV_AGAIN_LAYERNORM));
    norm(w, s->region_tokens);
    run_again(w, false);
    if (g->kv_lora_rank > 0) {
        latent_products(w);
    } else {
        linear(w, s->tokens, h, (a + 2 * groups) * d);
        if (s->rotary) {
            double elements = s->tokens * (a + groups) * d;
            double bytes = is_eager(w) ? 20 : 4;
            moved(w, bytes * elements, bytes * elements, is_eager(w) ? 3 : 1);
        }
    }
    core(w, s->seq, s->masked, again);
    linear(w, s->tokens, a * s->v_dim, h);
    residual(w, s->region_tokens);
    if (g->kind == GALV_LAYER_CROSS_DECODER) {
        double encoder_tokens = s->tokens * s->encoder_seq / s->seq;
        norm(w, s->region_tokens);
        linear(w, s->tokens, h, a * d);
        linear(w, encoder_tokens, h, 2 * groups * d);
        core(w, s->encoder_seq, false, again);
        linear(w, s->tokens, a * d, h);
        residual(w, s->region_tokens);
    }
}

static void activation(walk *w, double elements)
{
    if (w->share->group->gated_linear_unit) {
        bool two = is_eager(w);
        moved(w, (two ? 10 : 6) * elements, (two ? 18 : 10) * elements, two ? 2 : 1);
    } else {
        moved(w, 4 * elements, 6 * elements, 1);
    }
}

static void dense_mlp(walk *w, double width)
{
    const galv_layer_share *s = w->share;
    double h = s->group->hidden_size;
    double f = width / s->tp;
    linear(w, s->tokens, h, s->group->gated_linear_unit ? 2 * f : f);
    activation(w, s->tokens * f);
    if (!w->stops_early) {
        linear(w, s->tokens, f, h);
    }
}

static void mlp(walk *w)
{
    norm(w, w->share->region_tokens);
    dense_mlp(w, w->share->group->ffn_hidden_size);
    if (!w->stops_early) {
        residual(w, w->share->region_tokens);
    }
}

static void router(walk *w)
{
    const galv_layer_share *s = w->share;
    const galv_layer_group *g = s->group;
    double rows = s->region_tokens;
    run_again(w, galv_layer_makes_again(s, GALV_AGAIN_LAYERNORM));
    norm(w, rows);
    run_again(w, false);
    add_product(w, &w->law->gemm[GALV_BF16], rows, g->hidden_size, g->num_experts);
    moved(w, 24 * rows * g->num_experts, 24 * rows * g->num_experts, 6);
    double permuted = s->routed_rows * g->hidden_size;
    moved(w, 4 * permuted, 4 * permuted, 2);
    if (g->moe_shared_ffn_hidden_size > 0) {
        dense_mlp(w, g->moe_shared_ffn_hidden_size);
    }
}

static void experts(walk *w)
{
    const galv_layer_share *s = w->share;
    const galv_layer_group *g = s->group;
    double f = g->moe_ffn_hidden_size / s->expert_tp;
    if (s->local_experts > 1) {
        /* rows come sorted by sender and are sorted by expert */
        double elements = s->routed_rows * g->hidden_size;
        moved(w, 8 * elements, 8 * elements, 2);
    }
    grouped_linear(w, s->routed_rows, g->hidden_size, g->gated_linear_unit ? 2 * f : f);
    run_again(w, galv_layer_makes_again(s, GALV_AGAIN_MOE_ACT));
    activation(w, s->routed_rows * f);
    run_again(w, false);
    grouped_linear(w, s->routed_rows, f, g->hidden_size); /* weighted by the router */
}

static void combine(walk *w)
{
    double elements = w->share->routed_rows * w->share->group->hidden_size;
    moved(w, 4 * elements, 6 * elements, 2);
    residual(w, w->share->region_tokens);
}

/* Logits and loss stay in 16 bits, whatever the blocks are computed in. */
static const galv_gemm_law *logit_law(const walk *w)
{
    galv_precision precision = w->share->workload->precision;
    return &w->law->gemm[precision > GALV_FP16 ? GALV_BF16 : precision];
}

/* Time of a product over that of one whose rows are whole units of 16 bytes, for rows
 * of 16-bit elements. Tensor cores take any length, best multiples of 8 elements.
 * Source: NVIDIA, Matrix Multiplication Background, section 4; the times are factors
 * (data/insitu.csv). */
static double misaligned(const walk *w, double columns)
{
    const double *factors = w->law->factors;
    if (w->share->workload->precision <= GALV_TF32 || fmod(columns, 8) == 0) {
        return 1;
    }
    return factors[fmod(columns, 4) == 0   ? GALV_FACTOR_ROWS_OF_8
                   : fmod(columns, 2) == 0 ? GALV_FACTOR_ROWS_OF_4
                                           : GALV_FACTOR_ROWS_OF_2];
}

static void head(walk *w)
{
    const galv_layer_share *s = w->share;
    galv_gemm_law law = *logit_law(w);
    law.factor *= misaligned(w, s->vocab);
    norm(w, s->region_tokens);
    add_product(w, &law, s->head_tokens, s->group->hidden_size, s->vocab);
    double logits = s->head_tokens * s->vocab;
    moved(w, 6 * logits, 6 * logits, 4);
}

static void embedding(walk *w)
{
    const galv_layer_share *s = w->share;
    double elements = s->tokens * s->group->hidden_size;
    if (s->group->kind == GALV_LAYER_PATCH_EMBEDDING) {
        double pixels = (double)s->group->patch_size * s->group->patch_size *
                        s->group->num_channels;
        w->for_input = false;
        linear(w, s->tokens, pixels, s->group->hidden_size);
        return;
    }
    if (s->group->kind == GALV_LAYER_PATCH_MERGE) {
        moved(w, 8 * elements, 8 * elements, 2);
        linear(w, s->tokens, 2.0 * s->group->hidden_size, s->group->hidden_size);
        return;
    }
    double mask = s->group->dropout > 0 ? 5 : 0;
    moved(w, (6 + mask) * elements, (10 + mask) * elements, 2);
}

/* ---- a layer ---- */

static void add_part(walk *w, galv_recompute recompute, int part)
{
    bool whole = part == GALV_PART_WHOLE;
    bool moe = w->share->group->kind == GALV_LAYER_MOE_DECODER;
    if (whole || part == GALV_PART_ATTENTION) {
        attention(w, recompute);
    }
    if (!moe && (whole || part == GALV_PART_MLP)) {
        mlp(w);
    }
    if (moe && (whole || part == GALV_PART_ROUTER)) {
        router(w);
    }
    if (moe && (whole || part == GALV_PART_EXPERTS)) {
        experts(w);
    }
    if (moe && (whole || part == GALV_PART_COMBINE)) {
        combine(w);
    }
}

void galv_layer_add(galv_cost *cost, const galv_device_law *law,
                    const galv_layer_share *share, galv_recompute recompute, int part,
                    int pass, double count)
{
    if (pass == GALV_OP_RECOMPUTE && recompute != GALV_RECOMPUTE_FULL) {
        return;
    }
    bool split_input = pass == GALV_OP_BACKWARD_INPUT;
    bool split_weight = pass == GALV_OP_BACKWARD_WEIGHT;
    bool backward = pass == GALV_OP_BACKWARD;
    double anyway = galv_layer_is_op_selective(share, recompute) ? 0.5 : 0;
    walk w = {cost,
              law,
              share,
              &law->gemm[share->workload->precision],
              count,
              pass == GALV_OP_FORWARD || pass == GALV_OP_RECOMPUTE,
              backward || split_input,
              backward || split_weight,
              share->workload->grad_precision <= GALV_TF32 && !share->sums_apart ? 8
                                                                                 : 4,
              anyway,
              anyway,
              pass == GALV_OP_RECOMPUTE && is_pytorch(share)};
    switch (share->group->kind) {
    case GALV_LAYER_EMBEDDING:
    case GALV_LAYER_PATCH_EMBEDDING:
    case GALV_LAYER_PATCH_MERGE:
        embedding(&w);
        break;
    case GALV_LAYER_HEAD:
        head(&w);
        break;
    default:
        add_part(&w, recompute, part);
        break;
    }
}
