/* Numbers with units. A text is split into a decimal number, checked by its grammar
 * (so hexadecimal, "inf" and "nan" never pass), and a unit looked up in a table. A
 * decimal unit is applied by moving the exponent before the one conversion strtod
 * makes, so "1.1k" is exactly 1100 and not 1100.0000000000002; a binary unit is an
 * exact multiplication. Units that could be read two ways stand in the same tables with
 * both readings, so that the refusal can say them.
 *
 * Assumed: LC_NUMERIC is "C", as in every program that does not call setlocale. */
#include "base/units.h"

#include "base/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DIGITS 160

/* A decimal number at the beginning of a text, and what follows it. */
typedef struct decimal {
    char digits[MAX_DIGITS + 1]; /* sign, digits and point; no exponent */
    int exponent;                /* the written one */
    bool whole;                  /* digits only: fits strtoll */
    const char *rest;            /* after the number and blanks */
} decimal;

/* A unit: number * 10^exp10 * factor SI units. */
typedef struct unit {
    const char *name;
    int exp10;
    double factor;        /* a power of two, 60, 3600, ... ; 0 = refused */
    const char *readings; /* why refused: the two readings, as formats of "%s" */
} unit;

static const char *skip_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t') {
        at++;
    }
    return at;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Splits a text; false when it does not begin with a decimal number. */
static bool split(decimal *number, const char *text)
{
    const char *begin = skip_blanks(text);
    const char *at = begin;
    size_t n_digits = 0;
    number->whole = true;
    if (*at == '+' || *at == '-') {
        at++;
    }
    for (; is_digit(*at); at++) {
        n_digits++;
    }
    if (*at == '.' && at[1] != '.') { /* two points begin the end of a range */
        number->whole = false;
        for (at++; is_digit(*at); at++) {
            n_digits++;
        }
    }
    size_t length = (size_t)(at - begin);
    if (n_digits == 0 || length > MAX_DIGITS) {
        return false;
    }
    memcpy(number->digits, begin, length);
    number->digits[length] = '\0';
    number->exponent = 0;
    if ((at[0] == 'e' || at[0] == 'E') &&
        (is_digit(at[1]) || ((at[1] == '+' || at[1] == '-') && is_digit(at[2])))) {
        bool negative = at[1] == '-';
        number->whole = false;
        for (at += is_digit(at[1]) ? 1 : 2; is_digit(*at); at++) {
            if (number->exponent < 100000) {
                number->exponent = number->exponent * 10 + (*at - '0');
            }
        }
        if (negative) {
            number->exponent = -number->exponent;
        }
    }
    number->rest = skip_blanks(at);
    return true;
}

/* The number times 10^exp10; false when it overflows. */
static bool evaluate(double *value, const decimal *number, int exp10)
{
    char text[MAX_DIGITS + 16];
    (void)snprintf(text, sizeof text, "%se%d", number->digits,
                   number->exponent + exp10);
    double result = strtod(text, NULL);
    if (!isfinite(result)) {
        return false;
    }
    *value = result;
    return true;
}

/* strcmp that lets blanks follow the unit. */
static bool is_unit(const char *rest, const char *name)
{
    size_t length = strlen(name);
    return strncmp(rest, name, length) == 0 && *skip_blanks(rest + length) == '\0';
}

static const unit *find_unit(const unit units[], size_t n_units, const char *rest)
{
    for (size_t i = 0; i < n_units; i++) {
        if (is_unit(rest, units[i].name)) {
            return &units[i];
        }
    }
    return NULL;
}

static galv_status not_a_number(const char *text, galv_err *err)
{
    return galv_fail(err, GALV_USAGE, "'%s' is not a number", text);
}

static galv_status too_big(const char *text, galv_err *err)
{
    return galv_fail(err, GALV_USAGE, "'%s' is too large", text);
}

/* "'128M' can be read two ways": the readings follow as the hint. */
static galv_status two_readings(const char *text, const decimal *number,
                                const unit *found, galv_err *err)
{
    galv_fail(err, GALV_USAGE, "'%s' can be read two ways", text);
    galv_text hint = GALV_TEXT_INIT;
    galv_text_append(&hint, "write ");
    for (const char *at = found->readings; *at != '\0'; at++) {
        if (*at != '#') {
            galv_text_append_char(&hint, *at);
            continue;
        }
        galv_text_append(&hint, number->digits);
        if (number->exponent != 0) {
            galv_text_printf(&hint, "e%d", number->exponent);
        }
    }
    galv_hint(err, "%s", galv_text_string(&hint));
    galv_text_release(&hint);
    return GALV_USAGE;
}

/* Reads a number >= 0 with a unit of a table; the unit "" stands there where a bare
 * number has a meaning. */
