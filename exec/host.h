/* The host backend: MPI for communication, a BLAS for matrix products, float32.
 *
 * It runs anywhere, in tests too: it is there to hold the mathematics of every plan
 * against that of one rank, and to be the reference of the CUDA backend's kernels.
 *
 * Computation is done at once, on the calling thread. Collectives are started without
 * waiting, and go on whenever the backend is called; `wait` on an event of a
 * communication stream blocks until it has ended. So a rank must queue its operations
 * in an order that is one linear order of the whole program, the same on all ranks
 * (interpreter.h sees to it). */
#ifndef GALV_EXEC_HOST_H
#define GALV_EXEC_HOST_H

#include "exec/backend.h"
#include "exec/world.h"

/* Made for any world: its ranks pass data over MPI, or over TCP without it. Errors:
 * GALV_UNAVAILABLE, GALV_NO_MEMORY. Free with backend->free before the world. */
galv_status galv_host_backend_new(galv_backend **backend, galv_world *world,
                                  galv_err *err);

/* For tries: from now on, what goes between these two ranks goes at no more than
 * `bytes_per_s`, each way by itself. Of other ranks' backends it changes nothing. */
void galv_host_slow_link(galv_backend *backend, int32_t rank, int32_t other,
                         double bytes_per_s);

#endif
