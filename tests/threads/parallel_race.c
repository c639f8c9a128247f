/* Runs the parallel loop under ThreadSanitizer (which Criterion cannot): threads come
 * and go many times, write neighbouring slots, use per-worker state, and report errors.
 * Exit status 0 when every result is right; a race makes TSan fail the program. */
#include "base/parallel.h"

#include <stdio.h>
#include <stdlib.h>

#define N_ITEMS 512
#define N_JOBS  8

typedef struct state {
    double results[N_ITEMS];
    long items_of_worker[N_JOBS]; /* written without a lock: one thread per index */
} state;

static void body(void *context, size_t item, int worker)
{
    state *all = context;
    double sum = 0;
    for (size_t i = 0; i <= item; i++) {
        sum += (double)i;
    }
    all->results[item] = sum;
    all->items_of_worker[worker]++;
}

int main(void)
{
    for (int round = 0; round < 50; round++) {
        static state all; /* zero, and large for a stack under TSan */
        all = (state){0};
        galv_err err = GALV_ERR_INIT;
        int n_jobs = round % N_JOBS + 1;
        if (galv_parallel_for(n_jobs, N_ITEMS, body, &all, &err) != GALV_OK) {
            fprintf(stderr, "parallel_race: %s\n", err.message);
            return 1;
        }
        long n_run = 0;
        for (int worker = 0; worker < N_JOBS; worker++) {
            n_run += all.items_of_worker[worker];
        }
        for (size_t item = 0; item < N_ITEMS; item++) {
            double closed_form = (double)item * ((double)item + 1) / 2;
            if (all.results[item] < closed_form || all.results[item] > closed_form) {
                fprintf(stderr, "parallel_race: item %zu is wrong\n", item);
                return 1;
            }
        }
        if (n_run != N_ITEMS) {
            fprintf(stderr, "parallel_race: %ld items were run\n", n_run);
            return 1;
        }
    }
    return 0;
}
