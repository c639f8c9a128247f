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

static void default_attention(galv_attention_law *law)
{
    for (int backward = 0; backward < 2; backward++) {
        for (int causal = 0; causal < 2; causal++) {
            galv_attention_curve curve = {128, 6e-6, backward ? 0.42 : 0.5,
                                          causal ? 600 : 200};
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
        default_attention(attention);
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

/* ---- collectives ---- */

static const char *const curve_names[GALV_N_CURVE_KINDS] = {
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all"};

/* Groups between those that were measured, linear in log n. */
static void interpolate_curves(galv_collective_curve *curves)
{
    int low = 2;
    for (int n = 3; n <= GALV_MAX_CURVE_RANKS; n++) {
        if (curves[n].bytes_per_s > 0) {
            low = n;
            continue;
        }
        int high = n;
        while (high < GALV_MAX_CURVE_RANKS && !(curves[high].bytes_per_s > 0)) {
            high++;
        }
        const galv_collective_curve *a = &curves[low];
        const galv_collective_curve *b = &curves[high];
        double w = log2((double)n / low) / log2((double)high / low);
        curves[n].alpha_s = (1 - w) * a->alpha_s + w * b->alpha_s;
        curves[n].bytes_per_s = (1 - w) * a->bytes_per_s + w * b->bytes_per_s;
        curves[n].mid_bytes = (1 - w) * a->mid_bytes + w * b->mid_bytes;
        curves[n].knee_bytes = (1 - w) * a->knee_bytes + w * b->knee_bytes;
        for (int i = 0; i < GALV_N_CURVE_KNOTS; i++) {
            curves[n].log_ratio[i] = (1 - w) * a->log_ratio[i] + w * b->log_ratio[i];
        }
        low = n;
    }
    curves[1] = curves[2];
    curves[0] = curves[2];
}

/* Of a device whose all-reduce alone was measured: others start and run beside it as
 * they do on A100, rings there too. */
static void derive_from_all_reduce(galv_collective_law *law)
{
    static const double rates[GALV_N_CURVE_KINDS] = {1, 0.95, 0.97, 0.80};
    for (int n = 2; n <= GALV_MAX_CURVE_RANKS; n++) {
        for (int kind = 0; kind < GALV_N_CURVE_KINDS; kind++) {
            galv_collective_curve *c = &law->curves[kind][n];
            *c = law->curves[GALV_CURVE_ALL_REDUCE][n];
            c->alpha_s *= kind == GALV_CURVE_ALL_REDUCE ? 1 : 0.7;
            c->bytes_per_s *= rates[kind];
        }
    }
}

/* What a device moves over its host's bus, one direction. */
static double bus_bytes_per_s(const galv_device *device)
{
    switch (device->pcie_generation) {
    case 3:
        return 12e9;
    case 5:
        return 50e9;
    case 6:
        return 100e9;
    default:
        return 25e9;
    }
}

/* NCCL's usual share of a link, by operation and ranks, where nothing was measured.
 * Bridges join pairs: more than two ranks meet on the bus. */
static void default_curves(galv_collective_law *law, const galv_device *device)
{
    bool pairs = strstr(device->scaleup_link, "bridge") != NULL;
    static const double shares[GALV_N_CURVE_KINDS][3] = {
        {0.64, 0.74, 0.77}, {0.52, 0.68, 0.70}, {0.53, 0.69, 0.74}, {0.55, 0.64, 0.68}};
    static const double alphas_us[3] = {9, 12, 18};
    for (int kind = 0; kind < GALV_N_CURVE_KINDS; kind++) {
        for (int i = 0; i < 3; i++) {
            galv_collective_curve *c = &law->curves[kind][2 << i];
            c->alpha_s = 1e-6 * alphas_us[i];
            double link = law->link_bytes_per_s;
            if (pairs && i > 0 && bus_bytes_per_s(device) < link) {
                link = bus_bytes_per_s(device);
            }
            c->bytes_per_s = shares[kind][i] * link;
            c->mid_bytes = 30e-6 * c->bytes_per_s;
            c->knee_bytes = 15e-6 * c->bytes_per_s;
        }
    }
    law->provenance = GALV_PROVENANCE_ANALYTIC;
}

/* The device whose rows of an operation are nearest to this one; "" = none. */
static const char *nearest_curves(galv_kinship *best, galv_law_table *t, int kind,
                                  const galv_device *device)
{
    const char *chosen = "";
    *best = GALV_KIN_NONE;
    for (size_t row = 0; row < t->csv.n_rows; row++) {
        galv_kinship kin = galv_law_kinship(t, row, device);
        bool switched = galv_law_number(t, row, "link_gbs", 0) > 0;
        if (kin > *best && (kin >= GALV_KIN_SILICON || switched) &&
            strcmp(galv_law_cell(t, row, "op"), curve_names[kind]) == 0) {
            *best = kin;
            chosen = galv_law_cell(t, row, "device");
        }
    }
    return chosen;
}

static void read_curve(galv_collective_curve *c, galv_law_table *t, size_t row,
                       double link_bytes_per_s)
{
    static const char *const knots[GALV_N_CURVE_KNOTS] = {"ln_1m", "ln_4m", "ln_16m",
                                                          "ln_64m", "ln_256m"};
    double nominal = 1e9 * galv_law_number(t, row, "link_gbs", 0);
    double scale = nominal > 0 ? link_bytes_per_s / nominal : 1;
    c->alpha_s = 1e-6 * galv_law_number(t, row, "alpha_us", 10);
    c->bytes_per_s = 1e9 * scale * galv_law_number(t, row, "busbw_gbs", 1);
    c->mid_bytes = 1e6 * galv_law_number(t, row, "mid_mb", 0);
    c->knee_bytes = 1e6 * galv_positive(galv_law_number(t, row, "knee_mb", 1), 1e-3);
    for (int i = 0; i < GALV_N_CURVE_KNOTS; i++) {
        c->log_ratio[i] = galv_law_number(t, row, knots[i], 0);
    }
}

static void read_curves(galv_collective_law *law, galv_law_table *t,
                        const galv_device *device)
{
    default_curves(law, device);
    bool switched = device->scaleup_bytes_per_s >= 100e9 &&
                    strstr(device->scaleup_link, "bridge") == NULL;
    galv_kinship nearest = GALV_KIN_NONE;
    bool reduces_only = true;
    for (int kind = 0; kind < GALV_N_CURVE_KINDS; kind++) {
        galv_kinship best = GALV_KIN_NONE;
        const char *chosen = nearest_curves(&best, t, kind, device);
        if (best == GALV_KIN_NONE || (best < GALV_KIN_SILICON && !switched)) {
            continue; /* bridges and buses: not what a switch of the generation does */
        }
        bool has_eight = false;
        for (size_t row = 0; row < t->csv.n_rows; row++) {
            int n = (int)galv_law_number(t, row, "ranks", 0);
            if (strcmp(galv_law_cell(t, row, "device"), chosen) == 0 &&
                strcmp(galv_law_cell(t, row, "op"), curve_names[kind]) == 0 && n >= 2 &&
                n <= GALV_MAX_CURVE_RANKS) {
                read_curve(&law->curves[kind][n], t, row, law->link_bytes_per_s);
                has_eight = has_eight || n == 8;
            }
        }
        if (!has_eight) {
            /* measured on the four devices of one tray: eight go as the rack's switch
             */
            law->curves[kind][8] = law->curves[kind][4];
            law->curves[kind][8].alpha_s *= 1.6;
            law->curves[kind][8].bytes_per_s *= 1.05;
        }
        nearest = best > nearest ? best : nearest;
        reduces_only = reduces_only && kind == GALV_CURVE_ALL_REDUCE;
    }
    if (nearest == GALV_KIN_NONE) {
        return;
    }
    law->provenance =
        nearest >= GALV_KIN_SILICON ? GALV_PROVENANCE_FITTED : GALV_PROVENANCE_ANALYTIC;
    if (reduces_only) {
        derive_from_all_reduce(law);
    }
}

static void init_collective(galv_device_law *law, galv_law_table *t,
                            const galv_pool *pool)
{
    galv_collective_law *c = &law->collective;
    const galv_device *device = &pool->device;
    double link = galv_positive(pool->intra_bytes_per_s, device->scaleup_bytes_per_s);
    c->link_bytes_per_s = galv_positive(link, 10e9);
    read_curves(c, t, device);
    for (int kind = 0; kind < GALV_N_CURVE_KINDS; kind++) {
        interpolate_curves(c->curves[kind]);
    }
    double p2p = galv_positive(device->p2p_bytes_per_s, c->link_bytes_per_s);
    if (device->scaleup_bytes_per_s > 0) {
        p2p *= c->link_bytes_per_s / device->scaleup_bytes_per_s;
    }
    c->p2p_bytes_per_s = 0.80 * (p2p < c->link_bytes_per_s ? p2p : c->link_bytes_per_s);
    c->p2p_alpha_s = 8e-6;
    c->ring_bytes_per_s = c->curves[GALV_CURVE_REDUCE_SCATTER][8].bytes_per_s;
    double usable = galv_positive(pool->inter_efficiency, 0.94) *
                    law->factors[GALV_FACTOR_NETWORK] *
                    galv_positive(pool->inter_bytes_per_s, 1e9);
    double domain = pool->scaleup_domain > pool->devices_per_node
                        ? pool->scaleup_domain
                        : galv_positive(pool->devices_per_node, 1);
    c->node_bytes_per_s = usable * domain;
    c->nic_bytes_per_s = usable;
    if (pool->nics_per_node > 0 && pool->nics_per_node < pool->devices_per_node) {
        c->nic_bytes_per_s = usable * pool->devices_per_node / pool->nics_per_node;
    }
    if (pool->devices_per_bus > 0) {
        c->bus_bytes_per_s = pool->bus_bytes_per_s;
        c->nic_past_bus =
            pool->nics_per_node > 0 &&
            pool->nics_per_node < pool->devices_per_node / pool->devices_per_bus;
    }
    c->hop_intra_s = 3.4e-6;
    c->hop_inter_s = 8e-6 + 4.5 * galv_positive(pool->inter_latency_s, 1.5e-6);
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
    galv_law_table tables[5];
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
    galv_status status = GALV_OK;
    for (int i = 0; i < 5 && status == GALV_OK; i++) {
        status = tables[i].status;
    }
    if (status == GALV_OK) {
        read_factors(law, &tables[0], &pool->device, workload);
        override_factors(law, profile, &pool->device, workload);
        for (int p = 0; p < GALV_N_PRECISIONS; p++) {
            galv_gemm_law_init(law, &tables[1], &pool->device, (galv_precision)p);
        }
        init_attention(law, &tables[2], &pool->device);
        init_memory(law, &tables[3], &pool->device, workload);
        init_collective(law, &tables[4], pool);
        law->measured_device =
            law->gemm[GALV_BF16].provenance == GALV_PROVENANCE_FITTED;
    }
    for (int i = 0; i < 5 && status == GALV_OK; i++) {
        status = tables[i].status;
    }
    galv_arena_free(arena);
    return status;
}
