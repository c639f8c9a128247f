/* Errors of predicted kernels, by device and kind of kernel. */
#ifndef GALV_BENCHMARKS_KERNEL_ERRORS_H
#define GALV_BENCHMARKS_KERNEL_ERRORS_H

#include <stddef.h>

#define MOST_CLASSES 400

typedef struct error_class {
    char device[32];
    char kind[48];
    double target; /* per cent, of the mean absolute error; 0 = none */
    size_t n, capacity;
    double *errors; /* predicted over measured, less 1 */
} error_class;

typedef struct kernel_errors {
    int n_classes;
    error_class classes[MOST_CLASSES];
} kernel_errors;

/* Counts one kernel. Without both times, or room for another class, it counts nowhere.
 */
void kernel_errors_add(kernel_errors *errors, const char *device, const char *kind,
                       double target, double predicted, double measured);

/* Prints a line for each class, by device and kind, and frees all. */
void kernel_errors_print(kernel_errors *errors);

#endif
