/* Saving is: everyone writes, all agree that all of it is on the disk, and rank 0
 * writes the manifest and renames the folder: a name is all there or not at all.
 * Loading is: the files are dealt out over the ranks, each of which looks whether its
 * own are what the manifest says; then everyone picks what its plan wants of all. */
#include "exec/checkpoint_internal.h"

#include "base/file.h"
#include "exec/trainer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCHEMA  "galvatron-sim/checkpoint"
#define VERSION 1
#define PREFIX  "checkpoint-"

/* ---- names ---- */

/* Step of "checkpoint-STEP", or -1 (of checkpoint-STEP.tmp, too). */
static int64_t step_of(const char *name)
{
    size_t n = strlen(PREFIX);
    if (strncmp(name, PREFIX, n) != 0 || name[n] < '0' || name[n] > '9') {
        return -1;
    }
    char *end = NULL;
    long long step = strtoll(name + n, &end, 10);
    return *end == '\0' ? step : -1;
}

static bool is_half_written(const char *name)
{
    size_t n = strlen(name);
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && n > 4 &&
           strcmp(name + n - 4, ".tmp") == 0;
}

/* The greatest step below `below` in a folder, or -1. */
static int64_t last_step(const char *folder, int64_t below, galv_text *ignored,
                         galv_arena *arena)
{
    char **names = NULL;
    size_t n = 0;
    int64_t last = -1;
    galv_err trouble = GALV_ERR_INIT;
    galv_folder_list(&names, &n, folder, arena, &trouble);
    for (size_t i = 0; i < n; i++) {
        int64_t step = step_of(names[i]);
        last = step > last && step < below ? step : last;
        if (ignored != NULL && is_half_written(names[i])) {
            galv_text_printf(ignored, "%s%s", ignored->length > 0 ? ", " : "",
                             names[i]);
        }
    }
    return last;
}

/* ---- the manifest ---- */

static void write_settings(galv_json_writer *j, const galv_trainer *t)
{
    const galv_trainer_options *o = &t->options;
    galv_json_put_key(j, "optimizer");
    galv_json_begin_object(j, false);
    galv_json_key_string(j, "name", "adamw");
    galv_json_key_f64(j, "learning_rate", (double)o->learning_rate);
    galv_json_key_f64(j, "beta1", (double)o->beta1);
    galv_json_key_f64(j, "beta2", (double)o->beta2);
    galv_json_key_f64(j, "epsilon", (double)o->epsilon);
    galv_json_key_f64(j, "weight_decay", (double)o->weight_decay);
    galv_json_key_f64(j, "clip_norm", o->clip_norm);
    galv_json_end_object(j);
}

static galv_status write_manifest(const galv_trainer *t, const char *folder,
                                  const galv_checkpoint_file *files, galv_err *err)
{
    const galv_worker *w = &t->worker;
    galv_text text = GALV_TEXT_INIT;
    galv_json_writer j;
    char line[256];
    char path[1200];
    galv_json_writer_init(&j, &text);
    galv_json_begin_object(&j, false);
    galv_json_key_string(&j, "schema", SCHEMA);
    galv_json_key_i64(&j, "version", VERSION);
    galv_json_key_i64(&j, "step", w->adamw.step);
    galv_json_key_i64(&j, "next_sample", w->first_sample);
    galv_json_key_i64(&j, "seq_length", w->batch.seq_length);
    galv_json_key_i64(&j, "seed", (int64_t)t->options.seed);
    write_settings(&j, t);
    galv_json_key_string(&j, "model", w->job->model.name);
    galv_json_key_i64(&j, "n_layers", w->plan->n_layers);
    galv_json_key_string(&j, "plan", galv_plan_print(line, sizeof line, w->plan));
    galv_json_put_key(&j, "files");
    galv_json_begin_array(&j, false);
    for (int32_t rank = 0; rank < w->b->n_ranks; rank++) {
        galv_json_begin_object(&j, true);
        galv_json_key_string(&j, "name", files[rank].name);
        galv_json_key_i64(&j, "bytes", files[rank].bytes);
        galv_json_key_i64(&j, "crc32", files[rank].crc32);
        galv_json_end_object(&j);
    }
    galv_json_end_array(&j);
    galv_json_end_object(&j);
    galv_status status = galv_json_finish(&j, err);
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    if (status == GALV_OK) {
        status =
            galv_file_write_durably(path, galv_text_string(&text), text.length, err);
    }
    galv_text_release(&text);
    return status;
}

