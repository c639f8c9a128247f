/* The state of a simulation of every rank, shared by its clock (all_ranks.c), its
 * rates (all_ranks_rates.c) and its making (all_ranks_setup.c). */
#ifndef GALV_SIM_ALL_RANKS_INTERNAL_H
#define GALV_SIM_ALL_RANKS_INTERNAL_H

#include "sim/all_ranks.h"
#include "sim/simulate_internal.h"

/* A class, and who meets in it. */
typedef struct meeting_class {
    hot_class hot;
    uint32_t n;
    galv_meeting meeting;
    uint32_t first_slot; /* of group 0 */
    uint32_t first_rank; /* place 0 of its stage */
    int8_t shift;        /* >= 0: n neighbours, a power of 2: group = place >> shift */
} meeting_class;

/* Another op of the same pipeline, by the place where its progress is kept. */
typedef struct neighbour {
    uint32_t op;
    uint32_t queue; /* of place 0; a place's own is GALV_N_STREAMS further per place */
} neighbour;

/* Where a group of ranks of one stage meets on one stream. One activity at a time. When
 * it ends is in all_ranks.ends. */
typedef struct meeting_slot {
    double start_s;
    double rate;
    double worst;      /* largest slowing by links among the ranks, */
    uint32_t n_worst;  /* and by how many */
    uint32_t n_beside; /* ranks that compute meanwhile */
    uint32_t op, class_index;
    uint32_t first_rank;
    uint32_t n_arrived;
    bool recount;  /* worst, n_worst and n_beside are not known */
    bool changed;  /* its rate must be set anew */
    bool latent;   /* on its way to being a flow: its latency passes */
    bool flows;    /* is a flow on the network */
    double left_s; /* work of the flow to come */
} meeting_slot;

typedef struct rank_queue {
    double busy_s;
    uint32_t head; /* next to end: all ops of the queue before it have ended */
    uint32_t slot; /* of the one that waits or runs */
} rank_queue;

/* What changes with every event of a rank, in two cache lines. */
typedef struct rank_state {
    double counted_s; /* time up to which spent_s is filled */
    double end_s;     /* of its last operation */
    uint32_t stage, place;
    uint8_t running;   /* bit per stream */
    uint8_t waiting;   /* has reached a meeting that has not begun */
    uint8_t settled;   /* what ran when the rates were set */
    uint8_t breakdown; /* what the time since counted_s goes to */
    bool changed;
    double intra, inter; /* shares of its links in use, as rates know them */
    double spent_s[GALV_BREAKDOWN_BUBBLE + 1]; /* straggling is told afterwards */
    double waited_s;
} rank_state;

/* Slots by when they end: eight neighbouring slots are a block, the heap is of blocks,
 * each by the earliest end in it. So a change looks at one cache line, and the heap is
 * small. */
#define GALV_BLOCK 8U

typedef struct heap_entry {
    double end_s;
    uint32_t block;
} heap_entry;

typedef struct all_ranks {
    const galv_program *program;
    const galv_cost *costs;
    const galv_all_ranks_options *options;
    uint32_t per_stage;         /* ranks of a stage */
    uint32_t n_ranks, n_queues; /* of the cluster */
    uint64_t key;               /* of the random numbers */
    double compute_sigma, comm_sigma;
    meeting_class *classes;    /* [n_classes] */
    neighbour *before;         /* [n_dependencies], as the program lists them */
    uint32_t *first_after;     /* [n_ops + 2] */
    neighbour *after;          /* [n_dependencies] who waits for an op */
    rank_queue *queues;        /* [n_queues] */
    rank_state *ranks;         /* [n_ranks] */
    double *compute_factors;   /* [n_ranks] of stragglers; NULL = all 1 */
    rank_account *accounts;    /* [n_ranks] of memory */
    galv_rank_result *results; /* [n_ranks] */
    meeting_slot *slots;       /* [n_slots] */
    uint32_t n_slots;
    double *ends;         /* [n_slots, rounded up to blocks] INFINITY = nothing runs */
    heap_entry *heap;     /* [n_blocks] */
    uint32_t *heap_place; /* [n_blocks] */
    uint32_t n_blocks;
    uint32_t *ready; /* [n_queues] queues to look at: a stack */
    uint32_t n_ready;
    uint8_t *is_ready;
    uint32_t *changed; /* [n_ranks] */
    uint32_t n_changed;
    uint32_t *changed_slots; /* [n_slots] */
    uint32_t n_changed_slots;
    galv_max_min *sharing; /* of the network among slots; NULL = not shared */
    uint64_t n_flow_changes, n_held_up;
    double now_s;
    uint64_t n_done, n_events;
    galv_span *spans; /* [n_ops] of each recorded place; NULL = none */
} all_ranks;

/* Fills the state from its program, costs, options and per_stage (all_ranks_setup.c).
 */
galv_status galv_all_ranks_set_up(all_ranks *s, const galv_stage_memory *base,
                                  const galv_meeting *meetings, galv_arena *arena,
                                  galv_err *err);

/* Says when what runs on a slot ends. */
void galv_all_ranks_schedule(all_ranks *s, uint32_t slot, double end_s);

/* Sets the rates of all that runs on the ranks that have changed. */
void galv_all_ranks_settle_rates(all_ranks *s);

#endif
