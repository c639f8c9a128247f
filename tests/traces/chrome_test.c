/* The trace is read back with jansson and held to what viewers ask for. */
#include "tests/support/leaks.h"
#include "tests/traces/helpers.h"
#include "traces/timeline.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

GALV_TEST_SUITE(traces_chrome);

static json_t *write_and_load(const galv_timeline *t)
{
    char path[64];
    test_temporary_path(path);
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_timeline_write_chrome(t, path, &err), GALV_OK, "%s", err.message);
    json_error_t error;
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(root, "line %d: %s", error.line, error.text);
    unlink(path);
    return root;
}

static int64_t thousandth(const json_t *event, const char *key)
{
    return llround(json_number_value(json_object_get(event, key)) * 1000);
}

static bool is_phase(const json_t *event, const char *phase)
{
    return strcmp(json_string_value(json_object_get(event, "ph")), phase) == 0;
}

static json_int_t integer(const json_t *event, const char *key)
{
    return json_integer_value(json_object_get(event, key));
}

Test(traces_chrome, complete_events_of_one_thread_are_disjoint_or_nested)
{
    galv_arena *arena = galv_arena_new();
    galv_timeline t = test_random_timeline(3, 300, arena);
    json_t *root = write_and_load(&t);
    json_t *events = json_object_get(root, "traceEvents");
    size_t n = json_array_size(events);
    size_t n_complete = 0;
    size_t n_counters = 0;
    for (size_t i = 0; i < n; i++) {
        json_t *a = json_array_get(events, i);
        cr_expect(json_is_integer(json_object_get(a, "pid")));
        cr_expect(json_is_integer(json_object_get(a, "tid")));
        n_counters += is_phase(a, "C");
        if (!is_phase(a, "X")) {
            continue;
        }
        n_complete++;
        int64_t a_from = thousandth(a, "ts");
        int64_t a_to = a_from + thousandth(a, "dur");
        cr_expect_geq(a_to, a_from);
        for (size_t j = i + 1; j < n; j++) {
            json_t *b = json_array_get(events, j);
            if (!is_phase(b, "X") || integer(a, "pid") != integer(b, "pid") ||
                integer(a, "tid") != integer(b, "tid")) {
                continue;
            }
            int64_t b_from = thousandth(b, "ts");
            int64_t b_to = b_from + thousandth(b, "dur");
            bool disjoint = a_to <= b_from || b_to <= a_from;
            bool nested = (a_from <= b_from && b_to <= a_to) ||
                          (b_from <= a_from && a_to <= b_to);
            cr_expect(disjoint || nested, "events %zu and %zu", i, j);
        }
    }
    cr_expect_eq(n_complete, t.n_spans);
    cr_expect_eq(n_counters, t.n_samples);
    json_decref(root);
    galv_arena_free(arena);
}

Test(traces_chrome, times_are_microseconds_and_rows_are_named)
{
    galv_span span = {.rank = 1,
                      .micro_batch = 4,
                      .first_layer = 2,
                      .n_layers = 3,
                      .start_s = 0.25,
                      .end_s = 0.2512505};
    int32_t first[2] = {0, 10};
    int32_t last[2] = {9, 19};
    galv_timeline t = {.n_ranks = 2,
                       .n_chunks = 1,
                       .n_spans = 1,
                       .spans = &span,
                       .first_layer = first,
                       .last_layer = last};
    json_t *root = write_and_load(&t);
    json_t *events = json_object_get(root, "traceEvents");
    bool named = false;
    bool seen = false;
    for (size_t i = 0; i < json_array_size(events); i++) {
        json_t *event = json_array_get(events, i);
        const char *name = json_string_value(json_object_get(event, "name"));
        if (is_phase(event, "X")) {
            seen = true;
            cr_expect_eq(thousandth(event, "ts"), 250000000);
            cr_expect_eq(thousandth(event, "dur"), 1250500);
            cr_expect_str_eq(name, "forward mb4");
            json_t *args = json_object_get(event, "args");
            cr_expect_eq(integer(args, "first_layer"), 2);
            cr_expect_eq(integer(args, "n_layers"), 3);
        } else if (strcmp(name, "process_name") == 0 && integer(event, "pid") == 1) {
            named = true;
            cr_expect_str_eq(json_string_value(json_object_get(
                                 json_object_get(event, "args"), "name")),
                             "rank 1 (layers 10-19)");
        }
    }
    cr_expect(named);
    cr_expect(seen);
    cr_expect_str_eq(json_string_value(json_object_get(root, "displayTimeUnit")), "ms");
    json_decref(root);
}

Test(traces_chrome, titles_with_quotes_and_control_characters_survive)
{
    galv_timeline t = {.n_ranks = 0};
    strcpy(t.title, "a \"plan\"\\ with\ttab, \x01 and \x1f\n and \xc3\xa9");
    json_t *root = write_and_load(&t);
    cr_expect_str_eq(
        json_string_value(json_object_get(json_object_get(root, "otherData"), "title")),
        t.title);
    json_decref(root);
}

