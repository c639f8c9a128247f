/* Any bytes as each of the profile files of Galvatron's: rows that are taken pass their
 * own check, and what is refused is refused as a file. */
#include "plan/catalog.h"
#include "traces/galvatron_internal.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_reader(galv_galvatron_read *read, galv_json_value root)
{
    static const galv_galvatron_import import = {.folder = "fuzz",
                                                 .model = "llama2-7b",
                                                 .device = "a100-sxm-80gb",
                                                 .precision = GALV_BF16};
    galv_err err = GALV_ERR_INIT;
    galv_profile *profile = galv_profile_new();
    galv_arena *arena = galv_arena_new();
    galv_galvatron_importer im = {.profile = profile,
                                  .import = &import,
                                  .arena = arena,
                                  .err = &err,
                                  .n_nodes = 2,
                                  .devices_per_node = 8};
    if (profile == NULL || arena == NULL ||
        galv_catalog_model(&im.model, import.model, &err) != GALV_OK) {
        abort();
    }
    if (read(&im, root, "fuzz.json") != GALV_OK && err.status != GALV_INPUT) {
        abort();
    }
    for (size_t row = 0; row < profile->n_rows && row < 64; row++) {
        galv_err why = GALV_ERR_INIT;
        if (galv_profile_check_row(&profile->rows[row], &why) != GALV_OK) {
            abort();
        }
    }
    galv_profile_free(profile);
    galv_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static galv_galvatron_read *const readers[] = {
        galv_galvatron_read_computation, galv_galvatron_read_memory,
        galv_galvatron_read_sp_time,     galv_galvatron_read_all_reduce,
        galv_galvatron_read_p2p,         galv_galvatron_read_overlap};
    galv_json *document = NULL;
    galv_err err = GALV_ERR_INIT;
    if (galv_json_read_text(&document, "fuzz.json", (const char *)data, size, &err) ==
            GALV_OK &&
        galv_json_type_of(galv_json_root(document)) == GALV_JSON_OBJECT) {
        for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
            try_reader(readers[i], galv_json_root(document));
        }
    }
    galv_json_free(document);
    return 0;
}
