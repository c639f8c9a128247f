#include "search/trial.h"

#include "sim/evaluate.h"

#include <math.h>
#include <string.h>

/* Peaks that are nearer to the limit than this, relative, are not told by passes that
 * are played once each. */
#define AT_THE_EDGE 1e-9

enum { TIME_BITS = 34 };

static double comparable(double time_s)
{
    int exponent = 0;
    double mantissa = frexp(time_s, &exponent);
    return ldexp(floor(ldexp(mantissa, TIME_BITS)), exponent - TIME_BITS);
}

galv_status galv_trial(galv_searched *c, const galv_costmodel *model,
                       const galv_plan *plan, galv_prices *prices, double stop_at_s,
                       galv_arena *arena, galv_err *err)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    galv_result result;
    memset(&result, 0, sizeof result);
    options.sim.stop_at_s = stop_at_s;
    options.sim.repeat_passes = true;
    options.prices = prices;
    options.by_pass = true;
    galv_status status = galv_evaluate(&result, model, plan, &options, arena, err);
    double limit_bytes = galv_costmodel_memory_limit(model);
    if (status == GALV_OK && !result.stopped &&
        fabs(result.peak_memory_bytes - limit_bytes) <= AT_THE_EDGE * limit_bytes) {
        options.sim.repeat_passes = false;
        status = galv_evaluate(&result, model, plan, &options, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    if (result.stopped) {
        c->fate = GALV_FATE_BOUNDED;
        c->bound_s = fmax(c->bound_s, stop_at_s);
        return GALV_OK;
    }
    c->fate = result.fits ? GALV_FATE_SIMULATED : GALV_FATE_OUT_OF_MEMORY;
    c->peak_memory_bytes = result.peak_memory_bytes;
    if (result.fits) {
        c->time_s = comparable(result.iteration_time_s);
    }
    return GALV_OK;
}
