/* Runs of galvatron-exec itself, as users start them: tiny models, plans written to a
 * folder of the test, losses read back. */
#ifndef GALV_TESTS_EXEC_RUN_SUPPORT_H
#define GALV_TESTS_EXEC_RUN_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RUN_MOST_STEPS = 512 };

typedef struct losses {
    int64_t first; /* step of the first of them */
    int n;
    double loss[RUN_MOST_STEPS];
} losses;

/* A fresh folder that is removed at the end of the test process; the same at every
 * call. */
const char *run_folder(void);

/* Writes FOLDER/NAME.json: a plan of words like "pp2 dp2 zero1" ("tp2 sp", "ep2",
 * "mb2", "dualpipe"...) for the model "llama", "tied" (positions and table shared) or
 * "moe". Returns how many ranks it is for. */
int run_write_plan(const char *name, const char *model, const char *words);

/* galvatron-exec run in the folder, by mpirun for more than one rank; `arguments` by a
 * format. Its output is in FOLDER/out and FOLDER/err. Returns the exit status. */
int run_exec(int ranks, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A command of the shell, in the folder; $EXEC is set, and what starts N ranks of it by
 * MPI, "$MPIRUN -np N", and by variables of the environment, "$RANKS N". */
int run_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Of FOLDER/NAME/losses.csv, as --out NAME writes it. */
losses run_losses(const char *name);
/* All losses of `part` are those of `whole` at the same steps, to `tolerance`
 * relatively. */
bool run_same_losses(const losses *whole, const losses *part, double tolerance);

/* Does FOLDER/err hold this text? */
bool run_said(const char *text);
/* Its lines, less what mpirun says itself. */
int run_lines_said(void);

#endif