static void read_settings(galv_checkpoint *c, galv_json_value value, galv_err *err)
{
    galv_json_object o;
    char name[16];
    galv_json_enter(&o, value, err);
    galv_json_string(&o, "name", GALV_REQUIRED, name, sizeof name);
    galv_json_f64(&o, "learning_rate", GALV_REQUIRED, 0, 1e9, &c->learning_rate);
    galv_json_f64(&o, "beta1", GALV_REQUIRED, 0, 1, &c->beta1);
    galv_json_f64(&o, "beta2", GALV_REQUIRED, 0, 1, &c->beta2);
    galv_json_f64(&o, "epsilon", GALV_REQUIRED, 0, 1, &c->epsilon);
    galv_json_f64(&o, "weight_decay", GALV_REQUIRED, 0, 1e9, &c->weight_decay);
    galv_json_f64(&o, "clip_norm", GALV_REQUIRED, 0, 1e30, &c->clip_norm);
    galv_json_leave(&o);
}

static galv_status read_files(galv_checkpoint *c, galv_json_value value,
                              galv_arena *arena, galv_err *err)
{
    size_t n = galv_json_length(value);
    if (n < 1 || n > INT32_MAX) {
        return galv_json_fail(value, err, "a checkpoint without files");
    }
    c->n_files = (int32_t)n;
    c->files = GALV_NEW_ARRAY(arena, galv_checkpoint_file, n);
    if (c->files == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n && err->status == GALV_OK; i++) {
        galv_json_object o;
        int64_t crc32 = 0;
        galv_json_enter(&o, galv_json_element(value, i), err);
        galv_json_string(&o, "name", GALV_REQUIRED, c->files[i].name,
                         sizeof c->files[i].name);
        galv_json_i64(&o, "bytes", GALV_REQUIRED, 0, INT64_MAX / 2, &c->files[i].bytes);
        galv_json_i64(&o, "crc32", GALV_REQUIRED, 0, UINT32_MAX, &crc32);
        galv_json_leave(&o);
        c->files[i].crc32 = (uint32_t)crc32;
        if (err->status == GALV_OK && strchr(c->files[i].name, '/') != NULL) {
            galv_json_fail(galv_json_element(value, i), err,
                           "files are those of this folder");
        }
    }
    return err->status;
}

static galv_status read_manifest(galv_checkpoint *c, galv_arena *arena, galv_err *err)
{
    char path[1200];
    char schema[64];
    int32_t version = 0;
    galv_json *document = NULL;
    galv_json_object o;
    snprintf(path, sizeof path, "%s/manifest.json", c->path);
    if (galv_json_read_file(&document, path, err) != GALV_OK) {
        return err->status;
    }
    galv_json_enter(&o, galv_json_root(document), err);
    galv_json_string(&o, "schema", GALV_REQUIRED, schema, sizeof schema);
    if (err->status == GALV_OK && strcmp(schema, SCHEMA) != 0) {
        galv_json_fail(o.value, err, "a manifest of schema %s is wanted, not %s",
                       SCHEMA, schema);
    }
    galv_json_i32(&o, "version", GALV_REQUIRED, VERSION, VERSION, &version);
    galv_json_i64(&o, "step", GALV_REQUIRED, 0, INT64_MAX / 2, &c->step);
    galv_json_i64(&o, "next_sample", GALV_REQUIRED, 0, INT64_MAX / 2, &c->next_sample);
    galv_json_i32(&o, "seq_length", GALV_REQUIRED, 1, INT32_MAX, &c->seq_length);
    galv_json_i64(&o, "seed", GALV_REQUIRED, 0, INT64_MAX, &c->seed);
    read_settings(c, galv_json_get(&o, "optimizer", GALV_REQUIRED), err);
    galv_json_string(&o, "model", GALV_REQUIRED, c->model, sizeof c->model);
    galv_json_i32(&o, "n_layers", GALV_REQUIRED, 1, INT32_MAX, &c->n_layers);
    galv_json_string(&o, "plan", GALV_REQUIRED, c->plan, sizeof c->plan);
    galv_json_value files = galv_json_get(&o, "files", GALV_REQUIRED);
    if (galv_json_leave(&o) == GALV_OK) {
        read_files(c, files, arena, err);
    }
    galv_json_free(document);
    return err->status;
}

/* ---- saving ---- */

static void name_file(char *name, size_t size, int32_t rank)
{
    snprintf(name, size, "rank-%d.state", (int)rank);
}

