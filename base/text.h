/* A string that grows: for messages, tables and documents built piece by piece.
 *
 * Invariants: `bytes` is never NULL after the first append and always ends in NUL;
 * `length` excludes the NUL. Sticky: after memory runs out `failed` is set, and
 * further appends do nothing. Zero-initialise with GALV_TEXT_INIT. */
#ifndef GALV_BASE_TEXT_H
#define GALV_BASE_TEXT_H

#include "base/status.h"

#include <stdarg.h>
#include <stddef.h>

typedef struct galv_text {
    char *bytes;
    size_t length;
    size_t capacity;
    bool failed;
} galv_text;

#define GALV_TEXT_INIT    \
    {                     \
        NULL, 0, 0, false \
    }

/* Frees the contents; the text is empty and usable again. */
void galv_text_release(galv_text *text);

/* Forgets the contents, keeps the memory. */
void galv_text_reset(galv_text *text);

void galv_text_append(galv_text *text, const char *string);
void galv_text_append_bytes(galv_text *text, const char *bytes, size_t length);
void galv_text_append_char(galv_text *text, char character);
void galv_text_append_repeated(galv_text *text, char character, size_t count);
void galv_text_printf(galv_text *text, const char *format, ...) GALV_PRINTF(2, 3);
void galv_text_vprintf(galv_text *text, const char *format, va_list args);

/* The contents; "" when nothing was appended. Owned by the text. */
const char *galv_text_string(const galv_text *text);

/* Columns a UTF-8 string takes on a terminal (code points; no wide characters). */
size_t galv_text_columns(const char *utf8);

#endif
