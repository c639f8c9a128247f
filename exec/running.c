/* What makes a change safe: whatever speaks against the new plan is found before the
 * old trainer is freed, or the old one is made again from the state, which is kept in
 * host memory until the new trainer holds it. */
#include "exec/running.h"

#include "base/file.h"
#include "exec/state.h"

#include <stdlib.h>
#include <string.h>

/* ---- plans ---- */

static galv_status parse(galv_next_plan *next, const char *path, const char *text,
                         size_t length, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status = galv_json_read_text(&document, path, text, length, err);
    if (status == GALV_OK) {
        status = galv_plan_from_json(next->job, &next->plan, galv_json_root(document),
                                     next->arena, err);
    }
    galv_json_free(document);
    return status;
}

static galv_status check_ranks(const galv_next_plan *next, const galv_world *world,
                               const char *path, galv_err *err)
{
    long long n_ranks = (long long)galv_plan_n_devices(next->plan);
    if (n_ranks == galv_world_size(world)) {
        return GALV_OK;
    }
    galv_fail(err, GALV_USAGE, "the plan is for %lld ranks, this is a run of %d",
              n_ranks, (int)galv_world_size(world));
    const char *launcher = galv_world_launcher(world);
    if (strcmp(launcher, "torchrun") == 0) {
        galv_hint(err, "start %lld ranks of it, with WORLD_SIZE=%lld", n_ranks,
                  n_ranks);
    } else {
        galv_hint(err, "start it with: %s %lld galvatron-exec run %s",
                  strcmp(launcher, "srun") == 0 ? "srun -n" : "mpirun -np", n_ranks,
                  path);
    }
    return GALV_USAGE;
}

galv_status galv_next_plan_read(galv_next_plan *next, galv_world *world,
                                const char *path, galv_err *err)
{
    char *text = NULL;
    size_t length = 0;
    memset(next, 0, sizeof *next);
    next->arena = galv_arena_new();
    next->job = next->arena != NULL ? GALV_NEW(next->arena, galv_job) : NULL;
    if (next->job == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for a plan");
    } else if (galv_world_rank(world) == 0) {
        galv_file_read(&text, &length, path, 0, next->arena, err);
    }
    if (galv_world_agree(world, err) != GALV_OK ||
        galv_world_broadcast(world, &length, sizeof length, 0, err) != GALV_OK) {
        return err->status;
    }
    if (galv_world_rank(world) != 0) {
        text = GALV_NEW_ARRAY(next->arena, char, length + 1);
    }
    if (text == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for a plan");
    }
    if (galv_world_agree(world, err) != GALV_OK ||
        galv_world_broadcast(world, text, length, 0, err) != GALV_OK) {
        return err->status;
    }
    if (parse(next, path, text, length, err) == GALV_OK) {
        check_ranks(next, world, path, err);
    }
    return galv_world_agree(world, err);
}

void galv_next_plan_release(galv_next_plan *next)
{
    galv_arena_free(next->arena);
    memset(next, 0, sizeof *next);
}

/* The models' documents: equal for equal models. */
static bool same_model(const galv_model *a, const galv_model *b)
{
    galv_text texts[2] = {GALV_TEXT_INIT, GALV_TEXT_INIT};
    const galv_model *models[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        galv_json_writer writer;
        galv_json_writer_init(&writer, &texts[i]);
        galv_model_to_json(models[i], &writer);
    }
    bool same = strcmp(galv_text_string(&texts[0]), galv_text_string(&texts[1])) == 0;
    galv_text_release(&texts[0]);
    galv_text_release(&texts[1]);
    return same;
}

galv_status galv_next_plan_check(const galv_next_plan *next, const galv_running *r,
                                 galv_err *err)
{
    if (!same_model(&r->job->model, &next->job->model)) {
        return galv_fail(err, GALV_USAGE, "the other plan is for another model (%s)",
                         next->job->model.name);
    }
    if (r->plan->global_batch_size != next->plan->global_batch_size) {
        return galv_fail(err, GALV_USAGE,
                         "the other plan has a global batch of %lld, this one of %lld",
                         (long long)next->plan->global_batch_size,
                         (long long)r->plan->global_batch_size);
    }
    return GALV_OK;
}

