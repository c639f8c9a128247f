/* Help on the terminal.
 *
 * -h answers "how do I use it": usage and examples, then the names of what there is.
 * --help answers everything. Both are 80 columns wide at most. */
#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#define WIDTH 79

void galv_help_wrap(galv_text *out, const char *text, int indent, int width)
{
    int column = 0;
    for (const char *at = text; *at != '\0';) {
        if (*at == '\n') {
            galv_text_append_char(out, '\n');
            column = 0;
            at++;
            continue;
        }
        size_t length = strcspn(at, " \n");
        if (length == 0) { /* several blanks are one */
            at++;
            continue;
        }
        if (column > 0 && column + 1 + (int)length > width) {
            galv_text_append_char(out, '\n');
            column = 0;
        }
        if (column == 0) {
            galv_text_append_repeated(out, ' ', (size_t)indent);
            column = indent;
        } else {
            galv_text_append_char(out, ' ');
            column++;
        }
        galv_text_append_bytes(out, at, length);
        column += (int)length;
        at += length;
        at += *at == ' ' ? 1 : 0;
    }
    galv_text_append_char(out, '\n');
}

static void append_usage(galv_text *out, const galv_command *command)
{
    if (command == NULL) {
        galv_text_append(out, "Usage: galvatron-sim [COMMAND] [OPTIONS]\n");
        return;
    }
    galv_text_printf(out, "Usage: galvatron-sim %s%s%s [OPTIONS]\n", command->name,
                     command->arguments[0] != '\0' ? " " : "", command->arguments);
}

static void append_examples(galv_text *out, const galv_command *command)
{
    galv_text_append(out, "\nExamples\n");
    for (size_t i = 0; i < GALV_MAX_EXAMPLES; i++) {
        const char *typed = command->examples[i][0];
        if (typed == NULL) {
            break;
        }
        const char *does = command->examples[i][1];
        if (strlen(typed) + strlen(does) + 4 <= 78 && strlen(typed) <= 47) {
            galv_text_printf(out, "  %-47s %s\n", typed, does);
        } else if (strlen(typed) + 2 <= 79) {
            galv_text_printf(out, "  %s\n      %s\n", typed, does);
        } else {
            /* Broken the way a shell accepts it. */
            const char *middle = typed + 70;
            while (middle > typed && *middle != ' ') {
                middle--;
            }
            galv_text_printf(out, "  %.*s \\\n      %s\n      %s\n",
                             (int)(middle - typed), typed, middle + 1, does);
        }
    }
}

static void append_program(galv_text *out)
{
    galv_text_append(out, "Plan and simulate hybrid-parallel transformer training. "
                          "No GPU needed.\n");
    galv_text_append(
        out,
        "\nExamples\n"
        "  galvatron-sim --nodes 64                        the best plans for 64 "
        "nodes\n"
        "  galvatron-sim -m gpt3-175b -c dgx-a100 -n 128   another model and cluster\n"
        "  galvatron-sim sweep -n 8..512:x2                how it scales\n"
        "  galvatron-sim --nodes 64 -o out                 write plan, trace, picture\n"
        "  galvatron-sim explain out/plan.json             where the time goes\n");
    galv_text_append(out, "\nCommands\n");
    for (size_t i = 0; i < GALV_N_COMMANDS; i++) {
        const galv_command *c = &galv_commands[i];
        galv_text_printf(out, "  %-12s %s\n", c->name, c->summary);
    }
}

void galv_help_short(galv_text *out, const galv_command *command)
{
    append_usage(out, command);
    if (command == NULL) {
        append_program(out);
        galv_text_append(out, "\nMore: galvatron-sim help COMMAND, galvatron-sim help "
                              "units, galvatron-sim --help\n");
        return;
    }
    galv_text_printf(out, "%c%s.\n", command->summary[0] & ~0x20, command->summary + 1);
    append_examples(out, command);
    galv_text_append(out, "\nOptions\n");
    galv_text line = GALV_TEXT_INIT;
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        if (galv_option_fits(&galv_options[i], command)) {
            galv_text_printf(&line, "%s--%s", line.length > 0 ? " " : "",
                             galv_options[i].name);
        }
    }
    galv_help_wrap(out, galv_text_string(&line), 2, WIDTH);
    galv_text_release(&line);
    galv_text_printf(out, "\nMore: galvatron-sim help %s\n", command->name);
}

/* "  -n, --nodes N" then, from column 27, what it means. */
static void append_option(galv_text *out, const galv_option *option)
{
    char head[80];
    char letter[8] = "    ";
    if (option->letter != 0) {
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    }
    snprintf(head, sizeof head, "  %s--%s%s%s", letter, option->name,
             option->argument != NULL ? " " : "",
             option->argument != NULL ? option->argument : "");
    galv_text body = GALV_TEXT_INIT;
    galv_text_append(&body, option->meaning);
    if (option->words != NULL) {
        galv_text_printf(&body, ": %s", option->words);
    }
    if (option->repeatable) {
        galv_text_append(&body, " (repeatable)");
    }
    if (option->standard != NULL) {
        galv_text_printf(&body, " [%s]", option->standard);
    }
    galv_text wrapped = GALV_TEXT_INIT;
    galv_help_wrap(&wrapped, galv_text_string(&body), 28, WIDTH);
    const char *text = galv_text_string(&wrapped);
    if (strlen(head) < 27) {
        galv_text_printf(out, "%-28s%s", head, text + 28);
    } else {
        galv_text_printf(out, "%s\n%s", head, text);
    }
    galv_text_release(&wrapped);
    galv_text_release(&body);
}

static void append_options(galv_text *out, const galv_command *command)
{
    for (int group = 0; group < GALV_N_OPTION_GROUPS; group++) {
        bool titled = false;
        for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
            const galv_option *option = &galv_options[i];
            if ((int)option->group != group || !galv_option_fits(option, command)) {
                continue;
            }
            if (!titled) {
                galv_text_printf(out, "\n%s\n", galv_option_group_titles[group]);
                titled = true;
            }
            append_option(out, option);
        }
    }
}

void galv_help_long(galv_text *out, const galv_command *command)
{
    append_usage(out, command);
    if (command == NULL) {
        append_program(out);
        galv_text_append(out, "\nWithout a command (options only) it plans. ");
        galv_text_append(out, "The options of that:\n");
        append_options(out, &galv_commands[GALV_COMMAND_PLAN]);
        galv_text_append(out, "\nMore: galvatron-sim help COMMAND\n");
        galv_text_append(out, "      galvatron-sim help units|exit-codes|formats\n");
        return;
    }
    galv_text_append_char(out, '\n');
    galv_help_wrap(out, command->description, 0, WIDTH);
    append_examples(out, command);
    if (!galv_command_hands_over(command)) {
        append_options(out, command);
    }
}
