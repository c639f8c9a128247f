/* The world over MPI. What waits, looks and sleeps, so that a rank that waits for
 * another does not take the processor from it. */
#include "exec/world_internal.h"

#include "exec/host_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#endif

/* MPI leaks, and by the end of the process it has unloaded the modules by whose names
 * tools/lsan-mpi.supp knows its leaks. So what it takes while it starts is not counted,
 * and leaks are looked for before it ends, and no more at the end of the process. */
#if defined(__SANITIZE_ADDRESS__)
static bool leaks_are_checked;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return leaks_are_checked;
}

static void count_leaks(bool count)
{
    if (count) {
        __lsan_enable();
    } else {
        __lsan_disable();
    }
}

static void check_leaks(void)
{
    if (__lsan_do_recoverable_leak_check() != 0) {
        _Exit(1);
    }
    leaks_are_checked = true;
}
#else
static void count_leaks(bool count)
{
    (void)count;
}

static void check_leaks(void)
{
}
#endif

/* Of messages on the world's communicator. */
enum { WORD_TAG, ALARM_TAG };

typedef struct mpi_state {
    MPI_Comm comm;
    galv_err alarm;      /* what is being sent */
    MPI_Request *alarms; /* [size]; never waited for: the ranks that hear it end */
} mpi_state;

static galv_status lost(galv_err *err)
{
    return galv_fail(err, GALV_IO, "MPI failed: a process has gone?");
}

static galv_status wait_for(int started, MPI_Request *request, size_t bytes,
                            galv_err *err)
{
    if (started != MPI_SUCCESS) {
        return lost(err);
    }
    int complete = 0;
    for (int n_tries = 0; !complete; n_tries += n_tries < INT_MAX) {
        if (MPI_Test(request, &complete, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
            return lost(err);
        }
        if (!complete) {
            galv_host_nap(n_tries, bytes > HOST_LONG);
        }
    }
    return GALV_OK;
}

static galv_status all_gather(galv_world *world, void *all, const void *one,
                              size_t bytes, galv_err *err)
{
    if (bytes > INT32_MAX) {
        return galv_fail(err, GALV_INTERNAL, "too much to gather among the ranks");
    }
    MPI_Request request;
    int started = MPI_Iallgather(one, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE,
                                 galv_world_mpi(world), &request);
    return wait_for(started, &request, bytes, err);
}

/* In pieces, since counts of MPI are int. */
static galv_status broadcast(galv_world *world, void *data, size_t bytes, int32_t root,
                             galv_err *err)
{
    const size_t piece = (size_t)1 << 30;
    for (size_t begin = 0; begin < bytes; begin += piece) {
        size_t n = bytes - begin < piece ? bytes - begin : piece;
        MPI_Request request;
        int started = MPI_Ibcast((char *)data + begin, (int)n, MPI_BYTE, root,
                                 galv_world_mpi(world), &request);
        galv_status status = wait_for(started, &request, n, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

static galv_status send_to(galv_world *world, int32_t to, const void *data,
                           size_t bytes, galv_err *err)
{
    MPI_Request request;
    int started = MPI_Isend(data, (int)bytes, MPI_BYTE, to, WORD_TAG,
                            galv_world_mpi(world), &request);
    return wait_for(started, &request, bytes, err);
}

static galv_status recv_from(galv_world *world, int32_t from, void *data, size_t bytes,
                             galv_err *err)
{
    MPI_Request request;
    int started = MPI_Irecv(data, (int)bytes, MPI_BYTE, from, WORD_TAG,
                            galv_world_mpi(world), &request);
    return wait_for(started, &request, bytes, err);
}

static void raise_alarm(galv_world *world, const galv_err *err)
{
    mpi_state *state = world->state;
    state->alarm = *err;
    state->alarms = calloc((size_t)world->size, sizeof *state->alarms);
    for (int32_t rank = 0; rank < world->size && state->alarms != NULL; rank++) {
        if (rank != world->rank) {
            MPI_Isend(&state->alarm, (int)sizeof state->alarm, MPI_BYTE, rank,
                      ALARM_TAG, state->comm, &state->alarms[rank]);
        }
    }
}

static bool hear_alarm(galv_world *world, int32_t *rank, galv_err *err)
{
    MPI_Comm comm = galv_world_mpi(world);
    int heard = 0;
    MPI_Status from;
    galv_err theirs = GALV_ERR_INIT;
    if (MPI_Iprobe(MPI_ANY_SOURCE, ALARM_TAG, comm, &heard, &from) != MPI_SUCCESS ||
        !heard ||
        MPI_Recv(&theirs, (int)sizeof theirs, MPI_BYTE, from.MPI_SOURCE, ALARM_TAG,
                 comm, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
        return false;
    }
    *rank = from.MPI_SOURCE;
    *err = theirs;
    return true;
}

static void abort_all(galv_world *world, int exit_status)
{
    MPI_Abort(galv_world_mpi(world), exit_status);
}

static void free_mpi(galv_world *world)
{
    mpi_state *state = world->state;
    if (state->comm != MPI_COMM_NULL) {
        MPI_Comm_free(&state->comm);
    }
    if (state->alarms == NULL) { /* else others may still read it */
        free(state);
    }
    check_leaks();
    MPI_Finalize();
}

static const galv_world_way way = {.free = free_mpi,
                                   .all_gather = all_gather,
                                   .broadcast = broadcast,
                                   .send = send_to,
                                   .recv = recv_from,
                                   .raise_alarm = raise_alarm,
                                   .hear_alarm = hear_alarm,
                                   .abort = abort_all};

static bool find_places(galv_world *world, MPI_Comm comm)
{
    int rank = 0;
    int size = 1;
    int local_rank = 0;
    MPI_Comm node = MPI_COMM_NULL;
    bool found = MPI_Comm_rank(comm, &rank) == MPI_SUCCESS &&
                 MPI_Comm_size(comm, &size) == MPI_SUCCESS &&
                 MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL,
                                     &node) == MPI_SUCCESS &&
                 MPI_Comm_rank(node, &local_rank) == MPI_SUCCESS;
    if (node != MPI_COMM_NULL) {
        MPI_Comm_free(&node);
    }
    world->rank = rank;
    world->size = size;
    world->local_rank = local_rank;
    return found;
}

galv_status galv_world_join_mpi(galv_world *world, int *argc, char ***argv,
                                galv_err *err)
{
    mpi_state *state = calloc(1, sizeof *state);
    if (state == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    int provided = 0;
    count_leaks(false);
    int started = MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    count_leaks(true);
    if (started != MPI_SUCCESS) {
        free(state);
        return galv_fail(err, GALV_UNAVAILABLE, "MPI does not start");
    }
    state->comm = MPI_COMM_NULL;
    world->state = state;
    world->way = &way;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (MPI_Comm_dup(MPI_COMM_WORLD, &state->comm) != MPI_SUCCESS ||
        MPI_Comm_set_errhandler(state->comm, MPI_ERRORS_RETURN) != MPI_SUCCESS ||
        !find_places(world, state->comm)) {
        return galv_fail(err, GALV_UNAVAILABLE, "MPI does not tell who we are");
    }
    return GALV_OK;
}

MPI_Comm galv_world_mpi(const galv_world *world)
{
    return world->way == &way ? ((const mpi_state *)world->state)->comm : MPI_COMM_NULL;
}
