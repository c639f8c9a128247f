/* The program as a thing to look at: where an operation is, how it prints, and whether
 * the whole can run.
 *
 * The check is Kahn's: take away whatever has nothing left to wait for, its place in
 * the queue included; what cannot be taken away lies on or behind a cycle, which is
 * then found by walking backwards from any such operation until one comes twice. */
#include "schedule/program.h"

#include <stdio.h>
#include <string.h>

#define NAME_SIZE 96
#define MAX_NAMED 6

static uint32_t queue_of(const galv_program *program, uint32_t op)
{
    uint32_t low = 0;
    uint32_t high = (uint32_t)program->n_ranks * GALV_N_STREAMS;
    while (high - low > 1) { /* queue_begin[low] <= op < queue_begin[high] */
        uint32_t middle = low + (high - low) / 2;
        if (program->queue_begin[middle] <= op) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

int32_t galv_program_rank(const galv_program *program, uint32_t op)
{
    return (int32_t)(queue_of(program, op) / GALV_N_STREAMS);
}

int galv_program_stream(const galv_program *program, uint32_t op)
{
    return (int)(queue_of(program, op) % GALV_N_STREAMS);
}

char *galv_program_name_op(char *buffer, size_t size, const galv_program *program,
                           uint32_t op)
{
    const galv_operation *operation = &program->classes[program->ops[op].class_index];
    int length = snprintf(buffer, size, "%s of stage %d, chunk %d",
                          galv_op_kind_names[operation->kind], (int)operation->stage,
                          (int)operation->chunk);
    int32_t micro_batch = program->ops[op].micro_batch;
    if (micro_batch >= 0 && length > 0 && (size_t)length < size) {
        snprintf(buffer + length, size - (size_t)length, ", micro-batch %d",
                 (int)micro_batch);
    }
    return buffer;
}

void galv_program_print(galv_text *out, const galv_program *program)
{
    for (uint32_t op = 0; op < program->n_ops; op++) {
        const galv_program_op *at = &program->ops[op];
        const galv_operation *class = &program->classes[at->class_index];
        uint32_t queue = queue_of(program, op);
        galv_text_printf(out, "%u rank %u %s %s %d.%d", (unsigned)op,
                         (unsigned)(queue / GALV_N_STREAMS),
                         galv_stream_names[queue % GALV_N_STREAMS],
                         galv_op_kind_names[class->kind], (int)class->stage,
                         (int)class->chunk);
        if (at->micro_batch >= 0) {
            galv_text_printf(out, " mb %d", (int)at->micro_batch);
        }
        galv_text_printf(out, " layers %d+%d %s", (int)class->first_layer,
                         (int)class->n_layers, galv_part_names[class->part]);
        if (class->stream != GALV_STREAM_COMPUTE) {
            galv_text_printf(out, " for %s", galv_op_kind_names[class->pass]);
        }
        if (class->peer_stage >= 0) {
            galv_text_printf(out, " peer %d", (int)class->peer_stage);
        }
        for (uint32_t i = at->first_dependency; i < at[1].first_dependency; i++) {
            galv_text_printf(out, "%s%u", i == at->first_dependency ? " after " : ",",
                             (unsigned)program->dependencies[i]);
        }
        galv_text_append_char(out, '\n');
    }
}

/* ---- check ---- */

static galv_status check_shape(const galv_program *program, galv_err *err)
{
    uint32_t n_queues = (uint32_t)program->n_ranks * GALV_N_STREAMS;
    if (program->queue_begin[0] != 0 ||
        program->queue_begin[n_queues] != program->n_ops ||
        program->ops[program->n_ops].first_dependency != program->n_dependencies) {
        return galv_fail(err, GALV_INPUT, "the program's tables do not fit together");
    }
    for (uint32_t queue = 0; queue < n_queues; queue++) {
        if (program->queue_begin[queue] > program->queue_begin[queue + 1]) {
            return galv_fail(err, GALV_INPUT,
                             "queue %u of the program ends before it "
                             "begins",
                             (unsigned)queue);
        }
        for (uint32_t op = program->queue_begin[queue];
             op < program->queue_begin[queue + 1]; op++) {
            uint32_t class_index = program->ops[op].class_index;
            if (class_index >= program->n_classes ||
                program->classes[class_index].stream != queue % GALV_N_STREAMS) {
                return galv_fail(err, GALV_INPUT,
                                 "operation %u has no class or is in a queue of "
                                 "another stream",
                                 (unsigned)op);
            }
            if (program->ops[op].first_dependency >
                program->ops[op + 1].first_dependency) {
                return galv_fail(err, GALV_INPUT,
                                 "dependencies of operation %u end before they begin",
                                 (unsigned)op);
            }
        }
    }
    for (uint32_t i = 0; i < program->n_dependencies; i++) {
        if (program->dependencies[i] >= program->n_ops) {
            return galv_fail(err, GALV_INPUT,
                             "dependency %u is on operation %u, which "
                             "is not there",
                             (unsigned)i, (unsigned)program->dependencies[i]);
        }
    }
    return GALV_OK;
}

/* Every receive follows one send of its peer and of its micro-batch, and every send is
 * followed by one receive. */
static galv_status check_messages(const galv_program *program, galv_arena *arena,
                                  galv_err *err)
{
    char name[NAME_SIZE];
    uint8_t *received = GALV_NEW_ARRAY(arena, uint8_t, program->n_ops);
    if (received == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to check a program");
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        const galv_program_op *at = &program->ops[op];
        const galv_operation *recv = &program->classes[at->class_index];
        if (recv->kind != GALV_OP_RECV) {
            continue;
        }
        int n_sends = 0;
        for (uint32_t i = at->first_dependency; i < at[1].first_dependency; i++) {
            uint32_t on = program->dependencies[i];
            const galv_operation *send =
                &program->classes[program->ops[on].class_index];
            if (send->kind == GALV_OP_SEND && send->peer_stage == recv->stage &&
                recv->peer_stage == send->stage && send->pass == recv->pass &&
                program->ops[on].micro_batch == at->micro_batch && received[on] == 0) {
                received[on] = 1;
                n_sends++;
            }
        }
        if (n_sends != 1) {
            return galv_fail(err, GALV_INPUT, "%s follows %d sends, not one",
                             galv_program_name_op(name, sizeof name, program, op),
                             n_sends);
        }
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        if (program->classes[program->ops[op].class_index].kind == GALV_OP_SEND &&
            received[op] == 0) {
            return galv_fail(err, GALV_INPUT, "%s is never received",
                             galv_program_name_op(name, sizeof name, program, op));
        }
    }
    return GALV_OK;
}

/* Kahn's algorithm without successor lists: queues advance as far as they can, round
 * robin; each round costs the blocked queues only. `done[op]` afterwards. */
typedef struct kahn {
    uint32_t *pending;    /* [n_ops] waits left, the queue not counted */
    uint32_t *first_next; /* [n_ops + 1] successors by dependency */
    uint32_t *next;       /* [n_dependencies] */
    uint32_t *head;       /* [n_queues] first operation not taken away */
    uint32_t *work;       /* [n_queues] queues to look at */
    uint8_t *queued;      /* [n_queues] is in work */
} kahn;

static bool kahn_init(kahn *k, const galv_program *program, galv_arena *arena)
{
    uint32_t n_queues = (uint32_t)program->n_ranks * GALV_N_STREAMS;
    k->pending = GALV_NEW_ARRAY(arena, uint32_t, program->n_ops);
    k->first_next = GALV_NEW_ARRAY(arena, uint32_t, (size_t)program->n_ops + 2);
    k->next = GALV_NEW_ARRAY(arena, uint32_t, program->n_dependencies);
    k->head = GALV_NEW_ARRAY(arena, uint32_t, n_queues);
    k->work = GALV_NEW_ARRAY(arena, uint32_t, n_queues);
    k->queued = GALV_NEW_ARRAY(arena, uint8_t, n_queues);
    if (k->pending == NULL || k->first_next == NULL || k->next == NULL ||
        k->head == NULL || k->work == NULL || k->queued == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < program->n_dependencies; i++) {
        k->first_next[program->dependencies[i] + 2]++;
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        k->pending[op] =
            program->ops[op + 1].first_dependency - program->ops[op].first_dependency;
        k->first_next[op + 2] += k->first_next[op + 1];
    }
    for (uint32_t op = 0; op < program->n_ops; op++) {
        for (uint32_t i = program->ops[op].first_dependency;
             i < program->ops[op + 1].first_dependency; i++) {
            k->next[k->first_next[program->dependencies[i] + 1]++] = op;
        }
    }
    return true;
}

/* Takes away all that can be; returns how many. */
static uint32_t kahn_run(kahn *k, const galv_program *program)
{
    uint32_t n_queues = (uint32_t)program->n_ranks * GALV_N_STREAMS;
    uint32_t n_work = 0;
    uint32_t n_done = 0;
    for (uint32_t queue = 0; queue < n_queues; queue++) {
        k->head[queue] = program->queue_begin[queue];
        k->work[n_work++] = queue;
        k->queued[queue] = 1;
    }
    while (n_work > 0) {
        uint32_t queue = k->work[--n_work];
        k->queued[queue] = 0;
        while (k->head[queue] < program->queue_begin[queue + 1] &&
               k->pending[k->head[queue]] == 0) {
            uint32_t op = k->head[queue]++;
            n_done++;
            for (uint32_t i = k->first_next[op]; i < k->first_next[op + 1]; i++) {
                uint32_t freed = k->next[i];
                if (--k->pending[freed] == 0) {
                    uint32_t wakes = queue_of(program, freed);
                    if (k->queued[wakes] == 0 && wakes != queue) {
                        k->queued[wakes] = 1;
                        k->work[n_work++] = wakes;
                    }
                }
            }
        }
    }
    return n_done;
}

/* What an operation that could not be taken away waits for. */
static uint32_t waits_for(const kahn *k, const galv_program *program, uint32_t op)
{
    uint32_t queue = queue_of(program, op);
    if (k->head[queue] != op) {
        return op - 1;
    }
    for (uint32_t i = program->ops[op].first_dependency;
         i < program->ops[op + 1].first_dependency; i++) {
        uint32_t on = program->dependencies[i];
        if (on >= k->head[queue_of(program, on)]) {
            return on;
        }
    }
    return op;
}

/* Writes the names of a cycle's operations, `at` one of them, and counts them. Those
 * that only pass on the wait of one in their queue for another go without a name, and
 * so do messages if `passes_only`. False when none has got one. */
static bool name_all(char *names, size_t size, uint32_t *n_cycle, const kahn *k,
                     const galv_program *program, uint32_t at, bool passes_only)
{
    const uint32_t first = at;
    size_t length = 0;
    uint32_t n_named = 0;
    bool cut = false;
    bool by_queue = false;
    names[0] = '\0';
    *n_cycle = 0;
    do {
        char name[NAME_SIZE];
        int kind = program->classes[program->ops[at].class_index].kind;
        bool came_by_queue = by_queue;
        by_queue = k->head[queue_of(program, at)] != at;
        bool message = kind == GALV_OP_SEND || kind == GALV_OP_RECV;
        if (!(came_by_queue && by_queue) && !(message && passes_only)) {
            bool fits = n_named < MAX_NAMED && length + NAME_SIZE + 8 < size;
            const char *what = "...";
            if (fits) {
                what = galv_program_name_op(name, sizeof name, program, at);
            }
            if (fits || !cut) {
                length += (size_t)snprintf(names + length, size - length, "%s%s",
                                           n_named == 0 ? "" : " <- ", what);
            }
            n_named++;
            cut |= !fits;
        }
        at = waits_for(k, program, at);
        ++*n_cycle;
    } while (at != first);
    return n_named > 0;
}

static galv_status name_cycle(const kahn *k, const galv_program *program, galv_err *err)
{
    uint32_t n_queues = (uint32_t)program->n_ranks * GALV_N_STREAMS;
    uint32_t at = 0;
    for (uint32_t queue = 0; queue < n_queues; queue++) {
        if (k->head[queue] < program->queue_begin[queue + 1]) {
            at = k->head[queue];
            break;
        }
    }
    for (uint32_t step = 0; step < program->n_ops; step++) { /* now surely on a cycle */
        at = waits_for(k, program, at);
    }
    char names[430];
    uint32_t n_cycle = 0;
    if (!name_all(names, sizeof names, &n_cycle, k, program, at, true)) {
        name_all(names, sizeof names, &n_cycle, k, program, at, false);
    }
    return galv_fail(
        err, GALV_INPUT,
        "the program deadlocks on a cycle of %u operations, each after the "
        "next: %s",
        (unsigned)n_cycle, names);
}

galv_status galv_program_check(const galv_program *program, galv_arena *arena,
                               galv_err *err)
{
    galv_status status = check_shape(program, err);
    if (status == GALV_OK) {
        status = check_messages(program, arena, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    kahn k;
    if (!kahn_init(&k, program, arena)) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory to check a program");
    }
    if (kahn_run(&k, program) < program->n_ops) {
        return name_cycle(&k, program, err);
    }
    return GALV_OK;
}
