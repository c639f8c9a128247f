/* No shell is between: arguments are handed on as they are, input is closed, output
 * goes to files of the folder. */
#include "exec/planner.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct galv_planner {
    pid_t pid; /* 0: has ended */
    char folder[990];
};

/* Where galvatron-sim is; a name without a slash is looked for in PATH. */
static void find_program(char *path, size_t size)
{
    const char *told = getenv("GALVATRON_SIM");
    if (told != NULL && *told != '\0') {
        snprintf(path, size, "%s", told);
        return;
    }
    char self[1024];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash = NULL;
    if (n > 0) {
        self[n] = '\0';
        slash = strrchr(self, '/');
    }
    if (slash != NULL) {
        *slash = '\0';
        snprintf(path, size, "%s/galvatron-sim", self);
        if (access(path, X_OK) == 0) {
            return;
        }
    }
    snprintf(path, size, "galvatron-sim");
}

galv_status galv_planner_start(galv_planner **planner, const char *folder,
                               const char *profile, double restart_s, galv_err *err)
{
    char program[1100], plan[1100], timeline[1100], target[1100], out[1100], say[1100];
    char restart[32];
    galv_planner *made = calloc(1, sizeof *made);
    if (made == NULL || strlen(folder) >= sizeof made->folder) {
        free(made);
        return galv_fail(err, GALV_NO_MEMORY, "no memory for the planner");
    }
    snprintf(made->folder, sizeof made->folder, "%s", folder);
    find_program(program, sizeof program);
    snprintf(plan, sizeof plan, "%s/plan.json", folder);
    snprintf(timeline, sizeof timeline, "%s/timeline.csv", folder);
    snprintf(target, sizeof target, "%s/next.json", folder);
    snprintf(out, sizeof out, "%s/advice.json", folder);
    snprintf(say, sizeof say, "%s/planner.log", folder);
    snprintf(restart, sizeof restart, "%.6fs", restart_s);
    const char *arguments[] = {
        program,  "plan",    plan, "--observed",   timeline,
        "--json", "--quiet", "-o", target,         "--restart-time",
        restart,  "--jobs",  "1",  "--time-limit", "60s",
        NULL,     NULL,      NULL};
    size_t n = sizeof arguments / sizeof arguments[0];
    arguments[n - 3] = profile != NULL ? "--profile" : NULL;
    arguments[n - 2] = profile;
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out,
                                     O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawn_file_actions_addopen(&files, STDERR_FILENO, say,
                                     O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int why = posix_spawnp(&made->pid, program, &files, NULL, (char *const *)arguments,
                           environ);
    posix_spawn_file_actions_destroy(&files);
    if (why != 0) {
        free(made);
        galv_fail(err, GALV_UNAVAILABLE, "%s cannot be started: %s", program,
                  strerror(why));
        galv_hint(err, "set GALVATRON_SIM to its path");
        return GALV_UNAVAILABLE;
    }
    *planner = made;
    return GALV_OK;
}

static void read_advice(const galv_planner *p, galv_advice *advice, galv_err *err)
{
    char path[1100];
    galv_json *document = NULL;
    const char *word = "";
    snprintf(path, sizeof path, "%s/advice.json", p->folder);
    if (galv_json_read_file(&document, path, err) == GALV_OK) {
        galv_json_value root = galv_json_root(document);
        if (galv_json_to_string(&word, galv_json_member(root, "advice"), err) ==
                GALV_OK &&
            galv_json_to_f64(&advice->gain_s, galv_json_member(root, "gain_s"), -1e9,
                             1e9, err) == GALV_OK) {
            galv_json_to_f64(&advice->switch_time_s,
                             galv_json_member(root, "switch_time_s"), 0, 1e9, err);
        }
        advice->change = strcmp(word, "change") == 0;
    }
    galv_json_free(document);
    snprintf(advice->plan_path, sizeof advice->plan_path, "%s/next.json", p->folder);
}

/* The first line of what it said. */
static void read_complaint(const galv_planner *p, int status, galv_err *err)
{
    char path[1100];
    char line[256] = "it said nothing";
    snprintf(path, sizeof path, "%s/planner.log", p->folder);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        if (fgets(line, sizeof line, file) != NULL) {
            line[strcspn(line, "\n")] = '\0';
        }
        fclose(file);
    }
    galv_fail(err, GALV_UNAVAILABLE, "galvatron-sim ended with status %d: %s",
              WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), line);
}

bool galv_planner_ended(galv_planner *planner, galv_advice *advice, galv_err *err)
{
    int status = 0;
    pid_t ended = waitpid(planner->pid, &status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR)) {
        return false;
    }
    planner->pid = 0;
    memset(advice, 0, sizeof *advice);
    if (ended < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        read_complaint(planner, status, err);
    } else {
        read_advice(planner, advice, err);
    }
    return true;
}

void galv_planner_free(galv_planner *planner)
{
    if (planner != NULL && planner->pid > 0) {
        kill(planner->pid, SIGTERM);
        waitpid(planner->pid, NULL, 0);
    }
    free(planner);
}