static galv_status parse_quantity(double *value, decimal *number, const char *text,
                                  const unit units[], size_t n_units,
                                  const char *expected, galv_err *err)
{
    if (!split(number, text)) {
        galv_fail(err, GALV_USAGE, "'%s' is not a quantity", text);
        galv_hint(err, "expected %s", expected);
        return GALV_USAGE;
    }
    const unit *found = find_unit(units, n_units, number->rest);
    if (found == NULL) {
        if (*number->rest == '\0') {
            galv_fail(err, GALV_USAGE, "'%s' has no unit", text);
        } else {
            galv_fail(err, GALV_USAGE, "unknown unit '%s' in '%s'", number->rest, text);
        }
        galv_hint(err, "expected %s", expected);
        return GALV_USAGE;
    }
    if (!(found->factor > 0)) {
        return two_readings(text, number, found, err);
    }
    double amount = 0;
    if (!evaluate(&amount, number, found->exp10) || !isfinite(amount * found->factor)) {
        return too_big(text, err);
    }
    if (amount < 0) {
        return galv_fail(err, GALV_USAGE, "'%s' is negative", text);
    }
    *value = amount * found->factor;
    return GALV_OK;
}

#define KIB 1024.0
#define MIB (1024.0 * KIB)
#define GIB (1024.0 * MIB)
#define TIB (1024.0 * GIB)
#define PIB (1024.0 * TIB)

static const unit SIZE_UNITS[] = {
    {"", 0, 1, NULL},
    {"B", 0, 1, NULL},
    {"kB", 3, 1, NULL},
    {"KB", 3, 1, NULL},
    {"MB", 6, 1, NULL},
    {"GB", 9, 1, NULL},
    {"TB", 12, 1, NULL},
    {"PB", 15, 1, NULL},
    {"KiB", 0, KIB, NULL},
    {"MiB", 0, MIB, NULL},
    {"GiB", 0, GIB, NULL},
    {"TiB", 0, TIB, NULL},
    {"PiB", 0, PIB, NULL},
    {"k", 0, 0, "#kB (1000) or #KiB (1024)"},
    {"K", 0, 0, "#kB (1000) or #KiB (1024)"},
    {"M", 0, 0, "#MB (10^6) or #MiB (2^20)"},
    {"G", 0, 0, "#GB (10^9) or #GiB (2^30)"},
    {"T", 0, 0, "#TB (10^12) or #TiB (2^40)"},
    {"P", 0, 0, "#PB (10^15) or #PiB (2^50)"},
    {"kb", 0, 0, "#kB (1000 bytes) or #KiB (1024 bytes)"},
    {"Kb", 0, 0, "#kB (1000 bytes) or #KiB (1024 bytes)"},
    {"mb", 0, 0, "#MB (10^6 bytes) or #MiB (2^20 bytes)"},
    {"Mb", 0, 0, "#MB (10^6 bytes) or #MiB (2^20 bytes)"},
    {"gb", 0, 0, "#GB (10^9 bytes) or #GiB (2^30 bytes)"},
    {"Gb", 0, 0, "#GB (10^9 bytes) or #GiB (2^30 bytes)"},
    {"tb", 0, 0, "#TB (10^12 bytes) or #TiB (2^40 bytes)"},
    {"Tb", 0, 0, "#TB (10^12 bytes) or #TiB (2^40 bytes)"},
};

#define PER_S(p, e)                                                          \
    {p "B/s", e, 1, NULL}, {p "Bps", e, 1, NULL}, {p "b/s", e, 0.125, NULL}, \
        {p "bit/s", e, 0.125, NULL},                                         \
    {                                                                        \
        p "bps", e, 0.125, NULL                                              \
    }
#define TWO_RATES(name, p)                                  \
    {                                                       \
        name, 0, 0, "#" p "b/s (bits) or #" p "B/s (bytes)" \
    }

static const unit RATE_UNITS[] = {
    PER_S("", 0),
    PER_S("k", 3),
    PER_S("K", 3),
    PER_S("M", 6),
    PER_S("G", 9),
    PER_S("T", 12),
    PER_S("P", 15),
    {"KiB/s", 0, KIB, NULL},
    {"MiB/s", 0, MIB, NULL},
    {"GiB/s", 0, GIB, NULL},
    {"TiB/s", 0, TIB, NULL},
    TWO_RATES("", ""),
    TWO_RATES("k", "k"),
    TWO_RATES("K", "k"),
    TWO_RATES("M", "M"),
    TWO_RATES("G", "G"),
    TWO_RATES("T", "T"),
    TWO_RATES("mb/s", "M"),
    TWO_RATES("mbps", "M"),
    TWO_RATES("gb/s", "G"),
    TWO_RATES("gbps", "G"),
    TWO_RATES("tb/s", "T"),
    TWO_RATES("tbps", "T"),
};

