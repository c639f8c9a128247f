#include "tests/exec/gpu/gpu_check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t draw(check *c, uint32_t below)
{
    c->random = c->random * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(c->random >> 33) % below;
}

/* The nearest bf16 value, ties to even. */
static float to_bf16(float x)
{
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    bits += 0x7fffU + (bits >> 16 & 1U);
    bits &= 0xffff0000U;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void *new_values(size_t n)
{
    void *values = malloc((n + GUARD) * 4);
    if (values == NULL) {
        fprintf(stderr, "gpu-check: out of memory of the host\n");
        exit(1);
    }
    return values;
}

static int32_t guard_value(size_t i)
{
    return (int32_t)i - 32; /* the same in every type */
}

static twin put(check *c, void *values, size_t n, galv_element type)
{
    twin t = {{NULL, NULL}, n, type};
    for (size_t i = 0; i < GUARD; i++) {
        if (type == GALV_INT32) {
            ((int32_t *)values)[n + i] = guard_value(i);
        } else {
            ((float *)values)[n + i] = (float)guard_value(i);
        }
    }
    for (int side = 0; side < N_SIDES; side++) {
        galv_backend *b = c->b[side];
        t.at[side] = b->allocate(b, (n + GUARD) * 4);
        if (t.at[side] != NULL) {
            b->upload(b, t.at[side], values, n + GUARD, type);
        }
    }
    free(values);
    return t;
}

twin twin_new(check *c, size_t n, galv_element type, double size)
{
    float *values = new_values(n);
    for (size_t i = 0; i < n; i++) {
        float x = (float)(((double)draw(c, 1U << 24) / (1U << 23) - 1) * size);
        values[i] = type == GALV_ELEMENT ? to_bf16(x) : x;
    }
    return put(c, values, n, type);
}

twin twin_all(check *c, size_t n, galv_element type, double value)
{
    float *values = new_values(n);
    for (size_t i = 0; i < n; i++) {
        values[i] = (float)value;
    }
    return put(c, values, n, type);
}

twin twin_ints(check *c, const int32_t *from, size_t n)
{
    int32_t *values = new_values(n);
    memcpy(values, from, n * sizeof *values);
    return put(c, values, n, GALV_INT32);
}

twin twin_random_ints(check *c, size_t n, int32_t low, int32_t high)
{
    int32_t *values = new_values(n);
    for (size_t i = 0; i < n; i++) {
        values[i] = low + (int32_t)draw(c, (uint32_t)(high - low));
    }
    return put(c, values, n, GALV_INT32);
}

void twin_free(check *c, twin *t)
{
    for (int side = 0; side < N_SIDES; side++) {
        c->b[side]->release(c->b[side], t->at[side], on);
    }
}

static void count(check *c, bool passed)
{
    c->n_passed += passed;
    c->n_failed += !passed;
    fflush(stdout);
}

void claim(check *c, bool holds, const char *format, ...)
{
    va_list arguments;
    if (holds && c->b[GPU]->rank != 0) { /* one rank tells what went well */
        count(c, true);
        return;
    }
    va_start(arguments, format);
    printf("%s  ", holds ? "ok  " : "FAIL");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    count(c, holds);
}

static double value_at(const void *values, size_t i, galv_element type)
{
    return type == GALV_INT32 ? ((const int32_t *)values)[i]
                              : (double)((const float *)values)[i];
}

typedef struct difference {
    double most, rms;
    size_t where;
    bool guarded;
} difference;

static difference differ(const void *host, const void *gpu, const twin *t)
{
    difference d = {0, 0, 0, true};
    size_t n_finite = 0;
    for (size_t i = 0; i < t->n; i++) {
        double x = value_at(host, i, t->type);
        d.rms += isfinite(x) ? x * x : 0;
        n_finite += isfinite(x);
    }
    d.rms = n_finite > 0 ? sqrt(d.rms / (double)n_finite) : 0;
    for (size_t i = 0; i < t->n; i++) {
        double x = value_at(host, i, t->type);
        double y = value_at(gpu, i, t->type);
        bool same = x == y || (isnan(x) && isnan(y));
        double error = same ? 0 : fabs(y - x) / (fabs(x) + d.rms);
        error = isnan(error) || isinf(x) != isinf(y) ? INFINITY : error;
        if (error > d.most) {
            d.most = error;
            d.where = i;
        }
    }
    for (size_t i = 0; i < GUARD; i++) {
        d.guarded = d.guarded && value_at(gpu, t->n + i, t->type) == guard_value(i);
    }
    return d;
}

void compare(check *c, const char *what, const twin *t, double tolerance)
{
    void *values[N_SIDES];
    galv_err err = GALV_ERR_INIT;
    for (int side = 0; side < N_SIDES; side++) {
        galv_backend *b = c->b[side];
        values[side] = new_values(t->n);
        memset(values[side], 0xff, (t->n + GUARD) * 4);
        b->synchronize(b);
        b->download(b, values[side], t->at[side], t->n + GUARD, t->type);
        b->status(b, &err);
    }
    difference d = differ(values[HOST], values[GPU], t);
    bool passed = err.status == GALV_OK && d.most <= tolerance && d.guarded;
    if (passed && c->b[GPU]->rank != 0) {
        count(c, true);
        free(values[HOST]);
        free(values[GPU]);
        return;
    }
    printf("%s  %-52s error %.2e, allowed %.0e", passed ? "ok  " : "FAIL", what, d.most,
           tolerance);
    if (!passed && err.status != GALV_OK) {
        printf("; %s (%s)", err.message, err.hint);
    } else if (!passed) {
        printf("; [%zu] is %g, on the host %g%s", d.where,
               value_at(values[GPU], d.where, t->type),
               value_at(values[HOST], d.where, t->type),
               d.guarded ? "" : "; wrote behind its end");
    }
    printf("\n");
    count(c, passed);
    free(values[HOST]);
    free(values[GPU]);
    if (err.status != GALV_OK) {
        printf("stopped: an error sticks\n");
        exit(1);
    }
}
