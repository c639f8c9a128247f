/* Clusters: counting, the what-if of --set, JSON, and refusals. */
#include "plan/catalog.h"
#include "plan/cluster.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(plan_cluster);

static galv_cluster dgx(int32_t n_nodes)
{
    galv_cluster cluster = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_cluster_load(&cluster, "dgx-h100", n_nodes, &err), GALV_OK, "%s",
                 err.message);
    return cluster;
}

Test(plan_cluster, set_changes_what_it_names)
{
    galv_cluster cluster = dgx(8);
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_cluster_set(&cluster, "cluster.inter.bandwidth=2x", &err),
                 GALV_OK);
    cr_expect_float_eq(cluster.pools[0].inter_bytes_per_s, 100e9, 1);
    cr_assert_eq(galv_cluster_set(&cluster, "inter.bandwidth=400Gb/s", &err), GALV_OK);
    cr_expect_float_eq(cluster.pools[0].inter_bytes_per_s, 50e9, 1);
    cr_assert_eq(galv_cluster_set(&cluster, "inter.latency=5us", &err), GALV_OK);
    cr_expect_float_eq(cluster.pools[0].inter_latency_s, 5e-6, 1e-15);
    cr_assert_eq(galv_cluster_set(&cluster, "device.memory=141GiB", &err), GALV_OK);
    cr_expect_eq(cluster.pools[0].device.memory_bytes, (uint64_t)141 << 30);
    cr_assert_eq(galv_cluster_set(&cluster, "device.flops=2x", &err), GALV_OK);
    cr_expect_float_eq(cluster.pools[0].device.peak_flop_per_s[GALV_FP8], 2 * 1979e12,
                       1e6);
    cr_expect_float_eq(cluster.pools[0].device.sustained_bf16_flop_per_s, 2 * 794.5e12,
                       1e6);
    cr_assert_eq(galv_cluster_set(&cluster, "devices_per_node=4", &err), GALV_OK);
    cr_expect_eq(galv_cluster_n_devices(&cluster), 32);
    cr_expect_eq(cluster.pools[0].scaleup_domain, 4);
    cr_assert_eq(galv_cluster_set(&cluster, "usd_per_device_hour=2.5", &err), GALV_OK);
    cr_expect_float_eq(cluster.usd_per_device_hour, 2.5, 1e-15);
    cr_assert_eq(galv_cluster_set(&cluster, "node_power_w=9000", &err), GALV_OK);
    cr_expect_float_eq(cluster.node_power_w, 9000, 1e-12);
}

Test(plan_cluster, a_price_is_multiplied_once_in_a_mixed_cluster)
{
    galv_cluster cluster = dgx(8);
    galv_err err = GALV_ERR_INIT;
    cluster.n_pools = 2;
    cluster.pools[1] = cluster.pools[0];
    cluster.usd_per_device_hour = 3;
    cr_assert_eq(galv_cluster_set(&cluster, "usd_per_device_hour=2x", &err), GALV_OK);
    cr_expect_float_eq(cluster.usd_per_device_hour, 6, 1e-15);
}

Test(plan_cluster, assignments_that_make_no_sense_are_refused_and_change_nothing)
{
    static const char *const wrong[] = {"",
                                        "=",
                                        "inter.bandwidth",
                                        "inter.bandwidth=",
                                        "inter.bandwith=2x",
                                        "inter.bandwidth=50",
                                        "inter.bandwidth=-1GB/s",
                                        "inter.bandwidth=nanx",
                                        "inter.bandwidth=0x",
                                        "inter.efficiency=2",
                                        "devices_per_node=0",
                                        "devices_per_node=2.5",
                                        "devices_per_node=1e30",
                                        "device.memory=1e300x",
                                        "device.flops=inf",
                                        "device.memory=80GB junk"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        galv_cluster cluster = dgx(2);
        galv_cluster before = cluster;
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(galv_cluster_set(&cluster, wrong[i], &err), GALV_USAGE,
                     "case '%s'", wrong[i]);
        cr_expect(memcmp(&cluster, &before, sizeof cluster) == 0, "case '%s'",
                  wrong[i]);
    }
    galv_cluster cluster = dgx(2);
    galv_err err = GALV_ERR_INIT;
    galv_cluster_set(&cluster, "inter.bandwith=2x", &err);
    cr_expect(strstr(err.hint, "inter.bandwidth") != NULL, "%s", err.hint);
}

