/* The profile in memory, and what a row must be to be believed.
 *
 * The check against the device's peak is a bound, not an estimate: it counts only the
 * work that cannot be left out (the products of a layer's weights with its tokens,
 * without attention, biases or a third MLP matrix) and grants a tenth on top of the
 * data sheet, since clocks differ. It is there to catch milliseconds that are seconds
 * and layers that are blocks of eight. A collective inside a scale-up domain cannot
 * move more than (n-1)/n of its bytes over one device's links in that time, not even
 * with reduction in the switches. Devices that the catalog does not know are believed.
 */
#include "traces/profile.h"
#include "traces/profile_internal.h"

#include "base/words.h"
#include "plan/catalog.h"
#include "plan/model.h"
#include "plan/strategy.h"

#include <math.h>
#include <string.h>

#define PEAK_TOLERANCE 1.1
#define MAX_SLOWDOWN   1e3

const char *const galv_profile_kind_names[GALV_N_PROFILE_KINDS] = {
    "compute", "kernel", "collective", "memory", "overlap", "factor",
};

static const char *const collectives[] = {"all_reduce", "all_gather", "reduce_scatter",
                                          "all_to_all", "broadcast",  "send_recv"};

galv_profile *galv_profile_new(void)
{
    galv_arena *arena = galv_arena_new();
    galv_profile *profile = arena == NULL ? NULL : GALV_NEW(arena, galv_profile);
    if (profile == NULL) {
        galv_arena_free(arena);
        return NULL;
    }
    profile->arena = arena;
    return profile;
}

void galv_profile_free(galv_profile *profile)
{
    if (profile != NULL) {
        galv_arena_free(profile->arena); /* the profile itself lives there too */
    }
}

galv_status galv_profile_add(galv_profile *profile, const galv_profile_row *row,
                             galv_err *err)
{
    if (profile->n_rows == profile->capacity) {
        size_t capacity = profile->capacity == 0 ? 64 : 2 * profile->capacity;
        galv_profile_row *rows =
            GALV_NEW_ARRAY(profile->arena, galv_profile_row, capacity);
        if (rows == NULL) {
            return galv_fail(err, GALV_NO_MEMORY, "out of memory");
        }
        if (profile->n_rows > 0) {
            memcpy(rows, profile->rows, profile->n_rows * sizeof *rows);
        }
        profile->rows = rows;
        profile->capacity = capacity;
    }
    profile->rows[profile->n_rows++] = *row;
    return GALV_OK;
}

/* ---- can it be true? ---- */

static galv_status needs(const galv_profile_row *row, const char *column, galv_err *err)
{
    return galv_fail(err, GALV_INPUT, "a row of kind %s needs %s",
                     galv_profile_kind_names[row->kind], column);
}

/* The device of a row, or NULL when the catalog does not have it. */
static const galv_device *find_device(galv_device_memo *memo, const char *id)
{
    if (memo->id[0] == '\0' || strcmp(memo->id, id) != 0) {
        galv_err ignored = GALV_ERR_INIT;
        strcpy(memo->id, id); /* as long as the row's own */
        memo->is_known = galv_catalog_device(&memo->device, id, &ignored) == GALV_OK;
    }
    return memo->is_known ? &memo->device : NULL;
}

/* Best peak for the row's precision; of all of them when it names none. 0 = unknown. */
static double peak_of(const galv_device *device, int precision)
{
    double peak = 0;
    for (int p = 0; p < GALV_N_PRECISIONS; p++) {
        if (precision < 0 || precision == p) {
            peak = fmax(peak, device->peak_flop_per_s[p]);
        }
    }
    return peak;
}

