/* The world over TCP, in the environment of torchrun.
 *
 * A star: every rank keeps two connections to rank 0. Over the first go the few words
 * that hosts exchange. Over the second, the lifeline, nothing goes until the end: a
 * thread sleeps on it, and if it closes without a farewell the other side has died;
 * then the thread says so and ends this process, wherever its work hangs (a kernel, a
 * collective of NCCL). Rank 0 tells the others before it ends, so one death is one
 * message.
 *
 * torchrun's agent itself may listen at MASTER_PORT (it then says so in
 * TORCHELASTIC_USE_AGENT_STORE); rank 0 takes the next port in that case. Numbers go in
 * the byte order of the machine: a run's hosts are alike. */
#include "exec/farewell.h"
#include "exec/world_internal.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
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

/* On a lifeline: who left, and whether as it should (status < 0) or with this exit
 * status. */
typedef struct farewell {
    int32_t rank;
    int32_t exit_status;
} farewell;

typedef struct tcp_state {
    int *talk, *life; /* [size] on rank 0, of the ranks above; else [1], to rank 0 */
    int32_t n;        /* of connections; rank r is index r - 1 on rank 0 */
    int wake[2];      /* ends the watch */
    bool watched;
    pthread_t watch;
    int32_t rank;
} tcp_state;

/* ---- bytes ---- */