static galv_status parse(galv_cluster *cluster, const char *text, galv_err *err)
{
    galv_json *document = NULL;
    galv_status status =
        galv_json_read_text(&document, "test.json", text, strlen(text), err);
    if (status == GALV_OK) {
        status = galv_cluster_from_json(cluster, galv_json_root(document), err);
    }
    galv_json_free(document);
    return status;
}

Test(plan_cluster, json_round_trips_to_the_last_bit)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_cluster *clusters = NULL;
    size_t n_clusters = 0;
    cr_assert_eq(galv_catalog_clusters(&clusters, &n_clusters, arena, &err), GALV_OK);
    for (size_t i = 0; i < n_clusters; i++) {
        galv_text text = GALV_TEXT_INIT;
        galv_json_writer writer;
        galv_json_writer_init(&writer, &text);
        galv_cluster_to_json(&clusters[i], &writer);
        cr_assert_eq(galv_json_finish(&writer, &err), GALV_OK);
        galv_cluster read;
        memset(&read, 0x5a, sizeof read);
        cr_assert_eq(parse(&read, galv_text_string(&text), &err), GALV_OK, "%s: %s %s",
                     clusters[i].name, err.message, err.hint);
        galv_text again = GALV_TEXT_INIT;
        galv_json_writer_init(&writer, &again);
        galv_cluster_to_json(&read, &writer);
        cr_assert_eq(galv_json_finish(&writer, &err), GALV_OK);
        cr_expect_str_eq(galv_text_string(&again), galv_text_string(&text));
        cr_expect_eq(read.pools[0].inter_efficiency,
                     clusters[i].pools[0].inter_efficiency);
        galv_text_release(&text);
        galv_text_release(&again);
    }
    galv_arena_free(arena);
}

static galv_cluster parsed(const char *text)
{
    galv_cluster cluster = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse(&cluster, text, &err), GALV_OK, "%s: %s", text, err.message);
    return cluster;
}

Test(plan_cluster, other_devices_do_not_cost_and_draw_what_those_of_the_base_do)
{
    galv_cluster base = dgx(1);
    cr_assert(base.usd_per_device_hour > 0 && base.node_power_w > 0);
    galv_cluster same = parsed("{\"base\": \"dgx-h100\", \"name\": \"o\", \"pools\": ["
                               "{\"n_nodes\": 3}, {\"n_nodes\": 2}]}");
    cr_expect_eq(same.usd_per_device_hour, base.usd_per_device_hour);
    cr_expect_eq(same.node_power_w, base.node_power_w);
    galv_device b200;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_catalog_device(&b200, "b200-180gb", &err), GALV_OK);
    double rent = (b200.usd_per_hour_low + b200.usd_per_hour_high) / 2;
    cr_assert(rent > base.usd_per_device_hour);
    galv_cluster other =
        parsed("{\"base\": \"dgx-h100\", \"name\": \"o\", \"n_nodes\": 2,"
               " \"device\": \"b200-180gb\"}");
    cr_expect_eq(other.usd_per_device_hour, rent);
    cr_expect_eq(other.node_power_w, 0);
    /* one node in four has other devices */
    galv_cluster mixed =
        parsed("{\"base\": \"dgx-h100\", \"name\": \"o\", \"pools\": [{\"n_nodes\": 3},"
               " {\"n_nodes\": 1, \"device\": \"b200-180gb\"}]}");
    cr_expect_float_eq(mixed.usd_per_device_hour,
                       (3 * base.usd_per_device_hour + rent) / 4, 1e-12);
    cr_expect_eq(mixed.node_power_w, 0);
    /* a pool that comes from a cluster of its own brings what that one's cost and draw
     */
    galv_cluster dgx_b200;
    cr_assert_eq(galv_cluster_load(&dgx_b200, "dgx-b200", 1, &err), GALV_OK);
    mixed =
        parsed("{\"base\": \"dgx-h100\", \"name\": \"o\", \"pools\": [{\"n_nodes\": 3},"
               " {\"n_nodes\": 1, \"base\": \"dgx-b200\"}]}");
    cr_expect_float_eq(mixed.node_power_w,
                       (3 * base.node_power_w + dgx_b200.node_power_w) / 4, 1e-9);
    /* what is given wins */
    other =
        parsed("{\"base\": \"dgx-h100\", \"name\": \"o\", \"device\": \"b200-180gb\","
               " \"usd_per_device_hour\": 2, \"node_power_w\": 14000}");
    cr_expect_eq(other.usd_per_device_hour, 2);
    cr_expect_eq(other.node_power_w, 14000);
}

