/* Most plans that are judged are no better than what is known. That they are not shows
 * when passes that repeat are played once, at a fraction of the work and up to
 * rounding; who comes close is played whole, so that the last bits of what is found,
 * and with them the choice between plans that take the same time, are the engine's. */
#include "search/judge.h"

/* More than roundings of the quicker play can make of a time. */
#define MARGIN 1e-9

galv_status galv_judge_plan(galv_result *result, const galv_costmodel *model,
                            const galv_plan *plan, galv_prices *prices,
                            double stop_at_s, galv_arena *arena, galv_err *err)
{
    galv_evaluate_options options = GALV_EVALUATE_OPTIONS_INIT;
    options.prices = prices;
    options.by_pass = true;
    if (stop_at_s > 0) {
        options.sim.stop_at_s = stop_at_s * (1 + MARGIN);
        options.sim.repeat_passes = true;
        galv_status status = galv_evaluate(result, model, plan, &options, arena, err);
        if (status != GALV_OK || result->stopped) {
            return status;
        }
    }
    options.sim.stop_at_s = stop_at_s;
    options.sim.repeat_passes = false;
    return galv_evaluate(result, model, plan, &options, arena, err);
}
