/* What messages carry, against the papers that say so. */
#include "costmodel/costmodel_internal.h"
#include "tests/costmodel/job.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(costmodel_bytes);

#define HIDDEN 4096
#define SEQ    2048
#define VOCAB  51200

static void grouped_job(galv_job *job, int32_t groups)
{
    test_gpt_job(job, 4, HIDDEN, 32, SEQ, VOCAB, 2, 16);
    job->model.groups[1].num_query_groups = groups;
}

static double message(const galv_job *job, const galv_strategy *s, int32_t pp,
                      galv_operation op)
{
    test_plan p;
    galv_cost cost;
    test_uniform_plan(&p, job, s, pp, 1);
    galv_costmodel *model = test_model(job, NULL);
    galv_costmodel_operation(&cost, model, &p.plan, &op);
    galv_costmodel_free(model);
    return cost.message_bytes;
}

/* Jacobs et al. 2023 (arXiv 2309.14509, section 3.1): of N tokens on P ranks the first
 * all-to-all carries queries, keys and values, 3 h N / P, the second the output, h N /
 * P. Of grouped queries, keys and values are g / a as wide. */
Test(costmodel_bytes, ulysses_exchanges_queries_keys_values_and_outputs)
{
    static const int32_t groups[] = {32, 8};
    for (size_t i = 0; i < 2; i++) {
        galv_job job;
        grouped_job(&job, groups[i]);
        galv_strategy s = GALV_STRATEGY_INIT;
        s.tp = 8;
        s.sp = GALV_SP_ULYSSES;
        s.dp = 2;
        galv_operation op = {.kind = GALV_OP_ALL_TO_ALL,
                             .stream = GALV_STREAM_TP,
                             .part = GALV_PART_ATTENTION,
                             .pass = GALV_OP_FORWARD,
                             .first_layer = 1,
                             .n_layers = 1,
                             .peer_stage = -1};
        double both = 2 * message(&job, &s, 1, op);
        double columns = (2 + 2 * groups[i] / 32.0) * HIDDEN;
        cr_expect_float_eq(both, 2 * SEQ / 8.0 * columns, 1, "%d groups: %g",
                           (int)groups[i], both);
    }
}

/* Liu et al. 2023 (arXiv 2310.01889, section 3): each of n - 1 steps passes the keys
 * and values of N / n tokens on; backward, their gradients go round with them. Tensor
 * parallelism leaves 1/t of the groups, but one at least. */
Test(costmodel_bytes, rings_pass_keys_and_values_and_backward_their_gradients)
{
    static const struct {
        int32_t groups, tp;
        double columns;
    } rows[] = {
        {32, 1, 2 * HIDDEN}, {8, 1, 2 * 8 * 128}, {8, 2, 2 * 4 * 128}, {2, 4, 2 * 128}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        galv_job job;
        grouped_job(&job, rows[i].groups);
        galv_strategy s = GALV_STRATEGY_INIT;
        s.tp = rows[i].tp;
        s.sp = s.tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE;
        s.cp = 4;
        s.dp = 4 / s.tp;
        galv_operation op = {.kind = GALV_OP_RING_EXCHANGE,
                             .stream = GALV_STREAM_CP,
                             .part = GALV_PART_ATTENTION,
                             .pass = GALV_OP_FORWARD,
                             .first_layer = 1,
                             .n_layers = 1,
                             .peer_stage = -1};
        double forward = 3 * 2 * SEQ / 4.0 * rows[i].columns;
        cr_expect_float_eq(message(&job, &s, 1, op), forward, 1, "row %zu", i);
        op.pass = GALV_OP_BACKWARD;
        cr_expect_float_eq(message(&job, &s, 1, op), 2 * forward, 1, "row %zu", i);
    }
}

/* Parameters of a GPT block: 12 h^2 + 13 h (Narayanan et al. 2021, eq. 2). Gradients
 * are reduced as they are summed, in 4 bytes or 2, weights gathered in 2. */
