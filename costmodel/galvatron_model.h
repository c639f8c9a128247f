/* Galvatron's own cost model, beside ours.
 *
 * The model that Galvatron's search (PKU-DAIR/Hetu-Galvatron, commit cea12ffb,
 * Apache-2.0) ranks plans by: closed forms over its profiles. It is here so that the
 * two can be compared on the same plan and the same inputs, and equals the published
 * engine in every value (tests/costmodel/galvatron_model_test.c), in what is odd about
 * it, too. Oddities are marked "Odd:". Times are seconds, memory is MiB as in
 * Galvatron.
 *
 * Notation of the formulas: W devices, p stages, t tensor-parallel and u Ulysses
 * degree, k = max(t, u), d data-parallel degree, D = d u ranks that share one gradient,
 * n micro-batches, b samples of one rank in one, S tokens, H hidden size, e bytes of an
 * element (2; fp32: 4), P MiB of a layer's fp32 parameters. A message of activations is
 * b S H e / 2^20 MiB. */
#ifndef GALV_COSTMODEL_GALVATRON_MODEL_H
#define GALV_COSTMODEL_GALVATRON_MODEL_H

#include "base/arena.h"
#include "costmodel/galvatron_inputs.h"
#include "plan/plan.h"
#include "plan/strategy.h"

#include <stdint.h>

/* What all strategies of a plan have in common. */
typedef struct galv_galvatron_task {
    int32_t pp;
    int32_t n_micro_batches;
    int64_t global_batch_size;
    bool gpipe; /* else 1F1B, which Galvatron calls pipedream_flush; the time is the
                   same, the memory is not */
} galv_galvatron_task;

/* One layer, or embedding and head on one stage: one micro-batch. */
typedef struct galv_galvatron_part {
    double sync_s;         /* forward and backward, with the gradients' reduction */
    double no_sync_s;      /* without */
    double states_mib;     /* parameters, gradients, optimizer */
    double activation_mib; /* kept for one micro-batch */
} galv_galvatron_part;

/* Can Galvatron's model cost this strategy in this task? tp * dp * pp = W; cp and ep 1;
 * zero 0, 2 or 3; recompute none or full; with tp > 1 Megatron's sequence parallelism
 * as the inputs have it, or Ulysses; at least one sample for a rank. Errors:
 * GALV_USAGE with the nearest that can be. */
galv_status galv_galvatron_check(const galv_galvatron_inputs *inputs,
                                 const galv_galvatron_task *task,
                                 const galv_strategy *strategy, galv_err *err);

/* Cost of one layer for one micro-batch, of a strategy that galv_galvatron_check
 * accepts. Source: TimeCostModelBase and MemoryCostModelBase. Errors: GALV_INPUT when
 * the profiles do not cover one of its degrees.
 *
 *   b = floor(global batch / n / d). Odd: samples that do not divide are free.
 *   forward  F = slope b/k + constant; backward B = 2 F, 3 F when recomputed
 *   reduce   M = 2 (D-1)/D P/t (halved for 16 bits) at 1/bandwidth c of D ranks,
 *            consecutive when t = 1, else strided
 *   overlap  B and M c slow each other by o: with r = M c o,
 *            r > B o: B o + (M - B o / (c o)) c, else r + B - r / o
 *            Odd: only where d > 1, so Ulysses with d = 1 reduces nothing.
 *   tp       6 all-gathers (9 recomputed), Ulysses 4 all-to-alls (6), of a message each
 *   ZeRO-3   M c / 2, never hidden. Odd: once a micro-batch, not per pass.
 *   p2p      2 p messages for the whole model, a layer's share of them. Odd: not
 *            divided by k.
 *   time   = F + overlap + tp + ZeRO-3 + p2p; without reduction M = 0 in overlap
 *
 *   states = 4 P/t r, r of ZeRO over D ranks with s = 1/D + 0.003:
 *            ZeRO-2 16 bits: n = 1: 7/8 s + 1/8; n > 1: 6/8 s + 2/8, and without
 *            asynchronous reduction (7/8 s + 1/8) 5/4; fp32: n = 1 or without: 3/4 s +
 *            1/4, else 2/4 s + 2/4
 *            ZeRO-3: n = 1: s; without: 5/4 s; else 7/8 s + 1/8 (fp32: 3/4 s + 1/4)
 *            Odd: with d = 1 nothing is divided, though D may be u.
 *   activations = those profiled for k, b times; recomputed: the checkpoint, divided by
 *            k under sequence parallelism or Ulysses. Odd: the layer being recomputed
 *            is not counted. */
