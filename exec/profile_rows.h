/* The sheet: the rows of a profile file that are there already, and those to come.
 *
 * Rank 0 holds it; the file is replaced as a whole each time (file.h), so that it is
 * complete whenever the run is stopped. */
#ifndef GALV_EXEC_PROFILE_ROWS_H
#define GALV_EXEC_PROFILE_ROWS_H

#include "base/status.h"
#include "traces/profile.h"

#include <stdbool.h>

typedef struct galv_sheet {
    galv_profile *profile;
    char path[1024];
    size_t n_before; /* rows that the file had */
} galv_sheet;

/* Opens DIR/profile.csv, reading it if it is there and `resumes`. Errors: those of
 * galv_profile_read, GALV_NO_MEMORY. Closed with galv_sheet_close. */
galv_status galv_sheet_open(galv_sheet *sheet, const char *path, bool resumes,
                            galv_err *err);
void galv_sheet_close(galv_sheet *sheet);

/* Do two rows measure the same thing? All but the measured figures and the source. */
bool galv_row_is_of(const galv_profile_row *a, const galv_profile_row *b);

/* The row that measures the same thing, or NULL. O(rows). */
const galv_profile_row *galv_sheet_find(const galv_sheet *sheet,
                                        const galv_profile_row *row);

/* Adds a row and rewrites nothing yet. Errors: GALV_NO_MEMORY; GALV_INTERNAL for a row
 * that the format refuses. */
galv_status galv_sheet_add(galv_sheet *sheet, const galv_profile_row *row,
                           galv_err *err);
galv_status galv_sheet_save(const galv_sheet *sheet, galv_err *err);

#endif
