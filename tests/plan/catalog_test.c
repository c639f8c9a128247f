/* The catalogs: complete, sourced, consistent, and forgiving about names. */
#include "plan/catalog.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(plan_catalog);

Test(plan_catalog, every_entry_passes_its_check_and_names_its_source)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_model *models = NULL;
    galv_device *devices = NULL;
    galv_cluster *clusters = NULL;
    size_t n_models = 0, n_devices = 0, n_clusters = 0;
    cr_assert_eq(galv_catalog_models(&models, &n_models, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_catalog_devices(&devices, &n_devices, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_eq(galv_catalog_clusters(&clusters, &n_clusters, arena, &err), GALV_OK,
                 "%s", err.message);
    cr_expect(n_models >= 60 && n_devices >= 40 && n_clusters >= 28);
    for (size_t i = 0; i < n_models; i++) {
        cr_expect_eq(galv_model_check(&models[i], &err), GALV_OK, "%s: %s",
                     models[i].name, err.message);
        cr_expect(strlen(models[i].source) > 10, "%s", models[i].name);
        cr_expect(strlen(models[i].as_of) >= 7, "%s", models[i].name);
    }
    for (size_t i = 0; i < n_devices; i++) {
        cr_expect(strlen(devices[i].sources) > 15, "%s", devices[i].id);
        cr_expect(devices[i].usd_per_hour_low <= devices[i].usd_per_hour_high);
        galv_cluster cluster = {0};
        cr_expect_eq(galv_cluster_from_device(&cluster, devices[i].id, 4, &err),
                     GALV_OK, "%s: %s", devices[i].id, err.message);
        cr_expect_eq(galv_cluster_check(&cluster, &err), GALV_OK, "%s: %s",
                     devices[i].id, err.message);
        cr_expect_eq(galv_cluster_n_nodes(&cluster), 4);
    }
    for (size_t i = 0; i < n_clusters; i++) {
        cr_expect_eq(galv_cluster_check(&clusters[i], &err), GALV_OK, "%s: %s",
                     clusters[i].name, err.message);
        cr_expect_eq(galv_cluster_n_nodes(&clusters[i]), 1);
    }
    galv_arena_free(arena);
}

Test(plan_catalog, names_are_unique)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_model *models = NULL;
    galv_device *devices = NULL;
    size_t n_models = 0, n_devices = 0;
    cr_assert_eq(galv_catalog_models(&models, &n_models, arena, &err), GALV_OK);
    cr_assert_eq(galv_catalog_devices(&devices, &n_devices, arena, &err), GALV_OK);
    for (size_t i = 0; i < n_models; i++) {
        for (size_t j = 0; j < i; j++) {
            cr_expect(strcmp(models[i].name, models[j].name) != 0, "%s",
                      models[i].name);
        }
    }
    for (size_t i = 0; i < n_devices; i++) {
        for (size_t j = 0; j < i; j++) {
            cr_expect(strcmp(devices[i].id, devices[j].id) != 0, "%s", devices[i].id);
        }
    }
    galv_arena_free(arena);
}

/* The datasheets of the H100 SXM and the DGX H100. */
Test(plan_catalog, h100_figures_are_those_of_its_datasheet)
{
    galv_cluster cluster = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_cluster_from_device(&cluster, "H100_SXM.80gb", 8, &err), GALV_OK);
    cr_expect_str_eq(cluster.name, "dgx-h100");
    const galv_pool *pool = &cluster.pools[0];
    cr_expect_eq(pool->device.memory_bytes, (uint64_t)80 << 30);
    cr_expect_float_eq(pool->device.peak_flop_per_s[GALV_BF16], 989e12, 1e9);
    cr_expect_float_eq(pool->device.peak_flop_per_s[GALV_FP8], 1979e12, 1e9);
    cr_expect_eq(pool->device.peak_flop_per_s[GALV_NVFP4], 0);
    cr_expect_eq(pool->devices_per_node, 8);
    cr_expect_float_eq(pool->intra_bytes_per_s, 450e9, 1);
    cr_expect_float_eq(pool->inter_bytes_per_s, 50e9, 1);
    cr_expect_float_eq(pool->inter_efficiency, 48.5 / 50, 1e-12);
    cr_expect_float_eq(
        cluster.usd_per_device_hour,
        (pool->device.usd_per_hour_low + pool->device.usd_per_hour_high) / 2, 1e-12);
    cr_expect_eq(galv_cluster_n_devices(&cluster), 64);
}

Test(plan_catalog, unknown_names_are_refused_with_the_nearest)
{
    galv_err err = GALV_ERR_INIT;
    galv_model model;
    galv_device device;
    galv_cluster cluster;
    cr_expect_eq(galv_catalog_model(&model, "lama3-70b", &err), GALV_USAGE);
    cr_expect(strstr(err.hint, "'llama3-70b'") != NULL, "%s", err.hint);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_catalog_device(&device, "h100-smx-80gb", &err), GALV_USAGE);
    cr_expect(strstr(err.hint, "'h100-sxm-80gb'") != NULL, "%s", err.hint);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_catalog_cluster(&cluster, "dgx-h10", &err), GALV_USAGE);
    cr_expect(strstr(err.hint, "dgx-h1") != NULL, "%s", err.hint);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_catalog_cluster(&cluster, "", &err), GALV_USAGE);
    err = (galv_err)GALV_ERR_INIT;
    char long_name[5000];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    cr_expect_eq(galv_catalog_model(&model, long_name, &err), GALV_USAGE);
}