/* ---- beginning and end ---- */

static galv_status make_trainer(galv_running *r, galv_err *err)
{
    galv_status status = galv_trainer_new(&r->trainer, r->job, r->plan, r->backend,
                                          r->world, &r->options, err);
    if (status == GALV_OK) {
        galv_trainer_worker(r->trainer)->slow_factor = r->slow_factor;
    }
    return status;
}

static void take_plan(galv_running *r, galv_next_plan *next)
{
    r->arena = next->arena;
    r->job = next->job;
    r->plan = next->plan;
    memset(next, 0, sizeof *next);
}

galv_status galv_running_begin(galv_running *running, galv_next_plan *first,
                               galv_err *err)
{
    take_plan(running, first);
    return make_trainer(running, err);
}

void galv_running_end(galv_running *running)
{
    galv_trainer_free(running->trainer);
    galv_arena_free(running->arena);
    running->trainer = NULL;
    running->arena = NULL;
}

/* ---- a change ---- */

/* The trainer of the running's plan, with a state that another trainer had. Of samples
 * of another length it goes on with the first that was not seen at all. */
static galv_status revive(galv_running *r, const galv_state *from, int64_t step,
                          int64_t n_tokens, galv_err *err)
{
    galv_state *to = NULL;
    if (make_trainer(r, err) != GALV_OK) {
        return err->status;
    }
    galv_worker *w = galv_trainer_worker(r->trainer);
    galv_state_new(&to, w, GALV_PIECES_OWNED, err);
    if (galv_world_agree(r->world, err) == GALV_OK &&
        galv_state_exchange(to, from, r->plan->n_layers, w, err) == GALV_OK) {
        galv_state_upload(to, w, err);
        galv_world_agree(r->world, err);
    }
    galv_state_free(to);
    w->adamw.step = step;
    w->first_sample = (n_tokens + w->batch.seq_length - 1) / w->batch.seq_length;
    return err->status;
}

/* The state in host memory, the same on all ranks or on none. */
static galv_status take_state(galv_state **state, galv_running *r, galv_err *err)
{
    galv_worker *w = galv_trainer_worker(r->trainer);
    if (galv_state_new(state, w, GALV_PIECES_COUNTED, err) == GALV_OK) {
        galv_state_download(*state, w, err);
    }
    return galv_world_agree(r->world, err);
}

galv_status galv_running_change(galv_running *running, galv_next_plan *next,
                                bool *refused, galv_err *why, galv_err *err)
{
    galv_running *r = running;
    galv_state *state = NULL;
    *refused = false;
    galv_next_plan_check(next, r, err);
    if (galv_world_agree(r->world, err) != GALV_OK) {
        return err->status;
    }
    if (take_state(&state, r, err) != GALV_OK) {
        galv_state_free(state);
        return err->status;
    }
    const galv_worker *w = galv_trainer_worker(r->trainer);
    int64_t step = w->adamw.step;
    int64_t n_tokens = w->first_sample * w->batch.seq_length;
    galv_next_plan old = {r->arena, r->job, r->plan};
    galv_trainer_free(r->trainer);
    r->trainer = NULL;
    take_plan(r, next);
    galv_err trouble = GALV_ERR_INIT;
    revive(r, state, step, n_tokens, &trouble);
    if (trouble.status != GALV_OK) {
        galv_err broken = GALV_ERR_INIT;
        *refused =
            r->trainer == NULL && r->backend->status(r->backend, &broken) == GALV_OK;
        if (*refused) { /* it cannot be run, but nothing is broken */
            galv_next_plan failed = {r->arena, r->job, r->plan};
            take_plan(r, &old);
            galv_next_plan_release(&failed);
            *why = trouble;
            revive(r, state, step, n_tokens, err);
        } else {
            *err = trouble;
        }
    }
    galv_next_plan_release(&old);
    galv_state_free(state);
    return err->status;
}
