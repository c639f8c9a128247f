/* The world over TCP.
 *
 * A star: every rank keeps two connections to rank 0. Over the first go the few words
 * that hosts exchange. Over the second, the lifeline, goes what must be heard whatever
 * a rank is at: a thread sleeps on it. An alarm is kept for whoever asks, and rank 0
 * passes it on. If a lifeline closes without a farewell the other side has died; then
 * the thread says so and ends this process, wherever its work hangs (a kernel, a
 * collective of NCCL). Rank 0 tells the others before it ends, so one death is one
 * message.
 *
 * Numbers go in the byte order of the machine: a run's hosts are alike. */
#include "exec/farewell.h"
#include "exec/tcp.h"
#include "exec/world_internal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const uint64_t magic = 0x31766c6167u; /* "galv1" */

/* What a rank says first on each connection; rank 0 answers with its own. */
typedef struct greeting {
    uint64_t magic;
    int32_t rank, size;
    int32_t lifeline; /* 1: this is that */
    int32_t unused;
} greeting;

typedef enum lifeword {
    LIFE_ALARM, /* a rank has failed: `err` */
    LIFE_LEFT,  /* as it should */
    LIFE_ABORT  /* all end with `exit_status` */
} lifeword;

/* On a lifeline: what has become of a rank. */
typedef struct news {
    lifeword word;
    int32_t rank;
    int32_t exit_status;
    galv_err err;
} news;

typedef struct tcp_state {
    int *talk, *life; /* [size] on rank 0, of the ranks above; else [1], to rank 0 */
    int32_t n;        /* of connections; rank r is index r - 1 on rank 0 */
    int wake[2];      /* ends the watch */
    bool watched;
    pthread_t watch;
    pthread_mutex_t telling; /* of those who write to lifelines */
    int32_t rank;
    news alarm; /* the first that was heard */
    atomic_bool alarmed;
} tcp_state;

/* ---- words ---- */

static int connection_to(const galv_world *world, int32_t rank)
{
    const tcp_state *state = world->state;
    return world->rank == 0 ? state->talk[rank - 1] : state->talk[0];
}

/* Whoever goes without a farewell has died, or will be spoken of by rank 0: the watch
 * is given a second to hear that, and ends this process with it. */
static galv_status gone(int32_t rank, galv_err *err)
{
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    return galv_fail(err, GALV_IO, "rank %d has gone", rank);
}

static galv_status send_to(galv_world *world, int32_t to, const void *data,
                           size_t bytes, galv_err *err)
{
    return galv_tcp_write(connection_to(world, to), data, bytes) ? GALV_OK
                                                                 : gone(to, err);
}

static galv_status recv_from(galv_world *world, int32_t from, void *data, size_t bytes,
                             galv_err *err)
{
    return galv_tcp_read(connection_to(world, from), data, bytes) ? GALV_OK
                                                                  : gone(from, err);
}

/* ---- collectives, by way of rank 0 ---- */

static galv_status all_gather(galv_world *world, void *all, const void *one,
                              size_t bytes, galv_err *err)
{
    size_t total = bytes * (size_t)world->size;
    if (world->rank != 0) {
        galv_status status = send_to(world, 0, one, bytes, err);
        return status == GALV_OK ? recv_from(world, 0, all, total, err) : status;
    }
    memcpy(all, one, bytes);
    galv_status status = GALV_OK;
    for (int32_t rank = 1; rank < world->size && status == GALV_OK; rank++) {
        status = recv_from(world, rank, (char *)all + (size_t)rank * bytes, bytes, err);
    }
    for (int32_t rank = 1; rank < world->size && status == GALV_OK; rank++) {
        status = send_to(world, rank, all, total, err);
    }
    return status;
}

static galv_status broadcast(galv_world *world, void *data, size_t bytes, int32_t root,
                             galv_err *err)
{
    if (world->rank != 0) {
        return world->rank == root ? send_to(world, 0, data, bytes, err)
                                   : recv_from(world, 0, data, bytes, err);
    }
    galv_status status = GALV_OK;
    if (root != 0) {
        status = recv_from(world, root, data, bytes, err);
    }
    for (int32_t rank = 1; rank < world->size && status == GALV_OK; rank++) {
        if (rank != root) {
            status = send_to(world, rank, data, bytes, err);
        }
    }
    return status;
}

/* ---- the watch ---- */

/* To all on the other ends, but for the rank that it is about. */
static void tell_all(tcp_state *state, const news *words)
{
    pthread_mutex_lock(&state->telling);
    for (int32_t i = 0; i < state->n; i++) {
        if (state->rank != 0 || i + 1 != words->rank) {
            (void)galv_tcp_write(state->life[i], words, sizeof *words);
        }
    }
    pthread_mutex_unlock(&state->telling);
}

static void end_by_death(tcp_state *state, int32_t dead)
{
    fprintf(stderr, "galvatron-exec: rank %d has gone; rank %d ends too\n", dead,
            state->rank);
    if (state->rank == 0 || dead == 0) {
        galv_farewell_say();
    }
    if (state->rank == 0) {
        tell_all(
            state,
            &(news){.word = LIFE_ABORT, .rank = dead, .exit_status = EXIT_FAILURE});
    }
    _exit(EXIT_FAILURE);
}

