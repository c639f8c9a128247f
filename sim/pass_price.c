/* Longest paths with rows that repeat.
 *
 * A row is a function from when what is before it ends to when its own operations end,
 * made of "the latest of" and "plus": given everything later by d, everything ends
 * later by d. So once one row has moved every end, and every queue, by the same d, all
 * rows after it do, and are skipped. Until then they are gone through one by one: a
 * gather that takes a little longer than the computation that hides it may overtake it
 * late. Where ends are 1e15 roundings apart they count as the same. */
#include "sim/prices_internal.h"

#include <math.h>
#include <string.h>

#define ROUNDING 4e-16

typedef struct path {
    const galv_pass_ops *ops;
    const double *work_s;
    double *end_s;
    double queue_end_s[GALV_N_STREAMS]; /* < 0: empty */
    double longest_s;
} path;

/* A gather on the dp stream may have run long before the pass began, so no path begins
 * with one. */
static void go(path *p, int32_t first, int32_t end)
{
    const galv_pass_ops *ops = p->ops;
    for (int32_t i = first; i < end; i++) {
        int stream = ops->ops[i].stream;
        const int32_t waits[2] = {ops->waits_for[i], ops->also_waits_for[i]};
        double start = p->queue_end_s[stream];
        for (int k = 0; k < 2; k++) {
            if (waits[k] >= 0 && p->end_s[waits[k]] > start) {
                start = p->end_s[waits[k]];
            }
        }
        if (start < 0 && stream != GALV_STREAM_DP) {
            start = 0;
        }
        p->end_s[i] = start < 0 ? -1 : start + p->work_s[i];
        p->queue_end_s[stream] = p->end_s[i];
        if (stream != GALV_STREAM_DP && p->end_s[i] > p->longest_s) {
            p->longest_s = p->end_s[i];
        }
    }
}

/* By how much all ends of a row are later than those of the row before it, which stand
 * before them; negative: not all by the same. */
static double moved_by(const path *p, const galv_pass_repeat *row)
{
    const double *now = &p->end_s[row->first_op];
    const double *before = now - row->n_ops;
    double by = now[0] - before[0];
    for (int32_t i = 0; i < row->n_ops; i++) {
        bool same =
            before[i] >= 0 && fabs(now[i] - before[i] - by) <= ROUNDING * now[i];
        if (!same) {
            return -1;
        }
    }
    return by;
}

/* Makes everything of a row later by so much. */
static void move(path *p, const galv_pass_repeat *row, double by)
{
    uint32_t seen = 0;
    for (int32_t i = row->first_op; i < row->first_op + row->n_ops; i++) {
        int stream = p->ops->ops[i].stream;
        p->end_s[i] += by;
        p->end_s[i - row->n_ops] += by;
        p->queue_end_s[stream] += (seen >> stream & 1U) != 0 ? 0 : by;
        seen |= 1U << stream;
        if (stream != GALV_STREAM_DP && p->end_s[i] > p->longest_s) {
            p->longest_s = p->end_s[i];
        }
    }
}

static void repeat(path *p, const galv_pass_repeat *row)
{
    double *now = &p->end_s[row->first_op];
    size_t bytes = (size_t)row->n_ops * sizeof *now;
    for (int32_t i = 0; i < row->times; i++) {
        double by = moved_by(p, row);
        if (by >= 0) {
            move(p, row, by * (row->times - i));
            return;
        }
        memcpy(now - row->n_ops, now, bytes);
        go(p, row->first_op, row->first_op + row->n_ops);
    }
}

double galv_pass_latency(double *end_s, const galv_pass_ops *ops, const double *work_s)
{
    path p = {.ops = ops, .work_s = work_s, .end_s = end_s};
    int32_t at = 0;
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        p.queue_end_s[stream] = -1;
    }
    for (int32_t i = 0; i < ops->n_repeats; i++) {
        int32_t end = ops->repeats[i].first_op + ops->repeats[i].n_ops;
        go(&p, at, end);
        repeat(&p, &ops->repeats[i]);
        at = end;
    }
    go(&p, at, ops->n_ops);
    return p.longest_s;
}

/* ---- sums ---- */

/* What hiding an operation takes, if it is a message of parameters; what it can hide,
 * if it is another. */
static void add_hiding(galv_pass_price *price, int stream, const galv_cost *cost,
                       double times)
{
    double comm = cost->comm_slowdown > 1 ? cost->comm_slowdown : 1;
    if (stream == GALV_STREAM_DP && cost->compute_slowdown > 1) {
        double slowing = comm * (1 - 1 / cost->compute_slowdown);
        slowing = slowing * comm < 1 ? slowing : 0;
        price->slowing_s += times * slowing * cost->work_s;
        price->most_slowing = fmax(price->most_slowing, slowing);
    } else if (stream != GALV_STREAM_DP && stream != GALV_STREAM_COMPUTE) {
        price->beside_s += times * comm * cost->work_s;
    }
}

/* How often each op stands in the pass: times[n_ops]. */
static void count_times(double *times, const galv_pass_ops *ops)
{
    for (int32_t i = 0; i < ops->n_ops; i++) {
        times[i] = 1;
    }
    for (int32_t r = 0; r < ops->n_repeats; r++) {
        const galv_pass_repeat *row = &ops->repeats[r];
        for (int32_t i = row->first_op; i < row->first_op + row->n_ops; i++) {
            times[i] += row->times;
        }
    }
}

