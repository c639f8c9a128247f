/* Walking the decision tree of uniform plans.
 *
 * Each level narrows what the next may choose, so that a branch dies where its first
 * contradiction appears: pp fixes how many devices a stage has, tp and cp divide them,
 * dp is what is left, ep divides dp * cp * tp, and the batch decides the micro-batches.
 * Values asked for by the user are tried as they are; open dimensions get every value
 * that a practitioner would try, by the rules written at `open_*` below. Each leaf is
 * cheap (no memory, no seconds): those are judged by the search. */
#include "search/space.h"

#include "plan/placement.h"
#include "search/layering.h"

#include <stdlib.h>
#include <string.h>

const char *const galv_cut_texts[GALV_N_CUTS] = {
#define GALV_TEXT(name, text) text,
    GALV_CUT_TABLE(GALV_TEXT)
#undef GALV_TEXT
};

/* Context parallelism is left alone by itself until a rank would hold more than this
 * many tokens of one sample: below, tensor parallelism or recomputation is enough. */
enum { MAX_TOKENS_WITHOUT_CP = 16384, MIN_TOKENS_PER_CP_RANK = 4096 };
/* Micro-batches of more tokens than this on one rank gain nothing more from size. */
enum { MAX_MICRO_BATCH_TOKENS = 65536, MAX_OPEN_MICRO_BATCH = 16 };
/* Chunks per stage worth trying: the bubble shrinks by v, messages grow by v. */
enum { MAX_OPEN_VPP = 8 };

typedef struct walk {
    const galv_space *space;
    const galv_job *job;
    galv_candidates *out;
    size_t capacity;
    galv_arena *arena;
    galv_err *err;
    int64_t n_devices;
    int32_t most_stages; /* virtual ones */
    int32_t seq_length;
    int32_t scaleup_domain;
    bool has_experts;
    galv_status status;
    galv_err reason; /* why the last refused value was refused */
    galv_candidate at;
} walk;

static void cut(walk *w, galv_cut reason, uint64_t n_leaves)
{
    w->out->cut[reason] += n_leaves;
}

static size_t divisors(int64_t *values, int64_t of, int64_t most)
{
    size_t n = 0;
    for (int64_t d = 1; d <= of && d <= most && n < GALV_MAX_CHOICES; d++) {
        if (of % d == 0) {
            values[n++] = d;
        }
    }
    return n;
}

/* The values of a dimension: the user's, or the open ones. */
static galv_choices choose(const galv_choices *asked, int64_t of, int64_t most)
{
    galv_choices c = {0};
    if (asked->n_values > 0) {
        return *asked;
    }
    c.n_values = divisors(c.values, of, most);
    return c;
}

static bool asked(const galv_choices *choices, int64_t value)
{
    for (size_t i = 0; i < choices->n_values; i++) {
        if (choices->values[i] == value) {
            return true;
        }
    }
    return choices->n_values == 0;
}

static void add_leaf(walk *w)
{
    galv_candidates *out = w->out;
    if (w->status != GALV_OK) {
        return;
    }
    if (out->n_candidates == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 1024;
        galv_candidate *grown = GALV_NEW_ARRAY(w->arena, galv_candidate, capacity);
        if (!grown) {
            w->status = galv_fail(w->err, GALV_NO_MEMORY, "out of memory");
            return;
        }
        if (out->n_candidates > 0) {
            memcpy(grown, out->candidates, out->n_candidates * sizeof *grown);
        }
        out->candidates = grown;
        w->capacity = capacity;
    }
    out->candidates[out->n_candidates++] = w->at;
}

/* Has the schedule an order for so many micro-batches? */
static bool schedule_can(walk *w, int64_t n_micro_batches)
{
    galv_schedule_shape shape = {w->at.pp, w->at.vpp, 0, 0, NULL};
    shape.n_micro_batches =
        n_micro_batches < INT32_MAX ? (int32_t)n_micro_batches : INT32_MAX;
    galv_err err = GALV_ERR_INIT;
    if (galv_schedule_check(w->at.schedule, &shape, &err) != GALV_OK) {
        w->reason = err;
        return false;
    }
    return true;
}

