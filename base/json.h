/* JSON in, strictly, and JSON out, as a stream.
 *
 * Reading (over jansson): duplicate keys, trailing text, NaN and unknown keys are
 * errors, and every error names file, line, column and field. The idiom:
 *
 *     galv_json_object o;
 *     galv_json_enter(&o, galv_json_root(document), err);
 *     galv_json_i32(&o, "tp", GALV_REQUIRED, 1, 65536, &strategy.tp);
 *     galv_json_f64(&o, "latency_s", GALV_OPTIONAL, 0, 1, &level.latency_s);
 *     status = galv_json_leave(&o);          // unknown keys are reported here
 *
 * Getters are sticky: after the first error of a document they do nothing, so one
 * check at galv_json_leave is enough. An optional key that is absent leaves its output
 * untouched. YAML documents (base/yaml.h) are read through the same functions.
 *
 * Writing: keys in the order written, shortest exact numbers, two-space indentation,
 * NaN and infinities as null. Sticky: the first failure is reported by finish. */
#ifndef GALV_BASE_JSON_H
#define GALV_BASE_JSON_H

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"

#include <stdint.h>

/* ---- reading ---- */

/* A parsed document; owns its text, its tree and the strings handed out from it. */
typedef struct galv_json galv_json;

/* A value inside a document. Valid as long as the document. */
typedef struct galv_json_value {
    const galv_json *document;
    const void *node; /* opaque; NULL = absent */
} galv_json_value;

typedef enum galv_json_type {
    GALV_JSON_ABSENT,
    GALV_JSON_NULL,
    GALV_JSON_BOOL,
    GALV_JSON_NUMBER,
    GALV_JSON_STRING,
    GALV_JSON_ARRAY,
    GALV_JSON_OBJECT
} galv_json_type;

typedef enum galv_need { GALV_OPTIONAL, GALV_REQUIRED } galv_need;

/* Parses a file ("-" = standard input) or a text (`name` is used in messages). Caller
 * frees with galv_json_free. Errors: GALV_INPUT, GALV_NO_MEMORY. */
galv_status galv_json_read_file(galv_json **document, const char *path, galv_err *err);
galv_status galv_json_read_text(galv_json **document, const char *name,
                                const char *text, size_t length, galv_err *err);
void galv_json_free(galv_json *document);

galv_json_value galv_json_root(const galv_json *document);
galv_json_type galv_json_type_of(galv_json_value value);

/* Elements of an array (0 for anything else), and one of them. */
size_t galv_json_length(galv_json_value array);
galv_json_value galv_json_element(galv_json_value array, size_t index);

/* Keys of an object in file order: for objects whose keys are data (Galvatron's). */
size_t galv_json_n_keys(galv_json_value object);
const char *galv_json_key(galv_json_value object, size_t index, galv_json_value *value);

/* A member by key without marking it as known; absent -> type GALV_JSON_ABSENT. */
galv_json_value galv_json_member(galv_json_value object, const char *key);

/* The error of a key that is missing; where a key that is there differs from it by one
 * or two letters, with that and at its place. */
galv_status galv_json_fail_missing(galv_json_value object, const char *key,
                                   galv_err *err);

/* Plain conversions with an error at the value's own place. */
galv_status galv_json_to_f64(double *number, galv_json_value value, double low,
                             double high, galv_err *err);
galv_status galv_json_to_i64(int64_t *number, galv_json_value value, int64_t low,
                             int64_t high, galv_err *err);
galv_status galv_json_to_string(const char **string, galv_json_value value,
                                galv_err *err);

/* Records an error at the place of a value (file, line, column, field path). */
galv_status galv_json_fail(galv_json_value value, galv_err *err, const char *format,
                           ...) GALV_PRINTF(3, 4);

/* An object being read: which keys were asked for, and the first error. */
#define GALV_JSON_MAX_KEYS 128
typedef struct galv_json_object {
    galv_json_value value;
    galv_err *err;
    const char *known[GALV_JSON_MAX_KEYS];
    size_t n_known;
    bool ignore_unknown;
} galv_json_object;

/* Begins to read an object; a value of another type is an error. */
void galv_json_enter(galv_json_object *object, galv_json_value value, galv_err *err);

/* Ends it: reports the first unknown key, with the nearest known one, unless
 * `ignore_unknown` was set. Returns the document's first error, or GALV_OK. */
galv_status galv_json_leave(galv_json_object *object);

/* Marks a key as known and returns its value. */
galv_json_value galv_json_get(galv_json_object *object, const char *key,
                              galv_need need);
void galv_json_i32(galv_json_object *object, const char *key, galv_need need,
                   int32_t low, int32_t high, int32_t *number);
void galv_json_i64(galv_json_object *object, const char *key, galv_need need,
                   int64_t low, int64_t high, int64_t *number);
void galv_json_f64(galv_json_object *object, const char *key, galv_need need,
                   double low, double high, double *number);
void galv_json_bool(galv_json_object *object, const char *key, galv_need need,
                    bool *flag);
/* Copies a string into buffer[size]; one too long is an error. */
void galv_json_string(galv_json_object *object, const char *key, galv_need need,
                      char *buffer, size_t size);
/* A word of a table -> its index; otherwise the error names the nearest word. */
void galv_json_word(galv_json_object *object, const char *key, galv_need need,
                    const char *const words[], size_t n_words, int *index);
/* A number, or a string with a unit (base/units.h): bytes, bytes per second, seconds.
 */
void galv_json_bytes(galv_json_object *object, const char *key, galv_need need,
                     uint64_t *bytes);
void galv_json_bandwidth(galv_json_object *object, const char *key, galv_need need,
                         double *bytes_per_s);
void galv_json_duration(galv_json_object *object, const char *key, galv_need need,
                        double *seconds);

/* ---- writing ---- */

typedef struct galv_json_writer {
    galv_text *out;
    int depth;
    bool has_item[64]; /* per depth: a comma is due before the next item */
    bool after_key;
    bool compact[64]; /* per depth: items on one line */
} galv_json_writer;

/* Writes into `out` (borrowed). */
void galv_json_writer_init(galv_json_writer *writer, galv_text *out);
/* The container is written on one line when `compact`. */
void galv_json_begin_object(galv_json_writer *writer, bool compact);
void galv_json_end_object(galv_json_writer *writer);
void galv_json_begin_array(galv_json_writer *writer, bool compact);
void galv_json_end_array(galv_json_writer *writer);
void galv_json_put_key(galv_json_writer *writer, const char *key);
void galv_json_put_string(galv_json_writer *writer, const char *string);
void galv_json_put_f64(galv_json_writer *writer, double number);
void galv_json_put_i64(galv_json_writer *writer, int64_t number);
void galv_json_put_bool(galv_json_writer *writer, bool flag);
void galv_json_put_null(galv_json_writer *writer);
/* key and value in one call */
void galv_json_key_string(galv_json_writer *writer, const char *key,
                          const char *string);
void galv_json_key_f64(galv_json_writer *writer, const char *key, double number);
void galv_json_key_i64(galv_json_writer *writer, const char *key, int64_t number);
void galv_json_key_bool(galv_json_writer *writer, const char *key, bool flag);
/* Ends the document with a newline; GALV_NO_MEMORY when the text failed. */
galv_status galv_json_finish(galv_json_writer *writer, galv_err *err);

#endif
