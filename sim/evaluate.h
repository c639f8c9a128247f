/* From plan to answer: compile, price, simulate, sum up.
 *
 * Usually one rank stands for each pipeline stage (folded). Where ranks differ, or
 * links are shared between groups, every rank of the cluster is simulated. */
#ifndef GALV_SIM_EVALUATE_H
#define GALV_SIM_EVALUATE_H

#include "base/json.h"
#include "costmodel/costmodel.h"
#include "plan/plan.h"
#include "sim/monte_carlo.h"
#include "sim/peak.h"
#include "sim/prices.h"
#include "sim/simulate.h"

typedef struct galv_stage_result {
    int32_t stage;
    int32_t n_layers; /* blocks */
    double busy_s;
    double peak_memory_bytes;
    double memory_limit_bytes;         /* of its devices */
    double memory[GALV_N_MEMORY_USES]; /* at the peak */
    galv_peak peak;                    /* when that was, and what was held */
} galv_stage_result;

/* What only a simulation of every rank can tell. */
typedef struct galv_cluster_result {
    int64_t n_ranks;       /* simulated one by one; 0: folded */
    double folded_time_s;  /* the iteration without differences, nothing shared */
    double waiting_s;      /* idle, mean over ranks: waiting for the slower ranks of
                              one's own collectives */
    int64_t slowest_rank;  /* computes longest */
    double slowest_busy_s; /* its computation; the mean over its stage: */
    double stage_busy_s;
    uint64_t n_flow_changes; /* on the shared network */
    galv_spread spread;      /* over drawn runs; the rest of the result is of the
                                median run */
} galv_cluster_result;

typedef struct galv_result {
    double iteration_time_s;
    double tokens_per_s;
    double tokens_per_s_per_gpu;
    double samples_per_s;
    double model_tflops_per_gpu;    /* 1e12 FLOP/s, model FLOP */
    double hardware_tflops_per_gpu; /* executed FLOP */
    double mfu, hfu;                /* of the peak, 0..1 */
    double peak_memory_bytes;       /* of the stage that is fullest for its devices */
    double memory_limit_bytes;      /* of those */
    bool fits;
    double bubble_frac; /* mean over stages */
    double exposed_comm_frac;
    double breakdown_s[GALV_N_BREAKDOWNS]; /* mean over stages */
    double provenance[GALV_N_PROVENANCES]; /* share of priced seconds, adds up to 1 */
    uint64_t events;
    double wall_s; /* of the evaluation; not part of the answer */
    int32_t n_stages;
    galv_stage_result *stages; /* [n_stages] */
    galv_timeline timeline;    /* when asked for, titled */
    bool stopped;              /* see galv_sim_result */
    galv_cluster_result cluster;
} galv_result; /* arrays are owned by the arena */

typedef struct galv_evaluate_options {
    galv_sim_options sim;
    bool all_ranks;     /* simulate every rank; implied by the two below */
    bool share_network; /* the links of the cluster, by max-min fairness; slow links
                           need it */
    const galv_differences *differences; /* NULL: none */
    int32_t n_runs;       /* > 0: draw so many iterations and show their spread */
    int n_jobs;           /* threads for those; 0 = 1 */
    bool attribute_peaks; /* fill galv_peak whole; where every rank is simulated, of the
                             fullest rank of each stage */
    bool whole; /* simulate every micro-batch even where very many are alike: else an
                   iteration that has settled into a rhythm is extended from shorter
                   ones (sim/steady.c), unless its timeline is recorded */
    galv_prices *prices; /* this plan's, or NULL */
    bool by_pass; /* play passes by themselves where that is the same (sim/bodies.c):
                     the same to the bit, but for what is told of single operations. Not
                     with a timeline or every rank. What takes longer than stop_at_s is
                     found out from passes played once each */
    const atomic_bool *cancel; /* draw no more iterations once it is true; NULL = never
                                */
} galv_evaluate_options;

#define GALV_EVALUATE_OPTIONS_INIT                                                  \
    {                                                                               \
        GALV_SIM_OPTIONS_INIT, false, false, NULL, 0, 0, false, false, NULL, false, \
            NULL                                                                    \
    }

/* Evaluates one plan. A plan that does not fit in memory is simulated all the same,
 * with fits = false. A timeline of every rank shows the pipeline of the slowest
 * straggler. Errors: as galv_program_compile, galv_simulate, galv_all_ranks_simulate
 * and galv_network_new. */
galv_status galv_evaluate(galv_result *result, const galv_costmodel *model,
                          const galv_plan *plan, const galv_evaluate_options *options,
                          galv_arena *arena, galv_err *err);

/* The stage that fills the largest share of what its devices have; the first of such.
 */
int32_t galv_result_fullest_stage(const galv_result *result);

/* About how many operations galv_evaluate plays for a plan, folded. */
double galv_evaluate_ops(const galv_job *job, const galv_plan *plan);

/* Prices every class of a program: costs[n_classes], owned by the arena. */
galv_status galv_price_program(galv_cost **costs, const galv_costmodel *model,
                               const galv_plan *plan, const galv_program *program,
                               galv_arena *arena, galv_err *err);

/* Peak memory of each stage without a simulation: what is held throughout plus the
 * most activations that the schedule's order keeps at once plus the largest transient.
 * An upper estimate that never says "fits" wrongly by more than buffers that cannot be
 * held at the same moment. peak_bytes[pp]; `prices` are this plan's, or NULL. */
galv_status galv_estimate_memory(double *peak_bytes, const galv_costmodel *model,
                                 const galv_plan *plan, galv_prices *prices,
                                 galv_arena *arena, galv_err *err);

/* How far `least` below may lie above what the simulator finds: where a gather of
 * ZeRO-3 weights for experts and the exchange of their tokens do not meet in time. */
#define GALV_ESTIMATE_SLACK_FRAC 1e-3

/* The same from below and above: what the simulator finds lies between (tests hold it
 * to that). The order alone does not tell which messages and gathers are under way when
 * a stage is fullest; `least` counts those of the pass at hand only, `most` the largest
 * of all besides. least_bytes[pp], most_bytes[pp]. */
galv_status galv_estimate_memory_between(double *least_bytes, double *most_bytes,
                                         const galv_costmodel *model,
                                         const galv_plan *plan, galv_prices *prices,
                                         galv_arena *arena, galv_err *err);

/* Writes the members of a result into an open JSON object (see docs/formats.md),
 * "plan" and "stages" included; wall_s too. */
void galv_result_to_json(const galv_result *result, const galv_job *job,
                         const galv_plan *plan, galv_json_writer *writer);

#endif
