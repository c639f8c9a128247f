/* Fits what libraries choose (costmodel/gemm_choices.c) to measured products and prints
 * the rows of costmodel/data/gemm_choices.csv of a device.
 *
 *   build/benchmarks/fit_choices DEVICE TABLE.csv...
 *
 * Tables are those of fit_gemm, whose row of gemm.csv must stand first. Each source is
 * taken less its offset, as there. The values at the sizes are those that make least
 *
 *   sum_i w_i (r_i - interpolated_i)^2 + sum_neighbours p^2 (x_a - x_b)^2 + p^2 x_a^2
 *
 * with r = ln(measured / law), p = 0.6 between neighbours in k and 0.3 else, and w
 * falling as 1/|residual| from 2 % on, so that single points do not own their
 * surroundings. The sum is walked down by one value after the other (Gauss-Seidel).
 *
 * Printed to standard error, of m, n, k >= 1024: the error without and with the
 * choices, of a quarter of the points held out at random, and of all points of every
 * fourth n, and of every fourth k, held out: sizes that nobody measured. */
#include "benchmarks/products.h"
#include "costmodel/device_law_internal.h"
#include "plan/catalog.h"

#include <gsl/gsl_rng.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_VALUES (GALV_N_CHOICE_M * GALV_N_CHOICE_N * GALV_N_CHOICE_K)
#define N_SWEEPS 60
#define N_ROUNDS 3

typedef struct point {
    double m, n, k;
    double ratio; /* ln(measured / law), less its source's offset */
    double weight;
    int source;
    bool held;
    int value[8]; /* around it */
    double part[8];
} point;

typedef struct fit {
    products measured;
    point *points; /* of `measured` */
    size_t n_points;
    double values[N_VALUES];
    size_t *touching; /* [8 n_points] of each value in turn: point * 8 + corner */
    size_t first[N_VALUES + 1];
} fit;

/* [k][n][m] */
static int index_of(int m, int n, int k)
{
    return (k * GALV_N_CHOICE_N + n) * GALV_N_CHOICE_M + m;
}

/* ---- points ---- */

static void take_points(fit *f, const galv_gemm_law *law)
{
    for (size_t i = 0; i < f->measured.n; i++) {
        const product *q = &f->measured.all[i];
        if (fmin(q->m, fmin(q->n, q->k)) < 512 || !(q->time_s > 0)) {
            continue;
        }
        point p = {.m = q->m, .n = q->n, .k = q->k, .source = q->source};
        p.ratio = log(q->time_s / galv_gemm_time(law, 1, p.m, p.n, p.k, 2));
        int at[3];
        galv_gemm_choice_weights(at, p.part, p.m, p.n, p.k);
        for (int corner = 0; corner < 8; corner++) {
            p.value[corner] =
                index_of(at[0] + (corner & 1), at[1] + ((corner >> 1) & 1),
                         at[2] + (corner >> 2));
        }
        f->points[f->n_points++] = p;
    }
}

/* Takes from each source its mean, less that of all. */
static void take_offsets(fit *f)
{
    double sum[MOST_SOURCES] = {0};
    double count[MOST_SOURCES] = {0};
    double all = 0;
    for (size_t i = 0; i < f->n_points; i++) {
        sum[f->points[i].source] += f->points[i].ratio;
        count[f->points[i].source]++;
        all += f->points[i].ratio;
    }
    all /= (double)f->n_points;
    for (size_t i = 0; i < f->n_points; i++) {
        int s = f->points[i].source;
        f->points[i].ratio -= sum[s] / count[s] - all;
    }
}

/* ---- the fit ---- */

static void index_points(fit *f)
{
    memset(f->first, 0, sizeof f->first);
    for (size_t i = 0; i < f->n_points; i++) {
        for (int c = 0; c < 8; c++) {
            f->first[f->points[i].value[c] + 1]++;
        }
    }
    for (int v = 0; v < N_VALUES; v++) {
        f->first[v + 1] += f->first[v];
    }
    size_t *next = malloc(N_VALUES * sizeof *next);
    if (next == NULL) {
        exit(1);
    }
    memcpy(next, f->first, N_VALUES * sizeof *next);
    for (size_t i = 0; i < f->n_points; i++) {
        for (size_t c = 0; c < 8; c++) {
            f->touching[next[f->points[i].value[c]]++] = 8 * i + c;
        }
    }
    free(next);
}

static double interpolated(const fit *f, const point *p)
{
    double sum = 0;
    for (int c = 0; c < 8; c++) {
        sum += p->part[c] * f->values[p->value[c]];
    }
    return sum;
}

static void add_neighbour(const fit *f, double *push, double *pull, int m, int n, int k,
                          double penalty)
{
    if (m >= 0 && m < GALV_N_CHOICE_M && n >= 0 && n < GALV_N_CHOICE_N && k >= 0 &&
        k < GALV_N_CHOICE_K) {
        *push += penalty * f->values[index_of(m, n, k)];
        *pull += penalty;
    }
}

/* The value that makes the sum least while all others stay. */
static double best_value(const fit *f, int m, int n, int k)
{
    const double in_k = 0.36;
    const double else_in = 0.09;
    int v = index_of(m, n, k);
    double push = 0;
    double pull = else_in;
    for (int step = -1; step <= 1; step += 2) {
        add_neighbour(f, &push, &pull, m + step, n, k, else_in);
        add_neighbour(f, &push, &pull, m, n + step, k, else_in);
        add_neighbour(f, &push, &pull, m, n, k + step, in_k);
    }
    for (size_t i = f->first[v]; i < f->first[v + 1]; i++) {
        const point *p = &f->points[f->touching[i] / 8];
        double part = p->part[f->touching[i] % 8];
        if (!p->held && part > 0) {
            double rest = p->ratio - (interpolated(f, p) - part * f->values[v]);
            push += p->weight * part * rest;
            pull += p->weight * part * part;
        }
    }
    return push / pull;
}

