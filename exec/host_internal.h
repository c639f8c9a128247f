/* What the files of the host backend share: the device of a rank, its streams, and the
 * items that wait in them. */
#ifndef GALV_EXEC_HOST_INTERNAL_H
#define GALV_EXEC_HOST_INTERNAL_H

#include "exec/host.h"
#include "exec/host_mail.h"

typedef struct host host;
typedef struct host_item host_item;

/* What an item of a stream does when all before it are done. */
typedef enum host_item_kind {
    HOST_COMMUNICATE, /* runs `step` until it has ended */
    HOST_MESSAGE,     /* the same, a send or receive: may pass others of its kind */
    HOST_RECORD,      /* stamps an event */
    HOST_WAIT,        /* for an event of another stream */
    HOST_RELEASE      /* gives memory back to the pool */
} host_item_kind;

/* Posts the messages of the phase item->phase, or returns true: it has ended. */
typedef bool host_step(host *h, host_item *item);

struct host_item {
    host_item *next;
    host_item_kind kind;
    bool started, done;
    bool is_long;     /* it has posted messages of more than HOST_LONG bytes */
    galv_event event; /* record, wait */
    void *memory;     /* release */
    host_step *step;
    int phase;
    galv_comm *comm;
    int tag;
    int32_t peer; /* root, sender or receiver */
    char *out;    /* what it writes; NULL = nothing */
    const char *in;
    size_t n; /* values, of every block of in and out */
    galv_element type;
    galv_reduction reduction;
    double not_before_s; /* a slow link is at it until then */
    int64_t *begins;     /* all_to_all: send_begin, then recv_begin; owned */
    char *work;          /* blocks of the others; owned */
    galv_letter *letters;
    int n_letters, n_allocated;
};

typedef struct host_stream {
    host_item *first, *last;
} host_stream;

typedef struct host_event {
    double time_s; /* of CLOCK_MONOTONIC */
    bool done;
} host_event;

/* A released block that waits for its next user, by size. */
typedef struct host_block host_block;
enum { HOST_N_BINS = 64, HOST_ALIGNMENT = 256, HOST_VALUE_BYTES = 4 };

struct host {
    galv_backend base; /* first: a galv_backend of this kind is a host */
    galv_err err;      /* the first error */
    galv_world *world; /* not owned */
    int32_t slow_peer; /* over a slow link; -1 = none */
    double slow_bytes_per_s;
    double slow_until_s[2]; /* out, in: busy with what was posted */
    galv_mail *mail;        /* NULL when alone */
    int n_tags;             /* tags of one kind that a communicator may use */
    host_stream streams[GALV_N_STREAMS];
    size_t n_waiting; /* items in all streams */
    int n_long;       /* of these, with long messages under way */
    host_item *spare; /* items to use again */
    host_event *events;
    size_t n_events, n_events_allocated;
    double start_s;
    host_block *bins[HOST_N_BINS];
    size_t allocated_bytes, peak_bytes;
};

/* ---- host_backend.c ---- */
/* Records the first error, and tells the other ranks, which may wait for this one. */
void galv_host_fail(host *h, galv_status status, const char *message);
/* Hears whether another rank has failed, and fails too. */
void galv_host_listen(host *h);
/* The host, with all work of the stream done, ready to compute; NULL after an error. */
host *galv_host_enter(galv_backend *b, galv_stream stream);

/* ---- host_memory.c ---- */
void galv_host_fill_memory(galv_backend *b);
void galv_host_free_memory(host *h);
/* Gives the block back to the pool, now. */
void galv_host_recycle(host *h, void *memory);

/* ---- host_stream.c ---- */
void galv_host_fill_streams(galv_backend *b);
void galv_host_free_streams(host *h);
/* An item to fill in and push; NULL and an error when memory ran out. */
host_item *galv_host_item_new(host *h, host_item_kind kind);
void galv_host_push(host *h, galv_stream stream, host_item *item);
/* Lets communication go on, without waiting. */
void galv_host_progress(host *h);
/* Waits until all work of the stream is done, or an error. */
void galv_host_drain(host *h, galv_stream stream);
double galv_host_now_s(void);
/* A little sleep after `n_tries` looks in vain, so that ranks that share a core do not
 * take it from each other. The first HOST_YIELDS times it only lets others go first:
 * what comes soon is not slept through. `passes_on`: messages longer than HOST_LONG
 * bytes are under way. */
enum { HOST_YIELDS = 100, HOST_LONG = 65536 };
void galv_host_nap(int n_tries, bool passes_on);

/* ---- kernels ---- */
void galv_host_fill_comm(galv_backend *b);      /* host_comm.c */
void galv_host_fill_kernels(galv_backend *b);   /* host_kernels.c */
void galv_host_fill_traffic(galv_backend *b);   /* host_traffic.c */
void galv_host_fill_attention(galv_backend *b); /* host_attention.c */
void galv_host_fill_loss(galv_backend *b);      /* host_loss.c */
void galv_host_fill_moe(galv_backend *b);       /* host_moe.c */

#endif
