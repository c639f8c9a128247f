/* How the model is spread: lists to search within, or one plan by hand.
 *
 * The same options serve both, so that a search can be narrowed step by step until it
 * is one plan. By hand, what is not said is the plainest thing: degrees of 1, data
 * parallelism over the GPUs that are left with the optimizer sharded over it, and
 * sequence parallelism with tensor parallelism, as Megatron-LM users have it. */
#include "cli/choices.h"

#include "cli/output.h"
#include "schedule/schedule.h"
#include "schedule/schedule_file.h"

#include <string.h>

#define MAX_DEGREE 1048576

static galv_status read_schedules(galv_space *space, const galv_cli *cli, galv_err *err)
{
    const char **names = NULL;
    size_t n = 0;
    galv_status status = galv_cli_split(&names, &n, cli, GALV_OPTION_SCHEDULE, err);
    if (status == GALV_OK && n > sizeof space->schedules / sizeof space->schedules[0]) {
        return galv_fail(err, GALV_USAGE, "--schedule: too many names");
    }
    for (size_t i = 0; status == GALV_OK && i < n; i++) {
        const galv_schedule *schedule = NULL;
        if (galv_schedule_file_is(names[i])) {
            galv_fail(err, GALV_USAGE, "a search goes by names, and so does a list");
            galv_hint(err, "an order of one's own: galvatron-sim simulate");
            return galv_cli_blame(cli, GALV_OPTION_SCHEDULE, names[i], err);
        }
        status = galv_schedule_find(&schedule, names[i], err);
        if (status != GALV_OK) {
            galv_hint(err, "`galvatron-sim catalog schedules` lists them");
        }
        if (status == GALV_OK && schedule->order == NULL &&
            schedule->order_all == NULL) {
            galv_fail(err, GALV_USAGE, "its order comes from a file, named here");
            return galv_cli_blame(cli, GALV_OPTION_SCHEDULE, names[i], err);
        }
        if (status == GALV_OK) {
            space->schedules[i] = schedule->name;
        }
    }
    space->n_schedules = n;
    return status;
}

/* --overlap names all that is hidden, in place of the usual. */
static galv_status read_overlap(galv_overlap *overlap, const galv_cli *cli,
                                galv_err *err)
{
    static const char *const words[] = {"none",    "grad-reduce", "param-gather",
                                        "tp-comm", "p2p",         "step"};
    enum { N_WORDS = sizeof words / sizeof words[0] };
    int64_t values[GALV_MAX_CHOICES];
    size_t n = 0;
    galv_status status = galv_cli_words(values, &n, GALV_MAX_CHOICES, cli,
                                        GALV_OPTION_OVERLAP, words, N_WORDS, err);
    if (status != GALV_OK || n == 0) {
        return status;
    }
    bool named[N_WORDS] = {false};
    for (size_t i = 0; i < n; i++) {
        named[values[i]] = true;
    }
    if (named[0] && n > 1) {
        galv_fail(err, GALV_USAGE, "none stands alone");
        return galv_cli_blame(cli, GALV_OPTION_OVERLAP,
                              galv_cli_value(cli, GALV_OPTION_OVERLAP), err);
    }
    overlap->grad_reduce = named[1];
    overlap->param_gather = named[2];
    overlap->tp_comm = named[3];
    overlap->p2p = named[4];
    overlap->step = named[5];
    return GALV_OK;
}

static galv_status read_rank_order(galv_choices *orders, const galv_cli *cli,
                                   galv_err *err)
{
    static const char *const words[] = {"tp-cp-dp-pp", "tp-cp-pp-dp", "any"};
    galv_status status =
        galv_cli_words(orders->values, &orders->n_values, GALV_MAX_CHOICES, cli,
                       GALV_OPTION_RANK_ORDER, words, 3, err);
    for (size_t i = 0; status == GALV_OK && i < orders->n_values; i++) {
        if (orders->values[i] == GALV_N_RANK_ORDERS) {
            *orders = (galv_choices){
                2, {GALV_RANK_ORDER_DP_INSIDE, GALV_RANK_ORDER_PP_INSIDE}};
        }
    }
    return status;
}

