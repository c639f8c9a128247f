/* Whole files in, whole files out: nothing is ever left half written. */
#ifndef GALV_BASE_FILE_H
#define GALV_BASE_FILE_H

#include "base/arena.h"
#include "base/status.h"

#include <stddef.h>

/* Reads a whole file, a pipe or "-" (standard input) into the arena, with a NUL after
 * it. Folders, devices, and files over `limit_bytes` (0 = 1 GiB) are refused.
 * Errors: GALV_INPUT when the file is absent or unreadable (with the nearest name in
 * its folder as the hint), GALV_NO_MEMORY. */
galv_status galv_file_read(char **bytes, size_t *length, const char *path,
                           size_t limit_bytes, galv_arena *arena, galv_err *err);

/* Writes a whole file by way of PATH.tmp and a rename, so that PATH is either the old
 * file or the whole new one; a link's target is replaced, not the link; devices and
 * pipes are written to directly; "-" is standard output. A full disk is GALV_IO. */
galv_status galv_file_write(const char *path, const char *bytes, size_t length,
                            galv_err *err);

/* Makes a folder and its parents; one that exists is fine. */
galv_status galv_folder_make(const char *path, galv_err *err);

/* Would galv_file_write, galv_folder_make find a place for `path`? Asked before long
 * work, so that no result is lost to a folder that is not there. Only what can be known
 * without writing is found, and said as they say it. Errors: GALV_IO. */
galv_status galv_file_check_place(const char *path, galv_err *err);
galv_status galv_folder_check_place(const char *path, galv_err *err);

/* True when `path` names an existing folder / file. */
bool galv_is_folder(const char *path);
bool galv_is_file(const char *path);

/* Names in a folder (without . and ..), sorted by bytes; owned by the arena. */
galv_status galv_folder_list(char ***names, size_t *n_names, const char *path,
                             galv_arena *arena, galv_err *err);

/* "DIR/NAME", owned by the arena; NULL when memory is out. */
char *galv_path_join(galv_arena *arena, const char *folder, const char *name);

/* Does `path` end with `extension` (".json"), whatever the case? */
bool galv_path_has_extension(const char *path, const char *extension);

#endif