Test(plan_cluster, the_power_of_a_node_goes_when_other_devices_are_in_it)
{
    galv_cluster cluster = dgx(2);
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_cluster_set(&cluster, "devices_per_node=8", &err), GALV_OK);
    cr_expect(cluster.node_power_w > 0);
    cr_assert_eq(galv_cluster_set(&cluster, "devices_per_node=4", &err), GALV_OK);
    cr_expect_eq(cluster.node_power_w, 0);
    cluster =
        parsed("{\"base\": \"dgx-h100\", \"name\": \"o\", \"devices_per_node\": 4}");
    cr_expect_eq(cluster.node_power_w, 0);
    cr_expect(cluster.usd_per_device_hour > 0);
}

Test(plan_cluster, a_file_may_lean_on_the_catalog)
{
    galv_cluster cluster = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse(&cluster,
                       "{\"base\": \"dgx-h100\", \"name\": \"ours\", \"n_nodes\": 12,"
                       " \"inter_bytes_per_s\": \"100Gb/s\"}",
                       &err),
                 GALV_OK, "%s", err.message);
    cr_expect_str_eq(cluster.name, "ours");
    cr_expect_eq(galv_cluster_n_devices(&cluster), 96);
    cr_expect_float_eq(cluster.pools[0].inter_bytes_per_s, 12.5e9, 1);
    cr_expect_float_eq(cluster.pools[0].intra_bytes_per_s, 450e9, 1);
    cr_assert_eq(parse(&cluster,
                       "{\"name\": \"mixed\", \"pools\": ["
                       "{\"base\": \"dgx-h100\", \"n_nodes\": 2},"
                       "{\"base\": \"dgx-a100\", \"n_nodes\": 4}]}",
                       &err),
                 GALV_OK, "%s", err.message);
    cr_expect_eq(cluster.n_pools, 2);
    cr_expect_float_eq(cluster.pools[1].intra_bytes_per_s, 300e9, 1);
    cr_expect_eq(galv_cluster_n_devices(&cluster), 48);
    cr_expect_eq(galv_cluster_set_nodes(&cluster, 3, &err), GALV_USAGE);
}

