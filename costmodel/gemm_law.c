/* Constants of matrix products for a device and a precision (data/gemm.csv).
 *
 * A column e_RxC is the share of an SM's peak that tiles of R rows and C columns reach;
 * empty where the library has no such tile. fp16 and tf32 take the shares of bf16: the
 * same pipelines. A device that nobody measured takes the best product it is known to
 * sustain, else a usual share of its peak (data/laws.csv). */
#include "costmodel/costmodel.h"
#include "costmodel/device_law_internal.h"
#include "costmodel/law_table_internal.h"

#include <stdio.h>
#include <string.h>

static void add_tile(galv_gemm_law *law, double peak, double rows, double columns,
                     double efficiency)
{
    if (!(efficiency > 0.05) || law->n_tiles == GALV_MAX_TILES) {
        return;
    }
    /* the fastest first: it is mostly the one, and others need not be looked at */
    int at = law->n_tiles++;
    for (; at > 0 && law->tiles[at - 1].s_per_k /
                             (law->tiles[at - 1].rows * law->tiles[at - 1].columns) >
                         2 / (peak / law->n_sm * efficiency);
         at--) {
        law->tiles[at] = law->tiles[at - 1];
    }
    galv_gemm_tile *tile = &law->tiles[at];
    tile->rows = rows;
    tile->columns = columns;
    tile->s_per_k = 2 * rows * columns / (peak / law->n_sm * efficiency);
}

static void default_constants(galv_gemm_law *law, const galv_device *device,
                              double peak, bool narrow, const double *constants)
{
    double half = galv_device_peak(device, GALV_BF16);
    double efficiency = device->sustained_bf16_flop_per_s > 0
                            ? device->sustained_bf16_flop_per_s / half
                            : constants[GALV_CONSTANT_PRODUCT_SHARE];
    efficiency = fmin(efficiency, 0.95) /
                 (narrow ? constants[GALV_CONSTANT_NARROW_CONVERSION] : 1);
    law->t0_s = 1e-6 * constants[GALV_CONSTANT_PRODUCT_START_US];
    law->k0 = constants[GALV_CONSTANT_PRODUCT_START_K];
    law->quantization = constants[GALV_CONSTANT_PRODUCT_WAVES];
    law->bytes_per_s =
        constants[GALV_CONSTANT_PRODUCT_MEMORY_SHARE] * device->memory_bytes_per_s;
    law->droop_flop = 1e12 * constants[GALV_CONSTANT_PRODUCT_DROOP_TFLOP];
    double of_half = constants[GALV_CONSTANT_TILE_OF_HALF];
    double of_quarter = constants[GALV_CONSTANT_TILE_OF_QUARTER];
    add_tile(law, peak, 256, 128, efficiency);
    add_tile(law, peak, 128, 256, efficiency);
    add_tile(law, peak, 128, 128, of_half * efficiency);
    add_tile(law, peak, 128, 64, of_quarter * efficiency);
    add_tile(law, peak, 64, 128, of_quarter * efficiency);
    add_tile(law, peak, 64, 64, of_quarter * efficiency);
    law->provenance = GALV_PROVENANCE_ANALYTIC;
}

/* Speed of a device over that of the measured one, both as shares of their peaks: 1 for
 * the same silicon; as the products that both are known to sustain; else what its power
 * limit leaves, where n times the peak takes n times the power. Sets *spare where the
 * limit is more than twice that. */
static double relative_speed(bool *spare, galv_law_table *t, size_t row,
                             const galv_device *device, galv_kinship kin,
                             double exponent)
{
    double usual_w = galv_law_number(t, row, "tdp_w", 0);
    double peak = 1e12 * galv_law_number(t, row, "peak_tflops", 0);
    double sustained = 1e12 * galv_law_number(t, row, "sustained_tflops", 0);
    double own_peak = galv_device_peak(device, GALV_BF16);
    bool related = kin < GALV_KIN_SILICON;
    *spare = false;
    if (related && sustained > 0 && device->sustained_bf16_flop_per_s > 0) {
        return device->sustained_bf16_flop_per_s / own_peak / (sustained / peak);
    }
    double needed_w = related && peak > 0 ? usual_w * own_peak / peak : usual_w;
    *spare = related && device->tdp_w >= 2 * needed_w;
    bool capped = device->tdp_w > 0 && needed_w > device->tdp_w;
    return capped ? pow(device->tdp_w / needed_w, exponent) : 1;
}

