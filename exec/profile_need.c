/* From programs to rows.
 *
 * A plan is compiled as for a run, and each class of its operations asks for what
 * prices it. A layer is measured whole, whatever parts the program cuts it into, and
 * in the passes that the program has: input and weight gradients by themselves only
 * where they are operations of their own. ZeRO changes no layer's computation; pipeline
 * stages do not, either. Bytes of gradients are those of the parameters that
 * galv_layer_count_parameters counts; what a rank pads is left out. */
#include "exec/profile_need.h"

#include "base/units.h"
#include "exec/profile_rows.h"
#include "schedule/program.h"

#include <stdio.h>
#include <string.h>

galv_status galv_needs_add(galv_needs *needs, const galv_wanted_row *need,
                           galv_err *err)
{
    for (size_t i = 0; i < needs->n; i++) {
        if (galv_row_is_of(&needs->needs[i].row, &need->row)) {
            return GALV_OK;
        }
    }
    if (needs->n == needs->capacity) {
        size_t capacity = needs->capacity == 0 ? 64 : 2 * needs->capacity;
        galv_wanted_row *larger =
            GALV_NEW_ARRAY(needs->arena, galv_wanted_row, capacity);
        if (larger == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "no memory for what to measure");
        }
        if (needs->n > 0) {
            memcpy(larger, needs->needs, needs->n * sizeof *larger);
        }
        needs->needs = larger;
        needs->capacity = capacity;
    }
    needs->needs[needs->n++] = *need;
    return GALV_OK;
}

/* ---- layers ---- */

static void start_row(galv_profile_row *row, const galv_needs *needs,
                      galv_profile_kind kind)
{
    memset(row, 0, sizeof *row);
    row->kind = kind;
    row->precision = -1;
    row->tp = row->cp = 1;
    row->micro_batch_size = 1;
    snprintf(row->device, sizeof row->device, "%s", needs->device);
}

static void shape_row(galv_profile_row *row, const galv_layer_group *g)
{
    bool moe = g->kind == GALV_LAYER_MOE_DECODER;
    snprintf(row->layer, sizeof row->layer, "%s", galv_layer_kind_names[g->kind]);
    row->hidden_size = g->hidden_size;
    row->ffn_hidden_size = moe ? g->moe_ffn_hidden_size : g->ffn_hidden_size;
    row->num_attention_heads = g->num_attention_heads;
    row->num_query_groups = g->num_query_groups;
    row->num_experts = g->num_experts;
    row->moe_router_topk = g->moe_router_topk;
    row->vocab_size = g->vocab_size;
}

static galv_status need_layer(galv_needs *needs, const galv_job *job,
                              const galv_plan *plan, int32_t layer, int phase,
                              galv_err *err)
{
    const galv_layer_group *g = galv_model_layer(&job->model, layer);
    double samples = galv_plan_local_samples(plan, layer);
    galv_wanted_row need = {.strategy = *galv_plan_strategy(plan, layer)};
    need.micro_batch_size = (int32_t)samples;
    if (need.micro_batch_size < 1 || samples > need.micro_batch_size) {
        return galv_fail(err, GALV_USAGE,
                         "layer %d has %g samples of a micro-batch on a rank, which "
                         "cannot be run",
                         (int)layer, samples);
    }
    need.strategy.dp = 1;
    need.strategy.zero = 0;
    start_row(&need.row, needs, GALV_PROFILE_COMPUTE);
    shape_row(&need.row, g);
    need.row.precision = needs->precision;
    need.row.phase = phase;
    need.row.seq_length =
        job->workload.seq_length > 0 ? job->workload.seq_length : job->model.seq_length;
    need.row.micro_batch_size = samples;
    need.row.tp = need.strategy.tp;
    need.row.cp = need.strategy.cp;
    need.row.sp = (int)need.strategy.sp;
    bool selective = need.strategy.recompute == GALV_RECOMPUTE_SELECTIVE &&
                     (phase == GALV_OP_BACKWARD || phase == GALV_OP_BACKWARD_INPUT);
    need.row.recompute = selective ? GALV_RECOMPUTE_SELECTIVE : GALV_RECOMPUTE_NONE;
    galv_status status = galv_needs_add(needs, &need, err);
    bool block = g->kind != GALV_LAYER_EMBEDDING && g->kind != GALV_LAYER_HEAD;
    if (status == GALV_OK && phase == GALV_OP_FORWARD && block) {
        need.row.kind = GALV_PROFILE_MEMORY;
        need.row.phase = 0;
        need.row.recompute = (int)need.strategy.recompute;
        status = galv_needs_add(needs, &need, err);
    }
    return status;
}

