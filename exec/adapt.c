/* Watching, planning, or on trial. While it watches, every rank hears the same time of
 * the slowest rank and comes to the same verdict without a word. While galvatron-sim
 * plans, training goes on; rank 0 asks after every step whether it has ended, and
 * tells. A plan that was changed to is on trial until its first steady steps are known:
 * predictions can be wrong, so where it is slower than the one before, that one comes
 * back. Between questions there are ever more steps, since an answer that changed
 * nothing is likely to come again. */
#include "exec/adapt.h"

#include "base/file.h"
#include "base/units.h"
#include "exec/observe.h"
#include "exec/planner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_PAUSE    25   /* steps between questions; doubled after each */
#define LEAST_SLOWDOWN 0.02 /* for which a change is taken back */

struct galv_adapter {
    galv_observer observer;
    int64_t pause, n_since; /* steps to wait with a question, and since the last */
    double before_s; /* of a step of the plan before, while the new one is on trial */
    double restart_s;
    const char *profile; /* NULL = none */
    bool plans;
    galv_planner *planner; /* on rank 0 */
    bool temporary;
    char folder[900]; /* on rank 0 */
};

galv_status galv_adapter_new(galv_adapter **adapter, double predicted_s,
                             double restart_s, const char *folder, const char *profile,
                             galv_world *world, galv_err *err)
{
    galv_adapter *a = calloc(1, sizeof *a);
    if (a == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for adaptation");
    }
    galv_observer_start(&a->observer, predicted_s);
    a->restart_s = restart_s;
    a->profile = profile;
    a->n_since = 1;
    a->temporary = folder == NULL && galv_world_rank(world) == 0;
    if (a->temporary) {
        const char *where = getenv("TMPDIR");
        snprintf(a->folder, sizeof a->folder, "%.800s/galvatron-adapt-XXXXXX",
                 where != NULL && *where != '\0' ? where : "/tmp");
        if (mkdtemp(a->folder) == NULL) {
            galv_fail(err, GALV_IO, "cannot make %s: %s", a->folder, strerror(errno));
            free(a);
            return err->status;
        }
    } else if (folder != NULL) {
        snprintf(a->folder, sizeof a->folder, "%.880s/adapt", folder);
    }
    *adapter = a;
    return GALV_OK;
}

void galv_adapter_free(galv_adapter *adapter)
{
    static const char *const names[] = {"plan.json", "timeline.csv", "next.json",
                                        "advice.json", "planner.log"};
    if (adapter == NULL) {
        return;
    }
    galv_planner_free(adapter->planner);
    for (size_t i = 0; adapter->temporary && i < sizeof names / sizeof names[0]; i++) {
        char path[1000];
        snprintf(path, sizeof path, "%s/%s", adapter->folder, names[i]);
        unlink(path);
    }
    if (adapter->temporary) {
        rmdir(adapter->folder);
    }
    free(adapter);
}

/* ---- asking for a plan ---- */

/* The plan that runs and what was measured of it, as files. */
static galv_status write_question(const galv_adapter *a, const galv_running *r,
                                  const galv_timeline *timeline, galv_err *err)
{
    char path[1000];
    galv_text text = GALV_TEXT_INIT;
    galv_json_writer writer;
    galv_json_writer_init(&writer, &text);
    galv_plan_to_json(r->job, r->plan, &writer);
    galv_status status = galv_json_finish(&writer, err);
    if (status == GALV_OK && !a->temporary) {
        status = galv_folder_make(a->folder, err);
    }
    snprintf(path, sizeof path, "%s/plan.json", a->folder);
    if (status == GALV_OK) {
        status = galv_file_write(path, galv_text_string(&text), text.length, err);
    }
    snprintf(path, sizeof path, "%s/timeline.csv", a->folder);
    if (status == GALV_OK) {
        status = galv_timeline_write_csv(timeline, path, err);
    }
    galv_text_release(&text);
    return status;
}

static void tell_trouble(galv_text *note, const char *what, const galv_err *trouble)
{
    galv_text_printf(note, "adapt: %s: %s%s%s\n", what, trouble->message,
                     trouble->hint[0] != '\0' ? "; " : "", trouble->hint);
}

/* Collective, since the timeline is. */
static galv_status ask(galv_adapter *a, galv_running *r, galv_text *note, galv_err *err)
{
    char expected[32], median[32];
    galv_timeline timeline;
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for the timeline");
    }
    if (galv_world_agree(r->world, err) != GALV_OK ||
        galv_trainer_timeline(&timeline, r->trainer, arena, err) != GALV_OK) {
        galv_arena_free(arena);
        return err->status;
    }
    a->plans = true;
    if (galv_world_rank(r->world) == 0) {
        galv_err trouble = GALV_ERR_INIT;
        galv_text_printf(
            note, "adapt: a step takes %s, expected were %s: planning\n",
            galv_print_duration(median, sizeof median,
                                galv_observer_median_s(&a->observer)),
            galv_print_duration(expected, sizeof expected, a->observer.expected_s));
        if (write_question(a, r, &timeline, &trouble) != GALV_OK ||
            galv_planner_start(&a->planner, a->folder, a->profile, a->restart_s,
                               &trouble) != GALV_OK) {
            tell_trouble(note, "the plan stays", &trouble);
        }
    }
    galv_arena_free(arena);
    return GALV_OK;
}

