/* Galvatron's closed forms for one layer and for embedding and head.
 *
 * They follow the published engine operation by operation, so that sums agree to the
 * last digits and roundings up to whole MiB fall the same way. What the engine assumes:
 * every layer is alike; backward takes twice as long as forward; collectives of tensor
 * parallelism and messages between stages hide behind nothing, reductions of gradients
 * behind backward, both slowed by one factor; a link is never shared by two of them.
 * What it leaves out: the optimizer's step, context and expert parallelism, the time of
 * resharding, the working set of a recomputed layer. The header gives the formulas and
 * marks what is odd; nothing is put right here, that is the business of our own model.
 */
#include "costmodel/galvatron_model.h"

#include <math.h>
#include <string.h>

#define MIB            1048576.0
#define BACKWARD       2     /* times forward */
#define SHARD_OVERHEAD 0.003 /* of ZeRO, whatever the number of ranks */
#define STATES         4     /* model states by fp32 parameters: 16 bytes of 4 */

/* A strategy in Galvatron's words. */
typedef struct shape {
    int32_t k, t, u, d;
    int64_t sharers; /* D = d u */
    int32_t zero;    /* 0, 2, 3; 0 with d = 1 */
    bool recompute;
    double samples; /* b */
    double message_mib;
} shape;

static double element_bytes(const galv_galvatron_inputs *inputs)
{
    return inputs->fp32 ? 4 : 2;
}

/* With one rank of dp nothing is sharded. */
static int32_t zero_of(const galv_strategy *strategy)
{
    return strategy->dp > 1 ? strategy->zero : 0;
}

static shape shape_of(const galv_galvatron_inputs *inputs,
                      const galv_galvatron_task *task, const galv_strategy *strategy)
{
    shape s = {.k = strategy->tp, .d = strategy->dp};
    bool ulysses = strategy->sp == GALV_SP_ULYSSES;
    s.t = ulysses ? 1 : s.k;
    s.u = ulysses ? s.k : 1;
    s.sharers = (int64_t)s.d * s.u;
    s.zero = zero_of(strategy);
    s.recompute = strategy->recompute == GALV_RECOMPUTE_FULL;
    s.samples = (double)(task->global_batch_size / task->n_micro_batches / s.d);
    s.message_mib = s.samples * inputs->seq_length * inputs->hidden_size *
                    element_bytes(inputs) / MIB;
    return s;
}

/* ---- looking up ---- */

static galv_status not_covered(const char *what, int64_t degree, galv_err *err)
{
    galv_fail(err, GALV_INPUT, "Galvatron's profiles have no %s %lld", what,
              (long long)degree);
    galv_hint(err, "profile it, or leave strategies that need it out");
    return GALV_INPUT;
}

static galv_status at_degree(double *value, const galv_galvatron_by_degree *table,
                             int64_t degree, const char *what, galv_err *err)
{
    return degree <= INT32_MAX &&
                   galv_galvatron_at_degree(value, table, (int32_t)degree)
               ? GALV_OK
               : not_covered(what, degree, err);
}

/* ms per MiB among ranks; nothing is sent by one. */
static galv_status bandwidth(double *ms_per_mib, const galv_galvatron_inputs *inputs,
                             int64_t n_ranks, bool consecutive, galv_err *err)
{
    *ms_per_mib = 0;
    if (n_ranks == 1) {
        return GALV_OK;
    }
    return consecutive ? at_degree(ms_per_mib, &inputs->consecutive_ms_per_mib, n_ranks,
                                   "all-reduce bandwidth of consecutive ranks:", err)
                       : at_degree(ms_per_mib, &inputs->strided_ms_per_mib, n_ranks,
                                   "all-reduce bandwidth of strided ranks:", err);
}

/* ms of a collective: as measured for a message of exactly that size, else the line. */
static galv_status collective(double *ms, const galv_galvatron_collective *table,
                              int32_t n_ranks, double message_mib, const char *what,
                              galv_err *err)
{
    for (int32_t g = 0; g < table->n; g++) {
        const galv_galvatron_times *group = &table->groups[g];
        if (group->n_ranks != n_ranks) {
            continue;
        }
        for (int32_t i = 0; i < group->n; i++) {
            if (group->message_mib[i] >= message_mib &&
                group->message_mib[i] <= message_mib) {
                *ms = group->time_ms[i];
                return GALV_OK;
            }
        }
        *ms = group->line.slope * message_mib + group->line.constant;
        return GALV_OK;
    }
    return not_covered(what, n_ranks, err);
}

/* ---- what can be costed ---- */