/* Everyone's file, its size and checksum. */
static galv_status write_states(galv_checkpoint_file *files, galv_trainer *t,
                                const char *folder, galv_err *err)
{
    galv_worker *w = &t->worker;
    galv_state *state = NULL;
    galv_checkpoint_file mine = {.bytes = 0};
    char path[1300];
    name_file(mine.name, sizeof mine.name, w->b->rank);
    snprintf(path, sizeof path, "%s/%s", folder, mine.name);
    galv_status status = galv_state_new(&state, w, GALV_PIECES_COUNTED, err);
    if (status == GALV_OK) {
        status = galv_state_download(state, w, err);
    }
    if (status == GALV_OK) {
        galv_state_file_write(&mine, path, state, err);
    }
    galv_state_free(state);
    if (galv_world_agree(w->world, err) != GALV_OK) {
        return err->status;
    }
    return galv_world_all_gather(w->world, files, &mine, sizeof mine, err);
}

/* Puts the whole folder in the place of what had its name. */
static galv_status take_place(const char *folder, const char *half, const char *whole,
                              galv_err *err)
{
    char old[1200];
    snprintf(old, sizeof old, "%s.old.tmp", whole);
    bool replaces = galv_is_folder(whole);
    if (replaces && rename(whole, old) != 0) {
        return galv_fail(err, GALV_IO, "cannot rename %s: %s", whole, strerror(errno));
    }
    if (rename(half, whole) != 0) {
        return galv_fail(err, GALV_IO, "cannot rename %s: %s", half, strerror(errno));
    }
    galv_status status = galv_folder_sync(folder, err);
    if (status == GALV_OK && replaces) {
        status = galv_folder_remove(old, err);
    }
    return status;
}

/* Removes what is half written and all but the last `keep` (0: no other) up to `last`,
 * the one just written: later ones are of a run that went on from the same checkpoint
 * before, and are nobody's to count or remove. */
static void remove_old(const char *folder, int32_t keep, int64_t last,
                       galv_arena *arena)
{
    char **names = NULL;
    size_t n = 0;
    char path[1300];
    galv_err trouble = GALV_ERR_INIT; /* what stays does no harm */
    galv_folder_list(&names, &n, folder, arena, &trouble);
    int64_t oldest = last;
    for (int32_t i = 1; i < keep; i++) {
        oldest = last_step(folder, oldest, NULL, arena);
    }
    for (size_t i = 0; i < n; i++) {
        int64_t step = step_of(names[i]);
        if (is_half_written(names[i]) || (keep > 0 && step >= 0 && step < oldest)) {
            snprintf(path, sizeof path, "%s/%s", folder, names[i]);
            galv_folder_remove(path, &trouble);
        }
    }
}

galv_status galv_checkpoint_save(galv_trainer *trainer, const char *folder,
                                 int32_t keep, galv_err *err)
{
    galv_worker *w = &trainer->worker;
    bool first = w->b->rank == 0;
    char half[1100], whole[1100];
    snprintf(whole, sizeof whole, "%s/" PREFIX "%lld", folder,
             (long long)w->adamw.step);
    snprintf(half, sizeof half, "%.1090s.tmp", whole);
    galv_arena *arena = galv_arena_new();
    galv_checkpoint_file *files =
        arena != NULL ? GALV_NEW_ARRAY(arena, galv_checkpoint_file, w->b->n_ranks)
                      : NULL;
    if (files == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for a checkpoint");
    } else if (first && galv_folder_make(folder, err) == GALV_OK) {
        remove_old(folder, 0, 0,
                   arena); /* the half written, whose room may be needed */
        galv_folder_make(half, err);
    }
    if (galv_world_agree(w->world, err) == GALV_OK) {
        write_states(files, trainer, half, err);
    }
    if (err->status == GALV_OK && first) {
        write_manifest(trainer, half, files, err);
        if (err->status == GALV_OK && galv_folder_sync(half, err) == GALV_OK &&
            take_place(folder, half, whole, err) == GALV_OK) {
            remove_old(folder, keep, w->adamw.step, arena);
        }
    }
    galv_arena_free(arena);
    if (galv_world_agree(w->world, err) != GALV_OK && first) {
        galv_err trouble = GALV_ERR_INIT; /* what stays does no harm */
        galv_folder_remove(half, &trouble);
    }
    return err->status;
}

/* ---- finding ---- */

