/* The manual pages, as roff with the man macros.
 *
 * One page for the program and one for each command. There is no date in the head: the
 * same source gives the same page. */
#include "cli/help.h"

#include <string.h>

/* Text of roff: a line must not begin with a dot or an apostrophe, a backslash is
 * doubled, and a hyphen that can be typed is \-. */
static void append_roff(galv_text *out, const char *text)
{
    bool line_begins = true;
    for (const char *at = text; *at != '\0'; at++) {
        /* Sentences begin on lines of their own, as is the custom in roff. */
        if (*at == ' ' && at > text && at[-1] == '.' && at[1] >= 'A' && at[1] <= 'Z') {
            galv_text_append_char(out, '\n');
            line_begins = true;
            continue;
        }
        if (line_begins && (*at == '.' || *at == '\'')) {
            galv_text_append(out, "\\&");
        }
        if (*at == '\\') {
            galv_text_append(out, "\\e");
        } else if (*at == '-') {
            galv_text_append(out, "\\-");
        } else if (*at == '\n') {
            galv_text_append(out, "\n.PP\n");
        } else {
            galv_text_append_char(out, *at);
        }
        line_begins = *at == '\n';
    }
}

static void append_option(galv_text *out, const galv_option *option)
{
    galv_text_append(out, ".TP\n");
    if (option->letter != 0) {
        galv_text_printf(out, "\\fB\\-%c\\fR, ", option->letter);
    }
    galv_text_append(out, "\\fB\\-\\-");
    append_roff(out, option->name);
    galv_text_append(out, "\\fR");
    if (option->argument != NULL) {
        galv_text_printf(out, " \\fI%s\\fR", option->argument);
    }
    galv_text_append_char(out, '\n');
    append_roff(out, option->meaning);
    galv_text_append(out, ".\n");
    if (option->words != NULL) {
        galv_text_append(out, "One of: ");
        append_roff(out, option->words);
        galv_text_append(out, ".\n");
    }
    if (option->standard != NULL) {
        galv_text_append(out, "Default: ");
        append_roff(out, option->standard);
        galv_text_append(out, ".\n");
    }
    if (option->repeatable) {
        galv_text_append(out, "May be given several times.\n");
    }
    galv_text_append(out, "Example: \\fB");
    append_roff(out, option->example);
    galv_text_append(out, "\\fR\n");
}

static void append_options(galv_text *out, const galv_command *command)
{
    galv_text_append(out, ".SH OPTIONS\n");
    for (int group = 0; group < GALV_N_OPTION_GROUPS; group++) {
        bool titled = false;
        for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
            if ((int)galv_options[i].group != group ||
                !galv_option_fits(&galv_options[i], command)) {
                continue;
            }
            if (!titled) {
                galv_text_printf(out, ".SS %s\n", galv_option_group_titles[group]);
                titled = true;
            }
            append_option(out, &galv_options[i]);
        }
    }
}

static void append_examples(galv_text *out, const galv_command *command)
{
    if (command->examples[0][0] == NULL) {
        return;
    }
    galv_text_append(out, ".SH EXAMPLES\n");
    for (size_t i = 0; i < GALV_MAX_EXAMPLES && command->examples[i][0] != NULL; i++) {
        galv_text_append(out, ".TP\n\\fB");
        append_roff(out, command->examples[i][0]);
        galv_text_append(out, "\\fR\n");
        append_roff(out, command->examples[i][1]);
        galv_text_append_char(out, '\n');
    }
}

static void append_topic(galv_text *out, const char *title, const char *topic)
{
    galv_text_printf(out, ".SH %s\n.nf\n", title);
    const char *text = galv_help_topic(topic);
    for (const char *at = text; *at != '\0'; at++) {
        /* The first line repeats the title. */
        if (at == text) {
            at += strcspn(at, "\n");
        }
        switch (*at) {
        case '-':
            galv_text_append(out, "\\-");
            break;
        case '\\':
            galv_text_append(out, "\\e");
            break;
        default:
            galv_text_append_char(out, *at);
            break;
        }
    }
    galv_text_append(out, ".fi\n");
}

