/* From plan to run, and step by step.
 *
 * A step: gradients and losses are cleared, the tokens of all its micro-batches put on
 * the device, all ranks meet; then the program runs, and the time of the slowest rank
 * counts. What the plan's precision says is the backend's business: the host computes
 * in float32 whatever it is. Dropout is left out. */
#include "exec/trainer_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- can it be run? ---- */

static galv_status check_model(const galv_job *job, const galv_plan *plan,
                               galv_err *err)
{
    const galv_model *m = &job->model;
    int32_t n_key_groups = 0;
    for (int32_t i = 0; i < m->n_groups; i++) {
        const galv_layer_group *g = &m->groups[i];
        bool block = g->kind == GALV_LAYER_DECODER || g->kind == GALV_LAYER_MOE_DECODER;
        if (!block && g->kind != GALV_LAYER_EMBEDDING && g->kind != GALV_LAYER_HEAD) {
            return galv_fail(err, GALV_UNAVAILABLE,
                             "layers of kind %s cannot be run yet: decoders (dense "
                             "and with experts) can",
                             galv_layer_kind_names[g->kind]);
        }
        if (block && g->kv_lora_rank > 0) {
            return galv_fail(err, GALV_UNAVAILABLE,
                             "multi-head latent attention cannot be run yet");
        }
        if (g->hidden_size != m->groups[0].hidden_size || g->seq_length > 0) {
            return galv_fail(err, GALV_UNAVAILABLE,
                             "layers of different width or length cannot be run yet");
        }
        if (block && n_key_groups > 0 && g->num_query_groups != n_key_groups) {
            return galv_fail(err, GALV_UNAVAILABLE,
                             "layers with different query groups cannot be run yet");
        }
        if (block) {
            n_key_groups = g->num_query_groups;
        }
    }
    int32_t positions = m->groups[0].max_positions;
    int32_t seq =
        job->workload.seq_length > 0 ? job->workload.seq_length : m->seq_length;
    if (positions > 0 && positions < seq) {
        return galv_fail(err, GALV_INPUT, "%d positions are learned, a sample has %d",
                         (int)positions, (int)seq);
    }
    const galv_strategy *first = galv_plan_strategy(plan, 0);
    const galv_strategy *last = galv_plan_strategy(plan, plan->n_layers - 1);
    if (m->tied_embeddings &&
        (first->tp != last->tp || first->cp != last->cp || first->dp != last->dp ||
         first->sp != last->sp || first->zero != last->zero)) {
        return galv_fail(err, GALV_UNAVAILABLE,
                         "tied embeddings cannot be run yet where embedding and head "
                         "are spread differently");
    }
    return GALV_OK;
}

static galv_status check_ranks(const galv_plan *plan, const galv_backend *b,
                               galv_err *err)
{
    int64_t n = galv_plan_n_devices(plan);
    if (n != b->n_ranks) {
        galv_fail(err, GALV_USAGE, "the plan is for %lld ranks, there are %d",
                  (long long)n, (int)b->n_ranks);
        galv_hint(err, "start it with: mpirun -np %lld galvatron-exec run ...",
                  (long long)n);
        return GALV_USAGE;
    }
    return GALV_OK;
}

/* ---- layers ---- */

static void size_layer(galv_layer_work *l)
{
    const galv_layer_group *g = l->group;
    const galv_place *p = l->place;
    size_t tp = (size_t)p->strategy.tp;
    size_t cut = p->cuts_weights ? tp : 1;
    size_t groups = (size_t)g->num_query_groups;
    int32_t width = g->kind == GALV_LAYER_MOE_DECODER ? g->moe_shared_ffn_hidden_size
                                                      : g->ffn_hidden_size;
    l->hidden = (size_t)g->hidden_size;
    l->own_rows = (size_t)p->n_own_rows;
    l->core_rows = (size_t)p->n_rows;
    l->rows = p->cuts_weights ? l->core_rows : l->own_rows;
    l->head_dim = (size_t)g->kv_channels;
    l->n_heads = (size_t)g->num_attention_heads / cut;
    l->n_key_heads = groups > cut ? groups / cut : groups > 0 ? 1 : 0;
    l->n_key_heads = cut == 1 ? groups : l->n_key_heads;
    l->core_heads = (size_t)g->num_attention_heads / tp;
    l->core_key_heads = groups > tp ? groups / tp : groups > 0 ? 1 : 0;
    l->core_key_heads = tp == 1 ? groups : l->core_key_heads;
    l->width = (size_t)width / cut;
    l->wide_factor = g->gated_linear_unit ? 2 : 1;
}

