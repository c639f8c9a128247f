/* From plan to answer: compile, price every class once, simulate, sum up.
 *
 * Folded, one simulated rank stands for all devices of its pipeline stage, which do the
 * same at the same time. So sums over ranks are sums over stages, and a device's share
 * of the whole is a mean over stages. Where every rank is simulated (evaluate_ranks
 * below) the folded simulation goes before, to tell what the differences cost; means
 * are over all ranks then, and the peak of a stage is that of its fullest rank.
 *
 * Utilisation. MFU takes the model's FLOP (forward and backward, no recomputation) over
 * time, devices and peak; HFU takes the FLOP that the priced operations execute. Shares
 * of provenance are of priced seconds over all operations, hidden ones included: they
 * tell how well founded the inputs are, not which of them decided the result.
 */
#include "sim/evaluate_internal.h"

#include "base/units.h"
#include "plan/chunks.h"
#include "sim/straggling.h"
#include "sim/weigh.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* More than roundings of a quick play can make of a time. */
#define STOP_MARGIN 1e-9

static galv_status price_stages(galv_stage_memory **base, const galv_plan *plan,
                                galv_prices *prices, galv_arena *arena, galv_err *err)
{
    galv_stage_memory *made = GALV_NEW_ARRAY(arena, galv_stage_memory, plan->pp);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %d stages", (int)plan->pp);
    }
    for (int32_t stage = 0; stage < plan->pp; stage++) {
        made[stage] = *galv_prices_held(prices, stage);
    }
    *base = made;
    return GALV_OK;
}

/* ---- sums ---- */

static bool is_block(const galv_layer_group *group)
{
    return group->kind == GALV_LAYER_ENCODER || group->kind == GALV_LAYER_DECODER ||
           group->kind == GALV_LAYER_CROSS_DECODER ||
           group->kind == GALV_LAYER_MOE_DECODER;
}

/* Blocks of a stage; `first` and `last` get the layers of the blocks of its first
 * chunk, -1 when it has none. */
static int32_t count_blocks(const galv_job *job, const galv_plan *plan, int32_t stage,
                            int32_t *first, int32_t *last)
{
    int32_t n = 0;
    *first = *last = -1;
    for (int32_t chunk = 0; chunk < galv_plan_n_chunks(plan); chunk++) {
        int32_t s = galv_plan_virtual_stage(plan, stage, chunk);
        for (int32_t layer = plan->first_layer[s]; layer < plan->first_layer[s + 1];
             layer++) {
            if (!is_block(galv_model_layer(&job->model, layer))) {
                continue;
            }
            n++;
            if (chunk == 0) {
                *first = *first < 0 ? layer : *first;
                *last = layer;
            }
        }
    }
    return n;
}

static void sum_ranks(galv_result *result, const galv_program *program,
                      const galv_sim_result *sim)
{
    double n = sim->n_ranks;
    int32_t per_stage = sim->n_ranks / result->n_stages;
    for (int32_t rank = 0; rank < sim->n_ranks; rank++) {
        const galv_rank_result *from = &sim->ranks[rank];
        galv_stage_result *to = &result->stages[rank / per_stage];
        to->stage = rank / per_stage;
        to->busy_s += from->busy_s / per_stage;
        if (from->peak_bytes > to->peak_memory_bytes || rank % per_stage == 0) {
            to->peak_memory_bytes = from->peak_bytes;
            memcpy(to->memory, from->peak_use_bytes, sizeof to->memory);
            galv_peak_read(&to->peak, program, from, to->stage);
        }
        for (int part = 0; part < GALV_N_BREAKDOWNS; part++) {
            result->breakdown_s[part] += from->spent_s[part] / n;
        }
    }
    double time_s = sim->iteration_time_s;
    if (time_s > 0) {
        const double *spent = result->breakdown_s;
        result->bubble_frac = spent[GALV_BREAKDOWN_BUBBLE] / time_s;
        result->exposed_comm_frac =
            (spent[GALV_BREAKDOWN_TP] + spent[GALV_BREAKDOWN_CP] +
             spent[GALV_BREAKDOWN_EP] + spent[GALV_BREAKDOWN_PP] +
             spent[GALV_BREAKDOWN_DP]) /
            time_s;
    }
}

