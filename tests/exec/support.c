#include "tests/exec/support.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

device device_open(void)
{
    static const char *const names[] = {
        "RANK",     "WORLD_SIZE", "OMPI_COMM_WORLD_SIZE",
        "PMI_SIZE", "PMIX_RANK",  "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsetenv(names[i]);
    }
    device d = {NULL, NULL};
    galv_err err = GALV_ERR_INIT;
    int argc = 0;
    char **argv = NULL;
    cr_assert_eq(galv_world_new(&d.world, &argc, &argv, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_host_backend_new(&d.b, d.world, &err), GALV_OK, "%s",
                 err.message);
    return d;
}

void device_close(device *d)
{
    galv_err err = GALV_ERR_INIT;
    d->b->synchronize(d->b);
    cr_expect_eq(d->b->status(d->b, &err), GALV_OK, "%s", err.message);
    cr_expect_eq(d->b->allocated_bytes(d->b), 0, "the test gives all back");
    d->b->free(d->b);
    galv_world_free(d->world);
}

void fill_random(double *x, size_t n, unsigned seed)
{
    uint64_t state = seed * 2654435761U + 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        /* to float and back, so that both sides compute on the same numbers */
        x[i] = (double)(float)((double)(state >> 40) / (double)(1 << 23) - 1.0);
    }
}

float *put(const device *d, const double *x, size_t n)
{
    float *memory = d->b->allocate(d->b, n * sizeof(float));
    float *values = malloc(n * sizeof *values + 1);
    cr_assert(memory != NULL && values != NULL);
    for (size_t i = 0; i < n; i++) {
        values[i] = (float)x[i];
    }
    d->b->upload(d->b, memory, values, n, GALV_FLOAT32);
    free(values);
    return memory;
}

int32_t *put_int(const device *d, const int32_t *x, size_t n)
{
    int32_t *memory = d->b->allocate(d->b, n * sizeof *x);
    cr_assert_not_null(memory);
    d->b->upload(d->b, memory, x, n, GALV_INT32);
    return memory;
}

float *put_all(const device *d, double value, size_t n)
{
    double *values = malloc(n * sizeof *values + 1);
    cr_assert_not_null(values);
    for (size_t i = 0; i < n; i++) {
        values[i] = value;
    }
    float *memory = put(d, values, n);
    free(values);
    return memory;
}

void give_back(const device *d, void *memory)
{
    d->b->release(d->b, memory, GALV_STREAM_COMPUTE);
}

static void expect_values(const char *what, const device *d, const float *have,
                          const double *want, size_t n, double tolerance)
{
    float *values = malloc(n * sizeof *values + 1);
    cr_assert_not_null(values);
    d->b->synchronize(d->b);
    d->b->download(d->b, values, have, n, GALV_FLOAT32);
    for (size_t i = 0; i < n; i++) {
        double wanted = want[i];
        double had = (double)values[i];
        bool close = isinf(wanted)
                         ? had == wanted
                         : fabs(had - wanted) <= tolerance * (1 + fabs(wanted));
        cr_expect(close, "%s[%zu] is %.9g, not %.9g", what, i, had, wanted);
        if (!close) {
            break;
        }
    }
    free(values);
}

void expect_close(const char *what, const device *d, const float *have,
                  const double *want, size_t n, double tolerance)
{
    expect_values(what, d, have, want, n, tolerance);
}

void expect_gradient(const char *what, const device *d, const float *gradient,
                     double (*loss)(void *state), void *state, double *x, size_t n)
{
    double *want = malloc(n * sizeof *want + 1);
    cr_assert_not_null(want);
    const double step = 1e-5;
    for (size_t i = 0; i < n; i++) {
        double middle = x[i];
        x[i] = middle + step;
        double above = loss(state);
        x[i] = middle - step;
        double below = loss(state);
        x[i] = middle;
        want[i] = (above - below) / (2 * step);
    }
    expect_values(what, d, gradient, want, n, 2e-5);
    free(want);
}
