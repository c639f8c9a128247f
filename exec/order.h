/* The order between streams: which marks of the others each stream comes after.
 *
 * A mark is a place in a stream, counted from 1. When stream s has waited for mark m of
 * stream r, all that r queued before m comes before all that s queues from now on. This
 * is a vector clock over streams (Mattern 1989): it tells which waits are needed before
 * memory passes from one stream to another, so that no other wait is made. */
#ifndef GALV_EXEC_ORDER_H
#define GALV_EXEC_ORDER_H

#include "plan/operation.h"

#include <stdint.h>

/* For each stream a mark, 0 = none. */
typedef struct galv_marks {
    uint64_t of[GALV_N_STREAMS];
} galv_marks;

typedef struct galv_order {
    galv_marks last;                  /* marks made so far */
    galv_marks known[GALV_N_STREAMS]; /* what each stream comes after */
} galv_order;

/* Makes the next mark in a stream and returns its number. */
uint64_t galv_order_mark(galv_order *order, galv_stream stream);
/* Whether `stream` must still wait for the mark that `marks` has of `other`. */
int galv_order_lacks(const galv_order *order, galv_stream stream, galv_stream other,
                     const galv_marks *marks);
/* `stream` waits now for a mark of `other`. */
void galv_order_waits(galv_order *order, galv_stream stream, galv_stream other,
                      uint64_t mark);
/* What comes before whatever `stream` queues next: a snapshot for an event that is
 * recorded there. */
galv_marks galv_order_before(const galv_order *order, galv_stream stream);
/* `stream` waits now for an event with this snapshot. */
void galv_order_joins(galv_order *order, galv_stream stream, const galv_marks *before);
/* The host has waited for all streams. */
void galv_order_settles(galv_order *order);
/* Joins marks of two neighbours: those that come after both. */
void galv_marks_join(galv_marks *marks, const galv_marks *more);

#endif