/* Layers of this stage, as the program has them. */
static void find_layers(galv_trainer *t)
{
    const galv_program *p = t->program;
    int32_t stage = t->worker.b->rank / (t->worker.b->n_ranks / t->worker.plan->pp);
    uint32_t begin = p->queue_begin[stage * GALV_N_STREAMS];
    uint32_t end = p->queue_begin[stage * GALV_N_STREAMS + 1];
    for (uint32_t op = begin; op < end; op++) {
        const galv_operation *o = &p->classes[p->ops[op].class_index];
        for (int32_t i = 0; i < o->n_layers && o->kind == GALV_OP_FORWARD; i++) {
            galv_layer_work *l = &t->worker.layers[o->first_layer + i];
            l->here = true;
            l->stage = stage;
            l->chunk = o->chunk;
        }
    }
}

static galv_status lay_out(galv_trainer *t, bool two_way, galv_err *err)
{
    galv_worker *w = &t->worker;
    const galv_layer_group *block = galv_model_first_block(&w->job->model);
    bool *uses = GALV_NEW_ARRAY(t->arena, bool, w->plan->n_strategies);
    size_t n_pairs = (size_t)w->plan->n_strategies * (size_t)w->plan->n_strategies;
    w->layers = GALV_NEW_ARRAY(t->arena, galv_layer_work, w->plan->n_layers);
    w->reshards = GALV_NEW_ARRAY(t->arena, galv_reshard, n_pairs);
    w->reshard_made = GALV_NEW_ARRAY(t->arena, bool, n_pairs);
    if (uses == NULL || w->layers == NULL || w->reshards == NULL ||
        w->reshard_made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for layers");
    }
    find_layers(t);
    for (int32_t i = 0; i < w->plan->n_layers; i++) {
        uses[w->plan->layer_strategy[i]] |= w->layers[i].here;
    }
    galv_status status = galv_layout_init(&w->layout, w->job, w->plan, w->b, uses,
                                          block != NULL ? block->num_query_groups : 0,
                                          two_way, t->arena, err);
    if (status != GALV_OK) {
        return status;
    }
    t->laid_out = true;
    for (int32_t i = 0; i < w->plan->n_layers; i++) {
        galv_layer_work *l = &w->layers[i];
        l->index = i;
        l->group = galv_model_layer(&w->job->model, i);
        l->groups = &w->layout.groups[w->plan->layer_strategy[i]];
        l->place = &l->groups->place;
        size_layer(l);
        l->saved = l->here
                       ? GALV_NEW_ARRAY(t->arena, galv_saved, w->layout.n_micro_batches)
                       : NULL;
        if (l->here && l->saved == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "no memory for layers");
        }
    }
    return GALV_OK;
}

static galv_status make_parameters(galv_trainer *t, galv_err *err)
{
    galv_worker *w = &t->worker;
    galv_block *table = NULL;
    galv_status status = GALV_OK;
    for (int32_t i = 0; i < w->plan->n_layers && status == GALV_OK; i++) {
        galv_layer_work *l = &w->layers[i];
        if (!l->here) {
            continue;
        }
        status = galv_parameters_make(&l->tensors, &w->layout, i, table,
                                      t->options.seed, t->arena, err);
        if (i == 0) {
            table = l->tensors.table;
        }
        const galv_tensor *words = l->tensors.tensor[GALV_TENSOR_TOKEN_TABLE];
        l->vocabulary = words != NULL ? (size_t)words->n_rows : 0;
    }
    return status;
}

/* The communicator of the two ranks that hold the same share of the table. */
static galv_status pair_tables(galv_trainer *t, galv_err *err)
{
    galv_worker *w = &t->worker;
    bool first = w->layers[0].here;
    bool last = w->layers[w->plan->n_layers - 1].here;
    if (!w->job->model.tied_embeddings || first == last) {
        return GALV_OK;
    }
    int32_t size = w->layout.stage_size;
    const galv_program *p = t->program;
    uint32_t begin = p->queue_begin[w->layout.stage * GALV_N_STREAMS + GALV_STREAM_DP];
    uint32_t end =
        p->queue_begin[w->layout.stage * GALV_N_STREAMS + GALV_STREAM_DP + 1];
    for (uint32_t op = begin; op < end; op++) {
        const galv_operation *o = &p->classes[p->ops[op].class_index];
        if (o->part == GALV_PART_TIED) {
            int32_t low = o->stage < o->peer_stage ? o->stage : o->peer_stage;
            int32_t high = o->stage < o->peer_stage ? o->peer_stage : o->stage;
            int32_t ranks[2] = {low * size + w->layout.stage_rank,
                                high * size + w->layout.stage_rank};
            w->tied = w->b->comm_new(w->b, ranks, 2);
        }
    }
    return w->b->status(w->b, err);
}

