/* galvatron-exec: the table of commands. */
#include "exec/commands.h"

#include <stdio.h>
#include <string.h>

typedef struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} command;

static int show_help(int argc, char **argv);
static int show_version(int argc, char **argv);

static const command commands[] = {
    {"run", "train by a plan, and measure it", galv_exec_run},
    {"profile", "measure this machine for the planner", galv_exec_profile},
    {"help", "this list", show_help},
    {"version", "the version", show_version},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static const command *find(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int unknown(const char *name)
{
    fprintf(stderr,
            "galvatron-exec: unknown command '%s'\n"
            "  commands: galvatron-exec help\n",
            name);
    return 2;
}

/* "help run" is "run --help". */
static int help_of(const char *name)
{
    const command *of = find(name);
    char *words[] = {(char *)name, (char *)"--help", NULL};
    if (of == NULL) {
        return unknown(name);
    }
    return of->run == show_help ? show_help(1, words) : of->run(2, words);
}

static int show_help(int argc, char **argv)
{
    if (argc > 1 && argv[1][0] != '-') {
        return help_of(argv[1]);
    }
    printf("galvatron-exec: runs and measures training plans on real hardware.\n\n"
           "Usage: galvatron-exec COMMAND [OPTION]..., under mpirun, srun or torchrun\n"
           "       for more than one process\n\nCommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    printf("\nThe options of a command: galvatron-exec help COMMAND\n");
    return 0;
}

static int show_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("galvatron-exec %s\n", GALV_VERSION);
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "help";
    while (*name == '-') {
        name++;
    }
    const command *asked = find(strcmp(name, "h") == 0 ? "help" : name);
    if (asked == NULL) {
        return unknown(argv[1]);
    }
    return argc > 1 ? asked->run(argc - 1, argv + 1) : asked->run(0, argv);
}
