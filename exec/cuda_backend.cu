/* The CUDA backend's beginning and end, its errors, and the order of its streams.
 *
 * One device for a process, one CUDA stream for each galv_stream. Nothing is done but
 * queued, so errors of kernels show late: at the next synchronize, under the name of
 * what was waited for (run with CUDA_LAUNCH_BLOCKING=1 to see which kernel it was).
 *
 * While the host waits it looks at the communicators too: a rank that has gone would
 * otherwise leave the others waiting for ever.
 *
 * State of this code: it compiles; it has not yet run on a device (docs/executor.md).
 */
#include "exec/cuda_internal.h"

#include <cublasLt.h>
#include <nccl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool galv_cuda_fail(galv_cuda *c, galv_status status, const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    bool first = c->err.status == GALV_OK;
    galv_fail(&c->err, status, "%s", text);
    if (first && c->all_began) {
        galv_world_raise_alarm(c->world, &c->err);
    }
    return false;
}

void galv_cuda_hint(galv_cuda *c, const char *hint)
{
    galv_hint(&c->err, "%s", hint);
}

static const char *hint_for(cudaError_t result)
{
    switch (result) {
    case cudaErrorNoDevice:
        return "no NVIDIA device is visible: look at nvidia-smi and "
               "CUDA_VISIBLE_DEVICES, "
               "or use --backend host";
    case cudaErrorInsufficientDriver:
        return "the driver is older than this CUDA: update it, or build with an older "
               "toolkit";
    case cudaErrorNoKernelImageForDevice:
        return "built for other devices: make exec CUDA_ARCH=-arch=native";
    case cudaErrorMemoryAllocation:
        return "use smaller micro-batches, recomputation or more ZeRO";
    case cudaErrorDevicesUnavailable:
        return "another process holds the device exclusively: look at nvidia-smi";
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorMisalignedAddress:
        return "run again with CUDA_LAUNCH_BLOCKING=1, or under compute-sanitizer, to "
               "see which kernel did it";
    default:
        return "";
    }
}

bool galv_cuda_ok(galv_cuda *c, cudaError_t result, const char *what)
{
    if (result == cudaSuccess) {
        return true;
    }
    (void)cudaGetLastError();
    bool missing = result == cudaErrorNoDevice ||
                   result == cudaErrorInsufficientDriver ||
                   result == cudaErrorNoKernelImageForDevice ||
                   result == cudaErrorDevicesUnavailable;
    galv_status status = missing                               ? GALV_UNAVAILABLE
                         : result == cudaErrorMemoryAllocation ? GALV_NO_MEMORY
                                                               : GALV_INTERNAL;
    galv_cuda_fail(c, status, "CUDA: %s: %s", what, cudaGetErrorString(result));
    const char *hint = hint_for(result);
    if (hint[0] != '\0') {
        galv_cuda_hint(c, hint);
    }
    return false;
}

bool galv_cuda_launched(galv_cuda *c, const char *kernel)
{
    return galv_cuda_ok(c, cudaGetLastError(), kernel);
}

static galv_status status_of(galv_backend *b, galv_err *err)
{
    const galv_cuda *c = galv_cuda_of(b);
    if (c->err.status != GALV_OK && err->status == GALV_OK) {
        *err = c->err;
    }
    return c->err.status;
}

/* ---- the order of streams ---- */

/* Queues a wait in `stream` for a mark of another. Marks older than the ring are waited
 * for as its oldest, which comes later. */
static void wait_for_mark(galv_cuda *c, galv_stream stream, int other, uint64_t mark)
{
    uint64_t last = c->order.last.of[other];
    if (last >= CUDA_N_MARKS && mark <= last - CUDA_N_MARKS) {
        mark = last - CUDA_N_MARKS + 1;
    }
    cudaEvent_t event = c->marks[other][mark % CUDA_N_MARKS];
    if (galv_cuda_ok(c, cudaStreamWaitEvent(c->streams[stream], event, 0),
                     "wait for another stream")) {
        galv_order_waits(&c->order, stream, (galv_stream)other, mark);
    }
}

