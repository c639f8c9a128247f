/* The error record. The model is one record per call chain, filled by whoever first
 * knows what failed and read by whoever talks to the user. Messages hold pieces of
 * users' files, so control characters are replaced here, once: an error message never
 * moves a terminal's cursor. A message too long for its field is cut between two
 * UTF-8 characters. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Makes a cut or binary text safe to print. */
static void tidy(char *text, bool was_cut)
{
    size_t length = strlen(text);
    if (was_cut) {
        size_t end = length;
        while (end > 0 && ((unsigned char)text[end - 1] & 0xC0U) == 0x80U) {
            end--;
        }
        if (end > 0 && ((unsigned char)text[end - 1] & 0x80U) != 0) {
            text[end - 1] = '\0';
            length = end - 1;
        }
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte < 0x20 || byte == 0x7F) {
            text[i] = byte == '\n' || byte == '\t' || byte == '\r' ? ' ' : '?';
        }
    }
}

static void print_into(char *field, size_t size, const char *format, va_list args)
    GALV_PRINTF(3, 0);

static void print_into(char *field, size_t size, const char *format, va_list args)
{
    int wanted = vsnprintf(field, size, format, args);
    if (wanted < 0) {
        field[0] = '\0';
    }
    tidy(field, wanted >= 0 && (size_t)wanted >= size);
}

galv_status galv_fail(galv_err *err, galv_status status, const char *format, ...)
{
    if (err != NULL && err->status == GALV_OK) {
        va_list args;
        va_start(args, format);
        print_into(err->message, sizeof err->message, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

galv_status galv_fail_at(galv_err *err, const char *file, long line, long column,
                         const char *format, ...)
{
    if (err != NULL && err->status == GALV_OK) {
        va_list args;
        va_start(args, format);
        print_into(err->message, sizeof err->message, format, args);
        va_end(args);
        err->status = GALV_INPUT;
        err->line = line;
        err->column = column;
        galv_err_set_file(err, file);
    }
    return GALV_INPUT;
}

void galv_hint(galv_err *err, const char *format, ...)
{
    if (err == NULL || err->status == GALV_OK || err->hint[0] != '\0') {
        return;
    }
    va_list args;
    va_start(args, format);
    print_into(err->hint, sizeof err->hint, format, args);
    va_end(args);
}

void galv_err_set_file(galv_err *err, const char *file)
{
    if (err == NULL || file == NULL || err->file[0] != '\0') {
        return;
    }
    int wanted = snprintf(err->file, sizeof err->file, "%s", file);
    tidy(err->file, wanted >= 0 && (size_t)wanted >= sizeof err->file);
}

const char *galv_status_text(galv_status status)
{
    switch (status) {
#define STATUS_TEXT(name, code, text) \
    case GALV_##name:                 \
        return text;
        GALV_STATUS_TABLE(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

int galv_status_exit_code(galv_status status)
{
    switch (status) {
#define STATUS_CODE(name, code, text) \
    case GALV_##name:                 \
        return code;
        GALV_STATUS_TABLE(STATUS_CODE)
#undef STATUS_CODE
    }
    return 1;
}