static const unit TIME_UNITS[] = {
    {"", 0, 1, NULL},           {"s", 0, 1, NULL},          {"ms", -3, 1, NULL},
    {"us", -6, 1, NULL},        {"\xC2\xB5s", -6, 1, NULL}, {"\xCE\xBCs", -6, 1, NULL},
    {"ns", -9, 1, NULL},        {"min", 0, 60, NULL},       {"h", 0, 3600, NULL},
    {"kh", 3, 3600, NULL},      {"d", 0, 86400, NULL},      {"m", 0, 0, "#min or #ms"},
    {"M", 0, 0, "#min or #ms"},
};

#define COUNT_OF(table) (sizeof(table) / sizeof(table)[0])

galv_status galv_parse_bytes(uint64_t *bytes, const char *text, galv_err *err)
{
    decimal number;
    double value = 0;
    galv_status status =
        parse_quantity(&value, &number, text, SIZE_UNITS, COUNT_OF(SIZE_UNITS),
                       "bytes, such as 80GiB, 1.5MB or 4096", err);
    if (status != GALV_OK) {
        return status;
    }
    if (number.whole && (*number.rest == '\0' || is_unit(number.rest, "B"))) {
        errno = 0; /* exact beyond 2^53 too */
        unsigned long long exact = strtoull(number.digits, NULL, 10);
        if (errno != 0) {
            return too_big(text, err);
        }
        *bytes = (uint64_t)exact;
        return GALV_OK;
    }
    if (value >= 18446744073709551616.0) {
        return too_big(text, err);
    }
    bool in_bytes = *number.rest == '\0' || is_unit(number.rest, "B");
    if (in_bytes && value != floor(value)) {
        return galv_fail(err, GALV_USAGE, "'%s' is not a whole number of bytes", text);
    }
    *bytes = (uint64_t)value;
    return GALV_OK;
}

galv_status galv_parse_bandwidth(double *bytes_per_s, const char *text, galv_err *err)
{
    decimal number;
    double value = 0;
    galv_status status =
        parse_quantity(&value, &number, text, RATE_UNITS, COUNT_OF(RATE_UNITS),
                       "a bandwidth, such as 400Gb/s (bits) or 50GB/s (bytes)", err);
    if (status == GALV_OK) {
        *bytes_per_s = value;
    }
    return status;
}

galv_status galv_parse_duration(double *seconds, const char *text, galv_err *err)
{
    decimal number;
    double value = 0;
    galv_status status =
        parse_quantity(&value, &number, text, TIME_UNITS, COUNT_OF(TIME_UNITS),
                       "a duration, such as 1.5ms, 3us, 20min, 2h or 10d", err);
    if (status == GALV_OK) {
        *seconds = value;
    }
    return status;
}

galv_status galv_parse_number(double *value, const char *text, galv_err *err)
{
    decimal number;
    double result = 0;
    if (!split(&number, text) || *number.rest != '\0') {
        return not_a_number(text, err);
    }
    if (!evaluate(&result, &number, 0)) {
        return too_big(text, err);
    }
    *value = result;
    return GALV_OK;
}

static galv_status refuse_count(const char *text, galv_err *err)
{
    galv_fail(err, GALV_USAGE, "'%s' is not a whole number", text);
    galv_hint(err, strpbrk(text, ",.") != NULL
                       ? "one number is wanted here, not a list or range"
                       : "expected a count, such as 64, 16k, 300B or 15T");
    return GALV_USAGE;
}

/* A whole number at the beginning of a text, with its suffix; `rest` is what follows.
 */
static galv_status scan_count(int64_t *value, const char **rest, const char *text,
                              galv_err *err)
{
    static const char SUFFIXES[] = "kMGT";
    decimal number;
    if (!split(&number, text)) {
        return refuse_count(text, err);
    }
    const char *at = number.rest;
    int exp10 = 0;
    const char *suffix = *at == '\0' ? NULL : strchr(SUFFIXES, *at);
    if (suffix != NULL) {
        exp10 = 3 * (int)(suffix - SUFFIXES + 1);
        at++;
    } else if (*at == 'B') {
        exp10 = 9; /* "300B tokens", as papers write it */
        at++;
    } else if (*at == 'K') {
        galv_fail(err, GALV_USAGE, "'%s' can be read two ways", text);
        galv_hint(err, "write %sk (times 1000), or the number in full for times 1024",
                  number.digits);
        return GALV_USAGE;
    }
    if (number.whole && exp10 == 0) {
        errno = 0;
        long long exact = strtoll(number.digits, NULL, 10);
        if (errno != 0) {
            return too_big(text, err);
        }
        *value = (int64_t)exact;
    } else {
        double amount = 0;
        if (!evaluate(&amount, &number, exp10) ||
            !(fabs(amount) < 9223372036854775808.0)) {
            return too_big(text, err);
        }
        if (amount != floor(amount)) {
            return galv_fail(err, GALV_USAGE, "'%s' is not a whole number", text);
        }
        *value = (int64_t)amount;
    }
    *rest = skip_blanks(at);
    return GALV_OK;
}

