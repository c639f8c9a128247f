/* What the writers of timelines share. */
#ifndef GALV_TRACES_TIMELINE_INTERNAL_H
#define GALV_TRACES_TIMELINE_INTERNAL_H

#include "base/text.h"
#include "traces/timeline.h"

/* Bounds of what a timeline may hold: 31 years (so that nanoseconds fit 63 bits), 4
 * million ranks (what an array per rank can bear). */
#define GALV_TIMELINE_MAX_S      1e9
#define GALV_TIMELINE_MAX_BYTES  1e24
#define GALV_TIMELINE_MAX_RANKS  (1 << 22)
#define GALV_TIMELINE_MAX_LAYERS 1000000000

/* Fails with GALV_INTERNAL when a span or a sample could not be read back: a word out
 * of its table, a rank beyond the count, a time that is negative, NaN, or ends before
 * it begins. That is a defect of whoever made the timeline. O(n). */
galv_status galv_timeline_check(const galv_timeline *timeline, galv_err *err);

/* The documents themselves, appended to `out`; writing them to files is what the public
 * functions add. */
galv_status galv_timeline_put_csv(galv_text *out, const galv_timeline *timeline,
                                  galv_err *err);
galv_status galv_timeline_put_chrome(galv_text *out, const galv_timeline *timeline,
                                     galv_err *err);

#endif
