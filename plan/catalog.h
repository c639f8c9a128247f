/* The built-in catalogs: data files compiled in, each entry with its source and date.
 * plan/catalog/models.json, gpus.csv and systems.csv are the data. */
#ifndef GALV_PLAN_CATALOG_H
#define GALV_PLAN_CATALOG_H

#include "base/arena.h"
#include "plan/cluster.h"
#include "plan/model.h"

#include <stddef.h>

/* Reads every entry of a catalog into the arena, in file order. */
galv_status galv_catalog_models(galv_model **models, size_t *n_models,
                                galv_arena *arena, galv_err *err);
galv_status galv_catalog_devices(galv_device **devices, size_t *n_devices,
                                 galv_arena *arena, galv_err *err);
/* Clusters of one node each. */
galv_status galv_catalog_clusters(galv_cluster **clusters, size_t *n_clusters,
                                  galv_arena *arena, galv_err *err);

/* One entry by name; case, '_' and '.' against '-' do not matter. Errors: GALV_USAGE
 * with the nearest name and how to list them. */
galv_status galv_catalog_model(galv_model *model, const char *name, galv_err *err);
galv_status galv_catalog_device(galv_device *device, const char *id, galv_err *err);
galv_status galv_catalog_cluster(galv_cluster *cluster, const char *name,
                                 galv_err *err);

#endif
