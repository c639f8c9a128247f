#include "base/units.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(base_units);

#define COUNT_OF(table) (sizeof(table) / sizeof(table)[0])

Test(base_units, bytes_are_read_exactly)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } CASES[] = {
        {"80GiB", UINT64_C(85899345920)},
        {"80 GiB", UINT64_C(85899345920)},
        {"80GB", UINT64_C(80000000000)},
        {"1.5MB", 1500000},
        {"4096B", 4096},
        {"4096", 4096},
        {"0", 0},
        {"1.1kB", 1100},
        {"0.5KiB", 512},
        {"22.3GiB", UINT64_C(23944442675)}, /* 22.3 * 2^30 = 23944442675.2 */
        {"1e3", 1000},
        {"18446744073709551615", UINT64_MAX},
        {"9007199254740993", UINT64_C(9007199254740993)}, /* 2^53 + 1 */
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        galv_err err = GALV_ERR_INIT;
        uint64_t bytes = 1;
        cr_expect_eq(galv_parse_bytes(&bytes, CASES[i].text, &err), GALV_OK,
                     "case %s: %s", CASES[i].text, err.message);
        cr_expect_eq(bytes, CASES[i].bytes, "case %s", CASES[i].text);
    }
}

Test(base_units, wrong_bytes_are_refused_and_the_output_untouched)
{
    static const char *const CASES[] = {
        "",       "GiB",   "-1",          "-1GB",
        "1.5",    "0.3B",  "128M",        "1e30",
        "80Gb",   "nan",   "inf",         "0x10",
        "1GiBs",  "1 2",   "1,5GB",       "18446744073709551616",
        "1e9999", "1..2",  ".",           "-",
        "1e",     "16EiB", "99999999PiB",
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        galv_err err = GALV_ERR_INIT;
        uint64_t bytes = 77;
        cr_expect_eq(galv_parse_bytes(&bytes, CASES[i], &err), GALV_USAGE, "case '%s'",
                     CASES[i]);
        cr_expect_eq(bytes, 77, "case '%s'", CASES[i]);
        cr_expect_neq(err.message[0], '\0', "case '%s'", CASES[i]);
    }
}

Test(base_units, both_readings_are_named)
{
    galv_err err = GALV_ERR_INIT;
    uint64_t bytes = 0;
    galv_parse_bytes(&bytes, "128M", &err);
    cr_expect_str_eq(err.message, "'128M' can be read two ways");
    cr_expect_str_eq(err.hint, "write 128MB (10^6) or 128MiB (2^20)");
    galv_err rate = GALV_ERR_INIT;
    double bytes_per_s = 0;
    galv_parse_bandwidth(&bytes_per_s, "400G", &rate);
    cr_expect_str_eq(rate.hint, "write 400Gb/s (bits) or 400GB/s (bytes)");
}

Test(base_units, bandwidth_tells_bits_from_bytes)
{
    static const struct {
        const char *text;
        double bytes_per_s;
    } CASES[] = {
        {"400Gb/s", 50e9},     {"50GB/s", 50e9},         {"400Gbps", 50e9},
        {"8b/s", 1},           {"1.5GiB/s", 1610612736}, {"900 GB/s", 900e9},
        {"100Gbit/s", 12.5e9},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        galv_err err = GALV_ERR_INIT;
        double bytes_per_s = -1;
        cr_expect_eq(galv_parse_bandwidth(&bytes_per_s, CASES[i].text, &err), GALV_OK,
                     "case %s: %s", CASES[i].text, err.message);
        cr_expect_eq(bytes_per_s, CASES[i].bytes_per_s, "case %s", CASES[i].text);
    }
    static const char *const WRONG[] = {"400",   "400G", "-1GB/s",    "gb/s",
                                        "1GB/h", "",     "1e400GB/s", "400gb/s"};
    for (size_t i = 0; i < COUNT_OF(WRONG); i++) {
        galv_err err = GALV_ERR_INIT;
        double bytes_per_s = -1;
        cr_expect_eq(galv_parse_bandwidth(&bytes_per_s, WRONG[i], &err), GALV_USAGE,
                     "case %s", WRONG[i]);
        cr_expect_eq(bytes_per_s, -1, "case %s", WRONG[i]);
    }
}

