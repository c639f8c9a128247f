/* help, version, completion: what needs no job. */
#include "base/words.h"
#include "cli/help.h"
#include "cli/output.h"

#include <string.h>

static galv_status unknown_topic(const char *name, galv_err *err)
{
    const char *names[GALV_N_COMMANDS + 8];
    size_t n = 0;
    for (; n < GALV_N_COMMANDS; n++) {
        names[n] = galv_commands[n].name;
    }
    for (size_t i = 0; galv_help_topics[i] != NULL; i++) {
        names[n++] = galv_help_topics[i];
    }
    galv_fail(err, GALV_USAGE, "no help on '%.64s'", name);
    galv_hint_words(err, names, n, name);
    galv_hint(err, "what there is: galvatron-sim help");
    return GALV_USAGE;
}

int galv_cmd_help(const galv_cli *cli)
{
    const char *name = cli->n_arguments > 0 ? cli->arguments[0] : NULL;
    const galv_command *command = name == NULL ? NULL : galv_command_named(name);
    bool man = galv_cli_given(cli, GALV_OPTION_MAN);
    if (name != NULL && command == NULL) {
        const char *topic = man ? NULL : galv_help_topic(name);
        if (topic == NULL) {
            galv_err err = GALV_ERR_INIT;
            unknown_topic(name, &err);
            return galv_cli_fail(cli, &err);
        }
        galv_text_append(cli->out, topic);
        return 0;
    }
    if (man) {
        *cli->out_is_data = true;
        galv_help_man(cli->out, command);
    } else if (name == NULL) {
        galv_help_short(cli->out, NULL);
    } else {
        galv_help_long(cli->out, command);
    }
    return 0;
}

int galv_cmd_version(const galv_cli *cli)
{
    /* --version stands for the command wherever it is typed. */
    if (!galv_cli_given(cli, GALV_OPTION_JSON)) {
        galv_print(cli, "galvatron-sim %s\n", GALV_VERSION);
        return 0;
    }
    galv_json_writer writer;
    galv_err err = GALV_ERR_INIT;
    galv_cli_begin_json(cli, &writer, "version");
    galv_json_key_bool(&writer, "exec", false);
    if (galv_cli_end_json(cli, &writer, &err) != GALV_OK) {
        return galv_cli_fail(cli, &err);
    }
    return 0;
}

int galv_cmd_completion(const galv_cli *cli)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    const char *shell = cli->arguments[0];
    if (galv_word_index(shells, 3, shell) < 0) {
        galv_err err = GALV_ERR_INIT;
        galv_fail(&err, GALV_USAGE, "unknown shell '%.64s'", shell);
        galv_hint_words(&err, shells, 3, shell);
        return galv_cli_fail(cli, &err);
    }
    *cli->out_is_data = true;
    galv_help_completion(cli->out, shell);
    return 0;
}
