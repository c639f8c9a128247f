/* What the files that talk to NCCL share: the communicators of a rank, and how they are
 * made, ended and looked after. */
#ifndef GALV_EXEC_CUDA_LINKS_CUH
#define GALV_EXEC_CUDA_LINKS_CUH

#include "exec/cuda_internal.h"

#include <nccl.h>

struct galv_comm {
    int32_t n_ranks, index; /* this rank's place */
    int32_t *ranks;         /* of the world; [n_ranks] */
    ncclComm_t nccl;        /* nullptr for one rank */
};

/* One direction between this rank and another. */
typedef struct cuda_side {
    ncclComm_t nccl;
    cudaStream_t stream;
    cudaEvent_t begun, done;
} cuda_side;

typedef struct cuda_pair {
    int32_t peer; /* of the world */
    cuda_side out, in;
} cuda_pair;

/* A message that its stream does not yet come after. */
typedef struct cuda_message {
    const cuda_side *side;
    uintptr_t begin, end; /* its buffer */
    bool writes;
} cuda_message;

enum { MOST_MESSAGES = 16, CONTROL_BYTES = 2 * NCCL_UNIQUE_ID_BYTES };

struct cuda_links {
    ncclComm_t control;
    cudaStream_t control_stream;
    char *control_buffer; /* device [CONTROL_BYTES] */
    cuda_pair **pairs;
    size_t n_pairs;
    ncclComm_t *all; /* that are alive */
    size_t n_all, n_all_allocated;
    cuda_message messages[GALV_N_STREAMS][MOST_MESSAGES];
    int n_messages[GALV_N_STREAMS];
};

/* ---- cuda_links.cu ---- */
/* Whether NCCL did it, or is at it; else the error that says what to do. */
bool galv_nccl_ok(galv_cuda *c, ncclResult_t result, const char *what);
/* Makes a communicator, of at most so many blocks on the device (0: NCCL chooses), and
 * remembers it. Collective over its ranks. */
bool galv_nccl_init(galv_cuda *c, ncclComm_t *nccl, const ncclUniqueId *id, int n_ranks,
                    int index, int most_blocks);
/* Ends a communicator that is alive; those aborted are no more. */
void galv_nccl_end(galv_cuda *c, ncclComm_t nccl);
/* Passes `bytes` of the host from ranks[0] to the other ranks (of the world) over
 * `control`; blocks until they are there. */
bool galv_nccl_pass(galv_cuda *c, void *data, size_t bytes, const int32_t *ranks,
                    int32_t n_ranks);

static inline ncclDataType_t galv_nccl_type(galv_element type)
{
    return type == GALV_ELEMENT   ? ncclBfloat16
           : type == GALV_FLOAT32 ? ncclFloat32
                                  : ncclInt32;
}

/* ---- cuda_messages.cu ---- */
void galv_cuda_fill_messages(galv_backend *b);
/* Ends the communicators of all pairs: collective, in one order on all ranks. */
void galv_cuda_free_pairs(galv_cuda *c);

#endif