static void suggest_earlier(const galv_checkpoint *c, galv_err *err)
{
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", c->path);
    char *slash = strrchr(folder, '/');
    int64_t own = step_of(slash != NULL ? slash + 1 : folder);
    galv_arena *arena = galv_arena_new();
    if (arena != NULL) {
        snprintf(slash != NULL ? slash : folder, 3, "%s", slash != NULL ? "" : ".");
        int64_t step = last_step(folder, own >= 0 ? own : INT64_MAX, NULL, arena);
        if (step >= 0) {
            galv_hint(err, "resume from the one before: --resume %.250s/" PREFIX "%lld",
                      folder, (long long)step);
        }
    }
    galv_arena_free(arena);
    galv_hint(err, "no earlier checkpoint is there: begin anew, without --resume");
}

galv_status galv_checkpoint_find(galv_checkpoint *checkpoint, const char *path,
                                 galv_text *ignored, galv_arena *arena, galv_err *err)
{
    char folder[990];
    char manifest[1100];
    memset(checkpoint, 0, sizeof *checkpoint);
    size_t n = strlen(path);
    if (n >= sizeof folder) {
        return galv_fail(err, GALV_INPUT, "the path %.80s... is too long", path);
    }
    memcpy(folder, path, n + 1);
    while (n > 1 && folder[n - 1] == '/') {
        folder[--n] = '\0';
    }
    snprintf(checkpoint->path, sizeof checkpoint->path, "%s", folder);
    snprintf(manifest, sizeof manifest, "%s/manifest.json", folder);
    if (!galv_is_file(manifest)) {
        galv_text none = GALV_TEXT_INIT;
        galv_text *left = ignored != NULL ? ignored : &none;
        int64_t step = last_step(folder, INT64_MAX, left, arena);
        if (step < 0) {
            checkpoint->path[0] = '\0';
            galv_fail(err, GALV_INPUT, "no whole checkpoint in %s%s%s%s", folder,
                      left->length > 0 ? " (" : "", galv_text_string(left),
                      left->length > 0 ? " is half written)" : "");
            galv_hint(err, "checkpoints are written with --checkpoint-every N "
                           "--checkpoint-dir DIR");
        } else {
            snprintf(checkpoint->path, sizeof checkpoint->path, "%s/" PREFIX "%lld",
                     folder, (long long)step);
        }
        galv_text_release(&none);
        if (step < 0) {
            return err->status;
        }
    }
    if (read_manifest(checkpoint, arena, err) != GALV_OK) {
        suggest_earlier(checkpoint, err);
    }
    return err->status;
}

/* What tells checkpoints apart. */
typedef struct mark {
    int64_t step; /* -1: none was found */
    int32_t n_files;
    uint32_t crc32; /* of the first file */
} mark;

static const char *print_mark(char *text, size_t size, const mark *m)
{
    snprintf(text, size, "that of step %lld", (long long)m->step);
    return m->step >= 0 ? text : "none";
}

galv_status galv_checkpoint_compare(const galv_checkpoint *checkpoint,
                                    galv_world *world, galv_err *err)
{
    mark mine = {.step = -1};
    char texts[2][48];
    if (checkpoint != NULL) {
        mine =
            (mark){checkpoint->step, checkpoint->n_files, checkpoint->files[0].crc32};
    }
    mark first = mine;
    if (galv_world_broadcast(world, &first, sizeof first, 0, err) == GALV_OK &&
        (first.step != mine.step || first.n_files != mine.n_files ||
         first.crc32 != mine.crc32)) {
        galv_fail(err, GALV_INPUT,
                  "of checkpoints rank 0 found %s, but another rank found %s%s",
                  print_mark(texts[0], sizeof texts[0], &first),
                  first.step == mine.step ? "another " : "",
                  print_mark(texts[1], sizeof texts[1], &mine));
        galv_hint(err, "checkpoints must be in a folder that all ranks see");
    }
    return galv_world_agree(world, err);
}

/* ---- loading ---- */

/* What a piece that is wanted gets of those of a file. */
typedef struct pick {
    galv_state *to;
    const galv_piece *wanted;
    const galv_state_file *file;
    const galv_piece *found;
    int64_t n;
} pick;

static void copy_run(void *context, int64_t at_found, int64_t at_wanted, int64_t n)
{
    pick *p = context;
    for (int i = 0; i < GALV_STATE_ARRAYS; i++) {
        memcpy(p->to->values[i] + p->wanted->offset + at_wanted,
               p->file->values[i] + p->found->offset + at_found,
               (size_t)n * sizeof(float));
    }
    p->n += n;
}

