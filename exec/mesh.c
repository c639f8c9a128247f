/* Every rank listens at a free port, tells all where, calls those below it and is
 * called by those above. A call succeeds as soon as the system of the other side takes
 * it, so all may call first and answer then. */
#include "exec/mesh.h"

#include "exec/tcp.h"
#include "exec/world_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct mesh {
    int32_t rank, size;
    int *sockets;
} mesh;

/* Where a rank listens, and the word by which those are known that it waits for. */
typedef struct place {
    char host[64], port[16];
    uint64_t word;
} place;

typedef struct greeting {
    uint64_t word;
    int64_t rank;
} greeting;

static bool name_end(char *host, size_t host_size, char *port, size_t port_size,
                     int socket, bool other_end)
{
    struct sockaddr_storage end;
    socklen_t size = sizeof end;
    int got = other_end ? getpeername(socket, (struct sockaddr *)&end, &size)
                        : getsockname(socket, (struct sockaddr *)&end, &size);
    return got == 0 &&
           getnameinfo((struct sockaddr *)&end, size, host, (socklen_t)host_size, port,
                       (socklen_t)port_size, NI_NUMERICHOST | NI_NUMERICSERV) == 0;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strcmp(host, "::1") == 0 ||
           strncmp(host, "::ffff:127.", 11) == 0;
}

/* A listener at a free port, and what the others must know of it. Its host is the
 * address from which rank 0 is reached. */
static int settle(place *mine, const galv_world *world)
{
    char unused[64];
    int listener = galv_tcp_listen("0");
    int to_0 = galv_world_tcp_to_rank_0(world);
    if (listener < 0 ||
        !name_end(unused, sizeof unused, mine->port, sizeof mine->port, listener,
                  false) ||
        (to_0 >= 0 && !name_end(mine->host, sizeof mine->host, unused, sizeof unused,
                                to_0, false))) {
        return listener;
    }
    double now_s = galv_tcp_now_s();
    memcpy(&mine->word, &now_s, sizeof mine->word);
    mine->word ^= (uint64_t)getpid() << 32;
    return listener;
}

/* Connects to a rank below this one. Of itself rank 0 knows no address, and who is on
 * its machine perhaps one that only that machine knows. */
static bool call(mesh *m, const galv_world *world, const place *places, int32_t rank,
                 double deadline_s)
{
    char host[64], unused[64];
    const char *mine = places[m->rank].host;
    const char *at = places[rank].host;
    bool with_0 = rank == 0 || (is_loopback(at) && !is_loopback(mine));
    if (with_0) {
        if (!name_end(host, sizeof host, unused, sizeof unused,
                      galv_world_tcp_to_rank_0(world), true)) {
            return false;
        }
        at = host;
    }
    greeting words = {.word = places[rank].word, .rank = m->rank};
    m->sockets[rank] = galv_tcp_connect(at, places[rank].port, deadline_s);
    return m->sockets[rank] >= 0 &&
           galv_tcp_write(m->sockets[rank], &words, sizeof words);
}

/* Takes in one that called; strangers are sent away. */
static void answer(mesh *m, int listener, const place *places, double deadline_s)
{
    greeting words = {0};
    int socket = galv_tcp_accept(listener);
    if (socket >= 0 && galv_tcp_readable_before(socket, deadline_s) &&
        galv_tcp_read(socket, &words, sizeof words) &&
        words.word == places[m->rank].word && words.rank > m->rank &&
        words.rank < m->size && m->sockets[words.rank] < 0) {
        m->sockets[words.rank] = socket;
    } else if (socket >= 0) {
        close(socket);
    }
}

static bool is_complete(const mesh *m)
{
    for (int32_t rank = 0; rank < m->size; rank++) {
        if (rank != m->rank && m->sockets[rank] < 0) {
            return false;
        }
    }
    return true;
}

static void close_all(mesh *m)
{
    for (int32_t rank = 0; rank < m->size; rank++) {
        if (m->sockets[rank] >= 0) {
            close(m->sockets[rank]);
            m->sockets[rank] = -1;
        }
    }
}

static galv_status connect_all(mesh *m, const galv_world *world, int listener,
                               const place *places, galv_err *err)
{
    double deadline_s = galv_tcp_now_s() + galv_tcp_patience_s();
    for (int32_t rank = 0; rank < m->rank; rank++) {
        if (!call(m, world, places, rank, deadline_s)) {
            galv_fail(err, GALV_UNAVAILABLE,
                      "rank %d cannot be reached at %s port %s for data", rank,
                      rank == 0 ? "MASTER_ADDR" : places[rank].host, places[rank].port);
            galv_hint(err, "ranks connect to each other at any free port: may they?");
            return GALV_UNAVAILABLE;
        }
    }
    while (!is_complete(m) && galv_tcp_readable_before(listener, deadline_s)) {
        answer(m, listener, places, deadline_s);
    }
    for (int32_t rank = 0; rank < m->size; rank++) {
        int socket = m->sockets[rank];
        if (rank == m->rank) {
            continue;
        }
        if (socket < 0) {
            return galv_fail(err, GALV_UNAVAILABLE, "rank %d did not connect for data",
                             rank);
        }
        galv_tcp_be_prompt(socket);
        fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
    }
    return GALV_OK;
}

galv_status galv_mesh_connect(int *sockets, galv_world *world, galv_err *err)
{
    mesh m = {.rank = galv_world_rank(world),
              .size = galv_world_size(world),
              .sockets = sockets};
    place mine = {.host = ""};
    place *places = calloc((size_t)m.size, sizeof *places);
    int listener = settle(&mine, world);
    for (int32_t rank = 0; rank < m.size; rank++) {
        sockets[rank] = -1;
    }
    if (places == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "out of memory");
    } else if (listener < 0 || mine.word == 0) {
        galv_fail(err, GALV_UNAVAILABLE, "no port can be listened at: %s",
                  strerror(errno));
    }
    if (galv_world_agree(world, err) == GALV_OK &&
        galv_world_all_gather(world, places, &mine, sizeof mine, err) == GALV_OK) {
        connect_all(&m, world, listener, places, err);
        galv_world_agree(world, err);
    }
    if (err->status != GALV_OK) {
        close_all(&m);
    }
    if (listener >= 0) {
        close(listener);
    }
    free(places);
    return err->status;
}
