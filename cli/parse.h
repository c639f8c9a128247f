/* The command line as parsed: which command, its files, its options.
 *
 * Nothing is computed here: values are text until somebody asks for them with a type.
 * Every error names the option and, where one is near, the word that was meant. */
#ifndef GALV_CLI_PARSE_H
#define GALV_CLI_PARSE_H

#include "base/arena.h"
#include "base/status.h"
#include "base/text.h"
#include "cli/options.h"
#include "cli/terminal.h"

#include <stddef.h>
#include <stdint.h>

/* One option as it was typed. */
typedef struct galv_setting {
    const galv_option *option;
    const char *value; /* "" for a flag */
    bool by_letter;    /* -h and --help differ */
} galv_setting;

typedef struct galv_cli {
    galv_arena *arena;
    const galv_command *command;
    bool bare;          /* no command was typed */
    size_t n_typed;     /* words after the program's name */
    size_t n_arguments; /* positionals */
    const char **arguments;
    size_t n_settings;
    galv_setting *settings;
    size_t n_handed; /* for a command that is handed over: what was typed after it */
    const char *const *handed;
    galv_terminal terminal;
    galv_text *out;    /* what goes to standard output if all goes well */
    bool *out_is_data; /* JSON, CSV, a script: never altered for the terminal */
} galv_cli;

/* Parses the words after the program's name. `cli->arena`, `out` and `out_is_data` are
 * the caller's and must be set. Errors: GALV_USAGE. Command and settings found before
 * the error are kept, so that --color holds for the message too. */
galv_status galv_cli_parse(galv_cli *cli, int n_words, const char *const *words,
                           galv_err *err);

/* The last value of an option; NULL when it was not given ("" for a flag). */
const char *galv_cli_value(const galv_cli *cli, galv_option_id id);

/* Was it given? */
bool galv_cli_given(const galv_cli *cli, galv_option_id id);

/* The i-th use of a repeatable option; NULL past the last. */
const char *galv_cli_repeated(const galv_cli *cli, galv_option_id id, size_t i);

/* Typed values: an option that was not given leaves the output untouched. Errors:
 * GALV_USAGE, "--nodes 0: ...". */
galv_status galv_cli_count(int64_t *value, const galv_cli *cli, galv_option_id id,
                           int64_t low, int64_t high, galv_err *err);
galv_status galv_cli_number(double *value, const galv_cli *cli, galv_option_id id,
                            double low, double high, galv_err *err);
galv_status galv_cli_seconds(double *value_s, const galv_cli *cli, galv_option_id id,
                             galv_err *err);
galv_status galv_cli_bytes(double *value_bytes, const galv_cli *cli, galv_option_id id,
                           galv_err *err);
/* --time-limit, more than nothing. */
galv_status galv_cli_time_limit(double *value_s, const galv_cli *cli, galv_err *err);
/* One value of --memory-limit for a GPU: a MiB at least. */
galv_status galv_cli_memory(double *value_bytes, const galv_cli *cli, const char *text,
                            galv_err *err);
galv_status galv_cli_counts(int64_t *values, size_t *n_values, size_t capacity,
                            const galv_cli *cli, galv_option_id id, int64_t low,
                            int64_t high, galv_err *err);
galv_status galv_cli_word(int *index, const galv_cli *cli, galv_option_id id,
                          const char *const words[], size_t n_words, galv_err *err);

/* A list of words, ',' between, as indices. */
galv_status galv_cli_words(int64_t *indices, size_t *n_indices, size_t capacity,
                           const galv_cli *cli, galv_option_id id,
                           const char *const words[], size_t n_words, galv_err *err);

/* Cuts a list at its commas; empty items are errors. Owned by the arena. */
galv_status galv_cli_split(const char ***items, size_t *n_items, const galv_cli *cli,
                           galv_option_id id, galv_err *err);

/* Puts "--name VALUE: " before an error's message and makes it GALV_USAGE. */
galv_status galv_cli_blame(const galv_cli *cli, galv_option_id id, const char *value,
                           galv_err *err);

#endif