static bool write_all(int socket, const void *data, size_t bytes)
{
    const char *from = data;
    while (bytes > 0) {
        ssize_t sent = send(socket, from, bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return false;
        }
        from += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

static bool read_all(int socket, void *data, size_t bytes)
{
    char *to = data;
    while (bytes > 0) {
        ssize_t got = recv(socket, to, bytes, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        to += got;
        bytes -= (size_t)got;
    }
    return true;
}

static int connection_to(const galv_world *world, int32_t rank)
{
    const tcp_state *state = world->state;
    return world->rank == 0 ? state->talk[rank - 1] : state->talk[0];
}

static galv_status send_to(galv_world *world, int32_t to, const void *data,
                           size_t bytes, galv_err *err)
{
    return write_all(connection_to(world, to), data, bytes)
               ? GALV_OK
               : galv_fail(err, GALV_IO, "rank %d has gone", to);
}

static galv_status recv_from(galv_world *world, int32_t from, void *data, size_t bytes,
                             galv_err *err)
{
    return read_all(connection_to(world, from), data, bytes)
               ? GALV_OK
               : galv_fail(err, GALV_IO, "rank %d has gone", from);
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

static void tell_all(const tcp_state *state, farewell words)
{
    for (int32_t i = 0; i < state->n; i++) {
        (void)write_all(state->life[i], &words, sizeof words);
    }
}

/* A lifeline has something to say: its orderly end returns, anything else ends us. */
static void hear(const tcp_state *state, int32_t index)
{
    farewell words;
    bool spoke = read_all(state->life[index], &words, sizeof words);
    if (spoke && words.exit_status < 0) {
        return;
    }
    if (!spoke) {
        words.rank = state->rank == 0 ? index + 1 : 0;
        words.exit_status = 1;
        fprintf(stderr, "galvatron-exec: rank %d has gone; rank %d ends too\n",
                words.rank, state->rank);
        if (state->rank == 0 || words.rank == 0) {
            galv_farewell_say();
        }
    }
    if (state->rank == 0) {
        tell_all(state, words);
    }
    _exit(words.exit_status);
}

static void *watch(void *argument)
{
    const tcp_state *state = argument;
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
            if (polls[i].fd >= 0 && polls[i].revents != 0) {
                hear(state, i);
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
        tell_all(state, (farewell){.rank = world->rank, .exit_status = -1});
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
    free(state);
}

static void abort_all(galv_world *world, int exit_status)
{
    farewell words = {.rank = world->rank,
                      .exit_status = exit_status >= 0 ? exit_status : 1};
    tell_all(world->state, words);
    _exit(words.exit_status);
}

static const galv_world_way way = {.free = free_tcp,
                                   .all_gather = all_gather,
                                   .broadcast = broadcast,
                                   .send = send_to,
                                   .recv = recv_from,
                                   .abort = abort_all};

/* ---- meeting ---- */

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Seconds to wait for the others: GALV_CONNECT_S, 60 unless told. */
static double patience_s(void)
{
    const char *text = getenv("GALV_CONNECT_S");
    double told_s = text != NULL ? strtod(text, NULL) : 0;
    return told_s > 0 && told_s < 1e6 ? told_s : 60;
}

static void name_port(char *text, size_t size)
{
    long port = strtol(getenv("MASTER_PORT"), NULL, 10);
    const char *agent = getenv("TORCHELASTIC_USE_AGENT_STORE");
    bool taken = agent != NULL && strcmp(agent, "True") == 0;
    snprintf(text, size, "%ld", taken ? port + 1 : port);
}

static bool readable_before(int socket, double deadline_s)
{
    for (;;) {
        double left_s = deadline_s - now_s();
        struct pollfd one = {.fd = socket, .events = POLLIN};
        int ready = poll(&one, 1, left_s > 0 ? (int)(left_s * 1000) + 1 : 0);
        if (ready > 0) {
            return true;
        }
        if (ready == 0 || errno != EINTR) {
            return false;
        }
    }
}

/* A socket that listens at the port on all addresses, or -1 with errno. */
static int listen_at(const char *port)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int listener = -1;
    if (getaddrinfo(NULL, port, &hints, &found) != 0) {
        return -1;
    }
    /* one that takes IPv4 and IPv6 alike, where there is IPv6 */
    for (int pass = 0; pass < 2 && listener < 0; pass++) {
        for (struct addrinfo *one = found; one != NULL && listener < 0;
             one = one->ai_next) {
            if ((one->ai_family == AF_INET6) != (pass == 0)) {
                continue;
            }
            listener = socket(one->ai_family, SOCK_STREAM, 0);
            if (listener >= 0) {
                setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
                if (bind(listener, one->ai_addr, one->ai_addrlen) != 0 ||
                    listen(listener, 4096) != 0) {
                    close(listener);
                    listener = -1;
                }
            }
        }
    }
    freeaddrinfo(found);
    return listener;
}

/* Words are short and wanted at once. */
static void be_prompt(int socket)
{
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

/* Takes one connection in; false for strangers. */
static bool welcome(const galv_world *world, int socket, double deadline_s)
{
    tcp_state *state = world->state;
    greeting words;
    greeting answer = {.magic = magic, .rank = 0, .size = world->size};
    if (!readable_before(socket, deadline_s < now_s() + 5 ? deadline_s : now_s() + 5) ||
        !read_all(socket, &words, sizeof words) || words.magic != magic) {
        return false;
    }
    int *place = NULL;
    if (words.size == world->size && words.rank >= 1 && words.rank < world->size) {
        place = (words.lifeline ? state->life : state->talk) + words.rank - 1;
    }
    bool wanted = place != NULL && *place < 0;
    answer.rank = wanted ? 0 : -1;
    if (!write_all(socket, &answer, sizeof answer) || !wanted) {
        return false;
    }
    *place = socket;
    be_prompt(socket);
    return true;
}

static galv_status gather_in(galv_world *world, const char *port, galv_err *err)
{
    const tcp_state *state = world->state;
    double deadline_s = now_s() + patience_s();
    int listener = listen_at(port);
    if (listener < 0) {
        galv_fail(err, GALV_UNAVAILABLE, "port %s cannot be listened at: %s", port,
                  strerror(errno));
        galv_hint(err, "set MASTER_PORT to a free port on all ranks");
        return GALV_UNAVAILABLE;
    }
    int32_t n_missing = 2 * state->n;
    while (n_missing > 0 && readable_before(listener, deadline_s)) {
        int socket = accept(listener, NULL, NULL);
        if (socket >= 0 && welcome(world, socket, deadline_s)) {
            n_missing--;
        } else if (socket >= 0) {
            close(socket);
        }
    }
    close(listener);
    for (int32_t rank = 1; rank < world->size; rank++) {
        if (state->talk[rank - 1] < 0 || state->life[rank - 1] < 0) {
            return galv_fail(err, GALV_UNAVAILABLE,
                             "rank %d did not come within %.0f s to port %s", rank,
                             patience_s(), port);
        }
    }
    return GALV_OK;
}

static int connect_once(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int made = -1;
    if (getaddrinfo(host, port, &hints, &found) != 0) {
        return -1;
    }
    for (struct addrinfo *one = found; one != NULL && made < 0; one = one->ai_next) {
        made = socket(one->ai_family, SOCK_STREAM, 0);
        if (made >= 0 && connect(made, one->ai_addr, one->ai_addrlen) != 0) {
            close(made);
            made = -1;
        }
    }
    freeaddrinfo(found);
    return made;
}

static galv_status reach(const galv_world *world, int *made, bool lifeline,
                         const char *port, double deadline_s, galv_err *err)
{
    const char *host = getenv("MASTER_ADDR");
    int socket = connect_once(host, port);
    while (socket < 0 && now_s() < deadline_s) {
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        socket = connect_once(host, port);
    }
    if (socket < 0) {
        galv_fail(err, GALV_UNAVAILABLE, "rank 0 does not answer at %s port %s", host,
                  port);
        galv_hint(err, "is MASTER_ADDR the host of rank 0, and the port open?");
        return GALV_UNAVAILABLE;
    }
    greeting words = {.magic = magic,
                      .rank = world->rank,
                      .size = world->size,
                      .lifeline = lifeline ? 1 : 0};
    greeting answer = {.magic = 0};
    *made = socket;
    if (!write_all(socket, &words, sizeof words) ||
        !readable_before(socket, deadline_s) ||
        !read_all(socket, &answer, sizeof answer) || answer.magic != magic) {
        return galv_fail(err, GALV_UNAVAILABLE,
                         "what answers at %s port %s is not rank 0 of this run", host,
                         port);
    }
    if (answer.size != world->size) {
        return galv_fail(err, GALV_USAGE, "WORLD_SIZE is %d here and %d on rank 0",
                         world->size, answer.size);
    }
    if (answer.rank != 0) {
        galv_fail(err, GALV_USAGE, "rank 0 has another process of RANK %d already",
                  world->rank);
        galv_hint(err, "every process needs a RANK of its own");
        return GALV_USAGE;
    }
    be_prompt(socket);
    return GALV_OK;
}

static galv_status meet(galv_world *world, galv_err *err)
{
    tcp_state *state = world->state;
    char port[32];
    name_port(port, sizeof port);
    galv_status status = GALV_OK;
    if (world->rank == 0) {
        status = gather_in(world, port, err);
    } else {
        double deadline_s = now_s() + patience_s();
        status = reach(world, &state->talk[0], false, port, deadline_s, err);
        if (status == GALV_OK) {
            status = reach(world, &state->life[0], true, port, deadline_s, err);
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

galv_status galv_world_join_tcp(galv_world *world, galv_err *err)
{
    tcp_state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    state->n = world->rank == 0 ? world->size - 1 : 1;
    state->rank = world->rank;
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
    return meet(world, err);
}
