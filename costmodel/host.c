/* The host's share of a layer: the launches of its kernels.
 *
 * A stack has a time for the forward and one for the backward pass of a layer of the
 * usual kind (factors host_forward_us and host_backward_us); a part takes its share of
 * the kernels, a layer with experts or a second attention more. Left out: what the
 * host does for embedding and head, which is in chunk_us. */
#include "costmodel/layer_internal.h"

/* Share of a block's kernel launches that a part has. */
static double launch_share(const galv_layer_group *group, int part)
{
    bool moe = group->kind == GALV_LAYER_MOE_DECODER;
    double cross = group->kind == GALV_LAYER_CROSS_DECODER ? 0.5 : 0;
    switch (part) {
    case GALV_PART_WHOLE:
        return moe ? 1.6 : group->num_attention_heads > 0 ? 1 + cross : 0;
    case GALV_PART_ATTENTION:
        return 0.55 + cross;
    case GALV_PART_MLP:
        return moe ? 0 : 0.45;
    case GALV_PART_ROUTER:
        return moe ? 0.55 : 0;
    case GALV_PART_EXPERTS:
        return moe ? 0.3 : 0;
    case GALV_PART_COMBINE:
        return moe ? 0.2 : 0;
    default:
        return 0;
    }
}

double galv_layer_host_time(const galv_device_law *law, const galv_layer_share *share,
                            int part, int pass)
{
    bool forward = pass == GALV_OP_FORWARD || pass == GALV_OP_RECOMPUTE;
    double us =
        law->factors[forward ? GALV_FACTOR_HOST_FORWARD : GALV_FACTOR_HOST_BACKWARD];
    if (pass == GALV_OP_BACKWARD_INPUT) {
        us *= 0.65;
    } else if (pass == GALV_OP_BACKWARD_WEIGHT) {
        us *= 0.35;
    }
    return 1e-6 * us * launch_share(share->group, part);
}
