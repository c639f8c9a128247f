/* The two tables that the whole command line is made from: commands and options.
 *
 * The parser, -h, --help, the man pages, the completions, the suggestions for mistyped
 * words and the tests all read these tables and nothing else. To add an option, add a
 * row; to add a command, add a row and its function. */
#ifndef GALV_CLI_OPTIONS_H
#define GALV_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct galv_cli;

/* X(ID, name) in the order of help. */
#define GALV_COMMAND_TABLE(X) \
    X(PLAN, plan)             \
    X(SWEEP, sweep)           \
    X(SIMULATE, simulate)     \
    X(EXPLAIN, explain)       \
    X(COMPARE, compare)       \
    X(RENDER, render)         \
    X(VALIDATE, validate)     \
    X(IMPORT, import)         \
    X(CATALOG, catalog)       \
    X(HELP, help)             \
    X(VERSION, version)       \
    X(COMPLETION, completion) \
    X(CALIBRATE, calibrate)   \
    X(EXPORT, export)         \
    X(PROFILE, profile)       \
    X(RUN, run)

typedef enum galv_command_id {
#define GALV_ENUM(id, name) GALV_COMMAND_##id,
    GALV_COMMAND_TABLE(GALV_ENUM)
#undef GALV_ENUM
        GALV_N_COMMANDS
} galv_command_id;

#define GALV_MAX_EXAMPLES 4

typedef struct galv_command {
    galv_command_id id;
    const char *name;
    const char *summary;                        /* one line, no full stop */
    const char *arguments;                      /* of the usage line; "" = none */
    int min_arguments, max_arguments;           /* positionals; max -1 = any number */
    const char *description;                    /* paragraphs parted by '\n' */
    const char *examples[GALV_MAX_EXAMPLES][2]; /* what is typed, what it does */
    int (*run)(const struct galv_cli *cli);
} galv_command;

extern const galv_command galv_commands[GALV_N_COMMANDS];

typedef enum galv_option_group {
    GALV_IN_JOB,
    GALV_IN_STRATEGY,
    GALV_IN_SEARCH,
    GALV_IN_COMMAND,
    GALV_IN_OUTPUT,
    GALV_N_OPTION_GROUPS
} galv_option_group;

extern const char *const galv_option_group_titles[GALV_N_OPTION_GROUPS];

