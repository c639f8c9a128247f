/* The mesh: a connection of TCP from every rank to every other. */
#ifndef GALV_EXEC_MESH_H
#define GALV_EXEC_MESH_H

#include "exec/world.h"

/* sockets[n_ranks], that of this rank itself -1: connected, nonblocking, to be closed
 * by the caller. For a world over TCP; collective. Waits for others as long as the
 * world did (galv_tcp_patience_s). Errors: GALV_UNAVAILABLE with the rank that is not
 * reached, on all ranks the same; then all sockets are -1. */
galv_status galv_mesh_connect(int *sockets, galv_world *world, galv_err *err);

#endif
