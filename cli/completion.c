/* Completion scripts for bash, zsh and fish.
 *
 * Commands and options come from the tables; names of the catalog are asked of the
 * program when they are wanted (`catalog models --csv`), so a script never gets old. */
#include "cli/help.h"

#include <string.h>

/* Which catalog completes the value of an option; NULL = files, or its words. */
static const char *catalog_of(const galv_option *option)
{
    switch (option->id) {
    case GALV_OPTION_MODEL:
        return "models";
    case GALV_OPTION_CLUSTER:
        return "clusters";
    case GALV_OPTION_GPU:
        return "gpus";
    case GALV_OPTION_SCHEDULE:
        return "schedules";
    default:
        return NULL;
    }
}

static bool takes_file(const galv_option *option)
{
    return option->argument != NULL && (strstr(option->argument, "FILE") != NULL ||
                                        strstr(option->argument, "DIR") != NULL);
}

/* Appends a string with one character replaced by another. */
static void append_with(galv_text *out, const char *text, char from, char to)
{
    for (; *text != '\0'; text++) {
        galv_text_append_char(out, *text == from ? to : *text);
    }
}

static void append_options_of(galv_text *out, const galv_command *command)
{
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        if (galv_option_fits(&galv_options[i], command)) {
            galv_text_printf(out, " --%s", galv_options[i].name);
        }
    }
}

static const char *arguments_of(const galv_command *command)
{
    switch (command->id) {
    case GALV_COMMAND_CATALOG:
        return "models gpus clusters schedules";
    case GALV_COMMAND_COMPLETION:
        return "bash zsh fish";
    case GALV_COMMAND_RENDER:
        return "timeline memory breakdown scaling pareto";
    case GALV_COMMAND_IMPORT:
        return "galvatron galvatron-plan huggingface model";
    case GALV_COMMAND_EXPORT:
        return "galvatron";
    default:
        return "";
    }
}

/* The branches of "case $prev": what follows an option. */
static void append_bash_values(galv_text *out)
{
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        const galv_option *option = &galv_options[i];
        if (option->argument == NULL) {
            continue;
        }
        galv_text_printf(out, "    --%s", option->name);
        if (option->letter != 0) {
            galv_text_printf(out, "|-%c", option->letter);
        }
        galv_text_append(out, ") ");
        if (catalog_of(option) != NULL) {
            galv_text_printf(out, "_galvatron_sim_words \"$(_galvatron_sim_names %s)\"",
                             catalog_of(option));
            galv_text_append(out, takes_file(option)
                                      ? "\n        COMPREPLY+=($(compgen -f -- "
                                        "\"$cur\"))"
                                      : "");
        } else if (option->words != NULL) {
            galv_text_append(out, "_galvatron_sim_words '");
            append_with(out, option->words, '|', ' ');
            galv_text_append_char(out, '\'');
        } else if (takes_file(option)) {
            galv_text_append(out, "COMPREPLY=($(compgen -f -- \"$cur\"))");
        } else {
            galv_text_append(out, ":");
        }
        galv_text_append(out, "; return ;;\n");
    }
}

static void append_bash(galv_text *out)
{
    galv_text_append(out,
                     "# bash completion of galvatron-sim\n"
                     "_galvatron_sim_names() {\n"
                     "    galvatron-sim catalog \"$1\" --csv 2>/dev/null | sed 1d | "
                     "cut -d, -f1\n"
                     "}\n"
                     "# One of these words, or the last one of a list of them.\n"
                     "_galvatron_sim_words() {\n"
                     "    local list=\n"
                     "    case $cur in *,*) list=${cur%,*}, ;; esac\n"
                     "    COMPREPLY=($(compgen -P \"$list\" -W \"$1\" -- "
                     "\"${cur##*,}\"))\n"
                     "}\n"
                     "_galvatron_sim() {\n"
                     "    local cur prev command word words\n"
                     "    cur=${COMP_WORDS[COMP_CWORD]}\n"
                     "    prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                     "    # bash makes three words of --option=value\n"
                     "    if [ \"$cur\" = = ]; then\n"
                     "        cur=\n"
                     "    elif [ \"$prev\" = = ]; then\n"
                     "        prev=${COMP_WORDS[COMP_CWORD-2]}\n"
                     "    fi\n"
                     "    command=\n"
                     "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                     "        case $word in -*) ;; *) command=$word; break ;; esac\n"
                     "    done\n"
                     "    COMPREPLY=()\n"
                     "    case $prev in\n");
    append_bash_values(out);
    galv_text_append(out, "    models|gpus|clusters|schedules)\n"
                          "        if [ \"$command\" = catalog ]; then\n"
                          "            _galvatron_sim_words "
                          "\"$(_galvatron_sim_names \"$prev\")\"\n"
                          "            return\n"
                          "        fi ;;\n"
                          "    esac\n    case $command in\n");
    for (size_t i = 0; i < GALV_N_COMMANDS; i++) {
        galv_text_printf(out, "    %s) words='%s", galv_commands[i].name,
                         arguments_of(&galv_commands[i]));
        if (galv_commands[i].id == GALV_COMMAND_HELP) {
            for (size_t k = 0; k < GALV_N_COMMANDS; k++) {
                galv_text_printf(out, " %s", galv_commands[k].name);
            }
            galv_text_append(out, " units exit-codes formats");
        }
        append_options_of(out, &galv_commands[i]);
        galv_text_append(out, "' ;;\n");
    }
    galv_text_append(out, "    *) words='");
    for (size_t i = 0; i < GALV_N_COMMANDS; i++) {
        galv_text_printf(out, "%s ", galv_commands[i].name);
    }
    append_options_of(out, &galv_commands[GALV_COMMAND_PLAN]);
    galv_text_append(out, "' ;;\n    esac\n"
                          "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                          "    case $cur in -*) ;; *) [ -z \"$command\" ] || "
                          "COMPREPLY+=($(compgen -f -- \"$cur\")) ;; esac\n"
                          "}\n"
                          "complete -o filenames -F _galvatron_sim galvatron-sim\n");
}