void galv_evaluate_need(galv_result *result, const galv_costmodel *model,
                        const galv_plan *plan)
{
    galv_memory_need need = {0, 0};
    result->fits = true;
    for (int32_t i = 0; i < result->n_stages; i++) {
        galv_stage_result *stage = &result->stages[i];
        stage->memory_limit_bytes = galv_costmodel_stage_limit(model, plan, i);
        galv_memory_need_add(&need, stage->peak_memory_bytes,
                             stage->memory_limit_bytes);
        result->fits &= stage->peak_memory_bytes <= stage->memory_limit_bytes;
    }
    result->peak_memory_bytes = need.bytes;
    result->memory_limit_bytes = need.limit_bytes;
}

int32_t galv_result_fullest_stage(const galv_result *result)
{
    galv_memory_need need = {0, 0};
    int32_t fullest = 0;
    for (int32_t i = 0; i < result->n_stages; i++) {
        const double before = need.bytes;
        galv_memory_need_add(&need, result->stages[i].peak_memory_bytes,
                             result->stages[i].memory_limit_bytes);
        fullest = need.bytes > before || need.bytes < before ? i : fullest;
    }
    return fullest;
}

/* Executed FLOP of all ranks; fills the shares of provenance. Classes are counted
 * first, so that the sums take one pass over the costs. */
static galv_status sum_costs(galv_evaluation *sums, galv_result *result,
                             const galv_program *program, const galv_cost *costs,
                             galv_arena *arena, galv_err *err)
{
    double *n_of = GALV_NEW_ARRAY(arena, double, program->n_classes);
    if (n_of == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to count classes");
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        n_of[program->ops[op].class_index] += 1;
    }
    double total = 0;
    for (uint32_t i = 0; i < program->n_classes; i++) {
        sums->executed_flop += n_of[i] * costs[i].flop;
        for (int p = 0; p < GALV_N_PROVENANCES; p++) {
            result->provenance[p] += n_of[i] * costs[i].provenance_s[p];
            total += n_of[i] * costs[i].provenance_s[p];
        }
    }
    for (int p = 0; p < GALV_N_PROVENANCES && total > 0; p++) {
        result->provenance[p] /= total;
    }
    sums->priced_s = total;
    return GALV_OK;
}

/* Rates: of the job's tokens and samples, and of the devices' FLOP. */
void galv_evaluate_rates(galv_result *result, const galv_costmodel *model,
                         const galv_plan *plan, double executed_flop)
{
    const galv_job *job = galv_costmodel_job(model);
    double time_s = result->iteration_time_s;
    double n_devices = (double)galv_plan_n_devices(plan);
    double peak = galv_costmodel_peak_flop_per_s(model);
    if (!(time_s > 0) || !(n_devices > 0)) {
        return;
    }
    int32_t seq_length =
        job->workload.seq_length > 0 ? job->workload.seq_length : job->model.seq_length;
    result->samples_per_s = (double)plan->global_batch_size / time_s;
    result->tokens_per_s = result->samples_per_s * seq_length;
    result->tokens_per_s_per_gpu = result->tokens_per_s / n_devices;
    double model_flop_per_s = galv_costmodel_model_flop(model) / time_s / n_devices;
    double flop_per_s = executed_flop / plan->pp / time_s; /* a rank is one device */
    result->model_tflops_per_gpu = model_flop_per_s / 1e12;
    result->hardware_tflops_per_gpu = flop_per_s / 1e12;
    if (peak > 0) {
        result->mfu = model_flop_per_s / peak;
        result->hfu = flop_per_s / peak;
    }
}

/* ---- the timeline's titles ---- */

static void title(galv_timeline *timeline, const galv_result *result,
                  const galv_job *job, const galv_plan *plan)
{
    char words[96];
    char time[32];
    char peak[32];
    char limit[32];
    snprintf(timeline->title, sizeof timeline->title, "%s on %d x %s (%lld GPU%s): %s",
             job->model.name, (int)galv_cluster_n_nodes(&job->cluster),
             job->cluster.name, (long long)galv_plan_n_devices(plan),
             galv_plan_n_devices(plan) == 1 ? "" : "s",
             galv_plan_print(words, sizeof words, plan));
    galv_print_seconds(time, sizeof time, result->iteration_time_s);
    snprintf(peak, sizeof peak, "%.1f", result->peak_memory_bytes / 1073741824.0);
    galv_print_bytes(limit, sizeof limit, result->memory_limit_bytes);
    snprintf(timeline->subtitle, sizeof timeline->subtitle,
             "step %s \xc2\xb7 bubble %.1f %% \xc2\xb7 MFU %.1f %% \xc2\xb7 peak %s of "
             "%s",
             time, 100 * result->bubble_frac, 100 * result->mfu, peak, limit);
}