/* The pipeline inside data parallelism: does it go, and is it another program? */
static bool order_can(walk *w)
{
    const galv_strategy *s = &w->at.strategy;
    int64_t inner = (int64_t)s->tp * s->cp;
    const galv_cluster *cluster = &w->job->cluster;
    if (w->at.rank_order == GALV_RANK_ORDER_DP_INSIDE) {
        return true;
    }
    if ((w->at.pp == 1 || s->dp == 1) && w->space->rank_order.n_values > 1) {
        cut(w, GALV_CUT_REDUNDANT, 1);
        return false;
    }
    if (!galv_placement_can(GALV_RANK_ORDER_PP_INSIDE, inner, w->at.pp, cluster) ||
        w->at.schedule->two_way || (s->ep > 1 && inner % s->ep != 0)) {
        cut(w, GALV_CUT_DEVICES, 1);
        galv_fail(&w->reason, GALV_USAGE,
                  "rank order %s does not go with tp %d x cp %d, ep %d and pp %d on "
                  "these nodes",
                  galv_rank_order_names[w->at.rank_order], s->tp, s->cp, s->ep,
                  w->at.pp);
        return false;
    }
    return true;
}

static void walk_micro_batch(walk *w)
{
    int64_t per_rank = w->job->workload.global_batch_size / w->at.strategy.dp;
    galv_choices c = w->space->micro_batch;
    if (c.n_values == 0) {
        int64_t most = MAX_MICRO_BATCH_TOKENS * (int64_t)w->at.strategy.cp /
                       (w->seq_length > 0 ? w->seq_length : 1);
        most = most < 1 ? 1 : most;
        most = most > MAX_OPEN_MICRO_BATCH ? MAX_OPEN_MICRO_BATCH : most;
        c.n_values = divisors(c.values, per_rank, most);
    }
    for (size_t i = 0; i < c.n_values; i++) {
        if (c.values[i] > per_rank || per_rank % c.values[i] != 0) {
            cut(w, GALV_CUT_BATCH, 1);
            galv_fail(&w->reason, GALV_USAGE,
                      "micro-batch %lld does not divide the %lld samples of one "
                      "data-parallel rank (global batch %lld / dp %d)",
                      (long long)c.values[i], (long long)per_rank,
                      (long long)w->job->workload.global_batch_size, w->at.strategy.dp);
            continue;
        }
        w->at.micro_batch_size = (int32_t)c.values[i];
        if (!schedule_can(w, per_rank / c.values[i])) {
            cut(w, GALV_CUT_SCHEDULE, 1);
            continue;
        }
        add_leaf(w);
    }
}

static void walk_recompute(walk *w)
{
    galv_choices c = w->space->recompute;
    if (c.n_values == 0) {
        c.values[c.n_values++] = GALV_RECOMPUTE_NONE;
        c.values[c.n_values++] = GALV_RECOMPUTE_SELECTIVE;
        c.values[c.n_values++] = GALV_RECOMPUTE_FULL;
    }
    for (size_t i = 0; i < c.n_values; i++) {
        /* Fused attention keeps no attention matrix: nothing to recompute. */
        if (c.values[i] == GALV_RECOMPUTE_SELECTIVE &&
            w->job->workload.flash_attention && c.n_values > 1) {
            cut(w, GALV_CUT_REDUNDANT, 1);
            continue;
        }
        w->at.strategy.recompute = (galv_recompute)c.values[i];
        walk_micro_batch(w);
    }
}

static void walk_orders(walk *w)
{
    const galv_choices *c = &w->space->rank_order;
    for (size_t i = 0; i == 0 || i < c->n_values; i++) {
        w->at.rank_order =
            c->n_values > 0 ? (galv_rank_order)c->values[i] : GALV_RANK_ORDER_DP_INSIDE;
        if (order_can(w)) {
            walk_recompute(w);
        }
    }
}

static void walk_zero(walk *w)
{
    galv_choices c = w->space->zero;
    bool alone = galv_strategy_gradient_ranks(&w->at.strategy) == 1 &&
                 !w->at.schedule->two_way; /* whose copies are on several */
    if (c.n_values == 0) {
        for (int zero = 0; zero <= 3; zero++) {
            c.values[c.n_values++] = zero;
        }
    }
    for (size_t i = 0; i < c.n_values; i++) {
        if (alone && i > 0) {
            cut(w, GALV_CUT_REDUNDANT, 1); /* nothing to shard over: all are alike */
            continue;
        }
        w->at.strategy.zero = (int32_t)c.values[i];
        walk_orders(w);
    }
}

