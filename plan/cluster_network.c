/* The network of a cluster: levels of switches, the torus, and what of them can be.
 *
 * Levels nest: each is a whole number of the one below, so that a node lies under one
 * switch of each. A torus has no switches. Its shape follows the number of nodes: of
 * all ways to write that as a product of as many factors as there are dimensions, the
 * one whose largest factor is smallest, so 64 nodes are 4 x 4 x 4 and 16 are 2 x 2 x 4;
 * a number with few factors makes a long torus, and the user sees it.
 *
 * Left out: tori without the wires from the last node to the first (the parts of a TPU
 * pod smaller than a cube), twisted tori, dragonflies but for their groups. */
#include "plan/cluster_network_internal.h"

#include <stdio.h>
#include <string.h>

int32_t galv_cluster_n_torus_dims(const galv_cluster *cluster)
{
    int32_t n_dims = 0;
    while (n_dims < GALV_MAX_TORUS_DIM && cluster->torus[n_dims] > 0) {
        n_dims++;
    }
    return n_dims;
}

/* ---- the torus ---- */

/* The largest factor of n that is no more than `most`. */
static int32_t factor_up_to(int32_t n, int32_t most)
{
    int32_t factor = most < n ? most : n;
    while (n % factor != 0) {
        factor--;
    }
    return factor;
}

/* The k-th root of n, rounded down. */
static int32_t root(int32_t n, int32_t k)
{
    int32_t r = 1;
    for (;; r++) {
        int64_t power = 1;
        for (int32_t i = 0; i < k; i++) {
            power *= r + 1;
        }
        if (power > n) {
            return r;
        }
    }
}

void galv_cluster_lay_torus(galv_cluster *cluster, int32_t n_dims, int32_t n_nodes)
{
    int32_t best[GALV_MAX_TORUS_DIM] = {0};
    int32_t best_largest = 0;
    int32_t most = n_dims > 2 ? root(n_nodes, 3) : 1;
    for (int32_t a = 1; a <= most; a++) { /* the smallest of three */
        if (n_nodes % a != 0) {
            continue;
        }
        int32_t rest = n_nodes / a;
        int32_t b = n_dims > 1 ? factor_up_to(rest, root(rest, 2)) : 1;
        int32_t c = rest / b;
        if (best_largest == 0 || c < best_largest) {
            best_largest = c;
            int32_t shape[GALV_MAX_TORUS_DIM] = {a, b, c};
            memcpy(best, &shape[GALV_MAX_TORUS_DIM - n_dims],
                   (size_t)n_dims * sizeof *best);
        }
    }
    memcpy(cluster->torus, best, sizeof best);
}

static galv_status check_torus(const galv_cluster *cluster, galv_err *err)
{
    int32_t n_dims = galv_cluster_n_torus_dims(cluster);
    int64_t n_nodes = 1;
    for (int32_t i = 0; i < n_dims; i++) {
        n_nodes *= cluster->torus[i];
    }
    if (n_dims == 0) {
        return GALV_OK;
    }
    if (cluster->n_levels > 0) {
        galv_fail(err, GALV_INPUT, "a torus has no levels of switches");
        galv_hint(err, "leave out either 'torus' or 'levels'");
        return GALV_INPUT;
    }
    if (cluster->n_pools != 1) {
        return galv_fail(err, GALV_INPUT, "a torus is of one pool, not of %d",
                         (int)cluster->n_pools);
    }
    const galv_pool *pool = &cluster->pools[0];
    if (n_nodes != pool->n_nodes) {
        return galv_fail(err, GALV_INPUT, "the torus has %lld nodes, the pool %d",
                         (long long)n_nodes, (int)pool->n_nodes);
    }
    if (pool->scaleup_domain != pool->devices_per_node) {
        galv_fail(err, GALV_INPUT,
                  "the nodes of a torus are its points: scaleup_domain %d must be "
                  "devices_per_node %d",
                  (int)pool->scaleup_domain, (int)pool->devices_per_node);
        return GALV_INPUT;
    }
    return GALV_OK;
}

/* ---- levels ---- */

static galv_status check_levels(const galv_cluster *cluster, galv_err *err)
{
    if (cluster->n_levels < 0 || cluster->n_levels > GALV_MAX_LEVELS) {
        return galv_fail(err, GALV_INPUT, "a network has up to %d levels, not %d",
                         GALV_MAX_LEVELS, (int)cluster->n_levels);
    }
    for (int32_t i = 0; i < cluster->n_levels; i++) {
        const galv_level *level = &cluster->levels[i];
        if (level->n_nodes < 1 ||
            !(level->oversubscription >= 1 && level->oversubscription <= 1e6)) {
            return galv_fail(err, GALV_INPUT,
                             "a %s of %d nodes, oversubscribed %g times, cannot be",
                             level->name, (int)level->n_nodes, level->oversubscription);
        }
        if (i > 0 && (level->n_nodes <= level[-1].n_nodes ||
                      level->n_nodes % level[-1].n_nodes != 0)) {
            return galv_fail(err, GALV_INPUT,
                             "a %s of %d nodes is no whole number of %s of %d",
                             level->name, (int)level->n_nodes, level[-1].name,
                             (int)level[-1].n_nodes);
        }
    }
    return GALV_OK;
}

galv_status galv_cluster_check_network(const galv_cluster *cluster, galv_err *err)
{
    galv_status status = check_levels(cluster, err);
    return status == GALV_OK ? check_torus(cluster, err) : status;
}

galv_status galv_cluster_set_level(galv_cluster *cluster, int32_t index,
                                   const char *name, double n_nodes,
                                   double oversubscription, galv_err *err)
{
    if (index > cluster->n_levels || (index == cluster->n_levels && !(n_nodes > 0))) {
        galv_fail(err, GALV_USAGE, "the network has no %s", name);
        galv_hint(err, "set %s.nodes first", index > cluster->n_levels ? "leaf" : name);
        return GALV_USAGE;
    }
    galv_level *level = &cluster->levels[index];
    if (index == cluster->n_levels) {
        if (index == GALV_MAX_LEVELS) {
            return galv_fail(err, GALV_USAGE, "a network has up to %d levels",
                             GALV_MAX_LEVELS);
        }
        *level = (galv_level){.oversubscription = 1};
        snprintf(level->name, sizeof level->name, "%s", name);
        cluster->n_levels++;
    }
    if (n_nodes > 0) {
        level->n_nodes = (int32_t)n_nodes;
    }
    if (oversubscription > 0) {
        level->oversubscription = oversubscription;
    }
    return GALV_OK;
}

galv_status galv_cluster_parse_levels(galv_cluster *cluster, const char *text,
                                      galv_err *err)
{
    cluster->n_levels = 0;
    while (*text != '\0') {
        char name[16] = "";
        int n_nodes = 0;
        int length = 0;
        double oversubscription = 1;
        if (sscanf(text, "%15[a-z]:%d%n", name, &n_nodes, &length) != 2) {
            return galv_fail(err, GALV_INPUT, "'%.40s' is no level such as leaf:32@2",
                             text);
        }
        text += length;
        if (*text == '@' && sscanf(text, "@%lf%n", &oversubscription, &length) == 1) {
            text += length;
        }
        galv_status status = galv_cluster_set_level(cluster, cluster->n_levels, name,
                                                    n_nodes, oversubscription, err);
        if (status != GALV_OK) {
            return status;
        }
        text += *text == ';';
    }
    return GALV_OK;
}