static void fitted_constants(galv_gemm_law *law, galv_law_table *t, size_t row,
                             const galv_device *device, double peak)
{
    law->harness = galv_law_number(t, row, "harness_ratio", 1);
    law->t0_s = 1e-6 * galv_law_number(t, row, "t0_us", 3) / law->harness;
    law->k0 = galv_law_number(t, row, "k0", 128);
    law->fixup_k = galv_law_number(t, row, "fixup_k", 0);
    law->quantization = galv_law_number(t, row, "quantization", 0.5);
    law->bytes_per_s = galv_law_number(t, row, "bandwidth_frac", 0.85) *
                       device->memory_bytes_per_s * law->harness;
    law->droop = galv_law_number(t, row, "droop", 0);
    law->droop_flop =
        1e12 * galv_positive(galv_law_number(t, row, "droop_tflop", 1), 1e-9);
    law->convert_bytes = galv_law_number(t, row, "convert_bytes", 0) / law->harness;
    if (law->convert_bytes > 0) {
        law->input_bytes = 1;
    }
    for (size_t column = 0; column < t->csv.n_columns; column++) {
        int rows = 0;
        int columns = 0;
        const char *name = t->csv.columns[column];
        if (sscanf(name, "e_%dx%d", &rows, &columns) == 2 && rows > 0 && columns > 0) {
            add_tile(law, peak, rows, columns,
                     law->harness * galv_law_number(t, row, name, 0));
        }
    }
}

/* By how much products of a long run are slower than the same alone, for milliseconds:
 * what more a chip computes for each watt that its limit leaves it, the deeper its
 * clocks fall once it is warm. Linear in peak over power; one slope (factor throttle)
 * makes of the kernels' laws what A100, H100 and H100 capped at 500 W show in training,
 * and tells B200's to half of what Hopper's factor misses it by. Of a device whose
 * limit is not known, a TFLOP/s for each watt. */
static double throttling(const galv_device_law *law, const galv_device *device)
{
    double peak = galv_device_peak(device, GALV_BF16);
    double density = device->tdp_w > 0 ? 1e-12 * peak / device->tdp_w : 1;
    return 1 + law->factors[GALV_FACTOR_THROTTLE] * density;
}

/* The row of the nearest kin that was measured in a precision. */
static galv_kinship nearest_row(size_t *best_row, galv_law_table *t,
                                const galv_device *device, galv_precision precision)
{
    galv_kinship best = GALV_KIN_NONE;
    for (size_t row = 0; row < t->csv.n_rows; row++) {
        galv_kinship kin = galv_law_kinship(t, row, device);
        if (kin > best && strcmp(galv_law_cell(t, row, "precision"),
                                 galv_precision_names[precision]) == 0) {
            best = kin;
            *best_row = row;
        }
    }
    return best;
}

/* A precision that a device has not is taken as the one that stands in for it, unless
 * its generation was measured emulating it (mxfp8 on Hopper: scales by blocks). */
void galv_gemm_law_init(galv_device_law *law, galv_law_table *t,
                        const galv_device *device, galv_precision precision)
{
    galv_gemm_law *gemm = &law->gemm[precision];
    double peak = galv_device_peak(device, precision);
    gemm->harness = 1;
    gemm->n_sm = galv_positive(device->n_sm, 100);
    gemm->input_bytes = precision <= GALV_TF32 ? 4 : 2;
    gemm->memory_bytes_per_s = galv_positive(device->memory_bytes_per_s, 1e11);
    gemm->factor = law->factors[GALV_FACTOR_GEMM] * throttling(law, device);
    gemm->stream_bytes_per_s =
        law->constants[GALV_CONSTANT_PRODUCT_MEMORY_SHARE] * gemm->memory_bytes_per_s;
    bool narrow = precision >= GALV_FP8 && peak > galv_device_peak(device, GALV_BF16);
    galv_precision own = narrow ? precision : GALV_BF16;
    size_t best_row = 0;
    galv_kinship best = nearest_row(&best_row, t, device, own);
    galv_precision stand_in = galv_device_stand_in(device, own);
    if (narrow && stand_in != own && best == GALV_KIN_NONE) {
        best = nearest_row(&best_row, t, device, stand_in);
    }
    if (best == GALV_KIN_NONE) {
        default_constants(gemm, device, peak, narrow, law->constants);
        return;
    }
    bool spare = false;
    double speed = relative_speed(&spare, t, best_row, device, best,
                                  law->factors[GALV_FACTOR_POWER]);
    fitted_constants(gemm, t, best_row, device, peak * speed);
    if (spare && !narrow) {
        gemm->droop = 0; /* nothing makes its clocks fall */
    }
    bool half = precision == GALV_BF16 || precision == GALV_FP16;
    if (best >= GALV_KIN_SILICON && half &&
        !galv_gemm_choices_find(&gemm->choices, galv_law_cell(t, best_row, "device"))) {
        t->status = galv_fail(t->err, GALV_INTERNAL, "gemm_choices.csv is broken");
    }
    law->power = speed;
    gemm->provenance =
        best >= GALV_KIN_SILICON ? GALV_PROVENANCE_FITTED : GALV_PROVENANCE_ANALYTIC;
}
