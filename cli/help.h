/* Help: written from the tables of cli/options.h, so it cannot lag behind. */
#ifndef GALV_CLI_HELP_H
#define GALV_CLI_HELP_H

#include "base/text.h"
#include "cli/options.h"

/* -h: usage, examples, the commands. `command` NULL = the program. */
void galv_help_short(galv_text *out, const galv_command *command);

/* --help: description, every option with its meaning, default and example. */
void galv_help_long(galv_text *out, const galv_command *command);

/* A topic ("units", "exit-codes", "formats"); NULL when there is none of that name. */
const char *galv_help_topic(const char *name);

/* Names of the topics, NULL at the end. */
extern const char *const galv_help_topics[];

/* The manual page as roff (man macros): of the program, or of one command. */
void galv_help_man(galv_text *out, const galv_command *command);

/* A completion script. `shell` is "bash", "zsh" or "fish". */
void galv_help_completion(galv_text *out, const char *shell);

/* Appends text broken at blanks to `width` columns, each line indented. */
void galv_help_wrap(galv_text *out, const char *text, int indent, int width);

#endif
