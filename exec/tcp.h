/* Sockets of TCP: to listen, to connect with patience, to pass whole bytes. */
#ifndef GALV_EXEC_TCP_H
#define GALV_EXEC_TCP_H

#include <stdbool.h>
#include <stddef.h>

/* All of the bytes, waiting where it must; false when the other side has gone. */
bool galv_tcp_write(int socket, const void *data, size_t bytes);
bool galv_tcp_read(int socket, void *data, size_t bytes);

/* Seconds to wait for other ranks: GALV_CONNECT_S, 60 unless told. */
double galv_tcp_patience_s(void);
/* Seconds of CLOCK_MONOTONIC. */
double galv_tcp_now_s(void);
/* Waits until there is something to read or to accept, at most until the deadline. */
bool galv_tcp_readable_before(int socket, double deadline_s);

/* A socket that listens at the port ("0": a free one) on all addresses; -1 and errno.
 */
int galv_tcp_listen(const char *port);
/* The next connection to a listener; -1 and errno. */
int galv_tcp_accept(int listener);
/* Connected to the host's port, tried again and again until the deadline; -1 when there
 * was no answer. */
int galv_tcp_connect(const char *host, const char *port, double deadline_s);
/* Sends short words at once, and asks a silent other side every 10 s whether its
 * machine is still there: after four questions without an answer it has gone. */
void galv_tcp_be_prompt(int socket);

#endif
