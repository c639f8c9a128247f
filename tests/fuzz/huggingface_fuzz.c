/* Fuzz target: any bytes as a Hugging Face configuration, and as Galvatron's. */
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
        if (galv_model_from_huggingface(&model, galv_json_root(document), &err) ==
                GALV_OK &&
            !(galv_model_parameters(&model) > 0)) {
            __builtin_trap();
        }
        galv_err other = GALV_ERR_INIT;
        if (galv_model_from_galvatron(&model, galv_json_root(document), &other) ==
                GALV_OK &&
            galv_model_check(&model, &other) != GALV_OK) {
            __builtin_trap();
        }
    }
    galv_json_free(document);
    return 0;
}