/* Text inside single quotes of zsh's _arguments and fish: no quotes, no brackets. */
static void append_plain(galv_text *out, const char *text)
{
    for (; *text != '\0'; text++) {
        bool special = strchr("'[]:\\`", *text) != NULL;
        galv_text_append_char(out, special ? ' ' : *text);
    }
}

static void append_zsh_option(galv_text *out, const galv_option *option)
{
    galv_text_printf(out, "        '%s--%s%s[", option->repeatable ? "*" : "",
                     option->name, option->argument != NULL ? "=" : "");
    append_plain(out, option->meaning);
    galv_text_append_char(out, ']');
    if (option->argument != NULL) {
        galv_text_append_char(out, ':');
        append_plain(out, option->argument);
        galv_text_append_char(out, ':');
        if (catalog_of(option) != NULL) {
            galv_text_printf(out, "_galvatron_sim_%s", catalog_of(option));
        } else if (option->words != NULL) {
            galv_text_append_char(out, '(');
            append_with(out, option->words, '|', ' ');
            galv_text_append_char(out, ')');
        } else if (takes_file(option)) {
            galv_text_append(out, "_files");
        }
    }
    galv_text_append(out, "'");
}

static void append_zsh(galv_text *out)
{
    static const char *const catalogs[] = {"models", "clusters", "gpus", "schedules"};
    galv_text_append(out, "#compdef galvatron-sim\n");
    for (size_t i = 0; i < sizeof catalogs / sizeof catalogs[0]; i++) {
        galv_text_printf(out,
                         "_galvatron_sim_%s() {\n"
                         "    local -a names\n"
                         "    names=(${(f)\"$(galvatron-sim catalog %s --csv "
                         "2>/dev/null | sed 1d | cut -d, -f1)\"})\n"
                         "    compadd -a names\n%s}\n",
                         catalogs[i], catalogs[i], i < 2 ? "    _files\n" : "");
    }
    galv_text_append(out, "_galvatron_sim() {\n"
                          "    local -a options commands\n"
                          "    commands=(\n");
    for (size_t i = 0; i < GALV_N_COMMANDS; i++) {
        galv_text_printf(out, "        '%s:", galv_commands[i].name);
        append_plain(out, galv_commands[i].summary);
        galv_text_append(out, "'\n");
    }
    galv_text_append(out, "    )\n    case ${words[2]} in\n");
    for (size_t i = 0; i <= GALV_N_COMMANDS; i++) {
        bool last = i == GALV_N_COMMANDS;
        const galv_command *command = &galv_commands[last ? GALV_COMMAND_PLAN : i];
        galv_text_printf(out, "    %s) options=(\n", last ? "*" : command->name);
        for (size_t k = 0; k < GALV_N_OPTIONS; k++) {
            if (galv_option_fits(&galv_options[k], command)) {
                append_zsh_option(out, &galv_options[k]);
                galv_text_append_char(out, '\n');
            }
        }
        galv_text_append(out, "        ) ;;\n");
    }
    galv_text_append(out, "    esac\n"
                          "    if (( CURRENT == 2 )) && [[ ${words[2]} != -* ]]; then\n"
                          "        _describe command commands\n"
                          "    else\n"
                          "        _arguments $options '*:file:_files'\n"
                          "    fi\n"
                          "}\n"
                          "_galvatron_sim \"$@\"\n");
}

static void append_fish(galv_text *out)
{
    galv_text_append(out, "# fish completion of galvatron-sim\n");
    for (size_t i = 0; i < GALV_N_COMMANDS; i++) {
        galv_text_printf(out,
                         "complete -c galvatron-sim -n __fish_use_subcommand -a %s "
                         "-d '",
                         galv_commands[i].name);
        append_plain(out, galv_commands[i].summary);
        galv_text_append(out, "'\n");
    }
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        const galv_option *option = &galv_options[i];
        galv_text_append(out, "complete -c galvatron-sim -n '");
        if (galv_option_fits(option, &galv_commands[GALV_COMMAND_PLAN])) {
            galv_text_append(out, "__fish_use_subcommand; or ");
        }
        galv_text_append(out, "__fish_seen_subcommand_from");
        for (size_t k = 0; k < GALV_N_COMMANDS; k++) {
            if (galv_option_fits(option, &galv_commands[k])) {
                galv_text_printf(out, " %s", galv_commands[k].name);
            }
        }
        galv_text_printf(out, "' -l %s", option->name);
        if (option->letter != 0) {
            galv_text_printf(out, " -s %c", option->letter);
        }
        if (option->argument != NULL) {
            galv_text_append(out, takes_file(option) ? " -r" : " -x");
        }
        if (catalog_of(option) != NULL) {
            galv_text_printf(out,
                             " -a '(galvatron-sim catalog %s --csv 2>/dev/null | sed "
                             "1d | cut -d, -f1)'",
                             catalog_of(option));
        } else if (option->words != NULL) {
            galv_text_append(out, " -a '");
            append_with(out, option->words, '|', ' ');
            galv_text_append_char(out, '\'');
        }
        galv_text_append(out, " -d '");
        append_plain(out, option->meaning);
        galv_text_append(out, "'\n");
    }
}

void galv_help_completion(galv_text *out, const char *shell)
{
    if (strcmp(shell, "bash") == 0) {
        append_bash(out);
    } else if (strcmp(shell, "zsh") == 0) {
        append_zsh(out);
    } else {
        append_fish(out);
    }
}
