/* Which tensors a layer has and how they are cut.
 *
 * Tensor parallelism cuts the projections into attention and MLP by their outputs and
 * those out of them by their inputs, the vocabulary and the table of positions by rows
 * (the sum over the ranks that follows an embedding adds up positions, too). Key/value
 * heads fewer than tp are held several times. Norms, biases after a reduction and the
 * router are held by all tp ranks; where each works on its own tokens
 * (sp=megatron, and the router always) their gradients are parts.
 * Source: Shoeybi et al. 2019 (arXiv 1909.08053), Korthikanti et al. 2022 (arXiv
 * 2205.05198).
 *
 * First values: norms 1, biases 0, all else uniform sums of variance 1 / columns, which
 * keeps activations of order 1 at any width. The vocabulary is not padded: shares of it
 * may differ by rows. */
#include "exec/parameters.h"

#include "base/parallel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64 /* values, of a tensor's begin and a block's share */

#define GALV_WORD(id, name) name,
const char *const galv_tensor_names[GALV_N_TENSORS] = {GALV_TENSOR_TABLE(GALV_WORD)};
#undef GALV_WORD

/* ---- which tensors ---- */

typedef enum cut { CUT_NONE, CUT_ROWS, CUT_COLS, CUT_KEYS, CUT_EXPERTS } cut;

/* Rank `index` of `n` holds [begin, end) of `count`, the last ones maybe fewer. */
static void share_of(int64_t *first, int64_t *n_here, int64_t count, int32_t n,
                     int32_t index)
{
    int64_t each = (count + n - 1) / n;
    int64_t begin = each * index < count ? each * index : count;
    int64_t end = begin + each < count ? begin + each : count;
    *first = begin;
    *n_here = end - begin;
}

/* Adds a tensor to a block. `unit`: rows that stay together (the size of a head).
 * `follows`: right after the one before, without a gap. */
