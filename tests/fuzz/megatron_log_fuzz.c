/* Any bytes as a log of Megatron-LM's: an iteration takes some time, or the log is
 * refused by its name. */
#include "accuracy/calibrate.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    double time_s = 0;
    double noise_frac = 0;
    size_t n = 0;
    if (arena != NULL) {
        galv_status status =
            galv_megatron_log_read_text(&time_s, &noise_frac, &n, "fuzz.log",
                                        (const char *)data, size, arena, &err);
        bool told = n > 0 && time_s > 0 && isfinite(time_s) && noise_frac >= 0 &&
                    isfinite(noise_frac);
        bool refused = status == GALV_INPUT && err.file[0] != '\0' && n == 0;
        if (status == GALV_OK ? !told : !refused) {
            abort();
        }
    }
    galv_arena_free(arena);
    return 0;
}