static void append_head(galv_text *out, const char *suffix, const char *summary)
{
    galv_text_append(out, ".TH GALVATRON\\-SIM");
    for (const char *at = suffix; *at != '\0'; at++) {
        galv_text_append_char(out,
                              *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at);
    }
    galv_text_printf(out, " 1 \"\" \"galvatron\\-sim %s\" \"galvatron\\-sim manual\"\n",
                     GALV_VERSION);
    galv_text_printf(out, ".SH NAME\ngalvatron\\-sim%s \\- ", suffix);
    append_roff(out, summary);
    galv_text_append_char(out, '\n');
}

static void append_command_page(galv_text *out, const galv_command *command)
{
    galv_text suffix = GALV_TEXT_INIT;
    galv_text_printf(&suffix, "\\-%s", command->name);
    append_head(out, galv_text_string(&suffix), command->summary);
    galv_text_release(&suffix);
    galv_text_printf(out, ".SH SYNOPSIS\n.B galvatron\\-sim %s\n", command->name);
    if (command->arguments[0] != '\0') {
        append_roff(out, command->arguments);
        galv_text_append_char(out, '\n');
    }
    galv_text_append(out, "[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n");
    append_roff(out, command->description);
    galv_text_append_char(out, '\n');
    append_options(out, command);
    append_examples(out, command);
    galv_text_append(out, ".SH SEE ALSO\n.BR galvatron\\-sim (1)\n");
}

static void append_program_page(galv_text *out)
{
    append_head(out, "", "plan and simulate hybrid-parallel transformer training");
    galv_text_append(out, ".SH SYNOPSIS\n.B galvatron\\-sim\n[\\fIOPTIONS\\fR]\n.br\n"
                          ".B galvatron\\-sim\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR] "
                          "[\\fIFILES\\fR]\n");
    galv_text_append(out, ".SH DESCRIPTION\n");
    append_roff(out, "Finds the fastest parallel plan for training a transformer on a "
                     "cluster of GPUs and simulates it, operation by operation: how "
                     "long an iteration takes, how much memory it needs, where the "
                     "time goes. No GPU is needed. Without a command, options alone "
                     "mean plan.");
    galv_text_append_char(out, '\n');
    galv_text_append(out, ".SH COMMANDS\n");
    for (size_t i = 0; i < GALV_N_COMMANDS; i++) {
        galv_text_printf(out, ".TP\n\\fB%s\\fR\n", galv_commands[i].name);
        append_roff(out, galv_commands[i].summary);
        galv_text_append_char(out, '\n');
    }
    append_options(out, &galv_commands[GALV_COMMAND_PLAN]);
    append_topic(out, "UNITS", "units");
    append_topic(out, "EXIT STATUS", "exit-codes");
    append_topic(out, "FILES", "formats");
    append_examples(out, &galv_commands[GALV_COMMAND_PLAN]);
    galv_text_append(out, ".SH ENVIRONMENT\n.TP\n\\fBNO_COLOR\\fR\nWhen set and not "
                          "empty, no colour.\n.TP\n\\fBLC_ALL\\fR, \\fBLC_CTYPE\\fR, "
                          "\\fBLANG\\fR\nUTF\\-8 is printed only where these name "
                          "it.\n");
    galv_text_append(out, ".SH SEE ALSO\n");
    bool first = true;
    for (size_t i = 0; i < GALV_N_COMMANDS; i++) {
        if (galv_commands[i].run != NULL) {
            galv_text_printf(out, "%s.BR galvatron\\-sim\\-%s (1)", first ? "" : " ,\n",
                             galv_commands[i].name);
            first = false;
        }
    }
    galv_text_append_char(out, '\n');
}

void galv_help_man(galv_text *out, const galv_command *command)
{
    if (command != NULL) {
        append_command_page(out, command);
    } else {
        append_program_page(out);
    }
}