static galv_status need_layers(galv_needs *needs, const galv_job *job,
                               const galv_plan *plan, const galv_operation *o,
                               galv_err *err)
{
    galv_status status = GALV_OK;
    for (int32_t i = 0; i < o->n_layers && status == GALV_OK; i++) {
        const galv_strategy *s = galv_plan_strategy(plan, o->first_layer + i);
        if (o->kind == GALV_OP_RECOMPUTE && s->recompute != GALV_RECOMPUTE_FULL) {
            continue;
        }
        status = need_layer(needs, job, plan, o->first_layer + i, o->kind, err);
    }
    return status;
}

/* ---- messages ---- */

static double element_bytes(const galv_needs *needs)
{
    return galv_precision_bytes((galv_precision)needs->precision);
}

static galv_status need_message(galv_needs *needs, const char *op, int32_t ranks,
                                double bytes, galv_err *err)
{
    galv_wanted_row need = {.strategy = GALV_STRATEGY_INIT};
    if (ranks <= 1 || !(bytes >= 1)) {
        return GALV_OK;
    }
    start_row(&need.row, needs, GALV_PROFILE_COLLECTIVE);
    snprintf(need.row.op, sizeof need.row.op, "%s", op);
    need.row.ranks = ranks;
    need.row.message_bytes = bytes;
    return galv_needs_add(needs, &need, err);
}

/* Tokens of a micro-batch that a rank works on, before sequence parallelism. */
static double tokens_of(const galv_job *job, const galv_plan *plan, int32_t layer)
{
    const galv_strategy *s = galv_plan_strategy(plan, layer);
    double seq =
        job->workload.seq_length > 0 ? job->workload.seq_length : job->model.seq_length;
    return galv_plan_local_samples(plan, layer) * seq / s->cp /
           (s->sp == GALV_SP_ULYSSES ? s->tp : 1);
}

static galv_status need_layer_message(galv_needs *needs, const galv_job *job,
                                      const galv_plan *plan, const galv_operation *o,
                                      galv_err *err)
{
    const galv_strategy *s = galv_plan_strategy(plan, o->first_layer);
    const galv_layer_group *g = galv_model_layer(&job->model, o->first_layer);
    double tokens = tokens_of(job, plan, o->first_layer);
    double element = element_bytes(needs);
    bool backward = o->pass == GALV_OP_BACKWARD || o->pass == GALV_OP_BACKWARD_INPUT;
    double cut = s->sp == GALV_SP_ULYSSES ? 1 : s->tp;
    double groups = g->num_query_groups > cut ? g->num_query_groups / cut : 1;
    double heads = (double)g->num_attention_heads + g->num_query_groups;
    switch (o->stream) {
    case GALV_STREAM_CP: /* keys and values, each step; and their gradients */
        return need_message(
            needs, "send_recv", s->cp > 1 ? 2 : 1,
            (backward ? 2 : 1) * element * tokens * 2 * groups * g->kv_channels, err);
    case GALV_STREAM_EP:
        return need_message(needs, galv_op_kind_names[o->kind], s->ep,
                            element * g->moe_router_topk * tokens / s->tp *
                                (s->sp == GALV_SP_ULYSSES ? s->tp : 1) * g->hidden_size,
                            err);
    default:
        break;
    }
    double bytes = o->kind == GALV_OP_ALL_TO_ALL
                       ? element * tokens * heads * g->kv_channels
                       : element * tokens * g->hidden_size;
    return need_message(needs, galv_op_kind_names[o->kind], s->tp, bytes, err);
}

/* Parameters of layers that a rank holds, dense or experts. */
static double parameters_of(const galv_job *job, const galv_plan *plan,
                            const galv_operation *o, bool experts)
{
    double sum = 0;
    for (int32_t i = 0; i < o->n_layers; i++) {
        const galv_strategy *s = galv_plan_strategy(plan, o->first_layer + i);
        galv_layer_parameters p = galv_layer_count_parameters(
            &job->model, galv_model_layer(&job->model, o->first_layer + i));
        double cut = s->sp == GALV_SP_ULYSSES ? 1 : s->tp;
        sum += experts ? p.experts / s->ep : p.dense / cut;
    }
    return sum;
}