static galv_status wrong_shape(const galv_piece *found, const galv_piece *wanted,
                               galv_err *err)
{
    galv_fail(err, GALV_INPUT,
              "it is of another model: %s of layer %d is %lld x %lld there, "
              "%lld x %lld in the plan",
              galv_tensor_names[wanted->tensor], (int)wanted->layer,
              (long long)found->rows, (long long)found->cols, (long long)wanted->rows,
              (long long)wanted->cols);
    galv_hint(err, "give a plan for the model that was trained");
    return GALV_INPUT;
}

/* Adds to filled[n_pieces] what a file has of what is wanted. */
static galv_status pick_from(galv_state *to, int64_t *filled,
                             const galv_state_file *file, galv_err *err)
{
    for (int64_t i = 0; i < file->n_pieces; i++) {
        const galv_piece *found = &file->pieces[i];
        for (int64_t k = 0; k < to->n_pieces; k++) {
            const galv_piece *wanted = &to->pieces[k];
            if (found->layer != wanted->layer || found->tensor != wanted->tensor) {
                continue;
            }
            if (found->rows != wanted->rows || found->cols != wanted->cols) {
                return wrong_shape(found, wanted, err);
            }
            pick p = {to, wanted, file, found, 0};
            galv_piece_overlap(found, wanted, copy_run, &p);
            filled[k] += p.n;
        }
    }
    return GALV_OK;
}

static galv_status fill(galv_state *to, const galv_checkpoint *c, int64_t *filled,
                        galv_err *err)
{
    galv_status status = GALV_OK;
    for (int32_t i = 0; i < c->n_files && status == GALV_OK; i++) {
        galv_state_file file;
        status = galv_state_file_open(&file, c->path, &c->files[i], false, err);
        if (status == GALV_OK) {
            status = pick_from(to, filled, &file, err);
            galv_state_file_close(&file);
        }
    }
    for (int64_t k = 0; k < to->n_pieces && status == GALV_OK; k++) {
        const galv_piece *p = &to->pieces[k];
        if (filled[k] != p->end - p->begin) {
            status = galv_fail(err, GALV_INPUT,
                               "of %s of layer %d it has %lld values of %lld",
                               galv_tensor_names[p->tensor], (int)p->layer,
                               (long long)filled[k], (long long)(p->end - p->begin));
        }
    }
    return status;
}

/* This rank's share of the files: are they what the manifest says? */
static galv_status check_files(const galv_checkpoint *c, const galv_worker *w,
                               galv_err *err)
{
    galv_status status = GALV_OK;
    for (int32_t i = w->b->rank; i < c->n_files && status == GALV_OK;
         i += w->b->n_ranks) {
        galv_state_file file;
        status = galv_state_file_open(&file, c->path, &c->files[i], true, err);
        galv_state_file_close(&file);
    }
    return status;
}

static galv_status load_state(galv_worker *w, const galv_checkpoint *c, galv_err *err)
{
    galv_state *state = NULL;
    int64_t *filled = NULL;
    if (check_files(c, w, err) == GALV_OK && c->n_layers != w->plan->n_layers) {
        galv_fail(err, GALV_INPUT,
                  "it is of %s with %d layers, the plan is for %d layers of %s",
                  c->model, (int)c->n_layers, (int)w->plan->n_layers,
                  w->job->model.name);
        galv_hint(err, "give a plan for the model that was trained");
    }
    if (galv_world_agree(w->world, err) == GALV_OK &&
        galv_state_new(&state, w, GALV_PIECES_OWNED, err) == GALV_OK) {
        filled = calloc((size_t)state->n_pieces + 1, sizeof *filled);
        if (filled == NULL) {
            galv_fail(err, GALV_NO_MEMORY, "out of memory");
        } else {
            fill(state, c, filled, err);
        }
    }
    if (err->status != GALV_OK) {
        galv_err_set_file(err, c->path);
    }
    if (galv_world_agree(w->world, err) == GALV_OK) {
        galv_state_upload(state, w, err);
    }
    free(filled);
    galv_state_free(state);
    return galv_world_agree(w->world, err);
}

galv_status galv_checkpoint_load(galv_trainer *trainer,
                                 const galv_checkpoint *checkpoint, galv_err *err)
{
    galv_worker *w = &trainer->worker;
    if (load_state(w, checkpoint, err) != GALV_OK) {
        if (err->status == GALV_INPUT) {
            suggest_earlier(checkpoint, err);
        }
        return err->status;
    }
    w->adamw.step = checkpoint->step;
    /* of another length of samples: the first that was not seen at all */
    int64_t tokens = checkpoint->next_sample * checkpoint->seq_length;
    w->first_sample = (tokens + w->batch.seq_length - 1) / w->batch.seq_length;
    return GALV_OK;
}
