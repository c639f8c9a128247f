/* The pool: the bookkeeping of a device's memory, without the device.
 *
 * Memory comes in segments that the caller gets from the device; the pool cuts blocks
 * from them and joins neighbours that are free again. It never looks through a pointer,
 * so it is tested without a device.
 *
 * A block may be released while queued work of a stream still uses it: the release
 * carries marks (order.h) of the streams that do, and whoever gets the memory next must
 * come after them. galv_pool_guard tells them. */
#ifndef GALV_EXEC_POOL_H
#define GALV_EXEC_POOL_H

#include "exec/order.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct galv_pool galv_pool;

enum { GALV_POOL_ALIGNMENT = 256 };

galv_pool *galv_pool_new(void); /* NULL: out of memory of the host */
void galv_pool_free(galv_pool *pool);

/* Bytes that a request of `bytes` counts for: a multiple of GALV_POOL_ALIGNMENT, at
 * least one; 0 where it is too large for any device. */
size_t galv_pool_rounded(size_t bytes);
/* Bytes that a segment for this request should have. Small and large requests come from
 * different segments, so that small ones do not cut up large ones. */
size_t galv_pool_segment_bytes(const galv_pool *pool, size_t rounded);

/* Takes in a segment of the device for requests like `rounded`. False: out of memory of
 * the host, the segment is not taken in. `base` is aligned to GALV_POOL_ALIGNMENT. */
bool galv_pool_add(galv_pool *pool, void *base, size_t bytes, size_t rounded);
/* Takes out a segment that is free as a whole; NULL when there is none. */
void *galv_pool_drop(galv_pool *pool);
/* The next of all segments, free or not, when the pool is taken down; NULL at the end.
 */
void *galv_pool_drop_any(galv_pool *pool);

/* A block of `rounded` bytes: of the smallest free piece that is large enough, of those
 * alike the one that was released first. NULL when there is none (add a segment), or
 * when the host has no memory. O(free pieces + log(blocks)). */
void *galv_pool_take(galv_pool *pool, size_t rounded);
/* Gives a block back, guarded by marks[GALV_N_STREAMS] (0 = none). False: not a block
 * that was taken. */
bool galv_pool_give(galv_pool *pool, void *memory, const galv_marks *marks);
/* The marks that users of this address must come after; NULL when it lies in no block
 * that is taken. O(log(blocks)). */
const galv_marks *galv_pool_guard(const galv_pool *pool, const void *address);

size_t galv_pool_taken_bytes(const galv_pool *pool);
size_t galv_pool_peak_bytes(const galv_pool *pool); /* of taken, since reset_peak */
void galv_pool_reset_peak(galv_pool *pool);
size_t galv_pool_segments_bytes(const galv_pool *pool); /* held from the device */

#endif