galv_status galv_galvatron_check(const galv_galvatron_inputs *inputs,
                                 const galv_galvatron_task *task,
                                 const galv_strategy *strategy, galv_err *err)
{
    const galv_strategy *s = strategy;
    if (task->pp < 1 || task->n_micro_batches < 1 || task->global_batch_size < 1 ||
        s->tp < 1 || s->dp < 1) {
        return galv_fail(err, GALV_USAGE,
                         "stages, micro-batches, batch and degrees are 1 or more");
    }
    if (s->cp != 1 || s->ep != 1) {
        galv_fail(err, GALV_USAGE, "Galvatron's cost model has no %s %d",
                  s->cp != 1 ? "cp" : "ep", (int)(s->cp != 1 ? s->cp : s->ep));
        galv_hint(err, "nearest: %s 1", s->cp != 1 ? "cp" : "ep");
        return GALV_USAGE;
    }
    if (s->zero != 0 && s->zero != 2 && s->zero != 3) {
        galv_fail(err, GALV_USAGE, "Galvatron's cost model has no ZeRO-%d",
                  (int)s->zero);
        galv_hint(err, "nearest: zero 0 or zero 2");
        return GALV_USAGE;
    }
    if (s->recompute == GALV_RECOMPUTE_SELECTIVE) {
        galv_fail(err, GALV_USAGE, "Galvatron has no selective recomputation");
        galv_hint(err, "nearest: recompute none or full");
        return GALV_USAGE;
    }
    bool megatron = s->sp == GALV_SP_MEGATRON;
    if (s->tp > 1 && s->sp != GALV_SP_ULYSSES &&
        megatron != inputs->sequence_parallel) {
        galv_fail(err, GALV_USAGE,
                  "tp %d with sp %s: Galvatron's inputs were read %s sequence "
                  "parallelism",
                  (int)s->tp, galv_sp_names[s->sp],
                  inputs->sequence_parallel ? "with" : "without");
        galv_hint(err, "nearest: sp %s",
                  inputs->sequence_parallel ? "megatron" : "none");
        return GALV_USAGE;
    }
    if ((double)s->tp * s->dp * task->pp > inputs->n_devices ||
        (int64_t)s->tp * s->dp * task->pp != inputs->n_devices) {
        return galv_fail(err, GALV_USAGE, "tp %d * dp %d * pp %d is not %d devices",
                         (int)s->tp, (int)s->dp, (int)task->pp, (int)inputs->n_devices);
    }
    if (task->global_batch_size / task->n_micro_batches / s->dp < 1) {
        return galv_fail(err, GALV_USAGE,
                         "batch %lld in %d micro-batches leaves dp %d without a sample",
                         (long long)task->global_batch_size, (int)task->n_micro_batches,
                         (int)s->dp);
    }
    return GALV_OK;
}

/* ---- memory ---- */

/* Share of the model states that a rank holds. */
static double states_share(const galv_galvatron_inputs *inputs,
                           const galv_galvatron_task *task, const shape *s)
{
    if (s->zero == 0) {
        return 1;
    }
    double shard = 1 / (double)s->sharers + SHARD_OVERHEAD;
    bool once = task->n_micro_batches == 1;
    bool late = inputs->async_grad_reduce; /* whole gradients until the last one */
    if (s->zero == 3) {
        return once           ? shard
               : !late        ? shard * 5 / 4
               : inputs->fp32 ? 3.0 / 4 * shard + 1.0 / 4
                              : 7.0 / 8 * shard + 1.0 / 8;
    }
    if (inputs->fp32) {
        return !once && late ? 2.0 / 4 * shard + 2.0 / 4 : 3.0 / 4 * shard + 1.0 / 4;
    }
    double kept = 7.0 / 8 * shard + 1.0 / 8;
    return once ? kept : late ? 6.0 / 8 * shard + 2.0 / 8 : kept * 5 / 4;
}

int32_t galv_galvatron_in_flight(const galv_galvatron_task *task, int32_t stage)
{
    if (task->pp == 1) {
        return 1;
    }
    return task->gpipe ? task->n_micro_batches : task->pp - stage;
}

double galv_galvatron_buffer_mib(const galv_galvatron_inputs *inputs,
                                 const galv_galvatron_task *task, int32_t tp)
{
    if (tp < 1 || !inputs->sequence_parallel) {
        return 0;
    }
    int32_t replicas = inputs->n_devices / task->pp / tp;
    double samples = (double)task->global_batch_size / task->n_micro_batches /
                     (replicas > 0 ? replicas : 1);
    return samples * inputs->hidden_size * inputs->seq_length * 4 / MIB / 2;
}

double galv_galvatron_reserve_mib(double budget_mib)
{
    return floor(budget_mib / 1024) > 20 ? floor(budget_mib * 0.2) : 0;
}

/* ---- one layer ---- */

