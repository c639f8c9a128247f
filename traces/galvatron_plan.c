/* Reading Galvatron's strategy files.
 *
 * Its lists are strings ("1,1,2"), one number for each block. Keys are read strictly:
 * a word of theirs that is not known here may change what the plan means. Degrees are
 * taken as they come, powers of two or not; whether they can be is for galv_plan_check
 * to say. */
#include "traces/galvatron_plan.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEGREE 1048576
#define MAX_BATCH  1000000000

static const char *const pipeline_types[] = {"gpipe", "pipedream_flush"};
static const char *const default_dp_types[] = {"ddp", "zero2", "zero3"};
static const int32_t default_zero[] = {0, 2, 3};

/* The file's numbers, lists by block. */
typedef struct strategy_file {
    galv_json_object o;
    galv_arena *arena;
    int32_t n_blocks;
    int32_t pp, chunks, world_size;
    int64_t global_batch;
    int32_t vtp, vsp, vcp, embed_sdp;
    int pipeline, default_type;
    int32_t *tp, *cp, *ep, *dp_type, *use_sp, *checkpoint, *consecutive, *tp_of_ep;
    int32_t *division; /* [pp] */
} strategy_file;

/* ---- lists ---- */

/* Takes "1,1,2" apart: exactly `count` numbers in low .. high. */
static galv_status parse_list(int32_t *numbers, int32_t count, galv_json_value value,
                              int32_t low, int32_t high, galv_err *err)
{
    const char *text = NULL;
    galv_status status = galv_json_to_string(&text, value, err);
    if (status != GALV_OK) {
        return status;
    }
    int32_t n = 0;
    for (const char *c = text;; c++) {
        int64_t number = 0;
        const char *digits = c;
        for (; *c >= '0' && *c <= '9'; c++) {
            number = number > high ? number : 10 * number + (*c - '0');
        }
        if (c == digits || (*c != ',' && *c != '\0')) {
            return galv_json_fail(value, err,
                                  "whole numbers with ',' between are expected, near "
                                  "'%.20s'",
                                  digits);
        }
        if (number < low || number > high) {
            return galv_json_fail(value, err,
                                  "number %d of the list is not in %d .. %d",
                                  (int)n + 1, (int)low, (int)high);
        }
        if (n < count) {
            numbers[n] = (int32_t)number;
        }
        n++;
        if (*c == '\0') {
            break;
        }
    }
    return n == count ? GALV_OK
                      : galv_json_fail(value, err, "%d numbers, %d are expected",
                                       (int)n, (int)count);
}

/* Reads a list of the file; absent = `otherwise` for all, or an error when that is
 * below 0. NULL when an error was found. */
static int32_t *read_list(strategy_file *f, const char *key, int32_t count, int32_t low,
                          int32_t high, int32_t otherwise)
{
    galv_json_value value =
        galv_json_get(&f->o, key, otherwise < 0 ? GALV_REQUIRED : GALV_OPTIONAL);
    int32_t *numbers = GALV_NEW_ARRAY(f->arena, int32_t, count);
    if (numbers == NULL) {
        galv_fail(f->o.err, GALV_NO_MEMORY, "out of memory");
        return NULL;
    }
    for (int32_t i = 0; i < count; i++) {
        numbers[i] = otherwise;
    }
    if (galv_json_type_of(value) != GALV_JSON_ABSENT && f->o.err->status == GALV_OK) {
        parse_list(numbers, count, value, low, high, f->o.err);
    }
    return numbers;
}

/* ---- the file ---- */

/* Both names of the decision on the embedding; they must agree. */
static void read_embed_sdp(strategy_file *f)
{
    int32_t vocab = -1, embed = -1;
    galv_json_i32(&f->o, "embed_sdp", GALV_OPTIONAL, 0, 1, &embed);
    galv_json_i32(&f->o, "vocab_sdp", GALV_OPTIONAL, 0, 1, &vocab);
    if (embed >= 0 && vocab >= 0 && embed != vocab) {
        galv_json_fail(
            galv_json_member(f->o.value, "vocab_sdp"), f->o.err,
            "vocab_sdp %d, but embed_sdp %d: they are two names of one thing",
            (int)vocab, (int)embed);
    }
    f->embed_sdp = embed >= 0 ? embed : vocab >= 0 ? vocab : 0;
}

