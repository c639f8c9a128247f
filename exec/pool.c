/* Best fit with joining of neighbours, over segments of device memory.
 *
 * All blocks, taken or free, stand in one list ordered by address; pieces that are free
 * stand in a second, unordered one, which is short because neighbours are joined. A
 * joined piece is guarded by the marks of both, a cut one hands its marks to both
 * parts. Why not a bin for every size, as on the host: a device has no swap, and sizes
 * of micro-batches, experts and recomputation change within an iteration; bins would
 * hold the sum of the peaks of all sizes. */
#include "exec/pool.h"

#include <stdlib.h>
#include <string.h>

/* Requests up to `SMALL` bytes share segments of SMALL_SEGMENT; larger ones have
 * segments of at least LARGE_SEGMENT. */
static const size_t SMALL = (size_t)1 << 20;
static const size_t SMALL_SEGMENT = (size_t)16 << 20;
static const size_t LARGE_SEGMENT = (size_t)256 << 20;
static const size_t SEGMENT_ALIGNMENT = (size_t)2 << 20;

enum { TAKEN = -1 };

typedef struct block {
    uintptr_t address;
    size_t bytes;
    uint64_t released; /* counts releases, to find the oldest */
    galv_marks guard;
    int64_t place; /* in the list of free pieces, or TAKEN */
    bool small;    /* of a segment for small requests */
    bool first;    /* of its segment: never joined to the one before */
} block;

struct galv_pool {
    block **blocks; /* by address */
    size_t n_blocks, n_blocks_allocated;
    block **pieces; /* those that are free; room for all blocks */
    size_t n_pieces;
    uint64_t n_released;
    size_t taken_bytes, peak_bytes, segments_bytes;
};

galv_pool *galv_pool_new(void)
{
    return calloc(1, sizeof(galv_pool));
}

void galv_pool_free(galv_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    for (size_t i = 0; i < pool->n_blocks; i++) {
        free(pool->blocks[i]);
    }
    free(pool->blocks);
    free(pool->pieces);
    free(pool);
}

size_t galv_pool_rounded(size_t bytes)
{
    if (bytes > SIZE_MAX / 4) {
        return 0;
    }
    size_t units = (bytes + (bytes == 0) + GALV_POOL_ALIGNMENT - 1);
    return units / GALV_POOL_ALIGNMENT * GALV_POOL_ALIGNMENT;
}

size_t galv_pool_segment_bytes(const galv_pool *pool, size_t rounded)
{
    if (rounded <= SMALL) {
        return SMALL_SEGMENT;
    }
    /* the more there is already, the larger the next */
    size_t bytes = pool->segments_bytes / 8;
    bytes = bytes < LARGE_SEGMENT ? LARGE_SEGMENT : bytes;
    bytes = bytes < rounded ? rounded : bytes;
    return (bytes + SEGMENT_ALIGNMENT - 1) / SEGMENT_ALIGNMENT * SEGMENT_ALIGNMENT;
}

