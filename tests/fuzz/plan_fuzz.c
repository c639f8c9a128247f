/* Fuzz target: any bytes as a plan document, which must fit its job and have groups
 * that can be placed. */
#include "plan/placement.h"
#include "plan/plan.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    galv_err err = GALV_ERR_INIT;
    galv_json *document = NULL;
    if (galv_json_read_text(&document, "fuzz", (const char *)data, size, &err) ==
        GALV_OK) {
        galv_arena *arena = galv_arena_new();
        galv_job job = {0};
        galv_plan *plan = NULL;
        if (arena != NULL && galv_plan_from_json(&job, &plan, galv_json_root(document),
                                                 arena, &err) == GALV_OK) {
            char line[120];
            galv_plan_print(line, sizeof line, plan);
            if (galv_plan_n_micro_batches(plan) < 1) {
                __builtin_trap();
            }
            for (int kind = 0; kind < GALV_N_GROUP_KINDS; kind++) {
                galv_group group = galv_placement_group(
                    plan, &job.cluster, (galv_group_kind)kind, 1, 0, plan->pp - 1);
                if (group.n_nodes < 1 || group.ranks_per_node < 1) {
                    __builtin_trap();
                }
            }
        }
        galv_arena_free(arena);
    }
    galv_json_free(document);
    return 0;
}
