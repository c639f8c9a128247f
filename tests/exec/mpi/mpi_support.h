/* Claims that several ranks hold together; no Criterion here, since mpirun starts the
 * processes. The closing line is Criterion's, for tools/run-tests.sh. */
#ifndef GALV_TESTS_EXEC_MPI_SUPPORT_H
#define GALV_TESTS_EXEC_MPI_SUPPORT_H

#include "exec/host.h"

#include <stdio.h>

typedef struct team {
    galv_world *world;
    galv_backend *b;
    galv_comm *all; /* every rank */
    int rank, size;
    int n_failed; /* claims that were false in the test that runs */
} team;

#define CLAIM(team, condition, ...)                             \
    do {                                                        \
        if (!(condition)) {                                     \
            claim_failed(team, __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                       \
            fputc('\n', stderr);                                \
        }                                                       \
    } while (0)

void claim_failed(team *t, const char *file, int line, const char *condition);

typedef struct team_test {
    const char *name;
    void (*run)(team *t);
} team_test;

/* main: runs the tests on a world of MPI; returns the exit status. */
int team_main(int argc, char **argv, const team_test *tests, int n_tests);

/* For programs of their own: joins the world and makes backend and communicator; and
 * the failures of all ranks. */
bool team_join(team *t, int *argc, char ***argv);
int team_failures(team *t);

/* A small number that depends on the rank and the index, with many bits. */
float value_of(int rank, size_t i);
/* Device buffers of values value_of(rank, first + i), or zeros. */
float *new_values(team *t, int rank, size_t first, size_t n);
float *new_zeros(team *t, size_t n);

#endif
