/* Deadlines are of CLOCK_MONOTONIC. A peer that dies closes its connections; one whose
 * machine or network dies does not, so the system is told to ask. No
 * connection is handed on to a program that is started (the planner of --adapt): it
 * would stay open after the rank's death, which then nobody hears of. */
#include "exec/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

bool galv_tcp_write(int socket, const void *data, size_t bytes)
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

bool galv_tcp_read(int socket, void *data, size_t bytes)
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

double galv_tcp_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double galv_tcp_patience_s(void)
{
    const char *text = getenv("GALV_CONNECT_S");
    double told_s = text != NULL ? strtod(text, NULL) : 0;
    return told_s > 0 && told_s < 1e6 ? told_s : 60;
}

bool galv_tcp_readable_before(int socket, double deadline_s)
{
    for (;;) {
        double left_s = deadline_s - galv_tcp_now_s();
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

/* -1 when this address cannot be listened at. */
static int listen_at(const struct addrinfo *address)
{
    int listener = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0) {
        return -1;
    }
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(listener, address->ai_addr, address->ai_addrlen) != 0 ||
        listen(listener, 4096) != 0) {
        int why = errno;
        close(listener);
        errno = why;
        return -1;
    }
    return listener;
}

int galv_tcp_listen(const char *port)
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
            if ((one->ai_family == AF_INET6) == (pass == 0)) {
                listener = listen_at(one);
            }
        }
    }
    freeaddrinfo(found);
    return listener;
}

int galv_tcp_accept(int listener)
{
    int made = accept(listener, NULL, NULL);
    if (made >= 0) {
        fcntl(made, F_SETFD, FD_CLOEXEC);
    }
    return made;
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
        made = socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (made >= 0 && connect(made, one->ai_addr, one->ai_addrlen) != 0) {
            close(made);
            made = -1;
        }
    }
    freeaddrinfo(found);
    return made;
}

int galv_tcp_connect(const char *host, const char *port, double deadline_s)
{
    int made = connect_once(host, port);
    while (made < 0 && galv_tcp_now_s() < deadline_s) {
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        made = connect_once(host, port);
    }
    return made;
}

void galv_tcp_be_prompt(int socket)
{
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &(int){10}, sizeof(int));
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &(int){10}, sizeof(int));
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &(int){4}, sizeof(int));
}
