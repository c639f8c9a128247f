/* Fits the curves of collectives within a scale-up domain (costmodel/collective.c) and
 * prints rows of costmodel/data/collective.csv.
 *
 *   build/benchmarks/fit_collective DEVICE TABLE.csv...
 *
 * Tables have the columns gpu, num_gpus, bytes or size_bytes, time_us, and op where
 * they hold more than all-reduce. For each op and number of ranks alpha, B, M and K are
 * those that make the mean |ln(law / measured)| least (simplex, GSL), over all points
 * whatever their version of NCCL; ln_1m to ln_256m are the mean ln(measured / law) of
 * the points within a fifth of these sizes, or, where that is more than a fifth off
 * both at half and at twice the size, to the same side, the mean of these: something
 * else used the links. */
#include "base/csv.h"
#include "base/words.h"
#include "costmodel/collective_internal.h"
#include "plan/catalog.h"
#include "plan/operation.h"

#include <gsl/gsl_multimin.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct point {
    double bytes, time_s;
} point;

typedef struct fit {
    double factor; /* of the bus */
    size_t n;
    point *points;
} fit;

enum { ALPHA, BANDWIDTH, MID, KNEE, N_PARAMETERS };

static double law_s(const gsl_vector *x, double factor, double bytes)
{
    double mid = exp(gsl_vector_get(x, MID));
    double knee = exp(gsl_vector_get(x, KNEE));
    double moved = bytes + mid * bytes / (bytes + knee);
    return exp(gsl_vector_get(x, ALPHA)) +
           moved * factor / exp(gsl_vector_get(x, BANDWIDTH));
}

static double misfit(const gsl_vector *x, void *context)
{
    const fit *f = context;
    double sum = 0;
    for (size_t i = 0; i < f->n; i++) {
        const point *p = &f->points[i];
        sum += fabs(log(law_s(x, f->factor, p->bytes) / p->time_s));
    }
    return sum / (double)f->n;
}

static double descend(const fit *f, gsl_vector *x)
{
    fit copy = *f;
    gsl_multimin_function function = {misfit, N_PARAMETERS, &copy};
    gsl_vector *steps = gsl_vector_alloc(N_PARAMETERS);
    gsl_vector_set_all(steps, 0.5);
    gsl_multimin_fminimizer *s =
        gsl_multimin_fminimizer_alloc(gsl_multimin_fminimizer_nmsimplex2, N_PARAMETERS);
    gsl_multimin_fminimizer_set(s, &function, x, steps);
    for (int i = 0; i < 2000 && gsl_multimin_fminimizer_iterate(s) == 0 &&
                    gsl_multimin_fminimizer_size(s) > 1e-5;
         i++) {
    }
    gsl_vector_memcpy(x, s->x);
    double best = s->fval;
    gsl_multimin_fminimizer_free(s);
    gsl_vector_free(steps);
    return best;
}

/* Mean ln(measured / law) of the points within a fifth of a size; NAN = there are none.
 */
static double ratio_at(const fit *f, const gsl_vector *x, double bytes)
{
    double sum = 0;
    double n = 0;
    for (size_t i = 0; i < f->n; i++) {
        const point *p = &f->points[i];
        if (fabs(p->bytes / bytes - 1) < 0.2) {
            sum += log(p->time_s / law_s(x, f->factor, p->bytes));
            n++;
        }
    }
    return n > 0 ? sum / n : (double)NAN;
}

static double knot_at(const fit *f, const gsl_vector *x, int knot)
{
    double bytes = 1048576.0 * pow(4, knot);
    double ratio = ratio_at(f, x, bytes);
    double half = ratio_at(f, x, bytes / 2) - ratio;
    double twice = ratio_at(f, x, bytes * 2) - ratio;
    if (knot > 0 && half * twice > 0 && fmin(fabs(half), fabs(twice)) > 0.2) {
        ratio += (half + twice) / 2;
    }
    return isnan(ratio) ? 0 : ratio;
}

