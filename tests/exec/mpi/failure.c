/* One rank fails; the others, which wait for it, must not wait for ever, and all agree
 * on what happened. */
#include "tests/exec/mpi/mpi_support.h"

#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_disable() (void)0
#endif

static void the_others_hear_of_a_failure_and_all_agree(team *t)
{
    int last = t->size - 1;
    float *x = new_values(t, t->rank, 0, 5000);
    galv_err err = GALV_ERR_INIT;
    if (t->rank == last) {
        CLAIM(t, t->b->allocate(t->b, SIZE_MAX - 5) == NULL, "that is too much");
    }
    t->b->all_reduce(t->b, GALV_STREAM_DP, t->all, x, 5000, GALV_FLOAT32, GALV_SUM);
    t->b->synchronize(t->b);
    CLAIM(t, t->b->status(t->b, &err) == GALV_NO_MEMORY, "%s", err.message);
    char want[64];
    snprintf(want, sizeof want,
             t->rank == last ? "out of memory" : "rank %d failed: out of memory", last);
    CLAIM(t, strcmp(err.message, want) == 0, "%s", err.message);
    CLAIM(t, galv_world_agree(t->world, &err) == GALV_NO_MEMORY, "%s", err.message);
}

int main(int argc, char **argv)
{
    __lsan_disable(); /* after a failure, what messages may still reach is not freed */
    team t = {NULL, NULL, NULL, 0, 0, 0};
    if (!team_join(&t, &argc, &argv)) {
        return 1;
    }
    the_others_hear_of_a_failure_and_all_agree(&t);
    int n_failed = team_failures(&t);
    if (t.rank == 0) {
        printf(
            "[====] Synthesis: Tested: 1 | Passing: %d | Failing: %d | Crashing: 0 \n",
            n_failed == 0, n_failed != 0);
    }
    t.b->comm_free(t.b, t.all);
    t.b->free(t.b);
    galv_world_free(t.world);
    return n_failed != 0;
}
