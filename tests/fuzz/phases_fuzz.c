/* Any bytes as the phases of a run: what is read has whole steps under any job, or is
 * refused with a place. */
#include "plan/phases.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_arena *arena = galv_arena_new();
    galv_phase *phases = NULL;
    size_t n_phases = 0;
    galv_csv table;
    galv_err err = GALV_ERR_INIT;
    if (arena != NULL && galv_csv_read_text(&table, "fuzz.csv", (const char *)data,
                                            size, arena, &err) == GALV_OK) {
        if (galv_phases_read_table(&phases, &n_phases, &table, arena, &err) !=
            GALV_OK) {
            if (err.status != GALV_INPUT || err.file[0] == '\0' || err.line < 1) {
                abort();
            }
        }
        for (size_t i = 0; i < n_phases; i++) {
            galv_job job = {.workload = GALV_WORKLOAD_INIT};
            galv_job own;
            job.workload.seq_length = 1;
            job.workload.global_batch_size = 1;
            own = galv_phase_job(&job, &phases[i]);
            double steps = galv_phase_steps(&own, &phases[i]);
            if (!(steps >= 1 && steps < 1e19) || phases[i].name[0] == '\0' ||
                memchr(phases[i].name, '\0', sizeof phases[i].name) == NULL) {
                abort();
            }
        }
    }
    galv_arena_free(arena);
    return 0;
}
