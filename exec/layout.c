/* Places by arithmetic, communicators by strides.
 *
 * A stage's rank r under (tp, cp, dp) is tp_index + tp * (cp_index + cp * dp_index).
 * Groups are of neighbours at a stride: tp at 1, cp at tp, dense gradients (dp * cp) at
 * tp, or the whole stage under Ulysses, whose weights are whole; expert groups are ep
 * neighbours, and those that hold the same experts are ep apart (Megatron Core).
 *
 * Every rank of a stage makes the communicators of the same strategies in the same
 * order, and of each kind exactly one, so no rank waits for one that another never
 * makes. */
#include "exec/layout.h"

#include <stdlib.h>
#include <string.h>

galv_status galv_place_make(galv_place *place, const galv_job *job,
                            const galv_plan *plan, const galv_strategy *strategy,
                            int32_t stage_rank, galv_err *err)
{
    galv_place p = {0};
    int32_t tp = strategy->tp;
    int32_t cp = strategy->cp;
    int32_t n_samples = plan->micro_batch_size * galv_plan_strategy(plan, 0)->dp;
    p.strategy = *strategy;
    p.stage_rank = stage_rank;
    p.tp_index = stage_rank % tp;
    p.cp_index = stage_rank / tp % cp;
    p.dp_index = stage_rank / tp / cp;
    p.ep_index = stage_rank % strategy->ep;
    p.cuts_weights = tp > 1 && strategy->sp != GALV_SP_ULYSSES;
    p.cuts_rows = tp > 1 && strategy->sp != GALV_SP_NONE;
    p.seq_length =
        job->workload.seq_length > 0 ? job->workload.seq_length : job->model.seq_length;
    p.n_samples = n_samples / strategy->dp;
    p.first_sample = p.dp_index * p.n_samples;
    p.n_positions = p.seq_length / cp;
    p.n_rows = p.n_samples * p.n_positions;
    p.n_own_rows = p.cuts_rows ? p.n_rows / tp : p.n_rows;
    p.first_row = p.cuts_rows ? p.tp_index * p.n_own_rows : 0;
    if (n_samples % strategy->dp != 0 || p.seq_length % (cp > 1 ? 2 * cp : 1) != 0 ||
        (p.cuts_rows && p.n_rows % tp != 0)) {
        return galv_fail(err, GALV_USAGE,
                         "%d samples of %d tokens cannot be dealt out over dp %d, cp "
                         "%d and tp %d",
                         (int)n_samples, (int)p.seq_length, (int)strategy->dp, (int)cp,
                         (int)tp);
    }
    *place = p;
    return GALV_OK;
}

int32_t galv_place_position(const galv_place *place, int32_t cp_index, int32_t i)
{
    int32_t cp = place->strategy.cp;
    if (cp == 1) {
        return i;
    }
    int32_t piece = place->seq_length / (2 * cp);
    return i < piece ? cp_index * piece + i
                     : (2 * cp - 1 - cp_index) * piece + (i - piece);
}

int64_t galv_place_token(const galv_place *place, int32_t row)
{
    int64_t sample = place->first_sample + row / place->n_positions;
    return sample * place->seq_length +
           galv_place_position(place, place->cp_index, row % place->n_positions);
}

int64_t galv_layout_sample(const galv_layout *layout, int32_t mb, int32_t sample)
{
    return (int64_t)mb * layout->micro_batch_samples + sample;
}

/* ---- communicators ---- */

typedef struct maker {
    galv_layout *layout;
    int32_t *ranks; /* [stage_size], scratch */
    bool failed;
} maker;

/* The ranks first, first + stride, ... of the stage; NULL for one rank. */
static galv_comm *make_comm(maker *m, int32_t first, int32_t stride, int32_t n)
{
    if (n <= 1 || m->failed) {
        return NULL;
    }
    int32_t origin = m->layout->stage * m->layout->stage_size;
    for (int32_t i = 0; i < n; i++) {
        m->ranks[i] = origin + first + i * stride;
    }
    galv_comm *comm = m->layout->backend->comm_new(m->layout->backend, m->ranks, n);
    m->failed = comm == NULL;
    return comm;
}

/* The same of this stage and its twin, whose ranks hold the same weights. */
static galv_comm *make_holders(maker *m, int32_t first, int32_t stride, int32_t n)
{
    galv_layout *l = m->layout;
    int32_t low = l->stage < l->twin_stage ? l->stage : l->twin_stage;
    int32_t high = l->stage < l->twin_stage ? l->twin_stage : l->stage;
    if (l->twin_stage < 0 || m->failed) {
        return make_comm(m, first, stride, n);
    }
    for (int32_t i = 0; i < n; i++) {
        m->ranks[i] = low * l->stage_size + first + i * stride;
        m->ranks[n + i] = high * l->stage_size + first + i * stride;
    }
    galv_comm *comm = l->backend->comm_new(l->backend, m->ranks, 2 * n);
    m->failed = comm == NULL;
    return comm;
}

static void make_groups(maker *m, galv_groups *g, int32_t n_key_groups)
{
    const galv_place *p = &g->place;
    const galv_strategy *s = &p->strategy;
    int32_t r = p->stage_rank;
    int32_t size = m->layout->stage_size;
    int32_t row = r - p->tp_index; /* first of the tp group */
    g->tp = make_comm(m, row, 1, s->tp);
    g->cp = make_comm(m, r - p->cp_index * s->tp, s->tp, s->cp);
    g->ep = make_comm(m, r - p->ep_index, 1, s->ep);
    if (p->cuts_weights) {
        g->gradient = make_holders(m, p->tp_index, s->tp, s->cp * s->dp);
        g->copies = make_comm(m, row, 1, s->tp);
        int32_t n_copies =
            n_key_groups > 0 && s->tp > n_key_groups ? s->tp / n_key_groups : 1;
        g->key_copies =
            make_comm(m, row + p->tp_index / n_copies * n_copies, 1, n_copies);
    } else {
        g->gradient = make_holders(m, 0, 1, size);
    }
    g->expert_gradient = make_holders(m, p->ep_index, s->ep, size / s->ep);
}

