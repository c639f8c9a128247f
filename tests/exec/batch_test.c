#include "exec/batch.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(exec_batch);

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(bytes, 1, n, file), n);
    cr_assert_eq(fclose(file), 0);
}

Test(exec_batch, random_tokens_are_of_the_vocabulary_and_of_the_seed)
{
    galv_batch a = {.seed = 1, .vocabulary = 97, .seq_length = 8};
    galv_batch b = {.seed = 2, .vocabulary = 97, .seq_length = 8};
    int different = 0;
    for (int i = 0; i < 1000; i++) {
        int32_t token = galv_batch_token(&a, i / 8, i % 8);
        cr_assert(token >= 0 && token < 97);
        cr_assert_eq(token, galv_batch_token(&a, i / 8, i % 8));
        different += token != galv_batch_token(&b, i / 8, i % 8);
    }
    cr_expect_gt(different, 900);
}

Test(exec_batch, windows_of_a_file_follow_one_another_and_begin_again)
{
    char path[] = "galvatron-batch-test.u16";
    unsigned char bytes[2 * 11];
    galv_err err = GALV_ERR_INIT;
    galv_batch b = {.vocabulary = 300, .seq_length = 4};
    for (int i = 0; i < 11; i++) { /* tokens 256, 257, ... */
        bytes[2 * i] = (unsigned char)i;
        bytes[2 * i + 1] = 1;
    }
    write_file(path, bytes, sizeof bytes);
    cr_assert_eq(galv_batch_read(&b, path, &err), GALV_OK, "%s", err.message);
    cr_expect_eq(galv_batch_token(&b, 0, 0), 256);
    cr_expect_eq(galv_batch_token(&b, 0, 4), 260, "the last target");
    cr_expect_eq(galv_batch_token(&b, 1, 0), 260, "the next window");
    cr_expect_eq(galv_batch_token(&b, 1, 4), 264);
    cr_expect_eq(galv_batch_token(&b, 2, 0), 256, "no third one: again");
    galv_batch_release(&b);
    remove(path);
}

Test(exec_batch, bad_files_are_refused_with_what_is_wrong)
{
    char path[] = "galvatron-batch-test.txt";
    galv_err err = GALV_ERR_INIT;
    galv_batch b = {.vocabulary = 100, .seq_length = 4};
    write_file(path, "ABCDEFGz", 8); /* 'z' is 122 */
    cr_expect_eq(galv_batch_read(&b, path, &err), GALV_INPUT);
    cr_expect(strstr(err.message, "token 7 is 122") != NULL, "%s", err.message);
    err = (galv_err)GALV_ERR_INIT;
    write_file(path, "ABCD", 4);
    cr_expect_eq(galv_batch_read(&b, path, &err), GALV_INPUT, "a target is missing");
    err = (galv_err)GALV_ERR_INIT;
    remove(path);
    cr_expect_eq(galv_batch_read(&b, path, &err), GALV_INPUT);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_batch_read(&b, "/", &err), GALV_INPUT);
    cr_expect(strstr(err.message, "cannot read the tokens") != NULL, "%s", err.message);
}

Test(exec_batch, a_file_that_ends_within_a_token_is_refused)
{
    char path[] = "galvatron-batch-test-cut.i32";
    static const unsigned char zeros[4 * 8] = {0};
    galv_err err = GALV_ERR_INIT;
    galv_batch b = {.vocabulary = 100, .seq_length = 4};
    write_file(path, zeros, sizeof zeros - 3);
    cr_expect_eq(galv_batch_read(&b, path, &err), GALV_INPUT);
    cr_expect(strstr(err.message, "within token 7 of 4 bytes") != NULL, "%s",
              err.message);
    remove(path);
}
