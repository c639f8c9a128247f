/* The one place with variables of the whole process: a handler of signals has no
 * argument. The words are in one of two buffers; the other is filled, then an atomic
 * index turns, so that a handler reads whole words whenever it comes.
 *
 * Whether rank 0 has gone can be asked of the system where it runs on this machine; on
 * another machine rank 1 keeps silent, and what is said is what the launcher says. */
#include "exec/farewell.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BYTES = 1024 };

static char buffers[2][MOST_BYTES];
static atomic_int current;
static atomic_int n_bytes[2];
static atomic_bool speaks;     /* rank 0 */
static atomic_long rank_0_pid; /* rank 1, on the same machine; else 0 */

void galv_farewell_say(void)
{
    long pid = atomic_load(&rank_0_pid);
    bool alone = pid > 0 && kill((pid_t)pid, 0) != 0;
    if (!atomic_load(&speaks) && !alone) {
        return;
    }
    int which = atomic_load(&current);
    const char *from = buffers[which];
    size_t left = (size_t)atomic_load(&n_bytes[which]);
    while (left > 0) {
        ssize_t written = write(STDERR_FILENO, from, left);
        if (written <= 0) {
            return;
        }
        from += written;
        left -= (size_t)written;
    }
    atomic_store(&speaks, false); /* once is enough */
    atomic_store(&rank_0_pid, 0);
}

static void on_term(int number)
{
    galv_farewell_say();
    signal(number, SIG_DFL);
    raise(number);
}

/* Who a rank is, for the question whether it is still there. */
typedef struct identity {
    long pid;
    char host[72];
} identity;

galv_status galv_farewell_begin(galv_world *world, galv_err *err)
{
    int32_t size = galv_world_size(world);
    identity mine = {.pid = (long)getpid()};
    identity *all = calloc((size_t)size, sizeof *all);
    gethostname(mine.host, sizeof mine.host - 1);
    if (all == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    if (galv_world_agree(world, err) == GALV_OK &&
        galv_world_all_gather(world, all, &mine, sizeof mine, err) == GALV_OK) {
        int32_t rank = galv_world_rank(world);
        bool near = strcmp(all[0].host, mine.host) == 0;
        atomic_store(&speaks, rank == 0);
        atomic_store(&rank_0_pid, rank == 1 && near ? all[0].pid : 0);
        struct sigaction action = {.sa_handler = on_term};
        sigemptyset(&action.sa_mask);
        sigaction(SIGTERM, &action, NULL);
    }
    free(all);
    return err->status;
}

void galv_farewell_set(const char *words)
{
    int next = 1 - atomic_load(&current);
    size_t n = strlen(words);
    n = n < MOST_BYTES - 2 ? n : MOST_BYTES - 2;
    memcpy(buffers[next], words, n);
    buffers[next][n] = '\n';
    atomic_store(&n_bytes[next], (int)n + 1);
    atomic_store(&current, next);
}

void galv_farewell_end(void)
{
    atomic_store(&speaks, false);
    atomic_store(&rank_0_pid, 0);
    signal(SIGTERM, SIG_DFL);
}
