/* Fused attention: work over a peak that longer sequences come closer to.
 *
 *   t = t0 + F / (P e) (1 + S0/s)
 *
 * F is what is executed: a causal kernel skips half of the square. S0, the length at
 * which half of the final speed is reached, stands for the ragged edge of the mask and
 * for pipelines that fill. Fits (data/attention.csv): 0.5 to 5 % for cuDNN on Hopper
 * and Blackwell, 4 to 11 % for inference kernels. Sources: cudnn-frontend benchmarks
 * (MIT), aiconfigurator (Apache-2.0).
 * However few the heads, one tile of queries must pass over all keys on one SM, so a
 * kernel takes at least
 *
 *   F_tile / (P/SM e),  F_tile = 2 Tq s (d_qk + d_v)
 *
 * with Tq = 128 rows (256 on Blackwell): with 8 heads of 4096 tokens that is three
 * times the rest (SimuMax's B200 table).
 *
 * Left out: grouping of query heads (it changes bytes, not work), packed sequences of
 * unequal length, deterministic backward. */
#include "costmodel/kernels_internal.h"

#include <math.h>

double galv_attention_flop(double batch, double heads, double seq_q, double seq_kv,
                           double qk_dim, double v_dim, bool masked)
{
    double full = 2 * batch * heads * seq_q * seq_kv * (qk_dim + v_dim);
    return masked ? full / 2 : full;
}

double galv_attention_time(const galv_attention_law *law, bool backward, bool causal,
                           double flop, double seq, double head_dim)
{
    if (!(flop > 0 && seq > 0)) {
        return 0;
    }
    int n = law->n_curves[backward][causal];
    const galv_attention_curve *curves = law->curves[backward][causal];
    const galv_attention_curve *nearest = &curves[0];
    for (int i = 1; i < n; i++) {
        if (fabs(curves[i].head_dim - head_dim) < fabs(nearest->head_dim - head_dim)) {
            nearest = &curves[i];
        }
    }
    double efficiency = nearest->efficiency;
    if (head_dim < nearest->head_dim) {
        /* narrow heads: exponentials cost as much as for wide ones, products less;
         * a quarter less speed at half the width is what H100 and B200 curves show */
        efficiency *= pow(head_dim / nearest->head_dim, law->narrow_heads);
    }
    double rate = law->peak_flop_per_s * efficiency;
    double filled = flop / rate * (1 + nearest->half_length / seq);
    double tile = (backward ? 2.5 : 1) * 4 * law->tile_rows * seq * head_dim;
    double alone = tile * law->n_sm / rate;
    return nearest->t0_s + law->factor * fmax(filled, alone);
}
