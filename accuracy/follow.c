/* Seconds of each (rank, kind) are summed as they stand in the timelines, each rank is
 * one of its stage, and a stage has of each kind what its slowest rank computed or its
 * least waiting rank communicated. A factor is the quotient of the sums over the
 * stages. What takes less than a microsecond in either has no factor. Overlap is in
 * both sums: what goes slower beside something else is predicted to, too. */
#include "accuracy/follow.h"

#include "base/words.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_S      1e-6
#define MOST_SLOWER  1e4
#define LEAST_SLOWER 1e-2

typedef struct sums {
    double kind_s[GALV_N_OP_KINDS];
} sums;

static bool is_computation(int kind)
{
    return kind == GALV_OP_FORWARD || kind == GALV_OP_BACKWARD ||
           kind == GALV_OP_BACKWARD_INPUT || kind == GALV_OP_BACKWARD_WEIGHT ||
           kind == GALV_OP_RECOMPUTE || kind == GALV_OP_OPTIMIZER;
}

/* One pass over the ranks: what of each stage counts, added up. */
static galv_status sum_up(sums *total, const galv_timeline *t, galv_err *err)
{
    int32_t n = 1;
    for (size_t i = 0; i < t->n_spans; i++) {
        n = t->spans[i].rank >= n ? t->spans[i].rank + 1 : n;
        n = t->spans[i].stage >= n ? t->spans[i].stage + 1 : n;
    }
    sums *ranks = calloc((size_t)n, sizeof *ranks);
    sums *stages = calloc((size_t)n, sizeof *stages);
    int32_t *stage_of = calloc((size_t)n, sizeof *stage_of);
    bool *here = calloc((size_t)n, sizeof *here);
    bool *met = calloc((size_t)n, sizeof *met);
    memset(total, 0, sizeof *total);
    if (ranks == NULL || stages == NULL || stage_of == NULL || here == NULL ||
        met == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory to compare timelines");
        n = 0;
    }
    for (size_t i = 0; n > 0 && i < t->n_spans; i++) {
        const galv_span *span = &t->spans[i];
        ranks[span->rank].kind_s[span->kind] += span->end_s - span->start_s;
        stage_of[span->rank] = span->stage >= 0 ? span->stage : 0;
        here[span->rank] = true;
    }
    for (int32_t rank = 0; rank < n; rank++) {
        sums *stage = &stages[stage_of[rank]];
        for (int kind = 0; here[rank] && kind < GALV_N_OP_KINDS; kind++) {
            double s = ranks[rank].kind_s[kind];
            bool first = !met[stage_of[rank]];
            stage->kind_s[kind] = first                  ? s
                                  : is_computation(kind) ? fmax(stage->kind_s[kind], s)
                                                         : fmin(stage->kind_s[kind], s);
        }
        met[stage_of[rank]] = met[stage_of[rank]] || here[rank];
    }
    for (int32_t stage = 0; stage < n; stage++) {
        for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
            total->kind_s[kind] += stages[stage].kind_s[kind];
        }
    }
    free(ranks);
    free(stages);
    free(stage_of);
    free(here);
    free(met);
    return err->status;
}

static double quotient(double measured_s, double predicted_s, double otherwise)
{
    return measured_s < LEAST_S || predicted_s < LEAST_S
               ? otherwise
               : fmin(fmax(measured_s / predicted_s, LEAST_SLOWER), MOST_SLOWER);
}

galv_status galv_follow_timelines(galv_followed *followed,
                                  const galv_timeline *measured,
                                  const galv_timeline *predicted, galv_err *err)
{
    sums there, here;
    double sides[2][2] = {{0, 0}, {0, 0}}; /* [computes][predicted] */
    if (sum_up(&there, measured, err) != GALV_OK ||
        sum_up(&here, predicted, err) != GALV_OK) {
        return err->status;
    }
    for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
        bool both = there.kind_s[kind] > LEAST_S && here.kind_s[kind] > LEAST_S;
        if (both) {
            sides[is_computation(kind)][0] += there.kind_s[kind];
            sides[is_computation(kind)][1] += here.kind_s[kind];
        }
    }
    followed->communication = quotient(sides[0][0], sides[0][1], 1);
    followed->computation = quotient(sides[1][0], sides[1][1], 1);
    for (int kind = 0; kind < GALV_N_OP_KINDS; kind++) {
        followed->kind[kind] = quotient(there.kind_s[kind], here.kind_s[kind],
                                        is_computation(kind) ? followed->computation
                                                             : followed->communication);
    }
    return GALV_OK;
}

void galv_follow_profile(galv_profile *profile, const galv_followed *followed)
{
    for (size_t i = 0; i < profile->n_rows; i++) {
        galv_profile_row *row = &profile->rows[i];
        int kind = -1;
        if (row->kind == GALV_PROFILE_COMPUTE) {
            kind = row->phase;
        } else if (row->kind == GALV_PROFILE_COLLECTIVE) {
            kind = strcmp(row->op, "send_recv") == 0
                       ? GALV_OP_SEND
                       : galv_word_index(galv_op_kind_names, GALV_N_OP_KINDS, row->op);
        }
        if (kind >= 0 && kind < GALV_N_OP_KINDS) {
            row->time_s *= followed->kind[kind];
            row->stddev_s *= followed->kind[kind];
        }
    }
}