Test(costmodel_bytes, gradients_are_reduced_as_they_are_summed)
{
    galv_job job;
    grouped_job(&job, 32);
    const double block = 12.0 * HIDDEN * HIDDEN + 13.0 * HIDDEN;
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = 16;
    s.zero = 1;
    galv_operation op = {.kind = GALV_OP_REDUCE_SCATTER,
                         .stream = GALV_STREAM_DP,
                         .part = GALV_PART_DENSE,
                         .pass = GALV_OP_BACKWARD,
                         .first_layer = 1,
                         .n_layers = 2,
                         .peer_stage = -1};
    cr_expect_float_eq(message(&job, &s, 1, op), 4 * 2 * block, 1);
    job.workload.grad_precision = GALV_BF16;
    cr_expect_float_eq(message(&job, &s, 1, op), 2 * 2 * block, 1);
    job.workload.grad_precision = GALV_FP32;
    op.kind = GALV_OP_ALL_GATHER;
    op.pass = GALV_OP_FORWARD;
    cr_expect_float_eq(message(&job, &s, 1, op), 2 * 2 * block, 1);
}

static double reduction_s(int32_t year, int kind)
{
    galv_job job;
    grouped_job(&job, 32);
    job.workload.software_year = year;
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = 8;
    s.zero = 1;
    galv_operation op = {.kind = kind,
                         .stream = GALV_STREAM_DP,
                         .part = GALV_PART_DENSE,
                         .pass = GALV_OP_BACKWARD,
                         .first_layer = 1,
                         .n_layers = 2,
                         .peer_stage = -1};
    test_plan p;
    galv_cost cost;
    test_uniform_plan(&p, &job, &s, 2, 1);
    galv_costmodel *model = test_model(&job, NULL);
    galv_costmodel_operation(&cost, model, &p.plan, &op);
    galv_costmodel_free(model);
    return cost.work_s;
}

/* The pipeline engine of DeepSpeed, which sharded for Megatron-LM before 2023,
 * all-reduces gradients even where ZeRO-1 shards the optimizer
 * (deepspeed/runtime/pipe/engine.py, _exec_reduce_grads): twice the bytes of the
 * reduce-scatter that Megatron-LM does. */
Test(costmodel_bytes, deepspeeds_pipelines_sum_gradients_whole)
{
    double scattered = reduction_s(2025, GALV_OP_REDUCE_SCATTER);
    double whole = reduction_s(2025, GALV_OP_ALL_REDUCE);
    double deepspeed = reduction_s(2022, GALV_OP_REDUCE_SCATTER);
    cr_expect_gt(whole, 1.7 * scattered);
    cr_expect_float_eq(deepspeed / whole, 1, 0.1, "%g", deepspeed / whole);
}

/* First and last stage sum the gradient of the table of words that they share
 * (Megatron-LM, allreduce_word_embedding_grads): V h / t elements. The table of
 * positions is the first stage's alone. */
Test(costmodel_bytes, tied_stages_reduce_the_table_of_words)
{
    for (int32_t tp = 1; tp <= 8; tp *= 2) {
        galv_job job;
        grouped_job(&job, 32);
        galv_strategy s = GALV_STRATEGY_INIT;
        s.tp = tp;
        s.dp = 8 / tp;
        galv_operation op = {.kind = GALV_OP_ALL_REDUCE,
                             .stream = GALV_STREAM_DP,
                             .part = GALV_PART_TIED,
                             .pass = GALV_OP_BACKWARD,
                             .n_layers = 1,
                             .peer_stage = 1};
        double table = 4.0 * VOCAB * HIDDEN / tp;
        cr_expect_float_eq(message(&job, &s, 2, op) / table, 1, 1e-9, "tp %d: %g",
                           (int)tp, message(&job, &s, 2, op) / table);
    }
}