/* ---- steps that overlap ---- */

/* Where no stage waits for the others at the step, each begins the next iteration when
 * it is through with this one. Repeated every so many seconds as the stage takes that
 * takes longest, from its first computation to its end and with all of the gathers that
 * go before it, no stage has two iterations at once, and nothing waits that did not
 * before. So that is an iteration, and what a stage waits at its begin and its end is
 * no bubble as far as others still are in the iteration before, or in the next. */
static void roll(galv_sim_result *sim, const galv_program *program,
                 const galv_cost *costs)
{
    double period_s = 0;
    for (int32_t rank = 0; rank < sim->n_ranks; rank++) {
        const uint32_t *begin = &program->queue_begin[rank * GALV_N_STREAMS];
        double took_s = sim->ranks[rank].end_s - sim->ranks[rank].begin_s;
        for (uint32_t op = begin[GALV_STREAM_DP]; op < begin[GALV_STREAM_DP + 1];
             op++) {
            uint32_t i = program->ops[op].class_index;
            bool gathers = program->classes[i].pass == GALV_OP_OPTIMIZER &&
                           program->ops[op].first_dependency ==
                               program->ops[op + 1].first_dependency;
            took_s += gathers ? costs[i].work_s : 0;
        }
        period_s = took_s > period_s ? took_s : period_s;
    }
    if (sim->stopped || period_s >= sim->iteration_time_s) {
        return;
    }
    for (int32_t rank = 0; rank < sim->n_ranks; rank++) {
        double *bubble_s = &sim->ranks[rank].spent_s[GALV_BREAKDOWN_BUBBLE];
        *bubble_s -= sim->iteration_time_s - period_s;
    }
    sim->iteration_time_s = period_s;
}

/* ---- every rank ---- */

static bool wants_all_ranks(const galv_evaluate_options *options)
{
    const galv_differences *differences = options->differences;
    return options->all_ranks || options->share_network || options->n_runs > 0 ||
           galv_differences_of_ranks(differences) ||
           (differences != NULL && differences->n_slow_links > 0);
}

/* The place whose pipeline is worth looking at: that of the slowest straggler. */
static galv_status choose_place(int32_t *place, const galv_unfolded *u, uint32_t run,
                                galv_arena *arena, galv_err *err)
{
    *place = 0;
    if (!galv_differences_of_ranks(u->differences)) {
        return GALV_OK;
    }
    double *factors = NULL;
    int32_t n_ranks = u->ranks_per_stage * u->program->n_ranks;
    galv_status status =
        galv_differences_factors(&factors, u->differences, run, n_ranks, arena, err);
    double worst = 1;
    for (int32_t rank = 0; rank < n_ranks && status == GALV_OK; rank++) {
        if (factors[rank] > worst) {
            worst = factors[rank];
            *place = rank % u->ranks_per_stage;
        }
    }
    return status;
}

static void sum_cluster(galv_cluster_result *cluster, const galv_all_ranks_result *all)
{
    cluster->n_ranks = all->sim.n_ranks;
    cluster->n_flow_changes = all->n_flow_changes;
    cluster->waiting_s = 0;
    cluster->slowest_busy_s = -1;
    for (int32_t rank = 0; rank < all->sim.n_ranks; rank++) {
        cluster->waiting_s += all->waited_s[rank] / all->sim.n_ranks;
        if (all->sim.ranks[rank].busy_s > cluster->slowest_busy_s) {
            cluster->slowest_rank = rank;
            cluster->slowest_busy_s = all->sim.ranks[rank].busy_s;
        }
    }
    int64_t first =
        cluster->slowest_rank - cluster->slowest_rank % all->ranks_per_stage;
    cluster->stage_busy_s = 0;
    for (int32_t i = 0; i < all->ranks_per_stage; i++) {
        cluster->stage_busy_s +=
            all->sim.ranks[first + i].busy_s / all->ranks_per_stage;
    }
}

/* Tells what every rank idles because of differences. Where the network is shared, the
 * undisturbed replay is one of every rank, too, on the same network without slow links;
 * else the folded simulation is the same. */
