/* Matrix products: tiles, waves, and the memory beside them.
 *
 * A product of m x n outputs is cut into tiles; the tiles are dealt to the SMs in
 * waves, the last of which may be nearly empty. A library has several tile shapes; it
 * may cut k into s parts and add the partial sums up, or let SMs share tiles so that
 * all end together (stream-K); it picks what is fastest, and so does this. Per tile:
 *
 *   C   = batch ceil(m/Tm) ceil(n/Tn)                tiles; u = C/SM even waves
 *   W   = max(1, (1 - q) u + q ceil(u))              waves; schedulers hide part
 *   t_c = W(u) c (k + k0)                            c = 2 Tm Tn / (P/SM e)
 *       or W(u s) c (k/s + k0) + 8 s m n / (BW e_b)  s = 2 to 8 parts of k
 *       or c (u k + k0 + k1)                         shared tiles; k1 to put together
 *   t_c = t_c / (1 - d F/(F + F0))                   clocks fall in long kernels
 *   t_m = bytes / (BW e_b)                           + gradient sums at 0.85 BW
 *   t   = t0 + (t_c^4 + t_m^4)^(1/4) + v m k / BW
 *
 * Products in 8 bits and less first make the left operand narrow, by kernels of their
 * own: one looks for its largest value, one reads, scales and writes it, v bytes for
 * each of its m k elements (8.1 and 8.7 on H100 and B200, TensorRT-LLM), and t0 is that
 * of all of them. Without that term the same points are 13 and 8 % off, with it 3 %.
 *
 * m counts the rows of a row-major result: libraries prefer one lie of a tile over the
 * other. The constants (data/gemm.csv) were fitted to measured points of each device by
 * benchmarks/fit_gemm.c; that file's table says how far off they are on points held
 * out. Harnesses that measure one shape on one kind of device differ by 5 % in the mean
 * even where their medians agree, since each library chooses kernels by rules of its
 * own; where it chooses badly (Blackwell, most of all) the law is too fast. Sources of
 * the points: aiconfigurator (Apache-2.0). Wave arithmetic: NVIDIA, Matrix
 * Multiplication Background; shared tiles: Osama et al. 2023 (arXiv 2301.03598).
 * A harness that is slower than the others in what both measured is so by as much in
 * what it alone measured: that is taken out (harness_ratio). Products that the user
 * measured replace the law, and move it near them (gemm_points.c). Left out: alignment
 * of odd sizes, transposed layouts (in the in-situ factor), libraries' wrong choices.
 */
#include "costmodel/kernels_internal.h"

#include <math.h>
#include <stdint.h>

/* ceil() of what is positive and fits: without a call. */
static double whole(double x)
{
    double floor = (double)(int64_t)x;
    return floor < x ? floor + 1 : floor;
}

static double waves(const galv_gemm_law *law, double even)
{
    if (even <= 1) {
        return 1;
    }
    return (1 - law->quantization) * even + law->quantization * whole(even);
}

/* Ways of cutting k, and from how many waves on nobody cuts it. */
#define MOST_PARTS 8
#define MOST_WAVES 6

/* More than products of a few factors round by, so that no tile is left out that the
 * comparison in full would have taken. */
#define ROUNDING 1e-9

static double fastest_tile(const galv_gemm_law *law, double batch, double m, double n,
                           double k)
{
    double best = HUGE_VAL;
    double sum_s = 8 * batch * m * n / law->bytes_per_s;
    double share = (1 - ROUNDING) * batch * m * n * k / law->n_sm;
    for (int i = 0; i < law->n_tiles; i++) {
        const galv_gemm_tile *tile = &law->tiles[i];
        if (share * tile->s_per_k >= best * (tile->rows * tile->columns)) {
            break; /* too slow even if none of it were wasted, and so are the rest */
        }
        double tiles = batch * whole(m / tile->rows) * whole(n / tile->columns);
        double even = tiles / law->n_sm;
        double least = even * tile->s_per_k * k;
        if (least >= best) {
            continue;
        }
        double time = waves(law, even) * tile->s_per_k * (k + law->k0);
        best = time < best ? time : best;
        if (law->fixup_k > 0) {
            time = least + tile->s_per_k * (law->k0 + law->fixup_k);
            best = time < best ? time : best;
        }
        /* a part takes at least its even share, its start and its sums */
        double part_s = even * tile->s_per_k * law->k0 + sum_s;
        for (double parts = 2;
             even < MOST_WAVES && parts <= MOST_PARTS && least + parts * part_s < best;
             parts++) {
            time = waves(law, even * parts) * tile->s_per_k * (k / parts + law->k0) +
                   parts * sum_s;
            best = time < best ? time : best;
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
    double scale = batch > 1 ? 1 : galv_gemm_choice(&law->choices, m, n, k);
    if (law->n_points > 0) {
        double alone = batch > 1 ? 0 : galv_gemm_measured(law, m, n, k);
        if (alone > 0) {
            return law->factor * alone +
                   (output_bytes - 2) * m * n / law->stream_bytes_per_s;
        }
        scale *= galv_gemm_scale(law, m, n, k);
    }
    double flop = 2 * batch * m * n * k;
    double compute = fastest_tile(law, batch, m, n, k) /
                     (1 - law->droop * flop / (flop + law->droop_flop));
    double bytes = batch * (law->input_bytes * (m * k + k * n) + 2 * m * n);
    double memory = bytes / law->bytes_per_s +
                    batch * (output_bytes - 2) * m * n / law->stream_bytes_per_s;
    double c2 = compute * compute;
    double m2 = memory * memory;
    double convert = law->convert_bytes * batch * m * k / law->memory_bytes_per_s;
    return scale * (law->t0_s + convert + law->factor * sqrt(sqrt(c2 * c2 + m2 * m2)));
}