/* A lifeline has something to say; false when nothing will follow. */
static bool hear(tcp_state *state, int32_t index)
{
    news words;
    if (!galv_tcp_read(state->life[index], &words, sizeof words)) {
        end_by_death(state, state->rank == 0 ? index + 1 : 0);
    }
    if (words.word == LIFE_LEFT) {
        return false;
    }
    if (state->rank == 0) {
        tell_all(state, &words);
    }
    if (words.word == LIFE_ABORT) {
        _exit(words.exit_status);
    }
    if (!atomic_load(&state->alarmed)) {
        state->alarm = words;
        atomic_store(&state->alarmed, true);
    }
    return true;
}

static void *watch(void *argument)
{
    tcp_state *state = argument;
    struct pollfd *polls = calloc((size_t)state->n + 1, sizeof *polls);
    if (polls == NULL) {
        return NULL; /* deaths will show in the next exchange of words */
    }
    for (int32_t i = 0; i < state->n; i++) {
        polls[i] = (struct pollfd){.fd = state->life[i], .events = POLLIN};
    }
    polls[state->n] = (struct pollfd){.fd = state->wake[0], .events = POLLIN};
    while (polls[state->n].revents == 0) {
        if (poll(polls, (nfds_t)state->n + 1, -1) < 0 && errno != EINTR) {
            break;
        }
        for (int32_t i = 0; i < state->n; i++) {
            if (polls[i].fd >= 0 && polls[i].revents != 0 && !hear(state, i)) {
                polls[i].fd = -1; /* left as it should: no more of it */
            }
        }
    }
    free(polls);
    return NULL;
}

static void close_all(int *sockets, int32_t n)
{
    for (int32_t i = 0; sockets != NULL && i < n; i++) {
        if (sockets[i] >= 0) {
            close(sockets[i]);
        }
    }
    free(sockets);
}

static void free_tcp(galv_world *world)
{
    tcp_state *state = world->state;
    if (state->watched) {
        tell_all(state, &(news){.word = LIFE_LEFT, .rank = world->rank});
        if (write(state->wake[1], "", 1) == 1) {
            pthread_join(state->watch, NULL);
        }
    }
    if (state->wake[0] >= 0) {
        close(state->wake[0]);
        close(state->wake[1]);
    }
    close_all(state->talk, state->n);
    close_all(state->life, state->n);
    pthread_mutex_destroy(&state->telling);
    free(state);
}

static void abort_all(galv_world *world, int exit_status)
{
    news words = {.word = LIFE_ABORT,
                  .rank = world->rank,
                  .exit_status = exit_status >= 0 ? exit_status : EXIT_FAILURE};
    tell_all(world->state, &words);
    _exit(words.exit_status);
}

static void raise_alarm(galv_world *world, const galv_err *err)
{
    tell_all(world->state,
             &(news){.word = LIFE_ALARM, .rank = world->rank, .err = *err});
}

static bool hear_alarm(galv_world *world, int32_t *rank, galv_err *err)
{
    const tcp_state *state = world->state;
    if (!atomic_load(&state->alarmed)) {
        return false;
    }
    *rank = state->alarm.rank;
    *err = state->alarm.err;
    return true;
}

static const galv_world_way way = {.free = free_tcp,
                                   .all_gather = all_gather,
                                   .broadcast = broadcast,
                                   .send = send_to,
                                   .recv = recv_from,
                                   .raise_alarm = raise_alarm,
                                   .hear_alarm = hear_alarm,
                                   .abort = abort_all};

/* ---- meeting ---- */

/* Takes one connection in; false for strangers. */
static bool welcome(const galv_world *world, int socket, double deadline_s)
{
    tcp_state *state = world->state;
    greeting words;
    greeting answer = {.magic = magic, .rank = 0, .size = world->size};
    double soon_s = galv_tcp_now_s() + 5;
    if (!galv_tcp_readable_before(socket, deadline_s < soon_s ? deadline_s : soon_s) ||
        !galv_tcp_read(socket, &words, sizeof words) || words.magic != magic) {
        return false;
    }
    int *place = NULL;
    if (words.size == world->size && words.rank >= 1 && words.rank < world->size) {
        place = (words.lifeline ? state->life : state->talk) + words.rank - 1;
    }
    bool wanted = place != NULL && *place < 0;
    answer.rank = wanted ? 0 : -1;
    if (!galv_tcp_write(socket, &answer, sizeof answer) || !wanted) {
        return false;
    }
    *place = socket;
    galv_tcp_be_prompt(socket);
    return true;
}