static void add(galv_block *block, const galv_place *place, galv_tensor_id id,
                int64_t rows, int64_t cols, cut how, int64_t unit, bool follows)
{
    const galv_strategy *s = &place->strategy;
    galv_tensor *t = &block->tensors[block->n_tensors++];
    int32_t tp = place->cuts_weights ? s->tp : 1;
    t->id = id;
    t->layer = block->layer;
    t->rows = rows;
    t->cols = cols;
    t->n_rows = rows;
    t->n_cols = cols;
    t->n_copies = tp;
    t->copy = tp > 1 ? place->tp_index : 0;
    if (how == CUT_ROWS || how == CUT_COLS) {
        share_of(how == CUT_ROWS ? &t->first_row : &t->first_col,
                 how == CUT_ROWS ? &t->n_rows : &t->n_cols,
                 how == CUT_ROWS ? rows : cols, tp, t->copy);
        t->n_copies = 1;
        t->copy = 0;
    } else if (how == CUT_KEYS) {
        int64_t groups = rows / unit;
        t->n_copies = tp > groups ? (int32_t)(tp / groups) : 1;
        share_of(&t->first_row, &t->n_rows, groups, tp / t->n_copies,
                 t->copy / t->n_copies);
        t->first_row *= unit;
        t->n_rows *= unit;
        t->copy = t->copy % t->n_copies;
        t->sums = t->n_copies > 1;
    } else if (how == CUT_EXPERTS) {
        t->n_copies = 1;
        t->copy = 0;
        t->n_rows = rows / s->ep;
        t->first_row = t->n_rows * place->ep_index;
    } else {
        t->sums = tp > 1 && (s->sp == GALV_SP_MEGATRON || id == GALV_TENSOR_ROUTER);
    }
    if (!follows) {
        block->n = (block->n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    t->offset = block->n;
    block->n += t->n_rows * t->n_cols;
}

static void add_norm(galv_block *block, const galv_place *place,
                     const galv_layer_group *group, galv_tensor_id weight)
{
    add(block, place, weight, 1, group->hidden_size, CUT_NONE, 1, false);
    if (group->normalization == GALV_LAYERNORM) {
        add(block, place, weight + 1, 1, group->hidden_size, CUT_NONE, 1, false);
    }
}

static void add_attention(galv_block *block, const galv_place *place,
                          const galv_layer_group *g)
{
    int64_t h = g->hidden_size;
    int64_t d = g->kv_channels;
    int64_t q = d * g->num_attention_heads;
    int64_t kv = d * g->num_query_groups;
    add(block, place, GALV_TENSOR_QUERY, q, h, CUT_ROWS, d, false);
    add(block, place, GALV_TENSOR_KEY, kv, h, CUT_KEYS, d, true);
    add(block, place, GALV_TENSOR_VALUE, kv, h, CUT_KEYS, d, true);
    if (g->linear_bias || g->qkv_bias) {
        add(block, place, GALV_TENSOR_QUERY_BIAS, q, 1, CUT_ROWS, d, false);
        add(block, place, GALV_TENSOR_KEY_BIAS, kv, 1, CUT_KEYS, d, true);
        add(block, place, GALV_TENSOR_VALUE_BIAS, kv, 1, CUT_KEYS, d, true);
    }
    add(block, place, GALV_TENSOR_PROJECTION, h, q, CUT_COLS, 1, false);
    if (g->linear_bias) {
        add(block, place, GALV_TENSOR_PROJECTION_BIAS, 1, h, CUT_NONE, 1, false);
    }
}

static void add_mlp(galv_block *block, const galv_place *place,
                    const galv_layer_group *g, int64_t width)
{
    int64_t h = g->hidden_size;
    if (g->gated_linear_unit) {
        add(block, place, GALV_TENSOR_GATE, width, h, CUT_ROWS, 1, false);
    }
    add(block, place, GALV_TENSOR_UP, width, h, CUT_ROWS, 1, g->gated_linear_unit);
    if (g->linear_bias && g->gated_linear_unit) {
        add(block, place, GALV_TENSOR_GATE_BIAS, width, 1, CUT_ROWS, 1, false);
    }
    if (g->linear_bias) {
        add(block, place, GALV_TENSOR_UP_BIAS, width, 1, CUT_ROWS, 1,
            g->gated_linear_unit);
    }
    add(block, place, GALV_TENSOR_DOWN, h, width, CUT_COLS, 1, false);
    if (g->linear_bias) {
        add(block, place, GALV_TENSOR_DOWN_BIAS, 1, h, CUT_NONE, 1, false);
    }
}

static void add_experts(galv_block *block, const galv_place *place,
                        const galv_layer_group *g)
{
    int64_t h = g->hidden_size;
    int64_t f = g->moe_ffn_hidden_size;
    int64_t e = g->num_experts;
    int64_t in = g->gated_linear_unit ? 2 * f : f;
    add(block, place, GALV_TENSOR_EXPERT_IN, e * in, h, CUT_EXPERTS, in, false);
    add(block, place, GALV_TENSOR_EXPERT_OUT, e * h, f, CUT_EXPERTS, h, false);
    if (g->linear_bias) {
        add(block, place, GALV_TENSOR_EXPERT_IN_BIAS, e * in, 1, CUT_EXPERTS, in,
            false);
        add(block, place, GALV_TENSOR_EXPERT_OUT_BIAS, e, h, CUT_EXPERTS, 1, false);
    }
}

/* Tensors of the parts of a layer: its dense block, its experts, its tied table. */
static galv_status list_tensors(galv_block *dense, galv_block *experts,
                                galv_block *table, const galv_place *place,
                                const galv_model *model, const galv_layer_group *g,
                                galv_err *err)
{
    galv_block *holder = model->tied_embeddings ? table : dense;
    switch (g->kind) {
    case GALV_LAYER_EMBEDDING:
        add(holder, place, GALV_TENSOR_TOKEN_TABLE, g->vocab_size, g->hidden_size,
            CUT_ROWS, 1, false);
        if (g->max_positions > 0) {
            add(dense, place, GALV_TENSOR_POSITION_TABLE, g->max_positions,
                g->hidden_size, CUT_ROWS, 1, false);
        }
        return GALV_OK;
    case GALV_LAYER_HEAD:
        add_norm(dense, place, g, GALV_TENSOR_NORM1_WEIGHT);
        add(holder, place, GALV_TENSOR_TOKEN_TABLE, g->vocab_size, g->hidden_size,
            CUT_ROWS, 1, false);
        if (g->linear_bias && !model->tied_embeddings) {
            add(dense, place, GALV_TENSOR_HEAD_BIAS, g->vocab_size, 1, CUT_ROWS, 1,
                false);
        }
        return GALV_OK;
    case GALV_LAYER_DECODER:
    case GALV_LAYER_MOE_DECODER:
        break;
    default:
        return galv_fail(err, GALV_UNAVAILABLE, "layers of kind %s cannot be run yet",
                         galv_layer_kind_names[g->kind]);
    }
    if (g->kv_lora_rank > 0) {
        return galv_fail(err, GALV_UNAVAILABLE,
                         "multi-head latent attention cannot be run yet");
    }
    add_norm(dense, place, g, GALV_TENSOR_NORM1_WEIGHT);
    add_norm(dense, place, g, GALV_TENSOR_NORM2_WEIGHT);
    add_attention(dense, place, g);
    if (g->kind == GALV_LAYER_DECODER) {
        add_mlp(dense, place, g, g->ffn_hidden_size);
        return GALV_OK;
    }
    add(dense, place, GALV_TENSOR_ROUTER, g->num_experts, g->hidden_size, CUT_NONE, 1,
        false);
    if (g->moe_shared_ffn_hidden_size > 0) {
        add_mlp(dense, place, g, g->moe_shared_ffn_hidden_size);
    }
    add_experts(experts, place, g);
    return GALV_OK;
}

/* ---- blocks ---- */

/* Pads a block and finds this rank's share of it. */
static void finish_block(galv_block *block, const galv_layout *layout,
                         const galv_groups *groups)
{
    const galv_strategy *s = &groups->place.strategy;
    int64_t n_holders = block->experts ? galv_strategy_expert_gradient_ranks(s)
                                       : galv_strategy_gradient_ranks(s);
    int64_t r = groups->place.stage_rank;
    block->n_holders = (int32_t)n_holders;
    block->holder = (int32_t)(block->experts               ? r / s->ep
                              : groups->place.cuts_weights ? r / s->tp
                                                           : r);
    if (layout->twin_stage >= 0) {
        block->holder += layout->stage > layout->twin_stage ? (int32_t)n_holders : 0;
        n_holders *= 2;
        block->n_holders *= 2;
    }
    block->zero = n_holders > 1 ? s->zero : 0;
    block->holders = block->experts ? groups->expert_gradient : groups->gradient;
    block->copies = groups->copies;
    block->key_copies = groups->key_copies;
    int64_t unit = ALIGNMENT * n_holders;
    block->n = (block->n + unit - 1) / unit * unit;
    block->own_n = block->zero > 0 ? block->n / n_holders : block->n;
    block->own_first = block->zero > 0 ? block->own_n * block->holder : 0;
    block->counted = true;
}

static void *new_zeros(galv_backend *b, size_t bytes)
{
    void *memory = b->allocate(b, bytes);
    if (memory != NULL) {
        b->fill_zero(b, GALV_STREAM_COMPUTE, memory, bytes);
    }
    return memory;
}

/* First values [begin, end) of a block, by threads that take a run each. */
typedef struct first_values {
    const galv_block *block;
    int64_t begin, end;
    float *values; /* [end - begin] */
    uint64_t seed;
} first_values;

enum { RUN = 1 << 18 };

static void fill_run(void *context, size_t item, int thread)
{
    const first_values *f = context;
    int64_t begin = f->begin + (int64_t)item * RUN;
    int64_t end = begin + RUN < f->end ? begin + RUN : f->end;
    (void)thread;
    for (int32_t i = 0; i < f->block->n_tensors; i++) {
        const galv_tensor *t = &f->block->tensors[i];
        int64_t last = t->offset + t->n_rows * t->n_cols;
        int64_t from = begin > t->offset ? begin : t->offset;
        int64_t to = end < last ? end : last;
        if (from < to) {
            galv_tensor_first_values(f->values + (from - f->begin), t, from - t->offset,
                                     to - from, f->seed);
        }
    }
}

/* The device of the host backend is one core; what has another device has the cores to
 * itself. */
static galv_status upload_first_values(galv_block *block, galv_backend *b,
                                       void *weights, uint64_t seed, galv_err *err)
{
    bool whole = block->zero < 3;
    first_values f = {.block = block,
                      .begin = whole ? 0 : block->own_first,
                      .end = whole ? block->n : block->own_first + block->own_n,
                      .seed = seed};
    size_t n = (size_t)(f.end - f.begin);
    f.values = calloc(n > 0 ? n : 1, sizeof *f.values);
    if (f.values == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory on the host for first values");
    }
    int n_threads = b->moves_when_called ? 1 : galv_parallel_default_jobs();
    galv_status status =
        galv_parallel_for(n_threads, (n + RUN - 1) / RUN, fill_run, &f, err);
    if (status == GALV_OK) {
        b->upload(b, weights, f.values, n, GALV_ELEMENT);
        b->upload(b, block->master, f.values + (block->own_first - f.begin),
                  (size_t)block->own_n, GALV_FLOAT32);
        status = b->status(b, err);
    }
    free(f.values);
    return status;
}

static galv_status fill_block(galv_block *block, galv_backend *b, uint64_t seed,
                              galv_err *err)
{
    size_t n = (size_t)block->n;
    size_t own = (size_t)block->own_n;
    void *weights =
        b->allocate(b, (block->zero < 3 ? n : own) * (size_t)b->element_bytes);
    *(block->zero < 3 ? &block->weights : &block->weight_share) = weights;
    if (block->zero >= 2) {
        block->gradient_share = new_zeros(b, own * sizeof(float));
    } else {
        block->gradient = new_zeros(b, n * sizeof(float));
    }
    block->master = b->allocate(b, own * sizeof(float));
    block->moment1 = new_zeros(b, own * sizeof(float));
    block->moment2 = new_zeros(b, own * sizeof(float));
    if (weights == NULL || block->moment2 == NULL || block->moment1 == NULL ||
        block->master == NULL ||
        (block->gradient == NULL && block->gradient_share == NULL)) {
        return galv_fail(err, GALV_NO_MEMORY,
                         "the parameters of layer %d do not fit in memory",
                         (int)block->layer);
    }
    return upload_first_values(block, b, weights, seed, err);
}

static void index_block(galv_layer_tensors *tensors, galv_block *block)
{
    for (int32_t i = 0; i < block->n_tensors; i++) {
        tensors->block[block->tensors[i].id] = block;
        tensors->tensor[block->tensors[i].id] = &block->tensors[i];
    }
}

/* Blocks of a layer without memory. */
static galv_status plan_blocks(galv_block blocks[3], const galv_layout *layout,
                               int32_t layer, galv_err *err)
{
    const galv_groups *groups = &layout->groups[layout->plan->layer_strategy[layer]];
    const galv_model *model = &layout->job->model;
    memset(blocks, 0, 3 * sizeof *blocks);
    for (int i = 0; i < 3; i++) {
        blocks[i].layer = i == 2 ? 0 : layer;
    }
    blocks[1].experts = true;
    blocks[2].tied = true;
    galv_status status =
        list_tensors(&blocks[0], &blocks[1], &blocks[2], &groups->place, model,
                     galv_model_layer(model, layer), err);
    for (int i = 0; i < 3; i++) {
        finish_block(&blocks[i], layout, groups);
    }
    return status;
}

galv_status galv_parameters_make(galv_layer_tensors *tensors, const galv_layout *layout,
                                 int32_t layer, galv_block *table, uint64_t seed,
                                 galv_arena *arena, galv_err *err)
{
    galv_block planned[3];
    galv_block *made[3] = {NULL, NULL, NULL};
    galv_status status = plan_blocks(planned, layout, layer, err);
    memset(tensors, 0, sizeof *tensors);
    for (int i = 0; i < 3 && status == GALV_OK; i++) {
        if (planned[i].n_tensors == 0) {
            continue;
        }
        if (i == 2 && table != NULL) {
            made[i] = table;
        } else {
            made[i] = GALV_NEW(arena, galv_block);
            if (made[i] == NULL) {
                status = galv_fail(err, GALV_NO_MEMORY, "no memory for layers");
                break;
            }
            *made[i] = planned[i];
            status = fill_block(made[i], layout->backend, seed, err);
            made[i]->counted = i < 2 || layer == 0;
        }
        index_block(tensors, made[i]);
    }
    tensors->dense = made[0];
    tensors->expert = made[1];
    tensors->table = made[2];
    return status;
}

galv_status galv_parameters_bytes(double *bytes, const galv_layout *layout,
                                  int32_t layer, galv_err *err)
{
    galv_block planned[3];
    galv_status status = plan_blocks(planned, layout, layer, err);
    double element = layout->backend->element_bytes;
    double sum = 0;
    for (int i = 0; i < 3 && status == GALV_OK; i++) {
        const galv_block *block = &planned[i];
        if (block->n_tensors > 0) {
            double n = (double)block->n;
            double own = (double)block->own_n;
            sum += element * (block->zero < 3 ? n : own) +
                   4 * (block->zero < 2 ? n : own) + 12 * own;
        }
    }
    if (status == GALV_OK) {
        *bytes = sum;
    }
    return status;
}

/* ---- values ---- */

/* Source: Steele, Lea, Flood 2014 (SplitMix64). */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static bool is_bias(const galv_tensor *tensor)
{
    return tensor->rows == 1 || tensor->cols == 1 ||
           tensor->id == GALV_TENSOR_EXPERT_OUT_BIAS;
}

/* A function of the index in the whole tensor, so that no plan can change it. The sum
 * of four uniform numbers, of 16 bits each, has variance 1/3; scaled to 1 / columns. */
void galv_tensor_first_values(float *values, const galv_tensor *tensor, int64_t first,
                              int64_t n, uint64_t seed)
{
    uint64_t key = mix(seed ^ mix((uint64_t)tensor->layer * 64 + tensor->id));
    double scale = sqrt(3.0 / (double)tensor->cols);
    bool norm = tensor->id == GALV_TENSOR_NORM1_WEIGHT ||
                tensor->id == GALV_TENSOR_NORM2_WEIGHT;
    if (norm || is_bias(tensor)) {
        for (int64_t i = 0; i < n; i++) {
            values[i] = norm ? 1 : 0;
        }
        return;
    }
    for (int64_t done = 0; done < n;) {
        int64_t row = (first + done) / tensor->n_cols;
        int64_t col = (first + done) % tensor->n_cols;
        int64_t left = tensor->n_cols - col;
        int64_t run = n - done < left ? n - done : left;
        uint64_t index = (uint64_t)((tensor->first_row + row) * tensor->cols +
                                    tensor->first_col + col);
        for (int64_t i = 0; i < run; i++) {
            uint64_t bits = mix(key ^ (index + (uint64_t)i));
            uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) +
                           (bits >> 32 & 0xffff) + (bits >> 48);
            values[done + i] =
                (float)(((double)(int64_t)(sum + 2) / 65536 - 2) * scale);
        }
        done += run;
    }
}
