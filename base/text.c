/* A growing string. Growth doubles, so that n appends cost O(n) in all. Failure of
 * memory is remembered rather than returned: whoever builds a document of ten thousand
 * pieces checks `failed` once, at the end. */
#include "base/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void galv_text_release(galv_text *text)
{
    free(text->bytes);
    *text = (galv_text)GALV_TEXT_INIT;
}

void galv_text_reset(galv_text *text)
{
    text->length = 0;
    text->failed = false;
    if (text->bytes != NULL) {
        text->bytes[0] = '\0';
    }
}

/* Room for `more` bytes and the NUL after them. */
static bool reserve(galv_text *text, size_t more)
{
    if (text->failed) {
        return false;
    }
    if (more > SIZE_MAX / 4 || text->length > SIZE_MAX / 4) {
        text->failed = true;
        return false;
    }
    size_t need = text->length + more + 1;
    if (need <= text->capacity) {
        return true;
    }
    size_t capacity = text->capacity < 64 ? 64 : text->capacity * 2;
    if (capacity < need) {
        capacity = need;
    }
    char *bytes = realloc(text->bytes, capacity);
    if (bytes == NULL) {
        text->failed = true;
        return false;
    }
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

void galv_text_append_bytes(galv_text *text, const char *bytes, size_t length)
{
    if (!reserve(text, length)) {
        return;
    }
    if (length > 0) {
        memcpy(text->bytes + text->length, bytes, length);
    }
    text->length += length;
    text->bytes[text->length] = '\0';
}

void galv_text_append(galv_text *text, const char *string)
{
    galv_text_append_bytes(text, string, strlen(string));
}

void galv_text_append_char(galv_text *text, char character)
{
    galv_text_append_bytes(text, &character, 1);
}

void galv_text_append_repeated(galv_text *text, char character, size_t count)
{
    if (!reserve(text, count)) {
        return;
    }
    memset(text->bytes + text->length, character, count);
    text->length += count;
    text->bytes[text->length] = '\0';
}

void galv_text_vprintf(galv_text *text, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)length)) {
        (void)vsnprintf(text->bytes + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void galv_text_printf(galv_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    galv_text_vprintf(text, format, args);
    va_end(args);
}

const char *galv_text_string(const galv_text *text)
{
    return text->bytes == NULL ? "" : text->bytes;
}

size_t galv_text_columns(const char *utf8)
{
    size_t columns = 0;
    for (const char *at = utf8; *at != '\0'; at++) {
        if (((unsigned char)*at & 0xC0U) != 0x80U) {
            columns++;
        }
    }
    return columns;
}