void galv_cuda_guard(galv_cuda *c, galv_stream stream, const void *out)
{
    const galv_marks *marks = out != nullptr ? galv_pool_guard(c->pool, out) : nullptr;
    if (marks == nullptr) {
        return;
    }
    for (int other = 0; other < GALV_N_STREAMS; other++) {
        if (galv_order_lacks(&c->order, stream, (galv_stream)other, marks)) {
            wait_for_mark(c, stream, other, marks->of[other]);
        }
    }
}

bool galv_cuda_enter(galv_backend *b, galv_stream stream, const void *out0,
                     const void *out1, const void *out2, const void *out3)
{
    galv_cuda *c = galv_cuda_of(b);
    if (c->err.status != GALV_OK) {
        return false;
    }
    galv_cuda_join_messages(c, stream);
    galv_cuda_guard(c, stream, out0);
    galv_cuda_guard(c, stream, out1);
    galv_cuda_guard(c, stream, out2);
    galv_cuda_guard(c, stream, out3);
    c->used[stream] = true;
    return c->err.status == GALV_OK;
}

galv_marks galv_cuda_marks(galv_cuda *c, galv_stream stream)
{
    galv_cuda_join_messages(c, stream);
    if (c->used[stream] && c->err.status == GALV_OK) {
        uint64_t mark = galv_order_mark(&c->order, stream);
        cudaEvent_t event = c->marks[stream][mark % CUDA_N_MARKS];
        galv_cuda_ok(c, cudaEventRecord(event, c->streams[stream]), "mark a stream");
        c->used[stream] = false;
    }
    galv_marks marks = {};
    marks.of[stream] = c->order.last.of[stream];
    return marks;
}

/* ---- events ---- */

/* Room for one more stamp, with its event made. */
static bool more_stamps(galv_cuda *c)
{
    if (c->n_stamps == c->n_stamps_allocated) {
        size_t n = c->n_stamps_allocated < 256 ? 256 : 2 * c->n_stamps_allocated;
        void *stamps =
            n < INT32_MAX ? realloc(c->stamps, n * sizeof *c->stamps) : nullptr;
        if (stamps == nullptr) {
            return galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
        }
        c->stamps = (cuda_stamp *)stamps;
        c->n_stamps_allocated = n;
    }
    if (c->n_stamps == c->n_stamps_made) {
        if (!galv_cuda_ok(c, cudaEventCreate(&c->stamps[c->n_stamps].event),
                          "make an event")) {
            return false;
        }
        c->n_stamps_made++;
    }
    return true;
}

static galv_event record(galv_backend *b, galv_stream stream)
{
    galv_cuda *c = galv_cuda_of(b);
    if (c->err.status != GALV_OK || !more_stamps(c)) {
        return 0;
    }
    galv_cuda_join_messages(c, stream);
    cuda_stamp *stamp = &c->stamps[c->n_stamps];
    if (!galv_cuda_ok(c, cudaEventRecord(stamp->event, c->streams[stream]),
                      "record an event")) {
        return 0;
    }
    stamp->before = galv_order_before(&c->order, stream);
    return (galv_event)c->n_stamps++;
}

static void wait_event(galv_backend *b, galv_stream stream, galv_event event)
{
    galv_cuda *c = galv_cuda_of(b);
    if (c->err.status != GALV_OK) {
        return;
    }
    if (event < 0 || (size_t)event >= c->n_stamps) {
        galv_cuda_fail(c, GALV_INTERNAL, "wait for an event that was never recorded");
        return;
    }
    galv_cuda_join_messages(c, stream);
    const cuda_stamp *stamp = &c->stamps[event];
    if (galv_cuda_ok(c, cudaStreamWaitEvent(c->streams[stream], stamp->event, 0),
                     "wait for an event")) {
        galv_order_joins(&c->order, stream, &stamp->before);
        c->used[stream] = true;
    }
}

bool galv_cuda_drain(galv_cuda *c, cudaStream_t stream)
{
    for (int64_t n_looks = 0;; n_looks++) {
        cudaError_t result = cudaStreamQuery(stream);
        if (result == cudaSuccess) {
            return true;
        }
        if (result != cudaErrorNotReady) {
            return galv_cuda_ok(c, result, "while waiting for the device");
        }
        (void)cudaGetLastError(); /* "not ready" is no error to keep */
        if (n_looks % 256 == 255 && !galv_cuda_links_check(c)) {
            return false;
        }
        if (n_looks < 10000) {
            sched_yield();
        } else {
            struct timespec nap = {0, 50000};
            nanosleep(&nap, nullptr);
        }
    }
}

