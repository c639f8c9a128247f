/* Any bytes as a timeline: what is read can be written, and reads back the same; the
 * trace made of it is JSON; joining cells keeps it sound. */
#include "base/json.h"
#include "traces/timeline_internal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static galv_status read_text(galv_timeline *t, const char *text, size_t length,
                             galv_arena *arena)
{
    galv_csv table;
    galv_err err = GALV_ERR_INIT;
    galv_status status =
        galv_csv_read_text(&table, "fuzz.csv", text, length, arena, &err);
    return status == GALV_OK ? galv_timeline_read_table(t, &table, arena, &err)
                             : status;
}

static void check_round_trip(const galv_timeline *t, galv_arena *arena)
{
    galv_text out = GALV_TEXT_INIT;
    galv_err err = GALV_ERR_INIT;
    galv_timeline again;
    if (galv_timeline_put_csv(&out, t, &err) != GALV_OK ||
        read_text(&again, out.bytes, out.length, arena) != GALV_OK ||
        again.n_spans != t->n_spans || again.n_samples != t->n_samples ||
        again.n_ranks != t->n_ranks || strcmp(again.title, t->title) != 0 ||
        strcmp(again.subtitle, t->subtitle) != 0 ||
        (t->n_spans > 0 &&
         memcmp(again.spans, t->spans, t->n_spans * sizeof *t->spans) != 0)) {
        abort();
    }
    galv_text_release(&out);
}

static void check_trace(const galv_timeline *t)
{
    galv_text out = GALV_TEXT_INIT;
    galv_err err = GALV_ERR_INIT;
    galv_json *document = NULL;
    if (galv_timeline_put_chrome(&out, t, &err) != GALV_OK ||
        galv_json_read_text(&document, "trace", out.bytes, out.length, &err) !=
            GALV_OK) {
        abort();
    }
    galv_json_free(document);
    galv_text_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_arena *arena = galv_arena_new();
    galv_timeline t;
    /* a row of ranks takes a row of text when written: keep what is written small */
    if (arena != NULL && read_text(&t, (const char *)data, size, arena) == GALV_OK &&
        t.n_ranks < 5000) {
        galv_err err = GALV_ERR_INIT;
        check_round_trip(&t, arena);
        check_trace(&t);
        galv_timeline_join_cells(&t);
        if (galv_timeline_check(&t, &err) != GALV_OK) {
            abort();
        }
    }
    galv_arena_free(arena);
    return 0;
}
