/* Numbers for people: three significant figures, because a simulator whose error is
 * counted in per cent has no right to more. A value that rounds up to the next unit is
 * printed in that unit (1023.9 KiB is "1.00 MiB", 59.99 s is "1.0 min"). */
#include "base/units.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Handles what has no digits; true when it did. */
static bool print_odd(char *buffer, size_t size, double value)
{
    if (isnan(value)) {
        (void)snprintf(buffer, size, "nan");
        return true;
    }
    if (isinf(value)) {
        (void)snprintf(buffer, size, value < 0 ? "-inf" : "inf");
        return true;
    }
    return false;
}

/* "SCALED UNIT" with three significant figures; scaled >= 0. */
static char *print_scaled(char *buffer, size_t size, bool negative, double scaled,
                          const char *unit)
{
    int decimals = scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0;
    (void)snprintf(buffer, size, "%s%.*f%s%s", negative ? "-" : "", decimals, scaled,
                   unit[0] == '\0' ? "" : " ", unit);
    return buffer;
}

/* The largest unit in which the value is at least 1 after rounding. */
static char *print_stepped(char *buffer, size_t size, double value, double step,
                           double limit, const char *const units[], size_t n_units)
{
    bool negative = value < 0;
    double scaled = fabs(value);
    size_t i = 0;
    while (i + 1 < n_units && scaled >= limit) {
        scaled /= step;
        i++;
    }
    return print_scaled(buffer, size, negative, scaled, units[i]);
}

char *galv_print_bytes(char *buffer, size_t size, double bytes)
{
    static const char *const UNITS[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (print_odd(buffer, size, bytes)) {
        return buffer;
    }
    if (fabs(bytes) < 1023.5) {
        double whole = round(bytes);
        (void)snprintf(buffer, size, "%.0f B", whole == 0 ? 0.0 : whole);
        return buffer;
    }
    return print_stepped(buffer, size, bytes / 1024, 1024, 1023.5, UNITS,
                         sizeof UNITS / sizeof UNITS[0]);
}

char *galv_print_bandwidth(char *buffer, size_t size, double bytes_per_s)
{
    static const char *const UNITS[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s"};
    if (print_odd(buffer, size, bytes_per_s)) {
        return buffer;
    }
    return print_stepped(buffer, size, bytes_per_s, 1000, 999.5, UNITS,
                         sizeof UNITS / sizeof UNITS[0]);
}

char *galv_print_si(char *buffer, size_t size, double value)
{
    static const char *const UNITS[] = {"", "k", "M", "G", "T", "P", "E"};
    if (print_odd(buffer, size, value)) {
        return buffer;
    }
    if (fabs(value) < 0.9995) {
        return galv_print_number(buffer, size, value);
    }
    return print_stepped(buffer, size, value, 1000, 999.5, UNITS,
                         sizeof UNITS / sizeof UNITS[0]);
}

/* From a minute on: one decimal is as much as anyone wants of a day. */
static char *print_long(char *buffer, size_t size, bool negative, double scaled,
                        const char *unit)
{
    (void)snprintf(buffer, size, "%s%.*f %s", negative ? "-" : "",
                   scaled < 99.95 ? 1 : 0, scaled, unit);
    return buffer;
}

char *galv_print_duration(char *buffer, size_t size, double seconds)
{
    if (print_odd(buffer, size, seconds)) {
        return buffer;
    }
    bool negative = seconds < 0;
    double s = fabs(seconds);
    if (s >= 23.95 * 3600) {
        return print_long(buffer, size, negative, s / 86400, "d");
    }
    if (s >= 59.95 * 60) {
        return print_long(buffer, size, negative, s / 3600, "h");
    }
    if (s >= 59.95) {
        return print_long(buffer, size, negative, s / 60, "min");
    }
    if (!(s > 0)) {
        (void)snprintf(buffer, size, "0 s");
        return buffer;
    }
    if (s >= 0.9995) {
        return print_scaled(buffer, size, negative, s, "s");
    }
    if (s >= 0.9995e-3) {
        return print_scaled(buffer, size, negative, s * 1e3, "ms");
    }
    if (s >= 0.9995e-6) {
        return print_scaled(buffer, size, negative, s * 1e6, "us");
    }
    return print_scaled(buffer, size, negative, s * 1e9, "ns");
}

char *galv_print_count(char *buffer, size_t size, int64_t value)
{
    char digits[24];
    char grouped[40];
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)magnitude);
    size_t out = 0;
    if (value < 0) {
        grouped[out++] = '-';
    }
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            grouped[out++] = ' ';
        }
        grouped[out++] = digits[i];
    }
    grouped[out] = '\0';
    (void)snprintf(buffer, size, "%s", grouped);
    return buffer;
}

char *galv_print_number(char *buffer, size_t size, double value)
{
    if (print_odd(buffer, size, value)) {
        return buffer;
    }
    double magnitude = fabs(value);
    if (!(magnitude > 0)) {
        (void)snprintf(buffer, size, "0");
        return buffer;
    }
    char rounded[40]; /* so that 999.7 has four figures before the point */
    (void)snprintf(rounded, sizeof rounded, "%.2e", value);
    if (magnitude < 0.9995e-3 || magnitude >= 9.995e6) {
        (void)snprintf(buffer, size, "%s", rounded);
        return buffer;
    }
    const char *mark = strchr(rounded, 'e');
    int exponent = mark == NULL ? 0 : (int)strtol(mark + 1, NULL, 10);
    (void)snprintf(buffer, size, "%.*f", exponent >= 2 ? 0 : 2 - exponent,
                   strtod(rounded, NULL));
    return buffer;
}

char *galv_print_exact(char *buffer, size_t size, double value)
{
    if (print_odd(buffer, size, value)) {
        return buffer;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (back >= value && back <= value) {
            break;
        }
    }
    (void)snprintf(buffer, size, "%s", text);
    return buffer;
}

char *galv_print_seconds(char *buffer, size_t size, double seconds)
{
    if (seconds < 1 || !(seconds < 1e7)) {
        return galv_print_duration(buffer, size, seconds);
    }
    char number[32];
    snprintf(buffer, size, "%s s", galv_print_number(number, sizeof number, seconds));
    return buffer;
}
