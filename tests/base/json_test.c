#include "base/json.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(base_json);

static galv_json *read(const char *text)
{
    galv_err err = GALV_ERR_INIT;
    galv_json *document = NULL;
    cr_assert_eq(galv_json_read_text(&document, "t.json", text, strlen(text), &err),
                 GALV_OK, "%s: %s", text, err.message);
    return document;
}

Test(base_json, an_object_is_read_field_by_field)
{
    static const char *const WORDS[] = {"none", "full"};
    galv_json *document =
        read("\xEF\xBB\xBF{\"tp\": 8, \"pp\": 4.0, \"f\": 1e-3, \"on\": true,"
             " \"name\": \"gpt\", \"word\": \"full\", \"memory\": \"80GiB\","
             " \"bytes\": 12, \"rate\": \"400Gb/s\", \"time\": \"1.5ms\","
             " \"big\": 9007199254740993}");
    galv_err err = GALV_ERR_INIT;
    galv_json_object o;
    int32_t tp = 0;
    int64_t pp = 0;
    int64_t big = 0;
    int64_t absent = 17;
    double f = 0;
    double rate = 0;
    double time = 0;
    bool on = false;
    char name[8];
    int word = -1;
    uint64_t memory = 0;
    uint64_t bytes = 0;
    galv_json_enter(&o, galv_json_root(document), &err);
    galv_json_i32(&o, "tp", GALV_REQUIRED, 1, 64, &tp);
    galv_json_i64(&o, "pp", GALV_REQUIRED, 1, 64, &pp);
    galv_json_i64(&o, "big", GALV_REQUIRED, 1, INT64_MAX, &big);
    galv_json_i64(&o, "absent", GALV_OPTIONAL, 1, 64, &absent);
    galv_json_f64(&o, "f", GALV_REQUIRED, 0, 1, &f);
    galv_json_bool(&o, "on", GALV_REQUIRED, &on);
    galv_json_string(&o, "name", GALV_REQUIRED, name, sizeof name);
    galv_json_word(&o, "word", GALV_REQUIRED, WORDS, 2, &word);
    galv_json_bytes(&o, "memory", GALV_REQUIRED, &memory);
    galv_json_bytes(&o, "bytes", GALV_REQUIRED, &bytes);
    galv_json_bandwidth(&o, "rate", GALV_REQUIRED, &rate);
    galv_json_duration(&o, "time", GALV_REQUIRED, &time);
    cr_expect_eq(galv_json_leave(&o), GALV_OK, "%s", err.message);
    cr_expect_eq(tp, 8);
    cr_expect_eq(pp, 4);
    cr_expect_eq(big, INT64_C(9007199254740993));
    cr_expect_eq(absent, 17);
    cr_expect_eq(f, 1e-3);
    cr_expect(on);
    cr_expect_str_eq(name, "gpt");
    cr_expect_eq(word, 1);
    cr_expect_eq(memory, UINT64_C(80) << 30);
    cr_expect_eq(bytes, 12);
    cr_expect_eq(rate, 50e9);
    cr_expect_eq(time, 1.5e-3);
    galv_json_free(document);
}

Test(base_json, errors_stand_at_the_value)
{
    /* Three nulls: jansson's shared singleton must not be taken for the first. */
    galv_json *document =
        read("{\n  \"a\": null,\n  \"levels\": [\n"
             "    {\"x\": \"}],\\\"\", \"y\": null},\n"
             "    {\"x\": 1, \"\xC3\xA9\": 2, \"y\": null}\n  ]\n}\n");
    galv_json_value level =
        galv_json_element(galv_json_member(galv_json_root(document), "levels"), 1);
    galv_err err = GALV_ERR_INIT;
    double number = 5;
    cr_expect_eq(galv_json_to_f64(&number, galv_json_member(level, "y"), 0, 1, &err),
                 GALV_INPUT);
    cr_expect_eq(number, 5);
    cr_expect_str_eq(err.message, "levels[1].y: expected a number, found null");
    cr_expect_str_eq(err.file, "t.json");
    cr_expect_eq(err.line, 5);
    cr_expect_eq(err.column, 27, "%ld", err.column); /* in characters */
    galv_err object_err = GALV_ERR_INIT;
    galv_json_fail(level, &object_err, "wrong");
    cr_expect_str_eq(object_err.message, "levels[1]: wrong");
    cr_expect_eq(object_err.line, 5);
    cr_expect_eq(object_err.column, 5);
    galv_err root_err = GALV_ERR_INIT;
    galv_json_fail(galv_json_root(document), &root_err, "wrong");
    cr_expect_str_eq(root_err.message, "wrong");
    cr_expect_eq(root_err.line, 1);
    galv_json_free(document);
}