/* FLOP that the row cannot have done without. */
static double least_flop(const galv_profile_row *row)
{
    if (row->kind == GALV_PROFILE_KERNEL) {
        return strcmp(row->op, "gemm") == 0
                   ? 2.0 * (double)row->m * (double)row->n * (double)row->k
                   : 0;
    }
    bool is_dense =
        strcmp(row->layer, galv_layer_kind_names[GALV_LAYER_DECODER]) == 0 ||
        strcmp(row->layer, galv_layer_kind_names[GALV_LAYER_ENCODER]) == 0;
    if (!is_dense || row->phase == GALV_OP_RECOMPUTE ||
        row->phase == GALV_OP_OPTIMIZER) {
        return 0; /* recomputation may be selective */
    }
    double tokens = row->micro_batch_size * row->seq_length / row->cp;
    double h = row->hidden_size;
    double products = row->phase == GALV_OP_BACKWARD ? 2 : 1;
    /* queries and projection, two MLP matrices: 2 FLOP per weight and token */
    return products * 2 * tokens * (2 * h * h + 2 * h * row->ffn_hidden_size) / row->tp;
}

static galv_status check_peak(const galv_profile_row *row, galv_device_memo *memo,
                              galv_err *err)
{
    double flop = least_flop(row);
    const galv_device *device = flop > 0 ? find_device(memo, row->device) : NULL;
    double peak = device == NULL ? 0 : peak_of(device, row->precision);
    if (peak > 0 && flop / row->time_s > PEAK_TOLERANCE * peak) {
        return galv_fail(err, GALV_INPUT,
                         "time: %.4g TFLOP/s or more is beyond the peak of %s (%.4g)",
                         flop / row->time_s / 1e12, device->id, peak / 1e12);
    }
    return GALV_OK;
}

static galv_status check_links(const galv_profile_row *row, galv_device_memo *memo,
                               galv_err *err)
{
    bool in_one_node = row->ranks_per_node == 0 || row->ranks_per_node >= row->ranks;
    const galv_device *device = in_one_node ? find_device(memo, row->device) : NULL;
    if (device == NULL || device->scaleup_bytes_per_s <= 0) {
        return GALV_OK;
    }
    bool is_message =
        strcmp(row->op, "send_recv") == 0 || strcmp(row->op, "broadcast") == 0;
    double share = is_message ? 1 : (row->ranks - 1.0) / row->ranks;
    double rate = share * row->message_bytes / row->time_s;
    /* a message of a few MiB may be served from caches, but not faster than the link */
    if (rate > PEAK_TOLERANCE * device->scaleup_bytes_per_s) {
        return galv_fail(err, GALV_INPUT,
                         "time: %.4g GB/s is beyond the links of %s (%.4g GB/s)",
                         rate / 1e9, device->id, device->scaleup_bytes_per_s / 1e9);
    }
    return GALV_OK;
}

static bool is_layer_word(const char *word)
{
    return strcmp(word, "other") == 0 ||
           galv_word_index(galv_layer_kind_names, GALV_N_LAYER_KINDS, word) >= 0;
}

static galv_status check_layer(const galv_profile_row *row, galv_err *err)
{
    if (!is_layer_word(row->layer)) {
        galv_fail(err, GALV_INPUT, "layer: unknown word '%.31s'", row->layer);
        galv_hint_words(err, galv_layer_kind_names, GALV_N_LAYER_KINDS, row->layer);
        return GALV_INPUT;
    }
    if (row->hidden_size < 1) {
        return needs(row, "hidden_size", err);
    }
    if (row->seq_length < 1) {
        return needs(row, "seq_length", err);
    }
    if (row->tp < 1 || row->cp < 1 || !(row->micro_batch_size > 0)) {
        return galv_fail(err, GALV_INPUT,
                         "tp, cp and micro_batch_size are above 0 in a row of kind %s",
                         galv_profile_kind_names[row->kind]);
    }
    return GALV_OK;
}

static galv_status check_compute(const galv_profile_row *row, galv_device_memo *memo,
                                 galv_err *err)
{
    galv_status status = check_layer(row, err);
    if (status != GALV_OK) {
        return status;
    }
    if (row->phase < GALV_OP_FORWARD || row->phase > GALV_OP_OPTIMIZER) {
        return needs(row, "phase", err);
    }
    return check_peak(row, memo, err);
}