static void walk_ep(walk *w)
{
    int64_t ranks = (int64_t)w->at.strategy.dp * w->at.strategy.cp * w->at.strategy.tp;
    galv_choices c = w->space->ep;
    if (!w->has_experts) {
        bool asked_more = c.n_values > 0 && !(c.n_values == 1 && c.values[0] == 1);
        if (asked_more) {
            galv_fail(&w->reason, GALV_USAGE, "the model has no experts for --ep");
            cut(w, GALV_CUT_SHAPE, 1);
            return;
        }
        w->at.strategy.ep = 1;
        walk_zero(w);
        return;
    }
    c = choose(&w->space->ep, ranks, ranks);
    for (size_t i = 0; i < c.n_values; i++) {
        w->at.strategy.ep = (int32_t)c.values[i];
        if (ranks % c.values[i] != 0) {
            cut(w, GALV_CUT_DEVICES, 1);
            galv_fail(&w->reason, GALV_USAGE,
                      "ep %lld does not divide the %lld ranks of dp x cp x tp",
                      (long long)c.values[i], (long long)ranks);
            continue;
        }
        bool fits_all = true;
        for (int32_t g = 0; g < w->job->model.n_groups && fits_all; g++) {
            const galv_layer_group *group = &w->job->model.groups[g];
            if (group->num_experts > 0) {
                galv_err err = GALV_ERR_INIT;
                fits_all = galv_strategy_check(&w->at.strategy, group, w->seq_length,
                                               &err) == GALV_OK;
                if (!fits_all) {
                    w->reason = err;
                }
            }
        }
        if (!fits_all) {
            cut(w, GALV_CUT_SHAPE, 1);
            continue;
        }
        walk_zero(w);
    }
}

/* Every layer without experts must allow tp, sp and cp; experts are met at ep. */
static bool layers_allow(walk *w)
{
    for (int32_t g = 0; g < w->job->model.n_groups; g++) {
        galv_strategy strategy = w->at.strategy;
        galv_err err = GALV_ERR_INIT;
        strategy.ep = 1;
        if (galv_strategy_check(&strategy, &w->job->model.groups[g], w->seq_length,
                                &err) != GALV_OK) {
            w->reason = err;
            return false;
        }
    }
    return true;
}

static void walk_sp(walk *w)
{
    galv_choices c = w->space->sp;
    if (c.n_values == 0) {
        c.values[c.n_values++] = GALV_SP_MEGATRON;
        c.values[c.n_values++] = GALV_SP_NONE;
        c.values[c.n_values++] = GALV_SP_ULYSSES;
    }
    if (w->at.strategy.tp == 1) {
        c.n_values = 1; /* nothing to split: they are all the same */
        c.values[0] = GALV_SP_NONE;
    }
    for (size_t i = 0; i < c.n_values; i++) {
        w->at.strategy.sp = (galv_sp)c.values[i];
        if (!layers_allow(w)) {
            cut(w, GALV_CUT_SHAPE, 1);
            continue;
        }
        walk_ep(w);
    }
}

static bool open_cp(const walk *w, int64_t cp)
{
    return cp == 1 || (w->seq_length > MAX_TOKENS_WITHOUT_CP &&
                       w->seq_length / cp >= MIN_TOKENS_PER_CP_RANK);
}

