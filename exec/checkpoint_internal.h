/* The files of a checkpoint (checkpoint_files.c) and what is in them. */
#ifndef GALV_EXEC_CHECKPOINT_INTERNAL_H
#define GALV_EXEC_CHECKPOINT_INTERNAL_H

#include "exec/checkpoint.h"
#include "exec/state.h"

/* Writes a state; bytes and checksum of the file are those on the disk. */
galv_status galv_state_file_write(galv_checkpoint_file *file, const char *path,
                                  const galv_state *state, galv_err *err);

/* A file of a checkpoint in memory, as it is on the disk. */
typedef struct galv_state_file {
    void *map; /* NULL: not open */
    size_t bytes;
    int64_t n_pieces, n_values;
    const galv_piece *pieces;
    const float *values[GALV_STATE_ARRAYS];
} galv_state_file;

/* Opens a file and looks whether its size and inner lengths are right, and its
 * checksum if `checked`. Errors: GALV_INPUT with the file and what is wrong. */
galv_status galv_state_file_open(galv_state_file *file, const char *folder,
                                 const galv_checkpoint_file *expected, bool checked,
                                 galv_err *err);
void galv_state_file_close(galv_state_file *file);

/* Waits until a folder's names are on the disk. */
galv_status galv_folder_sync(const char *path, galv_err *err);
/* Removes a folder and the files in it; one that is not there is fine. */
galv_status galv_folder_remove(const char *path, galv_err *err);
/* Like galv_file_write, and on the disk when it returns. */
galv_status galv_file_write_durably(const char *path, const char *bytes, size_t length,
                                    galv_err *err);

#endif
