/* profile and run: what needs hardware is another program, galvatron-exec.
 *
 * It is looked for where GALVATRON_EXEC points, then beside this program, then on the
 * PATH, and takes this process over: under mpirun or srun every rank hands over by
 * itself, and the exit status is the executor's. */
#include "cli/hand_over.h"

#include "base/file.h"
#include "cli/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXECUTOR "galvatron-exec"

/* The folder of this program with the executor's name put behind; false: unknown. */
static bool beside_this(char *path, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    if (length <= 0) {
        return false;
    }
    path[length] = '\0';
    char *slash = strrchr(path, '/');
    if (slash == NULL || (size_t)(slash - path) + sizeof EXECUTOR + 1 > size) {
        return false;
    }
    strcpy(slash + 1, EXECUTOR);
    return galv_is_file(path);
}

int galv_hand_over(const galv_cli *cli)
{
    galv_err err = GALV_ERR_INIT;
    char path[4096];
    const char *given = getenv("GALVATRON_EXEC");
    char **words = GALV_NEW_ARRAY(cli->arena, char *, cli->n_handed + 3);
    if (words == NULL) {
        galv_fail(&err, GALV_NO_MEMORY, "out of memory");
        return galv_cli_fail(cli, &err);
    }
    size_t n = 0;
    words[n++] = (char *)EXECUTOR;
    words[n++] = (char *)cli->command->name;
    for (size_t i = 0; i < cli->n_handed; i++) {
        words[n++] = (char *)cli->handed[i];
    }
    if (given != NULL && given[0] != '\0') {
        execv(given, words);
        galv_fail(&err, GALV_UNAVAILABLE, "GALVATRON_EXEC: cannot run '%.200s'", given);
        return galv_cli_fail(cli, &err);
    }
    if (beside_this(path, sizeof path)) {
        execv(path, words);
    }
    execvp(EXECUTOR, words);
    galv_fail(&err, GALV_UNAVAILABLE, "'%s' needs %s, which is not built here",
              cli->command->name, EXECUTOR);
    galv_hint(&err, "it needs MPI and a BLAS: make deps && make exec");
    return galv_cli_fail(cli, &err);
}

int galv_cmd_profile(const galv_cli *cli)
{
    return galv_hand_over(cli);
}

int galv_cmd_run(const galv_cli *cli)
{
    return galv_hand_over(cli);
}
