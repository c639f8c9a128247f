/* The order of passes over all stages, sorted once so that whatever a pass waits for
 * comes before it; then a replay is one sweep.
 *
 * A pass waits for the one before it on its stage, and for the pass that makes its
 * input: forward, the same micro-batch one virtual stage before; backward, one after,
 * or at the last one its own forward. Weight gradients wait for their stage alone. */
#include "search/replay.h"

#include <stdlib.h>
#include <string.h>

typedef struct node {
    int32_t stage;
    int32_t virtual_stage;
    int32_t input; /* node that makes its input, -1 = none */
    int32_t pass;  /* galv_pass */
} node;

struct galv_replay {
    int32_t pp, vpp, n_micro_batches;
    size_t n_nodes;
    node *nodes;
    double *end_s;       /* [n_nodes] */
    double *stage_end_s; /* [pp] */
    double *kept;        /* [pp * vpp] */
    double *spread;      /* [pp] */
    double *before;      /* [pp] forwards before the first backward */
    int32_t *virtual_of; /* [pp * vpp] */
};

typedef struct sorter {
    galv_replay *replay;
    const galv_schedule_shape *shape;
    const galv_slot *slots; /* [pp][n_slots] */
    size_t n_slots;
    size_t *at;       /* [pp] next slot of each stage */
    int32_t *made_by; /* [2][virtual stages][micro-batches] node + 1 */
} sorter;

static int32_t *maker(sorter *s, bool forward, int32_t virtual_stage,
                      int32_t micro_batch)
{
    size_t n_virtual = (size_t)s->replay->pp * (size_t)s->replay->vpp;
    return &s->made_by[((forward ? 0 : n_virtual) + (size_t)virtual_stage) *
                           (size_t)s->shape->n_micro_batches +
                       (size_t)micro_batch];
}

/* Adds the next pass of a stage, if its input is there. */
static bool add_next(sorter *s, int32_t stage)
{
    galv_replay *r = s->replay;
    const galv_slot *slot = &s->slots[(size_t)stage * s->n_slots + s->at[stage]];
    if (s->at[stage] == s->n_slots || slot->pass == GALV_PASS_NONE) {
        return false;
    }
    int32_t last = r->pp * r->vpp - 1;
    int32_t v = r->virtual_of[stage * r->vpp + slot->chunk];
    bool forward = slot->pass == GALV_PASS_FORWARD;
    node n = {stage, v, -1, slot->pass};
    if (slot->pass != GALV_PASS_BACKWARD_WEIGHT && !(forward && v == 0)) {
        int32_t by = forward     ? *maker(s, true, v - 1, slot->micro_batch)
                     : v == last ? *maker(s, true, v, slot->micro_batch)
                                 : *maker(s, false, v + 1, slot->micro_batch);
        if (by == 0) {
            return false;
        }
        n.input = by - 1;
    }
    r->nodes[r->n_nodes++] = n;
    if (slot->pass != GALV_PASS_BACKWARD_WEIGHT) {
        *maker(s, forward, v, slot->micro_batch) = (int32_t)r->n_nodes;
    }
    s->at[stage]++;
    return true;
}

static double change_of(const galv_slot *slot)
{
    return slot->pass == GALV_PASS_FORWARD    ? 1
           : slot->pass == GALV_PASS_BACKWARD ? -1
           : slot->pass == GALV_PASS_NONE     ? 0
                                              : -0.5;
}

/* When does a stage keep most, and what then? now[vpp] is scratch. */
static void count_kept(double *kept, const galv_slot *slots, size_t n_slots,
                       int32_t vpp, double *now)
{
    double most = 0;
    double total = 0;
    memset(now, 0, (size_t)vpp * sizeof *now);
    for (size_t i = 0; i < n_slots; i++) {
        double change = change_of(&slots[i]);
        now[slots[i].chunk] += change;
        total += change;
        if (total > most) {
            most = total;
            memcpy(kept, now, (size_t)vpp * sizeof *now);
        }
    }
}

static double count_before_backward(const galv_slot *slots, size_t n_slots)
{
    size_t n = 0;
    while (n < n_slots && slots[n].pass == GALV_PASS_FORWARD) {
        n++;
    }
    return (double)n;
}

/* Moments after a forward that a backward follows, when most is kept; not more than
 * `most` of them, from all of a round and what is before it. Returns how many. */
