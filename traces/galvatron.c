/* Importing Galvatron's profiles: find its files by name, turn its keys into rows.
 *
 * Its files hold raw records of profiling runs and, beside them, the values that its
 * search uses; only the latter are taken. Keys carry the data
 * ("layertype_0_bsz8_seq2048"), so they are scanned by hand, and a key that looks like
 * one of ours but is not is an error. Values are measured, but not always by a run of
 * their own: activations for tp 2, 4, 8 that its profiler could not run are halves of
 * the degree before, and nothing in the file tells which. Two measurements of the same
 * thing that differ (bandwidths from one benchmark, times from another) are not both
 * taken: the cost model would have to guess which to believe. See the header for which
 * is. */
#include "traces/galvatron.h"
#include "traces/galvatron_internal.h"

#include "plan/catalog.h"

#include <stdio.h>
#include <string.h>

galv_profile_row galv_galvatron_new_row(const galv_galvatron_importer *im,
                                        galv_profile_kind kind, const char *file)
{
    galv_profile_row row = {.kind = kind,
                            .precision = -1,
                            .phase = -1,
                            .micro_batch_size = 1,
                            .tp = 1,
                            .cp = 1};
    snprintf(row.device, sizeof row.device, "%s", im->import->device);
    snprintf(row.source, sizeof row.source, "Galvatron %.80s", file);
    return row;
}

galv_status galv_galvatron_add_row(galv_galvatron_importer *im,
                                   const galv_profile_row *row, galv_json_value value)
{
    galv_err found = GALV_ERR_INIT;
    if (galv_profile_check_with(row, &im->memo, &found) != GALV_OK) {
        return galv_json_fail(value, im->err, "%s", found.message);
    }
    return galv_profile_add(im->profile, row, im->err);
}

galv_status galv_galvatron_need_object(const galv_galvatron_importer *im,
                                       galv_json_value value)
{
    return galv_json_type_of(value) == GALV_JSON_OBJECT
               ? GALV_OK
               : galv_json_fail(value, im->err, "an object is expected here");
}

static galv_status read_if_there(galv_galvatron_importer *im, const char *name,
                                 galv_galvatron_read *read, size_t *n_files)
{
    char *path = NULL;
    galv_status status =
        galv_galvatron_find_file(&path, im->import->folder, name, im->arena, im->err);
    if (status != GALV_OK || path == NULL) {
        return status;
    }
    galv_json *document = NULL;
    status = galv_json_read_file(&document, path, im->err);
    if (status != GALV_OK) {
        return status;
    }
    galv_json_value root = galv_json_root(document);
    status = galv_galvatron_need_object(im, root);
    if (status == GALV_OK) {
        status = read(im, root, name);
    }
    galv_json_free(document);
    *n_files += status == GALV_OK;
    return status;
}

static galv_status import_files(galv_galvatron_importer *im, size_t *n_files)
{
    const struct {
        const char *stem;
        bool of_model;
        galv_galvatron_read *read;
    } kinds[] = {
        {"computation_profiling", true, galv_galvatron_read_computation},
        {"memory_profiling", true, galv_galvatron_read_memory},
        {"sp_time", false,
         galv_galvatron_read_sp_time}, /* before the bandwidths: it comes first */
        {"allreduce_bandwidth", false, galv_galvatron_read_all_reduce},
        {"p2p_bandwidth", false, galv_galvatron_read_p2p},
    };
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].of_model && im->import->model == NULL) {
            continue;
        }
        const char *name =
            kinds[i].of_model
                ? galv_arena_printf(im->arena, "%s_%s_%s_all.json", kinds[i].stem,
                                    galv_precision_names[im->import->precision],
                                    im->import->model)
                : galv_arena_printf(im->arena, "%s_%dnodes_%dgpus_per_node.json",
                                    kinds[i].stem, (int)im->n_nodes,
                                    (int)im->devices_per_node);
        status = name == NULL ? galv_fail(im->err, GALV_NO_MEMORY, "out of memory")
                              : read_if_there(im, name, kinds[i].read, n_files);
    }
    if (status == GALV_OK) {
        status = read_if_there(im, "overlap_coefficient.json",
                               galv_galvatron_read_overlap, n_files);
    }
    if (status == GALV_OK && *n_files == 0) {
        galv_fail_at(
            im->err, im->import->folder, 0, 0,
            "no profile of Galvatron for %d nodes of %d devices in this folder",
            (int)im->n_nodes, (int)im->devices_per_node);
        if (im->import->model != NULL) {
            galv_hint(im->err, "expected computation_profiling_%s_%s_all.json",
                      galv_precision_names[im->import->precision], im->import->model);
        }
        status = GALV_INPUT;
    }
    return status;
}

galv_status galv_profile_import_galvatron(galv_profile *profile, size_t *n_files,
                                          const galv_galvatron_import *import,
                                          galv_err *err)
{
    galv_galvatron_importer im = {.profile = profile, .import = import, .err = err};
    im.n_nodes = import->n_nodes == 0 ? 1 : import->n_nodes;
    im.devices_per_node = import->devices_per_node == 0 ? 8 : import->devices_per_node;
    if (im.n_nodes < 1 || im.n_nodes > 100000 || im.devices_per_node < 1 ||
        im.devices_per_node > 4096) {
        return galv_fail(err, GALV_USAGE, "%d nodes of %d devices cannot be",
                         (int)im.n_nodes, (int)im.devices_per_node);
    }
    if (import->model != NULL) {
        galv_status status = galv_catalog_model(&im.model, import->model, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    im.arena = galv_arena_new();
    if (im.arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n_before = profile->n_rows;
    size_t n_read = 0;
    galv_status status = import_files(&im, &n_read);
    galv_arena_free(im.arena);
    if (status != GALV_OK) {
        profile->n_rows = n_before;
        return status;
    }
    *n_files = n_read;
    return GALV_OK;
}