static void synchronize(galv_backend *b)
{
    galv_cuda *c = galv_cuda_of(b);
    if (c->err.status != GALV_OK) {
        return;
    }
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        galv_cuda_join_messages(c, (galv_stream)stream);
    }
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        if (!galv_cuda_drain(c, c->streams[stream])) {
            return;
        }
    }
    galv_cuda_links_check(c);
    galv_order_settles(&c->order);
    galv_cuda_end_holding(c);
}

static double event_time_s(galv_backend *b, galv_event event)
{
    galv_cuda *c = galv_cuda_of(b);
    float time_ms = 0;
    if (c->err.status != GALV_OK || event < 0 || (size_t)event >= c->n_stamps) {
        return 0;
    }
    galv_cuda_ok(c, cudaEventElapsedTime(&time_ms, c->start, c->stamps[event].event),
                 "read an event's time");
    return 1e-3 * (double)time_ms;
}

static void reset_events(galv_backend *b)
{
    galv_cuda *c = galv_cuda_of(b);
    synchronize(b);
    c->n_stamps = 0;
    if (c->err.status == GALV_OK) {
        galv_cuda_ok(c, cudaEventRecord(c->start, c->streams[GALV_STREAM_COMPUTE]),
                     "record the first event");
        galv_cuda_ok(c, cudaStreamSynchronize(c->streams[GALV_STREAM_COMPUTE]),
                     "record the first event");
    }
}

/* ---- beginning and end ---- */

static void free_backend(galv_backend *b)
{
    galv_cuda *c = galv_cuda_of(b);
    if (c == nullptr) {
        return;
    }
    if (c->err.status == GALV_OK) {
        synchronize(b);
    }
    galv_cuda_links_free(c);
    galv_cuda_dnn_free(c);
    galv_cuda_gemms_free(c);
    galv_cuda_free_memory(c);
    for (size_t i = 0; i < c->n_stamps_made; i++) {
        cudaEventDestroy(c->stamps[i].event);
    }
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        for (int i = 0; c->marks != nullptr && i < CUDA_N_MARKS; i++) {
            if (c->marks[stream][i] != nullptr) {
                cudaEventDestroy(c->marks[stream][i]);
            }
        }
        if (c->parts[stream] != nullptr) {
            cudaFree(c->parts[stream]);
        }
        if (c->streams[stream] != nullptr) {
            cudaStreamDestroy(c->streams[stream]);
        }
    }
    if (c->start != nullptr) {
        cudaEventDestroy(c->start);
    }
    free(c->stamps);
    free(c->marks);
    free(c);
}

static bool make_streams(galv_cuda *c)
{
    /* communication goes first where both could run */
    int least = 0;
    int greatest = 0;
    bool good = galv_cuda_ok(c, cudaDeviceGetStreamPriorityRange(&least, &greatest),
                             "ask for priorities");
    c->marks = (cudaEvent_t(*)[CUDA_N_MARKS])calloc(GALV_N_STREAMS, sizeof *c->marks);
    if (c->marks == nullptr) {
        return galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
    }
    for (int stream = 0; stream < GALV_N_STREAMS && good; stream++) {
        int priority = stream == GALV_STREAM_COMPUTE ? least : greatest;
        good = galv_cuda_ok(c,
                            cudaStreamCreateWithPriority(
                                &c->streams[stream], cudaStreamNonBlocking, priority),
                            "make a stream") &&
               galv_cuda_ok(c,
                            cudaMalloc((void **)&c->parts[stream],
                                       CUDA_N_PARTS * sizeof *c->parts[stream]),
                            "make a stream's scratch");
        for (int i = 0; i < CUDA_N_MARKS && good; i++) {
            good = galv_cuda_ok(
                c,
                cudaEventCreateWithFlags(&c->marks[stream][i], cudaEventDisableTiming),
                "make an event");
        }
    }
    return good && galv_cuda_ok(c, cudaEventCreate(&c->start), "make an event") &&
           galv_cuda_ok(c, cudaEventRecord(c->start, c->streams[GALV_STREAM_COMPUTE]),
                        "record the first event");
}