/* Blocks of each stage: as given, else even, with the rest on the last stage. */
static void read_division(strategy_file *f)
{
    galv_json_value value = galv_json_get(&f->o, "pp_division", GALV_OPTIONAL);
    f->division = GALV_NEW_ARRAY(f->arena, int32_t, f->pp);
    if (f->division == NULL) {
        galv_fail(f->o.err, GALV_NO_MEMORY, "out of memory");
        return;
    }
    for (int32_t s = 0; s < f->pp; s++) {
        f->division[s] = f->n_blocks / f->pp;
    }
    f->division[f->pp - 1] += f->n_blocks % f->pp;
    if (galv_json_type_of(value) == GALV_JSON_ABSENT || f->o.err->status != GALV_OK ||
        parse_list(f->division, f->pp, value, 1, MAX_DEGREE, f->o.err) != GALV_OK) {
        return;
    }
    int64_t total = 0;
    for (int32_t s = 0; s < f->pp; s++) {
        total += f->division[s];
    }
    if (total != f->n_blocks) {
        galv_json_fail(value, f->o.err, "the stages hold %lld blocks, the model has %d",
                       (long long)total, (int)f->n_blocks);
    }
}

static galv_status read_file(strategy_file *f)
{
    galv_json_object *o = &f->o;
    int32_t n = f->n_blocks;
    f->vtp = f->vcp = 1;
    galv_json_i32(o, "pp_deg", GALV_REQUIRED, 1, n, &f->pp);
    f->tp = read_list(f, "tp_sizes_enc", n, 1, MAX_DEGREE, -1);
    f->consecutive = read_list(f, "tp_consecutive_flags", n, 0, 1, 1);
    f->dp_type = read_list(f, "dp_types_enc", n, 0, 1, -1);
    f->use_sp = read_list(f, "use_sp", n, 0, 1, 0);
    f->checkpoint = read_list(f, "checkpoint", n, 0, 1, 0);
    f->cp = read_list(f, "cp_sizes_enc", n, 1, MAX_DEGREE, 1);
    f->ep = read_list(f, "ep_sizes_enc", n, 1, MAX_DEGREE, 1);
    f->tp_of_ep = read_list(f, "tp_of_ep_sizes_enc", n, 1, MAX_DEGREE, 1);
    galv_json_i32(o, "world_size", GALV_OPTIONAL, 1, MAX_BATCH, &f->world_size);
    galv_json_i64(o, "global_bsz", GALV_REQUIRED, 1, MAX_BATCH, &f->global_batch);
    galv_json_i32(o, "chunks", GALV_REQUIRED, 1, MAX_BATCH, &f->chunks);
    galv_json_word(o, "pipeline_type", GALV_REQUIRED, pipeline_types, 2, &f->pipeline);
    galv_json_word(o, "default_dp_type", GALV_REQUIRED, default_dp_types, 3,
                   &f->default_type);
    galv_json_i32(o, "vtp", GALV_OPTIONAL, 1, MAX_DEGREE, &f->vtp);
    galv_json_i32(o, "vsp", GALV_OPTIONAL, 0, 1, &f->vsp);
    galv_json_i32(o, "vcp", GALV_OPTIONAL, 1, MAX_DEGREE, &f->vcp);
    read_embed_sdp(f);
    if (o->err->status == GALV_OK) {
        read_division(f);
    }
    return galv_json_leave(o);
}

/* ---- the plan ---- */

typedef struct plan_maker {
    const strategy_file *f;
    galv_plan *plan;
    int32_t per_stage; /* devices */
} plan_maker;

/* dp is what is left of a stage's devices. */
static galv_status spread(galv_strategy *strategy, const plan_maker *m, const char *key,
                          int32_t tp, int32_t cp)
{
    const strategy_file *f = m->f;
    int64_t used = (int64_t)tp * cp;
    if (m->per_stage % used != 0) {
        galv_json_fail(galv_json_member(f->o.value, key), f->o.err,
                       "%lld ranks do not divide the %d GPUs of a stage",
                       (long long)used, (int)m->per_stage);
        return GALV_INPUT;
    }
    strategy->tp = tp;
    strategy->cp = cp;
    strategy->dp = (int32_t)(m->per_stage / used);
    return GALV_OK;
}

