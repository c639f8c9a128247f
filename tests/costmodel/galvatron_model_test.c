/* Galvatron's cost model equals the published engine. A few of the engine's values are
 * in tests/costmodel/data/galvatron_values.json; the whole set of recorded runs is
 * compared where it is there (GALV_GOLDEN_DIR, or ../shared/data/galvatron_golden
 * beside the source). */
#include "tests/costmodel/galvatron_values.h"
#include "tests/support/leaks.h"

#include "base/file.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_TEST_SUITE(costmodel_galvatron);

#define VALUES GALV_SOURCE_DIR "/tests/costmodel/data/galvatron_values.json"

static galv_json *read_json(const char *path)
{
    galv_json *document = NULL;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_json_read_file(&document, path, &err), GALV_OK, "%s: %s", path,
                 err.message);
    return document;
}

Test(costmodel_galvatron, values_equal_the_engines_to_nine_digits)
{
    galv_json *document = read_json(VALUES);
    galv_json_value sets = galv_json_member(galv_json_root(document), "sets");
    size_t n_values = 0;
    for (size_t i = 0; i < galv_json_length(sets); i++) {
        char name[32];
        snprintf(name, sizeof name, "set %zu", i);
        n_values += test_galvatron_document(galv_json_element(sets, i), name);
    }
    cr_expect_gt(n_values, 400, "%zu values", n_values);
    galv_json_free(document);
}

/* ---- every recorded run, where they are ---- */

static const char *golden_folder(char *buffer, size_t size)
{
    const char *named = getenv("GALV_GOLDEN_DIR");
    snprintf(buffer, size, "%s",
             named != NULL ? named
                           : GALV_SOURCE_DIR "/../shared/data/galvatron_golden");
    return galv_is_folder(buffer) ? buffer : NULL;
}

static size_t compare_folder(const char *folder, const char *part, size_t *n_files)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    char path[1024];
    char **names = NULL;
    size_t n_names = 0, n_values = 0;
    snprintf(path, sizeof path, "%s/%s", folder, part);
    cr_assert_eq(galv_folder_list(&names, &n_names, path, arena, &err), GALV_OK, "%s",
                 err.message);
    for (size_t i = 0; i < n_names; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", folder, part, names[i]);
        galv_json *document = read_json(path);
        n_values += test_galvatron_document(galv_json_root(document), names[i]);
        galv_json_free(document);
    }
    *n_files += n_names;
    galv_arena_free(arena);
    return n_values;
}

Test(costmodel_galvatron, every_recorded_value_equals_the_engines)
{
    char buffer[1024];
    const char *folder = golden_folder(buffer, sizeof buffer);
    if (folder == NULL) {
        cr_skip_test("no recorded runs here: set GALV_GOLDEN_DIR to their folder");
    }
    size_t n_files = 0;
    size_t n_values = compare_folder(folder, "tables", &n_files);
    n_values += compare_folder(folder, "runs", &n_files);
    cr_expect_gt(n_values, 10 * n_files, "%zu values in %zu files", n_values, n_files);
}