/* Index of the first block behind an address. */
static size_t behind(const galv_pool *pool, uintptr_t address)
{
    size_t low = 0;
    size_t high = pool->n_blocks;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pool->blocks[middle]->address <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool make_room(galv_pool *pool)
{
    if (pool->n_blocks < pool->n_blocks_allocated) {
        return true;
    }
    size_t n = pool->n_blocks_allocated < 256 ? 256 : 2 * pool->n_blocks_allocated;
    block **blocks = realloc(pool->blocks, n * sizeof *blocks);
    if (blocks == NULL) {
        return false;
    }
    pool->blocks = blocks;
    block **pieces = realloc(pool->pieces, n * sizeof *pieces);
    if (pieces == NULL) {
        return false;
    }
    pool->pieces = pieces;
    pool->n_blocks_allocated = n;
    return true;
}

static void list_piece(galv_pool *pool, block *piece)
{
    piece->place = (int64_t)pool->n_pieces;
    pool->pieces[pool->n_pieces++] = piece;
}

static void unlist_piece(galv_pool *pool, block *piece)
{
    block *last = pool->pieces[--pool->n_pieces];
    pool->pieces[piece->place] = last;
    last->place = piece->place;
    piece->place = TAKEN;
}

/* Puts a block into the list by address, at index `at`; there is room. */
static void insert(galv_pool *pool, size_t at, block *made)
{
    memmove(pool->blocks + at + 1, pool->blocks + at,
            (pool->n_blocks - at) * sizeof *pool->blocks);
    pool->blocks[at] = made;
    pool->n_blocks++;
}

static void erase(galv_pool *pool, size_t at)
{
    free(pool->blocks[at]);
    pool->n_blocks--;
    memmove(pool->blocks + at, pool->blocks + at + 1,
            (pool->n_blocks - at) * sizeof *pool->blocks);
}

bool galv_pool_add(galv_pool *pool, void *base, size_t bytes, size_t rounded)
{
    block *made = calloc(1, sizeof *made);
    if (made == NULL || !make_room(pool)) {
        free(made);
        return false;
    }
    made->address = (uintptr_t)base;
    made->bytes = bytes;
    made->small = rounded <= SMALL;
    made->first = true;
    insert(pool, behind(pool, made->address), made);
    list_piece(pool, made);
    pool->segments_bytes += bytes;
    return true;
}

/* Whether the block at this index is a whole segment. */
static bool whole(const galv_pool *pool, size_t at)
{
    return pool->blocks[at]->first &&
           (at + 1 == pool->n_blocks || pool->blocks[at + 1]->first);
}

void *galv_pool_drop(galv_pool *pool)
{
    for (size_t at = 0; at < pool->n_blocks; at++) {
        block *piece = pool->blocks[at];
        if (piece->place != TAKEN && whole(pool, at)) {
            void *base = (void *)piece->address;
            pool->segments_bytes -= piece->bytes;
            unlist_piece(pool, piece);
            erase(pool, at);
            return base;
        }
    }
    return NULL;
}

void *galv_pool_drop_any(galv_pool *pool)
{
    while (pool->n_blocks > 0) {
        block *last = pool->blocks[pool->n_blocks - 1];
        void *base = last->first ? (void *)last->address : NULL;
        pool->n_pieces = 0;
        erase(pool, pool->n_blocks - 1);
        if (base != NULL) {
            return base;
        }
    }
    pool->segments_bytes = 0;
    return NULL;
}

static block *best_piece(const galv_pool *pool, size_t rounded)
{
    bool small = rounded <= SMALL;
    block *best = NULL;
    for (size_t i = 0; i < pool->n_pieces; i++) {
        block *piece = pool->pieces[i];
        if (piece->small != small || piece->bytes < rounded) {
            continue;
        }
        if (best == NULL || piece->bytes < best->bytes ||
            (piece->bytes == best->bytes && piece->released < best->released)) {
            best = piece;
        }
    }
    return best;
}

void *galv_pool_take(galv_pool *pool, size_t rounded)
{
    block *piece = best_piece(pool, rounded);
    if (piece == NULL) {
        return NULL;
    }
    if (piece->bytes > rounded) {
        block *rest = calloc(1, sizeof *rest);
        if (rest == NULL || !make_room(pool)) {
            free(rest);
            return NULL;
        }
        *rest = *piece;
        rest->address = piece->address + rounded;
        rest->bytes = piece->bytes - rounded;
        rest->first = false;
        piece->bytes = rounded;
        insert(pool, behind(pool, piece->address), rest);
        unlist_piece(pool, piece);
        list_piece(pool, rest);
    } else {
        unlist_piece(pool, piece);
    }
    pool->taken_bytes += rounded;
    if (pool->taken_bytes > pool->peak_bytes) {
        pool->peak_bytes = pool->taken_bytes;
    }
    return (void *)piece->address;
}

/* Joins the free piece at `at` with the one behind it, if that is free and of the same
 * segment. */
static void join_next(galv_pool *pool, size_t at)
{
    if (at + 1 >= pool->n_blocks) {
        return;
    }
    block *piece = pool->blocks[at];
    block *next = pool->blocks[at + 1];
    if (next->first || next->place == TAKEN || piece->place == TAKEN) {
        return;
    }
    piece->bytes += next->bytes;
    galv_marks_join(&piece->guard, &next->guard);
    piece->released =
        piece->released > next->released ? piece->released : next->released;
    unlist_piece(pool, next);
    erase(pool, at + 1);
}

bool galv_pool_give(galv_pool *pool, void *memory, const galv_marks *marks)
{
    size_t at = behind(pool, (uintptr_t)memory);
    if (at == 0) {
        return false;
    }
    at--;
    block *piece = pool->blocks[at];
    if (piece->address != (uintptr_t)memory || piece->place != TAKEN) {
        return false;
    }
    pool->taken_bytes -= piece->bytes;
    galv_marks_join(&piece->guard, marks);
    piece->released = ++pool->n_released;
    list_piece(pool, piece);
    join_next(pool, at);
    if (at > 0 && !piece->first) {
        join_next(pool, at - 1);
    }
    return true;
}

const galv_marks *galv_pool_guard(const galv_pool *pool, const void *address)
{
    size_t at = behind(pool, (uintptr_t)address);
    if (at == 0) {
        return NULL;
    }
    const block *found = pool->blocks[at - 1];
    bool inside = (uintptr_t)address - found->address < found->bytes;
    return inside && found->place == TAKEN ? &found->guard : NULL;
}

size_t galv_pool_taken_bytes(const galv_pool *pool)
{
    return pool->taken_bytes;
}

size_t galv_pool_peak_bytes(const galv_pool *pool)
{
    return pool->peak_bytes;
}

void galv_pool_reset_peak(galv_pool *pool)
{
    pool->peak_bytes = pool->taken_bytes;
}

size_t galv_pool_segments_bytes(const galv_pool *pool)
{
    return pool->segments_bytes;
}
