/* Will it fit? Said before anything is allocated.
 *
 * Parameters, gradients and optimizer state are counted exactly, activations from
 * below: what each layer keeps of a micro-batch, as often as the stage's order has it
 * waiting for its backward. Buffers that come and go are left out, and so are ZeRO-3's
 * gathered weights and the libraries' own memory: a plan that passes may still run out.
 * Where the device does not tell its memory (the host), it is that of the machine,
 * which all its ranks share. */
#include "exec/trainer_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Most micro-batches that a layer keeps at once, by the order of its stage. */
static int32_t most_alive(const galv_trainer *t, int32_t layer)
{
    const galv_program *p = t->program;
    int32_t stage = t->worker.layout.stage;
    uint32_t begin = p->queue_begin[stage * GALV_N_STREAMS];
    uint32_t end = p->queue_begin[stage * GALV_N_STREAMS + 1];
    int32_t alive = 0;
    int32_t most = 0;
    for (uint32_t op = begin; op < end; op++) {
        const galv_operation *o = &p->classes[p->ops[op].class_index];
        if (layer < o->first_layer || layer >= o->first_layer + o->n_layers) {
            continue;
        }
        if (o->kind == GALV_OP_FORWARD &&
            (o->part == GALV_PART_WHOLE || o->part == GALV_PART_ATTENTION)) {
            alive++;
        } else if ((o->kind == GALV_OP_BACKWARD || o->kind == GALV_OP_BACKWARD_INPUT) &&
                   (o->part == GALV_PART_WHOLE || o->part == GALV_PART_ATTENTION)) {
            alive--;
        }
        most = alive > most ? alive : most;
    }
    return most;
}

/* What a layer keeps of one micro-batch, at least. */
static double kept_bytes(const galv_worker *w, const galv_layer_work *l)
{
    double element = w->b->element_bytes;
    double rows = (double)l->rows;
    double own = (double)l->own_rows;
    double h = (double)l->hidden;
    if (l->group->kind == GALV_LAYER_EMBEDDING) {
        return 0;
    }
    if (l->group->kind == GALV_LAYER_HEAD) {
        double cut = l->place->cuts_weights ? l->place->strategy.tp : 1;
        return element * (own * 2 * h + rows * l->group->vocab_size / cut);
    }
    if (l->place->strategy.recompute == GALV_RECOMPUTE_FULL) {
        return element * own * h;
    }
    double core = (double)l->core_rows * (double)l->head_dim;
    double bytes = element * (own * 4 * h + core * (double)l->core_heads +
                              core * 2 * (double)l->core_key_heads);
    if (l->place->strategy.recompute == GALV_RECOMPUTE_NONE) {
        bytes += element * core * (double)l->core_heads;
    }
    return bytes + element * rows * (double)l->width * (double)(l->wide_factor + 1);
}

galv_status galv_trainer_count_memory(galv_trainer *t, galv_err *err)
{
    galv_worker *w = &t->worker;
    galv_status status = GALV_OK;
    for (int32_t i = 0; i < w->plan->n_layers && status == GALV_OK; i++) {
        double bytes = 0;
        if (w->layers[i].here) {
            status = galv_parameters_bytes(&bytes, &w->layout, i, err);
            t->needs.state_bytes += bytes;
            t->needs.activation_bytes +=
                kept_bytes(w, &w->layers[i]) * most_alive(t, i);
        }
    }
    return status;
}

static galv_status refuse(const galv_trainer *t, const char *who, double needed,
                          double there, galv_err *err)
{
    const double gib = 1073741824;
    galv_fail(err, GALV_NO_MEMORY,
              "%s needs %.2f GiB at least (a rank %.2f for parameters and optimizer, "
              "%.2f for activations), there are %.2f",
              who, needed / gib, t->needs.state_bytes / gib,
              t->needs.activation_bytes / gib, there / gib);
    galv_hint(err, "more tp, pp or ZeRO, recomputation, or a smaller micro-batch");
    return GALV_NO_MEMORY;
}

/* What a rank tells the others of its machine. */
typedef struct share {
    char host[64];
    double needed;
} share;

/* Ranks of one machine share its memory. */
static galv_status check_machine(const galv_trainer *t, double needed, galv_err *err)
{
    galv_world *world = t->worker.world;
    size_t n = (size_t)galv_world_size(world);
    share mine = {"", needed};
    share *all = calloc(n, sizeof *all);
    gethostname(mine.host, sizeof mine.host - 1);
    if (all == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "no memory for a run");
    }
    galv_status status = galv_world_agree(world, err);
    if (status == GALV_OK) {
        status = galv_world_all_gather(world, all, &mine, sizeof mine, err);
    }
    double sum = 0;
    for (size_t i = 0; i < n && status == GALV_OK; i++) {
        sum += strcmp(all[i].host, mine.host) == 0 ? all[i].needed : 0;
    }
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    double there = pages > 0 && page > 0 ? (double)pages * (double)page : 0;
    if (status == GALV_OK && there > 0 && sum > there) {
        refuse(t, "this machine", sum, there, err);
    }
    free(all);
    return galv_world_agree(world, err);
}

galv_status galv_trainer_check_memory(const galv_trainer *t, galv_err *err)
{
    double there = (double)t->worker.b->device_bytes;
    double needed = t->needs.state_bytes + t->needs.activation_bytes;
    if (there <= 0) {
        return check_machine(t, needed, err);
    }
    if (needed > there) {
        refuse(t, "a device", needed, there, err);
    }
    return galv_world_agree(t->worker.world, err);
}
