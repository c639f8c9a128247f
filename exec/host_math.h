/* Functions and sums that the compiler turns into vector code, for the loops of the
 * host backend. The order of all sums is fixed here, not by the compiler, so the width
 * of a processor's vectors does not change a bit. */
#ifndef GALV_EXEC_HOST_MATH_H
#define GALV_EXEC_HOST_MATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* e^x within 2 units of the last place for -87 <= x <= 88; 0 below, NaN for NaN, and
 * above 88 no more than e^88 (our arguments are differences to a maximum, or signs of
 * what has saturated). With x = n ln 2 + r, |r| <= ln(2)/2, it is 2^n times a
 * polynomial in r. Source of the polynomial and of ln 2 in two parts: Cephes (Moshier),
 * expf. */
static inline float exp_of(float x)
{
    const float shift =
        12582912.0F; /* 1.5 * 2^23: adding it rounds to a whole number */
    float y = x < -87.0F ? -87.0F : x;
    y = y > 88.0F ? 88.0F : y;
    float shifted = y * 1.44269504F + shift;
    float n = shifted - shift;
    float r = y - n * 0.693359375F;
    r = r - n * -2.12194440e-4F;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    uint32_t bits = 0;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + (127U << 23); /* the low bits of `shifted` are n */
    float power = 0;
    memcpy(&power, &bits, sizeof power);
    return x < -87.0F ? 0.0F : p * power;
}

static inline float sigmoid_of(float x)
{
    return 1.0F / (1.0F + exp_of(-x));
}

/* Good to an absolute 1e-7, which is all that 1 + tanh needs. */
static inline float tanh_of(float x)
{
    return 1.0F - 2.0F / (exp_of(2.0F * x) + 1.0F);
}

enum { HOST_LANES = 8 };

/* Sums run in lanes that do not wait for each other. */
static inline double lanes_sum(const double *lanes)
{
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
           ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

static inline double sum_of(const float *x, size_t n)
{
    double lanes[HOST_LANES] = {0};
    size_t i = 0;
    for (; i + HOST_LANES <= n; i += HOST_LANES) {
        for (size_t lane = 0; lane < HOST_LANES; lane++) {
            lanes[lane] += (double)x[i + lane];
        }
    }
    for (; i < n; i++) {
        lanes[i % HOST_LANES] += (double)x[i];
    }
    return lanes_sum(lanes);
}

/* Sum of x * y. */
static inline double dot_of(const float *x, const float *y, size_t n)
{
    double lanes[HOST_LANES] = {0};
    size_t i = 0;
    for (; i + HOST_LANES <= n; i += HOST_LANES) {
        for (size_t lane = 0; lane < HOST_LANES; lane++) {
            lanes[lane] += (double)x[i + lane] * (double)y[i + lane];
        }
    }
    for (; i < n; i++) {
        lanes[i % HOST_LANES] += (double)x[i] * (double)y[i];
    }
    return lanes_sum(lanes);
}

/* Sum of (x - mean)^2. */
static inline double sum_around(const float *x, size_t n, double mean)
{
    double lanes[HOST_LANES] = {0};
    size_t i = 0;
    for (; i + HOST_LANES <= n; i += HOST_LANES) {
        for (size_t lane = 0; lane < HOST_LANES; lane++) {
            double d = (double)x[i + lane] - mean;
            lanes[lane] += d * d;
        }
    }
    for (; i < n; i++) {
        double d = (double)x[i] - mean;
        lanes[i % HOST_LANES] += d * d;
    }
    return lanes_sum(lanes);
}

/* The greatest of x, `least` when there is none; a NaN may be passed over. */
static inline float max_of(const float *x, size_t n, float least)
{
    float lanes[HOST_LANES];
    for (size_t lane = 0; lane < HOST_LANES; lane++) {
        lanes[lane] = least;
    }
    size_t i = 0;
    for (; i + HOST_LANES <= n; i += HOST_LANES) {
        for (size_t lane = 0; lane < HOST_LANES; lane++) {
            lanes[lane] = x[i + lane] > lanes[lane] ? x[i + lane] : lanes[lane];
        }
    }
    for (; i < n; i++) {
        lanes[0] = x[i] > lanes[0] ? x[i] : lanes[0];
    }
    for (size_t lane = 1; lane < HOST_LANES; lane++) {
        lanes[0] = lanes[lane] > lanes[0] ? lanes[lane] : lanes[0];
    }
    return lanes[0];
}

/* x := e^(x - shift). */
static inline void exp_all(float *x, float shift, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = exp_of(x[i] - shift);
    }
}

#endif
