/* The state of a simulation of every rank, shared by its clock (all_ranks.c), its
 * rates (all_ranks_rates.c) and its making (all_ranks_setup.c). */
#ifndef GALV_SIM_ALL_RANKS_INTERNAL_H
#define GALV_SIM_ALL_RANKS_INTERNAL_H

#include "sim/all_ranks.h"
#include "sim/simulate_internal.h"

#define GALV_NOT_IN_HEAP UINT32_MAX

/* A class, and who meets in it. */
typedef struct meeting_class {
    hot_class hot;
    uint32_t stride, n;
    uint32_t block;      /* stride * n: places of `stride` neighbouring groups */
    uint32_t first_slot; /* of group 0 */
    uint32_t first_rank; /* place 0 of its stage */
} meeting_class;

/* Another op of the same pipeline, by the place where its progress is kept. */
typedef struct neighbour {
    uint32_t op;
    uint32_t queue; /* of place 0; a place's own is GALV_N_STREAMS further per place */
} neighbour;

/* Where a group of ranks of one stage meets on one stream. One activity at a time. */
typedef struct meeting_slot {
    double start_s;
    double end_s; /* if nothing changes */
    double rate;
    uint32_t op, class_index;
    uint32_t first_rank;
    uint32_t n_arrived;
    uint32_t heap_place;
    uint32_t n_beside; /* ranks that compute meanwhile */
    double worst;      /* largest slowing by links among the ranks, and by how many */
    uint32_t n_worst;
    bool recount; /* the three above are not known */
    bool flows;   /* is a flow on the network */
    bool changed; /* its rate must be set anew */
} meeting_slot;

typedef struct rank_queue {
    uint32_t head; /* next to end: all ops of the queue before it have ended */
    uint32_t slot; /* of the one that waits or runs */
} rank_queue;

typedef struct rank_state {
    rank_account account;
    double intra, inter; /* shares of its links in use, as rates know them */
    double compute_factor;
    uint32_t stage, place;
    uint8_t running; /* bit per stream */
    uint8_t waiting; /* has reached a meeting that has not begun */
    uint8_t settled; /* what ran when the rates were set */
    bool changed;
} rank_state;

typedef struct heap_entry {
    double end_s;
    uint32_t slot;
} heap_entry;

typedef struct all_ranks {
    const galv_program *program;
    const galv_cost *costs;
    const galv_all_ranks_options *options;
    uint32_t per_stage;         /* ranks of a stage */
    uint32_t n_ranks, n_queues; /* of the cluster */
    uint64_t key;               /* of the random numbers */
    double compute_sigma, comm_sigma;
    meeting_class *classes; /* [n_classes] */
    neighbour *before;      /* [n_dependencies], as the program lists them */
    uint32_t *first_after;  /* [n_ops + 2] */
    neighbour *after;       /* [n_dependencies] who waits for an op */
    rank_queue *queues;     /* [n_queues] */
    rank_state *ranks;      /* [n_ranks] */
    galv_rank_result *results;
    double *waited_s;
    meeting_slot *slots; /* [n_slots] */
    uint32_t n_slots;
    heap_entry *heap; /* [n_slots] of those that run */
    uint32_t n_heap;
    uint32_t *ready; /* [n_queues] queues to look at: a stack */
    uint32_t n_ready;
    uint8_t *is_ready;
    uint32_t *changed; /* [n_ranks] */
    uint32_t n_changed;
    uint32_t *changed_slots; /* [n_slots] */
    uint32_t n_changed_slots;
    galv_max_min *sharing; /* of the network among slots; NULL = not shared */
    uint64_t n_flow_changes;
    double now_s;
    uint64_t n_done, n_events;
    galv_span *spans; /* [n_ops] of the recorded place; NULL = none */
} all_ranks;

/* Fills the state from its program, costs, options and per_stage (all_ranks_setup.c).
 */
galv_status galv_all_ranks_set_up(all_ranks *s, const galv_stage_memory *base,
                                  const galv_meeting *meetings, galv_arena *arena,
                                  galv_err *err);

/* Puts a slot whose end_s has changed where it belongs in the heap, or into it. */
void galv_all_ranks_schedule(all_ranks *s, uint32_t slot);

/* Sets the rates of all that runs on the ranks that have changed. */
void galv_all_ranks_settle_rates(all_ranks *s);

#endif
