/* Any text as a quantity: refused or a finite value in range, and what is printed
 * exactly reads back. */
#include "base/units.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool claim)
{
    if (!claim) {
        abort();
    }
}

static void check_printers(double value)
{
    char text[64];
    char tiny[5];
    galv_err err = GALV_ERR_INIT;
    double back = 0;
    galv_print_bytes(tiny, sizeof tiny, value);
    galv_print_duration(tiny, sizeof tiny, value);
    galv_print_bandwidth(tiny, sizeof tiny, value);
    galv_print_si(tiny, sizeof tiny, value);
    galv_print_number(tiny, sizeof tiny, value);
    require(strlen(tiny) < sizeof tiny);
    galv_print_exact(text, sizeof text, value);
    require(galv_parse_number(&back, text, &err) == GALV_OK);
    require(back >= value && back <= value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[300];
    size_t length = size < sizeof text ? size : sizeof text - 1;
    memcpy(text, data, length);
    text[length] = '\0';

    galv_err errors[6] = {GALV_ERR_INIT};
    uint64_t bytes = 0;
    double value = 0;
    int64_t count = 0;
    int64_t counts[16];
    size_t n = 0;
    (void)galv_parse_bytes(&bytes, text, &errors[0]);
    if (galv_parse_bandwidth(&value, text, &errors[1]) == GALV_OK) {
        require(isfinite(value) && value >= 0);
    }
    if (galv_parse_duration(&value, text, &errors[2]) == GALV_OK) {
        require(isfinite(value) && value >= 0);
    }
    if (galv_parse_count(&count, text, -5, 1000000, &errors[3]) == GALV_OK) {
        require(count >= -5 && count <= 1000000);
    }
    if (galv_parse_number(&value, text, &errors[4]) == GALV_OK) {
        require(isfinite(value));
        check_printers(value);
    }
    if (galv_parse_counts(counts, &n, 16, text, INT64_MIN, INT64_MAX, &errors[5]) ==
        GALV_OK) {
        require(n >= 1 && n <= 16);
        for (size_t i = 1; i < n; i++) {
            require(counts[i] > counts[i - 1]);
        }
    }
    return 0;
}
