/* Experts: refused by the trainer until they are written. */
#include "exec/worker.h"

#define NOTHING(name)                                                      \
    void name(galv_worker *w, galv_layer_work *layer, galv_saved *s)       \
    {                                                                      \
        (void)layer;                                                       \
        (void)s;                                                           \
        galv_fail(&w->err, GALV_UNAVAILABLE, "experts cannot be run yet"); \
    }
NOTHING(galv_router_forward)
NOTHING(galv_experts_forward)
NOTHING(galv_combine_forward)
NOTHING(galv_combine_backward)
NOTHING(galv_experts_backward)
NOTHING(galv_router_backward)
NOTHING(galv_router_finish)
NOTHING(galv_experts_weight)
NOTHING(galv_router_weight)

void galv_routed_drop(galv_worker *w, galv_saved *s)
{
    (void)w;
    (void)s;
}