galv_status galv_galvatron_layer_cost(galv_galvatron_part *cost,
                                      const galv_galvatron_inputs *inputs,
                                      const galv_galvatron_task *task,
                                      const galv_strategy *strategy, galv_err *err);

/* Cost of embedding, head and loss together, which share one strategy (source:
 * EmbeddingLMHeadTimeCostModel, EmbeddingLMHeadMemoryCostModel): cost[0] on the
 * first stage, cost[1] on the last; with one stage all is in cost[0].
 *
 *   forward F = slope b/k + constant, half on each end when p > 1; backward 2 F
 *   G = the end's states / 4 (halved for 16 bits), z = c (D-1)/D
 *   gathered forward  G z / 2 with ZeRO-3, else 0
 *   reduced backward  G z with ZeRO-3, else G z / 2; G z / 2 less without reduction
 *            Odd: a quarter of what the same bytes cost in a layer.
 *   time = over(gathered, F o) + over(reduced, 2 F o) + an all-gather at each end when
 *          t > 1, over(a, x) = a + (x - a)/o when x > a, else a
 *   states and activations as profiled for the end, ZeRO as for a layer */
galv_status galv_galvatron_ends_cost(galv_galvatron_part cost[2],
                                     const galv_galvatron_inputs *inputs,
                                     const galv_galvatron_task *task,
                                     const galv_strategy *strategy, galv_err *err);

/* Seconds that Galvatron's dynamic program (DpOnModel) charges between two neighbouring
 * layers, not part of the iteration that it reports. Where k differs (and sequence
 * parallelism is on), K the larger: (K-1)/K batch/n/(W/p/K) S H e c 1e-7. Odd: bytes
 * times ms/MiB to seconds is 1e-3 / 2^20, so it is 105 times too much. Else what breaks
 * ties: 1e-10 to Ulysses, 1e-9 to ZeRO-3, 2e-9 to recomputation, 3e-9 to both. Errors
 * as above. */
galv_status galv_galvatron_switch_cost(double *cost_s,
                                       const galv_galvatron_inputs *inputs,
                                       const galv_galvatron_task *task,
                                       const galv_strategy *from,
                                       const galv_strategy *to, galv_err *err);

/* Micro-batches whose activations a stage holds: 1 without stages, n under GPipe, else
 * p - stage. */
int32_t galv_galvatron_in_flight(const galv_galvatron_task *task, int32_t stage);

/* MiB of the buffer that all Megatron-parallel layers share: batch/n/(W/p/tp) H S 4
 * bytes, halved; 0 for tp 0 and without sequence parallelism. Odd: halved for fp32,
 * too. */
double galv_galvatron_buffer_mib(const galv_galvatron_inputs *inputs,
                                 const galv_galvatron_task *task, int32_t tp);

/* MiB that Galvatron keeps free of a budget: a fifth, rounded down, of one above 20
 * GiB (of 21 and more whole GiB). Odd: 21 GiB hold less than 20. */
double galv_galvatron_reserve_mib(double budget_mib);

/* ---- many plans: costs looked up, nothing allocated ---- */

/* Costs of a set of strategies in one task. Owned by the arena, read-only once made,
 * so that threads may share it. */