Test(plan_cluster, pools_beside_a_base_start_from_its_pools)
{
    galv_cluster cluster = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse(&cluster,
                       "{\"base\": \"dgx-h100\", \"pools\": ["
                       "{\"n_nodes\": 16, \"inter_bytes_per_s\": \"200Gb/s\"},"
                       "{\"n_nodes\": 2, \"device\": \"a100-sxm-80gb\"},"
                       "{\"base\": \"dgx-a100\", \"n_nodes\": 4}]}",
                       &err),
                 GALV_OK, "%s", err.message);
    cr_expect_eq(cluster.n_pools, 3);
    cr_expect_eq(galv_cluster_n_devices(&cluster), 8 * 22);
    cr_expect_str_eq(cluster.pools[0].device.id, "h100-sxm-80gb");
    cr_expect_float_eq(cluster.pools[0].intra_bytes_per_s, 450e9, 1);
    cr_expect_float_eq(cluster.pools[0].inter_bytes_per_s, 25e9, 1);
    cr_expect_float_eq(cluster.pools[1].inter_bytes_per_s, 50e9, 1);
    cr_expect_float_eq(cluster.pools[1].intra_bytes_per_s, 300e9, 1);
    cr_expect_float_eq(cluster.pools[2].inter_bytes_per_s, 25e9, 1);
    cr_expect_str_eq(cluster.pools[2].device.id, "a100-sxm-80gb");
}

Test(plan_cluster, a_device_without_an_id_is_that_of_the_base_with_changes)
{
    galv_cluster base = {0}, cluster = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(parse(&base,
                       "{\"base\": \"dgx-h100\", \"intra_bytes_per_s\": \"300GB/s\"}",
                       &err),
                 GALV_OK);
    cr_assert_eq(parse(&cluster,
                       "{\"base\": \"dgx-h100\", \"pools\": [{\"n_nodes\": 2,"
                       "\"device\": {\"memory_bytes\": \"40GiB\"}}]}",
                       &err),
                 GALV_OK, "%s", err.message);
    const galv_device *d = &cluster.pools[0].device;
    cr_expect_str_eq(d->id, "h100-sxm-80gb");
    cr_expect_eq(d->memory_bytes, 40 * (uint64_t)1073741824);
    cr_expect_eq(d->n_sm, base.pools[0].device.n_sm);
    cr_expect_eq(d->memory_bytes_per_s, base.pools[0].device.memory_bytes_per_s);
    cr_expect_float_eq(cluster.pools[0].intra_bytes_per_s, 450e9, 1);
    /* one of its own begins with nothing */
    cr_expect_eq(parse(&cluster,
                       "{\"base\": \"dgx-h100\", \"device\": {\"id\": \"new\","
                       "\"memory_bytes\": \"40GiB\"}}",
                       &err),
                 GALV_INPUT);
    cr_expect_not_null(strstr(err.message, "device 'new' has no"), "%s", err.message);
}

Test(plan_cluster, a_device_brings_its_own_link)
{
    galv_cluster cluster = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(
        parse(&cluster, "{\"base\": \"dgx-h100\", \"device\": \"b200-180gb\"}", &err),
        GALV_OK, "%s", err.message);
    cr_expect_float_eq(cluster.pools[0].intra_bytes_per_s, 900e9, 1);
    cr_assert_eq(parse(&cluster,
                       "{\"device\": \"rtx-4090\", \"devices_per_node\": 4,"
                       " \"inter_bytes_per_s\": \"100Gb/s\"}",
                       &err),
                 GALV_OK, "%s", err.message);
    cr_expect_float_eq(cluster.pools[0].intra_bytes_per_s, 25e9, 1);
    cr_expect_eq(cluster.pools[0].scaleup_domain, 4);
}

Test(plan_cluster, wrong_files_are_refused_with_their_place)
{
    static const char *const wrong[] = {
        "[]",
        "{}",
        "null",
        "{\"base\": \"dgx-h10\"}",
        "{\"base\": 3}",
        "{\"base\": \"dgx-h100\", \"n_nodes\": 0}",
        "{\"base\": \"dgx-h100\", \"n_nodes\": -3}",
        "{\"base\": \"dgx-h100\", \"n_nodes\": 1e99}",
        "{\"base\": \"dgx-h100\", \"inter_eficiency\": 0.5}",
        "{\"base\": \"dgx-h100\", \"inter_efficiency\": 1.5}",
        "{\"base\": \"dgx-h100\", \"pools\": []}",
        "{\"pools\": [{}]}",
        "{\"base\": \"dgx-h100\", \"pools\": [{\"n_nodes\": 0}]}",
        "{\"base\": \"dgx-h100\", \"scaleup_domain\": 4}",
        "{\"base\": \"dgx-h100\", \"device\": {\"memory_bytes\": \"80\"}}",
        "{\"base\": \"dgx-h100\", \"device\": \"h100\"}",
        "{\"schema\": \"galvatron-sim/model\", \"base\": \"dgx-h100\"}",
        "{\"schema_version\": \"2.0\", \"base\": \"dgx-h100\"}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        galv_cluster cluster = {0};
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(parse(&cluster, wrong[i], &err), GALV_INPUT, "case %s", wrong[i]);
        cr_expect_str_eq(err.file, "test.json", "case %s", wrong[i]);
        cr_expect(err.line >= 1, "case %s", wrong[i]);
        cr_expect_eq(cluster.n_pools, 0, "case %s", wrong[i]);
    }
}

