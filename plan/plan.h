/* The job (what to train on what) and the plan (how).
 *
 * A plan document is self-contained: model, cluster, workload and plan are written in
 * one file, so that simulating it again gives the same answer to the last bit. */
#ifndef GALV_PLAN_PLAN_H
#define GALV_PLAN_PLAN_H

#include "base/arena.h"
#include "base/json.h"
#include "plan/cluster.h"
#include "plan/model.h"
#include "plan/order.h"
#include "plan/strategy.h"
#include "plan/workload.h"

#include <stdint.h>

typedef struct galv_job {
    galv_model model;
    galv_cluster cluster;
    galv_workload workload;
} galv_job;

/* What the software hides behind computation, as frameworks switch it. */
typedef struct galv_overlap {
    bool grad_reduce;  /* reduce gradients by bucket while backward goes on */
    bool param_gather; /* gather ZeRO parameters behind the first forward */
    bool tp_comm;      /* tensor-parallel collectives behind their matrix products */
    bool p2p;          /* pipeline messages are asynchronous */
    bool step;         /* no stage waits for the others at the optimizer step, which is
                          validated afterwards: iterations follow one another stage by
                          stage. Source: Qi et al. 2023, arXiv 2401.10241, section 4 */
} galv_overlap;

#define GALV_OVERLAP_INIT              \
    {                                  \
        true, true, false, true, false \
    }

/* A plan. Virtual stage s (0 .. pp*vpp-1) holds layers
 * [first_layer[s], first_layer[s + 1]) and is chunk s / pp of stage s % pp for looped
 * schedules; schedules of another shape (V) say so themselves (schedule/schedule.h).
 * All pointers are owned by the arena that the plan was made in. */
/* How ranks count through the groups of a plan, fastest first, and so fill the nodes:
 * data parallelism inside the pipeline (Megatron Core's usual order), or the pipeline
 * inside data parallelism (its --use-tp-pp-dp-mapping). */
typedef enum galv_rank_order {
    GALV_RANK_ORDER_DP_INSIDE,
    GALV_RANK_ORDER_PP_INSIDE,
    GALV_N_RANK_ORDERS
} galv_rank_order;

extern const char *const galv_rank_order_names[GALV_N_RANK_ORDERS];

typedef struct galv_plan {
    int32_t pp;
    int32_t vpp;
    char schedule[24];        /* a name of schedule/schedule.h: "1f1b" */
    int32_t group_size;       /* interleaved: micro-batches per group; 0 = pp */
    int32_t micro_batch_size; /* samples per data-parallel rank of layer 0 */
    int64_t global_batch_size;
    int32_t n_layers; /* = galv_model_n_layers */
    int32_t n_strategies;
    galv_strategy *strategies; /* [n_strategies], distinct */
    int32_t *layer_strategy;   /* [n_layers] index into strategies */
    int32_t *first_layer;      /* [pp * vpp + 1], ascending, 0 .. n_layers */
    galv_overlap overlap;
    char rank_order[24];     /* of galv_rank_order_names: fastest first */
    const galv_order *order; /* where `schedule` is one's own ("custom"), else NULL */
} galv_plan;

/* The strategy of a layer. */
const galv_strategy *galv_plan_strategy(const galv_plan *plan, int32_t layer);

/* Micro-batches of one step: global_batch_size / (micro_batch_size * dp). */
int32_t galv_plan_n_micro_batches(const galv_plan *plan);

/* Samples of one micro-batch on one rank of a layer's own dp (differs from
 * micro_batch_size where dp differs from layer 0's). */
double galv_plan_local_samples(const galv_plan *plan, int32_t layer);

/* The same on a rank of the first block, whose degrees stand for a plan in one line:
 * what one calls its micro-batch. */
int32_t galv_plan_micro_batch(const galv_plan *plan);

/* Its rank order; one that is not known counts as the usual. */
galv_rank_order galv_plan_rank_order(const galv_plan *plan);

/* Devices the plan uses: dp * cp * tp * pp. */
int64_t galv_plan_n_devices(const galv_plan *plan);

/* Parameters of a uniform plan: one strategy for all layers. */
typedef struct galv_uniform_plan {
    galv_strategy strategy;
    int32_t pp, vpp;
    const char *schedule; /* NULL: none/1f1b/interleaved by pp and vpp */
    int32_t micro_batch_size;
    galv_overlap overlap;
    const int32_t *stage_blocks; /* [pp * vpp] blocks of each virtual stage; NULL =
                                    balanced, see galv_plan_balance */
} galv_uniform_plan;