Test(base_units, durations_in_seconds)
{
    static const struct {
        const char *text;
        double seconds;
    } CASES[] = {
        {"1.5ms", 0.0015}, {"3us", 3e-6},   {"3\xC2\xB5s", 3e-6}, {"2h", 7200},
        {"10d", 864000},   {"7", 7},        {"50kh", 1.8e8},      {"20min", 1200},
        {"5ns", 5e-9},     {"1e-6s", 1e-6},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        galv_err err = GALV_ERR_INIT;
        double seconds = -1;
        cr_expect_eq(galv_parse_duration(&seconds, CASES[i].text, &err), GALV_OK,
                     "case %s: %s", CASES[i].text, err.message);
        cr_expect_eq(seconds, CASES[i].seconds, "case %s", CASES[i].text);
    }
    galv_err err = GALV_ERR_INIT;
    double seconds = -1;
    cr_expect_eq(galv_parse_duration(&seconds, "5m", &err), GALV_USAGE);
    cr_expect_str_eq(err.hint, "write 5min or 5ms");
}

Test(base_units, counts_and_numbers)
{
    static const struct {
        const char *text;
        int64_t value;
    } CASES[] = {
        {"8e3", 8000},
        {"4k", 4000},
        {"1.1k", 1100},
        {"15T", INT64_C(15000000000000)},
        {"300B", INT64_C(300000000000)},
        {"-3", -3},
        {"9223372036854775807", INT64_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        galv_err err = GALV_ERR_INIT;
        int64_t value = 0;
        cr_expect_eq(galv_parse_count(&value, CASES[i].text, -10, INT64_MAX, &err),
                     GALV_OK, "case %s: %s", CASES[i].text, err.message);
        cr_expect_eq(value, CASES[i].value, "case %s", CASES[i].text);
    }
    static const char *const WRONG[] = {
        "1.5",          "4K", "x", "", "1e30", "-11", "8 9", "9223372036854775808",
        "0.9999999999", "1k5"};
    for (size_t i = 0; i < COUNT_OF(WRONG); i++) {
        galv_err err = GALV_ERR_INIT;
        int64_t value = 5;
        cr_expect_eq(galv_parse_count(&value, WRONG[i], -10, INT64_MAX, &err),
                     GALV_USAGE, "case %s", WRONG[i]);
        cr_expect_eq(value, 5, "case %s", WRONG[i]);
    }
    galv_err err = GALV_ERR_INIT;
    double number = 0;
    cr_expect_eq(galv_parse_number(&number, "0.1", &err), GALV_OK);
    cr_expect_eq(number, 0.1);
    cr_expect_eq(galv_parse_number(&number, "0.1x", &err), GALV_USAGE);
}

Test(base_units, lists_of_counts)
{
    static const struct {
        const char *text;
        size_t n;
        int64_t values[8];
    } CASES[] = {
        {"1,2,4", 3, {1, 2, 4}},
        {"8..64:x2", 4, {8, 16, 32, 64}},
        {"8..100:x2", 4, {8, 16, 32, 64}},
        {"1..8:+3", 3, {1, 4, 7}},
        {"1,2..8:x2,100", 5, {1, 2, 4, 8, 100}},
        {"5..5:+1", 1, {5}},
        {"1k..2k:+1k", 2, {1000, 2000}},
    };
    for (size_t i = 0; i < COUNT_OF(CASES); i++) {
        galv_err err = GALV_ERR_INIT;
        int64_t values[8] = {0};
        size_t n = 0;
        cr_expect_eq(galv_parse_counts(values, &n, 8, CASES[i].text, 1, 100000, &err),
                     GALV_OK, "case %s: %s", CASES[i].text, err.message);
        cr_expect_eq(n, CASES[i].n, "case %s", CASES[i].text);
        cr_expect_arr_eq(values, CASES[i].values, sizeof values, "case %s",
                         CASES[i].text);
    }
    static const char *const WRONG[] = {
        "",        "1,",      "1,,2",    "2,1",
        "1,1",     "1..8",    "8..1:x2", "1..8:x1",
        "1..8:+0", "0..8:x2", "1..9:+1", "1,2;3",
        "1...3",   "1..8:-1", "200000",  "1..9223372036854775807:x2",
    };
    for (size_t i = 0; i < COUNT_OF(WRONG); i++) {
        galv_err err = GALV_ERR_INIT;
        int64_t values[8] = {0};
        size_t n = 99;
        cr_expect_eq(galv_parse_counts(values, &n, 8, WRONG[i], 1, 100000, &err),
                     GALV_USAGE, "case %s", WRONG[i]);
        cr_expect_eq(n, 99, "case %s", WRONG[i]);
    }
}

Test(base_units, printing_for_people)
{
    char b[64];
    cr_expect_str_eq(galv_print_bytes(b, sizeof b, 512), "512 B");
    cr_expect_str_eq(galv_print_bytes(b, sizeof b, 43.4 * 1073741824), "43.4 GiB");
    cr_expect_str_eq(galv_print_bytes(b, sizeof b, 1023.9 * 1024), "1.00 MiB");
    cr_expect_str_eq(galv_print_bytes(b, sizeof b, 1024), "1.00 KiB");
    cr_expect_str_eq(galv_print_bytes(b, sizeof b, -2048), "-2.00 KiB");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, 8.79), "8.79 s");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, 1.53e-3), "1.53 ms");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, 23e-6), "23.0 us");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, 0.99999), "1.00 s");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, 59.99), "1.0 min");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, 150), "2.5 min");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, 3599), "1.0 h");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, 3.1 * 3600), "3.1 h");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, 12.4 * 86400), "12.4 d");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, 0), "0 s");
    cr_expect_str_eq(galv_print_duration(b, sizeof b, NAN), "nan");
    cr_expect_str_eq(galv_print_bandwidth(b, sizeof b, 48.5e9), "48.5 GB/s");
    cr_expect_str_eq(galv_print_count(b, sizeof b, 18432), "18 432");
    cr_expect_str_eq(galv_print_count(b, sizeof b, -1000000), "-1 000 000");
    cr_expect_str_eq(galv_print_count(b, sizeof b, 7), "7");
    cr_expect_str_eq(galv_print_count(b, sizeof b, INT64_MIN),
                     "-9 223 372 036 854 775 808");
    cr_expect_str_eq(galv_print_si(b, sizeof b, 477e3), "477 k");
    cr_expect_str_eq(galv_print_si(b, sizeof b, 4.19e6), "4.19 M");
    cr_expect_str_eq(galv_print_si(b, sizeof b, 999.7), "1.00 k");
    cr_expect_str_eq(galv_print_number(b, sizeof b, 0.00123456), "0.00123");
    cr_expect_str_eq(galv_print_number(b, sizeof b, 9.996), "10.0");
    cr_expect_str_eq(galv_print_number(b, sizeof b, 1234567), "1230000");
    cr_expect_str_eq(galv_print_number(b, sizeof b, 1e-9), "1.00e-09");
    cr_expect_str_eq(galv_print_number(b, sizeof b, -INFINITY), "-inf");
    cr_expect_str_eq(galv_print_bytes(b, 4, 43e9), "40.", "cut, but ended");
}