static bool choose_device(galv_cuda *c)
{
    int n_devices = 0;
    if (!galv_cuda_ok(c, cudaGetDeviceCount(&n_devices), "look for devices")) {
        return false;
    }
    if (n_devices == 0) {
        return galv_cuda_ok(c, cudaErrorNoDevice, "look for devices");
    }
    c->device = galv_world_local_rank(c->world) % n_devices;
    cudaDeviceProp properties;
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    if (!galv_cuda_ok(c, cudaSetDevice(c->device), "choose the device") ||
        !galv_cuda_ok(c, cudaGetDeviceProperties(&properties, c->device),
                      "ask the device for its properties") ||
        !galv_cuda_ok(c, cudaMemGetInfo(&free_bytes, &total_bytes),
                      "ask the device for its memory")) {
        return false;
    }
    if (properties.major < 8) {
        galv_cuda_fail(c, GALV_UNAVAILABLE, "%s has no bf16 (compute capability %d.%d)",
                       properties.name, properties.major, properties.minor);
        galv_cuda_hint(c, "8.0 (A100) or later is needed; or use --backend host");
        return false;
    }
    c->n_processors = properties.multiProcessorCount;
    c->shared_bytes = (int)properties.sharedMemPerBlockOptin;
    c->base.device_bytes = total_bytes;
    c->base.n_processors = properties.multiProcessorCount;
    snprintf(c->base.device, sizeof c->base.device, "%.63s", properties.name);
    return true;
}

static void name_libraries(galv_cuda *c)
{
    int cuda = 0;
    int nccl = 0;
    cudaRuntimeGetVersion(&cuda);
    ncclGetVersion(&nccl);
    size_t blas = cublasLtGetVersion();
    int dnn = galv_cuda_dnn_version(c);
    char attention[32] = "own attention";
    if (dnn > 0) {
        snprintf(attention, sizeof attention, "cuDNN %d.%d.%d", dnn / 10000,
                 dnn / 100 % 100, dnn % 100);
    }
    snprintf(c->base.libraries, sizeof c->base.libraries,
             "CUDA %d.%d, cuBLASLt %d.%d.%d, NCCL %d.%d.%d, %s", cuda / 1000,
             cuda % 1000 / 10, (int)(blas / 10000), (int)(blas / 100 % 100),
             (int)(blas % 100), nccl / 10000, nccl / 100 % 100, nccl % 100, attention);
}

static bool begin(galv_cuda *c)
{
    galv_backend *b = &c->base;
    b->name = "cuda";
    b->element_bytes = (int32_t)sizeof(bf16);
    b->rank = galv_world_rank(c->world);
    b->n_ranks = galv_world_size(c->world);
    b->free = free_backend;
    b->status = status_of;
    b->record = record;
    b->wait = wait_event;
    b->synchronize = synchronize;
    b->event_time_s = event_time_s;
    b->reset_events = reset_events;
    galv_cuda_fill_memory(b);
    galv_cuda_fill_comm(b);
    galv_cuda_fill_traffic(b);
    galv_cuda_fill_gemm(b);
    galv_cuda_fill_kernels(b);
    galv_cuda_fill_attention(b);
    galv_cuda_fill_loss(b);
    galv_cuda_fill_moe(b);
    c->pool = galv_pool_new();
    if (c->pool == nullptr) {
        return galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
    }
    if (!choose_device(c) || !make_streams(c) || !galv_cuda_gemms_new(c) ||
        !galv_cuda_dnn_new(c)) {
        return false;
    }
    name_libraries(c);
    return true;
}

extern "C" galv_status galv_cuda_backend_new(galv_backend **backend, galv_world *world,
                                             galv_err *err)
{
    galv_cuda *c = (galv_cuda *)calloc(1, sizeof *c);
    if (c != nullptr) {
        c->world = world;
        begin(c);
        *err = c->err.status != GALV_OK ? c->err : *err;
    } else {
        galv_fail(err, GALV_NO_MEMORY, "out of memory of the host");
    }
    /* all ranks have a device, or none goes on to make communicators */
    galv_status status = galv_world_agree(world, err);
    if (status == GALV_OK) {
        if (!galv_cuda_links_new(c)) {
            *err = c->err;
        }
        status = galv_world_agree(world, err);
    }
    if (status != GALV_OK) {
        if (c != nullptr) {
            free_backend(&c->base);
        }
        return status;
    }
    c->all_began = true;
    *backend = &c->base;
    return GALV_OK;
}