static galv_status gather_in(galv_world *world, const char *port, galv_err *err)
{
    const tcp_state *state = world->state;
    double deadline_s = galv_tcp_now_s() + galv_tcp_patience_s();
    int listener = galv_tcp_listen(port);
    if (listener < 0) {
        galv_fail(err, GALV_UNAVAILABLE, "port %s cannot be listened at: %s", port,
                  strerror(errno));
        galv_hint(err, "set MASTER_PORT to a free port, the same on all ranks");
        return GALV_UNAVAILABLE;
    }
    int32_t n_missing = 2 * state->n;
    while (n_missing > 0 && galv_tcp_readable_before(listener, deadline_s)) {
        int socket = galv_tcp_accept(listener);
        if (socket >= 0 && welcome(world, socket, deadline_s)) {
            n_missing--;
        } else if (socket >= 0) {
            close(socket);
        }
    }
    close(listener);
    for (int32_t rank = 1; rank < world->size; rank++) {
        if (state->talk[rank - 1] < 0 || state->life[rank - 1] < 0) {
            galv_fail(err, GALV_UNAVAILABLE,
                      "rank %d of %d did not come within %g s to port %s", rank,
                      world->size, galv_tcp_patience_s(), port);
            galv_hint(err, "start every rank, with the same MASTER_ADDR and "
                           "MASTER_PORT; GALV_CONNECT_S=N waits N seconds");
            return GALV_UNAVAILABLE;
        }
    }
    return GALV_OK;
}

static galv_status reach(const galv_world *world, int *made, bool lifeline,
                         const char *host, const char *port, double deadline_s,
                         galv_err *err)
{
    int socket = galv_tcp_connect(host, port, deadline_s);
    if (socket < 0) {
        galv_fail(err, GALV_UNAVAILABLE,
                  "rank 0 does not answer at %s port %s within %g s", host, port,
                  galv_tcp_patience_s());
        galv_hint(err, "is rank 0 started, MASTER_ADDR its host, and the port open? "
                       "GALV_CONNECT_S=N waits N seconds");
        return GALV_UNAVAILABLE;
    }
    greeting words = {.magic = magic,
                      .rank = world->rank,
                      .size = world->size,
                      .lifeline = lifeline ? 1 : 0};
    greeting answer = {.magic = 0};
    *made = socket;
    if (!galv_tcp_write(socket, &words, sizeof words) ||
        !galv_tcp_readable_before(socket, deadline_s) ||
        !galv_tcp_read(socket, &answer, sizeof answer) || answer.magic != magic) {
        return galv_fail(err, GALV_UNAVAILABLE,
                         "what answers at %s port %s is not rank 0 of this run", host,
                         port);
    }
    if (answer.size != world->size) {
        return galv_fail(err, GALV_USAGE,
                         "this is a run of %d ranks here and of %d on rank 0",
                         world->size, answer.size);
    }
    if (answer.rank != 0) {
        galv_fail(err, GALV_USAGE, "rank 0 has another process of rank %d already",
                  world->rank);
        galv_hint(err, "every process needs a rank of its own (RANK, or SLURM_PROCID)");
        return GALV_USAGE;
    }
    galv_tcp_be_prompt(socket);
    return GALV_OK;
}

static galv_status meet(galv_world *world, const char *host, const char *port,
                        galv_err *err)
{
    tcp_state *state = world->state;
    galv_status status = GALV_OK;
    if (world->rank == 0) {
        status = gather_in(world, port, err);
        if (status != GALV_OK) { /* those that came leave without a word of their own */
            tell_all(state, &(news){.word = LIFE_ABORT,
                                    .exit_status = galv_status_exit_code(status)});
        }
    } else {
        double deadline_s = galv_tcp_now_s() + galv_tcp_patience_s();
        status = reach(world, &state->talk[0], false, host, port, deadline_s, err);
        if (status == GALV_OK) {
            status = reach(world, &state->life[0], true, host, port, deadline_s, err);
        }
    }
    if (status != GALV_OK) {
        return status;
    }
    if (pipe(state->wake) != 0) {
        return galv_fail(err, GALV_IO, "no pipe: %s", strerror(errno));
    }
    state->watched = pthread_create(&state->watch, NULL, watch, state) == 0;
    return state->watched ? GALV_OK : galv_fail(err, GALV_IO, "no thread");
}

galv_status galv_world_join_tcp(galv_world *world, const char *host, const char *port,
                                galv_err *err)
{
    tcp_state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    state->n = world->rank == 0 ? world->size - 1 : 1;
    state->rank = world->rank;
    pthread_mutex_init(&state->telling, NULL);
    state->wake[0] = -1;
    state->wake[1] = -1;
    state->talk = malloc((size_t)state->n * sizeof *state->talk);
    state->life = malloc((size_t)state->n * sizeof *state->life);
    world->state = state;
    world->way = &way;
    if (state->talk == NULL || state->life == NULL) {
        state->n = 0;
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (int32_t i = 0; i < state->n; i++) {
        state->talk[i] = -1;
        state->life[i] = -1;
    }
    return meet(world, host, port, err);
}

bool galv_world_is_tcp(const galv_world *world)
{
    return world->way == &way;
}

int galv_world_tcp_to_rank_0(const galv_world *world)
{
    const tcp_state *state = world->state;
    return world->rank == 0 ? -1 : state->talk[0];
}
