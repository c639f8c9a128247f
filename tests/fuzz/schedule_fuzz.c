/* Any bytes as an order: what is read can be played and written, and comes back the
 * same, or it is refused with a file or a reason. */
#include "schedule/schedule_file.h"
#include "sim/stage_times.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void play(const galv_order *order, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_schedule schedule = galv_schedule_of_order(order);
    galv_stage_times times = {
        .name = "", .n_stages = order->n_stages, .n_chunks = order->n_chunks};
    galv_stage_times_options options = {.n_micro_batches = order->n_micro_batches};
    galv_stage_times_result result = {0};
    size_t n = (size_t)order->n_stages * (size_t)order->n_chunks;
    times.times = GALV_NEW_ARRAY(arena, galv_stage_time, n);
    for (size_t i = 0; times.times != NULL && i < n; i++) {
        times.times[i] = (galv_stage_time){1, 1, 1, 0.1, 1};
    }
    if (times.times == NULL ||
        galv_stage_times_simulate(&result, &times, &schedule, &options, arena, &err) !=
            GALV_OK ||
        !isfinite(result.iteration_time_s) || !(result.iteration_time_s > 0)) {
        abort();
    }
}

static void write_and_read(const galv_order *order, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_text text = GALV_TEXT_INIT;
    galv_csv table;
    galv_order *again = NULL;
    galv_schedule schedule = galv_schedule_of_order(order);
    galv_schedule_shape shape = {order->n_stages, order->n_chunks,
                                 order->n_micro_batches, 0, NULL};
    if (galv_schedule_file_put(&text, &schedule, &shape, &err) != GALV_OK ||
        galv_csv_read_text(&table, "again.csv", galv_text_string(&text), text.length,
                           arena, &err) != GALV_OK ||
        galv_schedule_file_read_table(&again, &table, arena, &err) != GALV_OK ||
        again->n_slots != order->n_slots ||
        memcmp(again->slots, order->slots,
               (size_t)order->n_stages * order->n_slots * sizeof *order->slots) != 0) {
        abort();
    }
    galv_text_release(&text);
}

static void read_json(const uint8_t *data, size_t size, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_json *document = NULL;
    galv_order *order = NULL;
    if (galv_json_read_text(&document, "fuzz.json", (const char *)data, size, &err) ==
            GALV_OK &&
        galv_order_from_json(&order, galv_json_root(document), arena, &err) !=
            GALV_OK &&
        err.message[0] == '\0') {
        abort();
    }
    galv_json_free(document);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_arena *arena = galv_arena_new();
    galv_csv table;
    galv_order *order = NULL;
    galv_err err = GALV_ERR_INIT;
    if (arena != NULL && galv_csv_read_text(&table, "fuzz.csv", (const char *)data,
                                            size, arena, &err) == GALV_OK) {
        if (galv_schedule_file_read_table(&order, &table, arena, &err) != GALV_OK) {
            if (err.status != GALV_INPUT || err.file[0] == '\0') {
                abort();
            }
        } else {
            play(order, arena);
            write_and_read(order, arena);
        }
    }
    if (arena != NULL) {
        read_json(data, size, arena);
    }
    galv_arena_free(arena);
    return 0;
}
