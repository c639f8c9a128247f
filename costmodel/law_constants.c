/* Reading data/laws.csv: every constant stands there once. */
#include "costmodel/law_constants_internal.h"

#include "base/words.h"

#define GALV_WORD(name, word) word,
static const char *const names[GALV_N_CONSTANTS] = {GALV_CONSTANT_TABLE(GALV_WORD)};
#undef GALV_WORD

void galv_law_constants_read(double *constants, galv_law_table *table)
{
    for (int i = 0; i < GALV_N_CONSTANTS; i++) {
        constants[i] = (double)NAN;
    }
    for (size_t row = 0; row < table->csv.n_rows; row++) {
        int i = galv_word_index(names, GALV_N_CONSTANTS,
                                galv_law_cell(table, row, "constant"));
        if (i >= 0) {
            constants[i] = galv_law_number(table, row, "value", (double)NAN);
        }
    }
    for (int i = 0; i < GALV_N_CONSTANTS && table->status == GALV_OK; i++) {
        if (isnan(constants[i])) {
            table->status = galv_fail(table->err, GALV_INTERNAL,
                                      "laws.csv has no value of %s", names[i]);
        }
    }
}