Test(base_units, exact_numbers_read_back_and_are_short)
{
    char b[64];
    cr_expect_str_eq(galv_print_exact(b, sizeof b, 0.1), "0.1");
    cr_expect_str_eq(galv_print_exact(b, sizeof b, 5.0), "5");
    cr_expect_str_eq(galv_print_exact(b, sizeof b, 1.0 / 3), "0.3333333333333333");
    uint64_t state = 88172645463325252U; /* xorshift: any bit pattern at all */
    for (int i = 0; i < 20000; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        double value;
        memcpy(&value, &state, sizeof value);
        if (isfinite(value)) {
            double back = strtod(galv_print_exact(b, sizeof b, value), NULL);
            cr_assert_eq(back, value, "%s", b);
        }
    }
    cr_expect_eq(strtod(galv_print_exact(b, sizeof b, DBL_MAX), NULL), DBL_MAX);
    cr_expect_eq(strtod(galv_print_exact(b, sizeof b, 5e-324), NULL), 5e-324);
}

Test(base_units, seconds_stay_seconds_from_one_on)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {0.0021, "2.10 ms"}, {1, "1.00 s"}, {59.96, "60.0 s"}, {640.2, "640 s"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char buffer[32];
        cr_expect_str_eq(galv_print_seconds(buffer, sizeof buffer, cases[i].seconds),
                         cases[i].text, "%s", buffer);
    }
}
