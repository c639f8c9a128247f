/* Order and cells, against a plain insertion sort and hand-made timelines. */
#include "tests/support/leaks.h"
#include "tests/traces/helpers.h"
#include "traces/timeline.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(traces_timeline);

static bool after(const galv_span *a, const galv_span *b)
{
    if (a->rank != b->rank) {
        return a->rank > b->rank;
    }
    if (a->stream != b->stream) {
        return a->stream > b->stream;
    }
    if (a->start_s > b->start_s || a->start_s < b->start_s) {
        return a->start_s > b->start_s;
    }
    return a->end_s > b->end_s;
}

Test(traces_timeline, sorting_agrees_with_a_plain_stable_sort)
{
    galv_arena *arena = galv_arena_new();
    const size_t sizes[] = {0, 1, 2, 7, 8, 9, 33, 500};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        galv_timeline t = test_random_timeline(s + 11, sizes[s], arena);
        for (size_t i = 0; i < t.n_spans; i++) {
            t.spans[i].bytes = (double)i; /* tells equal spans apart */
            if (i % 3 == 0) {
                t.spans[i].start_s = 1;
                t.spans[i].end_s = 2;
            }
        }
        galv_span *plain = GALV_NEW_ARRAY(arena, galv_span, t.n_spans);
        for (size_t i = 0; i < t.n_spans; i++) {
            size_t place = i;
            for (; place > 0 && after(&plain[place - 1], &t.spans[i]); place--) {
                plain[place] = plain[place - 1];
            }
            plain[place] = t.spans[i];
        }
        galv_timeline_sort(&t);
        cr_expect(t.n_spans == 0 ||
                      memcmp(plain, t.spans, t.n_spans * sizeof *plain) == 0,
                  "size %zu", sizes[s]);
        for (size_t i = 1; i < t.n_samples; i++) {
            cr_expect(t.samples[i - 1].rank < t.samples[i].rank ||
                      (t.samples[i - 1].rank == t.samples[i].rank &&
                       t.samples[i - 1].time_s <= t.samples[i].time_s));
        }
    }
    galv_arena_free(arena);
}

/* One letter a span, one second each: F forward, B backward, I inputs, W weights, R
 * recompute, o optimizer; layers count down from 20; a digit sets the micro-batch. */
static galv_timeline timeline_of(const char *letters, galv_span spans[32])
{
    galv_timeline t = {.n_ranks = 1, .n_chunks = 1, .spans = spans};
    int32_t micro_batch = 0;
    for (const char *at = letters; *at != '\0'; at++) {
        if (*at >= '0' && *at <= '9') {
            micro_batch = *at - '0';
            continue;
        }
        static const char kinds[] = "FBIWRo";
        double start_s = 2 * (double)t.n_spans; /* a second of waiting in between */
        uint8_t kind = (uint8_t)(strchr(kinds, *at) - kinds);
        static const uint8_t kind_of[] = {
            GALV_OP_FORWARD,         GALV_OP_BACKWARD,  GALV_OP_BACKWARD_INPUT,
            GALV_OP_BACKWARD_WEIGHT, GALV_OP_RECOMPUTE, GALV_OP_OPTIMIZER};
        spans[t.n_spans] = (galv_span){.kind = kind_of[kind],
                                       .pass = kind_of[kind],
                                       .micro_batch = micro_batch,
                                       .first_layer = 20 - (int32_t)t.n_spans,
                                       .n_layers = 1,
                                       .start_s = start_s,
                                       .end_s = start_s + 1,
                                       .bytes = 1};
        t.n_spans++;
    }
    return t;
}

Test(traces_timeline, layers_of_one_pass_become_one_cell)
{
    static const struct {
        const char *letters;
        const char *cells;
    } cases[] = {
        {"0FFF1FF", "FF"},       {"0FF0BB", "FB"}, {"0RRBB", "RB"}, {"0RBRBRB", "B"},
        {"0IWIW", "B"},          {"0IIWW", "IW"},  {"0RIRI", "I"},  {"0RWRW", "W"},
        {"0FB1FB2FB", "FBFBFB"}, {"0RIRIWW", "B"}, {"0ooo", "o"},   {"", ""},
        {"0FFF1BB0BB", "FBB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_span spans[32];
        galv_timeline t = timeline_of(cases[i].letters, spans);
        galv_timeline_join_cells(&t);
        char cells[32] = "";
        for (size_t cell = 0; cell < t.n_spans; cell++) {
            cells[cell] = galv_op_letter(t.spans[cell].kind);
            cells[cell + 1] = '\0';
        }
        cr_expect_str_eq(cells, cases[i].cells, "case %s", cases[i].letters);
    }
}

Test(traces_timeline, a_cell_covers_times_layers_and_bytes_of_its_spans)
{
    galv_span spans[32];
    galv_timeline t = timeline_of("0BBB", spans);
    galv_timeline_join_cells(&t);
    cr_assert_eq(t.n_spans, 1);
    cr_expect_eq(spans[0].start_s, 0);
    cr_expect_eq(spans[0].end_s, 5);
    cr_expect_eq(spans[0].first_layer, 18);
    cr_expect_eq(spans[0].n_layers, 3);
    cr_expect_eq(spans[0].bytes, 3);
}

Test(traces_timeline, other_streams_and_other_ranks_are_not_joined)
{
    galv_span spans[32];
    galv_timeline t = timeline_of("0FFFF", spans);
    spans[0].stream = spans[1].stream = GALV_STREAM_TP;
    spans[2].rank = 1;
    galv_timeline_join_cells(&t);
    cr_expect_eq(t.n_spans, 4);
}

Test(traces_timeline, other_chunks_and_other_stages_are_not_joined)
{
    galv_span spans[32];
    galv_timeline t = timeline_of("0FFFF", spans);
    spans[2].chunk = spans[3].chunk = 1;
    spans[3].stage = 1;
    galv_timeline_join_cells(&t);
    cr_assert_eq(t.n_spans, 3);
    cr_expect_eq(spans[0].n_layers, 2);
    cr_expect_eq(spans[1].chunk, 1);
    cr_expect_eq(spans[2].stage, 1);
}
