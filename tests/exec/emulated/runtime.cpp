/* Memory, streams and events of the emulated device. */
#include "device.h"

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include <sched.h>
#include <time.h>

#define DEVICE_BYTES ((size_t)4 << 30)
enum { USUAL_SHARED_BYTES = 48 << 10, MOST_SHARED_BYTES = 227 << 10, PATIENCE_S = 60 };

/* One recording of an event. */
typedef struct recording {
    bool done;
    double time_s;
    std::string name;
} recording;

struct emulated_event {
    std::shared_ptr<recording> last;
};

typedef struct queued {
    std::string what;
    std::function<bool()> work;
} queued;

struct emulated_stream {
    std::deque<queued> work;
    int number, n_events;
};

static std::vector<cudaStream_t> streams;
static std::vector<cudaStream_t> order; /* in which they go on; empty: to be drawn */
static std::map<void *, size_t> allocations;
static size_t n_allocated_bytes;
static size_t largest_shared_bytes = USUAL_SHARED_BYTES;
static cudaError_t last_error = cudaSuccess;

static cudaError_t fail(cudaError_t error)
{
    last_error = error;
    return error;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- errors, devices ---- */

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration of a launch";
    default:
        return "emulated error";
    }
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 1024; /* one for each rank */
    return cudaSuccess;
}

static int device_now;

cudaError_t cudaSetDevice(int device)
{
    device_now = device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "emulated device");
    memcpy(properties->uuid.bytes, &device, sizeof device);
    properties->totalGlobalMem = DEVICE_BYTES;
    properties->sharedMemPerBlock = USUAL_SHARED_BYTES;
    properties->sharedMemPerBlockOptin = MOST_SHARED_BYTES;
    properties->major = 9;
    properties->multiProcessorCount = 132;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

/* ---- memory ---- */

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    *total_bytes = DEVICE_BYTES;
    *free_bytes = DEVICE_BYTES - n_allocated_bytes - ((size_t)256 << 20);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    if (bytes > free_bytes) {
        return fail(cudaErrorMemoryAllocation);
    }
    void *made = aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (made == nullptr) {
        return fail(cudaErrorMemoryAllocation);
    }
    memset(made, 0xff, bytes);
    allocations[made] = bytes;
    n_allocated_bytes += bytes;
    *memory = made;
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory)
{
    for (cudaStream_t stream : streams) { /* the device waits for all that it does */
        cudaStreamSynchronize(stream);
    }
    auto found = allocations.find(memory);
    if (memory != nullptr && found == allocations.end()) {
        return fail(cudaErrorInvalidValue);
    }
    if (memory != nullptr) {
        n_allocated_bytes -= found->second;
        allocations.erase(found);
        free(memory);
    }
    return cudaSuccess;
}

/* Whether [place, place + bytes) lies in one allocation of the device. */
static bool is_device(const void *place, size_t bytes)
{
    auto after = allocations.upper_bound((void *)place);
    if (after == allocations.begin()) {
        return false;
    }
    --after;
    return (const char *)place + bytes <= (const char *)after->first + after->second;
}

static bool right_sides(const void *to, const void *from, size_t bytes,
                        cudaMemcpyKind kind)
{
    bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    bool from_device =
        kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    return is_device(to, bytes) == to_device && is_device(from, bytes) == from_device;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t stream)
{
    bool overlap = (const char *)to < (const char *)from + bytes &&
                   (const char *)from < (char *)to + bytes;
    if (!right_sides(to, from, bytes, kind) || overlap) {
        return fail(cudaErrorInvalidValue);
    }
    emulated_queue(stream, "copy", [=]() {
        memcpy(to, from, bytes);
        return true;
    });
    return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from,
                              size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream)
{
    if (width > to_pitch || width > from_pitch ||
        (height > 0 && !right_sides(to, from, width, kind))) {
        return fail(cudaErrorInvalidValue);
    }
    emulated_queue(stream, "copy of columns", [=]() {
        for (size_t row = 0; row < height; row++) {
            memcpy((char *)to + row * to_pitch, (const char *)from + row * from_pitch,
                   width);
        }
        return true;
    });
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    if (!is_device(memory, bytes)) {
        return fail(cudaErrorInvalidValue);
    }
    emulated_queue(stream, "fill", [=]() {
        memset(memory, value, bytes);
        return true;
    });
    return cudaSuccess;
}

/* ---- streams ---- */

