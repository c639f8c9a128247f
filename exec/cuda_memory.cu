/* Memory of the device: segments from cudaMalloc, cut by the pool (pool.h), and copies
 * from and to the host.
 *
 * Not cudaMallocAsync: its memory belongs to the order of one stream, and the backend's
 * `allocate` has none; the pool knows exactly for whom the next user must wait.
 *
 * Messages between stages. A send ends when its receiver has come to it, which may be
 * long after the sender has gone on. If memory that is being sent were the next to be
 * received into, and the other rank did the same, each receive would wait for a send
 * that waits for the other's receive. So what is released behind a send is held back
 * until the device is seen to have sent it, or as many other messages have been sent as
 * can be under way before an answer to this one comes (or until the host has waited for
 * all streams). A schedule of p stages and v chunks has at most p (v + 1) under way. */
#include "exec/cuda_internal.h"

#include <stdlib.h>
#include <string.h>

/* Values of a piece of an upload or download of elements. */
static const size_t PIECE = (size_t)1 << 20;

static double gib(size_t bytes)
{
    return (double)bytes / (double)(1 << 30);
}

static bool out_of_memory(galv_cuda *c, size_t asked)
{
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    (void)cudaGetLastError();
    cudaMemGetInfo(&free_bytes, &total_bytes);
    galv_cuda_fail(c, GALV_NO_MEMORY,
                   "out of memory on %s: asked for %.3f GiB; in use %.3f GiB, held by "
                   "the pool %.3f GiB, free on the device %.3f of %.3f GiB",
                   c->base.device, gib(asked), gib(galv_pool_taken_bytes(c->pool)),
                   gib(galv_pool_segments_bytes(c->pool)), gib(free_bytes),
                   gib(total_bytes));
    galv_cuda_hint(c, "smaller micro-batches, recomputation, more ZeRO or more ranks "
                      "need less");
    return false;
}

/* A segment for the request: of the usual size, or of just what is asked for, or after
 * giving back the segments that nobody uses. */
static bool add_segment(galv_cuda *c, size_t rounded)
{
    size_t sizes[3] = {galv_pool_segment_bytes(c->pool, rounded), rounded, rounded};
    for (int attempt = 0; attempt < 3; attempt++) {
        void *base = nullptr;
        if (attempt == 2) {
            c->base.synchronize(&c->base);
            if (c->err.status != GALV_OK) {
                return false;
            }
            for (void *free_one = galv_pool_drop(c->pool); free_one != nullptr;
                 free_one = galv_pool_drop(c->pool)) {
                cudaFree(free_one);
            }
        }
        cudaError_t result = cudaMalloc(&base, sizes[attempt]);
        if (result == cudaErrorMemoryAllocation) {
            (void)cudaGetLastError();
            continue;
        }
        if (!galv_cuda_ok(c, result, "allocate")) {
            return false;
        }
        if (!galv_pool_add(c->pool, base, sizes[attempt], rounded)) {
            cudaFree(base);
            return galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
        }
        return true;
    }
    return out_of_memory(c, rounded);
}

static void give(galv_cuda *c, void *memory, const galv_marks *marks)
{
    if (!galv_pool_give(c->pool, memory, marks)) {
        galv_cuda_fail(c, GALV_INTERNAL, "memory is released that was not allocated");
    }
}

/* Gives back what has been held longest, until `most` are left. */
static void hold_at_most(galv_cuda *c, int most)
{
    while (c->n_held > most) {
        const cuda_held *oldest = &c->held[c->first_held];
        c->first_held = (c->first_held + 1) % CUDA_MOST_HELD;
        c->n_held--;
        give(c, oldest->memory, &oldest->marks);
    }
}

/* Whether the device has done all that comes before these marks. */
static bool is_over(galv_cuda *c, const galv_marks *marks)
{
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        uint64_t mark = marks->of[stream];
        if (mark == 0) {
            continue;
        }
        /* an event that has been used again is of a later mark */
        cudaError_t found = cudaEventQuery(c->marks[stream][mark % CUDA_N_MARKS]);
        if (found == cudaErrorNotReady) {
            (void)cudaGetLastError();
            return false;
        }
        if (!galv_cuda_ok(c, found, "look for the end of a message")) {
            return false;
        }
    }
    return true;
}

/* Gives back what has been sent. */
static void give_sent(galv_cuda *c)
{
    while (c->n_held > 0 && c->err.status == GALV_OK &&
           is_over(c, &c->held[c->first_held].marks)) {
        hold_at_most(c, c->n_held - 1);
    }
}

static void *allocate(galv_backend *b, size_t bytes)
{
    galv_cuda *c = galv_cuda_of(b);
    if (c->err.status != GALV_OK) {
        return nullptr;
    }
    size_t rounded = galv_pool_rounded(bytes);
    if (rounded == 0) {
        out_of_memory(c, bytes);
        return nullptr;
    }
    give_sent(c);
    void *memory = galv_pool_take(c->pool, rounded);
    if (memory == nullptr && add_segment(c, rounded)) {
        memory = galv_pool_take(c->pool, rounded);
        if (memory == nullptr) {
            galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
        }
    }
    return memory;
}