static void solve(fit *f)
{
    memset(f->values, 0, sizeof f->values);
    for (size_t i = 0; i < f->n_points; i++) {
        f->points[i].weight = 1;
    }
    for (int round = 0; round < N_ROUNDS; round++) {
        for (int sweep = 0; sweep < N_SWEEPS; sweep++) {
            for (int k = 0; k < GALV_N_CHOICE_K; k++) {
                for (int n = 0; n < GALV_N_CHOICE_N; n++) {
                    for (int m = 0; m < GALV_N_CHOICE_M; m++) {
                        f->values[index_of(m, n, k)] = best_value(f, m, n, k);
                    }
                }
            }
        }
        for (size_t i = 0; i < f->n_points; i++) {
            point *p = &f->points[i];
            p->weight = 0.05 / fmax(fabs(p->ratio - interpolated(f, p)), 0.02);
        }
    }
    for (int v = 0; v < N_VALUES; v++) { /* as the table will say */
        f->values[v] = 0.01 * fmax(-39, fmin(39, round(100 * f->values[v])));
    }
}

/* ---- the answer ---- */

static void print_error(fit *f, const char *device, const char *what)
{
    double sum[2] = {0};
    double before[2] = {0};
    double count[2] = {0};
    solve(f);
    for (size_t i = 0; i < f->n_points; i++) {
        const point *p = &f->points[i];
        if (fmin(p->m, fmin(p->n, p->k)) >= 1024) {
            before[p->held] += fabs(expm1(-p->ratio));
            sum[p->held] += fabs(expm1(interpolated(f, p) - p->ratio));
            count[p->held]++;
        }
    }
    for (int held = 0; held < 2; held++) {
        if (count[held] > 0) {
            fprintf(stderr, "%s %s, %s %.0f: %.2f %%, the law alone %.2f %%\n", device,
                    what, held ? "held out" : "fitted", count[held],
                    100 * sum[held] / count[held], 100 * before[held] / count[held]);
        }
    }
}

/* n and k were measured at the same sizes. */
static bool every_fourth(double size)
{
    for (int i = 2; i < GALV_N_CHOICE_N - 1; i += 4) {
        if (galv_choice_n[i] == size) {
            return true;
        }
    }
    return false;
}

static void judge(fit *f, const char *device)
{
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    gsl_rng_set(rng, 1);
    for (size_t i = 0; i < f->n_points; i++) {
        f->points[i].held = gsl_rng_uniform_int(rng, 4) == 0;
    }
    gsl_rng_free(rng);
    print_error(f, device, "a quarter of the points");
    for (size_t i = 0; i < f->n_points; i++) {
        f->points[i].held = every_fourth(f->points[i].n);
    }
    print_error(f, device, "every fourth n");
    for (size_t i = 0; i < f->n_points; i++) {
        f->points[i].held = every_fourth(f->points[i].k);
    }
    print_error(f, device, "every fourth k");
    for (size_t i = 0; i < f->n_points; i++) {
        f->points[i].held = false;
    }
    print_error(f, device, "no point");
}

static void print_rows(const fit *f, const char *device)
{
    for (int n = 0; n < GALV_N_CHOICE_N; n++) {
        for (int k = 0; k < GALV_N_CHOICE_K; k++) {
            printf("%s,%.0f,%.0f,", device, galv_choice_n[n], galv_choice_k[k]);
            for (int m = 0; m < GALV_N_CHOICE_M; m++) {
                putchar('W' + (int)lround(100 * f->values[index_of(m, n, k)]));
            }
            printf("\n");
        }
    }
}

/* The law alone, without factors of real runs and without choices. */
static bool make_law(galv_gemm_law *law, const char *device, galv_err *err)
{
    galv_cluster cluster;
    galv_workload workload = GALV_WORKLOAD_INIT;
    galv_device_law all;
    bool made =
        galv_cluster_from_device(&cluster, device, 1, err) == GALV_OK &&
        galv_device_law_init(&all, &cluster.pools[0], &workload, NULL, err) == GALV_OK;
    if (made) {
        *law = all.gemm[GALV_BF16];
        law->factor = 1;
        law->choices.present = false;
    }
    return made;
}

int main(int argc, char **argv)
{
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    static fit f;
    galv_gemm_law law;
    if (argc < 3 || arena == NULL) {
        fprintf(stderr, "usage: fit_choices DEVICE TABLE.csv...\n");
        return 2;
    }
    if (!make_law(&law, argv[1], &err)) {
        fprintf(stderr, "fit_choices: %s\n", err.message);
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        galv_csv table;
        if (galv_csv_read_file(&table, argv[i], arena, &err) != GALV_OK) {
            fprintf(stderr, "fit_choices: %s: %s\n", argv[i], err.message);
            return 4;
        }
        if (!products_add(&f.measured, &table, argv[1], "bf16")) {
            return 1;
        }
    }
    f.points = malloc((f.measured.n + 1) * sizeof *f.points);
    if (f.points == NULL) {
        return 1;
    }
    take_points(&f, &law);
    f.touching = malloc((8 * f.n_points + 1) * sizeof *f.touching);
    if (f.touching == NULL || f.n_points < 1000) {
        fprintf(stderr, "fit_choices: only %zu points\n", f.n_points);
        return 4;
    }
    take_offsets(&f);
    index_points(&f);
    judge(&f, argv[1]);
    print_rows(&f, argv[1]);
    products_free(&f.measured);
    free(f.points);
    free(f.touching);
    galv_arena_free(arena);
    return 0;
}
