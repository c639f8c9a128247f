/* What two pieces of a tensor have in common, against every value looked at by itself.
 */
#include "exec/state.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(exec_state);

enum { ROWS = 7, COLS = 11 };

static uint32_t draw(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525U + 1013904223U;
    return (*seed >> 8) % below;
}

/* Any box, and any run of its values: begins and ends in the middle of rows. */
static galv_piece draw_piece(uint32_t *seed)
{
    galv_piece p = {.rows = ROWS, .cols = COLS};
    p.first_row = draw(seed, ROWS);
    p.n_rows = 1 + draw(seed, (uint32_t)(ROWS - p.first_row));
    p.first_col = draw(seed, COLS);
    p.n_cols = 1 + draw(seed, (uint32_t)(COLS - p.first_col));
    p.begin = draw(seed, (uint32_t)(p.n_rows * p.n_cols));
    p.end = p.begin + 1 + draw(seed, (uint32_t)(p.n_rows * p.n_cols - p.begin));
    return p;
}

/* Of a piece's value, its place in the whole tensor. */
static int64_t place_of(const galv_piece *p, int64_t value)
{
    int64_t i = p->begin + value;
    return (p->first_row + i / p->n_cols) * COLS + p->first_col + i % p->n_cols;
}

typedef struct seen {
    const galv_piece *a, *b;
    int n[ROWS * COLS];
    bool wrong;
} seen;

static void note(void *context, int64_t at_a, int64_t at_b, int64_t n)
{
    seen *s = context;
    for (int64_t i = 0; i < n; i++) {
        int64_t place = place_of(s->a, at_a + i);
        s->wrong = s->wrong || at_a + i < 0 || at_a + i >= s->a->end - s->a->begin ||
                   place != place_of(s->b, at_b + i);
        s->n[place >= 0 && place < ROWS * COLS ? place : 0]++;
    }
}

Test(exec_state, pieces_share_just_the_values_that_are_in_both)
{
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        galv_piece a = draw_piece(&seed);
        galv_piece b = draw_piece(&seed);
        int want[ROWS * COLS] = {0};
        seen s = {.a = &a, .b = &b};
        for (int64_t i = 0; i < a.end - a.begin; i++) {
            for (int64_t k = 0; k < b.end - b.begin; k++) {
                want[place_of(&a, i)] += place_of(&a, i) == place_of(&b, k);
            }
        }
        galv_piece_overlap(&a, &b, note, &s);
        cr_assert(!s.wrong && memcmp(want, s.n, sizeof want) == 0, "round %d", round);
    }
    galv_piece other = {.layer = 1,
                        .rows = ROWS,
                        .cols = COLS,
                        .n_rows = ROWS,
                        .n_cols = COLS,
                        .end = ROWS * COLS};
    galv_piece whole = other;
    whole.layer = 0;
    seen none = {.a = &whole, .b = &other};
    galv_piece_overlap(&whole, &other, note, &none);
    cr_expect_eq(none.n[0], 0);
}