static int32_t intern(galv_plan *plan, const galv_strategy *strategy)
{
    for (int32_t i = 0; i < plan->n_strategies; i++) {
        if (galv_strategy_equal(&plan->strategies[i], strategy)) {
            return i;
        }
    }
    plan->strategies[plan->n_strategies] = *strategy;
    return plan->n_strategies++;
}

static galv_sp sp_of(int32_t tp, int32_t use_sp)
{
    return tp == 1 ? GALV_SP_NONE : use_sp == 1 ? GALV_SP_ULYSSES : GALV_SP_MEGATRON;
}

static galv_status put_ends(plan_maker *m)
{
    const strategy_file *f = m->f;
    galv_strategy s = GALV_STRATEGY_INIT;
    galv_status status = spread(&s, m, f->vcp > 1 ? "vcp" : "vtp", f->vtp, f->vcp);
    if (status != GALV_OK) {
        return status;
    }
    s.sp = sp_of(f->vtp, f->vsp);
    s.zero = f->embed_sdp == 1 ? 3 : default_zero[f->default_type];
    m->plan->layer_strategy[0] = intern(m->plan, &s);
    m->plan->layer_strategy[m->plan->n_layers - 1] = m->plan->layer_strategy[0];
    return GALV_OK;
}

static galv_status put_block(plan_maker *m, int32_t i)
{
    const strategy_file *f = m->f;
    galv_strategy s = GALV_STRATEGY_INIT;
    if (f->tp_of_ep[i] != 1) {
        return galv_json_fail(
            galv_json_member(f->o.value, "tp_of_ep_sizes_enc"), f->o.err,
            "block %d: a plan does not say how experts are cut, nearest 1", (int)i);
    }
    galv_status status = spread(&s, m, f->cp[i] > 1 ? "cp_sizes_enc" : "tp_sizes_enc",
                                f->tp[i], f->cp[i]);
    if (status != GALV_OK) {
        return status;
    }
    if (f->consecutive[i] == 0 && s.tp > 1 && s.tp < m->per_stage) {
        galv_json_fail(galv_json_member(f->o.value, "tp_consecutive_flags"), f->o.err,
                       "block %d: ranks of a tensor-parallel group lie side by side "
                       "here",
                       (int)i);
        galv_hint(f->o.err, "nearest: 1");
        return GALV_INPUT;
    }
    s.ep = f->ep[i];
    s.sp = sp_of(s.tp, f->use_sp[i]);
    s.zero = f->dp_type[i] == 1 ? 3 : default_zero[f->default_type];
    s.recompute = f->checkpoint[i] == 1 ? GALV_RECOMPUTE_FULL : GALV_RECOMPUTE_NONE;
    m->plan->layer_strategy[i + 1] = intern(m->plan, &s);
    return GALV_OK;
}

static galv_status put_batch(plan_maker *m)
{
    const strategy_file *f = m->f;
    int32_t dp = galv_plan_strategy(m->plan, 0)->dp;
    int64_t step = (int64_t)f->chunks * dp;
    if (f->global_batch % step != 0) {
        galv_json_fail(galv_json_member(f->o.value, "chunks"), f->o.err,
                       "%d micro-batches of global_bsz %lld do not share out among dp "
                       "%d of the embedding",
                       (int)f->chunks, (long long)f->global_batch, (int)dp);
        int64_t nearest = f->global_batch / step * step;
        galv_hint(f->o.err, "nearest global_bsz: %lld",
                  (long long)(nearest > 0 ? nearest : step));
        return GALV_INPUT;
    }
    m->plan->global_batch_size = f->global_batch;
    m->plan->micro_batch_size = (int32_t)(f->global_batch / step);
    return GALV_OK;
}

