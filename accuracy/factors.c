/* Knobs.
 *
 * The standard deviations say how much a factor differed between the stacks of one
 * generation that were calibrated (insitu.csv: matrix products 1.08 to 1.42, attention
 * 1.08 to 2.0, the host 300 to 750 us), and leave room for machines that are off by
 * half; they keep a calibration on one run from explaining it by absurd values. A stack
 * that fuses no memory-bound kernel moves up to twice the bytes of one that fuses all,
 * which is two of their deviations to either side of what is built in or less; those of
 * HOST and MEMORY were set, within that, by how many validated runs lie in their
 * intervals in each range of the host's share (interval.c).
 *
 * What x = 0 means is asked of the cost model. */
#include "accuracy/factors.h"

#include "costmodel/costmodel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define GALV_INFO(id, sd, floor, most, first, second, meaning) \
    {sd, floor, most, {first, second}, meaning},
const galv_knob_info galv_knobs[GALV_N_KNOBS] = {GALV_KNOB_TABLE(GALV_INFO)};
#undef GALV_INFO

double galv_knob_value(galv_knob knob, double at_zero, double x)
{
    const galv_knob_info *info = &galv_knobs[knob];
    double value = info->floor + (at_zero - info->floor) * exp(x);
    double most = fmax(info->most, at_zero);
    return fmin(value, most);
}

double galv_knob_most_x(galv_knob knob, double at_zero)
{
    const galv_knob_info *info = &galv_knobs[knob];
    double most = fmax(info->most, at_zero);
    return at_zero > info->floor ? log((most - info->floor) / (at_zero - info->floor))
                                 : HUGE_VAL;
}

void galv_knob_zeros_init(galv_knob_zeros *zeros, const galv_device *device,
                          const galv_workload *workload, const galv_profile *profile)
{
    for (int knob = 0; knob < GALV_N_KNOBS; knob++) {
        for (int i = 0; i < GALV_MAX_FACTORS_OF_KNOB; i++) {
            const char *name = galv_knobs[knob].factors[i];
            zeros->value[knob][i] =
                name == NULL ? (double)NAN
                             : galv_costmodel_factor(name, device, workload, profile);
        }
    }
}

galv_status galv_knobs_to_profile(galv_profile *profile, const double *x,
                                  const galv_knob_zeros *zeros,
                                  const galv_device *device, galv_precision precision,
                                  const char *source, galv_err *err)
{
    for (int knob = 0; knob < GALV_N_KNOBS; knob++) {
        for (int i = 0; i < GALV_MAX_FACTORS_OF_KNOB; i++) {
            double at_zero = zeros->value[knob][i];
            if (x[knob] == 0 || isnan(at_zero)) {
                continue;
            }
            galv_profile_row row = {.kind = GALV_PROFILE_FACTOR,
                                    .precision = (int)precision,
                                    .tp = 1,
                                    .cp = 1,
                                    .micro_batch_size = 1};
            snprintf(row.device, sizeof row.device, "%s", device->id);
            snprintf(row.op, sizeof row.op, "%s", galv_knobs[knob].factors[i]);
            snprintf(row.source, sizeof row.source, "%s", source);
            row.value = galv_knob_value((galv_knob)knob, at_zero, x[knob]);
            galv_status status = galv_profile_add(profile, &row, err);
            if (status != GALV_OK) {
                return status;
            }
        }
    }
    return GALV_OK;
}