static galv_status tell_straggling(galv_all_ranks_result *all,
                                   const galv_sim_result *folded,
                                   const galv_unfolded *u, const galv_costmodel *model,
                                   const galv_plan *plan, galv_err *err)
{
    galv_undisturbed undisturbed = {folded->ranks, NULL, folded->n_ranks};
    if (u->network == NULL) {
        galv_straggling_split(all, &undisturbed);
        return GALV_OK;
    }
    galv_all_ranks_result alike = {0};
    galv_all_ranks_options options = GALV_ALL_RANKS_OPTIONS_INIT;
    galv_network *network = NULL;
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status =
        galv_network_new(&network, model, plan, u->program, u->costs, u->meetings,
                         u->ranks_per_stage, NULL, arena, err);
    options.network = network;
    if (status == GALV_OK) {
        status =
            galv_all_ranks_simulate(&alike, u->program, u->costs, u->base, u->meetings,
                                    u->ranks_per_stage, &options, arena, err);
    }
    if (status == GALV_OK) {
        undisturbed =
            (galv_undisturbed){alike.sim.ranks, alike.waited_s, alike.sim.n_ranks};
        galv_straggling_split(all, &undisturbed);
    }
    galv_arena_free(arena);
    return status;
}

/* Replaces the folded simulation by that of every rank. */
static galv_status simulate_all_ranks(
    galv_sim_result *sim, galv_cluster_result *cluster, galv_unfolded *unfolded,
    const galv_costmodel *model, const galv_plan *plan, const galv_program *program,
    const galv_cost *costs, const galv_stage_memory *base,
    const galv_evaluate_options *options, galv_arena *arena, galv_err *err)
{
    galv_unfolded u = {program, costs, base, NULL, 0, NULL, options->differences};
    galv_meeting *meetings = NULL;
    galv_network *network = NULL;
    galv_all_ranks_result all = {0};
    galv_all_ranks_options chosen = GALV_ALL_RANKS_OPTIONS_INIT;
    if (plan->overlap.step) {
        return galv_fail(err, GALV_USAGE,
                         "every rank by itself takes a common optimizer step: no "
                         "overlap of steps");
    }
    if (galv_plan_rank_order(plan) != GALV_RANK_ORDER_DP_INSIDE) {
        return galv_fail(err, GALV_USAGE, "ranks are told apart in the order %s only",
                         galv_rank_order_names[GALV_RANK_ORDER_DP_INSIDE]);
    }
    galv_status status =
        galv_meetings_of_plan(&meetings, &u.ranks_per_stage, plan, program, arena, err);
    bool slow_links = u.differences != NULL && u.differences->n_slow_links > 0;
    if (status == GALV_OK && (options->share_network || slow_links)) {
        status = galv_network_new(&network, model, plan, program, costs, meetings,
                                  u.ranks_per_stage, u.differences, arena, err);
    }
    u.meetings = meetings;
    u.network = network;
    if (status == GALV_OK && options->n_runs > 0) {
        status = galv_monte_carlo(&cluster->spread, &u, options->n_runs,
                                  options->n_jobs > 0 ? options->n_jobs : 1,
                                  options->cancel, err);
    }
    chosen.differences = u.differences;
    chosen.network = network;
    chosen.run = (uint32_t)cluster->spread.median_run;
    if (status == GALV_OK && options->sim.record_timeline) {
        status = choose_place(&chosen.record_place, &u, chosen.run, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_all_ranks_simulate(&all, program, costs, base, meetings,
                                         u.ranks_per_stage, &chosen, arena, err);
    }
    if (status == GALV_OK && (slow_links || galv_differences_of_ranks(u.differences))) {
        status = tell_straggling(&all, sim, &u, model, plan, err);
    }
    if (status == GALV_OK) {
        cluster->folded_time_s = sim->iteration_time_s;
        sum_cluster(cluster, &all);
        *sim = all.sim;
        *unfolded = u;
    }
    return status;
}

/* What was held at the peaks, where every rank is simulated. The fullest rank of each
 * stage stands for it; its place is replayed with its operations recorded. Ranks alike
 * are fullest at the same place, so that is one replay more. */
static galv_status attribute_places(galv_result *result, const galv_job *job,
                                    const galv_unfolded *u, uint32_t run,
                                    const galv_sim_result *sim, galv_err *err)
{
    int32_t last = galv_model_n_layers(&job->model) - 1;
    bool has_head = galv_model_layer(&job->model, last)->kind == GALV_LAYER_HEAD;
    galv_all_ranks_options chosen = {u->differences, run, u->network, -1};
    galv_all_ranks_result all = {0};
    galv_status status = GALV_OK;
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t stage = 0; stage < result->n_stages && status == GALV_OK; stage++) {
        int32_t n = u->ranks_per_stage;
        const galv_rank_result *ranks = &sim->ranks[(size_t)stage * (size_t)n];
        int32_t place = 0;
        for (int32_t i = 1; i < n; i++) {
            place = ranks[i].peak_bytes > ranks[place].peak_bytes ? i : place;
        }
        if (place != chosen.record_place) {
            chosen.record_place = place;
            galv_arena_reset(arena);
            status = galv_all_ranks_simulate(&all, u->program, u->costs, u->base,
                                             u->meetings, n, &chosen, arena, err);
        }
        if (status == GALV_OK) {
            status =
                galv_peak_attribute(&result->stages[stage].peak, u->program, u->costs,
                                    all.sim.timeline.spans, &ranks[place], stage,
                                    &u->base[stage], has_head ? last : -1, err);
        }
    }
    galv_arena_free(arena);
    return status;
}

