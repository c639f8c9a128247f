/* What the CUDA backend uses of NCCL, over MPI between the processes of a test.
 *
 * As NCCL has it: operations of one communicator run one after another in the order
 * queued, whatever their streams; an operation ends when all its ranks have come to it,
 * a send when it has been received; where NCCL_LAUNCH_ORDER_IMPLICIT=1 is set an
 * operation begins only after all that the process has queued before it, on any
 * communicator, have begun. So what would wait for ever on devices waits for ever here,
 * and the emulated device says so. */
#ifndef GALV_TESTS_EMULATED_NCCL_H
#define GALV_TESTS_EMULATED_NCCL_H

#include <cuda_runtime.h>

enum { NCCL_UNIQUE_ID_BYTES = 128 };

typedef struct emulated_comm *ncclComm_t;
typedef struct ncclUniqueId {
    char internal[NCCL_UNIQUE_ID_BYTES];
} ncclUniqueId;
typedef enum ncclResult_t {
    ncclSuccess,
    ncclUnhandledCudaError,
    ncclSystemError,
    ncclInternalError,
    ncclInvalidArgument,
    ncclInvalidUsage,
    ncclRemoteError,
    ncclInProgress
} ncclResult_t;
typedef enum ncclDataType_t {
    ncclInt8 = 0,
    ncclInt32 = 2,
    ncclFloat32 = 7,
    ncclBfloat16 = 9
} ncclDataType_t;
typedef enum ncclRedOp_t { ncclSum, ncclProd, ncclMax, ncclMin } ncclRedOp_t;
typedef struct ncclConfig_t {
    int blocking, maxCTAs;
} ncclConfig_t;
#define NCCL_CONFIG_INITIALIZER \
    {                           \
        1, 0                    \
    }

const char *ncclGetErrorString(ncclResult_t result);
const char *ncclGetLastError(ncclComm_t comm);
ncclResult_t ncclGetVersion(int *version);
ncclResult_t ncclGetUniqueId(ncclUniqueId *id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int n_ranks, ncclUniqueId id,
                                    int rank, ncclConfig_t *config);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t ncclCommAbort(ncclComm_t comm);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error);
ncclResult_t ncclGroupStart(void);
ncclResult_t ncclGroupEnd(void);
ncclResult_t ncclAllReduce(const void *in, void *out, size_t n, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclAllGather(const void *in, void *out, size_t n, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclReduceScatter(const void *in, void *out, size_t n, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclBroadcast(const void *in, void *out, size_t n, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclSend(const void *data, size_t n, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclRecv(void *data, size_t n, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream);

#endif
