/* What is said last when a process is ended from outside: another rank was killed, the
 * job was cancelled. One rank of a run says how to go on. */
#ifndef GALV_EXEC_FAREWELL_H
#define GALV_EXEC_FAREWELL_H

#include "exec/world.h"

/* From now on, SIGTERM (which mpirun and srun send to the others when a rank has died)
 * is answered with the words, by rank 0, or by rank 1 where rank 0 has gone; the
 * process then ends by the signal. Collective. Errors: GALV_NO_MEMORY, those of the
 * world. */
galv_status galv_farewell_begin(galv_world *world, galv_err *err);
/* The words, without a newline at the end; cut at 1000 bytes. */
void galv_farewell_set(const char *words);
/* Back to how it was. */
void galv_farewell_end(void);

/* Says the words at once, if this rank is the one to; may be called from a handler of
 * signals and from any thread. */
void galv_farewell_say(void);

#endif