/* ---- the whole ---- */

/* Simulates. A program whose passes are single operations is played quickly first, up
 * to rounding: what takes longer than it may shows then, at a fraction of the work.
 * What comes close is played to the bit, unless the caller takes it as it is. */
static galv_status simulate(galv_sim_result *sim, const galv_program *program,
                            const galv_cost *costs, const galv_stage_memory *base,
                            const galv_sim_options *options, galv_arena *arena,
                            galv_err *err)
{
    if (program->bodies != NULL && options->stop_at_s > 0) {
        galv_sim_options quick = *options;
        quick.stop_at_s *= 1 + STOP_MARGIN;
        quick.repeat_passes = true;
        galv_status status =
            galv_simulate(sim, program, costs, base, &quick, arena, err);
        if (status != GALV_OK || sim->stopped || options->repeat_passes) {
            return status;
        }
    }
    return galv_simulate(sim, program, costs, base, options, arena, err);
}

static double clock_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The limit of each stage; NULL where all have the same, or no memory is left for them.
 */
static double *limits_of_stages(const galv_result *result, galv_arena *arena)
{
    bool same = true;
    for (int32_t stage = 1; stage < result->n_stages; stage++) {
        double other = result->stages[stage - 1].memory_limit_bytes;
        same &= result->stages[stage].memory_limit_bytes >= other &&
                result->stages[stage].memory_limit_bytes <= other;
    }
    double *limits = same ? NULL : GALV_NEW_ARRAY(arena, double, result->n_stages);
    for (int32_t stage = 0; limits != NULL && stage < result->n_stages; stage++) {
        limits[stage] = result->stages[stage].memory_limit_bytes;
    }
    return limits;
}

static galv_status fill_result(galv_result *result, galv_evaluation *evaluation,
                               const galv_costmodel *model, const galv_plan *plan,
                               const galv_program *program, const galv_cost *costs,
                               galv_arena *arena, galv_err *err)
{
    const galv_sim_result *sim = &evaluation->sim;
    const galv_job *job = galv_costmodel_job(model);
    int32_t *first = GALV_NEW_ARRAY(arena, int32_t, plan->pp);
    int32_t *last = GALV_NEW_ARRAY(arena, int32_t, plan->pp);
    result->n_stages = plan->pp;
    result->stages = GALV_NEW_ARRAY(arena, galv_stage_result, plan->pp);
    if (first == NULL || last == NULL || result->stages == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for %d stages", (int)plan->pp);
    }
    galv_status status = sum_costs(evaluation, result, program, costs, arena, err);
    if (status != GALV_OK) {
        return status;
    }
    result->iteration_time_s = sim->iteration_time_s;
    result->stopped = sim->stopped;
    result->events = sim->n_events;
    sum_ranks(result, program, sim);
    for (int32_t stage = 0; stage < plan->pp; stage++) {
        result->stages[stage].n_layers =
            count_blocks(job, plan, stage, &first[stage], &last[stage]);
    }
    galv_evaluate_need(result, model, plan);
    galv_evaluate_rates(result, model, plan, evaluation->executed_flop);
    result->timeline = sim->timeline;
    if (sim->timeline.spans != NULL) {
        result->timeline.first_layer = first;
        result->timeline.last_layer = last;
        result->timeline.memory_limit_bytes = result->memory_limit_bytes;
        result->timeline.rank_limit_bytes = limits_of_stages(result, arena);
        title(&result->timeline, result, job, plan);
    }
    return GALV_OK;
}

