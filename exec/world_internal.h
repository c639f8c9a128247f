/* What the ways to reach the other ranks (MPI, TCP, none) fill in for world.c. */
#ifndef GALV_EXEC_WORLD_INTERNAL_H
#define GALV_EXEC_WORLD_INTERNAL_H

#include "exec/world.h"

#include <mpi.h>

struct galv_world {
    int32_t rank, size, local_rank;
    bool alarmed; /* it raised the alarm */
    const char *launcher;
    void *state; /* of the way */
    /* NULL when alone. */
    const struct galv_world_way *way;
};

/* One way: all collective; messages are errors of this rank. */
typedef struct galv_world_way {
    void (*free)(galv_world *world);
    galv_status (*all_gather)(galv_world *world, void *all, const void *one,
                              size_t bytes, galv_err *err);
    galv_status (*broadcast)(galv_world *world, void *data, size_t bytes, int32_t root,
                             galv_err *err);
    /* Between rank 0 and another rank. */
    galv_status (*send)(galv_world *world, int32_t to, const void *data, size_t bytes,
                        galv_err *err);
    galv_status (*recv)(galv_world *world, int32_t from, void *data, size_t bytes,
                        galv_err *err);
    /* Neither waits. What was heard is the first alarm, with its rank. */
    void (*raise_alarm)(galv_world *world, const galv_err *err);
    bool (*hear_alarm)(galv_world *world, int32_t *rank, galv_err *err);
    void (*abort)(galv_world *world, int exit_status);
} galv_world_way;

/* Fill in way, state, rank, size and local_rank. */
galv_status galv_world_join_mpi(galv_world *world, int *argc, char ***argv,
                                galv_err *err);
/* rank, size and local_rank are known; rank 0 listens at the port of the host. */
galv_status galv_world_join_tcp(galv_world *world, const char *host, const char *port,
                                galv_err *err);
bool galv_world_is_tcp(const galv_world *world);
/* The socket over which words go to rank 0; -1 on rank 0. Its own address is one at
 * which other ranks reach this machine. */
int galv_world_tcp_to_rank_0(const galv_world *world);

/* The communicator of the world, MPI_COMM_NULL without MPI. */
MPI_Comm galv_world_mpi(const galv_world *world);

#endif
