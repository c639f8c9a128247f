/* Laws of a device, from the tables compiled in.
 *
 * A device takes the constants measured on itself; else those of the same silicon
 * ("also" in the tables); else, and then its numbers are called analytic, those of the
 * same architecture, or at least generation, scaled to its own peaks; else general
 * ones. Constants are shares of
 * peaks, so what-if changes of a peak or a bandwidth carry over.
 *
 * In-situ factors (data/insitu.csv): rows are read in order and the last one that
 * matches generation, precision, software and year wins, so general rows come first. */
#include "costmodel/device_law_internal.h"

#include "base/words.h"
#include "costmodel/costmodel.h"
#include "costmodel/law_table_internal.h"

#include <math.h>
#include <string.h>

extern const char galv_data_gemm_csv[];
extern const size_t galv_data_gemm_csv_length;
extern const char galv_data_attention_csv[];
extern const size_t galv_data_attention_csv_length;
extern const char galv_data_memory_bound_csv[];
extern const size_t galv_data_memory_bound_csv_length;
extern const char galv_data_collective_csv[];
extern const size_t galv_data_collective_csv_length;
extern const char galv_data_laws_csv[];
extern const size_t galv_data_laws_csv_length;
extern const char galv_data_insitu_csv[];
extern const size_t galv_data_insitu_csv_length;

#define GALV_WORD(name, word) word,
const char *const galv_factor_names[GALV_N_FACTORS] = {GALV_FACTOR_TABLE(GALV_WORD)};
#undef GALV_WORD

galv_precision galv_device_stand_in(const galv_device *device, galv_precision precision)
{
    const double *peak = device->peak_flop_per_s;
    galv_precision half = peak[GALV_BF16] > 0 ? GALV_BF16 : GALV_FP16;
    if (peak[precision] > 0) {
        return precision;
    }
    switch (precision) {
    case GALV_MXFP8:
    case GALV_NVFP4:
        return peak[GALV_FP8] > 0 ? GALV_FP8 : half;
    case GALV_FP32:
    case GALV_TF32: {
        galv_precision other = precision == GALV_FP32 ? GALV_TF32 : GALV_FP32;
        return peak[other] > 0 ? other : half;
    }
    default:
        return half;
    }
}

double galv_device_peak(const galv_device *device, galv_precision precision)
{
    galv_precision stand_in = galv_device_stand_in(device, precision);
    double peak = galv_positive(device->peak_flop_per_s[stand_in], 1e12);
    bool full = precision == GALV_FP32 || precision == GALV_TF32;
    bool half = stand_in == GALV_BF16 || stand_in == GALV_FP16;
    return full && half ? peak / 8 : peak;
}

/* ---- in-situ factors ---- */

static bool matches(const char *pattern, const char *word)
{
    return strcmp(pattern, "*") == 0 || pattern[0] == '\0' ||
           galv_same_generation(pattern, word);
}

static void read_factors(galv_device_law *law, galv_law_table *t,
                         const galv_device *device, const galv_workload *workload)
{
    int year = workload->software_year > 0 ? workload->software_year : 9999;
    galv_precision precision = workload->precision;
    if (precision >= GALV_FP8) { /* what has no such products runs others */
        precision = galv_device_stand_in(device, precision);
    }
    for (int f = 0; f < GALV_N_FACTORS; f++) {
        law->factors[f] = 1;
    }
    for (size_t row = 0; row < t->csv.n_rows; row++) {
        int f = galv_word_index(galv_factor_names, GALV_N_FACTORS,
                                galv_law_cell(t, row, "factor"));
        if (f >= 0 && matches(galv_law_cell(t, row, "arch"), device->arch) &&
            matches(galv_law_cell(t, row, "precision"),
                    galv_precision_names[precision]) &&
            matches(galv_law_cell(t, row, "software"),
                    galv_software_names[workload->software]) &&
            year >= (int)galv_law_number(t, row, "year_from", 0)) {
            law->factors[f] = galv_law_number(t, row, "value", 1);
        }
    }
}

static bool row_is_for(const galv_profile_row *row, const galv_device *device,
                       const galv_workload *workload)
{
    return (row->device[0] == '\0' || strcmp(row->device, device->id) == 0) &&
           (row->precision < 0 || row->precision == (int)workload->precision);
}

