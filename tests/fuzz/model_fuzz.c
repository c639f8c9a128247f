/* Fuzz target: any bytes as a model document, which must survive being written and read
 * again. */
#include "plan/model.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_err err = GALV_ERR_INIT;
    galv_json *document = NULL;
    if (galv_json_read_text(&document, "fuzz", (const char *)data, size, &err) ==
        GALV_OK) {
        galv_model model = {0};
        if (galv_model_from_json(&model, galv_json_root(document), &err) == GALV_OK) {
            galv_text text = GALV_TEXT_INIT;
            galv_json_writer writer;
            galv_json_writer_init(&writer, &text);
            galv_model_to_json(&model, &writer);
            galv_json *again = NULL;
            if (galv_json_finish(&writer, &err) != GALV_OK ||
                galv_json_read_text(&again, "again", text.bytes, text.length, &err) !=
                    GALV_OK ||
                galv_model_from_json(&model, galv_json_root(again), &err) != GALV_OK ||
                !(galv_model_parameters(&model) > 0)) {
                __builtin_trap();
            }
            galv_json_free(again);
            galv_text_release(&text);
        }
    }
    galv_json_free(document);
    return 0;
}