/* All but --schedule. */
static galv_status read_degrees(galv_space *space, const galv_cli *cli, galv_err *err)
{
    static const char *const zeros[] = {"0", "1", "2", "3"};
    *space = (galv_space)GALV_SPACE_INIT;
    struct {
        galv_option_id id;
        galv_choices *choices;
    } const degrees[] = {
        {GALV_OPTION_TP, &space->tp},
        {GALV_OPTION_CP, &space->cp},
        {GALV_OPTION_DP, &space->dp},
        {GALV_OPTION_EP, &space->ep},
        {GALV_OPTION_PP, &space->pp},
        {GALV_OPTION_VPP, &space->vpp},
        {GALV_OPTION_MICRO_BATCH, &space->micro_batch},
    };
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK && i < sizeof degrees / sizeof degrees[0];
         i++) {
        status =
            galv_cli_counts(degrees[i].choices->values, &degrees[i].choices->n_values,
                            GALV_MAX_CHOICES, cli, degrees[i].id, 1, MAX_DEGREE, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_words(space->sp.values, &space->sp.n_values, GALV_MAX_CHOICES,
                                cli, GALV_OPTION_SP, galv_sp_names, GALV_N_SPS, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_words(space->zero.values, &space->zero.n_values,
                                GALV_MAX_CHOICES, cli, GALV_OPTION_ZERO, zeros, 4, err);
    }
    if (status == GALV_OK) {
        status = galv_cli_words(space->recompute.values, &space->recompute.n_values,
                                GALV_MAX_CHOICES, cli, GALV_OPTION_RECOMPUTE,
                                galv_recompute_names, GALV_N_RECOMPUTES, err);
    }
    if (status == GALV_OK) {
        status = read_overlap(&space->overlap, cli, err);
    }
    if (status == GALV_OK) {
        status = read_rank_order(&space->rank_order, cli, err);
    }
    space->layer_wise = galv_cli_given(cli, GALV_OPTION_LAYER_WISE);
    space->internode_tp = galv_cli_given(cli, GALV_OPTION_INTERNODE_TP);
    return status;
}

void galv_space_say(const galv_space *space, const galv_cli *cli)
{
    if (!space->layer_wise) {
        galv_print(cli, "plans of one strategy for all layers; --layer-wise mixes "
                        "them\n");
    }
}

galv_status galv_space_read(galv_space *space, const galv_cli *cli, galv_err *err)
{
    galv_status status = read_degrees(space, cli, err);
    if (status == GALV_OK && space->overlap.step) {
        galv_fail(err, GALV_USAGE, "a search is of plans with a common optimizer step");
        galv_hint(err, "steps that overlap, of one plan: galvatron-sim simulate");
        status = galv_cli_blame(cli, GALV_OPTION_OVERLAP,
                                galv_cli_value(cli, GALV_OPTION_OVERLAP), err);
    }
    return status == GALV_OK ? read_schedules(space, cli, err) : status;
}

/* The one value of a list, or `otherwise` when it was not given. */
static galv_status only(int32_t *value, const galv_choices *choices, int32_t otherwise,
                        galv_option_id id, const galv_cli *cli, galv_err *err)
{
    if (choices->n_values > 1) {
        galv_fail(err, GALV_USAGE, "one plan takes one value");
        galv_hint(err, "to search within a list: galvatron-sim plan");
        return galv_cli_blame(cli, id, galv_cli_value(cli, id), err);
    }
    *value = choices->n_values == 1 ? (int32_t)choices->values[0] : otherwise;
    return GALV_OK;
}

/* `order` is NULL, or says how many stages there are. */
static galv_status read_strategy(galv_uniform_plan *u, const galv_space *space,
                                 const galv_order *order, const galv_cli *cli,
                                 galv_err *err)
{
    int32_t pp = order != NULL ? order->n_stages : 1;
    int32_t vpp = order != NULL ? order->n_chunks : 1;
    const galv_schedule *schedule = NULL;
    galv_err unknown = GALV_ERR_INIT; /* told when the plan is made */
    if (order == NULL && space->n_schedules == 1 &&
        galv_schedule_find(&schedule, space->schedules[0], &unknown) == GALV_OK) {
        vpp = schedule->min_chunks; /* a V cannot do without its two */
    }
    galv_strategy *s = &u->strategy;
    int32_t sp = 0, recompute = 0;
    galv_status status = only(&s->tp, &space->tp, 1, GALV_OPTION_TP, cli, err);
    if (status == GALV_OK) {
        status = only(&s->cp, &space->cp, 1, GALV_OPTION_CP, cli, err);
    }
    if (status == GALV_OK) {
        status = only(&s->ep, &space->ep, 1, GALV_OPTION_EP, cli, err);
    }
    if (status == GALV_OK) {
        status = only(&u->pp, &space->pp, pp, GALV_OPTION_PP, cli, err);
    }
    if (status == GALV_OK) {
        status = only(&u->vpp, &space->vpp, vpp, GALV_OPTION_VPP, cli, err);
    }
    if (status == GALV_OK) {
        status = only(&u->micro_batch_size, &space->micro_batch, 1,
                      GALV_OPTION_MICRO_BATCH, cli, err);
    }
    if (status == GALV_OK) {
        status = only(&sp, &space->sp, s->tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE,
                      GALV_OPTION_SP, cli, err);
    }
    if (status == GALV_OK) {
        status = only(&recompute, &space->recompute, GALV_RECOMPUTE_NONE,
                      GALV_OPTION_RECOMPUTE, cli, err);
    }
    if (status == GALV_OK && space->n_schedules > 1) {
        galv_fail(err, GALV_USAGE, "one plan takes one schedule");
        return galv_cli_blame(cli, GALV_OPTION_SCHEDULE,
                              galv_cli_value(cli, GALV_OPTION_SCHEDULE), err);
    }
    s->sp = (galv_sp)sp;
    s->recompute = (galv_recompute)recompute;
    u->schedule = order != NULL             ? galv_order_schedule(order)
                  : space->n_schedules == 1 ? space->schedules[0]
                                            : NULL;
    return status;
}

/* --group-size, which one schedule has. */
static galv_status set_group_size(galv_plan *plan, const galv_cli *cli, galv_err *err)
{
    int64_t n = 0;
    galv_status status =
        galv_cli_count(&n, cli, GALV_OPTION_GROUP_SIZE, 1, 1 << 24, err);
    if (status == GALV_OK && n > 0 && strcmp(plan->schedule, "interleaved") != 0) {
        return galv_fail(err, GALV_USAGE,
                         "--group-size is of schedule interleaved, not of %s",
                         plan->schedule);
    }
    plan->group_size = (int32_t)n;
    return status;
}

static bool has_experts(const galv_model *model)
{
    bool has = false;
    for (int32_t g = 0; g < model->n_groups; g++) {
        has = has || model->groups[g].kind == GALV_LAYER_MOE_DECODER;
    }
    return has;
}

galv_status galv_plan_by_hand(galv_plan **plan, const galv_setup *setup,
                              const galv_cli *cli, galv_err *err)
{
    galv_space space;
    galv_uniform_plan u = {.strategy = GALV_STRATEGY_INIT};
    galv_order *order = NULL;
    const char *schedule = galv_cli_value(cli, GALV_OPTION_SCHEDULE);
    bool from_file = schedule != NULL && strchr(schedule, ',') == NULL &&
                     galv_schedule_file_is(schedule);
    galv_status status = read_degrees(&space, cli, err);
    if (status == GALV_OK) {
        status = from_file ? galv_schedule_file_read(&order, schedule, cli->arena, err)
                           : read_schedules(&space, cli, err);
    }
    if (status == GALV_OK) {
        status = read_strategy(&u, &space, order, cli, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (u.strategy.ep > 1 && !has_experts(&setup->job.model)) {
        galv_fail(err, GALV_USAGE, "the model has no experts");
        return galv_cli_blame(cli, GALV_OPTION_EP, galv_cli_value(cli, GALV_OPTION_EP),
                              err);
    }
    int64_t n_devices = galv_cluster_n_devices(&setup->job.cluster);
    int64_t product = (int64_t)u.strategy.tp * u.strategy.cp;
    product = product > n_devices ? product : product * u.pp;
    if (product > n_devices || n_devices % product != 0) {
        galv_fail(err, GALV_USAGE, "tp %d x cp %d x pp %d does not divide %lld GPUs",
                  u.strategy.tp, u.strategy.cp, u.pp, (long long)n_devices);
        galv_hint(err, "dp is what is left: GPUs / (tp x cp x pp)");
        return GALV_USAGE;
    }
    u.strategy.dp = (int32_t)(n_devices / product);
    u.overlap = space.overlap;
    int32_t dp = u.strategy.dp;
    status = only(&dp, &space.dp, dp, GALV_OPTION_DP, cli, err);
    if (status == GALV_OK && dp != u.strategy.dp) {
        galv_fail(err, GALV_USAGE, "dp is %d: %lld GPUs / (tp %d x cp %d x pp %d)",
                  u.strategy.dp, (long long)n_devices, u.strategy.tp, u.strategy.cp,
                  u.pp);
        status = galv_cli_blame(cli, GALV_OPTION_DP,
                                galv_cli_value(cli, GALV_OPTION_DP), err);
    }
    if (status != GALV_OK) {
        return status;
    }
    status = only(&u.strategy.zero, &space.zero, u.strategy.dp > 1 ? 1 : 0,
                  GALV_OPTION_ZERO, cli, err);
    if (status == GALV_OK) {
        status = galv_plan_make_uniform(plan, &setup->job, &u, cli->arena, err);
    }
    int32_t rank_order = 0;
    if (status == GALV_OK) {
        status = set_group_size(*plan, cli, err);
    }
    if (status == GALV_OK) {
        status = only(&rank_order, &space.rank_order, GALV_RANK_ORDER_DP_INSIDE,
                      GALV_OPTION_RANK_ORDER, cli, err);
    }
    if (status == GALV_OK) {
        status = galv_plan_set_rank_order(*plan, (galv_rank_order)rank_order,
                                          &setup->job, err);
    }
    return status == GALV_OK && order != NULL ? galv_plan_set_order(*plan, order, err)
                                              : status;
}
