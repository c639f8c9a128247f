/* Mail over TCP: one connection between every two ranks.
 *
 * A letter goes out whole, with its address before it, as fast as the other side takes
 * it; one that nobody waits for yet is kept by the receiver until somebody does (such
 * memory is taken from the system and is not counted). So a sender waits for the
 * network, never for a receive, and letters cannot lock each other.
 *
 * Who dies is seen by the world (world_tcp.c), which ends the run. What is left for
 * here is a rank that closes its connection while something is still wanted from it:
 * that fails after some seconds, in which the world may still tell more. */
#include "exec/host_internal.h"
#include "exec/mesh.h"
#include "exec/tcp.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VALUE_BYTES = 4 };
static const double grace_s = 5; /* between a closed connection and the failure */

struct galv_channel {
    uint64_t id;
    int32_t n_ranks;
    int32_t *ranks; /* [n_ranks] of the world */
    galv_channel *next;
    int64_t n_before; /* channels of the same ranks before this one */
};

/* What goes before a letter. */
typedef struct address {
    uint64_t channel;
    uint64_t bytes;
    int64_t tag;
} address;

typedef struct letter letter;
struct letter {
    letter *next;
    address to;
    char *data;
    bool done;
};

typedef struct letter_list {
    letter *first, *last;
} letter_list;

/* The connection to one rank. */
typedef struct line {
    int socket; /* -1: of this rank itself */
    letter_list leaving;
    size_t n_out; /* bytes of the first of them that are out, its address included */
    letter_list wanted, early; /* receives; letters that nobody waited for */
    address coming;
    size_t n_in;      /* bytes of it, and of what follows, that are in */
    letter *arriving; /* the one that `coming` is of, once it is known; in a list */
    bool adopted;     /* it is wanted, no more early */
    double closed_s;  /* when the other side closed; 0 = open */
} line;

typedef struct tcp_mail {
    galv_mail base; /* first */
    int32_t size;
    line *lines;            /* [size] */
    struct pollfd *polls;   /* [size] */
    galv_channel *channels; /* open and closed: their number counts */
    bool broken;
} tcp_mail;

/* ---- letters ---- */

static letter *letter_new(uint64_t channel, int64_t tag, char *data, size_t bytes)
{
    letter *made = calloc(1, sizeof *made);
    if (made != NULL) {
        made->to = (address){.channel = channel, .bytes = bytes, .tag = tag};
        made->data = data;
    }
    return made;
}

static void append(letter_list *list, letter *one)
{
    one->next = NULL;
    if (list->last == NULL) {
        list->first = one;
    } else {
        list->last->next = one;
    }
    list->last = one;
}

/* Takes the first letter of this channel and tag out of a list. */
static letter *take(letter_list *list, uint64_t channel, int64_t tag)
{
    letter *before = NULL;
    for (letter *one = list->first; one != NULL; one = one->next) {
        if (one->to.channel == channel && one->to.tag == tag) {
            if (before == NULL) {
                list->first = one->next;
            } else {
                before->next = one->next;
            }
            list->last = list->last == one ? before : list->last;
            return one;
        }
        before = one;
    }
    return NULL;
}

static void free_letters(letter *first, bool with_data)
{
    while (first != NULL) {
        letter *next = first->next;
        if (with_data) {
            free(first->data);
        }
        free(first);
        first = next;
    }
}

/* ---- going out ---- */

/* Writes as much as the connection takes now. */
static void write_line(line *l)
{
    while (l->leaving.first != NULL && l->closed_s <= 0) {
        letter *one = l->leaving.first;
        bool heading = l->n_out < sizeof one->to;
        size_t in_part = heading ? l->n_out : l->n_out - sizeof one->to;
        const char *from = heading ? (const char *)&one->to : one->data;
        size_t left = (heading ? sizeof one->to : one->to.bytes) - in_part;
        ssize_t sent = send(l->socket, from + in_part, left,
                            MSG_NOSIGNAL | (heading ? MSG_MORE : 0));
        if (sent < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
                return;
            }
            l->closed_s = galv_tcp_now_s();
            return;
        }
        l->n_out += (size_t)sent;
        if (l->n_out == sizeof one->to + one->to.bytes) {
            l->leaving.first = one->next;
            l->leaving.last = one->next == NULL ? NULL : l->leaving.last;
            l->n_out = 0;
            one->done = true; /* its sender frees it */
        }
    }
}

/* ---- coming in ---- */

