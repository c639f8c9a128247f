/* Rates where every rank is simulated.
 *
 * The rules are those of a folded rank (rates.c), and a meeting goes as fast as the
 * slowest of its ranks: it is slowed by the largest sum of shares on any of their
 * links, and by its comm_slowdown while any of them computes. Where the network is
 * shared by all, shares of it are not added up by rank: each meeting has the rate that
 * max-min fairness gives it.
 *
 * A meeting may have thousands of ranks and thousands of changes beside it, so neither
 * is looked up anew at each change: the slot keeps how many of its ranks compute, the
 * worst slowing, and how many ranks have it. Only when the last of those leaves are the
 * ranks gone through again. */
#include "sim/all_ranks_internal.h"

#include <math.h>

#define COMPUTE_BIT (1U << GALV_STREAM_COMPUTE)

static void set_rate(all_ranks *s, uint32_t slot_index, double rate)
{
    meeting_slot *slot = &s->slots[slot_index];
    if (rate != slot->rate) {
        double left_s = s->ends[slot_index] - s->now_s;
        galv_all_ranks_schedule(s, slot_index, s->now_s + left_s * slot->rate / rate);
        slot->rate = rate;
        s->n_events++;
    }
}

static void mark(all_ranks *s, uint32_t slot_index)
{
    if (!s->slots[slot_index].changed) {
        s->slots[slot_index].changed = true;
        s->changed_slots[s->n_changed_slots++] = slot_index;
    }
}

/* How much the links of one rank slow an activity of a class. */
static double slowed_by_links(const hot_class *class, double intra, double inter)
{
    double slowed = 1;
    if (class->intra_share > 0) {
        slowed = fmax(slowed, intra);
    }
    if (class->inter_share > 0) {
        slowed = fmax(slowed, inter);
    }
    return slowed;
}

/* One rank of a meeting has changed. */
static void update_slot(all_ranks *s, uint32_t slot_index, const rank_state *rank,
                        double intra, double inter, int beside)
{
    meeting_slot *slot = &s->slots[slot_index];
    if (slot->recount) {
        mark(s, slot_index);
        return;
    }
    if (beside != 0) {
        uint32_t n = beside > 0 ? slot->n_beside + 1 : slot->n_beside - 1;
        if ((n == 0) != (slot->n_beside == 0)) {
            mark(s, slot_index);
        }
        slot->n_beside = n;
    }
    const hot_class *class = &s->classes[slot->class_index].hot;
    double before = slowed_by_links(class, rank->intra, rank->inter);
    double after = slowed_by_links(class, intra, inter);
    if (after == before) {
        return;
    }
    if (after > slot->worst) {
        slot->worst = after;
        slot->n_worst = 1;
        mark(s, slot_index);
        return;
    }
    if (after >= slot->worst) {
        slot->n_worst++;
    }
    if (before >= slot->worst && --slot->n_worst == 0) {
        slot->recount = true;
        mark(s, slot_index);
    }
}

static void settle_rank(all_ranks *s, uint32_t rank_index)
{
    rank_state *rank = &s->ranks[rank_index];
    const rank_queue *queues = &s->queues[(size_t)rank_index * GALV_N_STREAMS];
    unsigned running = rank->running;
    unsigned comm = running & ~COMPUTE_BIT;
    double intra = 0;
    double inter = 0;
    double slowest = 1;
    for (unsigned left = comm; left != 0; left &= left - 1) {
        const meeting_slot *slot = &s->slots[queues[__builtin_ctz(left)].slot];
        const hot_class *class = &s->classes[slot->class_index].hot;
        intra += class->intra_share;
        inter += class->inter_share;
        slowest = fmax(slowest, class->compute_slowdown);
    }
    int beside = (int)(running & COMPUTE_BIT) - (int)(rank->settled & COMPUTE_BIT);
    for (unsigned left = comm; left != 0; left &= left - 1) {
        update_slot(s, queues[__builtin_ctz(left)].slot, rank, intra, inter, beside);
    }
    rank->intra = intra;
    rank->inter = inter;
    rank->settled = rank->running;
    rank->breakdown = GALV_BREAKDOWN_BUBBLE;
    if (running != 0) { /* streams are numbered in the order that counts */
        const meeting_slot *slot = &s->slots[queues[__builtin_ctz(running)].slot];
        rank->breakdown = s->classes[slot->class_index].hot.breakdown;
    }
    if ((running & COMPUTE_BIT) != 0) {
        set_rate(s, queues[GALV_STREAM_COMPUTE].slot, 1 / slowest);
    }
}

static void recount(all_ranks *s, meeting_slot *slot)
{
    const meeting_class *class = &s->classes[slot->class_index];
    slot->recount = false;
    slot->n_beside = 0;
    slot->n_worst = 0;
    slot->worst = 1;
    for (uint32_t k = 0; k < class->n; k++) {
        const rank_state *rank =
            &s->ranks[slot->first_rank + k * (uint32_t) class->meeting.stride];
        double slowed = slowed_by_links(&class->hot, rank->intra, rank->inter);
        slot->n_beside += rank->running & COMPUTE_BIT;
        if (slowed > slot->worst) {
            slot->worst = slowed;
            slot->n_worst = 0;
        }
        slot->n_worst += slowed >= slot->worst;
    }
}

static void settle_slot(all_ranks *s, uint32_t slot_index)
{
    meeting_slot *slot = &s->slots[slot_index];
    if (slot->recount) {
        recount(s, slot);
    }
    double slowed = slot->worst;
    if (slot->flows) { /* the network may also give more than was priced */
        double by_network = 1 / galv_max_min_rate(s->sharing, slot_index);
        slowed = slowed > 1 ? fmax(slowed, by_network) : by_network;
    }
    if (slot->n_beside > 0) {
        slowed *= fmax(s->classes[slot->class_index].hot.comm_slowdown, 1);
    }
    set_rate(s, slot_index, 1 / slowed);
}

void galv_all_ranks_settle_rates(all_ranks *s)
{
    for (uint32_t i = 0; i < s->n_changed; i++) {
        s->ranks[s->changed[i]].changed = false;
        settle_rank(s, s->changed[i]);
    }
    s->n_changed = 0;
    if (s->sharing != NULL) {
        const uint32_t *flows = NULL;
        uint32_t n = galv_max_min_settle(s->sharing, &flows);
        s->n_flow_changes += n;
        for (uint32_t i = 0; i < n; i++) {
            s->n_held_up += galv_max_min_rate(s->sharing, flows[i]) < 1 - 1e-9;
            mark(s, flows[i]);
        }
    }
    for (uint32_t i = 0; i < s->n_changed_slots; i++) {
        s->slots[s->changed_slots[i]].changed = false;
        settle_slot(s, s->changed_slots[i]);
    }
    s->n_changed_slots = 0;
}
