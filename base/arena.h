/* A region of memory whose objects are freed all at once.
 *
 * One arena per run, per document or per search worker; objects inside are never
 * freed singly. Memory is zeroed. Allocation failure is reported by NULL, sizes
 * are checked for overflow. Not thread-safe: one arena per thread. */
#ifndef GALV_BASE_ARENA_H
#define GALV_BASE_ARENA_H

#include "base/status.h"

#include <stddef.h>

typedef struct galv_arena galv_arena;

/* A new, empty arena, or NULL when memory is out. Caller frees with
 * galv_arena_free. */
galv_arena *galv_arena_new(void);

/* Frees the arena and every object in it. NULL is allowed. */
void galv_arena_free(galv_arena *arena);

/* Forgets every object but keeps the memory for the next use. */
void galv_arena_reset(galv_arena *arena);

/* `count * size` zeroed bytes, aligned for any type; NULL when memory is out or the
 * product overflows. A count of 0 gives a valid pointer that must not be read. */
void *galv_arena_calloc(galv_arena *arena, size_t count, size_t size);

/* A copy of a string, owned by the arena; NULL when memory is out. */
char *galv_arena_strdup(galv_arena *arena, const char *text);

/* A formatted string, owned by the arena; NULL when memory is out. */
char *galv_arena_printf(galv_arena *arena, const char *format, ...) GALV_PRINTF(2, 3);

/* A second arena that belongs to this one, emptied: for what is over when the function
 * that asked for it returns. Its memory is kept for whoever asks next, so work that is
 * repeated with one arena does not take the same pages from the system again and again.
 * Ask for it only where nobody asks in the meantime. NULL when memory is out. */
galv_arena *galv_arena_scratch(galv_arena *arena);

/* Bytes handed out since the last reset. */
size_t galv_arena_used_bytes(const galv_arena *arena);

#define GALV_NEW(arena, type) ((type *)galv_arena_calloc((arena), 1, sizeof(type)))
#define GALV_NEW_ARRAY(arena, type, count) \
    ((type *)galv_arena_calloc((arena), (size_t)(count), sizeof(type)))

#endif
