/* Max-min fair sharing by filling up.
 *
 * Links keep lists of the flows on them and the sum of what those would use at their
 * caps. A link whose sum is within its capacity can hold up nobody: it joins no flows
 * and is not looked at. What is left to do after a change is the part of the net that
 * hangs together with it over the other links.
 *
 * Filling up: with `level` the height that all have reached, the rate of a flow is
 * weight * level. The next thing to happen is either that a link is full, at
 * free / sum(weight * use of its rising flows), or that a flow reaches its cap. Steps
 * that come within 1e-12 of each other are one: in symmetric nets, where links fill up
 * together, this makes one step of many.
 *
 * Sums over a link are kept up to date by adding and subtracting; when a link is empty
 * they are set to zero, so that rounding cannot pile up. Rates that change by less than
 * 1e-12 are left as they are. Cost of a settling: links and flows of the part, times
 * the steps, which are few unless caps and capacities are all different. */
#include "sim/max_min.h"

#include <assert.h>
#include <math.h>

#define NONE  UINT32_MAX
#define CLOSE 1e-12

/* One flow on one link. */
typedef struct entry {
    double use; /* at rate 1 */
    uint32_t link, flow;
    uint32_t next, previous; /* on the link */
} entry;

typedef struct link {
    double capacity;
    double wanted; /* by its flows at their caps */
    double free;   /* while filling up */
    double rising; /* weight * use of the flows that still rise */
    uint32_t n_rising;
    uint32_t first;
    uint32_t seen;  /* mark of the last settling that met it */
    bool touched;   /* a flow has begun or ended on it */
    bool was_tight; /* could hold up flows when last settled */
} link;

typedef struct flow {
    double rate;
    double weight, cap;
    uint32_t first_entry; /* its entries lie side by side */
    uint32_t n_entries;
    uint32_t seen;
    bool runs;
    bool stopped; /* while filling up: has its rate */
} flow;

struct galv_max_min {
    link *links;
    flow *flows;
    entry *entries;
    uint32_t *touched; /* links */
    uint32_t n_touched;
    uint32_t *begun; /* flows */
    uint32_t n_begun;
    uint32_t *part_links, *part_flows; /* what is filled up */
    uint32_t n_part_links, n_part_flows;
    double *old_rates; /* of part_flows, in their order at the beginning */
    uint32_t *changed;
    uint32_t mark;
};

galv_status galv_max_min_new(galv_max_min **sharing, const double *capacities,
                             uint32_t n_links, const uint32_t *most_uses,
                             uint32_t n_flows, galv_arena *arena, galv_err *err)
{
    galv_max_min *m = GALV_NEW(arena, galv_max_min);
    size_t n_entries = 0;
    for (uint32_t i = 0; i < n_flows; i++) {
        n_entries += most_uses[i];
    }
    if (m != NULL && n_entries < NONE) {
        m->links = GALV_NEW_ARRAY(arena, link, n_links);
        m->flows = GALV_NEW_ARRAY(arena, flow, n_flows);
        m->entries = GALV_NEW_ARRAY(arena, entry, n_entries);
        m->touched = GALV_NEW_ARRAY(arena, uint32_t, n_links);
        m->begun = GALV_NEW_ARRAY(arena, uint32_t, n_flows);
        m->part_links = GALV_NEW_ARRAY(arena, uint32_t, n_links);
        m->part_flows = GALV_NEW_ARRAY(arena, uint32_t, n_flows);
        m->old_rates = GALV_NEW_ARRAY(arena, double, n_flows);
        m->changed = GALV_NEW_ARRAY(arena, uint32_t, n_flows);
    }
    if (m == NULL || m->links == NULL || m->flows == NULL || m->entries == NULL ||
        m->touched == NULL || m->begun == NULL || m->part_links == NULL ||
        m->part_flows == NULL || m->old_rates == NULL || m->changed == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %u links and %u flows",
                         (unsigned)n_links, (unsigned)n_flows);
    }
    for (uint32_t i = 0; i < n_links; i++) {
        m->links[i].capacity = capacities[i];
        m->links[i].first = NONE;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < n_flows; i++) {
        m->flows[i].first_entry = at;
        at += most_uses[i];
    }
    *sharing = m;
    return GALV_OK;
}

