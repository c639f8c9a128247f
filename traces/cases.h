/* Cases: measured whole iterations, one per row, to hold predictions against.
 *
 * Columns are those of docs/formats.md ("cases"); a column that is absent is as if
 * every cell of it were empty. A case says what was run; making a job and a plan of it
 * is galv_case_to_plan's. */
#ifndef GALV_TRACES_CASES_H
#define GALV_TRACES_CASES_H

#include "base/arena.h"
#include "base/csv.h"
#include "base/status.h"
#include "plan/plan.h"

#include <stddef.h>

typedef struct galv_case {
    const char *case_id;
    const char *sweep; /* "" = none */
    const char *source;
    const char *software;
    const char *gpu;
    const char *model_family;
    const char *notes;
    long line; /* in its file, for messages */
    const char *file;
    int32_t software_year;
    int32_t gpus_per_node;
    int32_t num_gpus;
    double intra_bytes_per_s; /* 0 = not stated */
    double inter_bytes_per_s;
    galv_model model; /* as the row states it, embedding and head included; n_groups 0
                         where the row has stage times only */
    const char *precision;
    int32_t tp, cp, ep, pp, vpp, dp, zero;
    const char *sp;       /* "0", "1", "ulysses" */
    const char *schedule; /* "" = the usual one for pp and vpp */
    const char *recompute;
    int32_t micro_batch_size;
    int64_t global_batch_size;
    bool flash_attention, overlap_grad_reduce, overlap_param_gather, tp_comm_overlap;
    bool causal_attention;
    int32_t expert_tp; /* ranks that an expert is cut over; 0 = as the software does */
    bool vocab_unpadded;      /* logits are cut without padding */
    bool launch_blocking;     /* the host waits for each kernel */
    const char *stage_layers; /* "2-3-3-2"; "" = even */
    double iteration_time_s;  /* measured; 0 = not measured */
    double peak_memory_bytes; /* measured; 0 = not measured */
    const char *memory_kind;  /* torch_peak, torch_reserved, nvidia_smi, unknown, "" */
    double noise_frac;        /* 0 = not known */
    const char *confidence;

    /* stage times, where the case gives them (whole stage, all chunks); 0 = not */
    double t_f_s, t_b_s, t_w_s, t_comm_s;
    int32_t n_micro_batches; /* column micro_batches; 0 = by the batch sizes */
    double memory_limit_activations;

    const char *fault; /* why the row could not be read; NULL = it was. Of others only
                          case_id, source, sweep, file and line can be relied on */
} galv_case;

/* Reads every case of a file into the arena, in file order. What an empty cell means:
 * degrees, micro_batch_size: 1; dp: num_gpus / (tp cp pp); gpus_per_node: 8; precision
 * bf16; software other; recompute none; sp, zero: 0; num_query_groups: the heads;
 * ffn_hidden_size: 4 x hidden, where gated 8/3 x hidden up to a multiple of 256
 * (Llama's rule, meta-llama/llama model.py); flash_attention, causal_attention,
 * overlap_grad_reduce, overlap_param_gather: 1; tp_comm_overlap: 0; expert_tp: as the
 * software does; tied_embeddings: as the family does; vocab_unpadded: 0;
 * launch_blocking: 1 where the notes state CUDA_LAUNCH_BLOCKING=1, else 0. Errors:
 * GALV_INPUT for a number out of range, an unknown word, an absent or repeated case_id,
 * a row with neither a model nor stage times. */
galv_status galv_cases_read(galv_case **cases, size_t *n_cases, const char *path,
                            galv_arena *arena, galv_err *err);

/* The same, but a row that is wrong becomes a case with a fault; of the first such row
 * `first_wrong` holds the error, and it is untouched when there is none. What concerns
 * the whole table (its syntax, a repeated case_id) is an error still. */
galv_status galv_cases_read_each(galv_case **cases, size_t *n_cases, const char *path,
                                 galv_err *first_wrong, galv_arena *arena,
                                 galv_err *err);

/* galv_cases_read from a table that is read already; the table's arena must live as
 * long as the cases. */
galv_status galv_cases_read_table(galv_case **cases, size_t *n_cases,
                                  const galv_csv *table, galv_arena *arena,
                                  galv_err *err);

/* The job and the plan of a case. Fails with GALV_UNAVAILABLE when the case needs what
 * does not exist here (the message says what), GALV_INPUT when it contradicts
 * itself.
 *
 * What a row does not say is taken from its family and its software:
 * - gpt: LayerNorm, biases, learned positions, tied embeddings; dropout 0.1 (the
 *   default of Megatron-LM) with megatron of 2021 and 2022, and later where attention
 *   is not fused (the same code paths), else 0. Models named Nemotron*: no biases,
 * rotary positions, untied (arXiv 2402.16819).
 * - llama: RMSNorm, no biases, rotary positions, untied embeddings.
 * - moe: every block has experts; RMSNorm where gated, else LayerNorm; no biases;
 * rotary positions; untied.
 * - bert: encoder, otherwise gpt. t5: num_layers encoders and as many decoders,
 *   otherwise gpt. vit: patches of 16 in 3 colours, vocab_size = classes, untied.
 * - head size = hidden / heads; vocab_size as stated (padding is the cost model's).
 * - gradients: megatron accumulates and reduces in fp32 with bf16 and the 8- and 4-bit
 *   types, in fp16 with fp16 (--accumulate-allreduce-grads-in-fp32 is implied by --bf16
 *   only), and in bf16 since 2023 where a distributed optimizer overlaps its reduction
 *   and tensor parallelism, if any, its collectives (NVIDIA's recipes do, and set
 *   grad_reduce_in_fp32 to false); eager and other: fp32 (FSDP's reduce_dtype as the
 *   benchmarks set it); deepspeed and oneflow: the 16-bit type.
 * - weights of 8-bit products: in 8 bits alone with megatron and a distributed
 * optimizer (fp8_param_gather of NVIDIA's recipes).
 * - pipeline messages are asynchronous in interleaved schedules since 2022 and in
 *   zero-bubble ones, else not (Megatron-LM: --overlap-p2p-communication exists for
 *   interleaving only; zero-bubble-pipeline-parallelism: communication.py).
 * - the optimizer step of zero-bubble schedules (zb-*) with fp16 does not wait for all
 *   stages: it is validated afterwards (Qi et al. 2023, arXiv 2401.10241, section 4);
 * their software has that for fp16 alone.
 * - nodes: num_gpus in domains of gpus_per_node; the last one may be part full. A
 *   device that is wired in a torus lies in one only where the row gives no rates.
 * - schedule: the same order has one name. One stage: none, and vpp 1. "other" or
 * empty: 1f1b. 1f1b of several chunks is interleaved and the reverse, gpipe of several
 * chunks breadth-first. Schedules in a V (plan/chunks.h) have two chunks where vpp is
 * 1; dualpipe's two copies are no chunks where vpp is 2.
 * - stage_layers: blocks per stage; over the chunks of a stage as evenly as possible,
 *   the first chunk of the first stage (embedding) and the last chunk of the last stage
 *   (head) getting the fewest. */
galv_status galv_case_to_plan(galv_job *job, galv_plan **plan, const galv_case *stated,
                              galv_arena *arena, galv_err *err);

#endif
