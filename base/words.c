/* Nearest words. The distance is "optimal string alignment": insertion, deletion,
 * substitution and the swap of two neighbours cost 1 each, and no part is edited twice
 * (Damerau 1964; the recurrence is the usual dynamic programme over two prefixes).
 * Words that differ only in case are at distance 0 for the purpose of a hint, since
 * "BF16" for "bf16" is the commonest slip of all. A word that was typed with something
 * put in between ("b200-sxm-180gb" for "b200-180gb") is at distance 2 however long that
 * is: nearer than one of other letters. */
#include "base/words.h"

#include "base/text.h"

#include <string.h>

#define COMPARED_BYTES 64
#define LIST_WORDS     12

int galv_word_index(const char *const words[], size_t n_words, const char *word)
{
    for (size_t i = 0; i < n_words; i++) {
        if (strcmp(words[i], word) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t galv_word_distance(const char *a, const char *b)
{
    size_t n_a = strnlen(a, COMPARED_BYTES);
    size_t n_b = strnlen(b, COMPARED_BYTES);
    unsigned char rows[3][COMPARED_BYTES + 1];
    unsigned char *before = rows[0]; /* prefix of a, two shorter */
    unsigned char *last = rows[1];   /* one shorter */
    unsigned char *now = rows[2];
    memset(before, 0, sizeof rows[0]);
    for (size_t j = 0; j <= n_b; j++) {
        last[j] = (unsigned char)j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        now[0] = (unsigned char)i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            size_t best = smaller((size_t)last[j] + 1, (size_t)now[j - 1] + 1);
            best = smaller(best, (size_t)last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = smaller(best, (size_t)before[j - 2] + 1);
            }
            now[j] = (unsigned char)best;
        }
        unsigned char *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[n_b];
}

/* strcasecmp without the locale. */
static bool same_but_for_case(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a - 'A' + 'a') : *a;
        char y = *b >= 'A' && *b <= 'Z' ? (char)(*b - 'A' + 'a') : *b;
        if (x != y) {
            return false;
        }
    }
    return *a == *b;
}

/* Do the letters of `word` stand in `typed` in this order, and make up two thirds of
 * it? Short words stand in too many others. */
static bool typed_with_more(const char *word, const char *typed)
{
    size_t n_word = strlen(word);
    if (n_word < 5 || 3 * n_word < 2 * strlen(typed)) {
        return false;
    }
    for (; *word != '\0' && *typed != '\0'; typed++) {
        word += *word == *typed;
    }
    return *word == '\0';
}

static size_t distance_of_hint(const char *word, const char *typed)
{
    if (same_but_for_case(word, typed)) {
        return 0;
    }
    size_t distance = galv_word_distance(word, typed);
    return typed_with_more(word, typed) ? smaller(distance, 2) : distance;
}

const char *galv_word_nearest(const char *const words[], size_t n_words,
                              const char *word)
{
    size_t limit = smaller(3, strlen(word) / 3);
    if (limit < 1) {
        limit = 1;
    }
    const char *nearest = NULL;
    size_t least = limit + 1;
    for (size_t i = 0; i < n_words; i++) {
        size_t distance = distance_of_hint(words[i], word);
        /* of two as near, the one that begins alike: the first letter is seldom wrong
         */
        bool begins_alike = nearest != NULL && distance == least &&
                            words[i][0] == word[0] && nearest[0] != word[0];
        if (distance < least || begins_alike) {
            least = distance;
            nearest = words[i];
        }
    }
    return nearest;
}

void galv_hint_words(galv_err *err, const char *const words[], size_t n_words,
                     const char *word)
{
    const char *nearest = galv_word_nearest(words, n_words, word);
    if (nearest != NULL) {
        galv_hint(err, "did you mean '%s'?", nearest);
        return;
    }
    if (n_words == 0 || n_words > LIST_WORDS) {
        return;
    }
    galv_text list = GALV_TEXT_INIT;
    for (size_t i = 0; i < n_words; i++) {
        galv_text_printf(&list, "%s%s", i == 0 ? "" : ", ", words[i]);
    }
    if (!list.failed) {
        galv_hint(err, "expected one of: %s", galv_text_string(&list));
    }
    galv_text_release(&list);
}