static galv_status check_collective(const galv_profile_row *row, galv_device_memo *memo,
                                    galv_err *err)
{
    size_t n_words = sizeof collectives / sizeof collectives[0];
    if (galv_word_index(collectives, n_words, row->op) < 0) {
        galv_fail(err, GALV_INPUT, "op: unknown collective '%.31s'", row->op);
        galv_hint_words(err, collectives, n_words, row->op);
        return GALV_INPUT;
    }
    if (row->ranks < 2) {
        return needs(row, "ranks of 2 or more", err);
    }
    if (row->ranks_per_node < 0) {
        return galv_fail(err, GALV_INPUT, "ranks_per_node is negative");
    }
    if (!(row->message_bytes > 0 && isfinite(row->message_bytes))) {
        return needs(row, "message_bytes", err);
    }
    return check_links(row, memo, err);
}

static galv_status check_memory(const galv_profile_row *row, galv_err *err)
{
    galv_status status = check_layer(row, err);
    bool is_size = row->activation_bytes >= 0 && row->parameter_bytes >= 0 &&
                   row->activation_bytes + row->parameter_bytes > 0 &&
                   isfinite(row->activation_bytes + row->parameter_bytes);
    if (status == GALV_OK && !is_size) {
        status = needs(row, "activation_bytes or parameter_bytes", err);
    }
    return status;
}

static galv_status check_overlap(const galv_profile_row *row, galv_err *err)
{
    if (!(row->compute_slowdown >= 1 && row->compute_slowdown <= MAX_SLOWDOWN)) {
        return galv_fail(err, GALV_INPUT, "compute_slowdown is 1 or more");
    }
    if (!(row->comm_slowdown >= 1 && row->comm_slowdown <= MAX_SLOWDOWN)) {
        return galv_fail(err, GALV_INPUT, "comm_slowdown is 1 or more");
    }
    return GALV_OK;
}

galv_status galv_profile_check_with(const galv_profile_row *row, galv_device_memo *memo,
                                    galv_err *err)
{
    if ((unsigned)row->kind >= GALV_N_PROFILE_KINDS) {
        return galv_fail(err, GALV_INPUT, "the kind is missing");
    }
    if (row->device[0] == '\0' && row->kind != GALV_PROFILE_FACTOR) {
        return needs(row, "device", err);
    }
    bool is_timed = row->kind == GALV_PROFILE_COMPUTE ||
                    row->kind == GALV_PROFILE_KERNEL ||
                    row->kind == GALV_PROFILE_COLLECTIVE;
    if (is_timed && !(row->time_s > 0 && isfinite(row->time_s))) {
        return needs(row, "a time above 0", err);
    }
    if (!(row->stddev_s >= 0 && isfinite(row->stddev_s)) || row->samples < 0) {
        return galv_fail(err, GALV_INPUT, "stddev and samples are not negative");
    }
    switch (row->kind) {
    case GALV_PROFILE_COMPUTE:
        return check_compute(row, memo, err);
    case GALV_PROFILE_KERNEL:
        return row->op[0] == '\0' ? needs(row, "op", err) : check_peak(row, memo, err);
    case GALV_PROFILE_COLLECTIVE:
        return check_collective(row, memo, err);
    case GALV_PROFILE_MEMORY:
        return check_memory(row, err);
    case GALV_PROFILE_OVERLAP:
        return check_overlap(row, err);
    default:
        if (row->op[0] == '\0') {
            return needs(row, "op, the factor's name", err);
        }
        return isfinite(row->value)
                   ? GALV_OK
                   : galv_fail(err, GALV_INPUT, "the value is not a number");
    }
}

galv_status galv_profile_check_row(const galv_profile_row *row, galv_err *err)
{
    galv_device_memo memo = {.is_known = false};
    return galv_profile_check_with(row, &memo, err);
}