static void walk_tp_cp(walk *w, int64_t stage_devices)
{
    int64_t most = w->space->internode_tp ? stage_devices : w->scaleup_domain;
    galv_choices tps = choose(&w->space->tp, stage_devices, most);
    for (size_t i = 0; i < tps.n_values; i++) {
        galv_choices cps = {0};
        if (stage_devices % tps.values[i] != 0) {
            cut(w, GALV_CUT_DEVICES, 1);
            galv_fail(&w->reason, GALV_USAGE,
                      "tp %lld does not divide the %lld devices of a pipeline stage",
                      (long long)tps.values[i], (long long)stage_devices);
            continue;
        }
        if (tps.values[i] > w->scaleup_domain && !w->space->internode_tp) {
            galv_fail(&w->reason, GALV_USAGE,
                      "tp %lld is more than the %d devices of one scale-up domain",
                      (long long)tps.values[i], w->scaleup_domain);
            galv_hint(&w->reason, "allow it with --internode-tp");
            cut(w, GALV_CUT_DEVICES, 1);
            continue;
        }
        cps = choose(&w->space->cp, stage_devices / tps.values[i],
                     stage_devices / tps.values[i]);
        for (size_t k = 0; k < cps.n_values; k++) {
            int64_t both = tps.values[i] * cps.values[k];
            if (w->space->cp.n_values == 0 && !open_cp(w, cps.values[k])) {
                continue;
            }
            if (stage_devices % both != 0) {
                cut(w, GALV_CUT_DEVICES, 1);
                galv_fail(&w->reason, GALV_USAGE,
                          "tp %lld x cp %lld does not divide the %lld devices of a "
                          "pipeline stage",
                          (long long)tps.values[i], (long long)cps.values[k],
                          (long long)stage_devices);
                continue;
            }
            w->at.strategy.tp = (int32_t)tps.values[i];
            w->at.strategy.cp = (int32_t)cps.values[k];
            w->at.strategy.dp = (int32_t)(stage_devices / both);
            if (!asked(&w->space->dp, w->at.strategy.dp)) {
                cut(w, GALV_CUT_DEVICES, 1);
                galv_fail(
                    &w->reason, GALV_USAGE,
                    "dp is %d for pp %d, tp %lld, cp %lld on %lld devices, not as "
                    "asked",
                    w->at.strategy.dp, w->at.pp, (long long)tps.values[i],
                    (long long)cps.values[k], (long long)w->n_devices);
                continue;
            }
            if (w->job->workload.global_batch_size % w->at.strategy.dp != 0) {
                cut(w, GALV_CUT_BATCH, 1);
                galv_fail(&w->reason, GALV_USAGE,
                          "global batch %lld is not divisible by dp %d",
                          (long long)w->job->workload.global_batch_size,
                          w->at.strategy.dp);
                continue;
            }
            walk_sp(w);
        }
    }
}

static bool schedule_asked(const galv_space *space, const galv_schedule *schedule)
{
    if (space->n_schedules == 0) {
        return schedule->searched;
    }
    for (size_t i = 0; i < space->n_schedules; i++) {
        if (strcmp(space->schedules[i], schedule->name) == 0) {
            return true;
        }
    }
    return false;
}

/* Chunks per stage to try with a schedule. Blocks that do not divide are no reason to
 * leave one out: galv_plan_balance spreads them so that no stage waits for long. */
static galv_choices open_vpp(const walk *w, int32_t pp, const galv_schedule *schedule)
{
    galv_choices c = {0};
    for (int32_t v = schedule->min_chunks;
         v <= schedule->max_chunks && v <= MAX_OPEN_VPP && v * pp <= w->most_stages;
         v++) {
        c.values[c.n_values++] = v;
    }
    return c;
}

static void walk_schedule(walk *w)
{
    size_t n_schedules = 0;
    const galv_schedule *schedules = galv_schedules(&n_schedules);
    for (size_t i = 0; i < n_schedules; i++) {
        const galv_schedule *schedule = &schedules[i];
        bool none = strcmp(schedule->name, "none") == 0;
        if (none != (w->at.pp == 1) || (!none && !schedule_asked(w->space, schedule))) {
            continue; /* one stage has no order to choose, several need one */
        }
        galv_choices vpps = w->space->vpp;
        if (vpps.n_values == 0) {
            vpps = open_vpp(w, w->at.pp, schedule);
        }
        for (size_t k = 0; k < vpps.n_values; k++) {
            if (vpps.values[k] < schedule->min_chunks ||
                vpps.values[k] > schedule->max_chunks ||
                w->at.pp < schedule->min_stages) {
                cut(w, GALV_CUT_SCHEDULE, 1);
                galv_fail(&w->reason, GALV_USAGE,
                          "schedule %s cannot do %lld chunks on %d stages",
                          schedule->name, (long long)vpps.values[k], w->at.pp);
                continue;
            }
            if (vpps.values[k] * w->at.pp > w->most_stages) {
                cut(w, GALV_CUT_LAYERS, 1);
                galv_fail(&w->reason, GALV_USAGE,
                          "pp %d x vpp %lld stages: blocks, embedding and head are "
                          "enough for %d",
                          w->at.pp, (long long)vpps.values[k], w->most_stages);
                continue;
            }
            w->at.schedule = schedule;
            w->at.vpp = (int32_t)vpps.values[k];
            walk_tp_cp(w, w->n_devices / w->at.pp);
        }
    }
}

