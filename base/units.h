/* Numbers with units, read and printed.
 *
 * Inside, everything is SI: seconds, bytes, FLOP, bytes/s, FLOP/s. These functions
 * are the only place where other units exist. What could be read two ways is refused
 * with both readings ("128M": 128MB = 10^6 or 128MiB = 2^20), and so is trailing
 * junk, NaN, infinity and overflow.
 *
 * Parsers return GALV_USAGE with a message that quotes the text; the caller says
 * which option or field it was. Printers write at most `size` bytes into `buffer`,
 * always NUL-terminated, and return `buffer`; three significant figures. */
#ifndef GALV_BASE_UNITS_H
#define GALV_BASE_UNITS_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

/* "80GiB", "22.3GiB", "4096B" -> bytes, rounded down. A bare number is bytes, and
 * whole. */
galv_status galv_parse_bytes(uint64_t *bytes, const char *text, galv_err *err);

/* "400Gb/s" (bits), "50GB/s" (bytes) -> bytes per second. A bare number is refused. */
galv_status galv_parse_bandwidth(double *bytes_per_s, const char *text, galv_err *err);

/* "1.5ms", "3us", "2h", "10d" -> seconds. A bare number is seconds. */
galv_status galv_parse_duration(double *seconds, const char *text, galv_err *err);

/* A finite decimal number with nothing after it. */
galv_status galv_parse_number(double *value, const char *text, galv_err *err);

/* A whole number in [low, high]; "8e3" and "4k" (k, M, G, T as 10^3n) are accepted for
 * counts such as tokens; so is "300B" for 300e9. "4K" is refused: 4000 or 4096? */
galv_status galv_parse_count(int64_t *value, const char *text, int64_t low,
                             int64_t high, galv_err *err);

/* A list of whole numbers: "1,2,4", "8..512:x2" (times 2), "1..8:+1", or a mix.
 * Values ascend as written, each in [low, high]; at most `capacity` of them. */
galv_status galv_parse_counts(int64_t *values, size_t *n_values, size_t capacity,
                              const char *text, int64_t low, int64_t high,
                              galv_err *err);

/* "43.4 GiB"; below 1 KiB "512 B". */
char *galv_print_bytes(char *buffer, size_t size, double bytes);
/* "8.79 s", "1.53 ms", "23.0 us", from a minute on "2.5 min", "3.1 h", "12.4 d". */
char *galv_print_duration(char *buffer, size_t size, double seconds);
/* The same, but never minutes, hours or days: "640 s". For times to be compared. */
char *galv_print_seconds(char *buffer, size_t size, double seconds);
/* "48.5 GB/s" */
char *galv_print_bandwidth(char *buffer, size_t size, double bytes_per_s);
/* "18 432": groups of three parted by a space. */
char *galv_print_count(char *buffer, size_t size, int64_t value);
/* "477 k", "4.19 M", "1.02 G": for rates and token counts. */
char *galv_print_si(char *buffer, size_t size, double value);
/* Three significant figures, never an exponent for 1e-3 <= |v| < 1e7. */
char *galv_print_number(char *buffer, size_t size, double value);
/* Shortest decimal that reads back to the same double ("0.1", not 0.1000...01). */
char *galv_print_exact(char *buffer, size_t size, double value);

#endif
