/* Fuzz target: any bytes as a cluster document, which must survive being written and
 * read again. */
#include "plan/cluster.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_err err = GALV_ERR_INIT;
    galv_json *document = NULL;
    if (galv_json_read_text(&document, "fuzz", (const char *)data, size, &err) ==
        GALV_OK) {
        galv_cluster cluster = {0};
        if (galv_cluster_from_json(&cluster, galv_json_root(document), &err) ==
            GALV_OK) {
            galv_text text = GALV_TEXT_INIT;
            galv_json_writer writer;
            galv_json_writer_init(&writer, &text);
            galv_cluster_to_json(&cluster, &writer);
            galv_json *again = NULL;
            if (galv_json_finish(&writer, &err) != GALV_OK ||
                galv_json_read_text(&again, "again", text.bytes, text.length, &err) !=
                    GALV_OK ||
                galv_cluster_from_json(&cluster, galv_json_root(again), &err) !=
                    GALV_OK) {
                __builtin_trap();
            }
            galv_json_free(again);
            galv_text_release(&text);
        }
    }
    galv_json_free(document);
    return 0;
}
