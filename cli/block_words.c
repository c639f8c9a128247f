/* A value is listed once, where it first comes. */
#include "cli/block_words.h"

#include "plan/strategy.h"

#include <stdbool.h>
#include <stdio.h>

static int32_t value_of(const galv_strategy *s, galv_block_choice which)
{
    const int32_t values[] = {
        s->tp, s->cp, s->ep, s->dp, s->zero, (int32_t)s->sp, (int32_t)s->recompute};
    return values[which];
}

void galv_block_word(char text[64], const galv_strategy *s, galv_block_choice which)
{
    if (which == GALV_BLOCKS_SP) {
        snprintf(text, 64, "%s", galv_sp_names[s->sp]);
    } else if (which == GALV_BLOCKS_RECOMPUTE) {
        snprintf(text, 64, "%s", galv_recompute_names[s->recompute]);
    } else {
        snprintf(text, 64, "%d", (int)value_of(s, which));
    }
}

void galv_block_words(char text[64], const galv_plan *plan, galv_block_choice which)
{
    int32_t first = plan->n_layers > 2 ? 1 : 0;
    int32_t end = plan->n_layers > 2 ? plan->n_layers - 1 : plan->n_layers;
    size_t length = 0;
    text[0] = '\0';
    for (int32_t layer = first; layer < end && length < 48; layer++) {
        int32_t value = value_of(galv_plan_strategy(plan, layer), which);
        bool seen = false;
        for (int32_t i = first; i < layer && !seen; i++) {
            seen = value_of(galv_plan_strategy(plan, i), which) == value;
        }
        if (seen) {
            continue;
        }
        char word[64];
        galv_block_word(word, galv_plan_strategy(plan, layer), which);
        length += (size_t)snprintf(text + length, 64 - length, "%s%.14s",
                                   length > 0 ? "/" : "", word);
    }
}
