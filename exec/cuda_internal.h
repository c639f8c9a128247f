/* What the files of the CUDA backend share. C++ for nvcc alone; nothing else includes
 * it.
 *
 * Memory and streams. A block of the pool may come from another stream than the one
 * that uses it next (pool.h). So every function says, on its way in, what it will
 * write: galv_cuda_enter makes the stream wait for the former users of those blocks
 * where it does not come after them anyway. What is only read was written before, on a
 * stream that the caller has ordered before this one. */
#ifndef GALV_EXEC_CUDA_INTERNAL_H
#define GALV_EXEC_CUDA_INTERNAL_H

extern "C" {
#include "exec/cuda.h"
#include "exec/order.h"
#include "exec/pool.h"
}

#include <cuda_bf16.h>
#include <cuda_runtime.h>

typedef __nv_bfloat16 bf16;

/* Marks of a stream that can be waited for one by one; older ones as the oldest. */
enum { CUDA_N_MARKS = 1024 };
/* Partial sums of a reduction over a whole array, in a scratch of each stream. */
enum { CUDA_N_PARTS = 1024 };

typedef struct cuda_stamp {
    cudaEvent_t event;
    galv_marks before;
} cuda_stamp;

/* Messages whose memory is held back at most (cuda_memory.cu). */
enum { CUDA_MOST_HELD = 64 };

typedef struct cuda_held {
    void *memory;
    galv_marks marks;
} cuda_held;

typedef struct galv_cuda {
    galv_backend base; /* first: a galv_backend of this kind is a galv_cuda */
    galv_err err;      /* the first error */
    galv_world *world; /* not owned */
    bool all_began;    /* all ranks: from now on they hear of each other's failures */
    int device;
    int n_processors; /* "streaming multiprocessors" of the device */
    int shared_bytes; /* that a block may have, when asked for */
    cudaStream_t streams[GALV_N_STREAMS];
    double *parts[GALV_N_STREAMS]; /* device [CUDA_N_PARTS] */
    /* memory */
    galv_pool *pool;
    galv_order order;
    cudaEvent_t (*marks)[CUDA_N_MARKS]; /* [GALV_N_STREAMS] */
    bool used[GALV_N_STREAMS];          /* since its last mark */
    cuda_held held[CUDA_MOST_HELD];     /* a ring */
    int first_held, n_held;
    /* time */
    cuda_stamp *stamps;
    size_t n_stamps, n_stamps_made, n_stamps_allocated;
    cudaEvent_t start;
    struct cuda_links *links; /* cuda_links.cuh */
    struct cuda_gemms *gemms; /* cuda_gemm.cu */
    struct cuda_dnn *dnn;     /* cuda_dnn.cu; NULL where cuDNN is not used */
} galv_cuda;

/* ---- cuda_backend.cu ---- */
/* Records the first error, and tells the other ranks, which may wait for this one;
 * false. */
bool galv_cuda_fail(galv_cuda *c, galv_status status, const char *format, ...)
    GALV_PRINTF(3, 4);
void galv_cuda_hint(galv_cuda *c, const char *hint);
/* Whether a call of the runtime went well; else the error that says what to do. */
bool galv_cuda_ok(galv_cuda *c, cudaError_t result, const char *what);
/* Whether the launch just made went well. */
bool galv_cuda_launched(galv_cuda *c, const char *kernel);
/* Waits for a stream, with a look at the other ranks now and then; false after an
 * error.
 */
bool galv_cuda_drain(galv_cuda *c, cudaStream_t stream);
/* Makes `stream` ready for work that writes these; false after an error. */
bool galv_cuda_enter(galv_backend *b, galv_stream stream, const void *out0 = nullptr,
                     const void *out1 = nullptr, const void *out2 = nullptr,
                     const void *out3 = nullptr);
/* The part of that which concerns one block, for work that goes on beside the stream.
 */
void galv_cuda_guard(galv_cuda *c, galv_stream stream, const void *out);
/* The mark of all that `stream` has queued so far, for memory that it releases. */
galv_marks galv_cuda_marks(galv_cuda *c, galv_stream stream);

static inline galv_cuda *galv_cuda_of(galv_backend *b)
{
    return (galv_cuda *)b;
}

static inline size_t galv_cuda_bytes(galv_element type)
{
    return type == GALV_ELEMENT ? sizeof(bf16) : 4;
}

/* ---- cuda_links.cu, cuda_messages.cu ---- */
bool galv_cuda_links_new(galv_cuda *c);
void galv_cuda_links_free(galv_cuda *c);
/* The stream comes after the messages that were queued in it. */
void galv_cuda_join_messages(galv_cuda *c, galv_stream stream);
/* Looks for errors of communicators and of other ranks that came up meanwhile; false,
 * and all communicators aborted, when there is one. */
bool galv_cuda_links_check(galv_cuda *c);

bool galv_cuda_gemms_new(galv_cuda *c);
void galv_cuda_gemms_free(galv_cuda *c);

/* ---- cuda_dnn.cu ---- */
/* Begins cuDNN where it is found and wanted; false after an error. */
bool galv_cuda_dnn_new(galv_cuda *c);
void galv_cuda_dnn_free(galv_cuda *c);
/* As cuDNN says it, 91900 for 9.19.0; 0 where it is not used. */
int galv_cuda_dnn_version(const galv_cuda *c);
/* A call of attention by cuDNN, once the stream is ready for it; false, and nothing
 * done, where it has no kernel for the shape. */
bool galv_cuda_dnn_attend(galv_cuda *c, galv_stream stream, const galv_attention *shape,
                          void *out, float *lse, const void *q, const void *k,
                          const void *v);
bool galv_cuda_dnn_attend_backward(galv_cuda *c, galv_stream stream,
                                   const galv_attention *shape, float *dq, float *dk,
                                   float *dv, const void *dout, const void *q,
                                   const void *k, const void *v, const void *out,
                                   const float *lse);
/* Gradients as it gives them: elements, written. */
bool galv_cuda_dnn_attend_backward_whole(galv_cuda *c, galv_stream stream,
                                         const galv_attention *shape, void *dq,
                                         void *dk, void *dv, const void *dout,
                                         const void *q, const void *k, const void *v,
                                         const void *out, const float *lse);

void galv_cuda_fill_memory(galv_backend *b); /* cuda_memory.cu */
void galv_cuda_free_memory(galv_cuda *c);
/* Gives back what is held for messages, all of which have ended. */
void galv_cuda_end_holding(galv_cuda *c);
void galv_cuda_fill_comm(galv_backend *b);      /* cuda_comm.cu */
void galv_cuda_fill_traffic(galv_backend *b);   /* cuda_traffic.cu */
void galv_cuda_fill_gemm(galv_backend *b);      /* cuda_gemm.cu */
void galv_cuda_fill_kernels(galv_backend *b);   /* cuda_kernels.cu */
void galv_cuda_fill_attention(galv_backend *b); /* cuda_attention.cu */
void galv_cuda_fill_loss(galv_backend *b);      /* cuda_loss.cu */
void galv_cuda_fill_moe(galv_backend *b);       /* cuda_moe.cu */

#endif