static int32_t find_moments(double *moments, int32_t most, const galv_replay *r,
                            const galv_slot *slots, size_t n_slots, double *now)
{
    size_t vpp = (size_t)r->vpp;
    size_t stride = (2 * (size_t)r->pp * vpp) / (size_t)most + 1;
    size_t n_seen = 0;
    int32_t n = 0;
    memset(now, 0, vpp * sizeof *now);
    for (size_t i = 0; i < n_slots && n < most && slots[i].pass != GALV_PASS_NONE;
         i++) {
        bool forward = slots[i].pass == GALV_PASS_FORWARD;
        bool crest =
            forward && (i + 1 == n_slots || slots[i + 1].pass != GALV_PASS_FORWARD);
        now[slots[i].chunk] += change_of(&slots[i]);
        if (crest && n_seen++ % stride == 0) {
            memcpy(&moments[(size_t)n++ * vpp], now, vpp * sizeof *now);
        }
    }
    return n;
}

/* A game: one side spreads layers over chunks, the other picks the moment. Whatever
 * mixture of moments the other side has played, its least chunk is a value it can be
 * sure of. (Fictitious play, stopped early: any round gives a true answer.) */
static void play_spread(galv_replay *r, const double *moments, int32_t n_moments,
                        int32_t stage, double *sum, double *played)
{
    enum { ROUNDS = 48 };
    size_t vpp = (size_t)r->vpp;
    double best = 0;
    memset(sum, 0, vpp * sizeof *sum);
    for (size_t c = 0; c < vpp; c++) {
        played[c] = 1;
    }
    for (int round = 1; round <= ROUNDS && n_moments > 0; round++) {
        const double *pick = moments;
        double most = -1;
        for (int32_t t = 0; t < n_moments; t++) {
            double value = 0;
            for (size_t c = 0; c < vpp; c++) {
                value += played[c] * moments[(size_t)t * vpp + c];
            }
            if (value > most) {
                most = value;
                pick = &moments[(size_t)t * vpp];
            }
        }
        size_t least = 0;
        for (size_t c = 0; c < vpp; c++) {
            sum[c] += pick[c];
            least = sum[c] < sum[least] ? c : least;
        }
        played[least] += 1;
        best = sum[least] / round > best ? sum[least] / round : best;
    }
    r->spread[stage] = best;
}

static galv_status spread_kept(galv_replay *r, const galv_slot *slots, size_t n_slots,
                               galv_arena *scratch, galv_err *err)
{
    enum { MOMENTS = 32 };
    size_t vpp = (size_t)r->vpp;
    double *moments = GALV_NEW_ARRAY(scratch, double, MOMENTS *vpp);
    double *work = GALV_NEW_ARRAY(scratch, double, 2 * vpp);
    if (!moments || !work) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t stage = 0; stage < r->pp; stage++) {
        const galv_slot *own = &slots[(size_t)stage * n_slots];
        if (r->vpp == 1) {
            r->spread[stage] = r->kept[stage];
            continue;
        }
        int32_t n = find_moments(moments, MOMENTS, r, own, n_slots, work);
        play_spread(r, moments, n, stage, work, work + vpp);
    }
    return GALV_OK;
}

static galv_status sort_passes(galv_replay *r, sorter *s, galv_err *err)
{
    bool moved = true;
    while (moved) {
        moved = false;
        for (int32_t stage = 0; stage < r->pp; stage++) {
            while (add_next(s, stage)) {
                moved = true;
            }
        }
    }
    for (int32_t stage = 0; stage < r->pp; stage++) {
        size_t at = s->at[stage];
        if (at < s->n_slots &&
            s->slots[(size_t)stage * s->n_slots + at].pass != GALV_PASS_NONE) {
            return galv_fail(err, GALV_INPUT, "the order of stage %d cannot run",
                             (int)stage);
        }
    }
    return GALV_OK;
}

static galv_status fill(galv_replay *r, const galv_schedule *schedule,
                        const galv_schedule_shape *shape, galv_arena *scratch,
                        galv_err *err)
{
    size_t n_slots = galv_schedule_n_slots(schedule, shape);
    size_t n_virtual = (size_t)r->pp * (size_t)r->vpp;
    galv_slot *slots = GALV_NEW_ARRAY(scratch, galv_slot, (size_t)r->pp * n_slots);
    double *now = GALV_NEW_ARRAY(scratch, double, r->vpp);
    sorter s = {r,
                shape,
                slots,
                n_slots,
                GALV_NEW_ARRAY(scratch, size_t, r->pp),
                GALV_NEW_ARRAY(scratch, int32_t,
                               2 * n_virtual * (size_t)shape->n_micro_batches)};
    if (!slots || !now || !s.at || !s.made_by) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = galv_schedule_order(slots, schedule, shape, err);
    for (int32_t i = 0; i < r->pp * r->vpp; i++) {
        r->virtual_of[i] =
            galv_schedule_virtual_stage(schedule, shape, i / r->vpp, i % r->vpp);
    }
    for (int32_t stage = 0; status == GALV_OK && stage < r->pp; stage++) {
        const galv_slot *own = &slots[(size_t)stage * n_slots];
        count_kept(&r->kept[stage * r->vpp], own, n_slots, r->vpp, now);
        r->before[stage] = count_before_backward(own, n_slots);
    }
    if (status == GALV_OK) {
        status = spread_kept(r, slots, n_slots, scratch, err);
    }
    return status == GALV_OK ? sort_passes(r, &s, err) : status;
}