/* Where the letter goes that `coming` announces. */
static bool begin_letter(line *l)
{
    letter *one = take(&l->wanted, l->coming.channel, l->coming.tag);
    l->adopted = one != NULL;
    if (one == NULL) {
        char *data = malloc(l->coming.bytes + 1);
        one = data != NULL
                  ? letter_new(l->coming.channel, l->coming.tag, data, l->coming.bytes)
                  : NULL;
        if (one == NULL) {
            free(data);
            return false;
        }
        append(&l->early, one);
    }
    l->arriving = one;
    return one->to.bytes == l->coming.bytes;
}

/* Reads what is there. False: out of memory, or a letter of another size than the one
 * that is waited for. */
static bool read_line(line *l)
{
    for (;;) {
        bool heading = l->n_in < sizeof l->coming;
        size_t in_part = heading ? l->n_in : l->n_in - sizeof l->coming;
        char *to = heading ? (char *)&l->coming : l->arriving->data;
        size_t left = (heading ? sizeof l->coming : l->coming.bytes) - in_part;
        ssize_t got = recv(l->socket, to + in_part, left, 0);
        if (got <= 0) {
            bool later =
                got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
            l->closed_s = later ? 0 : galv_tcp_now_s();
            return true;
        }
        l->n_in += (size_t)got;
        if (l->n_in == sizeof l->coming && !begin_letter(l)) {
            return false;
        }
        if (l->n_in == sizeof l->coming + l->coming.bytes) {
            l->arriving->done = true;
            l->arriving = NULL;
            l->n_in = 0;
        }
    }
}

/* Whether a connection can go on, now or within some milliseconds. */
static bool look(tcp_mail *m, int patience_ms)
{
    for (int32_t rank = 0; rank < m->size; rank++) {
        const line *l = &m->lines[rank];
        short out = l->leaving.first != NULL ? POLLOUT : 0;
        m->polls[rank] = (struct pollfd){.fd = l->closed_s > 0 ? -1 : l->socket,
                                         .events = (short)(POLLIN | out)};
    }
    return poll(m->polls, (nfds_t)m->size, patience_ms) > 0;
}

/* Lets all connections go on. */
static void turn(tcp_mail *m)
{
    if (!look(m, 0)) {
        return;
    }
    for (int32_t rank = 0; rank < m->size; rank++) {
        line *l = &m->lines[rank];
        if ((m->polls[rank].revents & POLLOUT) != 0) {
            write_line(l);
        }
        if ((m->polls[rank].revents & ~POLLOUT) != 0 && !read_line(l)) {
            m->broken = true;
        }
    }
}

/* ---- the table ---- */

static bool send_letter(galv_mail *mail, galv_letter *handle, galv_channel *channel,
                        int32_t to, int tag, const void *data, size_t n)
{
    tcp_mail *m = (tcp_mail *)mail;
    line *l = &m->lines[channel->ranks[to]];
    letter *one = letter_new(channel->id, tag, (char *)data, n * VALUE_BYTES);
    handle->tcp = one;
    if (one == NULL) {
        return false;
    }
    append(&l->leaving, one);
    write_line(l);
    return true;
}

/* A letter that is there already is copied; of one that is coming in, what is there is,
 * and the rest comes to its place. */
static bool receive_letter(galv_mail *mail, galv_letter *handle, galv_channel *channel,
                           int32_t from, int tag, void *data, size_t n)
{
    tcp_mail *m = (tcp_mail *)mail;
    line *l = &m->lines[channel->ranks[from]];
    letter *one = take(&l->early, channel->id, tag);
    if (one == NULL) {
        one = letter_new(channel->id, tag, data, n * VALUE_BYTES);
        handle->tcp = one;
        if (one != NULL) {
            append(&l->wanted, one);
        }
        return one != NULL;
    }
    handle->tcp = one;
    if (one->to.bytes != n * VALUE_BYTES) {
        return false;
    }
    size_t there = one->done ? one->to.bytes : l->n_in - sizeof l->coming;
    memcpy(data, one->data, there);
    free(one->data);
    one->data = data;
    l->adopted = l->adopted || !one->done;
    return true;
}

static bool all_done(const galv_letter *letters, int n)
{
    for (int i = 0; i < n; i++) {
        const letter *one = letters[i].tcp;
        if (one != NULL && !one->done) {
            return false;
        }
    }
    return true;
}

/* Whether a rank has closed its connection too long ago for what is wanted of it. */
static bool lost(const tcp_mail *m)
{
    for (int32_t rank = 0; rank < m->size; rank++) {
        const line *l = &m->lines[rank];
        bool wanted = l->wanted.first != NULL || l->leaving.first != NULL ||
                      (l->arriving != NULL && l->adopted);
        if (l->closed_s > 0 && wanted && galv_tcp_now_s() > l->closed_s + grace_s) {
            return true;
        }
    }
    return false;
}

