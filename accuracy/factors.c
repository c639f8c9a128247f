/* Knobs.
 *
 * The standard deviations say how much a factor differed between the stacks of one
 * generation that were calibrated (insitu.csv: matrix products 1.08 to 1.42, attention
 * 1.08 to 1.9, the host 300 to 750 us); they keep a calibration on one run from
 * explaining it by absurd values.
 *
 * The values compiled in are looked up by the rule of costmodel/device_law.c: rows in
 * order, the last one that matches counts; a test holds the two together. */
#include "accuracy/factors.h"

#include "base/csv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

extern const char galv_data_insitu_csv[];
extern const size_t galv_data_insitu_csv_length;

#define GALV_INFO(id, sd, floor, most, first, second, meaning) \
    {sd, floor, most, {first, second}, meaning},
const galv_knob_info galv_knobs[GALV_N_KNOBS] = {GALV_KNOB_TABLE(GALV_INFO)};
#undef GALV_INFO

/* "*", nothing, or the same first word: "Hopper+Grace" is Hopper. */
static bool matches(const char *pattern, const char *word)
{
    size_t length = strcspn(pattern, " +");
    return pattern[0] == '\0' || strcmp(pattern, "*") == 0 ||
           (length == strcspn(word, " +") && strncmp(pattern, word, length) == 0);
}

static double builtin_value(const char *name, const galv_device *device,
                            const galv_workload *workload, const galv_csv *table)
{
    int factor = galv_csv_column(table, "factor");
    int arch = galv_csv_column(table, "arch");
    int precision = galv_csv_column(table, "precision");
    int software = galv_csv_column(table, "software");
    int from = galv_csv_column(table, "year_from");
    int value = galv_csv_column(table, "value");
    int year = workload->software_year > 0 ? workload->software_year : 9999;
    double found = (double)NAN;
    for (size_t row = 0; row < table->n_rows; row++) {
        galv_err err = GALV_ERR_INIT;
        int32_t year_from = 0;
        if (strcmp(galv_csv_cell(table, row, factor), name) == 0 &&
            matches(galv_csv_cell(table, row, arch), device->arch) &&
            matches(galv_csv_cell(table, row, precision),
                    galv_precision_names[workload->precision]) &&
            matches(galv_csv_cell(table, row, software),
                    galv_software_names[workload->software]) &&
            galv_csv_i32(table, row, from, 0, 9999, &year_from, &err) == GALV_OK &&
            year >= year_from) {
            galv_csv_f64(table, row, value, 0, 1e9, &found, &err);
        }
    }
    return found;
}

double galv_factor_value(const char *name, const galv_device *device,
                         const galv_workload *workload, const galv_profile *profile)
{
    double value = (double)NAN;
    galv_err err = GALV_ERR_INIT;
    galv_csv table;
    galv_arena *arena = galv_arena_new();
    if (arena != NULL &&
        galv_csv_read_text(&table, "insitu.csv", galv_data_insitu_csv,
                           galv_data_insitu_csv_length, arena, &err) == GALV_OK) {
        value = builtin_value(name, device, workload, &table);
    }
    galv_arena_free(arena);
    for (size_t i = 0; profile != NULL && i < profile->n_rows; i++) {
        const galv_profile_row *row = &profile->rows[i];
        if (row->kind == GALV_PROFILE_FACTOR && strcmp(row->op, name) == 0 &&
            (row->device[0] == '\0' || strcmp(row->device, device->id) == 0) &&
            (row->precision < 0 || row->precision == (int)workload->precision)) {
            value = row->value;
        }
    }
    return value;
}

double galv_knob_value(galv_knob knob, double at_zero, double x)
{
    const galv_knob_info *info = &galv_knobs[knob];
    double value = info->floor + (at_zero - info->floor) * exp(x);
    double most = fmax(info->most, at_zero);
    return fmin(value, most);
}

void galv_knob_zeros_init(galv_knob_zeros *zeros, const galv_device *device,
                          const galv_workload *workload, const galv_profile *profile)
{
    for (int knob = 0; knob < GALV_N_KNOBS; knob++) {
        for (int i = 0; i < GALV_MAX_FACTORS_OF_KNOB; i++) {
            const char *name = galv_knobs[knob].factors[i];
            zeros->value[knob][i] =
                name == NULL ? (double)NAN
                             : galv_factor_value(name, device, workload, profile);
        }
    }
}

galv_status galv_knobs_to_profile(galv_profile *profile, const double *x,
                                  const galv_knob_zeros *zeros,
                                  const galv_device *device, galv_precision precision,
                                  const char *source, galv_err *err)
{
    for (int knob = 0; knob < GALV_N_KNOBS; knob++) {
        for (int i = 0; i < GALV_MAX_FACTORS_OF_KNOB; i++) {
            double at_zero = zeros->value[knob][i];
            if (x[knob] == 0 || isnan(at_zero)) {
                continue;
            }
            galv_profile_row row = {.kind = GALV_PROFILE_FACTOR,
                                    .precision = (int)precision,
                                    .tp = 1,
                                    .cp = 1,
                                    .micro_batch_size = 1};
            snprintf(row.device, sizeof row.device, "%s", device->id);
            snprintf(row.op, sizeof row.op, "%s", galv_knobs[knob].factors[i]);
            snprintf(row.source, sizeof row.source, "%s", source);
            row.value = galv_knob_value((galv_knob)knob, at_zero, x[knob]);
            galv_status status = galv_profile_add(profile, &row, err);
            if (status != GALV_OK) {
                return status;
            }
        }
    }
    return GALV_OK;
}