static galv_cost forward_cost(const galv_job *job, const galv_strategy *s,
                              galv_part part, int32_t layer)
{
    test_plan p;
    test_uniform_plan(&p, job, s, 1, 1);
    galv_costmodel *model = test_model(job, NULL);
    galv_cost cost = test_op(model, &p, GALV_OP_FORWARD, part, layer, 1);
    galv_costmodel_free(model);
    return cost;
}

static double kept_by_core(const galv_job *job, int32_t tp)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = tp;
    s.dp = 16 / tp;
    galv_cost cost = forward_cost(job, &s, GALV_PART_ATTENTION, 1);
    return cost.start_bytes[GALV_MEMORY_ACTIVATIONS] +
           cost.end_bytes[GALV_MEMORY_ACTIVATIONS];
}

static double kept_by_attention(int32_t groups, int32_t tp)
{
    galv_job job;
    grouped_job(&job, groups);
    job.workload.flash_attention = true;
    return kept_by_core(&job, tp);
}

/* Ainslie et al. 2023 (arXiv 2305.13245): keys and values of g groups are g / a as wide
 * as those of a heads, and kept as such: 2 s (a - g) d elements less, over the ranks
 * that cut them. */
Test(costmodel_bytes, grouped_queries_keep_fewer_keys_and_values)
{
    for (int32_t tp = 1; tp <= 8; tp *= 2) {
        double less = kept_by_attention(32, tp) - kept_by_attention(8, tp);
        double elements = 2.0 * SEQ * (32 - 8) * 128 / tp;
        cr_expect_float_eq(less / (2 * elements), 1, 1e-9, "tp %d: %g", (int)tp,
                           less / (2 * elements));
    }
}

static double kept_with_heads(int32_t heads, int32_t tp)
{
    galv_job job;
    test_gpt_job(&job, 4, HIDDEN, heads, SEQ, VOCAB, 2, 16);
    job.workload.flash_attention = true;
    return kept_by_core(&job, tp);
}

/* Dao 2023 (arXiv 2307.08691, section 3.1): of the square a fused kernel keeps the
 * logarithm of the sum of each row, 4 bytes for every token and head. */
Test(costmodel_bytes, fused_attention_keeps_a_number_a_row)
{
    for (int32_t tp = 1; tp <= 8; tp *= 2) {
        double more = kept_with_heads(64, tp) - kept_with_heads(32, tp);
        cr_expect_float_eq(more, 4.0 * SEQ * 32 / tp, 1, "tp %d: %g", (int)tp, more);
    }
}

static double weights_held(int32_t tp, galv_sp sp)
{
    galv_job job;
    grouped_job(&job, 32);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = tp;
    s.sp = sp;
    s.dp = 16 / tp;
    test_plan p;
    galv_stage_memory memory;
    test_uniform_plan(&p, &job, &s, 1, 1);
    galv_costmodel *model = test_model(&job, NULL);
    galv_costmodel_stage_memory(&memory, model, &p.plan, 0);
    galv_costmodel_free(model);
    return memory.bytes[GALV_MEMORY_PARAMETERS];
}

/* Ulysses shares the sequence and no weights: every rank holds them whole (Jacobs et
 * al. 2023, section 3.2: memory of the model is left to ZeRO). */
Test(costmodel_bytes, ulysses_leaves_weights_whole)
{
    double whole = weights_held(1, GALV_SP_NONE);
    for (int32_t tp = 2; tp <= 8; tp *= 2) {
        cr_expect_float_eq(weights_held(tp, GALV_SP_ULYSSES), whole, 1);
        cr_expect_lt(weights_held(tp, GALV_SP_MEGATRON), 0.55 * whole);
    }
}

static double kept_by_head(int32_t vocab, int32_t tp)
{
    galv_job job;
    test_gpt_job(&job, 4, HIDDEN, 32, SEQ, vocab, 2, 16);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = tp;
    s.dp = 16 / tp;
    galv_cost cost = forward_cost(&job, &s, GALV_PART_WHOLE, 5);
    double kept = 0;
    for (int use = 0; use < GALV_N_MEMORY_USES; use++) {
        kept += cost.start_bytes[use] + cost.end_bytes[use];
    }
    return kept;
}

