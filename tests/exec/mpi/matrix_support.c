#include "tests/exec/mpi/matrix_support.h"

#include "base/text.h"
#include "schedule/schedule.h"

#include <stdio.h>
#include <string.h>

/* Source: Steele, Lea, Flood 2014 (SplitMix64). */
static int32_t below(uint64_t *state, int32_t n)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return (int32_t)((x ^ (x >> 31)) % (uint64_t)n);
}

static int32_t divisor_of(uint64_t *state, int32_t n)
{
    int32_t divisors[64];
    int32_t n_divisors = 0;
    for (int32_t i = 1; i <= n; i++) {
        if (n % i == 0) {
            divisors[n_divisors++] = i;
        }
    }
    return divisors[below(state, n_divisors)];
}

static galv_strategy draw_strategy(uint64_t *state, int32_t n_ranks)
{
    galv_strategy s = GALV_STRATEGY_INIT;
    s.tp = divisor_of(state, n_ranks);
    s.cp = divisor_of(state, n_ranks / s.tp);
    s.dp = n_ranks / s.tp / s.cp;
    s.ep = divisor_of(state, n_ranks);
    s.sp = s.tp > 1 ? (galv_sp)below(state, GALV_N_SPS) : GALV_SP_NONE;
    s.zero = below(state, 4);
    s.recompute = (galv_recompute)below(state, GALV_N_RECOMPUTES);
    return s;
}

/* One that can do so many stages and chunks. */
static const char *draw_schedule(uint64_t *state, int32_t pp, int32_t vpp)
{
    const char *able[64];
    int32_t n_able = 0;
    size_t n = 0;
    const galv_schedule *all = galv_schedules(&n);
    for (size_t i = 0; i < n && n_able < 64; i++) {
        if (vpp >= all[i].min_chunks && vpp <= all[i].max_chunks &&
            pp >= all[i].min_stages) {
            able[n_able++] = all[i].name;
        }
    }
    return n_able > 0 ? able[below(state, n_able)] : NULL;
}

static void draw_layers(drawn_plan *plan, uint64_t *state, int32_t n_ranks,
                        int32_t n_blocks)
{
    int32_t n = 1 + below(state, DRAWN_STRATEGIES);
    for (int32_t i = 0; i < n; i++) {
        plan->strategies[i] = draw_strategy(state, n_ranks / plan->uniform.pp);
    }
    for (int32_t i = 0; i < n_blocks + 2; i++) {
        plan->of_layer[i] = below(state, n);
    }
    if (below(state, 2) == 0) { /* tied tables are refused unless the ends are alike */
        plan->of_layer[n_blocks + 1] = plan->of_layer[0];
    }
}

void draw_plan(drawn_plan *plan, uint64_t *state, int32_t n_ranks, int32_t n_blocks)
{
    static const char *const models[] = {"gpt",  "llama", "few",
                                         "tied", "moe",   "shared"};
    static const int32_t batches[] = {4, 6, 8, 12, 16};
    memset(plan, 0, sizeof *plan);
    plan->seed = *state;
    plan->model = models[below(state, sizeof models / sizeof models[0])];
    plan->global_batch_size = batches[below(state, sizeof batches / sizeof batches[0])];
    galv_uniform_plan *u = &plan->uniform;
    u->pp = divisor_of(state, n_ranks);
    u->vpp = 1 + below(state, 3);
    u->micro_batch_size = divisor_of(state, plan->global_batch_size);
    u->overlap =
        (galv_overlap){below(state, 2) > 0, below(state, 2) > 0, below(state, 2) > 0,
                       below(state, 2) > 0, below(state, 2) > 0};
    u->schedule = draw_schedule(state, u->pp, u->vpp);
    draw_layers(plan, state, n_ranks, n_blocks);
    if (below(state, 3) == 0) {
        u->stage_blocks = plan->blocks;
        for (int32_t i = 0; i < n_blocks; i++) {
            plan->blocks[below(state, u->pp * u->vpp)]++;
        }
    }
}

char *drawn_plan_print(char *text, size_t size, const drawn_plan *plan,
                       int32_t n_layers)
{
    static const char *const sps[GALV_N_SPS] = {"", " megatron", " ulysses"};
    static const char *const recomputes[GALV_N_RECOMPUTES] = {"", " selective",
                                                              " full"};
    const galv_uniform_plan *u = &plan->uniform;
    const galv_overlap *o = &u->overlap;
    galv_text t = GALV_TEXT_INIT;
    galv_text_printf(&t, "draw %llu: %s batch %d pp%d vpp%d mb%d %s hides %d%d%d%d%d",
                     (unsigned long long)plan->seed, plan->model,
                     (int)plan->global_batch_size, (int)u->pp, (int)u->vpp,
                     (int)u->micro_batch_size, u->schedule, o->grad_reduce,
                     o->param_gather, o->tp_comm, o->p2p, o->step);
    for (int32_t i = 0; i < DRAWN_STRATEGIES && plan->strategies[i].tp > 0; i++) {
        const galv_strategy *s = &plan->strategies[i];
        galv_text_printf(&t, " [tp%d%s cp%d ep%d dp%d zero%d%s]", (int)s->tp,
                         sps[s->sp], (int)s->cp, (int)s->ep, (int)s->dp, (int)s->zero,
                         recomputes[s->recompute]);
    }
    galv_text_append(&t, " layers ");
    for (int32_t i = 0; i < n_layers; i++) {
        galv_text_printf(&t, "%d", (int)plan->of_layer[i]);
    }
    for (int32_t i = 0; u->stage_blocks != NULL && i < u->pp * u->vpp; i++) {
        galv_text_printf(&t, "%s%d", i == 0 ? " blocks " : ",", (int)plan->blocks[i]);
    }
    snprintf(text, size, "%s", galv_text_string(&t));
    galv_text_release(&t);
    return text;
}