static void print_fit(const fit *f, const galv_device *device, const char *op,
                      int ranks)
{
    gsl_vector *x = gsl_vector_alloc(N_PARAMETERS);
    double longest = 0;
    double rate = 1e9;
    for (size_t i = 0; i < f->n; i++) {
        if (f->points[i].bytes > longest) {
            longest = f->points[i].bytes;
            rate = f->factor * longest / f->points[i].time_s;
        }
    }
    gsl_vector_set(x, ALPHA, log(15e-6));
    gsl_vector_set(x, BANDWIDTH, log(rate));
    gsl_vector_set(x, MID, log(5e6));
    gsl_vector_set(x, KNEE, log(5e6));
    double error = misfit(x, (void *)f);
    for (int round = 0; round < 4; round++) {
        error = descend(f, x);
    }
    printf("%s,,%s,%.0f,%s,%d,%.2f,%.1f,%.3f,%.3f,%.1f", device->id, device->arch,
           1e-9 * device->scaleup_bytes_per_s, op, ranks,
           1e6 * exp(gsl_vector_get(x, ALPHA)),
           1e-9 * exp(gsl_vector_get(x, BANDWIDTH)), 1e-6 * exp(gsl_vector_get(x, MID)),
           1e-6 * exp(gsl_vector_get(x, KNEE)), 100 * error);
    for (int knot = 0; knot < GALV_N_CURVE_KNOTS; knot++) {
        printf(",%.3f", knot_at(f, x, knot));
    }
    printf(",\n");
    gsl_vector_free(x);
}

static double number(const galv_csv *table, size_t row, const char *column)
{
    return atof(galv_csv_cell(table, row, galv_csv_column(table, column)));
}

static bool is_of(const galv_csv *t, size_t row, const char *device, const char *op,
                  int ranks)
{
    int column = galv_csv_column(t, "op");
    const char *own = column < 0 ? "all_reduce" : galv_csv_cell(t, row, column);
    own = strcmp(own, "alltoall") == 0 ? "all_to_all" : own;
    return strcmp(galv_csv_cell(t, row, galv_csv_column(t, "gpu")), device) == 0 &&
           strcmp(own, op) == 0 && (int)number(t, row, "num_gpus") == ranks &&
           number(t, row, "time_us") > 0;
}

int main(int argc, char **argv)
{
    static const int kinds[] = {GALV_OP_ALL_GATHER, GALV_OP_ALL_REDUCE,
                                GALV_OP_ALL_TO_ALL, GALV_OP_REDUCE_SCATTER};
    static galv_csv tables[16];
    galv_err err = GALV_ERR_INIT;
    galv_arena *arena = galv_arena_new();
    galv_device device;
    if (argc < 3 || argc > 17 || arena == NULL) {
        fprintf(stderr, "usage: fit_collective DEVICE TABLE.csv...\n");
        return 2;
    }
    if (galv_catalog_device(&device, argv[1], &err) != GALV_OK) {
        fprintf(stderr, "fit_collective: %s\n", err.message);
        return 2;
    }
    size_t most = 0;
    for (int i = 2; i < argc; i++) {
        if (galv_csv_read_file(&tables[i - 2], argv[i], arena, &err) != GALV_OK) {
            fprintf(stderr, "fit_collective: %s: %s\n", argv[i], err.message);
            return 4;
        }
        most += tables[i - 2].n_rows;
    }
    fit f = {.points = malloc((most + 1) * sizeof *f.points)};
    for (size_t kind = 0; f.points != NULL && kind < 4; kind++) {
        const char *op = galv_op_kind_names[kinds[kind]];
        for (int ranks = 2; ranks <= GALV_MAX_CURVE_RANKS; ranks++) {
            f.n = 0;
            f.factor = galv_collective_bus_factor(kinds[kind], ranks);
            for (int i = 0; i < argc - 2; i++) {
                const galv_csv *t = &tables[i];
                const char *size =
                    galv_csv_column(t, "bytes") >= 0 ? "bytes" : "size_bytes";
                for (size_t row = 0; row < t->n_rows; row++) {
                    if (is_of(t, row, device.id, op, ranks)) {
                        f.points[f.n++] = (point){number(t, row, size),
                                                  1e-6 * number(t, row, "time_us")};
                    }
                }
            }
            if (f.n > 2 * N_PARAMETERS) {
                print_fit(&f, &device, op, ranks);
            }
        }
    }
    free(f.points);
    galv_arena_free(arena);
    return 0;
}
