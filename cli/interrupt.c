/* The one mutable global of the program: a signal handler can reach nothing else. */
#include "cli/interrupt.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>

static atomic_bool interrupted;

static void on_interrupt(int number)
{
    (void)number;
    atomic_store(&interrupted, true);
}

atomic_bool *galv_interrupt_watch(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    /* The second one finds the default action, which ends the program at once. */
    action.sa_flags = (int)SA_RESETHAND;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    return &interrupted;
}