/* Sends of a looped pipeline of two stages and two chunks, forward and backward, and
 * the receives that answer them. */
Test(traces_chrome, flows_lead_from_each_send_to_its_receive)
{
    static const struct {
        int32_t stage, chunk, to_stage, to_chunk;
        uint8_t pass;
    } messages[] = {
        {0, 0, 1, 0, GALV_OP_FORWARD},  {1, 0, 0, 1, GALV_OP_FORWARD},
        {0, 1, 1, 1, GALV_OP_FORWARD},  {1, 1, 0, 1, GALV_OP_BACKWARD},
        {0, 1, 1, 0, GALV_OP_BACKWARD}, {1, 0, 0, 0, GALV_OP_BACKWARD_INPUT},
    };
    const size_t n = sizeof messages / sizeof messages[0];
    galv_span spans[2 * 6 + 1];
    for (size_t i = 0; i < n; i++) {
        galv_span send = {.rank = messages[i].stage,
                          .stream = GALV_STREAM_PP_SEND,
                          .kind = GALV_OP_SEND,
                          .pass = messages[i].pass,
                          .stage = messages[i].stage,
                          .chunk = messages[i].chunk,
                          .micro_batch = 5,
                          .start_s = (double)i,
                          .end_s = (double)i + 1};
        galv_span recv = send;
        recv.rank = recv.stage = messages[i].to_stage;
        recv.chunk = messages[i].to_chunk;
        recv.stream = GALV_STREAM_PP_RECV;
        recv.kind = GALV_OP_RECV;
        spans[2 * i] = send;
        spans[2 * i + 1] = recv;
    }
    spans[12] = spans[0]; /* a send that nobody answers */
    spans[12].micro_batch = 6;
    spans[12].start_s = 7;
    spans[12].end_s = 8;
    galv_timeline t = {.n_ranks = 2, .n_chunks = 2, .n_spans = 13, .spans = spans};
    json_t *root = write_and_load(&t);
    json_t *events = json_object_get(root, "traceEvents");
    size_t n_flows = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        json_t *from = json_array_get(events, i);
        if (!is_phase(from, "s")) {
            continue;
        }
        n_flows++;
        json_t *to = json_array_get(events, i + 1);
        cr_expect(is_phase(to, "f"));
        cr_expect_str_eq(json_string_value(json_object_get(to, "bp")), "e");
        cr_expect_eq(integer(from, "id"), integer(to, "id"));
        cr_expect_neq(integer(from, "pid"), integer(to, "pid"));
        /* a message and its answer begin at the same time here, each at its own */
        cr_expect_eq(thousandth(from, "ts"), thousandth(to, "ts"));
    }
    cr_expect_eq(n_flows, n);
    json_decref(root);
}

/* A V: chunk 0 goes down the stages, chunk 1 comes back up. A send of chunk 0 has no
 * answer on the stage above it, even where one of the same micro-batch receives. */
Test(traces_chrome, flows_of_a_v_shaped_schedule_turn_back_with_odd_chunks)
{
    static const struct {
        uint8_t kind, pass;
        int32_t stage, chunk;
    } ends[] = {
        {GALV_OP_SEND, GALV_OP_FORWARD, 2, 1},  {GALV_OP_RECV, GALV_OP_FORWARD, 1, 1},
        {GALV_OP_SEND, GALV_OP_BACKWARD, 1, 1}, {GALV_OP_RECV, GALV_OP_BACKWARD, 2, 1},
        {GALV_OP_SEND, GALV_OP_FORWARD, 2, 0},  {GALV_OP_RECV, GALV_OP_FORWARD, 1, 0},
    };
    galv_span spans[6];
    for (size_t i = 0; i < 6; i++) {
        bool is_send = ends[i].kind == GALV_OP_SEND;
        spans[i] = (galv_span){
            .rank = ends[i].stage,
            .stage = ends[i].stage,
            .stream = is_send ? GALV_STREAM_PP_SEND : GALV_STREAM_PP_RECV,
            .kind = ends[i].kind,
            .pass = ends[i].pass,
            .chunk = ends[i].chunk,
            .start_s = (double)(i / 2),
            .end_s = (double)(i / 2) + 1,
        };
    }
    galv_timeline t = {.n_ranks = 3, .n_chunks = 2, .n_spans = 6, .spans = spans};
    json_t *root = write_and_load(&t);
    json_t *events = json_object_get(root, "traceEvents");
    size_t n_flows = 0;
    for (size_t i = 0; i < json_array_size(events); i++) {
        json_t *from = json_array_get(events, i);
        if (is_phase(from, "s")) {
            json_t *to = json_array_get(events, i + 1);
            cr_expect_eq(thousandth(from, "ts"), thousandth(to, "ts"));
            cr_expect_eq(integer(from, "pid") + integer(to, "pid"), 3);
            n_flows++;
        }
    }
    cr_expect_eq(n_flows, 2);
    json_decref(root);
}
