/* Galvatron's profiles of the hardware: collectives, messages, overlap.
 *
 * Its bandwidths are bus bandwidths of one benchmark, its times come from another, so
 * that a group may have both, a fifth apart. Times are taken where there are any.
 * Groups of consecutive ranks and of ranks a stride apart are told apart only by how
 * many of them share a node: two that lie alike are one for the cost model. */
#include "traces/galvatron_internal.h"

#include <stdio.h>

#define ROW_MIB 512 /* message that stands for a bandwidth */

/* Most ranks of a group in one node; 0 = all of them. `stride`: between its ranks. */
static int32_t ranks_in_a_node(const galv_galvatron_importer *im, int32_t ranks,
                               int32_t stride)
{
    int64_t span = (int64_t)ranks * stride;
    if (span <= im->devices_per_node) {
        return 0;
    }
    int32_t in_node = im->devices_per_node / stride;
    return in_node < 1 ? 1 : in_node;
}

static bool is_covered(const galv_galvatron_importer *im, int32_t ranks)
{
    for (int32_t i = 0; i < im->n_covered; i++) {
        if (im->covered[i] == ranks) {
            return true;
        }
    }
    return false;
}

static void cover(galv_galvatron_importer *im, int32_t ranks)
{
    if (!is_covered(im, ranks) && im->n_covered < GALV_GALVATRON_MAX_COVERED) {
        im->covered[im->n_covered++] = ranks;
    }
}

galv_status galv_galvatron_read_sp_time(galv_galvatron_importer *im,
                                        galv_json_value root, const char *file)
{
    for (size_t i = 0; i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        const char *key = galv_json_key(root, i, &value);
        galv_profile_row row =
            galv_galvatron_new_row(im, GALV_PROFILE_COLLECTIVE, file);
        int32_t numbers[4];
        bool is_all_reduce =
            galv_galvatron_scan_key(key, "allreduce_size_#_#MB_time", numbers);
        if (!is_all_reduce &&
            !galv_galvatron_scan_key(key, "all2all_size_#_#MB_time", numbers)) {
            return galv_json_fail(value, im->err, "not a key of an sp_time profile");
        }
        snprintf(row.op, sizeof row.op, "%s",
                 is_all_reduce ? "all_reduce" : "all_to_all");
        row.ranks = numbers[0];
        row.ranks_per_node = ranks_in_a_node(im, row.ranks, 1);
        row.message_bytes = numbers[1] * GALV_GALVATRON_MIB;
        double ms = 0;
        galv_status status =
            galv_json_to_f64(&ms, value, 0, GALV_GALVATRON_MAX_VALUE, im->err);
        row.time_s = ms / 1e3;
        if (status == GALV_OK) {
            status = galv_galvatron_add_row(im, &row, value);
        }
        if (status != GALV_OK) {
            return status;
        }
        if (is_all_reduce) {
            cover(im, row.ranks);
        }
    }
    return GALV_OK;
}

/* A bandwidth as the time of one message: bytes moved per rank over it. */
static galv_status add_bandwidth(galv_galvatron_importer *im, galv_profile_row *row,
                                 double moved, galv_json_value value)
{
    double mib_per_ms = 0;
    galv_status status =
        galv_json_to_f64(&mib_per_ms, value, 1e-9, GALV_GALVATRON_MAX_VALUE, im->err);
    if (status != GALV_OK) {
        return status;
    }
    row->message_bytes = ROW_MIB * GALV_GALVATRON_MIB;
    row->time_s = moved * ROW_MIB / mib_per_ms / 1e3;
    return galv_galvatron_add_row(im, row, value);
}

galv_status galv_galvatron_read_all_reduce(galv_galvatron_importer *im,
                                           galv_json_value root, const char *file)
{
    int32_t world = im->n_nodes * im->devices_per_node;
    for (size_t i = 0; i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        const char *key = galv_json_key(root, i, &value);
        int32_t numbers[4];
        if (!galv_galvatron_scan_key(key, "allreduce_size_#_consec_#", numbers) ||
            numbers[1] > 1 || numbers[0] < 2 || numbers[0] > world) {
            return galv_json_fail(value, im->err,
                                  "not a key of an allreduce_bandwidth profile");
        }
        galv_profile_row row =
            galv_galvatron_new_row(im, GALV_PROFILE_COLLECTIVE, file);
        snprintf(row.op, sizeof row.op, "all_reduce");
        row.ranks = numbers[0];
        int32_t together = ranks_in_a_node(im, row.ranks, 1);
        bool consecutive = numbers[1] == 1;
        row.ranks_per_node =
            consecutive ? together : ranks_in_a_node(im, row.ranks, world / row.ranks);
        if (row.ranks_per_node == together &&
            (!consecutive || is_covered(im, row.ranks))) {
            continue; /* what lies alike is taken once */
        }
        double n = row.ranks;
        galv_status status = add_bandwidth(im, &row, 2 * (n - 1) / n, value);
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

galv_status galv_galvatron_read_p2p(galv_galvatron_importer *im, galv_json_value root,
                                    const char *file)
{
    for (size_t i = 0; i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        const char *key = galv_json_key(root, i, &value);
        galv_profile_row row =
            galv_galvatron_new_row(im, GALV_PROFILE_COLLECTIVE, file);
        if (!galv_galvatron_scan_key(key, "pp_size_#", &row.ranks)) {
            return galv_json_fail(value, im->err,
                                  "not a key of a p2p_bandwidth profile");
        }
        snprintf(row.op, sizeof row.op, "send_recv");
        row.ranks_per_node = im->n_nodes > 1 ? 1 : 0; /* the slowest hop decides */
        galv_status status = add_bandwidth(im, &row, 1, value);
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

galv_status galv_galvatron_read_overlap(galv_galvatron_importer *im,
                                        galv_json_value root, const char *file)
{
    galv_profile_row row = galv_galvatron_new_row(im, GALV_PROFILE_OVERLAP, file);
    galv_json_value value = galv_json_member(root, "overlap_coe");
    if (galv_json_type_of(value) == GALV_JSON_ABSENT) {
        return galv_json_fail(root, im->err, "overlap_coe is missing");
    }
    galv_status status = galv_json_to_f64(&row.compute_slowdown, value, 1,
                                          GALV_GALVATRON_MAX_VALUE, im->err);
    row.comm_slowdown = row.compute_slowdown;
    return status == GALV_OK ? galv_galvatron_add_row(im, &row, value) : status;
}
