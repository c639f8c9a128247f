/* Ctrl-C: the first one asks the search to stop, the second one ends the program. */
#ifndef GALV_CLI_INTERRUPT_H
#define GALV_CLI_INTERRUPT_H

#include <stdatomic.h>

/* Installs the handler and returns the flag that it sets. */
atomic_bool *galv_interrupt_watch(void);

#endif
