/* The alarm: one rank tells all others that it has failed, while they may be waiting
 * for its device. Over MPI; without it there is no way to be heard. */
#ifndef GALV_EXEC_ALARM_H
#define GALV_EXEC_ALARM_H

#include "exec/world.h"

#include <stdbool.h>

typedef struct galv_alarm galv_alarm;

/* NULL: out of memory. Free it before the world; not after it was raised while others
 * may still read it (then it is left to the end of the process). */
galv_alarm *galv_alarm_new(galv_world *world);
void galv_alarm_free(galv_alarm *alarm);
/* Whether others can hear it: there are none, or MPI is there. */
bool galv_alarm_carries(const galv_alarm *alarm);
/* Tells the others of this error; once. Does not wait. */
void galv_alarm_raise(galv_alarm *alarm, const galv_err *err);
/* True, and what the other rank said, when one has raised it. Does not wait. */
bool galv_alarm_heard(galv_alarm *alarm, galv_err *err);

#endif
