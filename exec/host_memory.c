/* The pool of the host backend.
 *
 * Every block carries its size before it; a released block waits in a bin for the next
 * of exactly its size, since an iteration asks for the same sizes again and again, and
 * memory fresh from the system costs a page fault every 4 KiB. What is counted is what
 * is held by the caller, rounded up, not what waits in bins.
 *
 * Under the address sanitizer nothing is used again and new memory is full of NaN, so
 * that reading what was released, or never written, shows. */
#include "exec/host_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct host_block {
    size_t bytes; /* that the caller has, a multiple of HOST_ALIGNMENT */
    host_block *next;
};

_Static_assert(sizeof(host_block) <= HOST_ALIGNMENT,
               "the header lies before the block");

static size_t bin_of(size_t bytes)
{
    return bytes / HOST_ALIGNMENT % HOST_N_BINS;
}

static host_block *take(host *h, size_t bytes)
{
    for (host_block **link = &h->bins[bin_of(bytes)]; *link != NULL;
         link = &(*link)->next) {
        if ((*link)->bytes == bytes) {
            host_block *block = *link;
            *link = block->next;
            return block;
        }
    }
    host_block *block = aligned_alloc(HOST_ALIGNMENT, HOST_ALIGNMENT + bytes);
    if (block != NULL) {
        block->bytes = bytes;
    }
    return block;
}

static void *allocate(galv_backend *b, size_t bytes)
{
    host *h = (host *)b;
    if (h->err.status != GALV_OK) {
        return NULL;
    }
    if (bytes > SIZE_MAX / 2) {
        galv_host_fail(h, GALV_NO_MEMORY, "out of memory");
        return NULL;
    }
    size_t rounded =
        (bytes + (bytes == 0) + HOST_ALIGNMENT - 1) / HOST_ALIGNMENT * HOST_ALIGNMENT;
    host_block *block = take(h, rounded);
    if (block == NULL) {
        galv_host_fail(h, GALV_NO_MEMORY, "out of memory");
        return NULL;
    }
    h->allocated_bytes += rounded;
    if (h->allocated_bytes > h->peak_bytes) {
        h->peak_bytes = h->allocated_bytes;
    }
    void *memory = (char *)block + HOST_ALIGNMENT;
#if defined(__SANITIZE_ADDRESS__)
    memset(memory, 0xff, rounded);
#endif
    return memory;
}

void galv_host_recycle(host *h, void *memory)
{
    host_block *block = (host_block *)(void *)((char *)memory - HOST_ALIGNMENT);
    h->allocated_bytes -= block->bytes;
#if defined(__SANITIZE_ADDRESS__)
    free(block);
#else
    block->next = h->bins[bin_of(block->bytes)];
    h->bins[bin_of(block->bytes)] = block;
#endif
}

static void release(galv_backend *b, void *memory, galv_stream stream)
{
    host *h = (host *)b;
    if (memory == NULL) {
        return;
    }
    if (h->streams[stream].first == NULL) {
        galv_host_recycle(h, memory);
        return;
    }
    host_item *item = galv_host_item_new(h, HOST_RELEASE);
    if (item != NULL) {
        item->memory = memory;
        galv_host_push(h, stream, item);
    }
}

static size_t allocated_bytes(const galv_backend *b)
{
    return ((const host *)b)->allocated_bytes;
}

static size_t peak_bytes(const galv_backend *b)
{
    return ((const host *)b)->peak_bytes;
}

static void reset_peak(galv_backend *b)
{
    host *h = (host *)b;
    h->peak_bytes = h->allocated_bytes;
}

/* The resident pages, the second number of /proc/self/statm. */
static size_t device_used_bytes(galv_backend *b)
{
    (void)b;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) {
        return 0;
    }
    unsigned long pages = 0;
    bool read = fscanf(file, "%*u %lu", &pages) == 1;
    fclose(file);
    long page_bytes = sysconf(_SC_PAGESIZE);
    return read && page_bytes > 0 ? pages * (size_t)page_bytes : 0;
}

static size_t beside_bytes(galv_backend *b)
{
    (void)b;
    return 0;
}

/* Elements are float32 here, so every type has the same size and no value changes. */
static void upload(galv_backend *b, void *device, const void *data, size_t n,
                   galv_element type)
{
    (void)type;
    if (galv_host_enter(b, GALV_STREAM_COMPUTE) != NULL && n > 0) {
        memcpy(device, data, n * HOST_VALUE_BYTES);
    }
}

static void download(galv_backend *b, void *data, const void *device, size_t n,
                     galv_element type)
{
    (void)type;
    if (galv_host_enter(b, GALV_STREAM_COMPUTE) != NULL && n > 0) {
        memcpy(data, device, n * HOST_VALUE_BYTES);
    }
}

void galv_host_free_memory(host *h)
{
    for (size_t bin = 0; bin < HOST_N_BINS; bin++) {
        while (h->bins[bin] != NULL) {
            host_block *block = h->bins[bin];
            h->bins[bin] = block->next;
            free(block);
        }
    }
}

void galv_host_fill_memory(galv_backend *b)
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
