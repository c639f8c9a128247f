/* Validation as an outsider would see it: what is predicted is left out of what the
 * factors are fitted to. */
#ifndef GALV_ACCURACY_LEAVE_OUT_H
#define GALV_ACCURACY_LEAVE_OUT_H

#include "accuracy/validation.h"

/* Predicts every case again with the knobs of accuracy/factors.h fitted anew to the
 * timed cases of its stack (same generation, software and width of precision) that have
 * another word: `by` is GALV_BY_SOURCE or GALV_BY_FAMILY (accuracy/error_sums.h). The
 * distances from the built-in values are carried over, so runs of one device of a
 * generation speak for the others. `refitted[n_cases]` tells which cases had such runs,
 * at least three; the others are as galv_validate predicts them. At most 16 runs of a
 * source are fitted to, evenly chosen.
 *
 * The fit starts from the values compiled in and is held near them as any calibration
 * is: it undoes what the left-out cases had pulled them to only as far as the others
 * pull elsewhere. About a minute for hundreds of cases. */
galv_status galv_leave_out(galv_validation *validation, bool **refitted,
                           const galv_case *cases, size_t n_cases, int by,
                           const galv_profile *profile, int n_jobs, galv_arena *arena,
                           galv_err *err);

#endif