/* ---- hearing of one ---- */

typedef enum answer { NOT_YET, STAY, CHANGE } answer;

/* On rank 0. */
static answer hear(galv_adapter *a, int64_t n_left, galv_advice *advice,
                   galv_text *note)
{
    char gain[32], cost[32];
    galv_err trouble = GALV_ERR_INIT;
    if (a->planner == NULL) {
        return STAY; /* it never started */
    }
    if (!galv_planner_ended(a->planner, advice, &trouble)) {
        return NOT_YET;
    }
    galv_planner_free(a->planner);
    a->planner = NULL;
    if (trouble.status != GALV_OK) {
        tell_trouble(note, "the plan stays", &trouble);
        return STAY;
    }
    if (!advice->change) {
        galv_text_append(note, "adapt: no other plan is faster: it stays\n");
        return STAY;
    }
    bool repaid = advice->gain_s * (double)n_left > advice->switch_time_s;
    galv_text_printf(note, "adapt: another plan gains %s a step, the change costs %s",
                     galv_print_duration(gain, sizeof gain, advice->gain_s),
                     galv_print_duration(cost, sizeof cost, advice->switch_time_s));
    if (!repaid) {
        galv_text_printf(note, ": not repaid by the %lld steps left\n",
                         (long long)n_left);
    } else {
        galv_text_append(note, "\n");
    }
    return repaid ? CHANGE : STAY;
}

/* Collective; the path counts on rank 0. */
static galv_status change(galv_running *r, const char *path, galv_text *note,
                          bool *changed, galv_err *err)
{
    galv_next_plan next;
    galv_err trouble = GALV_ERR_INIT;
    bool refused = false;
    galv_next_plan_read(&next, r->world, path, &trouble);
    if (trouble.status == GALV_OK) {
        galv_next_plan_check(&next, r, &trouble);
        galv_world_agree(r->world, &trouble);
    }
    if (trouble.status == GALV_OK) {
        galv_running_change(r, &next, &refused, &trouble, err);
        *changed = err->status == GALV_OK && !refused;
    }
    if (trouble.status != GALV_OK) {
        tell_trouble(note, "that plan cannot be run, the old one stays", &trouble);
    }
    galv_next_plan_release(&next);
    return err->status;
}

/* The end of a trial: back to the plan before where that was faster. */
static galv_status judge(galv_adapter *a, galv_running *r, galv_text *note,
                         bool *changed, galv_err *err)
{
    char now[32], before[32], path[1000];
    double now_s = galv_observer_median_s(&a->observer);
    bool slower = now_s > (1 + LEAST_SLOWDOWN) * a->before_s;
    double before_s = a->before_s;
    a->before_s = 0;
    if (!slower) {
        return GALV_OK;
    }
    galv_text_printf(note,
                     "adapt: a step takes %s, by the plan before it took %s: back\n",
                     galv_print_duration(now, sizeof now, now_s),
                     galv_print_duration(before, sizeof before, before_s));
    snprintf(path, sizeof path, "%s/plan.json", a->folder);
    galv_status status = change(r, path, note, changed, err);
    galv_observer_start(&a->observer, *changed ? before_s : now_s);
    return status;
}

/* What came of a question. */
static galv_status follow(galv_adapter *a, galv_running *r, int64_t n_left,
                          galv_text *note, bool *changed, galv_err *err)
{
    galv_advice advice;
    int32_t said = NOT_YET;
    memset(&advice, 0, sizeof advice);
    if (galv_world_rank(r->world) == 0) {
        said = (int32_t)hear(a, n_left, &advice, note);
    }
    galv_status status = galv_world_broadcast(r->world, &said, sizeof said, 0, err);
    if (status != GALV_OK || said == NOT_YET) {
        return status;
    }
    double now_s = galv_observer_median_s(&a->observer);
    a->plans = false;
    a->n_since = 0;
    a->pause = a->pause == 0 ? FIRST_PAUSE : 2 * a->pause;
    if (said == CHANGE) {
        status = change(r, advice.plan_path, note, changed, err);
    }
    a->before_s = *changed ? now_s : 0;
    /* what it takes now is what is expected from here on */
    galv_observer_start(&a->observer, *changed ? 0 : now_s);
    return status;
}

galv_status galv_adapter_step(galv_adapter *adapter, galv_running *running,
                              double time_s, int64_t n_left, galv_text *note,
                              bool *changed, galv_err *err)
{
    galv_adapter *a = adapter;
    galv_verdict verdict = galv_observer_add(&a->observer, time_s);
    *changed = false;
    a->n_since++;
    if (a->plans) {
        return follow(a, running, n_left, note, changed, err);
    }
    if (a->before_s > 0 && verdict != GALV_VERDICT_EARLY) {
        return judge(a, running, note, changed, err);
    }
    return verdict == GALV_VERDICT_PARTED && n_left > 0 && a->n_since > a->pause
               ? ask(a, running, note, err)
               : GALV_OK;
}
