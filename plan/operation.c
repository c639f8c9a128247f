/* The words of operations: kinds, streams and parts.
 *
 * Little but tables lives here, made from the X-macros of the header so that an
 * enumeration and its words cannot drift apart. What an operation costs and when it
 * runs is the business of other rooms. */
#include "plan/operation.h"

#define GALV_WORD(name, word) word,

const char *const galv_op_kind_names[GALV_N_OP_KINDS] = {GALV_OP_KIND_TABLE(GALV_WORD)};
const char *const galv_stream_names[GALV_N_STREAMS] = {GALV_STREAM_TABLE(GALV_WORD)};
const char *const galv_part_names[GALV_N_PARTS] = {GALV_PART_TABLE(GALV_WORD)};

#undef GALV_WORD

galv_operation galv_optimizer_step(int32_t stage, int32_t chunk, int32_t first_layer,
                                   int32_t n_layers)
{
    return (galv_operation){.kind = GALV_OP_OPTIMIZER,
                            .stream = GALV_STREAM_COMPUTE,
                            .part = GALV_PART_WHOLE,
                            .pass = GALV_OP_OPTIMIZER,
                            .stage = stage,
                            .chunk = chunk,
                            .first_layer = first_layer,
                            .n_layers = n_layers,
                            .peer_stage = -1};
}

char galv_op_letter(int kind)
{
    switch (kind) {
    case GALV_OP_FORWARD:
        return 'F';
    case GALV_OP_BACKWARD:
        return 'B';
    case GALV_OP_BACKWARD_INPUT:
        return 'I';
    case GALV_OP_BACKWARD_WEIGHT:
        return 'W';
    case GALV_OP_RECOMPUTE:
        return 'R';
    case GALV_OP_OPTIMIZER:
        return 'o';
    case GALV_OP_SEND:
        return '>';
    case GALV_OP_RECV:
        return '<';
    default:
        return '.';
    }
}
