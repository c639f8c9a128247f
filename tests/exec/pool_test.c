/* The device pool's bookkeeping and the order of streams, without a device. */
#include "exec/pool.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(exec_pool);

enum { MIB = 1 << 20 };

static const galv_marks none;

static char *const base = (char *)(uintptr_t)0x7f0000000000;

static galv_pool *pool_of(size_t bytes)
{
    galv_pool *pool = galv_pool_new();
    cr_assert(galv_pool_add(pool, base, bytes, bytes));
    return pool;
}

Test(exec_pool, requests_are_rounded_and_impossible_ones_refused)
{
    cr_expect_eq(galv_pool_rounded(0), 256);
    cr_expect_eq(galv_pool_rounded(1), 256);
    cr_expect_eq(galv_pool_rounded(256), 256);
    cr_expect_eq(galv_pool_rounded(257), 512);
    cr_expect_eq(galv_pool_rounded(SIZE_MAX), 0);
    cr_expect_eq(galv_pool_rounded(SIZE_MAX - 300), 0);
}

Test(exec_pool, neighbours_that_are_free_are_joined)
{
    galv_pool *pool = pool_of(8 * MIB);
    void *a = galv_pool_take(pool, 2 * MIB);
    void *b = galv_pool_take(pool, 2 * MIB);
    void *c = galv_pool_take(pool, 4 * MIB);
    cr_assert(a != NULL && b != NULL && c != NULL);
    cr_expect_null(galv_pool_take(pool, 2 * MIB), "it is full");
    cr_expect(galv_pool_give(pool, a, &none));
    cr_expect(galv_pool_give(pool, c, &none));
    cr_expect_null(galv_pool_take(pool, 6 * MIB), "b stands between");
    cr_expect_null(galv_pool_drop(pool), "b is in the segment");
    cr_expect(galv_pool_give(pool, b, &none));
    cr_expect_not(galv_pool_give(pool, b, &none), "twice");
    cr_expect_not(galv_pool_give(pool, base + 256, &none), "never taken");
    cr_expect_eq(galv_pool_take(pool, 8 * MIB), (void *)base);
    cr_expect_eq(galv_pool_taken_bytes(pool), 8 * MIB);
    cr_expect(galv_pool_give(pool, base, &none));
    cr_expect_eq(galv_pool_drop(pool), (void *)base);
    cr_expect_eq(galv_pool_segments_bytes(pool), 0);
    galv_pool_free(pool);
}

Test(exec_pool, segments_that_touch_are_not_joined)
{
    galv_pool *pool = pool_of(2 * MIB);
    cr_assert(galv_pool_add(pool, base + 2 * MIB, 2 * MIB, 2 * MIB));
    cr_expect_null(galv_pool_take(pool, 4 * MIB));
    void *a = galv_pool_take(pool, 2 * MIB);
    void *b = galv_pool_take(pool, 2 * MIB);
    cr_expect(galv_pool_give(pool, b, &none));
    cr_expect(galv_pool_give(pool, a, &none));
    cr_expect_null(galv_pool_take(pool, 4 * MIB));
    cr_expect_not_null(galv_pool_drop(pool));
    cr_expect_not_null(galv_pool_drop(pool));
    cr_expect_null(galv_pool_drop(pool));
    galv_pool_free(pool);
}

Test(exec_pool, the_next_user_is_told_whom_to_wait_for)
{
    galv_pool *pool = pool_of(8 * MIB);
    char *a = galv_pool_take(pool, 4 * MIB);
    char *b = galv_pool_take(pool, 4 * MIB);
    galv_marks compute = {{0}};
    galv_marks dp = {{0}};
    compute.of[GALV_STREAM_COMPUTE] = 5;
    dp.of[GALV_STREAM_DP] = 3;
    galv_pool_give(pool, a, &compute);
    galv_pool_give(pool, b, &dp);
    char *c = galv_pool_take(pool, 6 * MIB); /* of both */
    const galv_marks *guard = galv_pool_guard(pool, c + 5 * MIB);
    cr_assert_not_null(guard);
    cr_expect_eq(guard->of[GALV_STREAM_COMPUTE], 5);
    cr_expect_eq(guard->of[GALV_STREAM_DP], 3);
    cr_expect_null(galv_pool_guard(pool, c + 6 * MIB), "nobody has that");
    cr_expect_null(galv_pool_guard(pool, base - 1));
    cr_expect_null(galv_pool_guard(pool, base + 8 * MIB));
    galv_pool_free(pool);
}

/* Against a plain array that says of every 256 bytes who has them and after whom. */
enum { UNITS = 4096, HELD = 64 };

typedef struct model {
    int owner[UNITS]; /* 0 = free */
    galv_marks guard[UNITS];
} model;

