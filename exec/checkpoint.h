/* Checkpoints: the state of a training in a folder, for any plan on any number of
 * ranks.
 *
 *     DIR/checkpoint-STEP/manifest.json   what it is, and the files with their
 * checksums DIR/checkpoint-STEP/rank-R.state    pieces (state.h) that rank R counted
 *
 * A checkpoint is written as checkpoint-STEP.tmp and renamed when all of it is on the
 * disk, so one of that name is whole; what a run left half written is never read, and
 * is told and removed when the next one is written. The folder must be one that all
 * ranks see. Files hold numbers as this machine does (little-endian where it is). */
#ifndef GALV_EXEC_CHECKPOINT_H
#define GALV_EXEC_CHECKPOINT_H

#include "base/arena.h"
#include "exec/trainer.h"

#include <stdint.h>

typedef struct galv_checkpoint_file {
    char name[64];
    int64_t bytes;
    uint32_t crc32; /* IEEE 802.3, as in zip files */
} galv_checkpoint_file;

/* What the manifest says. */
typedef struct galv_checkpoint {
    char path[1024];
    int64_t step;        /* optimizer steps done */
    int64_t next_sample; /* of the data, in samples of ... */
    int32_t seq_length;  /* ... so many tokens */
    int64_t seed;
    double learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm;
    char model[128];
    int32_t n_layers;
    char plan[256]; /* in one line */
    int32_t n_files;
    galv_checkpoint_file *files; /* owned by the arena */
} galv_checkpoint;

/* Writes DIR/checkpoint-STEP after the trainer's last step, and removes those before it
 * but for the last `keep` - 1 (0 = none is removed). Collective. Errors: GALV_IO (a
 * full disk...: the checkpoints before are left as they were), GALV_NO_MEMORY. */
galv_status galv_checkpoint_save(galv_trainer *trainer, const char *folder,
                                 int32_t keep, galv_err *err);

/* Finds and reads the manifest: `path` is a checkpoint, or a folder of them, of which
 * the last whole one is taken. Not collective. In `ignored` (a text; NULL allowed) what
 * was found half written. Errors: GALV_INPUT (none there: the path is then ""; a
 * manifest that is none). */
galv_status galv_checkpoint_find(galv_checkpoint *checkpoint, const char *path,
                                 galv_text *ignored, galv_arena *arena, galv_err *err);

/* Did all ranks find what rank 0 found? NULL: none. Collective. Errors: GALV_INPUT,
 * with what was found. */
galv_status galv_checkpoint_compare(const galv_checkpoint *checkpoint,
                                    galv_world *world, galv_err *err);

/* Puts the checkpoint into a trainer of any plan for the same model: it goes on at
 * step + 1. Collective. Errors: GALV_INPUT (another model; a file that is missing, cut
 * short or corrupt: which, and what to resume from instead), GALV_NO_MEMORY. */
galv_status galv_checkpoint_load(galv_trainer *trainer,
                                 const galv_checkpoint *checkpoint, galv_err *err);

#endif