typedef struct galv_galvatron_table {
    galv_galvatron_task task;
    int32_t n_strategies;
    const galv_strategy *strategies; /* [n_strategies], borrowed */
    galv_galvatron_part *layers;     /* [n_strategies] */
    galv_galvatron_part (*ends)[2];  /* [n_strategies] */
    double *switch_s;                /* [from * n_strategies + to] */
    double *layer_mib;               /* [stage * n_strategies + strategy]: states and
                                        activations in flight, rounded up */
    double *ends_mib;                /* the same of the ends, with the context */
} galv_galvatron_table;

/* Every strategy must pass galv_galvatron_check. O(n_strategies^2 + pp n_strategies).
 * Errors: as the functions above; GALV_NO_MEMORY. */
galv_status galv_galvatron_table_new(galv_galvatron_table **table,
                                     const galv_galvatron_inputs *inputs,
                                     const galv_galvatron_task *task,
                                     const galv_strategy *strategies,
                                     int32_t n_strategies, galv_arena *arena,
                                     galv_err *err);

/* One pipeline stage of a plan. */
typedef struct galv_galvatron_stage {
    double sync_s;     /* layers, with reduction; Odd: without the ends */
    double no_sync_s;  /* layers and ends, without */
    double memory_mib; /* layers and ends, each rounded up, and the buffer, rounded
                          down; without the reserve */
} galv_galvatron_stage;

/* Sums the stages of a plan: layer_strategy[n_blocks] and ends_strategy are indices
 * into the table, blocks [first_block[s], first_block[s + 1]) are on stage s. Fills
 * stages[pp]. O(n_blocks + pp). */
void galv_galvatron_sum_stages(galv_galvatron_stage *stages,
                               const galv_galvatron_table *table,
                               const int32_t *layer_strategy,
                               const int32_t *first_block, int32_t ends_strategy,
                               double buffer_mib);

/* Seconds of one iteration, GPipe and 1F1B alike (source: pipeline_costmodel). C_i and
 * R_i are no_sync_s and sync_s of stage i: T1 = sum C_i + (n-1) C_last A = sum over i
 * >= 1 of C_i, w = min(p-1, n-1) C_0 T2 = max(w, A)/3 + 2 max(w, A)/3 + C_0 max(0,
 * n+1-p) T = max(T1, T2) + max(0, max over i of R_i - sum over j <= i of C_j) Odd: it
 * looks at the first and the last stage only, so a slow one between them costs less
 * than it takes: up to 12 % of the iteration in the plans of its own search. */
double galv_galvatron_pipeline_s(const galv_galvatron_stage *stages, int32_t n_stages,
                                 int32_t n_micro_batches);

/* ---- one plan of ours ---- */

/* Cost of a plan in Galvatron's eyes. */
typedef struct galv_galvatron_cost {
    double iteration_s;
    double samples_per_s;
    int32_t n_stages;
    galv_galvatron_stage *stages; /* [n_stages], owned by the arena */
    int32_t fullest_stage;
    double memory_mib;  /* of the fullest stage, the reserve included */
    double budget_mib;  /* 0: none was given */
    double reserve_mib; /* kept free of the budget */
    bool fits;          /* true without a budget */
} galv_galvatron_cost;

/* Costs a plan that galv_plan_check accepts. `budget_mib`: memory of one GPU, 0 = not
 * asked. The buffer is that of the largest degree in the plan, and 0 where no layer is
 * Megatron-parallel (Galvatron's search tries several and does not write down which).
 * Errors: GALV_USAGE for what Galvatron's model cannot cost (vpp, schedules other than
 * GPipe and 1F1B, a head unlike the embedding, and as in galv_galvatron_check),
 * GALV_INPUT, GALV_NO_MEMORY. */
galv_status galv_galvatron_plan_cost(galv_galvatron_cost *cost,
                                     const galv_galvatron_inputs *inputs,
                                     const galv_plan *plan, double budget_mib,
                                     galv_arena *arena, galv_err *err);

#endif
