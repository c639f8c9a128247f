/* Fits the law of matrix products (costmodel/gemm.c) to measured points and prints the
 * row of costmodel/data/gemm.csv.
 *
 *   build/benchmarks/fit_gemm DEVICE PRECISION TABLE.csv...
 *
 * Tables are those of products.h. Every fourth point, drawn at random (seed 1), is held
 * out. What is made least is the mean of |ln(law / measured)| less the mean of each
 * source: harnesses differ among one another by up to 7 % on one device (clocks,
 * inputs, cooling), so each has an offset of its own, and their mean over points is the
 * law's. Points of m, n, k >= 1024 count whole, smaller ones a quarter, odd ones half
 * of that. The simplex of Nelder and Mead (GSL) begins at several places, since tiles
 * are chosen by a minimum and the sum has many valleys.
 *
 * Products of fewer bits may all be of one harness that is slower than the one of the
 * bf16 ones; what it is slower in bf16 is printed as harness_ratio, and the law takes
 * it out (costmodel/gemm.c).
 *
 * Printed to standard error: errors of the points held out, with the offsets and as
 * they are. */
#include "benchmarks/products.h"
#include "costmodel/kernels_internal.h"
#include "plan/catalog.h"

#include <gsl/gsl_multimin.h>
#include <gsl/gsl_rng.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double tiles[][2] = {{128, 256}, {256, 128}, {128, 192}, {128, 160},
                                  {128, 128}, {256, 256}, {64, 256},  {128, 64},
                                  {64, 128},  {64, 64}};
#define N_TILES (sizeof tiles / sizeof tiles[0])
enum { T0, K0, FIXUP, QUANTIZATION, BANDWIDTH, DROOP, DROOP_FLOP, CONVERT, TILES };
#define N_PARAMETERS (TILES + N_TILES)

/* Where the search begins, and what is believed: no kernel ends within a microsecond,
 * no memory gives more than 0.92 of its peak. */
static const struct {
    double least, start, most;
} bounds[TILES] = {[T0] = {1, 3, 30},
                   [K0] = {16, 130, 1000},
                   [FIXUP] = {1, 2000, 1e5},
                   [QUANTIZATION] = {0, .8, 1},
                   [BANDWIDTH] = {0.3, .85, .92},
                   [DROOP] = {0, .1, .5},
                   [DROOP_FLOP] = {0.01, 1, 100},
                   [CONVERT] = {0, 6, 20}};

typedef struct point {
    double m, n, k, log_s, weight;
    int source;
    bool held;
} point;

typedef struct fit {
    const galv_device *device;
    double peak;
    bool narrow; /* 8 bits: operands are made so first */
    products measured;
    products wide; /* the same tables' in bf16, by which harnesses are compared */
    point *points; /* of `measured` */
    size_t n_points;
    size_t *drawn;     /* [n_drawn] points that count now */
    double *residuals; /* of them */
    size_t n_drawn;
} fit;

static double value_of(const gsl_vector *x, size_t i)
{
    double value = exp(gsl_vector_get(x, i));
    return i < TILES ? fmax(fmin(value, bounds[i].most), bounds[i].least)
                     : fmin(value, 1);
}

static void make_law(galv_gemm_law *law, const fit *f, const gsl_vector *x)
{
    memset(law, 0, sizeof *law);
    law->n_sm = f->device->n_sm;
    law->t0_s = 1e-6 * value_of(x, T0);
    law->k0 = value_of(x, K0);
    law->fixup_k = value_of(x, FIXUP);
    law->quantization = value_of(x, QUANTIZATION);
    law->bytes_per_s = value_of(x, BANDWIDTH) * f->device->memory_bytes_per_s;
    law->stream_bytes_per_s = law->bytes_per_s;
    law->droop = value_of(x, DROOP);
    law->droop_flop = 1e12 * value_of(x, DROOP_FLOP);
    law->memory_bytes_per_s = f->device->memory_bytes_per_s;
    law->input_bytes = f->narrow ? 1 : 2;
    law->convert_bytes = f->narrow ? value_of(x, CONVERT) : 0;
    law->factor = 1;
    for (size_t i = 0; i < N_TILES; i++) {
        double efficiency = value_of(x, TILES + i);
        if (efficiency > 0.05) {
            galv_gemm_tile *tile = &law->tiles[law->n_tiles++];
            tile->rows = tiles[i][0];
            tile->columns = tiles[i][1];
            tile->s_per_k =
                2 * tile->rows * tile->columns / (f->peak / law->n_sm * efficiency);
        }
    }
}

