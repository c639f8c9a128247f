/* What the blocks of a plan have, where it may differ from block to block. */
#ifndef GALV_CLI_BLOCK_WORDS_H
#define GALV_CLI_BLOCK_WORDS_H

#include "plan/plan.h"

typedef enum galv_block_choice {
    GALV_BLOCKS_TP,
    GALV_BLOCKS_CP,
    GALV_BLOCKS_EP,
    GALV_BLOCKS_DP,
    GALV_BLOCKS_ZERO,
    GALV_BLOCKS_SP,
    GALV_BLOCKS_RECOMPUTE
} galv_block_choice;

/* The value of one strategy: "2", "megatron". */
void galv_block_word(char text[64], const galv_strategy *s, galv_block_choice which);

/* Every value that blocks have, in the order of the blocks: "2/3", "megatron/ulysses".
 * Embedding and head count only where there is nothing else. Cut where it is too long.
 */
void galv_block_words(char text[64], const galv_plan *plan, galv_block_choice which);

#endif