static galv_plan *new_plan(const strategy_file *f)
{
    galv_plan *plan = GALV_NEW(f->arena, galv_plan);
    if (plan == NULL) {
        return NULL;
    }
    plan->pp = f->pp;
    plan->vpp = 1;
    plan->n_layers = f->n_blocks + 2;
    plan->overlap = (galv_overlap)GALV_OVERLAP_INIT;
    snprintf(plan->schedule, sizeof plan->schedule, "%s",
             f->pp == 1         ? "none"
             : f->pipeline == 0 ? "gpipe"
                                : "1f1b");
    snprintf(plan->rank_order, sizeof plan->rank_order, "tp-cp-dp-pp");
    plan->strategies = GALV_NEW_ARRAY(f->arena, galv_strategy, plan->n_layers);
    plan->layer_strategy = GALV_NEW_ARRAY(f->arena, int32_t, plan->n_layers);
    plan->first_layer = GALV_NEW_ARRAY(f->arena, int32_t, plan->pp + 1);
    if (plan->strategies == NULL || plan->layer_strategy == NULL ||
        plan->first_layer == NULL) {
        return NULL;
    }
    int32_t block = 0;
    for (int32_t s = 0; s < plan->pp; s++) {
        plan->first_layer[s] = s == 0 ? 0 : block + 1;
        block += f->division[s];
    }
    plan->first_layer[plan->pp] = plan->n_layers;
    return plan;
}

static galv_status make_plan(galv_plan **plan, const strategy_file *f,
                             int64_t n_devices)
{
    galv_err *err = f->o.err;
    if (f->world_size != 0 && f->world_size != n_devices) {
        galv_json_fail(galv_json_member(f->o.value, "world_size"), err,
                       "%d GPUs, the cluster has %lld", (int)f->world_size,
                       (long long)n_devices);
        galv_hint(err, "--nodes and --gpus-per-node say how many there are");
        return GALV_INPUT;
    }
    if (n_devices % f->pp != 0) {
        return galv_json_fail(galv_json_member(f->o.value, "pp_deg"), err,
                              "%d stages do not divide %lld GPUs", (int)f->pp,
                              (long long)n_devices);
    }
    plan_maker m = {f, new_plan(f), (int32_t)(n_devices / f->pp)};
    if (m.plan == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = put_ends(&m);
    for (int32_t i = 0; status == GALV_OK && i < f->n_blocks; i++) {
        status = put_block(&m, i);
    }
    if (status == GALV_OK) {
        status = put_batch(&m);
    }
    if (status == GALV_OK) {
        *plan = m.plan;
    }
    return status;
}

galv_status galv_galvatron_plan_from_json(galv_job *job, galv_plan **plan,
                                          galv_json_value value, galv_arena *arena,
                                          galv_err *err)
{
    strategy_file f = {.arena = arena};
    int64_t n_devices = galv_cluster_n_devices(&job->cluster);
    f.n_blocks = galv_model_n_blocks(&job->model);
    if (f.n_blocks < 1 || galv_model_n_layers(&job->model) != f.n_blocks + 2 ||
        n_devices < 1 || n_devices > INT32_MAX) {
        return galv_fail(err, GALV_USAGE,
                         "%s is not an embedding, blocks and a head: Galvatron's "
                         "strategies are of those",
                         job->model.name);
    }
    galv_json_enter(&f.o, value, err);
    galv_status status = read_file(&f);
    galv_plan *made = NULL;
    if (status == GALV_OK) {
        status = make_plan(&made, &f, n_devices);
    }
    if (status != GALV_OK) {
        return status;
    }
    galv_job whole = *job;
    galv_err why = GALV_ERR_INIT;
    whole.workload.global_batch_size = f.global_batch;
    if (galv_plan_check(made, &whole, &why) != GALV_OK) {
        galv_json_fail(value, err, "%s", why.message);
        if (why.hint[0] != '\0') {
            galv_hint(err, "%s", why.hint);
        }
        return GALV_INPUT;
    }
    job->workload.global_batch_size = f.global_batch;
    *plan = made;
    return GALV_OK;
}

galv_status galv_galvatron_plan_load(galv_job *job, galv_plan **plan, const char *path,
                                     galv_arena *arena, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status = galv_json_read_file(&document, path, err);
    if (status == GALV_OK) {
        status = galv_galvatron_plan_from_json(job, plan, galv_json_root(document),
                                               arena, err);
    }
    galv_json_free(document);
    return status;
}
