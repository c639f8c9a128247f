#include "base/parallel.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>

GALV_TEST_SUITE(base_parallel);

#define N_ITEMS 1000

typedef struct slots {
    int n_jobs;
    atomic_int wrong_worker;
    int runs[N_ITEMS];
} slots;

static void body(void *context, size_t item, int worker)
{
    slots *all = context;
    if (worker < 0 || worker >= all->n_jobs) {
        atomic_fetch_add(&all->wrong_worker, 1);
    }
    all->runs[item]++;
}

Test(base_parallel, every_item_runs_once_for_any_number_of_jobs)
{
    static const int JOBS[] = {1, 2, 3, 8, 64};
    for (size_t j = 0; j < sizeof JOBS / sizeof JOBS[0]; j++) {
        slots all = {.n_jobs = JOBS[j]};
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(galv_parallel_for(JOBS[j], N_ITEMS, body, &all, &err), GALV_OK);
        for (size_t i = 0; i < N_ITEMS; i++) {
            cr_assert_eq(all.runs[i], 1, "jobs %d item %zu", JOBS[j], i);
        }
        cr_expect_eq(atomic_load(&all.wrong_worker), 0);
    }
}

Test(base_parallel, no_items_and_no_jobs_are_fine)
{
    slots all = {.n_jobs = 1};
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_parallel_for(4, 0, body, &all, &err), GALV_OK);
    cr_expect_eq(galv_parallel_for(0, 1, body, &all, &err), GALV_OK);
    cr_expect_eq(galv_parallel_for(-3, 1, body, &all, &err), GALV_OK);
    cr_expect_eq(all.runs[0], 2);
    cr_expect_geq(galv_parallel_default_jobs(), 1);
}

#define N_MEETING 4

static void meet(void *context, size_t item, int worker)
{
    atomic_int *arrived = context;
    (void)item;
    (void)worker;
    atomic_fetch_add(arrived, 1);
    while (atomic_load(arrived) < N_MEETING) {
        sched_yield();
    }
}

/* Items that wait for each other end only if each has a thread of its own. */
Test(base_parallel, as_many_items_run_at_once_as_there_are_jobs, .timeout = 20)
{
    atomic_int arrived = 0;
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_parallel_for(N_MEETING, N_MEETING, meet, &arrived, &err),
                 GALV_OK);
}

/* With too little address space for the threads nothing may have been run. Not under
 * AddressSanitizer, which needs address space of its own. */
#if !defined(__SANITIZE_ADDRESS__)
Test(base_parallel, threads_that_cannot_be_made_run_nothing)
{
    slots all = {.n_jobs = 512};
    galv_err err = GALV_ERR_INIT;
    struct rlimit before;
    cr_assert_eq(getrlimit(RLIMIT_AS, &before), 0);
    struct rlimit small = {(rlim_t)1 << 28, before.rlim_max};
    if (setrlimit(RLIMIT_AS, &small) != 0) {
        cr_skip_test("no limit on address space");
    }
    galv_status status = galv_parallel_for(512, N_ITEMS, body, &all, &err);
    setrlimit(RLIMIT_AS, &before);
    if (status == GALV_OK) {
        return; /* stacks are small here: nothing to see */
    }
    cr_expect_eq(status, GALV_NO_MEMORY);
    for (size_t i = 0; i < N_ITEMS; i++) {
        cr_assert_eq(all.runs[i], 0);
    }
}
#endif
