/* Straggling: what a rank idles more than it would with all ranks and links alike.
 *
 * A pipeline idles anyway, so a rank's idle time tells nothing by itself; its idle time
 * in the same program without differences is what to compare with. Two kinds are
 * compared apart, since one may shrink while the other grows: waiting in a collective
 * that not all members have reached (nothing, where ranks are alike and links are not
 * shared), and all other idle time. Where the slow rank delays its own pipeline, the
 * ranks beside it idle less in the pipeline and more in collectives: that is straggling
 * all the same.
 *
 * The straggler itself hardly shows any: its time is in what it computes. Left out:
 * which rank is to blame for which second; the slowest rank is named beside the sums.
 */
#include "sim/straggling.h"

#include <assert.h>
#include <math.h>

void galv_straggling_split(galv_all_ranks_result *all,
                           const galv_undisturbed *undisturbed)
{
    assert(undisturbed->n_ranks > 0 && all->sim.n_ranks % undisturbed->n_ranks == 0);
    int32_t per_rank = all->sim.n_ranks / undisturbed->n_ranks;
    for (int32_t rank = 0; rank < all->sim.n_ranks; rank++) {
        double *spent_s = all->sim.ranks[rank].spent_s;
        int32_t like = rank / per_rank;
        double was_s = undisturbed->ranks[like].spent_s[GALV_BREAKDOWN_BUBBLE];
        double had_waited_s =
            undisturbed->waited_s == NULL ? 0 : undisturbed->waited_s[like];
        double waited_s = all->waited_s[rank];
        double else_s = spent_s[GALV_BREAKDOWN_BUBBLE] - waited_s;
        double more_s =
            fmax(waited_s - had_waited_s, 0) + fmax(else_s - (was_s - had_waited_s), 0);
        more_s = fmin(more_s, spent_s[GALV_BREAKDOWN_BUBBLE]);
        spent_s[GALV_BREAKDOWN_BUBBLE] -= more_s;
        spent_s[GALV_BREAKDOWN_STRAGGLING] += more_s;
    }
}