static galv_status layer_memory(galv_galvatron_part *cost,
                                const galv_galvatron_inputs *inputs,
                                const galv_galvatron_task *task, const shape *s,
                                galv_err *err)
{
    cost->states_mib =
        STATES * inputs->parameter_mib / s->t * states_share(inputs, task, s);
    if (s->recompute) {
        bool split = s->u > 1 || (s->t > 1 && inputs->sequence_parallel);
        cost->activation_mib = inputs->checkpoint_mib * s->samples / (split ? s->k : 1);
        return GALV_OK;
    }
    double one = 0;
    galv_status status =
        at_degree(&one, &inputs->activation_mib, s->k, "activations of degree", err);
    cost->activation_mib = one * s->samples;
    return status;
}

/* ms of backward with a reduction of `mib` beside it, each slowing the other. */
static double overlapped(const galv_galvatron_inputs *inputs, double mib,
                         double ms_per_mib, double backward_ms)
{
    double slow = ms_per_mib * inputs->overlap;
    double reduce_ms = mib * slow;
    double stretched = backward_ms * inputs->overlap;
    if (reduce_ms > stretched) {
        return stretched + (mib - stretched / slow) * ms_per_mib;
    }
    return reduce_ms + (backward_ms - reduce_ms / inputs->overlap);
}

/* ms of the collectives inside a layer. */
static galv_status inside_layer(double *ms, const galv_galvatron_inputs *inputs,
                                const shape *s, galv_err *err)
{
    double one = 0;
    double again = s->recompute ? 1.5 : 1;
    galv_status status = GALV_OK;
    if (s->t > 1) {
        status = collective(&one, &inputs->all_gather, s->t, s->message_mib,
                            "all-reduce times of ranks:", err);
        *ms = 6 * again * one;
    } else if (s->u > 1) {
        status = collective(&one, &inputs->all_to_all, s->u, s->message_mib,
                            "all-to-all times of ranks:", err);
        *ms = 4 * again * one;
    } else {
        *ms = 0;
    }
    return status;
}

/* ms of a layer's share of the messages between stages. */
static galv_status between_stages(double *ms, const galv_galvatron_inputs *inputs,
                                  const galv_galvatron_task *task, const shape *s,
                                  galv_err *err)
{
    *ms = 0;
    if (task->pp == 1) {
        return GALV_OK;
    }
    double ms_per_mib = 0;
    galv_status status = at_degree(&ms_per_mib, &inputs->p2p_ms_per_mib, task->pp,
                                   "p2p bandwidth of stages:", err);
    *ms = task->pp * 2 * s->message_mib * ms_per_mib / inputs->n_layers;
    return status;
}

static galv_status layer_time(galv_galvatron_part *cost,
                              const galv_galvatron_inputs *inputs,
                              const galv_galvatron_task *task, const shape *s,
                              galv_err *err)
{
    double forward =
        inputs->layer_ms.slope * (s->samples / s->k) + inputs->layer_ms.constant;
    double backward = BACKWARD * forward + (s->recompute ? forward : 0);
    double sharers = (double)s->sharers;
    double mib = 2 * (sharers - 1) / sharers * (inputs->parameter_mib / s->t) *
                 (inputs->fp32 ? 1 : 0.5);
    double ms_per_mib = 0, inside = 0, p2p = 0;
    galv_status status = bandwidth(&ms_per_mib, inputs, s->sharers, s->t == 1, err);
    if (status == GALV_OK) {
        status = inside_layer(&inside, inputs, s, err);
    }
    if (status == GALV_OK) {
        status = between_stages(&p2p, inputs, task, s, err);
    }
    double gather = s->zero == 3 ? 0.5 * mib * ms_per_mib : 0;
    double sync = s->d > 1 ? overlapped(inputs, mib, ms_per_mib, backward) : backward;
    cost->sync_s = (forward + sync + inside + gather + p2p) * 1e-3;
    cost->no_sync_s = (forward + backward + inside + gather + p2p) * 1e-3;
    return status;
}

galv_status galv_galvatron_layer_cost(galv_galvatron_part *cost,
                                      const galv_galvatron_inputs *inputs,
                                      const galv_galvatron_task *task,
                                      const galv_strategy *strategy, galv_err *err)
{
    galv_galvatron_part found = {0};
    shape s = shape_of(inputs, task, strategy);
    galv_status status = layer_memory(&found, inputs, task, &s, err);
    if (status == GALV_OK) {
        status = layer_time(&found, inputs, task, &s, err);
    }
    if (status == GALV_OK) {
        *cost = found;
    }
    return status;
}

/* ---- embedding and head ---- */

/* The longer of communication and slowed computation, less what overlaps. */
static double over(double communication, double computation, double slowdown)
{
    return computation > communication
               ? communication + (computation - communication) / slowdown
               : communication;
}

