#include "base/yaml.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(base_yaml);

static galv_status read(galv_json **document, const char *text, galv_err *err)
{
    return galv_yaml_read_text(document, "t.yaml", text, strlen(text), err);
}

/* The table of YAML 1.2.2, section 10.3.2, and what is near to it. */
Test(base_yaml, scalars_follow_the_core_schema)
{
    static const struct {
        const char *text;
        galv_json_type type;
        double number;
    } CASES[] = {
        {"null", GALV_JSON_NULL, 0},     {"~", GALV_JSON_NULL, 0},
        {"", GALV_JSON_NULL, 0},         {"true", GALV_JSON_BOOL, 0},
        {"FALSE", GALV_JSON_BOOL, 0},    {"yes", GALV_JSON_STRING, 0},
        {"no", GALV_JSON_STRING, 0},     {"tRue", GALV_JSON_STRING, 0},
        {"0", GALV_JSON_NUMBER, 0},      {"-12", GALV_JSON_NUMBER, -12},
        {"+12", GALV_JSON_NUMBER, 12},   {"0o17", GALV_JSON_NUMBER, 15},
        {"0x1F", GALV_JSON_NUMBER, 31},  {"012", GALV_JSON_NUMBER, 12},
        {"1e3", GALV_JSON_NUMBER, 1000}, {".5", GALV_JSON_NUMBER, 0.5},
        {"5.", GALV_JSON_NUMBER, 5},     {"1_000", GALV_JSON_STRING, 0},
        {"0x", GALV_JSON_STRING, 0},     {"80GiB", GALV_JSON_STRING, 0},
        {"'12'", GALV_JSON_STRING, 0},   {"\"null\"", GALV_JSON_STRING, 0},
        {"1.2.3", GALV_JSON_STRING, 0},  {"-", GALV_JSON_ARRAY, 0},
        {"1e", GALV_JSON_STRING, 0},     {"2024-01-01", GALV_JSON_STRING, 0},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "k: %s%s\n",
                       CASES[i].type == GALV_JSON_ARRAY ? "\n  " : "", CASES[i].text);
        galv_json *document = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_assert_eq(read(&document, text, &err), GALV_OK, "case %s: %s", text,
                     err.message);
        galv_json_value value = galv_json_member(galv_json_root(document), "k");
        cr_expect_eq(galv_json_type_of(value), CASES[i].type, "case %s", text);
        if (CASES[i].type == GALV_JSON_NUMBER) {
            double number = -1;
            galv_json_to_f64(&number, value, -1e9, 1e9, &err);
            cr_expect_eq(number, CASES[i].number, "case %s", text);
        }
        galv_json_free(document);
    }
}

Test(base_yaml, documents_read_like_json_with_places)
{
    static const char TEXT[] = "model_config:\n"
                               "  hidden_size: 4096   # comment\n"
                               "  layers: [1, 2, {a: b}]\n"
                               "  list:\n"
                               "    - x\n"
                               "    - y: -7\n";
    galv_json *document = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(read(&document, TEXT, &err), GALV_OK, "%s", err.message);
    galv_json_object o;
    int32_t hidden = 0;
    galv_json_enter(&o, galv_json_member(galv_json_root(document), "model_config"),
                    &err);
    galv_json_i32(&o, "hidden_size", GALV_REQUIRED, 1, 10000, &hidden);
    cr_expect_eq(hidden, 4096);
    cr_expect_eq(galv_json_length(galv_json_get(&o, "layers", GALV_REQUIRED)), 3);
    galv_json_value list = galv_json_get(&o, "list", GALV_REQUIRED);
    cr_expect_eq(galv_json_leave(&o), GALV_OK, "%s", err.message);
    int64_t y = 5;
    galv_json_to_i64(&y, galv_json_member(galv_json_element(list, 1), "y"), 0, 9, &err);
    cr_expect_eq(err.line, 6);
    cr_expect_eq(err.column, 10);
    cr_expect_str_eq(err.message, "model_config.list[1].y: -7 is not between 0 and 9");
    galv_json_free(document);
}

Test(base_yaml, what_hides_its_meaning_is_refused_with_a_line)
{
    static const struct {
        const char *text;
        long line;
    } CASES[] = {
        {"a: 1\nb: &x 2\n", 2},    {"a: 1\nb: *x\n", 2},     {"a: !!str 2\n", 1},
        {"a: !t {b: 1}\n", 1},     {"a: 1\n---\nb: 2\n", 2}, {"a: 1\nb: 2\na: 3\n", 3},
        {"? [a]\n: 1\n", 1},       {"a: [1\n", 2},           {"a:\n\t- b\n", 2},
        {"a: .inf\n", 1},          {"a: \"\\0\"\n", 1},      {"", 0},
        {"# only a comment\n", 0}, {"a: \xFF\n", 0},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        galv_json *document = NULL;
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(read(&document, CASES[i].text, &err), GALV_INPUT, "case %s",
                     CASES[i].text);
        cr_expect_null(document);
        cr_expect_eq(err.line, CASES[i].line, "case %s: line %ld, %s", CASES[i].text,
                     err.line, err.message);
    }
}

Test(base_yaml, duplicate_among_many_keys_is_found)
{
    galv_text text = GALV_TEXT_INIT;
    for (int i = 0; i < 50; i++) {
        galv_text_printf(&text, "k%d: 1\n", i);
    }
    galv_text_append(&text, "k7: 1\n");
    galv_json *document = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(read(&document, galv_text_string(&text), &err), GALV_INPUT);
    cr_expect_str_eq(err.message, "the key 'k7' stands twice");
    cr_expect_eq(err.line, 51);
    galv_text_release(&text);
}

Test(base_yaml, deep_nesting_is_refused_not_a_crash)
{
    char text[5000];
    memset(text, '[', sizeof text);
    galv_json *document = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_yaml_read_text(&document, "deep", text, sizeof text, &err),
                 GALV_INPUT);
}