/* Blocks of each virtual stage, stage_blocks[pp * vpp], as evenly as can be: n_blocks /
 * (pp * vpp) each; of the remainder, full rounds of pp add one block to the middle
 * chunks of all stages, the rest one block to the middle stages. Virtual stage s is
 * chunk s / pp of stage s % pp. With pp * vpp = n_blocks + 1 the last virtual stage
 * holds the head alone, with n_blocks + 2 the first holds the embedding alone, too. */
void galv_plan_balance(int32_t *stage_blocks, int32_t n_blocks, int32_t pp,
                       int32_t vpp);

/* Builds a plan in the arena: splits blocks evenly over the virtual stages (remainders
 * go to the middle ones, whose neighbours hold embedding and head), puts the embedding
 * on the first and the head on the last. Checks it with galv_plan_check. */
galv_status galv_plan_make_uniform(galv_plan **plan, const galv_job *job,
                                   const galv_uniform_plan *parameters,
                                   galv_arena *arena, galv_err *err);

/* Gives a plan another order of ranks. Errors: GALV_USAGE, its groups do not lie on the
 * cluster so (galv_placement_check). */
galv_status galv_plan_set_rank_order(galv_plan *plan, galv_rank_order order,
                                     const galv_job *job, galv_err *err);

/* The same with a strategy for every layer: layer_strategies[galv_model_n_layers], each
 * with the same tp * cp * dp; parameters->strategy is not read. Strategies are taken as
 * they are, so experts and recomputation only where the layer has them. */
galv_status galv_plan_make_layered(galv_plan **plan, const galv_job *job,
                                   const galv_uniform_plan *parameters,
                                   const galv_strategy *layer_strategies,
                                   galv_arena *arena, galv_err *err);

/* A copy, owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_plan_copy(galv_plan **copy, const galv_plan *plan, galv_arena *arena,
                           galv_err *err);

/* The strategy that a layer can take of one for all layers: no experts' degree where
 * there are none, no recomputation of what is not a block. */
galv_strategy galv_plan_strategy_for(const galv_strategy *strategy,
                                     const galv_layer_group *layer);

/* Does the plan fit the job? Degrees multiply to the cluster, every strategy may
 * spread its layers, batches divide, stages hold layers, vpp and schedule agree.
 * (Memory is the simulator's business.) Errors: GALV_USAGE with the numbers and the
 * nearest ones that work. */
galv_status galv_plan_check(const galv_plan *plan, const galv_job *job, galv_err *err);

/* "tp8 pp4 dp16 v5 mb1 zero1 sp": one line for tables and titles. Leaves out degrees
 * of 1 (but dp), writes "per-layer" where strategies of blocks differ (and then every
 * degree that one has: "tp2/4"), "vtp2" where embedding or head have another degree
 * than all blocks, "uneven" where virtual stages differ by more than one layer. */
char *galv_plan_print(char *buffer, size_t size, const galv_plan *plan);

/* "tp2 dp4 zero1 sp recompute": a strategy as above. Returns `buffer`. */
char *galv_strategy_print(char *buffer, size_t size, const galv_strategy *strategy);

/* Makes an order of one's own the plan's schedule, and checks that it has the plan's
 * stages, chunks and micro-batches. The order must live as long as the plan. Errors:
 * GALV_USAGE, and the plan as it was. */
galv_status galv_plan_set_order(galv_plan *plan, const galv_order *order,
                                galv_err *err);

/* The plan document ("schema": "galvatron-sim/plan", "schema_version": "1.0"): job and
 * plan in one. Layers are written run-length. A result document (galvatron-sim/result
 * or /plans, whose first plan is taken) is accepted too: its "plan" member is read. */
galv_status galv_plan_load(galv_job *job, galv_plan **plan, const char *path,
                           galv_arena *arena, galv_err *err);
galv_status galv_plan_from_json(galv_job *job, galv_plan **plan, galv_json_value value,
                                galv_arena *arena, galv_err *err);
void galv_plan_to_json(const galv_job *job, const galv_plan *plan,
                       galv_json_writer *writer);

/* Fills what the workload leaves open: seq_length from the model, global_batch_size as
 * about 4 Mi tokens, rounded to a multiple of the number of devices. */
void galv_job_fill_defaults(galv_job *job);

#endif
