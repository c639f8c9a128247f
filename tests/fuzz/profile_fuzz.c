/* Any bytes as a profile: rows that are read pass their own check. */
#include "traces/profile.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_arena *arena = galv_arena_new();
    galv_profile *profile = galv_profile_new();
    galv_csv table;
    galv_err err = GALV_ERR_INIT;
    if (arena != NULL && profile != NULL &&
        galv_csv_read_text(&table, "fuzz.csv", (const char *)data, size, arena, &err) ==
            GALV_OK &&
        galv_profile_read_table(profile, &table, &err) == GALV_OK) {
        for (size_t row = 0; row < profile->n_rows && row < 4; row++) {
            if (galv_profile_check_row(&profile->rows[row], &err) != GALV_OK) {
                abort();
            }
        }
    }
    galv_profile_free(profile);
    galv_arena_free(arena);
    return 0;
}
