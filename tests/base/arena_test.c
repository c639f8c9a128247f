#include "base/arena.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

GALV_TEST_SUITE(base_arena);

Test(base_arena, objects_are_aligned_zeroed_and_apart)
{
    galv_arena *arena = galv_arena_new();
    unsigned char *objects[500];
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 500; i++) {
            size_t size = i * 7 % 300 + 1;
            objects[i] = galv_arena_calloc(arena, 1, size);
            cr_assert_not_null(objects[i]);
            cr_expect_eq((uintptr_t)objects[i] % _Alignof(max_align_t), 0);
            for (size_t byte = 0; byte < size; byte++) {
                cr_assert_eq(objects[i][byte], 0, "round %zu object %zu", round, i);
            }
            memset(objects[i], (int)(i % 255) + 1, size);
        }
        for (size_t i = 0; i < 500; i++) {
            cr_expect_eq(objects[i][i * 7 % 300], i % 255 + 1, "object %zu", i);
        }
        galv_arena_reset(arena); /* the second round reuses dirty memory */
        cr_expect_eq(galv_arena_used_bytes(arena), 0);
    }
    galv_arena_free(arena);
    galv_arena_free(NULL);
}

Test(base_arena, overflow_and_impossible_sizes_give_null)
{
    galv_arena *arena = galv_arena_new();
    cr_expect_null(galv_arena_calloc(arena, SIZE_MAX, 2));
    cr_expect_null(galv_arena_calloc(arena, SIZE_MAX / 2 + 2, 2));
    cr_expect_null(galv_arena_calloc(arena, SIZE_MAX, 1));
    cr_expect_not_null(galv_arena_calloc(arena, 0, 8));
    cr_expect_not_null(galv_arena_calloc(arena, 8, 0));
    galv_arena_free(arena);
}

Test(base_arena, large_objects_and_reset_keep_working)
{
    galv_arena *arena = galv_arena_new();
    for (int round = 0; round < 3; round++) {
        char *large = galv_arena_calloc(arena, 1 << 20, 1);
        char *small = galv_arena_calloc(arena, 1, 1);
        cr_assert(large != NULL && small != NULL);
        large[(1 << 20) - 1] = 'x';
        *small = 'y';
        cr_expect_eq(galv_arena_used_bytes(arena), (1 << 20) + 1);
        galv_arena_reset(arena);
    }
    cr_expect_str_eq(galv_arena_printf(arena, "%s-%d", "layer", 12), "layer-12");
    cr_expect_str_eq(galv_arena_strdup(arena, ""), "");
    galv_arena_free(arena);
}