static galv_status allocate_rest(galv_trainer *t, galv_err *err)
{
    galv_worker *w = &t->worker;
    galv_backend *b = w->b;
    size_t m = (size_t)w->layout.n_micro_batches;
    size_t stage_size = (size_t)w->layout.stage_size;
    w->losses = galv_take_floats(w, m);
    w->squares = galv_take_floats(w, 1);
    w->counts = GALV_NEW_ARRAY(t->arena, int64_t, 2 * (stage_size + 1));
    bool ok = w->losses != NULL && w->squares != NULL && w->counts != NULL;
    for (int32_t i = 0; i < w->plan->n_layers; i++) {
        galv_layer_work *l = &w->layers[i];
        bool end = i == 0 || i == w->plan->n_layers - 1;
        for (size_t mb = 0; l->here && end && mb < m; mb++) {
            l->saved[mb].tokens = galv_take_ints(w, l->rows);
            ok = ok && l->saved[mb].tokens != NULL;
        }
    }
    galv_status status = b->status(b, err);
    if (status == GALV_OK && !ok) {
        status = galv_fail(err, GALV_NO_MEMORY, "no memory for tokens");
    }
    return status;
}

/* Everything up to what needs memory of the device. */
static galv_status prepare(galv_trainer *t, galv_err *err)
{
    galv_worker *w = &t->worker;
    galv_schedule schedule;
    galv_status status = check_model(w->job, w->plan, err);
    if (status == GALV_OK) {
        status = check_ranks(w->plan, w->b, err);
    }
    if (status == GALV_OK) {
        status = galv_program_compile(&t->program, w->job, w->plan, t->arena, err);
    }
    if (status == GALV_OK) {
        status = galv_schedule_of_plan(&schedule, w->plan, err);
    }
    if (status == GALV_OK) {
        status = lay_out(t, schedule.two_way, err);
    }
    if (status == GALV_OK) {
        status = galv_trainer_count_memory(t, err);
    }
    return status;
}

/* With memory of the device. */
static galv_status fill(galv_trainer *t, galv_err *err)
{
    galv_worker *w = &t->worker;
    galv_status status = make_parameters(t, err);
    if (status == GALV_OK) {
        status = pair_tables(t, err);
    }
    if (status == GALV_OK) {
        status = allocate_rest(t, err);
    }
    if (status == GALV_OK) {
        status = galv_interpreter_make(&t->interpreter, t->program, w, t->arena, err);
    }
    if (status == GALV_OK && t->options.tokens_path != NULL) {
        status = galv_batch_read(&w->batch, t->options.tokens_path, err);
    }
    return status;
}

galv_status galv_trainer_new(galv_trainer **trainer, const galv_job *job,
                             const galv_plan *plan, galv_backend *backend,
                             galv_world *world, const galv_trainer_options *options,
                             galv_err *err)
{
    galv_trainer *t = calloc(1, sizeof *t);
    galv_arena *arena = galv_arena_new();
    if (t == NULL || arena == NULL) {
        free(t);
        galv_arena_free(arena);
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a run");
    }
    galv_worker *w = &t->worker;
    t->arena = arena;
    t->options = *options;
    w->b = backend;
    w->job = job;
    w->plan = plan;
    w->arena = arena;
    w->world = world;
    w->rotary = job->model.groups[0].max_positions == 0;
    w->clip_norm = options->clip_norm;
    w->batch.seed = options->seed;
    w->batch.vocabulary = job->model.groups[0].vocab_size;
    w->batch.seq_length =
        job->workload.seq_length > 0 ? job->workload.seq_length : job->model.seq_length;
    w->loss_factor =
        (float)(1.0 / ((double)plan->global_batch_size * (double)w->batch.seq_length));
    w->adamw = (galv_adamw){options->learning_rate,
                            options->beta1,
                            options->beta2,
                            options->epsilon,
                            options->weight_decay,
                            0,
                            1};
    galv_recorder_init(&w->recorder, backend);
    prepare(t, err);
    galv_status status = galv_world_agree(world, err);
    if (status == GALV_OK) {
        status = galv_trainer_check_memory(t, err);
    }
    if (status == GALV_OK) {
        fill(t, err);
        status = galv_world_agree(world, err);
    }
    if (status != GALV_OK) {
        galv_trainer_free(t);
        return err->status;
    }
    *trainer = t;
    return GALV_OK;
}

static void release_layer(galv_worker *w, galv_layer_work *l)
{
    galv_block *blocks[] = {l->tensors.dense, l->tensors.expert, l->tensors.table};
    for (int i = 0; i < 3; i++) {
        if (blocks[i] != NULL) {
            galv_block_release(blocks[i], w->b);
        }
    }
    for (int32_t mb = 0; l->saved != NULL && mb < w->layout.n_micro_batches; mb++) {
        GALV_DROP(w, l->saved[mb].tokens);
    }
}

