/* The alarm: a message to every rank, which they look for while they wait. */
#include "exec/alarm.h"

#include "exec/world_internal.h"

#include <stdlib.h>

/* Of messages on the world's communicator: 0 is world_mpi.c's, 1 the host backend's. */
enum { ALARM_TAG = 2 };

struct galv_alarm {
    MPI_Comm mpi; /* MPI_COMM_NULL without MPI */
    int32_t rank, size;
    bool raised;
    galv_err err;      /* what is being sent */
    MPI_Request *sent; /* [size]; never waited for: the ranks that hear it end */
};

galv_alarm *galv_alarm_new(galv_world *world)
{
    galv_alarm *alarm = calloc(1, sizeof *alarm);
    int32_t size = galv_world_size(world);
    if (alarm != NULL) {
        alarm->mpi = galv_world_mpi(world);
        alarm->rank = galv_world_rank(world);
        alarm->size = size;
        alarm->sent = calloc((size_t)size, sizeof *alarm->sent);
    }
    if (alarm != NULL && alarm->sent == NULL) {
        free(alarm);
        alarm = NULL;
    }
    return alarm;
}

void galv_alarm_free(galv_alarm *alarm)
{
    if (alarm != NULL && !(alarm->raised && alarm->mpi != MPI_COMM_NULL)) {
        free(alarm->sent);
        free(alarm);
    }
}

bool galv_alarm_carries(const galv_alarm *alarm)
{
    return alarm->size == 1 || alarm->mpi != MPI_COMM_NULL;
}

void galv_alarm_raise(galv_alarm *alarm, const galv_err *err)
{
    if (alarm->raised) {
        return;
    }
    alarm->raised = true;
    alarm->err = *err;
    for (int32_t rank = 0; alarm->mpi != MPI_COMM_NULL && rank < alarm->size; rank++) {
        if (rank != alarm->rank) {
            MPI_Isend(&alarm->err, (int)sizeof alarm->err, MPI_BYTE, rank, ALARM_TAG,
                      alarm->mpi, &alarm->sent[rank]);
        }
    }
}

bool galv_alarm_heard(galv_alarm *alarm, galv_err *err)
{
    int heard = 0;
    MPI_Status from;
    galv_err theirs = GALV_ERR_INIT;
    if (alarm->mpi == MPI_COMM_NULL ||
        MPI_Iprobe(MPI_ANY_SOURCE, ALARM_TAG, alarm->mpi, &heard, &from) !=
            MPI_SUCCESS ||
        !heard ||
        MPI_Recv(&theirs, (int)sizeof theirs, MPI_BYTE, from.MPI_SOURCE, ALARM_TAG,
                 alarm->mpi, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
        return false;
    }
    galv_fail(err, theirs.status, "rank %d failed: %.400s", from.MPI_SOURCE,
              theirs.message);
    return true;
}
