#include "base/status.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(base_status);

Test(base_status, first_error_wins)
{
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(galv_fail(&err, GALV_IO, "disk %d", 1), GALV_IO);
    cr_expect_eq(galv_fail(&err, GALV_USAGE, "second"), GALV_USAGE);
    cr_expect_eq(galv_fail_at(&err, "f", 3, 4, "third"), GALV_INPUT);
    cr_expect_eq(err.status, GALV_IO);
    cr_expect_str_eq(err.message, "disk 1");
    cr_expect_str_eq(err.file, "");
    galv_hint(&err, "one");
    galv_hint(&err, "two");
    cr_expect_str_eq(err.hint, "one");
}

Test(base_status, place_is_kept_and_file_is_set_once)
{
    galv_err err = GALV_ERR_INIT;
    galv_hint(&err, "no error yet, no hint");
    galv_fail_at(&err, "a.json", 7, 9, "unknown key '%s'", "x");
    galv_err_set_file(&err, "b.json");
    cr_expect_eq(err.status, GALV_INPUT);
    cr_expect_str_eq(err.file, "a.json");
    cr_expect_eq(err.line, 7);
    cr_expect_eq(err.column, 9);
    cr_expect_str_eq(err.hint, "");
}

Test(base_status, long_and_binary_messages_are_made_printable)
{
    galv_err err = GALV_ERR_INIT;
    char text[1200];
    for (size_t i = 0; i + 2 < sizeof text; i += 2) { /* "é" 600 times */
        memcpy(text + i, "\xC3\xA9", 2);
    }
    text[sizeof text - 2] = '\0';
    galv_fail(&err, GALV_INPUT, "%s", text); /* the cut falls inside a character */
    size_t length = strlen(err.message);
    cr_expect_eq(length, 510, "cut at %zu", length);
    cr_expect_eq(err.message[length - 1], '\xA9');

    galv_err other = GALV_ERR_INIT;
    galv_fail(&other, GALV_INPUT, "a\x1B[31mb\nc\x7F");
    cr_expect_str_eq(other.message, "a?[31mb c?");
}

Test(base_status, exit_codes_are_those_of_the_manual)
{
    cr_expect_eq(galv_status_exit_code(GALV_OK), 0);
    cr_expect_eq(galv_status_exit_code(GALV_NO_MEMORY), 1);
    cr_expect_eq(galv_status_exit_code(GALV_USAGE), 2);
    cr_expect_eq(galv_status_exit_code(GALV_INFEASIBLE), 3);
    cr_expect_eq(galv_status_exit_code(GALV_INPUT), 4);
    cr_expect_eq(galv_status_exit_code(GALV_TOLERANCE), 5);
    cr_expect_eq(galv_status_exit_code(GALV_UNAVAILABLE), 6);
    cr_expect_eq(galv_status_exit_code(GALV_DIFFERENT), 10);
    cr_expect_eq(galv_status_exit_code(GALV_INTERRUPTED), 130);
    cr_expect_eq(galv_status_exit_code((galv_status)999), 1);
    cr_expect_str_eq(galv_status_text(GALV_INPUT), "wrong input file");
    cr_expect_str_eq(galv_status_text((galv_status)999), "unknown status");
}
