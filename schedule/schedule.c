/* The table of schedules, and what is the same for all of them.
 *
 * A schedule is the order in which one pipeline stage works through (pass, chunk,
 * micro-batch). It says nothing about time: when a slot runs follows from the order,
 * from the data that a slot needs, and from what the simulator is told that things
 * cost. So a schedule can be checked and counted without a cost model, and every one of
 * them is played by the same engine.
 *
 * Left out: schedules whose order depends on costs (the greedy zero-bubble ones) and
 * those that keep two copies of the parameters (DualPipe). */
#include "schedule/schedule_internal.h"

#include "base/words.h"

#include <string.h>

#define MAX_CHUNKS 4096

static const galv_schedule schedules[] = {
    {"none", "no pipeline: forward and backward of each micro-batch in turn",
     "gradient accumulation on one stage", false, 1, 1, 1, galv_order_none, NULL},
    {"gpipe", "all forwards, then all backwards", "Huang et al. 2019, arXiv 1811.06965",
     false, 1, 1, 1, galv_order_gpipe, NULL},
    {"1f1b", "one forward, one backward; few activations (PipeDream-flush)",
     "Narayanan et al. 2021, arXiv 2006.09503 and 2104.04473", false, 1, 1, 1,
     galv_order_1f1b, NULL},
    {"interleaved", "1F1B over several chunks a stage; the bubble shrinks by chunks",
     "Narayanan et al. 2021, arXiv 2104.04473 section 2.2", false, 2, MAX_CHUNKS, 2,
     galv_order_interleaved, NULL},
    {"breadth-first", "chunk by chunk, all micro-batches; enters a chunk once",
     "Lamy-Poirier 2023, arXiv 2211.05953", false, 2, MAX_CHUNKS, 2,
     galv_order_breadth_first, NULL},
    {"zb-h1", "1F1B with weight gradients in the gaps; memory as 1F1B's first stage",
     "Qi et al. 2023, arXiv 2401.10241", true, 1, 1, 2, galv_order_zb_h1, NULL},
    {"zb-h2", "no gaps for equal costs; twice the activations of 1F1B",
     "Qi et al. 2023, arXiv 2401.10241", true, 1, 1, 2, galv_order_zb_h2, NULL},
};

#define N_SCHEDULES (sizeof schedules / sizeof schedules[0])

const galv_schedule *galv_schedules(size_t *n_schedules)
{
    *n_schedules = N_SCHEDULES;
    return schedules;
}

galv_status galv_schedule_find(const galv_schedule **schedule, const char *name,
                               galv_err *err)
{
    const char *words[N_SCHEDULES];
    for (size_t i = 0; i < N_SCHEDULES; i++) {
        words[i] = schedules[i].name;
    }
    int index = galv_word_index(words, N_SCHEDULES, name);
    if (index < 0) {
        galv_status status = galv_fail(err, GALV_USAGE, "no schedule '%s'", name);
        galv_hint_words(err, words, N_SCHEDULES, name);
        return status;
    }
    *schedule = &schedules[index];
    return GALV_OK;
}

size_t galv_schedule_n_slots(const galv_schedule *schedule,
                             const galv_schedule_shape *shape)
{
    size_t passes = schedule->splits_backward ? 3 : 2;
    return passes * (size_t)shape->n_micro_batches * (size_t)shape->n_chunks;
}

int32_t galv_schedule_virtual_stage(const galv_schedule *schedule,
                                    const galv_schedule_shape *shape, int32_t stage,
                                    int32_t chunk)
{
    if (schedule->virtual_stage != NULL) {
        return schedule->virtual_stage(shape, stage, chunk);
    }
    return chunk * shape->n_stages + stage;
}

galv_slot galv_slot_make(galv_pass pass, int32_t chunk, int32_t micro_batch)
{
    galv_slot slot = {(uint8_t)pass, (int16_t)chunk, micro_batch};
    return slot;
}

galv_status galv_schedule_check_shape(const char *name,
                                      const galv_schedule_shape *shape, int32_t stage,
                                      galv_err *err)
{
    const galv_schedule *schedule = NULL;
    galv_status status = galv_schedule_find(&schedule, name, err);
    if (status != GALV_OK) {
        return status;
    }
    if (shape->n_stages < 1 || shape->n_chunks < 1 || shape->n_micro_batches < 1 ||
        shape->group_size < 0 || stage < 0 || stage >= shape->n_stages) {
        return galv_fail(err, GALV_USAGE,
                         "schedule %s: stage %d of %d, %d chunks, %d micro-batches, "
                         "groups of %d cannot be",
                         name, (int)stage, (int)shape->n_stages, (int)shape->n_chunks,
                         (int)shape->n_micro_batches, (int)shape->group_size);
    }
    if (shape->n_stages < schedule->min_stages) {
        return galv_fail(err, GALV_USAGE,
                         "schedule %s needs at least %d pipeline stages, not %d", name,
                         (int)schedule->min_stages, (int)shape->n_stages);
    }
    if (shape->n_chunks < schedule->min_chunks ||
        shape->n_chunks > schedule->max_chunks) {
        int32_t nearest = shape->n_chunks < schedule->min_chunks ? schedule->min_chunks
                                                                 : schedule->max_chunks;
        return galv_fail(err, GALV_USAGE,
                         "schedule %s cannot have %d chunks a stage; the nearest is %d",
                         name, (int)shape->n_chunks, (int)nearest);
    }
    return GALV_OK;
}