static galv_status check_range(int64_t value, int64_t low, int64_t high, galv_err *err)
{
    if (value >= low && value <= high) {
        return GALV_OK;
    }
    if (high == INT64_MAX) {
        return galv_fail(err, GALV_USAGE, "%lld is below %lld", (long long)value,
                         (long long)low);
    }
    return galv_fail(err, GALV_USAGE, "%lld is not between %lld and %lld",
                     (long long)value, (long long)low, (long long)high);
}

galv_status galv_parse_count(int64_t *value, const char *text, int64_t low,
                             int64_t high, galv_err *err)
{
    int64_t result = 0;
    const char *rest = NULL;
    galv_status status = scan_count(&result, &rest, text, err);
    if (status == GALV_OK && *rest != '\0') {
        status = refuse_count(text, err);
    }
    if (status == GALV_OK) {
        status = check_range(result, low, high, err);
    }
    if (status == GALV_OK) {
        *value = result;
    }
    return status;
}

/* A list being built: values ascend, and there are at most `capacity`. */
typedef struct list {
    int64_t *values;
    size_t n;
    size_t capacity;
    int64_t low;
    int64_t high;
} list;

static galv_status list_add(list *counts, int64_t value, const char *text,
                            galv_err *err)
{
    galv_status status = check_range(value, counts->low, counts->high, err);
    if (status != GALV_OK) {
        return status;
    }
    if (counts->n > 0 && value <= counts->values[counts->n - 1]) {
        return galv_fail(err, GALV_USAGE, "values do not ascend in '%s'", text);
    }
    if (counts->n == counts->capacity) {
        return galv_fail(err, GALV_USAGE, "'%s' has more than %zu values", text,
                         counts->capacity);
    }
    counts->values[counts->n++] = value;
    return GALV_OK;
}

/* first..last, then ":xN" or ":+N" at `at`; moves `at` past it. */
static galv_status list_add_range(list *counts, int64_t first, const char **at,
                                  const char *text, galv_err *err)
{
    int64_t last = 0;
    int64_t step = 0;
    galv_status status = scan_count(&last, at, *at + 2, err);
    if (status != GALV_OK) {
        return status;
    }
    bool times = (*at)[0] == ':' && (*at)[1] == 'x';
    bool plus = (*at)[0] == ':' && (*at)[1] == '+';
    if (!times && !plus) {
        galv_fail(err, GALV_USAGE, "the range in '%s' has no step", text);
        galv_hint(err, "write %lld..%lld:x2 (doubling) or %lld..%lld:+1 (one by one)",
                  (long long)first, (long long)last, (long long)first, (long long)last);
        return GALV_USAGE;
    }
    status = scan_count(&step, at, *at + 2, err);
    if (status != GALV_OK) {
        return status;
    }
    if (step < (times ? 2 : 1) || (times && first < 1)) {
        return galv_fail(err, GALV_USAGE, "the range in '%s' never ends", text);
    }
    if (last < first) {
        return galv_fail(err, GALV_USAGE, "the range in '%s' ends before it begins",
                         text);
    }
    for (int64_t value = first;;) {
        status = list_add(counts, value, text, err);
        if (status != GALV_OK) {
            return status;
        }
        if (times ? value > last / step : value > last - step) {
            return GALV_OK;
        }
        value = times ? value * step : value + step;
    }
}

galv_status galv_parse_counts(int64_t *values, size_t *n_values, size_t capacity,
                              const char *text, int64_t low, int64_t high,
                              galv_err *err)
{
    list counts = {NULL, 0, capacity, low, high};
    counts.values = calloc(capacity == 0 ? 1 : capacity, sizeof *values);
    if (counts.values == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory for a list");
    }
    const char *at = text;
    galv_status status = GALV_OK;
    for (;;) {
        int64_t value = 0;
        status = scan_count(&value, &at, at, err);
        if (status == GALV_OK) {
            status = at[0] == '.' && at[1] == '.'
                         ? list_add_range(&counts, value, &at, text, err)
                         : list_add(&counts, value, text, err);
        }
        if (status != GALV_OK || *at == '\0') {
            break;
        }
        if (*at != ',') {
            status =
                galv_fail(err, GALV_USAGE, "'%s' is not a list of whole numbers", text);
            galv_hint(err, "write 1,2,4 or 8..512:x2 or 1..8:+1");
            break;
        }
        at++;
    }
    if (status == GALV_OK) {
        memcpy(values, counts.values, counts.n * sizeof *values);
        *n_values = counts.n;
    }
    free(counts.values);
    return status;
}
