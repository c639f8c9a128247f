/* Reading typed fields out of a document. The errors are written for whoever edits the
 * file: what was found, what was expected, and the nearest known key or word. */
#include "base/json_internal.h"

#include "base/units.h"
#include "base/words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *type_name(galv_json_value value)
{
    switch (galv_json_type_of(value)) {
    case GALV_JSON_ABSENT:
        return "nothing";
    case GALV_JSON_NULL:
        return "null";
    case GALV_JSON_BOOL:
        return "a boolean";
    case GALV_JSON_NUMBER:
        return "a number";
    case GALV_JSON_STRING:
        return "a string";
    case GALV_JSON_ARRAY:
        return "an array";
    case GALV_JSON_OBJECT:
        return "an object";
    }
    return "nothing";
}

static galv_status expected(galv_json_value value, const char *what, galv_err *err)
{
    const galv_json_node *node = value.node;
    if (node != NULL && node->type == GALV_JSON_STRING) {
        return galv_json_fail(value, err, "expected %s, found the string \"%.60s\"",
                              what, node->string);
    }
    return galv_json_fail(value, err, "expected %s, found %s", what, type_name(value));
}

galv_status galv_json_to_f64(double *number, galv_json_value value, double low,
                             double high, galv_err *err)
{
    const galv_json_node *node = value.node;
    if (galv_json_type_of(value) != GALV_JSON_NUMBER) {
        return expected(value, "a number", err);
    }
    if (!(node->number >= low && node->number <= high)) {
        char found[40];
        char least[40];
        char most[40];
        galv_print_exact(found, sizeof found, node->number);
        galv_print_exact(least, sizeof least, low);
        galv_print_exact(most, sizeof most, high);
        if (isinf(high)) {
            return galv_json_fail(value, err, "%s is below %s", found, least);
        }
        return galv_json_fail(value, err, "%s is not between %s and %s", found, least,
                              most);
    }
    *number = node->number;
    return GALV_OK;
}

galv_status galv_json_to_i64(int64_t *number, galv_json_value value, int64_t low,
                             int64_t high, galv_err *err)
{
    const galv_json_node *node = value.node;
    if (galv_json_type_of(value) != GALV_JSON_NUMBER) {
        return expected(value, "a whole number", err);
    }
    int64_t whole = node->integer;
    if (!node->is_integer) { /* "1e9" and "8.0" are whole numbers too */
        if (node->number != floor(node->number) ||
            fabs(node->number) > 9007199254740992.0) {
            char found[40];
            return galv_json_fail(value, err, "expected a whole number, found %s",
                                  galv_print_exact(found, sizeof found, node->number));
        }
        whole = (int64_t)node->number;
    }
    if (whole < low || whole > high) {
        if (high == INT64_MAX || (high == INT32_MAX && whole < low)) {
            return galv_json_fail(value, err, "%lld is below %lld", (long long)whole,
                                  (long long)low);
        }
        return galv_json_fail(value, err, "%lld is not between %lld and %lld",
                              (long long)whole, (long long)low, (long long)high);
    }
    *number = whole;
    return GALV_OK;
}

galv_status galv_json_to_string(const char **string, galv_json_value value,
                                galv_err *err)
{
    const galv_json_node *node = value.node;
    if (galv_json_type_of(value) != GALV_JSON_STRING) {
        return expected(value, "a string", err);
    }
    *string = node->string;
    return GALV_OK;
}

void galv_json_enter(galv_json_object *object, galv_json_value value, galv_err *err)
{
    object->value = value;
    object->err = err;
    object->n_known = 0;
    object->ignore_unknown = false;
    if (err->status == GALV_OK && galv_json_type_of(value) != GALV_JSON_OBJECT) {
        expected(value, "an object", err);
    }
}

galv_status galv_json_leave(galv_json_object *object)
{
    galv_err *err = object->err;
    if (err->status != GALV_OK || object->ignore_unknown) {
        return err->status;
    }
    size_t n_keys = galv_json_n_keys(object->value);
    for (size_t i = 0; i < n_keys; i++) {
        galv_json_value value;
        const char *key = galv_json_key(object->value, i, &value);
        if (galv_word_index(object->known, object->n_known, key) < 0) {
            galv_json_fail(object->value, err, "unknown key '%.80s'", key);
            galv_json_locate(value, &err->line, &err->column);
            galv_hint_words(err, object->known, object->n_known, key);
            break;
        }
    }
    return err->status;
}

galv_status galv_json_fail_missing(galv_json_value object, const char *key,
                                   galv_err *err)
{
    /* short words differ by a letter or two from many that mean something else */
    size_t most = strlen(key) / 4 < 2 ? strlen(key) / 4 : 2;
    size_t n_keys = galv_json_n_keys(object);
    galv_json_fail(object, err, "the key '%.80s' is missing", key);
    for (size_t i = 0; i < n_keys; i++) {
        galv_json_value value;
        const char *there = galv_json_key(object, i, &value);
        if (galv_word_distance(there, key) <= most) {
            galv_json_locate(value, &err->line, &err->column);
            galv_hint(err, "there is '%.80s': was it meant?", there);
            break;
        }
    }
    return err->status;
}