static galv_status nothing_left(walk *w)
{
    if (w->status != GALV_OK) {
        return w->status;
    }
    if (w->reason.status != GALV_OK) {
        galv_fail(w->err, GALV_USAGE, "no candidate plan: %s", w->reason.message);
        if (w->reason.hint[0]) {
            galv_hint(w->err, "%s", w->reason.hint);
        }
        return GALV_USAGE;
    }
    galv_fail(
        w->err, GALV_USAGE,
        "no candidate plan: the degrees asked for do not multiply to %lld devices",
        (long long)w->n_devices);
    return GALV_USAGE;
}

/* A stage lies in one pool (plan/plan_check.c). */
static bool stage_straddles(const galv_cluster *cluster, int64_t per_stage)
{
    int64_t boundary = 0;
    for (int32_t i = 0; i + 1 < cluster->n_pools; i++) {
        boundary +=
            (int64_t)cluster->pools[i].n_nodes * cluster->pools[i].devices_per_node;
        if (boundary % per_stage != 0) {
            return true;
        }
    }
    return false;
}

galv_status galv_space_enumerate(galv_candidates *candidates, const galv_space *space,
                                 const galv_job *job, galv_arena *arena, galv_err *err)
{
    walk w = {.space = space, .job = job, .arena = arena, .err = err};
    galv_candidates found = {0};
    w.out = &found;
    w.n_devices = galv_cluster_n_devices(&job->cluster);
    w.most_stages = galv_model_most_stages(&job->model);
    w.seq_length = job->workload.seq_length;
    w.scaleup_domain = job->cluster.pools[0].scaleup_domain;
    for (int32_t i = 1; i < job->cluster.n_pools; i++) {
        int32_t domain = job->cluster.pools[i].scaleup_domain;
        w.scaleup_domain = domain < w.scaleup_domain ? domain : w.scaleup_domain;
    }
    for (int32_t g = 0; g < job->model.n_groups; g++) {
        w.has_experts |= job->model.groups[g].num_experts > 0;
    }
    for (size_t i = 0; i < space->n_schedules; i++) {
        const galv_schedule *schedule = NULL;
        galv_status status = galv_schedule_find(&schedule, space->schedules[i], err);
        if (status != GALV_OK) {
            return status;
        }
    }
    galv_choices pps = choose(&space->pp, w.n_devices, w.most_stages);
    for (size_t i = 0; i < pps.n_values; i++) {
        if (w.n_devices % pps.values[i] != 0) {
            cut(&w, GALV_CUT_DEVICES, 1);
            galv_fail(&w.reason, GALV_USAGE, "pp %lld does not divide the %lld devices",
                      (long long)pps.values[i], (long long)w.n_devices);
            continue;
        }
        if (stage_straddles(&job->cluster, w.n_devices / pps.values[i])) {
            cut(&w, GALV_CUT_DEVICES, 1);
            galv_fail(&w.reason, GALV_USAGE,
                      "with pp %lld a stage of %lld devices straddles two pools",
                      (long long)pps.values[i],
                      (long long)(w.n_devices / pps.values[i]));
            continue;
        }
        if (pps.values[i] > w.most_stages) {
            cut(&w, GALV_CUT_LAYERS, 1);
            galv_fail(&w.reason, GALV_USAGE,
                      "pp %lld: blocks, embedding and head are enough for %d stages",
                      (long long)pps.values[i], w.most_stages);
            continue;
        }
        w.at.pp = (int32_t)pps.values[i];
        walk_schedule(&w);
    }
    if (w.status != GALV_OK || found.n_candidates == 0) {
        return nothing_left(&w);
    }
    *candidates = found;
    return GALV_OK;
}

galv_status galv_candidate_plan(galv_plan **plan, const galv_candidate *candidate,
                                const galv_space *space, const galv_job *job,
                                galv_arena *arena, galv_err *err)
{
    if (candidate->layered) {
        return galv_plan_copy(plan, candidate->layered, arena, err);
    }
    galv_uniform_plan parameters = {.strategy = candidate->strategy,
                                    .pp = candidate->pp,
                                    .vpp = candidate->vpp,
                                    .schedule = candidate->schedule->name,
                                    .stage_blocks = candidate->blocks,
                                    .micro_batch_size = candidate->micro_batch_size,
                                    .overlap = space->overlap};
    galv_status status = galv_plan_make_uniform(plan, job, &parameters, arena, err);
    return status == GALV_OK && candidate->rank_order != GALV_RANK_ORDER_DP_INSIDE
               ? galv_plan_set_rank_order(*plan, candidate->rank_order, job, err)
               : status;
}
