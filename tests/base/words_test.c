#include "base/words.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <string.h>

GALV_TEST_SUITE(base_words);

Test(base_words, distances_of_known_pairs)
{
    static const struct {
        const char *a;
        const char *b;
        size_t distance;
    } CASES[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"kitten", "sitting", 3},  /* Levenshtein's textbook pair */
        {"saturday", "sunday", 3}, /* and the other one */
        {"bandwith", "bandwidth", 1},
        {"ab", "ba", 1},  /* a swap is one edit */
        {"ca", "abc", 3}, /* OSA; unrestricted Damerau gives 2 */
        {"galvatron", "galvatron", 0},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        cr_expect_eq(galv_word_distance(CASES[i].a, CASES[i].b), CASES[i].distance,
                     "%s, %s", CASES[i].a, CASES[i].b);
        cr_expect_eq(galv_word_distance(CASES[i].b, CASES[i].a), CASES[i].distance,
                     "%s, %s", CASES[i].b, CASES[i].a);
    }
    char long_a[200];
    char long_b[200];
    memset(long_a, 'a', sizeof long_a);
    memset(long_b, 'b', sizeof long_b);
    long_a[199] = long_b[199] = '\0';
    cr_expect_eq(galv_word_distance(long_a, long_b), 64);
}

Test(base_words, nearest_is_near_or_nothing)
{
    static const char *const WORDS[] = {"none", "selective", "full", "bf16"};
    cr_expect_str_eq(galv_word_nearest(WORDS, 4, "selctive"), "selective");
    cr_expect_str_eq(galv_word_nearest(WORDS, 4, "ful"), "full");
    cr_expect_str_eq(galv_word_nearest(WORDS, 4, "BF16"), "bf16");
    cr_expect_null(galv_word_nearest(WORDS, 4, "recompute"));
    cr_expect_null(galv_word_nearest(WORDS, 0, "x"));
    static const char *const DEGREES[] = {"pp", "tp", "cp"};
    cr_expect_str_eq(galv_word_nearest(DEGREES, 3, "tpp"), "tp", "begins alike");
    cr_expect_eq(galv_word_index(WORDS, 4, "full"), 2);
    cr_expect_eq(galv_word_index(WORDS, 4, "Full"), -1);
}

Test(base_words, a_word_with_something_put_in_is_nearer_than_other_letters)
{
    static const char *const GPUS[] = {"a100-sxm-80gb", "h100-nvl-94gb", "b200-180gb"};
    cr_expect_str_eq(galv_word_nearest(GPUS, 3, "b200-sxm-180gb"), "b200-180gb");
    cr_expect_str_eq(galv_word_nearest(GPUS, 3, "a100-sxm-8gb"), "a100-sxm-80gb");
    cr_expect_null(galv_word_nearest(GPUS, 3, "b200-in-a-pod-of-180gb"));
}

Test(base_words, hint_names_the_nearest_or_lists_all)
{
    static const char *const WORDS[] = {"none", "selective", "full"};
    galv_err err = GALV_ERR_INIT;
    galv_fail(&err, GALV_USAGE, "unknown");
    galv_hint_words(&err, WORDS, 3, "fulll");
    cr_expect_str_eq(err.hint, "did you mean 'full'?");
    galv_err far = GALV_ERR_INIT;
    galv_fail(&far, GALV_USAGE, "unknown");
    galv_hint_words(&far, WORDS, 3, "everything");
    cr_expect_str_eq(far.hint, "expected one of: none, selective, full");
}