static bool arrived(galv_mail *mail, bool *all, galv_letter *letters, int n)
{
    tcp_mail *m = (tcp_mail *)mail;
    if (!all_done(letters, n)) {
        turn(m);
    }
    *all = all_done(letters, n);
    if (*all) {
        for (int i = 0; i < n; i++) {
            free(letters[i].tcp);
            letters[i].tcp = NULL;
        }
        return true;
    }
    return !m->broken && !lost(m);
}

/* Sleeps until something comes, or can go out. */
static void rest(galv_mail *mail, int n_tries, bool passes_on)
{
    if (n_tries < HOST_YIELDS) {
        galv_host_nap(n_tries, passes_on);
    } else {
        look((tcp_mail *)mail, 1);
    }
}

/* ---- channels ---- */

/* The same on all of its ranks without asking: of the ranks, and how many channels of
 * the same ranks there were before. Source: Fowler, Noll, Vo 1991 (FNV-1a). */
static uint64_t name_channel(const galv_channel *channel)
{
    uint64_t name = 14695981039346656037U;
    for (int32_t i = -1; i < channel->n_ranks; i++) {
        uint64_t word =
            i < 0 ? (uint64_t)channel->n_before : (uint64_t)channel->ranks[i];
        for (int byte = 0; byte < 8; byte++) {
            name = (name ^ (word >> (8 * byte) & 255)) * 1099511628211U;
        }
    }
    return name;
}

static void channel_free(galv_channel *channel)
{
    if (channel != NULL) {
        free(channel->ranks);
        free(channel);
    }
}

/* Kept until the end: how many there were tells those to come apart. */
static void close_channel(galv_mail *mail, galv_channel *channel)
{
    (void)mail;
    (void)channel;
}

/* Two channels of one name, were it ever so, are seen by all ranks that have both, and
 * nobody else's letters could meet. */
static galv_channel *open_channel(galv_mail *mail, const int32_t *ranks,
                                  int32_t n_ranks)
{
    tcp_mail *m = (tcp_mail *)mail;
    galv_channel *made = calloc(1, sizeof *made);
    size_t bytes = (size_t)n_ranks * sizeof *ranks;
    int32_t *copy = malloc(bytes);
    if (made == NULL || copy == NULL) {
        free(made);
        free(copy);
        return NULL;
    }
    memcpy(copy, ranks, bytes);
    made->ranks = copy;
    made->n_ranks = n_ranks;
    for (const galv_channel *one = m->channels; one != NULL; one = one->next) {
        made->n_before +=
            one->n_ranks == n_ranks && memcmp(one->ranks, ranks, bytes) == 0;
    }
    made->id = name_channel(made);
    for (const galv_channel *one = m->channels; one != NULL; one = one->next) {
        if (one->id == made->id) {
            channel_free(made);
            return NULL;
        }
    }
    made->next = m->channels;
    m->channels = made;
    return made;
}

static void free_mail(galv_mail *mail)
{
    tcp_mail *m = (tcp_mail *)mail;
    for (int32_t rank = 0; m->lines != NULL && rank < m->size; rank++) {
        line *l = &m->lines[rank];
        if (l->socket >= 0) {
            close(l->socket);
        }
        free_letters(l->early.first, true);
        free_letters(l->wanted.first, false);
        free_letters(l->leaving.first, false);
    }
    while (m->channels != NULL) {
        galv_channel *next = m->channels->next;
        channel_free(m->channels);
        m->channels = next;
    }
    free(m->lines);
    free(m->polls);
    free(m);
}

static galv_status connect_lines(tcp_mail *m, galv_world *world, galv_err *err)
{
    int *sockets = calloc((size_t)m->size, sizeof *sockets);
    m->lines = calloc((size_t)m->size, sizeof *m->lines);
    m->polls = calloc((size_t)m->size, sizeof *m->polls);
    if (m->lines == NULL || m->polls == NULL || sockets == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (galv_world_agree(world, err) == GALV_OK) {
        galv_mesh_connect(sockets, world, err);
    }
    for (int32_t rank = 0; m->lines != NULL && rank < m->size; rank++) {
        m->lines[rank].socket = err->status == GALV_OK ? sockets[rank] : -1;
    }
    free(sockets);
    return err->status;
}

galv_status galv_mail_new_tcp(galv_mail **mail, galv_world *world, galv_err *err)
{
    tcp_mail *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    m->size = galv_world_size(world);
    m->base = (galv_mail){.n_tags = 1 << 20,
                          .free = free_mail,
                          .open = open_channel,
                          .close = close_channel,
                          .send = send_letter,
                          .receive = receive_letter,
                          .arrived = arrived,
                          .rest = rest};
    if (connect_lines(m, world, err) != GALV_OK) {
        free_mail(&m->base);
        return err->status;
    }
    *mail = &m->base;
    return GALV_OK;
}