void emulated_queue(cudaStream_t stream, std::string what, std::function<bool()> work)
{
    stream->work.push_back({std::move(what), std::move(work)});
}

static void tell_of_waiting(void)
{
    emulated_tell_of_launches();
    for (size_t i = 0; i < streams.size(); i++) {
        for (size_t k = 0; k < streams[i]->work.size() && k < 4; k++) {
            fprintf(stderr, "emulated device: stream %d, %zu of %zu: %s\n",
                    streams[i]->number, k + 1, streams[i]->work.size(),
                    streams[i]->work[k].what.c_str());
        }
    }
    emulated_complain("streams wait for each other, or for another rank, for ever");
}

/* Streams go on in an order that is drawn anew now and then, so that some run far ahead
 * of others; the first of them that can do something does it. */
bool emulated_progress(void)
{
    if (order.empty() || emulated_draw(16) == 0) {
        order = streams;
        for (size_t i = order.size(); i > 1; i--) {
            std::swap(order[i - 1], order[emulated_draw((unsigned)i)]);
        }
    }
    static double since_s;
    bool waits = false;
    for (cudaStream_t stream : order) {
        if (!stream->work.empty() && stream->work.front().work()) {
            stream->work.pop_front();
            since_s = 0;
            return true;
        }
        waits = waits || !stream->work.empty();
    }
    since_s = !waits ? 0 : since_s == 0 ? now_s() : since_s;
    if (waits && now_s() - since_s > PATIENCE_S) {
        tell_of_waiting();
    }
    return false;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    if (flags != cudaStreamNonBlocking) {
        emulated_complain("streams that wait for the default stream are not emulated");
    }
    static int n_made;
    *stream = new emulated_stream();
    (*stream)->number = n_made++;
    streams.push_back(*stream);
    order.clear();
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int)
{
    return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    cudaStreamSynchronize(stream);
    for (size_t i = 0; i < streams.size(); i++) {
        if (streams[i] == stream) {
            streams.erase(streams.begin() + (ptrdiff_t)i);
            break;
        }
    }
    order.clear();
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    for (int i = 0; i < 64 && !stream->work.empty() && emulated_progress(); i++) {
    }
    return stream->work.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    while (!stream->work.empty()) {
        if (!emulated_progress()) {
            sched_yield();
        }
    }
    return cudaSuccess;
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = new emulated_event();
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    std::shared_ptr<recording> made = std::make_shared<recording>();
    made->name = "event " + std::to_string(stream->n_events++) + " of stream " +
                 std::to_string(stream->number);
    event->last = made;
    emulated_queue(stream, made->name, [made]() {
        made->done = true;
        made->time_s = now_s();
        return true;
    });
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    std::shared_ptr<recording> waited = event->last;
    if (waited != nullptr) {
        emulated_queue(stream, "wait for " + waited->name,
                       [waited]() { return waited->done; });
    }
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    bool over = event->last == nullptr || event->last->done;
    return over ? cudaSuccess : fail(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float *time_ms, cudaEvent_t from, cudaEvent_t to)
{
    if (from->last == nullptr || to->last == nullptr) {
        return fail(cudaErrorInvalidValue);
    }
    if (!from->last->done || !to->last->done) {
        return fail(cudaErrorNotReady);
    }
    *time_ms = (float)(1e3 * (to->last->time_s - from->last->time_s));
    return cudaSuccess;
}

/* ---- launches ---- */

cudaError_t cudaFuncSetAttribute(const void *, cudaFuncAttribute, int value)
{
    if (value < 0 || value > MOST_SHARED_BYTES) {
        return fail(cudaErrorInvalidValue);
    }
    largest_shared_bytes =
        (size_t)value > largest_shared_bytes ? (size_t)value : largest_shared_bytes;
    return cudaSuccess;
}

void emulated_launch(dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                     std::function<void()> thread)
{
    size_t n_threads = (size_t)block.x * block.y * block.z;
    if (grid.x < 1 || grid.x > 2147483647U || grid.y < 1 || grid.y > 65535 ||
        grid.z < 1 || grid.z > 65535 || n_threads < 1 || n_threads > 1024 ||
        block.z > 64 || shared_bytes > largest_shared_bytes) {
        fail(cudaErrorInvalidConfiguration);
        return;
    }
    emulated_queue(stream, "kernel", [=]() {
        emulated_run_grid(grid, block, shared_bytes, thread);
        return true;
    });
}
