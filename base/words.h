/* Tables of words: enumerations by name, and the nearest valid word. */
#ifndef GALV_BASE_WORDS_H
#define GALV_BASE_WORDS_H

#include "base/status.h"

#include <stddef.h>

/* Index of `word` in `words[n_words]`, or -1. Case matters. */
int galv_word_index(const char *const words[], size_t n_words, const char *word);

/* The word of `words[n_words]` nearest to `word` by Damerau-Levenshtein distance, at
 * most 3 and at most a third of its length (but 1 is always near enough); NULL when
 * none is near. Ties go to the first. */
const char *galv_word_nearest(const char *const words[], size_t n_words,
                              const char *word);

/* Edit distance with transpositions (optimal string alignment) of two strings; strings
 * longer than 64 bytes are compared by their first 64. */
size_t galv_word_distance(const char *a, const char *b);

/* Adds the hint "did you mean 'X'?" where a word is near, else "expected one of: ..."
 * when the list is short (<= 12 words). */
void galv_hint_words(galv_err *err, const char *const words[], size_t n_words,
                     const char *word);

#endif