static galv_status price_ops(galv_pass_price *made, galv_prices *p,
                             const galv_pass_ops *ops, galv_err *err)
{
    size_t n = (size_t)ops->n_ops + 1;
    double *numbers = GALV_NEW_ARRAY(p->arena, double, 3 * n);
    const galv_cost **costs = GALV_NEW_ARRAY(p->arena, const galv_cost *, n);
    bool no_memory = numbers == NULL || costs == NULL;
    double *work_s = numbers;
    double *end_s = numbers + n;
    double *times = numbers + 2 * n;
    for (int32_t i = 0; !no_memory && i < ops->n_ops; i++) {
        costs[i] = galv_prices_get(p, &ops->ops[i]);
        no_memory = costs[i] == NULL;
    }
    if (no_memory) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to price a pass");
    }
    count_times(times, ops);
    for (int32_t i = 0; i < ops->n_ops; i++) {
        work_s[i] = costs[i]->work_s;
        made->load_s[ops->ops[i].stream] += times[i] * work_s[i];
        add_hiding(made, ops->ops[i].stream, costs[i], times[i]);
    }
    made->latency_s = made->bare_s = galv_pass_latency(end_s, ops, work_s);
    if (made->load_s[GALV_STREAM_DP] > 0) {
        for (int32_t i = 0; i < ops->n_ops; i++) {
            work_s[i] = ops->ops[i].stream == GALV_STREAM_DP ? 0 : work_s[i];
        }
        made->bare_s = galv_pass_latency(end_s, ops, work_s);
    }
    galv_pass_memory_add_up(&made->memory, ops, costs);
    return GALV_OK;
}

/* ---- in a table ---- */

/* What changes hands at a border of the chunk; 0 = nothing. */
static uint64_t border_word(const galv_prices *p, int32_t inside, int32_t outside)
{
    const galv_plan *plan = p->plan;
    if (outside < 0 || outside >= plan->n_layers ||
        plan->layer_strategy[inside] == plan->layer_strategy[outside]) {
        return 0;
    }
    uint64_t strategy = p->strategies[plan->layer_strategy[outside]];
    return (uint64_t)(p->group_of[outside] + 1) << 16 | strategy;
}

static bool fill_key(galv_price_key *key, const galv_prices *p, int32_t stage,
                     int32_t chunk, int32_t virtual_stage, int pass)
{
    int32_t first = p->plan->first_layer[virtual_stage];
    int32_t end = p->plan->first_layer[virtual_stage + 1];
    *key = (galv_price_key){.what = (uint64_t)pass + 1, .plan = p->plan_word};
    if (p->placed) {
        key->where = (uint64_t)(uint32_t)(stage + 1) |
                     (uint64_t)(uint32_t)(chunk + 1) << 20 |
                     (uint64_t)(uint32_t)p->plan->pp << 40;
    }
    if (first < end && pass == GALV_PASS_FORWARD) {
        key->around = border_word(p, first, first - 1);
    } else if (first < end && pass != GALV_PASS_BACKWARD_WEIGHT) {
        key->around = border_word(p, end - 1, end) << 32;
    }
    return galv_prices_fill_runs(key, p, first, end);
}

/* A few micro-batches are enough to lay out a pass. */
static galv_plan shorten(const galv_plan *plan)
{
    enum { FEW_ROUNDS = 4 };
    galv_plan few = *plan;
    int64_t m = galv_plan_n_micro_batches(plan);
    int64_t n = FEW_ROUNDS * (int64_t)plan->pp + m % (2 * (int64_t)plan->pp);
    few.global_batch_size = plan->global_batch_size / m * (m < n ? m : n);
    return few;
}

/* Prices a pass and keeps it, in the table where there is a key for it. */
static galv_status price_pass(const galv_pass_price **price, galv_prices *p,
                              const galv_price_key *key, int32_t stage, int32_t chunk,
                              int pass, galv_err *err)
{
    galv_pass_ops ops = {0};
    galv_pass_price made = {0};
    galv_plan few = shorten(p->plan);
    galv_status status = galv_program_pass_short(
        &ops, galv_costmodel_job(p->model), &few, stage, chunk, pass, p->arena, err);
    if (status == GALV_OK) {
        status = price_ops(&made, p, &ops, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (key != NULL) {
        *price = galv_price_table_add_pass(p->table, key, &made);
    } else {
        galv_pass_price *own = GALV_NEW(p->arena, galv_pass_price);
        if (own != NULL) {
            *own = made;
        }
        *price = own;
    }
    return *price != NULL ? GALV_OK
                          : galv_fail(err, GALV_NO_MEMORY, "no memory to price a pass");
}

galv_status galv_prices_pass(const galv_pass_price **price, galv_prices *p,
                             int32_t stage, int32_t chunk, int pass, galv_err *err)
{
    int32_t v = galv_prices_virtual_stage(p, stage, chunk);
    const galv_pass_price **known = &p->passes[4 * p->alike_to[v] + pass];
    galv_status status = GALV_OK;
    if (*known == NULL) {
        galv_price_key key;
        bool keyed = p->table != NULL && fill_key(&key, p, stage, chunk, v, pass);
        *known = keyed ? galv_price_table_find_pass(p->table, &key) : NULL;
        if (*known == NULL) {
            status = price_pass(known, p, keyed ? &key : NULL, stage, chunk, pass, err);
        }
    }
    *price = *known;
    return status;
}
