/* Galvatron's files: finding them by name, and taking their keys apart.
 *
 * Its profiles are JSON objects whose keys hold the data ("layertype_0_bsz8_seq2048"),
 * in files whose names say what they are of
 * ("p2p_bandwidth_1nodes_8gpus_per_node.json"). Format: Hetu-Galvatron at commit
 * cea12ffb. */
#ifndef GALV_TRACES_GALVATRON_FILES_H
#define GALV_TRACES_GALVATRON_FILES_H

#include "base/arena.h"
#include "base/status.h"

#include <stdint.h>

/* Looks for a file in a folder and at most four levels below it. *path is set when
 * there is one (owned by the arena) and left alone when there is none. Errors:
 * GALV_INPUT when two have that name, since nothing says which is meant, or the folder
 * cannot be read; GALV_NO_MEMORY. */
galv_status galv_galvatron_find_file(char **path, const char *folder, const char *name,
                                     galv_arena *arena, galv_err *err);

/* Does `key` match a pattern where each '#' stands for a whole number? Numbers go to
 * numbers[0], [1]..., one for each '#'; those before the first mismatch are written
 * also where it does not match. */
bool galv_galvatron_scan_key(const char *key, const char *pattern, int32_t *numbers);

#endif