Test(base_json, unknown_keys_and_missing_keys_are_told)
{
    galv_json *document = read("{\"bandwith\": 1,\n \"tp\": 2}");
    galv_err err = GALV_ERR_INIT;
    galv_json_object o;
    double rate = 3;
    int32_t tp = 0;
    galv_json_enter(&o, galv_json_root(document), &err);
    galv_json_i32(&o, "tp", GALV_REQUIRED, 1, 8, &tp);
    galv_json_f64(&o, "bandwidth", GALV_OPTIONAL, 0, 9, &rate);
    cr_expect_eq(galv_json_leave(&o), GALV_INPUT);
    cr_expect_str_eq(err.message, "unknown key 'bandwith'");
    cr_expect_str_eq(err.hint, "did you mean 'bandwidth'?");
    cr_expect_eq(err.line, 1);
    cr_expect_eq(err.column, 14);
    cr_expect_eq(rate, 3);

    galv_err missing = GALV_ERR_INIT;
    galv_json_enter(&o, galv_json_root(document), &missing);
    galv_json_i32(&o, "pp", GALV_REQUIRED, 1, 8, &tp);
    galv_json_i32(&o, "tp", GALV_REQUIRED, 9, 10, &tp); /* sticky: not reached */
    cr_expect_eq(galv_json_leave(&o), GALV_INPUT);
    cr_expect_str_eq(missing.message, "the key 'pp' is missing");
    cr_expect_str_eq(missing.hint, "", "'tp' is as near as a short word can be");

    galv_err misspelled = GALV_ERR_INIT;
    galv_json_enter(&o, galv_json_root(document), &misspelled);
    galv_json_i32(&o, "bandwidth", GALV_REQUIRED, 1, 8, &tp);
    cr_expect_str_eq(misspelled.message, "the key 'bandwidth' is missing");
    cr_expect_str_eq(misspelled.hint, "there is 'bandwith': was it meant?");
    cr_expect_eq(misspelled.column, 14);

    galv_err fine = GALV_ERR_INIT;
    galv_json_enter(&o, galv_json_root(document), &fine);
    o.ignore_unknown = true;
    cr_expect_eq(galv_json_leave(&o), GALV_OK);
    galv_json_free(document);
}

Test(base_json, wrong_values_are_refused_and_outputs_untouched)
{
    static const char *const WORDS[] = {"none", "full"};
    galv_json *document = read("{\"v\": [1.5, 70, \"x\", -1, 1e300, \"128M\", \"ful\","
                               " true, {}, null, \"abcdefgh\"]}");
    for (size_t i = 0; i < 11; i++) {
        galv_json_value v =
            galv_json_element(galv_json_member(galv_json_root(document), "v"), i);
        galv_err err = GALV_ERR_INIT;
        int64_t number = 3;
        cr_expect_eq(galv_json_to_i64(&number, v, 0, 64, &err), GALV_INPUT, "%zu", i);
        cr_expect_eq(number, 3);
    }
    galv_json_free(document);
    static const char *const TEXTS[] = {"{\"k\": \"128M\"}", "{\"k\": -1}",
                                        "{\"k\": 1.5}",      "{\"k\": null}",
                                        "{\"k\": []}",       "{\"k\": \"ful\"}"};
    for (size_t i = 0; i < 6; i++) {
        document = read(TEXTS[i]);
        galv_json_object o;
        galv_err e1 = GALV_ERR_INIT;
        galv_err e2 = GALV_ERR_INIT;
        uint64_t bytes = 3;
        int word = 7;
        galv_json_enter(&o, galv_json_root(document), &e1);
        galv_json_bytes(&o, "k", GALV_REQUIRED, &bytes);
        cr_expect_eq(galv_json_leave(&o), GALV_INPUT, "%s", TEXTS[i]);
        cr_expect_eq(bytes, 3);
        galv_json_enter(&o, galv_json_root(document), &e2);
        galv_json_word(&o, "k", GALV_REQUIRED, WORDS, 2, &word);
        cr_expect_eq(galv_json_leave(&o), GALV_INPUT, "%s", TEXTS[i]);
        cr_expect_eq(word, 7);
        cr_expect_eq(e2.line, 1);
        cr_expect_eq(e2.column, 7, "%s: %ld", TEXTS[i], e2.column);
        galv_json_free(document);
    }
}