/* Korthikanti et al. 2022, section 4.3: logits in 32 bits, 4 s b v bytes over the
 * tensor-parallel ranks. */
Test(costmodel_bytes, logits_are_kept_in_32_bits)
{
    for (int32_t tp = 1; tp <= 8; tp *= 2) {
        double more = kept_by_head(2 * VOCAB, tp) - kept_by_head(VOCAB, tp);
        cr_expect_float_eq(more / (4.0 * SEQ * VOCAB / tp), 1, 1e-9, "tp %d: %g",
                           (int)tp, more / (4.0 * SEQ * VOCAB / tp));
    }
}

/* An encoder of 512 tokens over a decoder of 128: Raffel et al. 2020 (arXiv
 * 1910.10683), section 2.1: every block of the decoder attends to the encoder's output.
 */
static void encoder_decoder(galv_job *job, int32_t encoder_seq)
{
    test_gpt_job(job, 2, 1024, 16, 128, 32128, 1, 8);
    galv_layer_group *g = job->model.groups;
    job->model.n_groups = 4;
    g[3] = g[2];
    g[2] = g[1];
    g[1].kind = GALV_LAYER_ENCODER;
    g[1].seq_length = encoder_seq;
    g[2].kind = GALV_LAYER_CROSS_DECODER;
    g[2].linear_bias = false;
    job->workload.flash_attention = true;
}

/* A message between two stages of the decoder carries its own activations and the
 * encoder's output, which later blocks attend to as well. */
Test(costmodel_bytes, the_encoders_output_goes_along_the_decoder)
{
    galv_job job;
    encoder_decoder(&job, 512);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = 4;
    galv_operation op = {.kind = GALV_OP_SEND,
                         .stream = GALV_STREAM_PP_SEND,
                         .pass = GALV_OP_FORWARD,
                         .first_layer = 3,
                         .n_layers = 1,
                         .peer_stage = 1};
    cr_expect_float_eq(message(&job, &s, 2, op), 2.0 * (128 + 512) * 1024, 1);
}

static double cross_flop(int32_t encoder_seq)
{
    galv_job job;
    encoder_decoder(&job, encoder_seq);
    galv_strategy s = GALV_STRATEGY_INIT;
    s.dp = 8;
    galv_cost cost = forward_cost(&job, &s, GALV_PART_ATTENTION, 3);
    return cost.flop;
}

/* Each token of the encoder more takes its key and its value, 4 h^2, and is attended to
 * by every token of the decoder, 4 s h. */
Test(costmodel_bytes, cross_attention_makes_keys_and_values_of_the_encoders_tokens)
{
    double more = (cross_flop(1024) - cross_flop(512)) / 512;
    cr_expect_float_eq(more / (4.0 * 1024 * 1024 + 4.0 * 128 * 1024), 1, 1e-9, "%g",
                       more);
}

/* FLOP of the decoder's blocks alone: those of one encoder block taken off twice over.
 */
static double decoder_flop(int32_t encoder_seq)
{
    double flop[2];
    for (int32_t n = 1; n <= 2; n++) {
        galv_job job;
        encoder_decoder(&job, encoder_seq);
        job.model.groups[1].n_layers = n;
        flop[n - 1] = galv_count_model_flop(&job);
    }
    return 2 * flop[0] - flop[1];
}

/* The same products in what MFU counts, backward twice as much as forward: of 8 samples
 * and two blocks. */
Test(costmodel_bytes, mfu_counts_the_keys_and_values_of_the_encoders_tokens)
{
    double more = (decoder_flop(1024) - decoder_flop(512)) / 512;
    double each = 4.0 * 1024 * 1024 + 4.0 * 128 * 1024;
    cr_expect_float_eq(more / (3 * 8 * 2 * each), 1, 1e-9, "%g", more);
}
