/* galvatron-sim: parse, run the command, print what it gathered. */
#include "cli/help.h"
#include "cli/output.h"
#include "cli/parse.h"
#include "viz/figure.h"

#include <string.h>

static int show_help(const galv_cli *cli)
{
    bool brief = false;
    for (size_t i = 0; i < cli->n_settings; i++) {
        if (cli->settings[i].option->id == GALV_OPTION_HELP) {
            brief = cli->settings[i].by_letter;
        }
    }
    const galv_command *command = cli->bare ? NULL : cli->command;
    if (brief) {
        galv_help_short(cli->out, command);
    } else {
        galv_help_long(cli->out, command);
    }
    return 0;
}

static int run(const galv_cli *cli)
{
    if (galv_cli_given(cli, GALV_OPTION_HELP)) {
        return show_help(cli);
    }
    if (galv_cli_given(cli, GALV_OPTION_VERSION)) {
        return galv_cmd_version(cli);
    }
    return cli->command->run(cli);
}

int main(int argc, char **argv)
{
    galv_text out = GALV_TEXT_INIT;
    bool out_is_data = false;
    galv_cli cli = {.out = &out, .out_is_data = &out_is_data};
    galv_err err = GALV_ERR_INIT;
    cli.terminal = galv_terminal_look(NULL, NULL);
    cli.command = &galv_commands[GALV_COMMAND_PLAN];
    cli.arena = galv_arena_new();
    int code = 0;
    if (cli.arena == NULL) {
        galv_fail(&err, GALV_NO_MEMORY, "out of memory");
        code = galv_cli_fail(&cli, &err);
    } else {
        galv_status status =
            galv_cli_parse(&cli, argc > 0 ? argc - 1 : 0,
                           argc > 0 ? (const char *const *)argv + 1 : NULL, &err);
        static const char *const whens[] = {"auto", "always", "never"};
        int when = 0;
        if (status == GALV_OK) {
            status = galv_cli_word(&when, &cli, GALV_OPTION_COLOR, whens, 3, &err);
        }
        if (status == GALV_OK) {
            status = galv_cli_word(&when, &cli, GALV_OPTION_PROGRESS, whens, 3, &err);
        }
        cli.terminal = galv_terminal_look(galv_cli_value(&cli, GALV_OPTION_COLOR),
                                          galv_cli_value(&cli, GALV_OPTION_PROGRESS));
        code = status == GALV_OK ? run(&cli) : galv_cli_fail(&cli, &err);
    }
    code = galv_cli_flush(&cli, code);
    galv_text_release(&out);
    galv_arena_free(cli.arena);
    galv_viz_shutdown();
    return code;
}