static double residual(const galv_gemm_law *law, const point *p)
{
    return log(galv_gemm_time(law, 1, p->m, p->n, p->k, 2)) - p->log_s;
}

typedef struct offsets {
    double source[MOST_SOURCES]; /* mean of a source, less that of all */
    double all;
} offsets;

/* Weighted means of residuals by source. */
static void find_offsets(offsets *o, const fit *f)
{
    double weight[MOST_SOURCES] = {0};
    double all = 0;
    memset(o, 0, sizeof *o);
    for (size_t i = 0; i < f->n_drawn; i++) {
        const point *p = &f->points[f->drawn[i]];
        o->source[p->source] += p->weight * f->residuals[i];
        weight[p->source] += p->weight;
        o->all += p->weight * f->residuals[i];
        all += p->weight;
    }
    o->all /= all;
    for (int s = 0; s < f->measured.n_sources; s++) {
        o->source[s] = weight[s] > 0 ? o->source[s] / weight[s] - o->all : 0;
    }
}

static double misfit(const gsl_vector *x, void *context)
{
    const fit *f = context;
    galv_gemm_law law;
    offsets o;
    double sum = 0;
    double weight = 0;
    make_law(&law, f, x);
    if (law.n_tiles == 0) {
        return HUGE_VAL;
    }
    for (size_t i = 0; i < f->n_drawn; i++) {
        f->residuals[i] = residual(&law, &f->points[f->drawn[i]]);
    }
    find_offsets(&o, f);
    for (size_t i = 0; i < f->n_drawn; i++) {
        const point *p = &f->points[f->drawn[i]];
        sum += p->weight * fabs(f->residuals[i] - o.source[p->source]);
        weight += p->weight;
    }
    return sum / weight;
}

/* Draws at most n of the points that are not held out. */
static void draw(fit *f, size_t n, gsl_rng *rng)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->n_points; i++) {
        if (!f->points[i].held) {
            f->drawn[kept++] = i;
        }
    }
    for (size_t i = 0; i + 1 < kept; i++) {
        size_t j = i + gsl_rng_uniform_int(rng, kept - i);
        size_t swap = f->drawn[i];
        f->drawn[i] = f->drawn[j];
        f->drawn[j] = swap;
    }
    f->n_drawn = kept < n ? kept : n;
}

/* One descent from x with steps of the given size; x becomes the best place. */
static double descend(fit *f, gsl_vector *x, double step, int n_steps, gsl_rng *rng)
{
    gsl_multimin_function function = {misfit, N_PARAMETERS, f};
    gsl_vector *steps = gsl_vector_alloc(N_PARAMETERS);
    for (size_t i = 0; i < N_PARAMETERS; i++) {
        gsl_vector_set(steps, i,
                       step * (gsl_rng_uniform(rng) < 0.5 ? -1 : 1) *
                           (0.3 + gsl_rng_uniform(rng)));
    }
    gsl_multimin_fminimizer *s = gsl_multimin_fminimizer_alloc(
        gsl_multimin_fminimizer_nmsimplex2rand, N_PARAMETERS);
    gsl_multimin_fminimizer_set(s, &function, x, steps);
    for (int i = 0; i < n_steps && gsl_multimin_fminimizer_iterate(s) == 0; i++) {
        if (gsl_multimin_fminimizer_size(s) < 1e-4) {
            break;
        }
    }
    gsl_vector_memcpy(x, s->x);
    double best = s->fval;
    gsl_multimin_fminimizer_free(s);
    gsl_vector_free(steps);
    return best;
}

