/* Communication of emulated devices. Every collective is an exchange of messages
 * between all its ranks, then arithmetic in the order of ranks. */
#include "device.h"

#include <cuda_bf16.h>
#include <nccl.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <vector>

#include <mpi.h>
#include <sched.h>

/* An id: of the process that made it, and how many it had made before. */
typedef struct emulated_id {
    int maker, number;
} emulated_id;

enum { MOST_RANKS = 64 };

typedef struct message {
    bool out;
    void *data;
    size_t bytes;
    int peer; /* of the communicator */
} message;

/* An operation, once queued. */
typedef struct exchange {
    std::vector<message> messages;
    std::function<void()> after; /* arithmetic, when all has come */
    std::vector<std::vector<char>> received;
    std::vector<MPI_Request> requests;
    bool begun;
    char name[96];
} exchange;

struct emulated_comm {
    int n_ranks, rank, tag;
    int world[MOST_RANKS];
    std::deque<std::shared_ptr<exchange>> queued;
    bool aborted;
};

/* Operations of all communicators that have not begun, in the order queued. */
static std::deque<std::shared_ptr<exchange>> launches;

/* The group that is open. */
static int group_depth;
static std::vector<std::pair<std::pair<ncclComm_t, cudaStream_t>, message>> group;

const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclInvalidArgument ? "invalid argument" : "emulated error";
}

const char *ncclGetLastError(ncclComm_t)
{
    return "";
}

ncclResult_t ncclGetVersion(int *version)
{
    *version = 22800;
    return ncclSuccess;
}

static int world_rank(void)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    static int n_made;
    emulated_id made = {world_rank(), n_made++};
    memset(id, 0, sizeof *id);
    memcpy(id->internal, &made, sizeof made);
    return ncclSuccess;
}