static void override_factors(galv_device_law *law, const galv_profile *profile,
                             const galv_device *device, const galv_workload *workload)
{
    for (size_t i = 0; profile != NULL && i < profile->n_rows; i++) {
        const galv_profile_row *row = &profile->rows[i];
        if (!row_is_for(row, device, workload)) {
            continue;
        }
        if (row->kind == GALV_PROFILE_FACTOR) {
            int f = galv_word_index(galv_factor_names, GALV_N_FACTORS, row->op);
            if (f >= 0 && isfinite(row->value) && row->value >= 0) {
                law->factors[f] = row->value;
            }
        } else if (row->kind == GALV_PROFILE_OVERLAP) {
            law->factors[GALV_FACTOR_COMPUTE_SLOWDOWN] =
                row->compute_slowdown >= 1 ? row->compute_slowdown : 1;
            law->factors[GALV_FACTOR_COMM_SLOWDOWN] =
                row->comm_slowdown >= 1 ? row->comm_slowdown : 1;
            law->measured_overlap = true;
        }
    }
}

double galv_costmodel_factor(const char *name, const galv_device *device,
                             const galv_workload *workload, const galv_profile *profile)
{
    galv_err err = GALV_ERR_INIT;
    galv_law_table insitu;
    galv_device_law law;
    double value = (double)NAN;
    int f = galv_word_index(galv_factor_names, GALV_N_FACTORS, name);
    galv_arena *arena = galv_arena_new();
    if (f >= 0 && arena != NULL) {
        galv_law_table_open(&insitu, "insitu.csv", galv_data_insitu_csv,
                            galv_data_insitu_csv_length, arena, &err);
        if (insitu.status == GALV_OK) {
            read_factors(&law, &insitu, device, workload);
            override_factors(&law, profile, device, workload);
            value = law.factors[f];
        }
    }
    galv_arena_free(arena);
    return value;
}

/* ---- attention ---- */

static void put_curve(galv_attention_law *law, bool backward, bool causal,
                      const galv_attention_curve *curve)
{
    int *n = &law->n_curves[backward][causal];
    if (*n < GALV_MAX_ATTENTION_CURVES) {
        law->curves[backward][causal][(*n)++] = *curve;
    }
}

static void default_attention(galv_attention_law *law, const double *constants)
{
    for (int backward = 0; backward < 2; backward++) {
        for (int causal = 0; causal < 2; causal++) {
            galv_attention_curve curve = {
                128, 1e-6 * constants[GALV_CONSTANT_ATTENTION_START_US],
                constants[backward ? GALV_CONSTANT_ATTENTION_BACKWARD
                                   : GALV_CONSTANT_ATTENTION_FORWARD],
                constants[causal ? GALV_CONSTANT_ATTENTION_MASKED_LENGTH
                                 : GALV_CONSTANT_ATTENTION_FULL_LENGTH]};
            put_curve(law, backward != 0, causal != 0, &curve);
        }
    }
    law->provenance = GALV_PROVENANCE_ANALYTIC;
}

static void init_attention(galv_device_law *law, galv_law_table *t,
                           const galv_device *device)
{
    galv_attention_law *attention = &law->attention;
    attention->peak_flop_per_s = galv_device_peak(device, GALV_BF16) * law->power;
    attention->factor = law->factors[GALV_FACTOR_ATTENTION];
    attention->narrow_heads = law->constants[GALV_CONSTANT_NARROW_HEADS];
    attention->n_sm = galv_positive(device->n_sm, 100);
    attention->tile_rows = galv_same_generation("Blackwell", device->arch) ? 256 : 128;
    galv_kinship best = GALV_KIN_NONE;
    const char *chosen = "";
    for (size_t row = 0; row < t->csv.n_rows; row++) {
        galv_kinship kin = galv_law_kinship(t, row, device);
        if (kin > best) {
            best = kin;
            chosen = galv_law_cell(t, row, "device");
        }
    }
    if (best == GALV_KIN_NONE) {
        default_attention(attention, law->constants);
        return;
    }
    for (size_t row = 0; row < t->csv.n_rows; row++) {
        if (strcmp(galv_law_cell(t, row, "device"), chosen) != 0) {
            continue;
        }
        galv_attention_curve curve = {galv_law_number(t, row, "head_dim", 128),
                                      1e-6 * galv_law_number(t, row, "t0_us", 5),
                                      galv_law_number(t, row, "efficiency", 0.5),
                                      galv_law_number(t, row, "half_length", 500)};
        put_curve(attention, strcmp(galv_law_cell(t, row, "pass"), "backward") == 0,
                  galv_law_number(t, row, "causal", 0) > 0, &curve);
    }
    attention->provenance =
        best >= GALV_KIN_SILICON ? GALV_PROVENANCE_FITTED : GALV_PROVENANCE_ANALYTIC;
}

