/* Matrix products: tiles, waves, and the memory beside them.
 *
 * A product of m x n outputs is cut into tiles; the tiles are dealt to the SMs in
 * waves, the last of which may be nearly empty. A library has several tile shapes and
 * may split k over several tiles; it picks what is fastest, and so does this. Per tile:
 *
 *   C   = batch ceil(m/Tm) ceil(n/Tn) s             tiles, k split s ways
 *   w   = max(1, (1 - q) C/SM + q ceil(C/SM))        waves; schedulers hide part
 *   t_c = w 2 Tm Tn (k/s + k0) / (P/SM e)            + traffic of the partial sums
 *   t_c = t_c / (1 - d F/(F + F0))                   clocks fall in long kernels
 *   t_m = bytes / (BW e_b)                           + gradient sums at 0.85 BW
 *   t   = t0 + (t_c^4 + t_m^4)^(1/4)
 *
 * The constants (data/gemm.csv) were fitted to 4 300 to 6 500 measured points for each
 * device and precision; on points held out the error is 3 to 6 % (fp8 10 to 12 %: the
 * points hold the conversion of the inputs). Source of the points: aiconfigurator
 * (Apache-2.0); wave arithmetic: NVIDIA, Matrix Multiplication Background.
 * Products that the user measured replace the law, and move it near them
 * (gemm_points.c).
 * Left out: alignment of odd sizes, transposed layouts (in the in-situ factor),
 * libraries' wrong choices. */
#include "costmodel/kernels_internal.h"

#include <math.h>

static double waves(const galv_gemm_law *law, double tiles)
{
    double even = tiles / law->n_sm;
    if (even <= 1) {
        return 1;
    }
    return (1 - law->quantization) * even + law->quantization * ceil(even);
}

static double fastest_tile(const galv_gemm_law *law, double batch, double m, double n,
                           double k)
{
    double best = HUGE_VAL;
    for (int i = 0; i < law->n_tiles; i++) {
        const galv_gemm_tile *tile = &law->tiles[i];
        double tiles = batch * ceil(m / tile->rows) * ceil(n / tile->columns);
        double time = waves(law, tiles) * tile->s_per_k * (k + law->k0);
        if (time < best) {
            best = time;
        }
        /* partial sums are worth it only where SMs would be idle */
        for (double split = 2; split <= 4 && tiles * split <= 2 * law->n_sm;
             split *= 2) {
            double partial =
                waves(law, tiles * split) * tile->s_per_k * (k / split + law->k0) +
                8 * split * batch * m * n / law->bytes_per_s;
            if (partial < best) {
                best = partial;
            }
        }
    }
    return best;
}

double galv_gemm_time(const galv_gemm_law *law, double batch, double m, double n,
                      double k, double output_bytes)
{
    if (!(batch > 0 && m > 0 && n > 0 && k > 0)) {
        return 0;
    }
    double scale = 1;
    if (law->n_points > 0) {
        double alone = batch > 1 ? 0 : galv_gemm_measured(law, m, n, k);
        if (alone > 0) {
            return law->factor * alone +
                   (output_bytes - 2) * m * n / law->stream_bytes_per_s;
        }
        scale = galv_gemm_scale(law, m, n, k);
    }
    double flop = 2 * batch * m * n * k;
    double compute = fastest_tile(law, batch, m, n, k) /
                     (1 - law->droop * flop / (flop + law->droop_flop));
    double bytes = batch * (law->input_bytes * (m * k + k * n) + 2 * m * n);
    double memory = bytes / law->bytes_per_s +
                    batch * (output_bytes - 2) * m * n / law->stream_bytes_per_s;
    double c2 = compute * compute;
    double m2 = memory * memory;
    return scale * (law->t0_s + law->factor * sqrt(sqrt(c2 * c2 + m2 * m2)));
}
