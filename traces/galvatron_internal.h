/* What the importers of Galvatron's files share. */
#ifndef GALV_TRACES_GALVATRON_INTERNAL_H
#define GALV_TRACES_GALVATRON_INTERNAL_H

#include "base/json.h"
#include "plan/model.h"
#include "traces/galvatron.h"
#include "traces/galvatron_files.h"
#include "traces/profile_internal.h"

#define GALV_GALVATRON_MIB         1048576.0
#define GALV_GALVATRON_MAX_VALUE   1e9
#define GALV_GALVATRON_MAX_COVERED 32

typedef struct galv_galvatron_importer {
    galv_profile *profile;
    const galv_galvatron_import *import;
    galv_arena *arena;
    galv_err *err;
    galv_model model; /* of the catalog; empty when only hardware is imported */
    galv_device_memo memo;
    int32_t n_nodes, devices_per_node;
    int32_t n_covered; /* group sizes whose all-reduce sp_time holds */
    int32_t covered[GALV_GALVATRON_MAX_COVERED];
} galv_galvatron_importer;

/* A row of a kind with device and source filled in. */
galv_profile_row galv_galvatron_new_row(const galv_galvatron_importer *im,
                                        galv_profile_kind kind, const char *file);

/* Checks and adds a row; what is wrong with it is reported at `value`. */
galv_status galv_galvatron_add_row(galv_galvatron_importer *im,
                                   const galv_profile_row *row, galv_json_value value);

galv_status galv_galvatron_need_object(const galv_galvatron_importer *im,
                                       galv_json_value value);

/* One file each; `root` is an object, `file` its name. */
typedef galv_status galv_galvatron_read(galv_galvatron_importer *im,
                                        galv_json_value root, const char *file);
galv_galvatron_read galv_galvatron_read_computation, galv_galvatron_read_memory,
    galv_galvatron_read_sp_time, galv_galvatron_read_all_reduce,
    galv_galvatron_read_p2p, galv_galvatron_read_overlap;

#endif
