/* Any bytes as cases: each one that is read becomes a plan that passes its check, or a
 * refusal that names file and line. */
#include "traces/cases.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void plan_case(const galv_case *c, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_job job;
    galv_plan *plan = NULL;
    galv_status status = galv_case_to_plan(&job, &plan, c, arena, &err);
    if (status != err.status) {
        abort();
    }
    if (status == GALV_OK) {
        if (galv_plan_check(plan, &job, &err) != GALV_OK) {
            abort();
        }
    } else if (status != GALV_NO_MEMORY && (err.file[0] == '\0' || err.line < 2)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_arena *arena = galv_arena_new();
    galv_csv table;
    galv_case *cases = NULL;
    size_t n_cases = 0;
    galv_err err = GALV_ERR_INIT;
    if (arena != NULL &&
        galv_csv_read_text(&table, "fuzz.csv", (const char *)data, size, arena, &err) ==
            GALV_OK &&
        galv_cases_read_table(&cases, &n_cases, &table, arena, &err) == GALV_OK) {
        for (size_t i = 0; i < n_cases && i < 8; i++) {
            plan_case(&cases[i], arena);
        }
    }
    galv_arena_free(arena);
    return 0;
}
