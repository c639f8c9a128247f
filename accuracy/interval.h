/* The error to expect: an interval around a prediction, from the residuals of the
 * validated runs nearest in kind.
 *
 * The residuals are ours: what this model predicts for published runs, beside what was
 * measured (accuracy/data/residuals.csv, written by `validate --residuals`). They are
 * of whole iterations, so they contain what the simulation makes of its inputs' errors.
 */
#ifndef GALV_ACCURACY_INTERVAL_H
#define GALV_ACCURACY_INTERVAL_H

#include "accuracy/run_kind.h"
#include "accuracy/validation.h"
#include "base/csv.h"
#include "base/text.h"

/* The share of runs that the interval is made to hold. */
#define GALV_INTERVAL_COVERAGE 0.90

/* A source of many runs counts for no more than this. */
#define GALV_SOURCE_RUNS 12.0

/* The fewest like runs without which a regime is not validated. */
#define GALV_INTERVAL_MIN_RUNS 3

typedef struct galv_residual {
    const char *case_id;
    const char *source;
    const char *family;
    galv_run_kind kind;
    double log_ratio;        /* ln(measured / predicted) of the time; NAN = not timed */
    double memory_log_ratio; /* the same of the peak; NAN = not measured */
    const char
        *memory_kind;    /* who measured that: a case's memory_kind; "" = not told */
    size_t source_index; /* rows of one source have the same, < n */
} galv_residual;

typedef struct galv_residuals {
    size_t n;
    galv_residual *rows; /* [n]; everything owned by the arena */
} galv_residuals;

typedef struct galv_interval {
    bool validated;             /* false: no like runs; the rest is then 0 */
    double low_frac, high_frac; /* measured time / predicted - 1: -0.06, +0.08 */
    size_t n_runs;              /* like runs: the nearest kind with at least 5 */
    size_t n_sources;           /* they come from */
    char regime[160];           /* "megatron, Hopper, 16-bit, several nodes"; also
                                   where it is not validated */
} galv_interval;

/* Whose residuals are not to be looked at, for tests of coverage: those with this
 * source, or this family; NULL = none. */
typedef struct galv_left_out {
    const char *source;
    const char *family;
} galv_left_out;

/* The residuals that are compiled in. Errors: GALV_NO_MEMORY, GALV_INTERNAL. */
galv_status galv_residuals_builtin(galv_residuals *residuals, galv_arena *arena,
                                   galv_err *err);

/* From a table with the columns of galv_residuals_print; its arena must live as long.
 * Errors: GALV_INPUT with file, line and column. */
galv_status galv_residuals_read_table(galv_residuals *residuals, const galv_csv *table,
                                      galv_arena *arena, galv_err *err);

/* Writes the cases of a validation that were timed or whose peak was measured as CSV:
 * case_id, source, family, one column for each feature, host_share,
 * measured_over_predicted, memory_kind, memory_measured_over_predicted. Stage times
 * alone are left out. */
void galv_residuals_print(galv_text *out, const galv_validation *validation);

/* The interval for a run of a kind. `left_out` may be NULL. O(n). */
void galv_interval_find(galv_interval *interval, const galv_residuals *residuals,
                        const galv_run_kind *kind, const galv_left_out *left_out);

/* The same for the peak of memory: measured / predicted - 1, by peaks that were
 * measured as `memory_kind` says: by PyTorch's allocator (torch_*) or otherwise
 * (nvidia_smi, unknown), each compared with what is predicted of that; "" = either. */
void galv_memory_interval_find(galv_interval *interval, const galv_residuals *residuals,
                               const galv_run_kind *kind, const char *memory_kind,
                               const galv_left_out *left_out);

/* Both for a plan and its result, by the residuals compiled in; of memory by those of
 * allocators, since what a device holds beside that does not grow with the plan. */
galv_status galv_memory_interval_of(galv_interval *interval, const galv_job *job,
                                    const galv_plan *plan, const galv_result *result,
                                    galv_err *err);
galv_status galv_interval_of(galv_interval *interval, const galv_job *job,
                             const galv_plan *plan, const galv_result *result,
                             galv_err *err);

/* "-6 % / +8 %  (90 %, from 23 like runs)" or "not validated in this regime". Returns
 * the buffer. */
char *galv_interval_print(char *buffer, size_t size, const galv_interval *interval);

/* Members of an object that is open: iteration_time_interval_s [low, high] (null where
 * nothing is validated), interval_coverage, interval_from, interval_sources, regime. */
void galv_interval_to_json(const galv_interval *interval, double iteration_time_s,
                           galv_json_writer *writer);

/* Writes the members of a result (galv_result_to_json), of the interval around its
 * iteration time, and peak_memory_interval_bytes [low, high] (null where nothing is
 * validated), into an open JSON object; without the intervals when none can be made. */
void galv_prediction_to_json(const galv_result *result, const galv_job *job,
                             const galv_plan *plan, galv_json_writer *writer);

#endif
