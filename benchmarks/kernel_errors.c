/* For each device and kind: points, mean absolute error, bias (mean error), the error
 * that 90 % stay under, and the target where there is one. */
#include "benchmarks/kernel_errors.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kernel_errors_add(kernel_errors *errors, const char *device, const char *kind,
                       double target, double predicted, double measured)
{
    if (!(predicted > 0 && measured > 0)) {
        return;
    }
    error_class *c = NULL;
    for (int i = 0; i < errors->n_classes && c == NULL; i++) {
        error_class *have = &errors->classes[i];
        bool same = strcmp(have->device, device) == 0 && strcmp(have->kind, kind) == 0;
        c = same ? have : NULL;
    }
    if (c == NULL) {
        if (errors->n_classes == MOST_CLASSES) {
            return;
        }
        c = &errors->classes[errors->n_classes++];
        memset(c, 0, sizeof *c);
        snprintf(c->device, sizeof c->device, "%s", device);
        snprintf(c->kind, sizeof c->kind, "%s", kind);
        c->target = target;
    }
    if (c->n == c->capacity) {
        size_t capacity = c->capacity > 0 ? 2 * c->capacity : 256;
        double *grown = realloc(c->errors, capacity * sizeof *grown);
        if (grown == NULL) {
            return;
        }
        c->errors = grown;
        c->capacity = capacity;
    }
    c->errors[c->n++] = predicted / measured - 1;
}

static int by_size(const void *a, const void *b)
{
    double x = fabs(*(const double *)a);
    double y = fabs(*(const double *)b);
    return (x > y) - (x < y);
}

static int by_class(const void *a, const void *b)
{
    const error_class *x = a;
    const error_class *y = b;
    int device = strcmp(x->device, y->device);
    return device != 0 ? device : strcmp(x->kind, y->kind);
}

void kernel_errors_print(kernel_errors *errors)
{
    qsort(errors->classes, (size_t)errors->n_classes, sizeof errors->classes[0],
          by_class);
    printf("%-15s %-34s %6s %6s %6s %6s  %s\n", "device", "kernel", "points", "MAPE",
           "bias", "P90", "target");
    for (int i = 0; i < errors->n_classes; i++) {
        error_class *c = &errors->classes[i];
        double sum = 0;
        double bias = 0;
        for (size_t k = 0; k < c->n; k++) {
            sum += fabs(c->errors[k]);
            bias += c->errors[k];
        }
        qsort(c->errors, c->n, sizeof c->errors[0], by_size);
        double n = (double)c->n;
        double mape = 100 * sum / n;
        double p90 = 100 * fabs(c->errors[(size_t)(0.9 * (n - 1))]);
        printf("%-15s %-34s %6zu %6.1f %+6.1f %6.1f", c->device, c->kind, c->n, mape,
               100 * bias / n, p90);
        if (c->target > 0) {
            printf("  %.0f %s", c->target, mape <= c->target ? "met" : "missed");
        }
        printf("\n");
        free(c->errors);
    }
}
