/* Writing JSON as a stream: what is put is appended at once, so a timeline of a million
 * operations needs no tree. The writer knows only how deep it is, whether a comma is
 * due and whether the container stands on one line; inside such a container everything
 * does. Misuse (a value where a key is due) is a programmer's error and asserted.
 *
 * Strings are escaped as RFC 8259 asks; bytes that are no UTF-8 become U+FFFD, so the
 * output is valid JSON whatever a file name holds. */
#include "base/json.h"

#include "base/units.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define MAX_DEPTH 64

void galv_json_writer_init(galv_json_writer *writer, galv_text *out)
{
    memset(writer, 0, sizeof *writer);
    writer->out = out;
}

static void new_line(galv_json_writer *writer)
{
    galv_text_append_char(writer->out, '\n');
    galv_text_append_repeated(writer->out, ' ', (size_t)writer->depth * 2);
}

/* What comes before an item: nothing after a key, else a comma and a new line. */
static void begin_item(galv_json_writer *writer)
{
    if (writer->after_key) {
        writer->after_key = false;
        return;
    }
    if (writer->depth == 0) {
        return;
    }
    int here = writer->depth - 1;
    if (writer->has_item[here]) {
        galv_text_append_char(writer->out, ',');
        if (writer->compact[here]) {
            galv_text_append_char(writer->out, ' ');
        }
    }
    writer->has_item[here] = true;
    if (!writer->compact[here]) {
        new_line(writer);
    }
}

static void begin_container(galv_json_writer *writer, char bracket, bool compact)
{
    begin_item(writer);
    assert(writer->depth < MAX_DEPTH);
    if (writer->depth >= MAX_DEPTH) {
        writer->out->failed = true;
        return;
    }
    bool outer = writer->depth > 0 && writer->compact[writer->depth - 1];
    writer->compact[writer->depth] = compact || outer;
    writer->has_item[writer->depth] = false;
    writer->depth++;
    galv_text_append_char(writer->out, bracket);
}

static void end_container(galv_json_writer *writer, char bracket)
{
    assert(writer->depth > 0 && !writer->after_key);
    if (writer->depth == 0) {
        writer->out->failed = true;
        return;
    }
    writer->depth--;
    if (writer->has_item[writer->depth] && !writer->compact[writer->depth]) {
        new_line(writer);
    }
    galv_text_append_char(writer->out, bracket);
}

void galv_json_begin_object(galv_json_writer *writer, bool compact)
{
    begin_container(writer, '{', compact);
}

void galv_json_end_object(galv_json_writer *writer)
{
    end_container(writer, '}');
}

void galv_json_begin_array(galv_json_writer *writer, bool compact)
{
    begin_container(writer, '[', compact);
}

void galv_json_end_array(galv_json_writer *writer)
{
    end_container(writer, ']');
}

/* Length of the UTF-8 character at `at` (RFC 3629), or 0 when it is none. */
static size_t utf8_length(const unsigned char *at)
{
    if (at[0] < 0x80) {
        return 1;
    }
    size_t length = 0;
    unsigned low = 0x80; /* bounds of the second byte */
    unsigned high = 0xBF;
    if (at[0] >= 0xC2 && at[0] <= 0xDF) {
        length = 2;
    } else if (at[0] >= 0xE0 && at[0] <= 0xEF) {
        length = 3;
        low = at[0] == 0xE0 ? 0xA0 : 0x80;
        high = at[0] == 0xED ? 0x9F : 0xBF;
    } else if (at[0] >= 0xF0 && at[0] <= 0xF4) {
        length = 4;
        low = at[0] == 0xF0 ? 0x90 : 0x80;
        high = at[0] == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((at[i] & 0xC0U) != 0x80U) {
            return 0;
        }
    }
    return length;
}

static void put_quoted(galv_text *out, const char *string)
{
    const unsigned char *at = (const unsigned char *)string;
    galv_text_append_char(out, '"');
    while (*at != '\0') {
        size_t length = utf8_length(at);
        if (length == 0) {
            galv_text_append(out, "\xEF\xBF\xBD");
            at++;
            continue;
        }
        if (*at == '"' || *at == '\\') {
            galv_text_append_char(out, '\\');
            galv_text_append_char(out, (char)*at);
        } else if (*at == '\n') {
            galv_text_append(out, "\\n");
        } else if (*at == '\t') {
            galv_text_append(out, "\\t");
        } else if (*at == '\r') {
            galv_text_append(out, "\\r");
        } else if (*at < 0x20 || *at == 0x7F) {
            galv_text_printf(out, "\\u%04x", (unsigned)*at);
        } else {
            galv_text_append_bytes(out, (const char *)at, length);
        }
        at += length;
    }
    galv_text_append_char(out, '"');
}

void galv_json_put_key(galv_json_writer *writer, const char *key)
{
    assert(!writer->after_key);
    begin_item(writer);
    put_quoted(writer->out, key);
    galv_text_append(writer->out, ": ");
    writer->after_key = true;
}

void galv_json_put_string(galv_json_writer *writer, const char *string)
{
    begin_item(writer);
    put_quoted(writer->out, string);
}

void galv_json_put_f64(galv_json_writer *writer, double number)
{
    char text[40];
    begin_item(writer);
    galv_text_append(writer->out, isfinite(number)
                                      ? galv_print_exact(text, sizeof text, number)
                                      : "null");
}

void galv_json_put_i64(galv_json_writer *writer, int64_t number)
{
    begin_item(writer);
    galv_text_printf(writer->out, "%lld", (long long)number);
}

void galv_json_put_bool(galv_json_writer *writer, bool flag)
{
    begin_item(writer);
    galv_text_append(writer->out, flag ? "true" : "false");
}

void galv_json_put_null(galv_json_writer *writer)
{
    begin_item(writer);
    galv_text_append(writer->out, "null");
}

void galv_json_key_string(galv_json_writer *writer, const char *key, const char *string)
{
    galv_json_put_key(writer, key);
    galv_json_put_string(writer, string);
}

void galv_json_key_f64(galv_json_writer *writer, const char *key, double number)
{
    galv_json_put_key(writer, key);
    galv_json_put_f64(writer, number);
}

void galv_json_key_i64(galv_json_writer *writer, const char *key, int64_t number)
{
    galv_json_put_key(writer, key);
    galv_json_put_i64(writer, number);
}

void galv_json_key_bool(galv_json_writer *writer, const char *key, bool flag)
{
    galv_json_put_key(writer, key);
    galv_json_put_bool(writer, flag);
}

galv_status galv_json_finish(galv_json_writer *writer, galv_err *err)
{
    assert(writer->depth == 0);
    galv_text_append_char(writer->out, '\n');
    if (writer->out->failed) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory writing a document");
    }
    return GALV_OK;
}
