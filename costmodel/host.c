/* The host's share of a layer: the launches of its kernels.
 *
 * A stack has a time for the forward and one for the backward pass of a layer of the
 * usual kind (factors host_forward_us and host_backward_us); a part takes its share of
 * the kernels, a layer with experts or a second attention more. A collective between
 * tensor-parallel ranks takes the host's time for its launch and for the slowest of t
 * hosts, which grows with log2 t (factor host_collective_us).
 *
 * Kernels of a layer differ in length: the host sets the pace of the short ones, the
 * device that of the long ones, and neither hides the other altogether. Of device
 * seconds d and host seconds h comes
 *
 *   t = (d^e + h^e)^(1/e)
 *
 * which is the longer of the two where they are far apart, and 2^(1/e) of either where
 * they are equal (factor pace_exponent, 2). Left out: what the host does for embedding
 * and head, which is in chunk_us. */
#include "costmodel/layer_internal.h"

#include <math.h>

/* Share of a block's kernel launches that a part has (factors launches_*). */
static double launch_share(const double *factors, const galv_layer_group *group,
                           int part)
{
    bool moe = group->kind == GALV_LAYER_MOE_DECODER;
    bool cross = group->kind == GALV_LAYER_CROSS_DECODER;
    double attention = factors[GALV_FACTOR_LAUNCHES_ATTENTION];
    double second = cross ? factors[GALV_FACTOR_LAUNCHES_CROSS] : 0;
    double router = factors[GALV_FACTOR_LAUNCHES_ROUTER];
    double experts = factors[GALV_FACTOR_LAUNCHES_EXPERTS];
    double combine = factors[GALV_FACTOR_LAUNCHES_COMBINE];
    switch (part) {
    case GALV_PART_WHOLE:
        return moe                              ? attention + router + experts + combine
               : group->num_attention_heads > 0 ? 1 + second
                                                : 0;
    case GALV_PART_ATTENTION:
        return attention + second;
    case GALV_PART_MLP:
        return moe ? 0 : 1 - attention;
    case GALV_PART_ROUTER:
        return moe ? router : 0;
    case GALV_PART_EXPERTS:
        return moe ? experts : 0;
    case GALV_PART_COMBINE:
        return moe ? combine : 0;
    default:
        return 0;
    }
}

/* Collectives between tensor-parallel ranks in line with a part, one way. */
static double collectives_in_line(const galv_layer_group *group, int part)
{
    if (group->num_attention_heads == 0) {
        return 0;
    }
    switch (part) {
    case GALV_PART_WHOLE:
        return 2;
    case GALV_PART_ATTENTION:
    case GALV_PART_MLP:
    case GALV_PART_COMBINE:
        return 1;
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
        us *= law->factors[GALV_FACTOR_LAUNCHES_INPUT];
    } else if (pass == GALV_OP_BACKWARD_WEIGHT) {
        us *= 1 - law->factors[GALV_FACTOR_LAUNCHES_INPUT];
    }
    us *= launch_share(law->factors, share->group, part);
    if (share->tp > 1 && pass != GALV_OP_BACKWARD_WEIGHT) {
        us += law->factors[GALV_FACTOR_HOST_COLLECTIVE] * log2(share->tp) *
              collectives_in_line(share->group, part);
    }
    return 1e-6 * us;
}

double galv_paced_time(const galv_device_law *law, double device_s, double host_s)
{
    double e = fmax(1, law->factors[GALV_FACTOR_PACE_EXPONENT]);
    if (fabs(e - 2) < 1e-12) {
        return sqrt(device_s * device_s + host_s * host_s);
    }
    double longer = fmax(device_s, host_s);
    double shorter = fmin(device_s, host_s);
    return longer > 0 ? longer * pow(1 + pow(shorter / longer, e), 1 / e) : 0;
}
