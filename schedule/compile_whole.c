/* A pass as a single operation.
 *
 * Nothing of a pass starts before what the rank did before has ended and its input is
 * there, and nothing after it before all of it has ended: so for everybody else it is
 * one operation, which waits for what its first operations wait for. Not so with
 * messages of parameters: they run across the borders of passes, and operations wait
 * for them (ZeRO-2 and 3, the first and the last pass of an iteration). */
#include "schedule/compile_program_internal.h"

#include "plan/chunks.h"

/* Less is not worth it. */
enum { FEWEST_OPS = 4 };

/* Nobody's peer: no operation of a pass itself is of the class that stands for it. */
enum { WHOLE_PASS = -2 };

bool galv_compile_may_be_whole(const galv_compiler *c)
{
    bool may = !c->schedule->two_way && !c->schedule->pairs && !c->plan->overlap.step;
    for (int32_t i = 0; i < c->plan->n_strategies; i++) {
        may = may && c->plan->strategies[i].zero < 3; /* its gathers go by unit */
    }
    return may;
}

/* Are all operations over when the exits are? */
static bool ends_with_exits(const galv_pass_layout *layout, bool *over)
{
    int32_t after[GALV_N_STREAMS]; /* next op of the stream; -1 = none */
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        after[stream] = -1;
    }
    for (int32_t i = 0; i < layout->n_exits; i++) {
        over[layout->exits[i]] = true;
    }
    for (int32_t i = layout->n_ops - 1; i >= 0; i--) {
        const galv_pass_op *op = &layout->ops[i];
        int32_t *next = &after[op->operation.stream];
        over[i] = over[i] || (*next >= 0 && over[*next]);
        *next = i;
        if (!over[i]) {
            return false;
        }
        for (int32_t k = 0; k < op->n_waits; k++) {
            over[op->waits[k]] = true;
        }
    }
    return true;
}

static bool can_be_whole(const galv_pass_layout *layout, galv_arena *arena)
{
    if (layout->n_ops < FEWEST_OPS) {
        return false;
    }
    unsigned seen = 0; /* streams */
    for (int32_t i = 0; i < layout->n_ops; i++) {
        const galv_pass_op *op = &layout->ops[i];
        bool first = (seen >> op->operation.stream & 1U) == 0;
        if (op->operation.stream > GALV_STREAM_EP || op->waits_unit > 0 ||
            op->gather >= 0 || (first && !op->enters && op->n_waits == 0)) {
            return false;
        }
        seen |= 1U << op->operation.stream;
    }
    bool *over = GALV_NEW_ARRAY(arena, bool, layout->n_ops);
    return over != NULL && ends_with_exits(layout, over);
}

static bool fill_body(galv_program_body *body, galv_builder *builder,
                      const galv_pass_layout *layout, galv_arena *arena)
{
    size_t n_waits = 0;
    for (int32_t i = 0; i < layout->n_ops; i++) {
        n_waits += (size_t)layout->ops[i].n_waits;
    }
    body->n_ops = (uint32_t)layout->n_ops;
    body->classes = GALV_NEW_ARRAY(arena, uint32_t, layout->n_ops);
    body->first_wait = GALV_NEW_ARRAY(arena, uint32_t, layout->n_ops + 1);
    body->waits = GALV_NEW_ARRAY(arena, uint32_t, n_waits);
    if (!body->classes || !body->first_wait || !body->waits) {
        return false;
    }
    uint32_t n = 0;
    for (int32_t i = 0; i < layout->n_ops; i++) {
        const galv_pass_op *op = &layout->ops[i];
        body->classes[i] = galv_builder_class(builder, &op->operation);
        for (int32_t k = 0; k < op->n_waits; k++) {
            body->waits[n++] = (uint32_t)op->waits[k];
        }
        body->first_wait[i + 1] = n;
    }
    return !builder->failed;
}

static uint32_t make_class(galv_compiler *c, const galv_pass_layout *layout,
                           const galv_chunk *chunk)
{
    static const uint8_t kinds[] = {[GALV_PASS_FORWARD] = GALV_OP_FORWARD,
                                    [GALV_PASS_BACKWARD] = GALV_OP_BACKWARD,
                                    [GALV_PASS_BACKWARD_INPUT] = GALV_OP_BACKWARD_INPUT,
                                    [GALV_PASS_BACKWARD_WEIGHT] =
                                        GALV_OP_BACKWARD_WEIGHT};
    galv_compiled_body *made = GALV_NEW(c->arena, galv_compiled_body);
    int kind = kinds[layout->pass];
    galv_operation operation =
        galv_compile_operation(kind, GALV_STREAM_COMPUTE, GALV_PART_WHOLE, kind, chunk);
    operation.peer_stage = WHOLE_PASS;
    if (layout->hooked) {
        operation.part = GALV_PART_DENSE; /* another pass than the usual one */
    }
    if (made == NULL || !fill_body(&made->body, &c->builder, layout, c->arena)) {
        c->builder.failed = true;
        return GALV_NO_OP;
    }
    made->class_index = galv_builder_class(&c->builder, &operation);
    made->next = c->bodies;
    c->bodies = made;
    return made->class_index;
}

uint32_t galv_compile_whole(galv_compiler *c, galv_pass_layout *layout,
                            const galv_chunk *chunk)
{
    if (!layout->whole_asked) {
        layout->whole_asked = true;
        layout->whole = can_be_whole(layout, c->layouts_arena)
                            ? make_class(c, layout, chunk)
                            : GALV_NO_OP;
    }
    return layout->whole;
}

bool galv_compile_give_bodies(galv_program *program, const galv_compiler *c)
{
    if (c->bodies == NULL) {
        return true;
    }
    program->bodies = GALV_NEW_ARRAY(c->arena, galv_program_body *, program->n_classes);
    for (galv_compiled_body *at = c->bodies; program->bodies && at; at = at->next) {
        program->bodies[at->class_index] = &at->body;
    }
    return program->bodies != NULL;
}