/* ---- begins and ends ---- */

static void touch(galv_max_min *m, uint32_t link_index)
{
    if (!m->links[link_index].touched) {
        m->links[link_index].touched = true;
        m->touched[m->n_touched++] = link_index;
    }
}

void galv_max_min_begin(galv_max_min *m, uint32_t flow_index, const galv_link_use *uses,
                        uint32_t n, double scale, double weight, double cap)
{
    flow *f = &m->flows[flow_index];
    assert(!f->runs);
    f->runs = true;
    f->rate = 0;
    f->weight = weight;
    f->cap = cap;
    f->n_entries = n;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = f->first_entry + i;
        entry *e = &m->entries[at];
        link *l = &m->links[uses[i].link];
        e->use = uses[i].use * scale;
        e->link = uses[i].link;
        e->flow = flow_index;
        e->previous = NONE;
        e->next = l->first;
        if (l->first != NONE) {
            m->entries[l->first].previous = at;
        }
        l->first = at;
        l->wanted += e->use * cap;
        touch(m, e->link);
    }
    m->begun[m->n_begun++] = flow_index;
}

void galv_max_min_end(galv_max_min *m, uint32_t flow_index)
{
    flow *f = &m->flows[flow_index];
    assert(f->runs);
    f->runs = false;
    for (uint32_t i = 0; i < f->n_entries; i++) {
        const entry *e = &m->entries[f->first_entry + i];
        link *l = &m->links[e->link];
        if (e->previous != NONE) {
            m->entries[e->previous].next = e->next;
        } else {
            l->first = e->next;
        }
        if (e->next != NONE) {
            m->entries[e->next].previous = e->previous;
        }
        l->wanted = l->first == NONE ? 0 : l->wanted - e->use * f->cap;
        touch(m, e->link);
    }
}

/* ---- the part of the net that a change can be felt in ---- */

/* Can it hold up a flow? */
static bool is_tight(const link *l)
{
    return l->wanted > l->capacity * (1 + CLOSE);
}

static void add_flow(galv_max_min *m, uint32_t flow_index)
{
    flow *f = &m->flows[flow_index];
    if (f->seen != m->mark) {
        f->seen = m->mark;
        f->stopped = false;
        m->old_rates[m->n_part_flows] = f->rate;
        m->part_flows[m->n_part_flows++] = flow_index;
    }
}

static void add_flows_of(galv_max_min *m, const link *l)
{
    for (uint32_t e = l->first; e != NONE; e = m->entries[e].next) {
        add_flow(m, m->entries[e].flow);
    }
}

static void add_links_of(galv_max_min *m, const flow *f)
{
    for (uint32_t i = 0; i < f->n_entries; i++) {
        const entry *e = &m->entries[f->first_entry + i];
        link *l = &m->links[e->link];
        if (!is_tight(l)) {
            continue;
        }
        if (l->seen != m->mark) {
            l->seen = m->mark;
            l->free = l->capacity;
            l->rising = 0;
            l->n_rising = 0;
            m->part_links[m->n_part_links++] = e->link;
            add_flows_of(m, l);
        }
        l->rising += f->weight * e->use;
        l->n_rising++;
    }
}

static void find_part(galv_max_min *m)
{
    m->mark++;
    m->n_part_links = 0;
    m->n_part_flows = 0;
    for (uint32_t i = 0; i < m->n_begun; i++) {
        if (m->flows[m->begun[i]].runs) {
            add_flow(m, m->begun[i]);
        }
    }
    for (uint32_t i = 0; i < m->n_touched; i++) {
        link *l = &m->links[m->touched[i]];
        bool tight = is_tight(l);
        if (tight || l->was_tight) {
            add_flows_of(m, l);
        }
        l->was_tight = tight;
        l->touched = false;
    }
    m->n_begun = 0;
    m->n_touched = 0;
    for (uint32_t i = 0; i < m->n_part_flows; i++) { /* grows on the way */
        add_links_of(m, &m->flows[m->part_flows[i]]);
    }
}

