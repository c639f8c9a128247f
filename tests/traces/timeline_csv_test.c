/* The round trip through CSV, and what is refused. */
#include "tests/support/leaks.h"
#include "tests/traces/helpers.h"
#include "traces/timeline.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

GALV_TEST_SUITE(traces_timeline_csv);

static galv_status read_text(galv_timeline *t, const char *text, galv_arena *arena,
                             galv_err *err)
{
    galv_csv table;
    galv_status status =
        galv_csv_read_text(&table, "t.csv", text, strlen(text), arena, err);
    return status == GALV_OK ? galv_timeline_read_table(t, &table, arena, err) : status;
}

Test(traces_timeline_csv, random_timelines_read_back_to_the_last_bit)
{
    char path[64];
    test_temporary_path(path);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_timeline t = test_random_timeline(seed, (size_t)seed * 17, arena);
        if (seed == 12) {
            t.first_layer = t.last_layer = NULL;
        }
        double limits[5] = {1, 2.5, 1e9, 0, 4};
        t.rank_limit_bytes = seed % 3 == 0 && seed < 12 ? limits : NULL;
        galv_timeline_sort(&t);
        cr_assert_eq(galv_timeline_write_csv(&t, path, &err), GALV_OK, "%s",
                     err.message);
        galv_timeline back = {0};
        cr_assert_eq(galv_timeline_read_csv(&back, path, arena, &err), GALV_OK,
                     "%s:%ld: %s", err.file, err.line, err.message);
        cr_expect_str_eq(back.title, t.title);
        cr_expect_str_eq(back.subtitle, t.subtitle);
        cr_expect_eq(back.measured, t.measured);
        cr_expect_eq(back.n_ranks, t.n_ranks);
        cr_expect_eq(back.n_chunks, t.n_chunks);
        cr_expect_eq(memcmp(&back.duration_s, &t.duration_s, sizeof(double)), 0);
        cr_expect_eq(back.memory_limit_bytes, t.memory_limit_bytes);
        cr_expect_eq(back.first_layer == NULL, t.first_layer == NULL);
        for (int32_t rank = 0; rank < t.n_ranks && t.first_layer != NULL; rank++) {
            cr_expect_eq(back.first_layer[rank], t.first_layer[rank]);
            cr_expect_eq(back.last_layer[rank], t.last_layer[rank]);
            cr_expect_eq(galv_timeline_limit(&back, rank),
                         galv_timeline_limit(&t, rank));
        }
        cr_expect_eq(back.rank_limit_bytes == NULL, t.rank_limit_bytes == NULL);
        cr_assert_eq(back.n_spans, t.n_spans);
        for (size_t i = 0; i < t.n_spans; i++) {
            cr_expect_eq(memcmp(&back.spans[i], &t.spans[i], sizeof t.spans[i]), 0,
                         "seed %d span %zu", (int)seed, i);
        }
        cr_assert_eq(back.n_samples, t.n_samples);
        for (size_t i = 0; i < t.n_samples; i++) {
            cr_expect_eq(back.samples[i].rank, t.samples[i].rank);
            cr_expect_eq(back.samples[i].time_s, t.samples[i].time_s);
            cr_expect_eq(back.samples[i].bytes, t.samples[i].bytes);
        }
        galv_arena_free(arena);
    }
    unlink(path);
}

Test(traces_timeline_csv, a_tracer_needs_five_columns_only)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_timeline t;
    cr_assert_eq(read_text(&t,
                           "end_s,start_s,kind,stream,rank,remark\n"
                           "2.5,1,all_reduce,tp,3,hello\n"
                           "1,0.5,backward,compute,0,\n",
                           arena, &err),
                 GALV_OK, "%s", err.message);
    cr_expect_eq(t.n_spans, 2);
    cr_expect_eq(t.spans[0].rank, 0);
    cr_expect_eq(t.spans[0].pass, GALV_OP_BACKWARD);
    cr_expect_eq(t.spans[0].micro_batch, -1);
    cr_expect_eq(t.spans[0].first_layer, -1);
    cr_expect_eq(t.spans[1].kind, GALV_OP_ALL_REDUCE);
    cr_expect(t.measured, "a file without an iteration row was measured");
    cr_expect_eq(t.n_ranks, 4);
    cr_expect_eq(t.duration_s, 2.5);
    galv_arena_free(arena);
}

Test(traces_timeline_csv, what_cannot_be_is_refused_with_its_line)
{
    static const struct {
        const char *row;
        const char *says; /* in the message or the hint */
    } cases[] = {
        {"0,compute,forward,1,0.5,,", "before the start"},
        {"0,compute,forward,-1,0.5,,", ""},
        {"0,compute,forward,nan,0.5,,", ""},
        {"0,compute,forward,0,inf,,", ""},
        {"0,compute,forward,0,1e300,,", ""},
        {"0,compute,forward,0,,,", "missing"},
        {"0,compute,forward,0,1,-5,", ""},
        {"0,compute,foward,0,1,,", "forward"},
        {"0,computer,forward,0,1,,", "compute"},
        {"0,,forward,0,1,,", "missing"},
        {"0,compute,,0,1,,", "missing"},
        {"-1,compute,forward,0,1,,", ""},
        {"9999999999,compute,forward,0,1,,", ""},
        {",compute,forward,0,1,,", "missing"},
        {"0,compute,forward,0,1,,-2", ""},
        {"0.5,compute,forward,0,1,,", ""},
        {"0,,memory,0,,,", "missing"},
        {"1,measured,iteration,,1,,\n1,measured,iteration,,1,,", "second"},
        {"1,mesured,iteration,,1,,", "measured"},
        {"1,measured,iteration,,1,,\n1,compute,forward,0,1,,", "rank 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_timeline t = {.n_ranks = 77};
        char text[400];
        snprintf(text, sizeof text,
                 "rank,stream,kind,start_s,end_s,bytes,micro_batch\n%s\n",
                 cases[i].row);
        cr_expect_eq(read_text(&t, text, arena, &err), GALV_INPUT, "case %s",
                     cases[i].row);
        cr_expect(strstr(err.message, cases[i].says) != NULL ||
                      strstr(err.hint, cases[i].says) != NULL,
                  "case %s says %s (%s)", cases[i].row, err.message, err.hint);
        cr_expect_geq(err.line, 2, "case %s", cases[i].row);
        cr_expect_str_eq(err.file, "t.csv");
        cr_expect_eq(t.n_ranks, 77, "case %s touched its output", cases[i].row);
        galv_arena_free(arena);
    }
}

Test(traces_timeline_csv, a_missing_column_is_named)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_timeline t;
    cr_expect_eq(read_text(&t, "rank,kind,start_s,end_s\n", arena, &err), GALV_INPUT);
    cr_expect(strstr(err.message, "stream") != NULL, "%s", err.message);
    galv_arena_free(arena);
}

Test(traces_timeline_csv, an_unsound_timeline_is_not_written)
{
    galv_span span = {.start_s = 2, .end_s = 1};
    galv_timeline t = {.n_ranks = 1, .n_spans = 1, .spans = &span};
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_timeline_write_csv(&t, "/nonexistent/t.csv", &err),
                 GALV_INTERNAL);
}