Test(base_json, texts_that_are_no_json_are_refused)
{
    static const char *const TEXTS[] = {"",
                                        "{",
                                        "[1,]",
                                        "{\"a\":1}x",
                                        "{\"a\":1,\"a\":2}",
                                        "NaN",
                                        "[1e999]",
                                        "'a'",
                                        "{a:1}",
                                        "[\"\\u0000\"]",
                                        "\xFF\xFE{}",
                                        "[\"\xC3\"]",
                                        "[99999999999999999999]",
                                        "// c\n{}"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        galv_json *document = NULL;
        cr_expect_eq(
            galv_json_read_text(&document, "t", TEXTS[i], strlen(TEXTS[i]), &err),
            GALV_INPUT, "case %s", TEXTS[i]);
        cr_expect_null(document);
        cr_expect_str_eq(err.file, "t");
        cr_expect_gt(err.line, 0, "case %s", TEXTS[i]);
    }
}

Test(base_json, deep_nesting_is_refused_not_a_crash)
{
    size_t n = 1000000;
    char *text = malloc(n);
    memset(text, '[', n);
    galv_err err = GALV_ERR_INIT;
    galv_json *document = NULL;
    cr_expect_eq(galv_json_read_text(&document, "deep", text, n, &err), GALV_INPUT);
    free(text);
}

Test(base_json, many_keys_are_found_and_keep_their_order)
{
    galv_text text = GALV_TEXT_INIT;
    galv_text_append(&text, "{");
    for (int i = 0; i < 1000; i++) {
        galv_text_printf(&text, "%s\"k%d\": %d", i == 0 ? "" : ",", i * 7919 % 1000, i);
    }
    galv_text_append(&text, "}");
    galv_json *document = read(galv_text_string(&text));
    galv_json_value root = galv_json_root(document);
    cr_assert_eq(galv_json_n_keys(root), 1000);
    for (int i = 0; i < 1000; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i * 7919 % 1000);
        galv_json_value value;
        cr_expect_str_eq(galv_json_key(root, (size_t)i, &value), key);
        cr_expect_eq(galv_json_member(root, key).node, value.node);
    }
    cr_expect_eq(galv_json_type_of(galv_json_member(root, "k1000")), GALV_JSON_ABSENT);
    cr_expect_null(galv_json_key(root, 1000, NULL));
    galv_json_free(document);
    galv_text_release(&text);
}

Test(base_json, absent_values_are_harmless)
{
    galv_json_value nothing = {NULL, NULL};
    galv_err err = GALV_ERR_INIT;
    double number = 1;
    cr_expect_eq(galv_json_type_of(nothing), GALV_JSON_ABSENT);
    cr_expect_eq(galv_json_length(nothing), 0);
    cr_expect_eq(galv_json_type_of(galv_json_member(nothing, "x")), GALV_JSON_ABSENT);
    cr_expect_eq(galv_json_to_f64(&number, nothing, 0, 1, &err), GALV_INPUT);
    galv_json_free(NULL);
}

