/* A host backend of one rank for tests, random data, and gradients by differences. */
#ifndef GALV_TESTS_EXEC_SUPPORT_H
#define GALV_TESTS_EXEC_SUPPORT_H

#include "exec/host.h"

typedef struct device {
    galv_world *world;
    galv_backend *b;
} device;

/* A backend of one rank, whatever started the test. */
device device_open(void);
/* Asserts that no error came up, and closes. */
void device_close(device *d);

/* Values between -1 and 1, by a small generator of our own from a seed. */
void fill_random(double *x, size_t n, unsigned seed);
/* A buffer of the device that holds x. */
float *put(const device *d, const double *x, size_t n);
int32_t *put_int(const device *d, const int32_t *x, size_t n);
/* A buffer of n values that are all `value`. */
float *put_all(const device *d, double value, size_t n);
void give_back(const device *d, void *memory);

/* Asserts |have - want| <= tolerance * (1 + |want|) for all. */
void expect_close(const char *what, const device *d, const float *have,
                  const double *want, size_t n, double tolerance);
/* Asserts that the gradient in device memory is that of `loss`, a function of x[n] and
 * whatever else is behind `state`, by central differences. */
void expect_gradient(const char *what, const device *d, const float *gradient,
                     double (*loss)(void *state), void *state, double *x, size_t n);

#endif
