/* Finding Galvatron's files by name and taking their keys apart. The names are exact,
 * so a folder may hold much else; a name found twice is refused, since a search that
 * took either would depend on how the folder is laid out. */
#include "traces/galvatron_files.h"

#include "base/file.h"

#include <string.h>

#define MAX_DEPTH 4

static galv_status find_below(char **found, const char *folder, const char *name,
                              int depth, galv_arena *arena, galv_err *err)
{
    char **names = NULL;
    size_t n_names = 0;
    galv_status status = galv_folder_list(&names, &n_names, folder, arena, err);
    for (size_t i = 0; status == GALV_OK && i < n_names; i++) {
        char *path = galv_path_join(arena, folder, names[i]);
        if (path == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        if (depth < MAX_DEPTH && galv_is_folder(path)) {
            status = find_below(found, path, name, depth + 1, arena, err);
        } else if (strcmp(names[i], name) == 0 && galv_is_file(path)) {
            if (*found != NULL) {
                galv_fail_at(err, path, 0, 0, "the same file is in another folder");
                galv_hint(err, "import one of the two folders; the other is '%.200s'",
                          *found);
                return GALV_INPUT;
            }
            *found = path;
        }
    }
    return status;
}

galv_status galv_galvatron_find_file(char **path, const char *folder, const char *name,
                                     galv_arena *arena, galv_err *err)
{
    char *found = NULL;
    galv_status status = find_below(&found, folder, name, 0, arena, err);
    if (status == GALV_OK && found != NULL) {
        *path = found;
    }
    return status;
}

bool galv_galvatron_scan_key(const char *key, const char *pattern, int32_t *numbers)
{
    size_t n = 0;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '#') {
            if (*key++ != *pattern) {
                return false;
            }
            continue;
        }
        int64_t number = 0;
        const char *digits = key;
        for (; *key >= '0' && *key <= '9' && number < 1000000000; key++) {
            number = 10 * number + (*key - '0');
        }
        if (key == digits || number > INT32_MAX) {
            return false;
        }
        numbers[n++] = (int32_t)number;
    }
    return *key == '\0';
}