void galv_cuda_end_holding(galv_cuda *c)
{
    hold_at_most(c, 0);
}

static void release(galv_backend *b, void *memory, galv_stream stream)
{
    galv_cuda *c = galv_cuda_of(b);
    if (memory == nullptr) {
        return;
    }
    galv_marks marks = galv_cuda_marks(c, stream);
    if (stream != GALV_STREAM_PP_SEND || c->base.n_ranks == 1) {
        give(c, memory, &marks);
        return;
    }
    /* stages are at most as many as ranks, chunks of a stage rarely more than three */
    int most = 4 * c->base.n_ranks;
    most = most < CUDA_MOST_HELD ? most : (int)CUDA_MOST_HELD;
    give_sent(c);
    hold_at_most(c, most - 1);
    c->held[(c->first_held + c->n_held) % CUDA_MOST_HELD] = {memory, marks};
    c->n_held++;
}

static size_t allocated_bytes(const galv_backend *b)
{
    return galv_pool_taken_bytes(((const galv_cuda *)b)->pool);
}

static size_t peak_bytes(const galv_backend *b)
{
    return galv_pool_peak_bytes(((const galv_cuda *)b)->pool);
}

static void reset_peak(galv_backend *b)
{
    galv_pool_reset_peak(galv_cuda_of(b)->pool);
}

/* All that is in use on the device, other processes included: the runtime cannot tell
 * them apart. */
static size_t device_used_bytes(galv_backend *b)
{
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    if (galv_cuda_of(b)->err.status != GALV_OK ||
        cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess) {
        return 0;
    }
    return total_bytes - free_bytes;
}

static size_t beside_bytes(galv_backend *b)
{
    size_t used = device_used_bytes(b);
    size_t segments = galv_pool_segments_bytes(galv_cuda_of(b)->pool);
    return used > segments ? used - segments : 0;
}

/* Copies on the compute stream, after all that it has queued, and waits. */
static bool copy_now(galv_cuda *c, void *to, const void *from, size_t bytes,
                     cudaMemcpyKind kind)
{
    cudaStream_t stream = c->streams[GALV_STREAM_COMPUTE];
    return galv_cuda_ok(c, cudaMemcpyAsync(to, from, bytes, kind, stream),
                        "copy between host and device") &&
           galv_cuda_ok(c, cudaStreamSynchronize(stream),
                        "copy between host and device");
}

static bf16 *new_piece(galv_cuda *c, size_t n)
{
    bf16 *piece = (bf16 *)malloc((n < PIECE ? n : PIECE) * sizeof *piece);
    if (piece == nullptr) {
        galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
    }
    return piece;
}

static void upload(galv_backend *b, void *device, const void *host, size_t n,
                   galv_element type)
{
    galv_cuda *c = galv_cuda_of(b);
    if (n == 0 || !galv_cuda_enter(b, GALV_STREAM_COMPUTE, device)) {
        return;
    }
    if (type != GALV_ELEMENT) {
        copy_now(c, device, host, n * 4, cudaMemcpyHostToDevice);
        return;
    }
    bf16 *piece = new_piece(c, n);
    const float *values = (const float *)host;
    for (size_t first = 0; piece != nullptr && first < n; first += PIECE) {
        size_t here = n - first < PIECE ? n - first : PIECE;
        for (size_t i = 0; i < here; i++) {
            piece[i] = __float2bfloat16(values[first + i]);
        }
        if (!copy_now(c, (bf16 *)device + first, piece, here * sizeof *piece,
                      cudaMemcpyHostToDevice)) {
            break;
        }
    }
    free(piece);
}

static void download(galv_backend *b, void *host, const void *device, size_t n,
                     galv_element type)
{
    galv_cuda *c = galv_cuda_of(b);
    if (n == 0 || !galv_cuda_enter(b, GALV_STREAM_COMPUTE)) {
        return;
    }
    if (type != GALV_ELEMENT) {
        copy_now(c, host, device, n * 4, cudaMemcpyDeviceToHost);
        return;
    }
    bf16 *piece = new_piece(c, n);
    float *values = (float *)host;
    for (size_t first = 0; piece != nullptr && first < n; first += PIECE) {
        size_t here = n - first < PIECE ? n - first : PIECE;
        if (!copy_now(c, piece, (const bf16 *)device + first, here * sizeof *piece,
                      cudaMemcpyDeviceToHost)) {
            break;
        }
        for (size_t i = 0; i < here; i++) {
            values[first + i] = __bfloat162float(piece[i]);
        }
    }
    free(piece);
}

void galv_cuda_free_memory(galv_cuda *c)
{
    for (void *base = c->pool != nullptr ? galv_pool_drop_any(c->pool) : nullptr;
         base != nullptr; base = galv_pool_drop_any(c->pool)) {
        cudaFree(base);
    }
    galv_pool_free(c->pool);
}

void galv_cuda_fill_memory(galv_backend *b)
{
    b->allocate = allocate;
    b->release = release;
    b->allocated_bytes = allocated_bytes;
    b->peak_bytes = peak_bytes;
    b->reset_peak = reset_peak;
    b->device_used_bytes = device_used_bytes;
    b->beside_bytes = beside_bytes;
    b->upload = upload;
    b->download = download;
}