galv_status galv_replay_new(galv_replay **replay, const galv_schedule *schedule,
                            const galv_schedule_shape *shape, galv_arena *arena,
                            galv_err *err)
{
    galv_replay *r = GALV_NEW(arena, galv_replay);
    galv_arena *scratch = galv_arena_new();
    size_t n_virtual = (size_t)shape->n_stages * (size_t)shape->n_chunks;
    size_t n_nodes = (size_t)shape->n_stages * galv_schedule_n_slots(schedule, shape);
    galv_status status = GALV_OK;
    if (r) {
        r->pp = shape->n_stages;
        r->vpp = shape->n_chunks;
        r->n_micro_batches = shape->n_micro_batches;
        r->nodes = GALV_NEW_ARRAY(arena, node, n_nodes);
        r->end_s = GALV_NEW_ARRAY(arena, double, n_nodes);
        r->stage_end_s = GALV_NEW_ARRAY(arena, double, r->pp);
        r->before = GALV_NEW_ARRAY(arena, double, r->pp);
        r->spread = GALV_NEW_ARRAY(arena, double, r->pp);
        r->kept = GALV_NEW_ARRAY(arena, double, n_virtual);
        r->virtual_of = GALV_NEW_ARRAY(arena, int32_t, n_virtual);
    }
    if (!r || !scratch || !r->nodes || !r->end_s || !r->stage_end_s || !r->kept ||
        !r->before || !r->spread || !r->virtual_of) {
        status = galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (status == GALV_OK) {
        status = fill(r, schedule, shape, scratch, err);
    }
    galv_arena_free(scratch);
    if (status == GALV_OK) {
        *replay = r;
    }
    return status;
}

galv_status galv_replay_count_kept(double *kept, const galv_schedule *schedule,
                                   const galv_schedule_shape *shape,
                                   galv_arena *scratch, galv_err *err)
{
    size_t n_slots = galv_schedule_n_slots(schedule, shape);
    int32_t pp = shape->n_stages;
    int32_t vpp = shape->n_chunks;
    galv_slot *slots = GALV_NEW_ARRAY(scratch, galv_slot, (size_t)pp * n_slots);
    double *now = GALV_NEW_ARRAY(scratch, double, vpp);
    if (!slots || !now) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = galv_schedule_order(slots, schedule, shape, err);
    for (int32_t stage = 0; status == GALV_OK && stage < pp; stage++) {
        count_kept(&kept[stage * vpp], &slots[(size_t)stage * n_slots], n_slots, vpp,
                   now);
    }
    return status;
}

double galv_replay_time(galv_replay *r, const double *forward_s,
                        const double *backward_s, const double *weight_s)
{
    double latest = 0;
    memset(r->stage_end_s, 0, (size_t)r->pp * sizeof *r->stage_end_s);
    for (size_t i = 0; i < r->n_nodes; i++) {
        const node *n = &r->nodes[i];
        double start = r->stage_end_s[n->stage];
        if (n->input >= 0 && r->end_s[n->input] > start) {
            start = r->end_s[n->input];
        }
        const double *takes = n->pass == GALV_PASS_FORWARD           ? forward_s
                              : n->pass == GALV_PASS_BACKWARD_WEIGHT ? weight_s
                                                                     : backward_s;
        r->end_s[i] = start + takes[n->virtual_stage];
        r->stage_end_s[n->stage] = r->end_s[i];
        latest = r->end_s[i] > latest ? r->end_s[i] : latest;
    }
    return latest;
}

int32_t galv_replay_n_micro_batches(const galv_replay *r)
{
    return r->n_micro_batches;
}

uint64_t galv_replay_cost(const galv_replay *r)
{
    return r->n_nodes;
}

double galv_replay_kept(const galv_replay *r, int32_t stage, int32_t chunk)
{
    return r->kept[stage * r->vpp + chunk];
}

double galv_replay_kept_spread(const galv_replay *r, int32_t stage)
{
    return r->spread[stage];
}

double galv_replay_before_backward(const galv_replay *r, int32_t stage)
{
    return r->before[stage];
}

int32_t galv_replay_virtual_stage(const galv_replay *r, int32_t stage, int32_t chunk)
{
    return r->virtual_of[stage * r->vpp + chunk];
}