Test(base_json, written_text_is_exactly_this)
{
    galv_text out = GALV_TEXT_INIT;
    galv_json_writer w;
    galv_err err = GALV_ERR_INIT;
    galv_json_writer_init(&w, &out);
    galv_json_begin_object(&w, false);
    galv_json_key_string(&w, "schema", "galvatron-sim/plan");
    galv_json_key_f64(&w, "time_s", 0.1);
    galv_json_key_f64(&w, "bad", NAN);
    galv_json_key_i64(&w, "tp", INT64_MIN);
    galv_json_key_bool(&w, "fits", true);
    galv_json_put_key(&w, "layers");
    galv_json_begin_array(&w, false);
    for (int i = 0; i < 2; i++) {
        galv_json_begin_object(&w, true);
        galv_json_key_i64(&w, "layer", i);
        galv_json_put_key(&w, "on");
        galv_json_begin_array(&w, false);
        galv_json_put_null(&w);
        galv_json_put_f64(&w, 2);
        galv_json_end_array(&w);
        galv_json_end_object(&w);
    }
    galv_json_end_array(&w);
    galv_json_put_key(&w, "empty");
    galv_json_begin_object(&w, false);
    galv_json_end_object(&w);
    galv_json_end_object(&w);
    cr_expect_eq(galv_json_finish(&w, &err), GALV_OK);
    cr_expect_str_eq(galv_text_string(&out), "{\n"
                                             "  \"schema\": \"galvatron-sim/plan\",\n"
                                             "  \"time_s\": 0.1,\n"
                                             "  \"bad\": null,\n"
                                             "  \"tp\": -9223372036854775808,\n"
                                             "  \"fits\": true,\n"
                                             "  \"layers\": [\n"
                                             "    {\"layer\": 0, \"on\": [null, 2]},\n"
                                             "    {\"layer\": 1, \"on\": [null, 2]}\n"
                                             "  ],\n"
                                             "  \"empty\": {}\n"
                                             "}\n");
    galv_json *document = NULL;
    cr_expect_eq(galv_json_read_text(&document, "back", out.bytes, out.length, &err),
                 GALV_OK, "%s", err.message);
    galv_json_free(document);
    galv_text_release(&out);
}

Test(base_json, any_bytes_become_a_valid_string)
{
    galv_text out = GALV_TEXT_INIT;
    galv_json_writer w;
    galv_err err = GALV_ERR_INIT;
    char bytes[256];
    for (int i = 0; i < 255; i++) {
        bytes[i] = (char)(i + 1);
    }
    bytes[255] = '\0';
    galv_json_writer_init(&w, &out);
    galv_json_begin_array(&w, true);
    galv_json_put_string(&w, bytes);
    galv_json_put_string(&w, "\xE2\x96\x88 \xED\xA0\x80 \xF4\x90\x80\x80 \xC0\xAF");
    galv_json_end_array(&w);
    galv_json_finish(&w, &err);
    galv_json *document = NULL;
    cr_assert_eq(galv_json_read_text(&document, "back", out.bytes, out.length, &err),
                 GALV_OK, "%s", err.message);
    const char *string = NULL;
    galv_json_to_string(&string, galv_json_element(galv_json_root(document), 0), &err);
    cr_expect_arr_eq(string, bytes, 0x7F, "ASCII survives");
    galv_json_to_string(&string, galv_json_element(galv_json_root(document), 1), &err);
    cr_expect_eq(strncmp(string, "\xE2\x96\x88 \xEF\xBF\xBD", 7), 0);
    galv_json_free(document);
    galv_text_release(&out);
}

Test(base_json, a_writer_out_of_memory_says_so)
{
    galv_text out = GALV_TEXT_INIT;
    out.failed = true;
    galv_json_writer w;
    galv_err err = GALV_ERR_INIT;
    galv_json_writer_init(&w, &out);
    galv_json_put_null(&w);
    cr_expect_eq(galv_json_finish(&w, &err), GALV_NO_MEMORY);
}