static galv_status make_positions(galv_layout *layout, galv_groups *g, galv_err *err)
{
    const galv_place *p = &g->place;
    galv_backend *b = layout->backend;
    size_t n = (size_t)p->strategy.cp * (size_t)p->n_positions;
    size_t n_rows = (size_t)p->n_rows;
    int32_t *host = malloc((n > n_rows ? n : n_rows) * sizeof *host);
    g->positions = b->allocate(b, n * sizeof *host);
    g->row_positions = b->allocate(b, n_rows * sizeof *host);
    if (host == NULL || g->positions == NULL || g->row_positions == NULL) {
        free(host);
        return galv_fail(err, GALV_NO_MEMORY, "no memory for positions");
    }
    for (size_t i = 0; i < n; i++) {
        host[i] = galv_place_position(p, (int32_t)(i / (size_t)p->n_positions),
                                      (int32_t)(i % (size_t)p->n_positions));
    }
    b->upload(b, g->positions, host, n, GALV_INT32);
    for (size_t i = 0; i < n_rows; i++) {
        host[i] =
            galv_place_position(p, p->cp_index, (int32_t)(i % (size_t)p->n_positions));
    }
    b->upload(b, g->row_positions, host, n_rows, GALV_INT32);
    free(host);
    return GALV_OK;
}

static galv_status make_all(galv_layout *layout, const bool *uses, int32_t n_key_groups,
                            galv_arena *arena, galv_err *err)
{
    galv_backend *b = layout->backend;
    int32_t most = b->n_ranks > layout->stage_size ? b->n_ranks : layout->stage_size;
    maker m = {layout, GALV_NEW_ARRAY(arena, int32_t, most), false};
    galv_status status = GALV_OK;
    if (m.ranks == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for ranks");
    }
    if (b->n_ranks > 1) {
        for (int32_t i = 0; i < b->n_ranks; i++) {
            m.ranks[i] = i;
        }
        layout->world = b->comm_new(b, m.ranks, b->n_ranks);
        m.failed = layout->world == NULL;
    }
    layout->stage_comm = make_comm(&m, 0, 1, layout->stage_size);
    for (int32_t i = 0; i < layout->plan->n_strategies && status == GALV_OK; i++) {
        galv_groups *g = &layout->groups[i];
        status = galv_place_make(&g->place, layout->job, layout->plan,
                                 &layout->plan->strategies[i], layout->stage_rank, err);
        g->in_use = uses[i];
        if (status == GALV_OK && uses[i]) {
            make_groups(&m, g, n_key_groups);
            status = make_positions(layout, g, err);
        }
    }
    if (status == GALV_OK && m.failed) {
        b->status(b, err);
        status = galv_fail(err, GALV_INTERNAL, "a communicator could not be made");
        status = err->status;
    }
    return status;
}

galv_status galv_layout_init(galv_layout *layout, const galv_job *job,
                             const galv_plan *plan, galv_backend *backend,
                             const bool *uses, int32_t n_key_groups, bool two_way,
                             galv_arena *arena, galv_err *err)
{
    const galv_strategy *first = galv_plan_strategy(plan, 0);
    memset(layout, 0, sizeof *layout);
    layout->job = job;
    layout->plan = plan;
    layout->backend = backend;
    layout->seq_length =
        job->workload.seq_length > 0 ? job->workload.seq_length : job->model.seq_length;
    layout->n_micro_batches = galv_plan_n_micro_batches(plan);
    layout->micro_batch_samples = plan->micro_batch_size * first->dp;
    layout->stage_size = first->tp * first->cp * first->dp;
    layout->stage = backend->rank / layout->stage_size;
    layout->stage_rank = backend->rank % layout->stage_size;
    layout->twin_stage = two_way ? plan->pp - 1 - layout->stage : -1;
    layout->groups = GALV_NEW_ARRAY(arena, galv_groups, plan->n_strategies);
    if (layout->groups == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for strategies");
    }
    galv_status status = make_all(layout, uses, n_key_groups, arena, err);
    if (status != GALV_OK) {
        galv_layout_release(layout);
    }
    return status;
}

static void free_comm(galv_backend *b, galv_comm **comm)
{
    if (*comm != NULL) {
        b->comm_free(b, *comm);
        *comm = NULL;
    }
}

void galv_layout_release(galv_layout *layout)
{
    galv_backend *b = layout->backend;
    if (b == NULL || layout->groups == NULL) {
        return;
    }
    for (int32_t i = 0; i < layout->plan->n_strategies; i++) {
        galv_groups *g = &layout->groups[i];
        galv_comm **comms[] = {&g->tp,
                               &g->cp,
                               &g->ep,
                               &g->gradient,
                               &g->copies,
                               &g->key_copies,
                               &g->expert_gradient};
        for (size_t k = 0; k < sizeof comms / sizeof comms[0]; k++) {
            free_comm(b, comms[k]);
        }
        if (g->positions != NULL) {
            b->release(b, g->positions, GALV_STREAM_COMPUTE);
        }
        if (g->row_positions != NULL) {
            b->release(b, g->row_positions, GALV_STREAM_COMPUTE);
        }
    }
    free_comm(b, &layout->stage_comm);
    free_comm(b, &layout->world);
    layout->groups = NULL;
}