/* ---- filling up ---- */

/* The height at which a link is full. */
static double full_at(const link *l)
{
    return l->rising > 0 ? l->free / l->rising : HUGE_VAL;
}

static void stop_flow(galv_max_min *m, flow *f, double rate)
{
    f->stopped = true;
    f->rate = rate;
    for (uint32_t i = 0; i < f->n_entries; i++) {
        const entry *e = &m->entries[f->first_entry + i];
        link *l = &m->links[e->link];
        if (l->seen == m->mark) {
            l->free -= rate * e->use;
            l->rising -= f->weight * e->use;
            l->n_rising--;
        }
    }
}

/* The next height at which something happens; throws out links nobody rises on. */
static double next_level(galv_max_min *m, const uint32_t *rising, uint32_t n_rising)
{
    double level = HUGE_VAL;
    uint32_t n_links = 0;
    for (uint32_t i = 0; i < m->n_part_links; i++) {
        const link *l = &m->links[m->part_links[i]];
        if (l->n_rising > 0) {
            m->part_links[n_links++] = m->part_links[i];
            level = fmin(level, full_at(l));
        }
    }
    m->n_part_links = n_links;
    for (uint32_t i = 0; i < n_rising; i++) {
        const flow *f = &m->flows[rising[i]];
        level = fmin(level, f->cap / f->weight);
    }
    return level;
}

/* Flows stop on links that are full. Which those are is settled first, since stopping
 * flows changes what is left on others. */
static void stop_on_full_links(galv_max_min *m, double level)
{
    uint32_t *full = m->touched;
    uint32_t n_full = 0;
    for (uint32_t i = 0; i < m->n_part_links; i++) {
        if (full_at(&m->links[m->part_links[i]]) <= level * (1 + CLOSE)) {
            full[n_full++] = m->part_links[i];
        }
    }
    for (uint32_t i = 0; i < n_full; i++) {
        for (uint32_t e = m->links[full[i]].first; e != NONE; e = m->entries[e].next) {
            flow *f = &m->flows[m->entries[e].flow];
            if (!f->stopped) {
                stop_flow(m, f, fmin(f->weight * level, f->cap));
            }
        }
    }
}

static void fill_up(galv_max_min *m, uint32_t *rising, uint32_t n_rising)
{
    double level = 0;
    while (n_rising > 0) { /* never down again, whatever rounding leaves over */
        level = fmax(level, next_level(m, rising, n_rising));
        stop_on_full_links(m, level);
        uint32_t n = 0;
        for (uint32_t i = 0; i < n_rising; i++) {
            flow *f = &m->flows[rising[i]];
            if (!f->stopped && f->cap <= level * f->weight * (1 + CLOSE)) {
                stop_flow(m, f, f->cap);
            }
            if (!f->stopped) {
                rising[n++] = rising[i];
            }
        }
        n_rising = n;
    }
}

uint32_t galv_max_min_settle(galv_max_min *m, const uint32_t **changed)
{
    find_part(m);
    uint32_t n = m->n_part_flows;
    uint32_t *rising = m->changed;
    for (uint32_t i = 0; i < n; i++) {
        rising[i] = m->part_flows[i];
    }
    fill_up(m, rising, n);
    uint32_t n_changed = 0;
    for (uint32_t i = 0; i < n; i++) {
        flow *f = &m->flows[m->part_flows[i]];
        if (fabs(f->rate - m->old_rates[i]) > CLOSE * f->rate) {
            m->changed[n_changed++] = m->part_flows[i];
        } else {
            f->rate = m->old_rates[i];
        }
    }
    *changed = m->changed;
    return n_changed;
}

double galv_max_min_rate(const galv_max_min *m, uint32_t flow_index)
{
    return m->flows[flow_index].rate;
}

double galv_max_min_load(const galv_max_min *m, uint32_t link_index)
{
    double used = 0;
    for (uint32_t e = m->links[link_index].first; e != NONE; e = m->entries[e].next) {
        used += m->entries[e].use * m->flows[m->entries[e].flow].rate;
    }
    return used / m->links[link_index].capacity;
}