static galv_status need_parameter_message(galv_needs *needs, const galv_job *job,
                                          const galv_plan *plan,
                                          const galv_operation *o, galv_err *err)
{
    const galv_strategy *s = galv_plan_strategy(plan, o->first_layer);
    const char *op = galv_op_kind_names[o->kind];
    double element = o->kind == GALV_OP_ALL_GATHER ? element_bytes(needs) : 4;
    if (o->part == GALV_PART_TIED) {
        galv_operation table = *o;
        table.first_layer = 0;
        table.n_layers = 1;
        return need_message(needs, op, 2,
                            element * parameters_of(job, plan, &table, false), err);
    }
    galv_status status = GALV_OK;
    if (o->part != GALV_PART_EXPERTS) {
        status = need_message(needs, op, galv_strategy_gradient_ranks(s),
                              element * parameters_of(job, plan, o, false), err);
    }
    if (status == GALV_OK && o->part != GALV_PART_DENSE) {
        status = need_message(needs, op, galv_strategy_expert_gradient_ranks(s),
                              element * parameters_of(job, plan, o, true), err);
    }
    return status;
}

static galv_status need_send(galv_needs *needs, const galv_job *job,
                             const galv_plan *plan, const galv_operation *o,
                             galv_err *err)
{
    int32_t layer = o->first_layer;
    if (o->pass == GALV_OP_FORWARD && o->n_layers > 1) {
        layer += o->n_layers - 1;
    }
    const galv_strategy *s = galv_plan_strategy(plan, layer);
    double own = s->sp == GALV_SP_MEGATRON ? s->tp : 1;
    return need_message(needs, "send_recv", 2,
                        element_bytes(needs) * tokens_of(job, plan, layer) / own *
                            galv_model_layer(&job->model, layer)->hidden_size,
                        err);
}

galv_status galv_needs_of_plan(galv_needs *needs, const galv_job *job,
                               const galv_plan *plan, galv_err *err)
{
    galv_program *program = NULL;
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a program");
    }
    galv_status status = galv_program_compile(&program, job, plan, arena, err);
    for (uint32_t i = 0; status == GALV_OK && i < program->n_classes; i++) {
        const galv_operation *o = &program->classes[i];
        if (o->stream == GALV_STREAM_COMPUTE) {
            status = need_layers(needs, job, plan, o, err);
        } else if (o->kind == GALV_OP_SEND) {
            status = need_send(needs, job, plan, o, err);
        } else if (o->stream == GALV_STREAM_DP) {
            status = need_parameter_message(needs, job, plan, o, err);
        } else if (o->kind != GALV_OP_RECV) {
            status = need_layer_message(needs, job, plan, o, err);
        }
    }
    galv_arena_free(arena);
    return status;
}

galv_status galv_needs_of_collectives(galv_needs *needs, int32_t n_ranks,
                                      double most_bytes, galv_err *err)
{
    static const char *const ops[] = {"all_reduce", "all_gather", "reduce_scatter",
                                      "all_to_all", "broadcast",  "send_recv"};
    galv_status status = GALV_OK;
    int32_t ranks = 2;
    while (ranks <= n_ranks && status == GALV_OK) {
        for (size_t op = 0; op < sizeof ops / sizeof ops[0]; op++) {
            bool pair = strcmp(ops[op], "send_recv") == 0;
            for (double bytes = 1024; bytes <= most_bytes && status == GALV_OK;
                 bytes *= 4) {
                status = pair && ranks > 2
                             ? GALV_OK
                             : need_message(needs, ops[op], ranks, bytes, err);
            }
        }
        ranks = ranks < n_ranks && 2 * ranks > n_ranks ? n_ranks : 2 * ranks;
    }
    return status;
}

char *galv_wanted_row_print(char *buffer, size_t size, const galv_wanted_row *need)
{
    char bytes[32];
    const galv_profile_row *row = &need->row;
    if (row->kind == GALV_PROFILE_COLLECTIVE) {
        snprintf(buffer, size, "%s of %d ranks, %s", row->op, (int)row->ranks,
                 galv_print_bytes(bytes, sizeof bytes, row->message_bytes));
    } else if (row->kind == GALV_PROFILE_MEMORY) {
        snprintf(buffer, size, "%s memory, tp %d", row->layer, (int)row->tp);
    } else {
        snprintf(buffer, size, "%s %s, tp %d", row->layer,
                 galv_op_kind_names[row->phase], (int)row->tp);
    }
    return buffer;
}