static void search(fit *f, gsl_vector *best)
{
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    gsl_rng_set(rng, 3);
    gsl_vector *x = gsl_vector_alloc(N_PARAMETERS);
    double least = HUGE_VAL;
    for (int start = 0; start < 8; start++) {
        for (size_t i = 0; i < N_PARAMETERS; i++) {
            double area = i < TILES ? 0 : tiles[i - TILES][0] * tiles[i - TILES][1];
            double value = i < TILES           ? bounds[i].start
                           : area >= 128 * 128 ? 0.85
                                               : 0.65;
            gsl_vector_set(x, i, log(value) + 0.2 * (gsl_rng_uniform(rng) - 0.5));
        }
        draw(f, 1500, rng);
        for (int round = 0; round < 4; round++) {
            descend(f, x, 0.3 / (1 + round), 1500, rng);
        }
        draw(f, SIZE_MAX, rng);
        double here = misfit(x, f);
        if (here < least) {
            least = here;
            gsl_vector_memcpy(best, x);
        }
    }
    draw(f, 4000, rng);
    for (int round = 0; round < 3; round++) {
        descend(f, best, 0.05 / (1 + round), 1000, rng);
    }
    gsl_vector_free(x);
    gsl_rng_free(rng);
}

/* ---- points ---- */

static void take_points(fit *f, gsl_rng *rng)
{
    for (size_t i = 0; i < f->measured.n; i++) {
        const product *q = &f->measured.all[i];
        double least = fmin(q->m, fmin(q->n, q->k));
        bool odd = fmod(q->m, 2) > 0 || fmod(q->n, 2) > 0;
        f->points[f->n_points] =
            (point){.m = q->m,
                    .n = q->n,
                    .k = q->k,
                    .log_s = log(q->time_s),
                    .weight = (least >= 1024 ? 1 : 0.25) * (odd ? 0.5 : 1),
                    .source = q->source,
                    .held = gsl_rng_uniform_int(rng, 4) == 0};
        f->n_points += least >= 128 && isfinite(f->points[f->n_points].log_s);
    }
}

/* ---- the answer ---- */

static double print_errors(const fit *f, const gsl_vector *x, const offsets *o)
{
    galv_gemm_law law;
    double held_error = 0;
    make_law(&law, f, x);
    for (int s = 0; s < f->measured.n_sources; s++) {
        for (int small = 0; small < 2; small++) {
            double sum[2] = {0};
            double raw = 0;
            double n[2] = {0};
            for (size_t i = 0; i < f->n_points; i++) {
                const point *p = &f->points[i];
                bool is_small = fmin(p->m, fmin(p->n, p->k)) < 1024;
                if (p->source == s && is_small == (small != 0)) {
                    double r = residual(&law, p);
                    sum[p->held] += fabs(expm1(r - o->source[s]));
                    n[p->held]++;
                    raw += p->held ? fabs(expm1(r)) : 0;
                }
            }
            fprintf(stderr,
                    "%s %s, %s: offset %+.1f %%, fitted %.0f: %.2f %%, held out %.0f: "
                    "%.2f %% (%.2f %% with the offset)\n",
                    f->device->id, f->measured.sources[s],
                    small ? "some < 1024" : "all >= 1024", 100 * o->source[s], n[0],
                    100 * sum[0] / n[0], n[1], 100 * sum[1] / n[1], 100 * raw / n[1]);
        }
    }
    double n = 0;
    for (size_t i = 0; i < f->n_points; i++) {
        const point *p = &f->points[i];
        if (p->held && fmin(p->m, fmin(p->n, p->k)) >= 1024) {
            held_error += fabs(expm1(residual(&law, p) - o->source[p->source]));
            n++;
        }
    }
    return 100 * held_error / n;
}

