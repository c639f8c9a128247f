/* Any bytes as a strategy of Galvatron's (a plan that is read must write and read
 * again) and as the record of a run (inputs that are read must cost a strategy or say
 * why not). */
#include "costmodel/galvatron_model.h"
#include "plan/catalog.h"
#include "traces/galvatron_plan.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_plan(galv_json_value root, galv_arena *arena)
{
    galv_err err = GALV_ERR_INIT;
    galv_job job = {.workload = GALV_WORKLOAD_INIT};
    galv_plan *plan = NULL;
    if (galv_catalog_model(&job.model, "llama2-7b", &err) != GALV_OK ||
        galv_cluster_from_device(&job.cluster, "a100-sxm-80gb", 1, &err) != GALV_OK) {
        abort();
    }
    job.model.groups[1].n_layers = 2;
    if (galv_galvatron_plan_from_json(&job, &plan, root, arena, &err) != GALV_OK) {
        return;
    }
    galv_text text = GALV_TEXT_INIT;
    galv_json_writer writer;
    galv_json *again = NULL;
    galv_json_writer_init(&writer, &text);
    if (galv_galvatron_plan_to_json(&job, plan, &writer, &err) == GALV_OK &&
        galv_json_finish(&writer, &err) == GALV_OK) {
        if (galv_json_read_text(&again, "again", galv_text_string(&text), text.length,
                                &err) != GALV_OK ||
            galv_galvatron_plan_from_json(&job, &plan, galv_json_root(again), arena,
                                          &err) != GALV_OK) {
            abort();
        }
    }
    galv_json_free(again);
    galv_text_release(&text);
}

static void try_inputs(galv_json_value root)
{
    galv_err err = GALV_ERR_INIT;
    galv_galvatron_inputs inputs;
    galv_galvatron_part part;
    galv_galvatron_task task = {1, 1, 64, false};
    galv_strategy strategy = GALV_STRATEGY_INIT;
    if (galv_galvatron_inputs_from_run(&inputs, galv_json_member(root, "request"),
                                       galv_json_member(root, "resolved_inputs"),
                                       &err) != GALV_OK) {
        return;
    }
    strategy.dp = inputs.n_devices;
    if (galv_galvatron_check(&inputs, &task, &strategy, &err) == GALV_OK) {
        galv_galvatron_layer_cost(&part, &inputs, &task, &strategy, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_err err = GALV_ERR_INIT;
    galv_json *document = NULL;
    galv_arena *arena = galv_arena_new();
    if (arena != NULL && galv_json_read_text(&document, "fuzz", (const char *)data,
                                             size, &err) == GALV_OK) {
        try_plan(galv_json_root(document), arena);
        try_inputs(galv_json_root(document));
    }
    galv_json_free(document);
    galv_arena_free(arena);
    return 0;
}
