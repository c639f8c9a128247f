/* Any bytes as JSON: read, walked over, and failed at every value; never a crash. */
#include "base/json.h"
#include "tests/fuzz/document_walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_json *document = NULL;
    galv_err err = GALV_ERR_INIT;
    if (galv_json_read_text(&document, "fuzz.json", (const char *)data, size, &err) ==
        GALV_OK) {
        walk_document(document);
    }
    return 0;
}