/* What was held at the peaks of a folded simulation that has recorded its spans. */
static galv_status attribute_peaks(galv_result *result, const galv_job *job,
                                   const galv_program *program, const galv_cost *costs,
                                   const galv_stage_memory *base,
                                   const galv_sim_result *sim, galv_err *err)
{
    int32_t last = galv_model_n_layers(&job->model) - 1;
    bool has_head = galv_model_layer(&job->model, last)->kind == GALV_LAYER_HEAD;
    galv_status status = GALV_OK;
    if (sim->timeline.n_spans != program->n_ops) { /* stopped */
        return GALV_OK;
    }
    for (int32_t stage = 0; stage < result->n_stages && status == GALV_OK; stage++) {
        status = galv_peak_attribute(&result->stages[stage].peak, program, costs,
                                     sim->timeline.spans, &sim->ranks[stage], stage,
                                     &base[stage], has_head ? last : -1, err);
    }
    return status;
}

galv_status galv_evaluate_whole(galv_result *result, galv_evaluation *evaluation,
                                const galv_costmodel *model, const galv_plan *plan,
                                const galv_evaluate_options *options, galv_arena *arena,
                                galv_err *err)
{
    double began_s = clock_s();
    galv_program *program = NULL;
    galv_cost *costs = NULL;
    galv_stage_memory *base = NULL;
    galv_evaluation found = {0};
    galv_result made = {0};
    galv_sim_options sim_options = options->sim;
    galv_unfolded unfolded = {0};
    bool every = wants_all_ranks(options);
    galv_prices *prices = options->prices;
    galv_status status = GALV_OK;
    if (prices == NULL) {
        status = galv_prices_new(&prices, model, plan, NULL, arena, err);
    }
    if (status == GALV_OK && options->by_pass && !every &&
        !options->sim.record_timeline && !options->attribute_peaks) {
        status =
            galv_program_of_plan_by_pass(&program, model, plan, prices, arena, err);
    } else if (status == GALV_OK) {
        status = galv_program_of_plan(&program, model, plan, prices, arena, err);
    }
    if (status == GALV_OK) {
        status = galv_price_classes(&costs, program, prices, arena, err);
    }
    if (status == GALV_OK) {
        status = price_stages(&base, plan, prices, arena, err);
    }
    if (status == GALV_OK) {
        sim_options.record_timeline |= options->attribute_peaks && !every;
        status = simulate(&found.sim, program, costs, base, &sim_options, arena, err);
    }
    if (status == GALV_OK && plan->overlap.step) {
        roll(&found.sim, program, costs);
    }
    if (status == GALV_OK && every) {
        status = simulate_all_ranks(&found.sim, &made.cluster, &unfolded, model, plan,
                                    program, costs, base, options, arena, err);
    }
    if (status == GALV_OK) {
        status = fill_result(&made, &found, model, plan, program, costs, arena, err);
    }
    if (status == GALV_OK && options->attribute_peaks) {
        const galv_job *job = galv_costmodel_job(model);
        uint32_t run = (uint32_t)made.cluster.spread.median_run;
        status =
            every ? attribute_places(&made, job, &unfolded, run, &found.sim, err)
                  : attribute_peaks(&made, job, program, costs, base, &found.sim, err);
    }
    if (status == GALV_OK) {
        made.wall_s = clock_s() - began_s;
        if (!options->sim.record_timeline) {
            memset(&made.timeline, 0, sizeof made.timeline);
        }
        *result = made;
        *evaluation = found;
    }
    return status;
}

galv_status galv_evaluate(galv_result *result, const galv_costmodel *model,
                          const galv_plan *plan, const galv_evaluate_options *options,
                          galv_arena *arena, galv_err *err)
{
    galv_evaluation unused;
    bool steady = false;
    galv_status status = GALV_OK;
    if (!options->whole && !options->sim.record_timeline && !wants_all_ranks(options) &&
        galv_steady_is_long(plan)) {
        status =
            galv_steady_evaluate(result, &steady, model, plan, options, arena, err);
    }
    return steady || status != GALV_OK
               ? status
               : galv_evaluate_whole(result, &unused, model, plan, options, arena, err);
}
