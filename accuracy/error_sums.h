/* Sums of a validation's errors: over all cases, or by source, feature, kind of memory;
 * and how well it ranks the runs of a sweep. */
#ifndef GALV_ACCURACY_ERROR_SUMS_H
#define GALV_ACCURACY_ERROR_SUMS_H

#include "accuracy/validation.h"

/* What cases are told apart by; the features of accuracy/run_kind.h follow these:
 * GALV_BY_FEATURE + GALV_FEATURE_SOFTWARE... X(NAME, word) */
#define GALV_BY_TABLE(X)          \
    X(ALL, "all")                 \
    X(SOURCE, "source")           \
    X(FAMILY, "family")           \
    X(GPU, "gpu")                 \
    X(MEMORY_KIND, "memory kind") \
    X(CONFIDENCE, "confidence")   \
    X(GROUP, "source and family") \
    X(FEATURE, "feature")

typedef enum galv_by {
#define GALV_ENUM(id, word) GALV_BY_##id,
    GALV_BY_TABLE(GALV_ENUM)
#undef GALV_ENUM
} galv_by;

#define GALV_N_BYS (GALV_BY_FEATURE + GALV_N_FEATURES)

/* "source", "software"...: the word of a galv_by or of GALV_BY_FEATURE + a feature. */
const char *galv_by_name(int by);

/* Errors of the cases that have one word in common. Those of times are predicted /
 * measured - 1, NAN where nothing was timed; p90 is the smallest size of an error that
 * at least 90 % of the cases do not exceed. */
typedef struct galv_error_sum {
    const char *name; /* the word; "" = not stated */
    size_t n_cases;
    size_t n_failed; /* not predicted */
    size_t n_timed;
    double mape_frac, bias_frac, p90_frac;
    double worst_frac; /* the error of largest size */
    size_t n_within;   /* timed, and at most 10 % off */
    size_t n_memory;
    double memory_mape_frac, memory_bias_frac, memory_p90_frac, memory_worst_frac;
} galv_error_sum;

/* The word of a case; never NULL. A case without a kind (not predicted, or of stage
 * times alone) has "" for its features. GALV_BY_GROUP: the source and the model's
 * family together. */
const char *galv_case_word(const galv_validated_case *c, int by);

/* sums[n_sums], in the order in which their words first occur; GALV_BY_ALL gives one
 * named "all". Owned by the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_error_sums(galv_error_sum **sums, size_t *n_sums,
                            const galv_validation *validation, int by,
                            galv_arena *arena, galv_err *err);

/* ---- ranking ---- */

/* Kendall's tau-b of two lists: pairs in the same order less pairs in the other, over
 * the geometric mean of the pairs not tied in either. NAN when all of a list is one
 * tie. O(n^2). Source: Kendall 1945, "The treatment of ties in ranking problems". */
double galv_kendall_tau(const double *a, const double *b, size_t n);

/* Noise of a run whose source states none and repeats none: published runs that were
 * repeated differ by 0.05 to 3 %. */
#define GALV_USUAL_NOISE 0.01

typedef struct galv_ranking {
    const char *sweep;
    size_t n;           /* runs predicted and measured, >= 2 */
    double tau;         /* NAN: all measured or predicted alike */
    size_t n_clear;     /* pairs whose measured times differ by more than their noise */
    double tau_clear;   /* over these: in the same order less in the other; NAN: none */
    double regret_frac; /* measured time of the run predicted fastest
                           over that of the fastest run, less 1 */
    const galv_validated_case *predicted; /* the run predicted fastest */
    const galv_validated_case *fastest;
} galv_ranking;

/* Each sweep with at least two timed cases. Where several are fastest the first
 * counts. The noise of a run is what it states, else the middle of what its source
 * states, else what runs of one plan differ by in its source, else GALV_USUAL_NOISE;
 * that of a pair is both in quadrature. O(n^2). Owned by the arena. Errors:
 * GALV_NO_MEMORY. */
galv_status galv_rankings(galv_ranking **rankings, size_t *n_rankings,
                          const galv_validation *validation, galv_arena *arena,
                          galv_err *err);

#endif
