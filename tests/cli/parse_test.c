/* The grammar of the command line, and that the tables behind it are sound. */
#include "cli/parse.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(cli_parse);

typedef struct parsed {
    galv_cli cli;
    galv_text out;
    bool is_data;
    galv_err err;
    galv_status status;
} parsed;

/* Parses words parted by '|'; the result is used until the next parse. */
static void parse(parsed *p, const char *line)
{
    static char copy[512];
    static const char *words[64];
    int n = 0;
    memset(p, 0, sizeof *p);
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, "|"); word != NULL; word = strtok(NULL, "|")) {
        words[n++] = word;
    }
    p->cli.arena = galv_arena_new();
    p->cli.out = &p->out;
    p->cli.out_is_data = &p->is_data;
    p->status = galv_cli_parse(&p->cli, n, words, &p->err);
}

static void done(parsed *p)
{
    galv_arena_free(p->cli.arena);
    galv_text_release(&p->out);
}

Test(cli_parse, options_alone_mean_plan)
{
    parsed p;
    parse(&p, "--nodes|64");
    cr_expect_eq(p.status, GALV_OK);
    cr_expect(p.cli.bare);
    cr_expect_eq(p.cli.command->id, GALV_COMMAND_PLAN);
    cr_expect_str_eq(galv_cli_value(&p.cli, GALV_OPTION_NODES), "64");
    done(&p);
}

Test(cli_parse, four_spellings_of_an_option_are_the_same)
{
    static const char *const lines[] = {"plan|--nodes|64", "plan|--nodes=64",
                                        "plan|-n|64", "plan|-n64", "-n|64|plan"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        parsed p;
        parse(&p, lines[i]);
        cr_expect_eq(p.status, GALV_OK, "case %s: %s", lines[i], p.err.message);
        const char *value = galv_cli_value(&p.cli, GALV_OPTION_NODES);
        cr_expect(value != NULL && strcmp(value, "64") == 0, "case %s", lines[i]);
        done(&p);
    }
}

Test(cli_parse, the_last_of_two_values_wins_but_repeatable_ones_collect)
{
    parsed p;
    parse(&p, "-n|1|--set|a=1|-n|2|--set|b=2");
    cr_expect_str_eq(galv_cli_value(&p.cli, GALV_OPTION_NODES), "2");
    cr_expect_str_eq(galv_cli_repeated(&p.cli, GALV_OPTION_SET, 0), "a=1");
    cr_expect_str_eq(galv_cli_repeated(&p.cli, GALV_OPTION_SET, 1), "b=2");
    cr_expect_null(galv_cli_repeated(&p.cli, GALV_OPTION_SET, 2));
    done(&p);
}

Test(cli_parse, two_dashes_end_the_options_and_one_is_standard_input)
{
    parsed p;
    parse(&p, "simulate|-");
    cr_expect_eq(p.status, GALV_OK);
    cr_expect_str_eq(p.cli.arguments[0], "-");
    done(&p);
    parse(&p, "simulate|--|--odd.json");
    cr_expect_eq(p.status, GALV_OK);
    cr_expect_str_eq(p.cli.arguments[0], "--odd.json");
    done(&p);
}

Test(cli_parse, letters_of_flags_may_be_joined)
{
    parsed p;
    parse(&p, "plan|-qn8");
    cr_expect_eq(p.status, GALV_OK);
    cr_expect(galv_cli_given(&p.cli, GALV_OPTION_QUIET));
    cr_expect_str_eq(galv_cli_value(&p.cli, GALV_OPTION_NODES), "8");
    done(&p);
}

Test(cli_parse, nothing_is_matched_by_its_beginning)
{
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        char line[80];
        const char *name = galv_options[i].name;
        size_t length = strlen(name);
        if (length < 5) {
            continue;
        }
        snprintf(line, sizeof line, "plan|--%.*s", (int)length - 1, name);
        parsed p;
        parse(&p, line);
        cr_expect_eq(p.status, GALV_USAGE, "case %s", line);
        done(&p);
    }
}

Test(cli_parse, every_option_is_whole_and_stands_in_its_place)
{
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        const galv_option *o = &galv_options[i];
        cr_assert_not_null(o->name, "option %zu has no row", i);
        cr_expect_eq((size_t)o->id, i, "option %s", o->name);
        cr_expect(o->meaning != NULL && o->meaning[0] != '\0', "option %s", o->name);
        cr_expect(o->example != NULL, "option %s", o->name);
        cr_expect(o->commands != 0, "option %s belongs to no command", o->name);
        cr_expect_eq(galv_option_named(o->name), o, "option %s stands twice", o->name);
        if (o->letter != 0) {
            cr_expect_eq(galv_option_lettered(o->letter), o, "letter %c", o->letter);
        }
        cr_expect(strstr(o->example, o->name) != NULL || o->letter != 0,
                  "the example of %s does not show it", o->name);
        size_t end = strlen(o->meaning);
        cr_expect(o->meaning[end - 1] != '.', "meaning of %s ends in a stop", o->name);
    }
}

/* An example that the parser refuses would teach people errors. */
Test(cli_parse, every_example_of_every_option_parses)
{
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        const galv_option *o = &galv_options[i];
        for (size_t k = 0; k < GALV_N_COMMANDS; k++) {
            const galv_command *c = &galv_commands[k];
            if (galv_command_hands_over(c) || !galv_option_fits(o, c)) {
                continue;
            }
            char line[160];
            snprintf(line, sizeof line, "%s|%s", c->name, o->example);
            for (char *at = line; *at != '\0'; at++) {
                *at = *at == ' ' ? '|' : *at;
            }
            for (int n = 0; n < c->min_arguments; n++) {
                strncat(line, "|x", sizeof line - strlen(line) - 1);
            }
            parsed p;
            parse(&p, line);
            cr_expect_eq(p.status, GALV_OK, "case %s: %s", line, p.err.message);
            cr_expect(galv_cli_given(&p.cli, o->id), "case %s", line);
            done(&p);
        }
    }
}

Test(cli_parse, typed_values_name_the_option_in_their_errors)
{
    parsed p;
    int64_t top = 5;
    parse(&p, "plan|--top|many");
    cr_expect_eq(galv_cli_count(&top, &p.cli, GALV_OPTION_TOP, 1, 9, &p.err),
                 GALV_USAGE);
    cr_expect_eq(strncmp(p.err.message, "--top many: ", 12), 0, "%s", p.err.message);
    cr_expect_eq(top, 5, "the output was touched");
    done(&p);
}

Test(cli_parse, a_list_of_words_drops_repetitions_and_keeps_the_order)
{
    static const char *const words[] = {"none", "megatron", "ulysses"};
    int64_t found[8];
    size_t n = 0;
    parsed p;
    parse(&p, "--sp|ulysses,none,ulysses");
    cr_expect_eq(galv_cli_words(found, &n, 8, &p.cli, GALV_OPTION_SP, words, 3, &p.err),
                 GALV_OK);
    cr_expect_eq(n, 2);
    cr_expect_eq(found[0], 2);
    cr_expect_eq(found[1], 0);
    done(&p);
}
