/* Galvatron's strategy files, read into a plan of ours and written from one.
 *
 * Format: the galvatron_config_*.json that Hetu-Galvatron's search writes and its
 * runtime reads, at commit cea12ffb. It says how blocks are spread and nothing of what
 * is trained where, so a job goes with it. What becomes what:
 * - pp_deg, pp_division: pp and the blocks of each stage; the embedding goes with the
 *   first, the head with the last.
 * - tp_sizes_enc and use_sp: tp with Megatron's sequence parallelism (Galvatron's
 *   default; the file has no word for it), or the Ulysses degree. dp is what is left of
 *   world_size.
 * - cp_sizes_enc, ep_sizes_enc (read by its runtime, not written by its search): cp and
 *   ep; tp_of_ep_sizes_enc is 1, since plans do not say how experts are cut.
 * - dp_types_enc 1: ZeRO-3; 0: what default_dp_type says (ddp 0, zero2 2, zero3 3).
 * - checkpoint 1: recompute full.
 * - vtp, vsp, vcp and embed_sdp (also as vocab_sdp, which is what its runtime reads at
 *   that commit): the strategy of both embedding and head.
 * - pipeline_type gpipe or pipedream_flush: gpipe or 1f1b; without stages, none.
 * - global_bsz, chunks: the global batch and, by dp of the embedding, the micro-batch.
 * - tp_consecutive_flags: 1, ranks of a tensor-parallel group side by side. */
#ifndef GALV_TRACES_GALVATRON_PLAN_H
#define GALV_TRACES_GALVATRON_PLAN_H

#include "base/arena.h"
#include "base/json.h"
#include "base/status.h"
#include "plan/plan.h"

/* Reads a strategy for a job whose model and cluster are known; sets its workload's
 * global batch. The plan is owned by the arena and has passed galv_plan_check. On
 * failure job and plan are untouched. Errors: GALV_INPUT, with the field, for a file
 * that is wrong or does not fit the job (blocks, world_size), or that says what a plan
 * of ours cannot (strided groups, micro-batches that do not divide). */
galv_status galv_galvatron_plan_from_json(galv_job *job, galv_plan **plan,
                                          galv_json_value value, galv_arena *arena,
                                          galv_err *err);

/* The same from a file. */
galv_status galv_galvatron_plan_load(galv_job *job, galv_plan **plan, const char *path,
                                     galv_arena *arena, galv_err *err);

/* Writes a strategy, embed_sdp and vocab_sdp both, and only what Galvatron can say:
 * reading it again gives the same plan, but for what means nothing (zero where nothing
 * is shared, a schedule's name without stages). Not in the file: sequence length,
 * precision and model, which Galvatron takes from its yaml. Errors: GALV_USAGE naming
 * the field that Galvatron has no word for and the nearest that it has (ZeRO-1,
 * selective recomputation, virtual stages, other schedules, ZeRO-2 beside none, a head
 * unlike the embedding, ...); then nothing is written. */
galv_status galv_galvatron_plan_to_json(const galv_job *job, const galv_plan *plan,
                                        galv_json_writer *writer, galv_err *err);

#endif
