/* The state of a running simulation, shared by the engine (simulate.c), the rates
 * (rates.c) and the account of time and memory (account.c), which the simulation of
 * every rank (all_ranks.c) keeps as well. */
#ifndef GALV_SIM_SIMULATE_INTERNAL_H
#define GALV_SIM_SIMULATE_INTERNAL_H

#include "sim/earliest_internal.h"
#include "sim/simulate.h"

/* What the engine needs of a class, in one cache line. */
typedef struct hot_class {
    double work_s;
    double intra_share, inter_share;
    double compute_slowdown, comm_slowdown;
    double message_bytes;
    uint8_t breakdown; /* galv_breakdown of the time when it is what counts */
    uint8_t stream;
    uint8_t start_memory; /* uses of memory that change when it starts, a bit each */
    uint8_t end_memory;   /* ... when it ends; the transient is of both */
} hot_class;

/* What the engine needs of an operation, in one place: it comes to each operation once,
 * out of many queues, so that what it reads together should lie together. */
typedef struct hot_op {
    uint32_t class_index;
    uint32_t pending;    /* dependencies that have not ended */
    uint32_t queue;      /* that it stands in */
    uint32_t first_next; /* successors by dependency: next[first_next of this op, of the
                            next one) */
} hot_op;

/* One queue: (rank, stream). At most one of its operations runs at a time. */
typedef struct sim_queue {
    uint32_t head; /* next to start, or the one that runs */
    uint32_t end;
    uint32_t class_index; /* of the one that runs */
    int32_t rank;
    double start_s;
    double end_s; /* if nothing changes */
    double rate;
} sim_queue;

/* What is known of a rank's time and memory at this moment. */
typedef struct rank_account {
    double counted_s; /* time up to which spent_s is filled */
    double use_bytes[GALV_N_MEMORY_USES];
    galv_memory_sample *samples; /* room for all of this rank; NULL = not recorded */
    size_t n_samples;
    int32_t sampled_as; /* rank that samples name */
    uint8_t breakdown;  /* what the time since counted_s goes to */
} rank_account;

typedef struct sim_rank {
    double until_s;     /* a pass is played ahead until then; 0 = none */
    uint32_t announced; /* ops of PP_SEND before this one are known to have ended */
    double next_s;      /* earliest end of what runs; INFINITY = nothing runs */
    uint8_t running;    /* bit per stream */
    bool changed;       /* rates must be set anew */
    rank_account account;
} sim_rank;

typedef struct sim {
    const galv_program *program;
    const galv_cost *costs;
    const galv_sim_options *options;
    galv_arena *scratch; /* emptied when the next simulation is set up */
    hot_class *classes;  /* [n_classes] */
    hot_op *ops;         /* [n_ops + 2], as in the program */
    uint32_t *next;      /* [n_dependencies] */
    sim_queue *queues;   /* [n_ranks * GALV_N_STREAMS] */
    sim_rank *ranks;     /* [n_ranks] */
    earliest next_ranks; /* ranks by (next_s, rank) */
    uint32_t *ready;     /* [n_queues] queues to look at: a stack */
    uint32_t n_ready;
    uint8_t *is_ready; /* [n_queues] is in it */
    int32_t *changed;  /* [n_ranks] ranks whose rates must be set anew */
    int32_t n_changed;
    struct sim_bodies *bodies; /* passes that are single operations; NULL = none */
    double now_s;
    uint32_t n_done;
    uint64_t n_events;
    galv_rank_result *results; /* [n_ranks] */
    galv_span *spans;          /* [n_ops] by op; NULL = not recorded */
} sim;

/* The first stream of a set of streams, a bit for each; one at least. */
static inline int galv_sim_first_stream(unsigned streams)
{
    return __builtin_ctz(streams);
}

/* A queue may have something to start. */
void galv_sim_look_at(sim *s, uint32_t queue);

/* An operation has ended: whoever waits for it need no longer. */
void galv_sim_free_followers(sim *s, uint32_t op);

/* What the time of a rank goes to from now on. */
void galv_sim_set_breakdown(sim *s, int32_t rank);

/* ---- passes that are single operations (bodies.c) ---- */

/* Makes s->bodies, if there are any. False when memory is out. */
bool galv_sim_make_bodies(sim *s);

/* Is an operation of this class a pass? */
bool galv_sim_has_body(const sim *s, uint32_t class_index);

/* The head of a rank's compute queue, a pass, begins now; it is played when all else
 * that starts at this moment has started. */
void galv_sim_enter_body(sim *s, int32_t rank);

/* Plays what has been entered last; false when there is none. */
bool galv_sim_play_body(sim *s);

/* Tells what ended until now on a rank that plays ahead; true when the pass is over. */
bool galv_sim_announce(sim *s, int32_t rank);

/* When there will be something to tell. */
double galv_sim_next_announcement(const sim *s, int32_t rank);

/* Sets the rates of what runs on a rank, and its next_s (rates.c). */
void galv_sim_set_rates(sim *s, int32_t rank);

/* Fills what the engine keeps of each class: classes[n_classes]. */
void galv_sim_fill_classes(hot_class *classes, const galv_program *program,
                           const galv_cost *costs);

/* Seconds that a program that is set up takes at least (longest_path.c); 0 when memory
 * is out. O(operations and dependencies). */
double galv_sim_longest_path(const sim *s);

/* What a span of an operation says besides its times and its rank. */
void galv_sim_fill_span(galv_span *span, const galv_program *program, uint32_t op,
                        const hot_class *class);

/* Samples of memory that a rank of the program can give: one per change. */
size_t galv_sim_most_samples(const galv_program *program, const hot_class *classes,
                             int32_t rank);

/* Counts the time since the last change on a rank to what ran. */
static inline void galv_account_time(rank_account *account, galv_rank_result *result,
                                     double now_s)
{
    if (account->counted_s < now_s) {
        result->spent_s[account->breakdown] += now_s - account->counted_s;
        account->counted_s = now_s;
    }
}

/* Fills up a rank's time with the bubble, so that the parts add up to the whole. */
void galv_account_finish(rank_account *account, galv_rank_result *result, double now_s);
/* Memory at the start and at the end of an operation. */
void galv_account_start(rank_account *account, galv_rank_result *result,
                        const hot_class *class, const galv_cost *cost, uint32_t op,
                        double now_s);
void galv_account_end(rank_account *account, galv_rank_result *result,
                      const hot_class *class, const galv_cost *cost, uint32_t op,
                      double now_s);
/* The memory that a rank holds before anything starts; NULL = nothing. */
void galv_account_begin(rank_account *account, galv_rank_result *result,
                        const galv_stage_memory *base);
/* The galv_breakdown of a class. */
uint8_t galv_sim_breakdown_of(const galv_operation *operation);

#endif