/* Only where all points are of one source. */
static void print_harness(const fit *f)
{
    double ratio = f->narrow && f->measured.n_sources == 1
                       ? products_slowness(&f->wide, f->measured.sources[0])
                       : 1;
    if (fabs(ratio - 1) < 0.0005) {
        printf(",");
    } else {
        printf(",%.4g", ratio);
    }
}

static void print_row(fit *f, const gsl_vector *x, const char *precision)
{
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    galv_gemm_law law;
    offsets o;
    draw(f, SIZE_MAX, rng);
    make_law(&law, f, x);
    for (size_t i = 0; i < f->n_drawn; i++) {
        f->residuals[i] = residual(&law, &f->points[f->drawn[i]]);
    }
    find_offsets(&o, f);
    double error = print_errors(f, x, &o);
    printf("%s,,%s,%s,%.0f,%.0f,%.5g", f->device->id, f->device->arch, precision,
           f->device->tdp_w, 1e-12 * f->device->peak_flop_per_s[GALV_BF16],
           1e-12 * f->device->sustained_bf16_flop_per_s);
    for (size_t i = 0; i < N_PARAMETERS; i++) {
        double value = value_of(x, i);
        bool none = i == CONVERT && !f->narrow;
        if (i == TILES) {
            print_harness(f);
        }
        if (none || (i >= TILES && !(value > 0.05))) {
            printf(",");
        } else {
            printf(",%.4g", value);
        }
    }
    printf(",%.1f,\"aiconfigurator", error);
    for (int s = 0; s < f->measured.n_sources; s++) {
        printf("%s%s", s == 0 ? " " : " and ", f->measured.sources[s]);
    }
    printf(", benchmarks/fit_gemm\"\n");
    gsl_rng_free(rng);
}

int main(int argc, char **argv)
{
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    fit f = {0};
    if (argc < 4 || arena == NULL) {
        fprintf(stderr, "usage: fit_gemm DEVICE PRECISION TABLE.csv...\n");
        return 2;
    }
    galv_device device;
    if (galv_catalog_device(&device, argv[1], &err) != GALV_OK) {
        fprintf(stderr, "fit_gemm: %s\n", err.message);
        return 2;
    }
    f.device = &device;
    int precision = 0;
    while (precision < GALV_N_PRECISIONS &&
           strcmp(galv_precision_names[precision], argv[2]) != 0) {
        precision++;
    }
    if (precision == GALV_N_PRECISIONS) {
        fprintf(stderr, "fit_gemm: no such precision\n");
        return 2;
    }
    f.peak = f.device->peak_flop_per_s[precision];
    f.narrow = precision >= GALV_FP8;
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    gsl_rng_set(rng, 1);
    for (int i = 3; i < argc; i++) {
        galv_csv table;
        if (galv_csv_read_file(&table, argv[i], arena, &err) != GALV_OK) {
            fprintf(stderr, "fit_gemm: %s: %s\n", argv[i], err.message);
            return 4;
        }
        if (!products_add(&f.measured, &table, device.id, argv[2]) ||
            !products_add(&f.wide, &table, device.id, "bf16")) {
            return 1;
        }
    }
    f.points = malloc((f.measured.n + 1) * sizeof *f.points);
    if (f.points == NULL) {
        return 1;
    }
    take_points(&f, rng);
    f.drawn = malloc((f.n_points + 1) * sizeof *f.drawn);
    f.residuals = malloc((f.n_points + 1) * sizeof *f.residuals);
    gsl_vector *x = gsl_vector_alloc(N_PARAMETERS);
    if (f.n_points < 4 * N_PARAMETERS || f.drawn == NULL || f.residuals == NULL) {
        fprintf(stderr, "fit_gemm: only %zu points\n", f.n_points);
        return 4;
    }
    search(&f, x);
    print_row(&f, x, argv[2]);
    products_free(&f.measured);
    products_free(&f.wide);
    gsl_vector_free(x);
    gsl_rng_free(rng);
    free(f.points);
    free(f.drawn);
    free(f.residuals);
    galv_arena_free(arena);
    return 0;
}