typedef enum galv_option_id {
    GALV_OPTION_MODEL,
    GALV_OPTION_CLUSTER,
    GALV_OPTION_NODES,
    GALV_OPTION_GPU,
    GALV_OPTION_GPUS_PER_NODE,
    GALV_OPTION_SEQ_LENGTH,
    GALV_OPTION_GLOBAL_BATCH,
    GALV_OPTION_PRECISION,
    GALV_OPTION_GRAD_PRECISION,
    GALV_OPTION_SOFTWARE,
    GALV_OPTION_RECOMPUTE_MODULES,
    GALV_OPTION_NO_FLASH_ATTENTION,
    GALV_OPTION_MEMORY_LIMIT,
    GALV_OPTION_TOKENS,
    GALV_OPTION_SET,
    GALV_OPTION_PROFILE,
    GALV_OPTION_TP,
    GALV_OPTION_CP,
    GALV_OPTION_DP,
    GALV_OPTION_EP,
    GALV_OPTION_PP,
    GALV_OPTION_VPP,
    GALV_OPTION_SP,
    GALV_OPTION_ZERO,
    GALV_OPTION_RECOMPUTE,
    GALV_OPTION_MICRO_BATCH,
    GALV_OPTION_SCHEDULE,
    GALV_OPTION_GROUP_SIZE,
    GALV_OPTION_OVERLAP,
    GALV_OPTION_INTERNODE_TP,
    GALV_OPTION_RANK_ORDER,
    GALV_OPTION_LAYER_WISE,
    GALV_OPTION_UNIFORM,
    GALV_OPTION_TOP,
    GALV_OPTION_PER_KIND,
    GALV_OPTION_TIME_LIMIT,
    GALV_OPTION_FRONT,
    GALV_OPTION_PHASES,
    GALV_OPTION_OBSERVED,
    GALV_OPTION_DRY_RUN,
    GALV_OPTION_PROGRAM,
    GALV_OPTION_PRINT_ORDER,
    GALV_OPTION_CHECK,
    GALV_OPTION_COST_MODEL,
    GALV_OPTION_GALVATRON_PROFILE,
    GALV_OPTION_GALVATRON_TIME,
    GALV_OPTION_STAGE_TIMES,
    GALV_OPTION_MICRO_BATCHES,
    GALV_OPTION_RUN_DAYS,
    GALV_OPTION_MTBF_DEVICE,
    GALV_OPTION_MTBF_NODE,
    GALV_OPTION_MTBF_SWITCH,
    GALV_OPTION_CHECKPOINT_INTERVAL,
    GALV_OPTION_CHECKPOINT_TIME,
    GALV_OPTION_RESTART_TIME,
    GALV_OPTION_SPARES,
    GALV_OPTION_REPAIR_TIME,
    GALV_OPTION_MC_RUNS,
    GALV_OPTION_ALL_RANKS,
    GALV_OPTION_CONTENTION,
    GALV_OPTION_STRAGGLER,
    GALV_OPTION_JITTER,
    GALV_OPTION_SLOW_LINK,
    GALV_OPTION_CASES,
    GALV_OPTION_BY,
    GALV_OPTION_LEAVE_OUT,
    GALV_OPTION_EACH,
    GALV_OPTION_RESIDUALS,
    GALV_OPTION_DETAILS,
    GALV_OPTION_TOLERANCE,
    GALV_OPTION_EXIT_CODE,
    GALV_OPTION_ASCII,
    GALV_OPTION_WIDTH,
    GALV_OPTION_SCALE,
    GALV_OPTION_WINDOW,
    GALV_OPTION_ROWS,
    GALV_OPTION_STREAMS,
    GALV_OPTION_MAN,
    GALV_OPTION_OUTPUT,
    GALV_OPTION_JSON,
    GALV_OPTION_CSV,
    GALV_OPTION_WIDE,
    GALV_OPTION_QUIET,
    GALV_OPTION_STRICT,
    GALV_OPTION_PRINT_CONFIG,
    GALV_OPTION_SEED,
    GALV_OPTION_JOBS,
    GALV_OPTION_COLOR,
    GALV_OPTION_PROGRESS,
    GALV_OPTION_HELP,
    GALV_OPTION_VERSION,
    GALV_N_OPTIONS
} galv_option_id;

typedef struct galv_option {
    galv_option_id id;
    const char *name;     /* without the dashes */
    char letter;          /* short form; 0 = none */
    const char *argument; /* what follows it: "N", "FILE"; NULL = a flag */
    const char *words;    /* the words it takes, '|' between; NULL = free */
    galv_option_group group;
    uint32_t commands;    /* bit 1 << galv_command_id for each that takes it */
    bool repeatable;      /* every use counts; else the last one wins */
    const char *standard; /* the default as help prints it; NULL = none */
    const char *meaning;  /* one sentence, no full stop */
    const char *example;  /* "--nodes 64" */
} galv_option;

extern const galv_option galv_options[GALV_N_OPTIONS];

/* By name or letter; NULL when there is none. */
const galv_option *galv_option_named(const char *name);
const galv_option *galv_option_lettered(char letter);
const galv_command *galv_command_named(const char *name);

/* Is the command done by galvatron-exec, which gets its words untouched? */
bool galv_command_hands_over(const galv_command *command);

/* Does the command take the option? */
bool galv_option_fits(const galv_option *option, const galv_command *command);

#define GALV_DECLARE_COMMAND(id, name) int galv_cmd_##name(const struct galv_cli *cli);
GALV_COMMAND_TABLE(GALV_DECLARE_COMMAND)
#undef GALV_DECLARE_COMMAND

#endif