galv_json_value galv_json_get(galv_json_object *object, const char *key, galv_need need)
{
    galv_json_value absent = {object->value.document, NULL};
    if (object->err->status != GALV_OK) {
        return absent;
    }
    if (galv_word_index(object->known, object->n_known, key) < 0) {
        if (object->n_known == GALV_JSON_MAX_KEYS) {
            galv_fail(object->err, GALV_INTERNAL, "more than %d known keys",
                      GALV_JSON_MAX_KEYS);
            return absent;
        }
        object->known[object->n_known++] = key;
    }
    galv_json_value value = galv_json_member(object->value, key);
    if (value.node == NULL && need == GALV_REQUIRED) {
        galv_json_fail_missing(object->value, key, object->err);
    }
    return value;
}

void galv_json_i64(galv_json_object *object, const char *key, galv_need need,
                   int64_t low, int64_t high, int64_t *number)
{
    galv_json_value value = galv_json_get(object, key, need);
    if (value.node != NULL) {
        galv_json_to_i64(number, value, low, high, object->err);
    }
}

void galv_json_i32(galv_json_object *object, const char *key, galv_need need,
                   int32_t low, int32_t high, int32_t *number)
{
    int64_t wide = *number;
    galv_json_value value = galv_json_get(object, key, need);
    if (value.node != NULL &&
        galv_json_to_i64(&wide, value, low, high, object->err) == GALV_OK) {
        *number = (int32_t)wide;
    }
}

void galv_json_f64(galv_json_object *object, const char *key, galv_need need,
                   double low, double high, double *number)
{
    galv_json_value value = galv_json_get(object, key, need);
    if (value.node != NULL) {
        galv_json_to_f64(number, value, low, high, object->err);
    }
}

void galv_json_bool(galv_json_object *object, const char *key, galv_need need,
                    bool *flag)
{
    galv_json_value value = galv_json_get(object, key, need);
    const galv_json_node *node = value.node;
    if (node == NULL) {
        return;
    }
    if (node->type != GALV_JSON_BOOL) {
        expected(value, "true or false", object->err);
        return;
    }
    *flag = node->flag;
}

void galv_json_string(galv_json_object *object, const char *key, galv_need need,
                      char *buffer, size_t size)
{
    galv_json_value value = galv_json_get(object, key, need);
    const char *string = NULL;
    if (value.node == NULL ||
        galv_json_to_string(&string, value, object->err) != GALV_OK) {
        return;
    }
    size_t length = strlen(string);
    if (length >= size) {
        galv_json_fail(value, object->err, "longer than %zu bytes", size - 1);
        return;
    }
    memcpy(buffer, string, length + 1);
}

void galv_json_word(galv_json_object *object, const char *key, galv_need need,
                    const char *const words[], size_t n_words, int *index)
{
    galv_json_value value = galv_json_get(object, key, need);
    const char *word = NULL;
    if (value.node == NULL ||
        galv_json_to_string(&word, value, object->err) != GALV_OK) {
        return;
    }
    int found = galv_word_index(words, n_words, word);
    if (found < 0) {
        galv_json_fail(value, object->err, "unknown word '%.80s'", word);
        galv_hint_words(object->err, words, n_words, word);
        return;
    }
    *index = found;
}

/* Hands an error of base/units.h on, at the place of the value. */
static void unit_error(galv_json_value value, const galv_err *why, galv_err *err)
{
    galv_json_fail(value, err, "%s", why->message);
    if (why->hint[0] != '\0') {
        galv_hint(err, "%s", why->hint);
    }
}

typedef galv_status parse_f64(double *number, const char *text, galv_err *err);

static void read_quantity(galv_json_object *object, const char *key, galv_need need,
                          parse_f64 *parse, double *number)
{
    galv_json_value value = galv_json_get(object, key, need);
    const galv_json_node *node = value.node;
    if (node == NULL) {
        return;
    }
    if (node->type == GALV_JSON_STRING) {
        galv_err why = GALV_ERR_INIT;
        if (parse(number, node->string, &why) != GALV_OK) {
            unit_error(value, &why, object->err);
        }
        return;
    }
    if (node->type != GALV_JSON_NUMBER) {
        expected(value, "a number or a string with a unit", object->err);
        return;
    }
    galv_json_to_f64(number, value, 0, HUGE_VAL, object->err);
}

void galv_json_bandwidth(galv_json_object *object, const char *key, galv_need need,
                         double *bytes_per_s)
{
    read_quantity(object, key, need, galv_parse_bandwidth, bytes_per_s);
}

void galv_json_duration(galv_json_object *object, const char *key, galv_need need,
                        double *seconds)
{
    read_quantity(object, key, need, galv_parse_duration, seconds);
}

void galv_json_bytes(galv_json_object *object, const char *key, galv_need need,
                     uint64_t *bytes)
{
    galv_json_value value = galv_json_get(object, key, need);
    const galv_json_node *node = value.node;
    if (node == NULL) {
        return;
    }
    if (node->type == GALV_JSON_STRING) {
        galv_err why = GALV_ERR_INIT;
        if (galv_parse_bytes(bytes, node->string, &why) != GALV_OK) {
            unit_error(value, &why, object->err);
        }
        return;
    }
    if (node->type != GALV_JSON_NUMBER) {
        expected(value, "a number of bytes or a string such as \"80GiB\"", object->err);
        return;
    }
    int64_t whole = 0;
    if (galv_json_to_i64(&whole, value, 0, INT64_MAX, object->err) == GALV_OK) {
        *bytes = (uint64_t)whole;
    }
}