/* ---- memory ---- */

static void init_memory(galv_device_law *law, galv_law_table *t,
                        const galv_device *device, const galv_workload *workload)
{
    galv_memory_law *memory = &law->memory;
    double peak = galv_positive(device->memory_bytes_per_s, 1e11);
    const char *software = galv_software_names[workload->software];
    for (size_t row = 0; row < t->csv.n_rows; row++) {
        if (matches(galv_law_cell(t, row, "arch"), device->arch) &&
            matches(galv_law_cell(t, row, "software"), software)) {
            memory->t0_s = 1e-6 * galv_law_number(t, row, "t0_us", 3);
            memory->cache_bytes = 1e6 * galv_law_number(t, row, "cache_mb", 16);
            memory->forward_bytes_per_s =
                peak * galv_law_number(t, row, "forward_frac", 0.7);
            memory->backward_bytes_per_s =
                peak * galv_law_number(t, row, "backward_frac", 0.6);
            memory->stream_bytes_per_s =
                peak * galv_law_number(t, row, "stream_frac", 0.8);
            memory->provenance =
                strstr(galv_law_cell(t, row, "source"), "assumed") != NULL
                    ? GALV_PROVENANCE_ANALYTIC
                    : GALV_PROVENANCE_FITTED;
        }
    }
    memory->factor = law->factors[GALV_FACTOR_MEMORY];
    law->memory_bytes_per_s = peak;
}

galv_status galv_device_law_init(galv_device_law *law, const galv_pool *pool,
                                 const galv_workload *workload,
                                 const galv_profile *profile, galv_err *err)
{
    memset(law, 0, sizeof *law);
    law->power = 1;
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    enum { N_TABLES = 6 };
    galv_law_table tables[N_TABLES];
    galv_law_table_open(&tables[0], "insitu.csv", galv_data_insitu_csv,
                        galv_data_insitu_csv_length, arena, err);
    galv_law_table_open(&tables[1], "gemm.csv", galv_data_gemm_csv,
                        galv_data_gemm_csv_length, arena, err);
    galv_law_table_open(&tables[2], "attention.csv", galv_data_attention_csv,
                        galv_data_attention_csv_length, arena, err);
    galv_law_table_open(&tables[3], "memory_bound.csv", galv_data_memory_bound_csv,
                        galv_data_memory_bound_csv_length, arena, err);
    galv_law_table_open(&tables[4], "collective.csv", galv_data_collective_csv,
                        galv_data_collective_csv_length, arena, err);
    galv_law_table_open(&tables[5], "laws.csv", galv_data_laws_csv,
                        galv_data_laws_csv_length, arena, err);
    galv_status status = GALV_OK;
    for (int i = 0; i < N_TABLES && status == GALV_OK; i++) {
        status = tables[i].status;
    }
    if (status == GALV_OK) {
        galv_law_constants_read(law->constants, &tables[5]);
        read_factors(law, &tables[0], &pool->device, workload);
        override_factors(law, profile, &pool->device, workload);
        for (int p = 0; p < GALV_N_PRECISIONS; p++) {
            galv_gemm_law_init(law, &tables[1], &pool->device, (galv_precision)p);
        }
        init_attention(law, &tables[2], &pool->device);
        init_memory(law, &tables[3], &pool->device, workload);
        galv_collective_law_init(law, &tables[4], pool);
        law->measured_device =
            law->gemm[GALV_BF16].provenance == GALV_PROVENANCE_FITTED;
    }
    for (int i = 0; i < N_TABLES && status == GALV_OK; i++) {
        status = tables[i].status;
    }
    galv_arena_free(arena);
    return status;
}
