#include "base/text.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

GALV_TEST_SUITE(base_text);

Test(base_text, pieces_add_up)
{
    galv_text text = GALV_TEXT_INIT;
    cr_expect_str_eq(galv_text_string(&text), "");
    galv_text_append(&text, "ab");
    galv_text_append_char(&text, 'c');
    galv_text_append_repeated(&text, '-', 100);
    galv_text_printf(&text, "%d/%s", 7, "eight");
    galv_text_append_bytes(&text, "zz", 1);
    cr_expect_eq(text.length, 3 + 100 + 7 + 1);
    cr_expect_eq(strlen(text.bytes), text.length);
    cr_expect_str_eq(text.bytes + 103, "7/eightz");
    galv_text_reset(&text);
    cr_expect_str_eq(galv_text_string(&text), "");
    galv_text_append(&text, "again");
    cr_expect_str_eq(galv_text_string(&text), "again");
    galv_text_release(&text);
    cr_expect_str_eq(galv_text_string(&text), "");
}

Test(base_text, failure_is_sticky)
{
    galv_text text = GALV_TEXT_INIT;
    galv_text_append(&text, "kept");
    galv_text_append_repeated(&text, 'x', SIZE_MAX / 2);
    cr_expect(text.failed);
    galv_text_append(&text, "lost");
    cr_expect_str_eq(galv_text_string(&text), "kept");
    galv_text_release(&text);
    cr_expect_not(text.failed);
}

Test(base_text, columns_count_characters_not_bytes)
{
    cr_expect_eq(galv_text_columns(""), 0);
    cr_expect_eq(galv_text_columns("abc"), 3);
    cr_expect_eq(galv_text_columns("\xC2\xB5s \xE2\x96\x88"), 4); /* "µs █" */
}
