/* Kernels alone on a device: laws with constants, seconds out.
 *
 * Only the cost model's own. A law is filled once for a device (device_law.c) and then
 * only read; every function here is pure and takes well under a microsecond. */
#ifndef GALV_COSTMODEL_KERNELS_INTERNAL_H
#define GALV_COSTMODEL_KERNELS_INTERNAL_H

#include "base/arena.h"
#include "costmodel/cost.h"
#include "plan/workload.h"
#include "traces/profile.h"

#include <stdbool.h>

/* Adds seconds to a cost under their origin. */
static inline void galv_cost_add(galv_cost *cost, double seconds, int provenance,
                                 double flop)
{
    cost->work_s += seconds;
    cost->provenance_s[provenance] += seconds;
    cost->flop += flop;
}

/* ---- matrix products ---- */

#define GALV_MAX_TILES 12

typedef struct galv_gemm_tile {
    double rows, columns;
    double s_per_k; /* seconds that one tile takes on one SM per unit of k */
} galv_gemm_tile;

/* A product that was measured. */
typedef struct galv_gemm_point {
    double size[3]; /* m, n, k */
    double log_size[3];
    double log_ratio; /* ln(measured / law) */
    double time_s;
} galv_gemm_point;

/* What a library's choice of kernels makes of products of these sizes, ln(measured /
 * law) (gemm_choices.c). */
#define GALV_N_CHOICE_M 35
#define GALV_N_CHOICE_N 18
#define GALV_N_CHOICE_K 7

extern const double galv_choice_m[GALV_N_CHOICE_M];
extern const double galv_choice_n[GALV_N_CHOICE_N];
extern const double galv_choice_k[GALV_N_CHOICE_K];

typedef struct galv_gemm_choices {
    bool present;
    const char *letters[GALV_N_CHOICE_N][GALV_N_CHOICE_K]; /* [.][.][m], one a size */
} galv_gemm_choices;

typedef struct galv_gemm_law {
    double n_sm;
    double t0_s;               /* floor of one kernel */
    double k0;                 /* start of a tile, in units of k */
    double fixup_k;            /* to share a tile among SMs, in units of k; 0 = the
                                  library never does */
    double quantization;       /* q: 0 = work spreads evenly, 1 = whole waves only */
    double bytes_per_s;        /* of memory that the kernel reaches */
    double stream_bytes_per_s; /* for what an fp32 output adds to a 16-bit one */
    double droop, droop_flop;  /* long kernels run slower: power */
    double input_bytes;        /* of one element of the operands */
    double convert_bytes;      /* moved for each element of the left operand to make it
                                  narrow, by kernels before the product; 0 = it is */
    double memory_bytes_per_s; /* peak */
    double harness; /* what the harness of its points is slower than the one of
                       the others, where both measured: taken out of the law */
    double factor;  /* in situ over alone */
    galv_gemm_choices choices;
    int n_tiles;
    galv_gemm_tile tiles[GALV_MAX_TILES];
    galv_provenance provenance;
    size_t n_points; /* of the user's profile */
    const galv_gemm_point *points;
} galv_gemm_law;

/* Reads the profile's products (kernel rows of op gemm) of a device and precision into
 * its law; they live in the arena. Errors: GALV_NO_MEMORY. */
galv_status galv_gemm_read_points(galv_gemm_law *law, const galv_profile *profile,
                                  const char *device, galv_precision precision,
                                  galv_arena *arena, galv_err *err);

/* Seconds of a product that was measured, alone; 0 when it was not. */
double galv_gemm_measured(const galv_gemm_law *law, double m, double n, double k);

/* What the law is to be multiplied by near measured products; 1 without any. */
double galv_gemm_scale(const galv_gemm_law *law, double m, double n, double k);

/* Where a product's time comes from: its own row, or a law. */
static inline galv_provenance galv_gemm_provenance(const galv_gemm_law *law, double m,
                                                   double n, double k)
{
    if (law->n_points == 0) {
        return law->provenance;
    }
    return galv_gemm_measured(law, m, n, k) > 0 ? GALV_PROVENANCE_MEASURED
                                                : GALV_PROVENANCE_INTERPOLATED;
}

/* Seconds of `batch` products [m, k] x [k, n] in one kernel whose output elements take
 * output_bytes (8 where an fp32 sum is read and written). Sizes <= 0 take no time. */
double galv_gemm_time(const galv_gemm_law *law, double batch, double m, double n,
                      double k, double output_bytes);

/* Finds the rows of a device; none are no error. False: the table is broken. */
bool galv_gemm_choices_find(galv_gemm_choices *choices, const char *device);

/* What the law is to be multiplied by at a size: 1 without choices. */
double galv_gemm_choice(const galv_gemm_choices *choices, double m, double n, double k);

/* The eight sizes around a product, at[3] of the lowest (in m, n, k), and how much each
 * counts: bit 0 of a weight's index is the next m, bit 1 the next n, bit 2 the next k.
 */
void galv_gemm_choice_weights(int at[3], double weights[8], double m, double n,
                              double k);

/* ---- fused attention ---- */

typedef struct galv_attention_curve {
    double head_dim;
    double t0_s;
    double efficiency;  /* of the peak, for long sequences */
    double half_length; /* S0: sequence at which half of that is reached */
} galv_attention_curve;

#define GALV_MAX_ATTENTION_CURVES 6

typedef struct galv_attention_law {
    double peak_flop_per_s;
    double n_sm;
    double tile_rows;    /* queries that one SM takes at a time */
    double narrow_heads; /* power of speed in the width of heads below the measured */
    double factor;
    /* [backward][causal], by head size, ascending */
    int n_curves[2][2];
    galv_attention_curve curves[2][2][GALV_MAX_ATTENTION_CURVES];
    galv_provenance provenance;
} galv_attention_law;

/* Executed FLOP of the core of attention forward: two products of
 * [seq_q, dim] x [dim, seq_kv], qk and v heads of different size under MLA. `masked`
 * kernels skip half. Source: Dao et al. 2022 (arXiv 2205.14135). */
double galv_attention_flop(double batch, double heads, double seq_q, double seq_kv,
                           double qk_dim, double v_dim, bool masked);

/* Seconds of one fused kernel whose executed FLOP are given (backward: 2.5 times those
 * of forward, five products for two; Dao 2023, arXiv 2307.08691). */
double galv_attention_time(const galv_attention_law *law, bool backward, bool causal,
                           double flop, double seq, double head_dim);

/* ---- kernels bound by memory ---- */

typedef struct galv_memory_law {
    double t0_s;
    double forward_bytes_per_s;
    double backward_bytes_per_s;
    double cache_bytes;        /* of the last-level cache */
    double stream_bytes_per_s; /* long copies: optimizer, gradient sums */
    double factor;
    galv_provenance provenance;
} galv_memory_law;

/* Seconds to move `bytes` in n_kernels kernels. */
double galv_memory_time(const galv_memory_law *law, bool backward, double bytes,
                        double n_kernels);

/* Kernels of a fused norm: backward one makes the inputs' gradients and each block's
 * part of the weights', one clears and one sums these up. */
#define GALV_NORM_FORWARD_KERNELS  1
#define GALV_NORM_BACKWARD_KERNELS 3

/* Seconds of a norm's pass that moves `bytes`. */
static inline double galv_norm_time(const galv_memory_law *law, bool backward,
                                    double bytes)
{
    return galv_memory_time(law, backward, bytes,
                            backward ? GALV_NORM_BACKWARD_KERNELS
                                     : GALV_NORM_FORWARD_KERNELS);
}

#endif
