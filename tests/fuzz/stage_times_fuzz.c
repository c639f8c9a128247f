/* Any bytes as stage times: what is read can be played under every schedule, or is
 * refused with a place or a reason. */
#include "sim/stage_times.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void play(const galv_stage_times *times, const galv_schedule *schedule,
                 galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_stage_times_result result = {0};
    const galv_stage_times_options options = {.n_micro_batches = 3,
                                              .record_timeline = true};
    galv_status status =
        galv_stage_times_simulate(&result, times, schedule, &options, arena, &err);
    if (status != err.status) {
        abort();
    }
    if (status == GALV_OK &&
        !(isfinite(result.iteration_time_s) &&
          result.iteration_time_s >= result.least_time_s * (1 - 1e-9))) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_arena *arena = galv_arena_new();
    galv_stage_times times = {0};
    galv_csv table;
    galv_err err = GALV_ERR_INIT;
    if (arena != NULL && galv_csv_read_text(&table, "fuzz.csv", (const char *)data,
                                            size, arena, &err) == GALV_OK) {
        if (galv_stage_times_read_table(&times, &table, arena, &err) != GALV_OK) {
            if (err.status != GALV_INPUT || err.file[0] == '\0') {
                abort();
            }
        } else if ((int64_t)times.n_stages * times.n_chunks <= 64) {
            size_t n = 0;
            const galv_schedule *schedules = galv_schedules(&n);
            for (size_t i = 0; i < n; i++) {
                play(&times, &schedules[i], arena);
            }
        }
    }
    galv_arena_free(arena);
    return 0;
}