Test(plan_cluster, load_takes_systems_devices_and_refuses_the_rest)
{
    galv_cluster cluster = {0};
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_cluster_load(&cluster, "h200-sxm-141gb", 16, &err), GALV_OK);
    cr_expect_str_eq(cluster.name, "dgx-h200");
    cr_expect_eq(galv_cluster_n_devices(&cluster), 128);
    cr_expect_eq(galv_cluster_load(&cluster, "no-such-cluster", 0, &err), GALV_USAGE);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_cluster_load(&cluster, "no/such/file.json", 0, &err), GALV_INPUT);
    err = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_cluster_load(&cluster, "dgx-h100", 2000000, &err), GALV_USAGE);
}

/* What is of the whole cluster is set once, however many pools there are. */
Test(plan_cluster, leaves_rails_and_spine_can_be_set_and_written)
{
    galv_cluster cluster;
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_cluster_load(&cluster, "dgx-h100", 64, &err), GALV_OK);
    cluster.n_pools = 2;
    cluster.pools[1] = cluster.pools[0];
    cr_expect_eq(cluster.n_levels, 1, "a scalable unit of the catalog");
    cr_expect_eq(galv_cluster_set(&cluster, "leaf.nodes=16", &err), GALV_OK);
    cr_expect_eq(galv_cluster_set(&cluster, "leaf.oversubscription=2", &err), GALV_OK);
    cr_expect_eq(galv_cluster_set(&cluster, "leaf.oversubscription=3x", &err), GALV_OK);
    cr_expect_eq(galv_cluster_set(&cluster, "spine.oversubscription=4x", &err),
                 GALV_OK);
    cr_expect_eq(galv_cluster_set(&cluster, "inter.nics=4", &err), GALV_OK, "%s",
                 err.message);
    cr_expect_eq(cluster.levels[0].n_nodes, 16);
    cr_expect_eq(cluster.levels[0].oversubscription, 6);
    cr_expect_eq(cluster.oversubscription, 4);
    cr_expect_eq(cluster.pools[1].nics_per_node, 4);
    galv_err wrong = GALV_ERR_INIT;
    cr_expect_eq(galv_cluster_set(&cluster, "leaf.nodes=1.5", &wrong), GALV_USAGE);
    wrong = (galv_err)GALV_ERR_INIT;
    cr_expect_eq(galv_cluster_set(&cluster, "leaf.nodes=1e9", &wrong), GALV_USAGE);

    galv_text text = GALV_TEXT_INIT;
    galv_json_writer writer;
    galv_json_writer_init(&writer, &text);
    galv_cluster_to_json(&cluster, &writer);
    cr_assert_eq(galv_json_finish(&writer, &err), GALV_OK);
    galv_cluster read = {0};
    galv_err read_err = GALV_ERR_INIT;
    cr_assert_eq(parse(&read, galv_text_string(&text), &read_err), GALV_OK, "%s",
                 read_err.message);
    cr_expect_eq(read.levels[0].n_nodes, 16);
    cr_expect_eq(read.levels[0].oversubscription, 6);
    galv_text_release(&text);
}