static galv_status one_end(galv_galvatron_part *cost,
                           const galv_galvatron_inputs *inputs,
                           const galv_galvatron_task *task, const shape *s,
                           galv_galvatron_place place, galv_err *err)
{
    double states = 0, activation = 0, ms_per_mib = 0, gather = 0;
    galv_status status = at_degree(&states, &inputs->ends[place].states_mib, s->t,
                                   "embedding and head of tp", err);
    if (status == GALV_OK) {
        status = at_degree(&activation, &inputs->ends[place].activation_mib, s->k,
                           "activations of embedding and head of degree", err);
    }
    if (status == GALV_OK) {
        status = bandwidth(&ms_per_mib, inputs, s->sharers, s->t == 1, err);
    }
    if (status == GALV_OK && s->t > 1) {
        status = collective(&gather, &inputs->all_gather, s->t, s->message_mib,
                            "all-reduce times of ranks:", err);
    }
    if (status != GALV_OK) {
        return status;
    }
    bool both = place == GALV_GALVATRON_WHOLE;
    double forward =
        inputs->ends_ms.slope * (s->samples / s->k) + inputs->ends_ms.constant;
    forward = both ? forward : forward / 2;
    double sharers = (double)s->sharers;
    double reduce =
        states / 4 * (inputs->fp32 ? 1 : 0.5) * (ms_per_mib * (sharers - 1) / sharers);
    double gathered = s->zero == 3 ? 0.5 * reduce : 0;
    double reduced = s->zero == 3 ? reduce : 0.5 * reduce;
    double o = inputs->overlap;
    double begin = over(gathered, forward * o, o);
    double end = BACKWARD * forward * o;
    double ends = gather * (both ? 2 : 1);
    cost->sync_s = (begin + over(reduced, end, o) + ends) * 1e-3;
    cost->no_sync_s = (begin + over(reduced - 0.5 * reduce, end, o) + ends) * 1e-3;
    cost->states_mib = states * states_share(inputs, task, s);
    cost->activation_mib = activation * s->samples;
    return GALV_OK;
}

galv_status galv_galvatron_ends_cost(galv_galvatron_part cost[2],
                                     const galv_galvatron_inputs *inputs,
                                     const galv_galvatron_task *task,
                                     const galv_strategy *strategy, galv_err *err)
{
    galv_galvatron_part found[2];
    memset(found, 0, sizeof found);
    shape s = shape_of(inputs, task, strategy);
    galv_status status =
        one_end(&found[0], inputs, task, &s,
                task->pp == 1 ? GALV_GALVATRON_WHOLE : GALV_GALVATRON_FIRST, err);
    if (status == GALV_OK && task->pp > 1) {
        status = one_end(&found[1], inputs, task, &s, GALV_GALVATRON_LAST, err);
    }
    if (status == GALV_OK) {
        cost[0] = found[0];
        cost[1] = found[1];
    }
    return status;
}

/* ---- between layers ---- */

/* What breaks ties between strategies of one degree. */
static double preference(const galv_strategy *from, const galv_strategy *to)
{
    if (from->dp != to->dp || from->tp != to->tp) {
        return 0;
    }
    bool same_zero = zero_of(from) == zero_of(to);
    bool again = to->recompute == GALV_RECOMPUTE_FULL;
    bool same_recompute = from->recompute == to->recompute;
    bool sharded = zero_of(to) == 3;
    if (to->tp > 1 && (from->sp == GALV_SP_ULYSSES) != (to->sp == GALV_SP_ULYSSES)) {
        return same_zero && same_recompute && to->sp == GALV_SP_ULYSSES ? 1e-10 : 0;
    }
    if (same_zero && same_recompute) {
        return 0;
    }
    if (sharded && again) {
        return 3e-9;
    }
    if (!same_zero && !same_recompute) {
        return zero_of(from) == 3 && again ? 1e-9 : 0;
    }
    if (!same_zero) {
        return sharded ? 1e-9 : 0;
    }
    return again ? 2e-9 : 0;
}

galv_status galv_galvatron_switch_cost(double *cost_s,
                                       const galv_galvatron_inputs *inputs,
                                       const galv_galvatron_task *task,
                                       const galv_strategy *from,
                                       const galv_strategy *to, galv_err *err)
{
    if (from->tp == to->tp || !inputs->sequence_parallel) {
        *cost_s = preference(from, to);
        return GALV_OK;
    }
    int32_t larger = from->tp > to->tp ? from->tp : to->tp;
    double ms_per_mib = 0;
    galv_status status = bandwidth(&ms_per_mib, inputs, larger, true, err);
    if (status != GALV_OK) {
        return status;
    }
    double samples = (double)task->global_batch_size / task->n_micro_batches /
                     (inputs->n_devices / task->pp / larger);
    double bytes =
        samples * inputs->seq_length * inputs->hidden_size * element_bytes(inputs);
    *cost_s = (double)(larger - 1) / larger * bytes * ms_per_mib * 1e-7;
    return GALV_OK;
}