/* Waits on the host while the device goes on. */
static void wait_for(MPI_Request *request)
{
    int done = 0;
    while (MPI_Test(request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && !done) {
        if (!emulated_progress()) {
            sched_yield();
        }
    }
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int n_ranks, ncclUniqueId id,
                                    int rank, ncclConfig_t *)
{
    emulated_id made;
    memcpy(&made, id.internal, sizeof made);
    if (rank < 0 || rank >= n_ranks || n_ranks > MOST_RANKS || group_depth > 0) {
        return ncclInvalidArgument;
    }
    ncclComm_t c = new emulated_comm();
    c->n_ranks = n_ranks;
    c->rank = rank;
    c->tag = (made.number * MOST_RANKS + made.maker) * 2;
    int place[2] = {rank, world_rank()};
    MPI_Request request;
    if (place[1] == made.maker) {
        c->world[rank] = place[1];
        for (int i = 1; i < n_ranks; i++) {
            int theirs[2];
            MPI_Irecv(theirs, 2, MPI_INT, MPI_ANY_SOURCE, c->tag, MPI_COMM_WORLD,
                      &request);
            wait_for(&request);
            c->world[theirs[0]] = theirs[1];
        }
        for (int i = 0; i < n_ranks; i++) {
            if (i != rank) {
                MPI_Isend(c->world, n_ranks, MPI_INT, c->world[i], c->tag,
                          MPI_COMM_WORLD, &request);
                wait_for(&request);
            }
        }
    } else {
        MPI_Isend(place, 2, MPI_INT, made.maker, c->tag, MPI_COMM_WORLD, &request);
        wait_for(&request);
        MPI_Irecv(c->world, n_ranks, MPI_INT, made.maker, c->tag, MPI_COMM_WORLD,
                  &request);
        wait_for(&request);
    }
    *comm = c;
    return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm)
{
    if (!comm->queued.empty()) {
        return ncclInvalidUsage;
    }
    delete comm;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    /* what is queued holds it: it ends at once, and the memory is left */
    comm->aborted = true;
    return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t *error)
{
    *error = ncclSuccess;
    return ncclSuccess;
}

/* ---- operations ---- */

static void begin(ncclComm_t comm, exchange *e)
{
    e->begun = true;
    for (message &m : e->messages) {
        MPI_Request request;
        int peer = comm->world[m.peer];
        if (m.out) {
            MPI_Issend(m.data, (int)m.bytes, MPI_BYTE, peer, comm->tag + 1,
                       MPI_COMM_WORLD, &request);
        } else {
            MPI_Irecv(m.data, (int)m.bytes, MPI_BYTE, peer, comm->tag + 1,
                      MPI_COMM_WORLD, &request);
        }
        e->requests.push_back(request);
    }
}

static bool go_on(ncclComm_t comm, const std::shared_ptr<exchange> &e)
{
    if (comm->aborted) {
        return true;
    }
    if (!e->begun) {
        const char *ordered = getenv("NCCL_LAUNCH_ORDER_IMPLICIT");
        bool first = ordered == nullptr || ordered[0] != '1' || launches.front() == e;
        if (comm->queued.front() != e || !first) {
            return false;
        }
        for (size_t i = 0; i < launches.size(); i++) {
            if (launches[i] == e) {
                launches.erase(launches.begin() + (ptrdiff_t)i);
                break;
            }
        }
        begin(comm, e.get());
    }
    int done = 0;
    MPI_Testall((int)e->requests.size(), e->requests.data(), &done,
                MPI_STATUSES_IGNORE);
    if (!done) {
        return false;
    }
    if (e->after) {
        e->after();
    }
    comm->queued.pop_front();
    return true;
}

static void queue(const char *what, ncclComm_t comm, cudaStream_t stream,
                  std::shared_ptr<exchange> e)
{
    snprintf(e->name, sizeof e->name, "%s by communicator %d of %d ranks, the first %d",
             what, comm->tag, comm->n_ranks, comm->world[0]);
    comm->queued.push_back(e);
    launches.push_back(e);
    emulated_queue(stream, e->name, [comm, e]() { return go_on(comm, e); });
}

void emulated_tell_of_launches(void)
{
    if (!launches.empty()) {
        fprintf(stderr, "emulated device: next to begin: %s\n", launches.front()->name);
    }
}

static size_t bytes_of(ncclDataType_t type)
{
    return type == ncclInt8 ? 1 : type == ncclBfloat16 ? 2 : 4;
}

/* An exchange that sends in[to * step ...] to each rank and receives n values of each.
 */
static std::shared_ptr<exchange> make_exchange(ncclComm_t comm, const void *in,
                                               size_t bytes, size_t step)
{
    std::shared_ptr<exchange> e = std::make_shared<exchange>();
    e->received.resize((size_t)comm->n_ranks);
    for (int rank = 0; rank < comm->n_ranks; rank++) {
        e->received[(size_t)rank].resize(bytes);
        if (rank != comm->rank) {
            e->messages.push_back(
                {true, (char *)in + (size_t)rank * step, bytes, rank});
            e->messages.push_back(
                {false, e->received[(size_t)rank].data(), bytes, rank});
        }
    }
    return e;
}

static void add(void *to, const void *from, size_t n, ncclDataType_t type,
                ncclRedOp_t op)
{
    for (size_t i = 0; i < n; i++) {
        if (type == ncclInt32) {
            int32_t *a = (int32_t *)to + i;
            int32_t b = ((const int32_t *)from)[i];
            *a = op == ncclSum ? *a + b : b > *a ? b : *a;
        } else if (type == ncclFloat32) {
            float *a = (float *)to + i;
            float b = ((const float *)from)[i];
            *a = op == ncclSum ? *a + b : b > *a ? b : *a;
        } else {
            __nv_bfloat16 *a = (__nv_bfloat16 *)to + i;
            float x = __bfloat162float(*a);
            float y = __bfloat162float(((const __nv_bfloat16 *)from)[i]);
            *a = __float2bfloat16(op == ncclSum ? x + y : y > x ? y : x);
        }
    }
}

/* Of n values of each rank, our own at `in`; in the order of ranks, so that all get the
 * same. */
static void reduce(exchange *e, ncclComm_t comm, const void *in, void *out, size_t n,
                   ncclDataType_t type, ncclRedOp_t op)
{
    size_t bytes = n * bytes_of(type);
    std::vector<char> sum(bytes);
    memcpy(e->received[(size_t)comm->rank].data(), in, bytes);
    memcpy(sum.data(), e->received[0].data(), bytes);
    for (size_t rank = 1; rank < e->received.size(); rank++) {
        add(sum.data(), e->received[rank].data(), n, type, op);
    }
    memcpy(out, sum.data(), bytes);
}

ncclResult_t ncclAllReduce(const void *in, void *out, size_t n, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    std::shared_ptr<exchange> e = make_exchange(comm, in, n * bytes_of(type), 0);
    exchange *raw = e.get();
    e->after = [=]() { reduce(raw, comm, in, out, n, type, op); };
    queue("AllReduce", comm, stream, e);
    return ncclSuccess;
}

ncclResult_t ncclAllGather(const void *in, void *out, size_t n, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream)
{
    size_t bytes = n * bytes_of(type);
    std::shared_ptr<exchange> e = make_exchange(comm, in, bytes, 0);
    exchange *raw = e.get();
    e->after = [=]() {
        memcpy(raw->received[(size_t)comm->rank].data(), in, bytes);
        for (size_t rank = 0; rank < raw->received.size(); rank++) {
            memcpy((char *)out + rank * bytes, raw->received[rank].data(), bytes);
        }
    };
    queue("AllGather", comm, stream, e);
    return ncclSuccess;
}

ncclResult_t ncclReduceScatter(const void *in, void *out, size_t n, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    size_t bytes = n * bytes_of(type);
    std::shared_ptr<exchange> e = make_exchange(comm, in, bytes, bytes);
    exchange *raw = e.get();
    e->after = [=]() {
        reduce(raw, comm, (const char *)in + (size_t)comm->rank * bytes, out, n, type,
               op);
    };
    queue("ReduceScatter", comm, stream, e);
    return ncclSuccess;
}

ncclResult_t ncclBroadcast(const void *in, void *out, size_t n, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream)
{
    size_t bytes = n * bytes_of(type);
    std::shared_ptr<exchange> e = std::make_shared<exchange>();
    for (int rank = 0; rank < comm->n_ranks; rank++) {
        if (comm->rank == root && rank != root) {
            e->messages.push_back({true, (void *)in, bytes, rank});
        }
    }
    if (comm->rank != root) {
        e->messages.push_back({false, out, bytes, root});
    } else {
        e->after = [=]() { memmove(out, in, bytes); };
    }
    queue("Broadcast", comm, stream, e);
    return ncclSuccess;
}

/* ---- messages and groups ---- */

ncclResult_t ncclGroupStart(void)
{
    group_depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    if (--group_depth > 0 || group.empty()) {
        return ncclSuccess;
    }
    std::shared_ptr<exchange> e = std::make_shared<exchange>();
    for (auto &entry : group) {
        if (entry.first != group.front().first) {
            emulated_complain("groups over several communicators or streams are not "
                              "emulated");
        }
        e->messages.push_back(entry.second);
    }
    queue(group.front().second.out ? "Send" : "Recv", group.front().first.first,
          group.front().first.second, e);
    group.clear();
    return ncclSuccess;
}

static ncclResult_t add_message(message m, ncclComm_t comm, cudaStream_t stream)
{
    if (m.peer < 0 || m.peer >= comm->n_ranks || m.peer == comm->rank) {
        return ncclInvalidArgument;
    }
    ncclGroupStart();
    group.push_back({{comm, stream}, m});
    return ncclGroupEnd();
}

ncclResult_t ncclSend(const void *data, size_t n, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    return add_message({true, (void *)data, n * bytes_of(type), peer}, comm, stream);
}

ncclResult_t ncclRecv(void *data, size_t n, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream)
{
    return add_message({false, data, n * bytes_of(type), peer}, comm, stream);
}