void galv_trainer_free(galv_trainer *trainer)
{
    if (trainer == NULL) {
        return;
    }
    galv_worker *w = &trainer->worker;
    for (int32_t i = 0; w->layers != NULL && i < w->plan->n_layers; i++) {
        release_layer(w, &w->layers[i]);
    }
    for (int32_t i = 0;
         w->reshards != NULL && i < w->plan->n_strategies * w->plan->n_strategies;
         i++) {
        galv_reshard_release(&w->reshards[i], w->b);
    }
    GALV_DROP(w, w->losses);
    GALV_DROP(w, w->squares);
    if (w->tied != NULL) {
        w->b->comm_free(w->b, w->tied);
    }
    if (trainer->laid_out) {
        galv_layout_release(&w->layout);
    }
    galv_batch_release(&w->batch);
    galv_recorder_release(&w->recorder);
    galv_arena_free(trainer->arena);
    free(trainer);
}

/* ---- a step ---- */

/* Tokens (shift 0) or targets (shift 1) of a layer's rows. */
static void upload_tokens(galv_worker *w, galv_layer_work *l, int32_t shift,
                          int32_t *host)
{
    const galv_place *p = l->place;
    int32_t first = p->cuts_weights ? 0 : p->first_row;
    for (int32_t mb = 0; mb < w->layout.n_micro_batches; mb++) {
        for (size_t i = 0; i < l->rows; i++) {
            int64_t token = galv_place_token(p, first + (int32_t)i);
            int32_t in_micro_batch = (int32_t)(token / p->seq_length);
            int64_t sample =
                w->first_sample + galv_layout_sample(&w->layout, mb, in_micro_batch);
            host[i] = galv_batch_token(&w->batch, sample,
                                       (int32_t)(token % p->seq_length) + shift);
        }
        w->b->upload(w->b, l->saved[mb].tokens, host, l->rows, GALV_INT32);
    }
}

static galv_status begin_step(galv_trainer *t, galv_err *err)
{
    galv_worker *w = &t->worker;
    int32_t last = w->plan->n_layers - 1;
    galv_block *blocks[3];
    size_t rows = w->layers[0].rows > w->layers[last].rows ? w->layers[0].rows
                                                           : w->layers[last].rows;
    int32_t *host = malloc((rows + 1) * sizeof *host);
    if (host == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for tokens");
    }
    for (int32_t i = 0; i <= last; i++) {
        if (!w->layers[i].here) {
            continue;
        }
        if (i == 0) {
            upload_tokens(w, &w->layers[i], 0, host);
        } else if (i == last) {
            upload_tokens(w, &w->layers[i], 1, host);
        }
        int n = 0;
        blocks[n++] = w->layers[i].tensors.dense;
        blocks[n++] = w->layers[i].tensors.expert;
        blocks[n++] = w->layers[i].tensors.table;
        for (int k = 0; k < n; k++) {
            if (blocks[k] != NULL) {
                galv_block_clear(blocks[k], w->b);
            }
        }
    }
    free(host);
    w->b->fill_zero(w->b, GALV_STREAM_COMPUTE, w->losses,
                    (size_t)w->layout.n_micro_batches * sizeof(float));
    w->b->synchronize(w->b);
    return w->b->status(w->b, err);
}

galv_status galv_trainer_step(galv_trainer *trainer, galv_step_result *result,
                              galv_err *err)
{
    galv_worker *w = &trainer->worker;
    galv_backend *b = w->b;
    double *times = calloc((size_t)b->n_ranks, sizeof *times);
    if (times == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for times");
    } else {
        begin_step(trainer, err);
    }
    if (galv_world_agree(w->world, err) != GALV_OK) {
        free(times);
        return err->status;
    }
    w->adamw.step++;
    w->stepped = false;
    galv_recorder_reset(&w->recorder);
    trainer->began_s = now_s();
    galv_interpreter_run(&trainer->interpreter, w);
    b->synchronize(b);
    double time_s = now_s() - trainer->began_s;
    w->first_sample += w->plan->global_batch_size;
    if (b->status(b, err) == GALV_OK && w->err.status != GALV_OK) {
        *err = w->err;
    }
    if (galv_world_agree(w->world, err) == GALV_OK &&
        galv_world_all_gather(w->world, times, &time_s, sizeof time_s, err) ==
            GALV_OK) {
        for (int32_t rank = 0; rank < b->n_ranks; rank++) {
            time_s = times[rank] > time_s ? times[rank] : time_s;
        }
        trainer->duration_s = time_s;
        *result = (galv_step_result){w->adamw.step, w->loss, w->gradient_norm, time_s};
    }
    free(times);
    return err->status;
}

galv_worker *galv_trainer_worker(galv_trainer *trainer)
{
    return &trainer->worker;
}

int64_t galv_trainer_step_count(const galv_trainer *trainer)
{
    return trainer->worker.adamw.step;
}

galv_trainer_memory galv_trainer_needs(const galv_trainer *trainer)
{
    return trainer->needs;
}
