/* A bump allocator: blocks in a list, each at least twice as large as the last, an
 * offset in the current one. Objects are zeroed when handed out, not when a block is
 * made, so that a reset is cheap and its memory is as clean as new. Left out: freeing
 * or growing single objects; whoever needs that holds a malloc of its own. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BLOCK_BYTES ((size_t)16 * 1024)
#define LARGEST_GROWTH    ((size_t)64 * 1024 * 1024)

typedef struct block {
    struct block *next;
    size_t capacity;
    size_t used;
    max_align_t bytes[]; /* so that the payload is aligned for any type */
} block;

struct galv_arena {
    block *first;
    block *current;
    size_t used_bytes;
    galv_arena *scratch; /* NULL = nobody has asked for it */
};

galv_arena *galv_arena_new(void)
{
    return calloc(1, sizeof(galv_arena));
}

void galv_arena_free(galv_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    block *at = arena->first;
    while (at != NULL) {
        block *next = at->next;
        free(at);
        at = next;
    }
    galv_arena_free(arena->scratch);
    free(arena);
}

void galv_arena_reset(galv_arena *arena)
{
    for (block *at = arena->first; at != NULL; at = at->next) {
        at->used = 0;
    }
    arena->current = arena->first;
    arena->used_bytes = 0;
}

galv_arena *galv_arena_scratch(galv_arena *arena)
{
    if (arena->scratch == NULL) {
        arena->scratch = galv_arena_new();
    } else {
        galv_arena_reset(arena->scratch);
    }
    return arena->scratch;
}

/* Makes `current` a block with room for `need` bytes; false when memory is out. */
static bool make_room(galv_arena *arena, size_t need)
{
    block *last = arena->current;
    while (last != NULL && last->capacity - last->used < need && last->next != NULL) {
        last = last->next; /* a block kept by a reset */
    }
    if (last != NULL && last->capacity - last->used >= need) {
        arena->current = last;
        return true;
    }
    size_t capacity = last == NULL ? FIRST_BLOCK_BYTES : last->capacity;
    if (last != NULL && capacity < LARGEST_GROWTH) {
        capacity *= 2;
    }
    if (capacity < need) {
        capacity = need;
    }
    if (capacity > SIZE_MAX - sizeof(block)) {
        return false;
    }
    block *made = malloc(sizeof(block) + capacity);
    if (made == NULL) {
        return false;
    }
    made->next = NULL;
    made->capacity = capacity;
    made->used = 0;
    if (last == NULL) {
        arena->first = made;
    } else {
        last->next = made;
    }
    arena->current = made;
    return true;
}

void *galv_arena_calloc(galv_arena *arena, size_t count, size_t size)
{
    const size_t alignment = _Alignof(max_align_t);
    if (size != 0 && count > (SIZE_MAX - alignment) / size) {
        return NULL;
    }
    size_t wanted = count * size;
    size_t need = (wanted + alignment - 1) / alignment * alignment;
    if (need == 0) {
        need = alignment;
    }
    block *at = arena->current;
    if (at == NULL || at->capacity - at->used < need) {
        if (!make_room(arena, need)) {
            return NULL;
        }
        at = arena->current;
    }
    char *object = (char *)at->bytes + at->used;
    at->used += need;
    arena->used_bytes += wanted;
    memset(object, 0, need);
    return object;
}

char *galv_arena_strdup(galv_arena *arena, const char *text)
{
    size_t length = strlen(text);
    char *copy = galv_arena_calloc(arena, length + 1, 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
    }
    return copy;
}

char *galv_arena_printf(galv_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    char *text = NULL;
    int length = vsnprintf(NULL, 0, format, args);
    if (length >= 0) {
        text = galv_arena_calloc(arena, (size_t)length + 1, 1);
    }
    if (text != NULL) {
        (void)vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    va_end(args);
    return text;
}

size_t galv_arena_used_bytes(const galv_arena *arena)
{
    return arena->used_bytes;
}