typedef struct held {
    char *memory;
    size_t units;
} held;

static uint32_t draw(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(*state >> 33) % below;
}

static void take_and_check(galv_pool *pool, model *m, held *h, int id, size_t units)
{
    h->units = units;
    h->memory = galv_pool_take(pool, units * 256);
    if (h->memory == NULL) { /* then no gap is as large */
        size_t run = 0;
        for (size_t i = 0; i < UNITS; i++) {
            run = m->owner[i] == 0 ? run + 1 : 0;
            cr_assert_lt(run, units, "there was room");
        }
        return;
    }
    size_t first = (size_t)(h->memory - base) / 256;
    cr_assert(first + units <= UNITS);
    const galv_marks *guard = galv_pool_guard(pool, h->memory);
    for (size_t i = first; i < first + units; i++) {
        cr_assert_eq(m->owner[i], 0, "handed out twice");
        m->owner[i] = id;
        for (int s = 0; s < GALV_N_STREAMS; s++) {
            cr_assert(m->guard[i].of[s] <= guard->of[s], "a former user is forgotten");
        }
    }
}

Test(exec_pool, no_byte_has_two_owners_and_no_former_user_is_forgotten)
{
    galv_pool *pool = galv_pool_new();
    /* small requests only: one kind of segment */
    cr_assert(galv_pool_add(pool, base, (size_t)UNITS * 256, 256));
    model *m = calloc(1, sizeof *m);
    held all[HELD] = {{NULL, 0}};
    uint64_t state = 1;
    size_t taken = 0;
    for (uint64_t step = 1; step < 20000; step++) {
        int id = (int)draw(&state, HELD);
        held *h = &all[id];
        if (h->memory == NULL) {
            take_and_check(pool, m, h, id + 1, 1 + draw(&state, 200));
            taken += h->memory != NULL ? h->units : 0;
        } else {
            galv_marks marks = {{0}};
            marks.of[draw(&state, GALV_N_STREAMS)] = step;
            size_t first = (size_t)(h->memory - base) / 256;
            for (size_t i = first; i < first + h->units; i++) {
                m->owner[i] = 0;
                galv_marks_join(&m->guard[i], &marks);
            }
            cr_assert(galv_pool_give(pool, h->memory, &marks));
            taken -= h->units;
            h->memory = NULL;
        }
        cr_assert_eq(galv_pool_taken_bytes(pool), taken * 256);
    }
    cr_expect_geq(galv_pool_peak_bytes(pool), taken * 256);
    while (galv_pool_drop_any(pool) != NULL) {
    }
    free(m);
    galv_pool_free(pool);
}

Test(exec_pool, streams_know_what_they_come_after)
{
    galv_order order;
    memset(&order, 0, sizeof order);
    galv_marks freed = {{0}};
    freed.of[GALV_STREAM_COMPUTE] = galv_order_mark(&order, GALV_STREAM_COMPUTE);
    cr_expect(
        !galv_order_lacks(&order, GALV_STREAM_COMPUTE, GALV_STREAM_COMPUTE, &freed));
    cr_expect(galv_order_lacks(&order, GALV_STREAM_DP, GALV_STREAM_COMPUTE, &freed));
    /* an event of compute, waited for by tp; then one of tp, waited for by dp */
    galv_marks event = galv_order_before(&order, GALV_STREAM_COMPUTE);
    galv_order_joins(&order, GALV_STREAM_TP, &event);
    cr_expect(!galv_order_lacks(&order, GALV_STREAM_TP, GALV_STREAM_COMPUTE, &freed));
    event = galv_order_before(&order, GALV_STREAM_TP);
    galv_order_joins(&order, GALV_STREAM_DP, &event);
    cr_expect(!galv_order_lacks(&order, GALV_STREAM_DP, GALV_STREAM_COMPUTE, &freed));
    /* memory released later is not covered by the older event */
    freed.of[GALV_STREAM_COMPUTE] = galv_order_mark(&order, GALV_STREAM_COMPUTE);
    cr_expect(galv_order_lacks(&order, GALV_STREAM_DP, GALV_STREAM_COMPUTE, &freed));
    galv_order_waits(&order, GALV_STREAM_DP, GALV_STREAM_COMPUTE, 2);
    cr_expect(!galv_order_lacks(&order, GALV_STREAM_DP, GALV_STREAM_COMPUTE, &freed));
    cr_expect(galv_order_lacks(&order, GALV_STREAM_CP, GALV_STREAM_COMPUTE, &freed));
    galv_order_settles(&order);
    cr_expect(!galv_order_lacks(&order, GALV_STREAM_CP, GALV_STREAM_COMPUTE, &freed));
}
