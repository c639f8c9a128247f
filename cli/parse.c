/* From words to settings.
 *
 * The grammar: options may stand before or after the command; "--name value" and
 * "--name=value" are the same, and so are "-n 64" and "-n64"; letters of flags may be
 * joined ("-qh"); "--" ends the options; "-" alone is an argument (standard input). The
 * first word that is no option is the command; without one the command is `plan`, which
 * takes options only, so a mistyped command is never taken for a file. Names are never
 * matched by their beginning. An option given twice has its last value, except those
 * that collect. The C library's getopt_long does none of the suggesting and matches
 * abbreviations, so it is not used. */
#include "cli/parse.h"

#include "base/file.h"
#include "base/text.h"
#include "base/units.h"
#include "base/words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- errors ---- */

static galv_status unknown_command(const char *word, galv_err *err)
{
    const char *names[GALV_N_COMMANDS];
    for (size_t i = 0; i < GALV_N_COMMANDS; i++) {
        names[i] = galv_commands[i].name;
    }
    galv_fail(err, GALV_USAGE, "unknown command '%.64s'", word);
    if (galv_is_file(word)) {
        galv_hint(err, "for a file: galvatron-sim simulate %.200s", word);
    }
    const char *near = galv_word_nearest(names, GALV_N_COMMANDS, word);
    if (near != NULL) {
        galv_hint(err, "did you mean '%s'?", near);
    }
    galv_hint(err, "the commands: galvatron-sim help");
    return GALV_USAGE;
}

/* Suggests among the options of the command first, then among all of them. */
static galv_status unknown_option(const galv_cli *cli, const char *name, galv_err *err)
{
    const char *names[GALV_N_OPTIONS];
    size_t n_names = 0;
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        if (galv_option_fits(&galv_options[i], cli->command)) {
            names[n_names++] = galv_options[i].name;
        }
    }
    galv_fail(err, GALV_USAGE, "unknown option '--%.64s'", name);
    const char *near = galv_word_nearest(names, n_names, name);
    if (near == NULL) {
        for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
            names[i] = galv_options[i].name;
        }
        near = galv_word_nearest(names, GALV_N_OPTIONS, name);
    }
    if (near != NULL) {
        galv_hint(err, "did you mean '--%s'?", near);
    }
    galv_hint(err, "its options: galvatron-sim help %s", cli->command->name);
    return GALV_USAGE;
}

static galv_status misplaced_option(const galv_cli *cli, const galv_option *option,
                                    galv_err *err)
{
    galv_fail(err, GALV_USAGE, "'%s' takes no option '--%s'", cli->command->name,
              option->name);
    galv_text takers = GALV_TEXT_INIT;
    for (size_t i = 0; i < GALV_N_COMMANDS; i++) {
        if (galv_option_fits(option, &galv_commands[i])) {
            galv_text_printf(&takers, "%s%s", takers.length > 0 ? ", " : "",
                             galv_commands[i].name);
        }
    }
    galv_hint(err, "'--%s' belongs to: %s", option->name, galv_text_string(&takers));
    galv_text_release(&takers);
    return GALV_USAGE;
}

galv_status galv_cli_blame(const galv_cli *cli, galv_option_id id, const char *value,
                           galv_err *err)
{
    (void)cli;
    char message[sizeof err->message];
    snprintf(message, sizeof message, "%s", err->message);
    /* The printed part is bounded so that a long value cannot hide the reason. */
    snprintf(err->message, sizeof err->message, "--%s %.64s: %.380s",
             galv_options[id].name, value[0] != '\0' ? value : "''", message);
    err->status = GALV_USAGE;
    return GALV_USAGE;
}

/* ---- words to settings ---- */

typedef struct reader {
    galv_cli *cli;
    int n_words;
    const char *const *words;
    int next;
    bool options_ended;
} reader;

static galv_status take(reader *r, const galv_option *option, const char *value,
                        bool by_letter, galv_err *err)
{
    if (option->argument != NULL && value == NULL) {
        const char *next = r->next < r->n_words ? r->words[r->next] : NULL;
        bool is_other = next != NULL && strncmp(next, "--", 2) == 0 &&
                        galv_option_named(next + 2) != NULL;
        if (next == NULL || is_other) {
            galv_fail(err, GALV_USAGE, "option '--%s' needs a value", option->name);
            galv_hint(err, "for example: %s", option->example);
            return GALV_USAGE;
        }
        value = r->words[r->next++];
    }
    if (option->argument == NULL && value != NULL) {
        galv_fail(err, GALV_USAGE, "option '--%s' takes no value", option->name);
        return GALV_USAGE;
    }
    galv_cli *cli = r->cli;
    cli->settings[cli->n_settings++] =
        (galv_setting){option, value == NULL ? "" : value, by_letter};
    return GALV_OK;
}

static galv_status take_long(reader *r, const char *word, galv_err *err)
{
    const char *equals = strchr(word, '=');
    size_t length = equals == NULL ? strlen(word) : (size_t)(equals - word);
    char name[80];
    snprintf(name, sizeof name, "%.*s", (int)(length < 79 ? length : 79), word);
    const galv_option *option = galv_option_named(name);
    if (option == NULL) {
        return unknown_option(r->cli, name, err);
    }
    return take(r, option, equals == NULL ? NULL : equals + 1, false, err);
}

static galv_status take_letters(reader *r, const char *word, galv_err *err)
{
    for (const char *letter = word; *letter != '\0'; letter++) {
        const galv_option *option = galv_option_lettered(*letter);
        if (option == NULL) {
            galv_fail(err, GALV_USAGE, "unknown option '-%c'", *letter);
            if (galv_option_named(word) != NULL) {
                galv_hint(err, "did you mean '--%s'?", word);
            }
            galv_hint(err, "its options: galvatron-sim help %s", r->cli->command->name);
            return GALV_USAGE;
        }
        if (option->argument != NULL) {
            const char *rest = letter[1] != '\0' ? letter + 1 : NULL;
            return take(r, option, rest, true, err);
        }
        galv_status status = take(r, option, NULL, true, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

static bool is_option(const reader *r, const char *word)
{
    return !r->options_ended && word[0] == '-' && word[1] != '\0';
}

/* The command decides which options are meant, so it is looked for first. */
static galv_status find_command(galv_cli *cli, int n_words, const char *const *words,
                                galv_err *err)
{
    const char *unknown = NULL; /* its value would be taken for the command */
    cli->command = &galv_commands[GALV_COMMAND_PLAN];
    cli->bare = true;
    for (int i = 0; i < n_words; i++) {
        const char *word = words[i];
        if (strcmp(word, "--") == 0) {
            return GALV_OK;
        }
        if (word[0] != '-' || word[1] == '\0') {
            const galv_command *command = galv_command_named(word);
            if (command == NULL) {
                return unknown != NULL ? unknown_option(cli, unknown, err)
                                       : unknown_command(word, err);
            }
            cli->command = command;
            cli->bare = false;
            cli->n_handed = (size_t)(n_words - i - 1);
            cli->handed = words + i + 1;
            return GALV_OK;
        }
        const galv_option *option = NULL;
        if (word[1] == '-') {
            bool joined = strchr(word, '=') != NULL;
            option = joined ? NULL : galv_option_named(word + 2);
            unknown = joined || option != NULL ? unknown : word + 2;
        } else if (strlen(word) == 2) {
            option = galv_option_lettered(word[1]);
        }
        if (option != NULL && option->argument != NULL) {
            i++;
        }
    }
    return GALV_OK;
}

static galv_status check_settings(const galv_cli *cli, galv_err *err)
{
    for (size_t i = 0; i < cli->n_settings; i++) {
        if (!galv_option_fits(cli->settings[i].option, cli->command)) {
            return misplaced_option(cli, cli->settings[i].option, err);
        }
    }
    return GALV_OK;
}

/* Two that ask for different things: one of them would be ignored. */
static galv_status check_pairs(const galv_cli *cli, galv_err *err)
{
    static const galv_option_id pairs[][2] = {
        {GALV_OPTION_JSON, GALV_OPTION_CSV},
        {GALV_OPTION_LAYER_WISE, GALV_OPTION_UNIFORM},
        {GALV_OPTION_FRONT, GALV_OPTION_PHASES},
        {GALV_OPTION_FRONT, GALV_OPTION_OBSERVED},
        {GALV_OPTION_FRONT, GALV_OPTION_DRY_RUN},
        {GALV_OPTION_FRONT, GALV_OPTION_TOP},
        {GALV_OPTION_FRONT, GALV_OPTION_GALVATRON_PROFILE},
        {GALV_OPTION_PHASES, GALV_OPTION_OBSERVED},
        {GALV_OPTION_PHASES, GALV_OPTION_DRY_RUN},
        {GALV_OPTION_PHASES, GALV_OPTION_CSV},
        {GALV_OPTION_PHASES, GALV_OPTION_GALVATRON_PROFILE},
        {GALV_OPTION_CSV, GALV_OPTION_GALVATRON_PROFILE},
        {GALV_OPTION_DRY_RUN, GALV_OPTION_GALVATRON_PROFILE},
        {GALV_OPTION_TOP, GALV_OPTION_GALVATRON_PROFILE},
        {GALV_OPTION_OBSERVED, GALV_OPTION_DRY_RUN},
        {GALV_OPTION_OBSERVED, GALV_OPTION_CSV},
        {GALV_OPTION_OBSERVED, GALV_OPTION_GALVATRON_PROFILE},
    };
    /* plan alone: simulate says what Galvatron's model makes of it beside the rest */
    bool plans_for_galvatron = cli->command->id == GALV_COMMAND_PLAN;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (pairs[i][1] == GALV_OPTION_GALVATRON_PROFILE && !plans_for_galvatron) {
            continue;
        }
        if (galv_cli_given(cli, pairs[i][0]) && galv_cli_given(cli, pairs[i][1])) {
            return galv_fail(err, GALV_USAGE, "--%s and --%s do not go together",
                             galv_options[pairs[i][0]].name,
                             galv_options[pairs[i][1]].name);
        }
    }
    return GALV_OK;
}

static galv_status check_arguments(const galv_cli *cli, galv_err *err)
{
    const galv_command *command = cli->command;
    int n = (int)cli->n_arguments;
    if (galv_cli_given(cli, GALV_OPTION_HELP)) {
        return GALV_OK;
    }
    if (command->max_arguments >= 0 && n > command->max_arguments) {
        galv_fail(err, GALV_USAGE, "'%s': unexpected argument '%.64s'", command->name,
                  cli->arguments[command->max_arguments]);
        galv_hint(err, "usage: galvatron-sim %s%s%s [OPTIONS]", command->name,
                  command->arguments[0] != '\0' ? " " : "", command->arguments);
        return GALV_USAGE;
    }
    if (n < command->min_arguments) {
        galv_fail(err, GALV_USAGE, "'%s' needs %s", command->name, command->arguments);
        galv_hint(err, "for example: %s", command->examples[0][0]);
        return GALV_USAGE;
    }
    return GALV_OK;
}

galv_status galv_cli_parse(galv_cli *cli, int n_words, const char *const *words,
                           galv_err *err)
{
    size_t room = (size_t)n_words;
    for (int i = 0; i < n_words; i++) {
        room += strlen(words[i]); /* joined letters: one setting each at most */
    }
    cli->n_typed = (size_t)n_words;
    cli->n_settings = 0;
    cli->n_arguments = 0;
    cli->settings = GALV_NEW_ARRAY(cli->arena, galv_setting, room + 1);
    cli->arguments = GALV_NEW_ARRAY(cli->arena, const char *, room + 1);
    if (cli->settings == NULL || cli->arguments == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = find_command(cli, n_words, words, err);
    if (status != GALV_OK) {
        return status;
    }
    reader r = {cli, n_words, words, 0, false};
    bool command_seen = cli->bare;
    while (r.next < n_words && status == GALV_OK) {
        const char *word = words[r.next++];
        if (!r.options_ended && strcmp(word, "--") == 0) {
            r.options_ended = true;
        } else if (is_option(&r, word)) {
            if (galv_command_hands_over(cli->command) && strcmp(word, "--help") != 0 &&
                strcmp(word, "-h") != 0) {
                continue; /* the executor knows its options */
            }
            status = word[1] == '-' ? take_long(&r, word + 2, err)
                                    : take_letters(&r, word + 1, err);
        } else if (!command_seen) {
            command_seen = true;
        } else {
            cli->arguments[cli->n_arguments++] = word;
        }
    }
    if (status == GALV_OK) {
        status = check_settings(cli, err);
    }
    if (status == GALV_OK) {
        status = check_pairs(cli, err);
    }
    return status == GALV_OK ? check_arguments(cli, err) : status;
}

/* ---- values ---- */

const char *galv_cli_value(const galv_cli *cli, galv_option_id id)
{
    for (size_t i = cli->n_settings; i > 0; i--) {
        if (cli->settings[i - 1].option->id == id) {
            return cli->settings[i - 1].value;
        }
    }
    return NULL;
}

bool galv_cli_given(const galv_cli *cli, galv_option_id id)
{
    return galv_cli_value(cli, id) != NULL;
}

const char *galv_cli_repeated(const galv_cli *cli, galv_option_id id, size_t i)
{
    for (size_t k = 0; k < cli->n_settings; k++) {
        if (cli->settings[k].option->id == id && i-- == 0) {
            return cli->settings[k].value;
        }
    }
    return NULL;
}

galv_status galv_cli_count(int64_t *value, const galv_cli *cli, galv_option_id id,
                           int64_t low, int64_t high, galv_err *err)
{
    const char *text = galv_cli_value(cli, id);
    if (text == NULL || galv_parse_count(value, text, low, high, err) == GALV_OK) {
        return GALV_OK;
    }
    return galv_cli_blame(cli, id, text, err);
}

galv_status galv_cli_number(double *value, const galv_cli *cli, galv_option_id id,
                            double low, double high, galv_err *err)
{
    const char *text = galv_cli_value(cli, id);
    if (text == NULL) {
        return GALV_OK;
    }
    double number = 0;
    if (galv_parse_number(&number, text, err) == GALV_OK) {
        if (number >= low && number <= high) {
            *value = number;
            return GALV_OK;
        }
        galv_fail(err, GALV_USAGE, "must be from %g to %g", low, high);
    }
    return galv_cli_blame(cli, id, text, err);
}

galv_status galv_cli_seconds(double *value_s, const galv_cli *cli, galv_option_id id,
                             galv_err *err)
{
    const char *text = galv_cli_value(cli, id);
    if (text == NULL || galv_parse_duration(value_s, text, err) == GALV_OK) {
        return GALV_OK;
    }
    return galv_cli_blame(cli, id, text, err);
}

/* Less is a mistake in the unit. */
#define LEAST_MEMORY 1048576

galv_status galv_cli_time_limit(double *value_s, const galv_cli *cli, galv_err *err)
{
    const char *text = galv_cli_value(cli, GALV_OPTION_TIME_LIMIT);
    galv_status status = galv_cli_seconds(value_s, cli, GALV_OPTION_TIME_LIMIT, err);
    if (status == GALV_OK && text != NULL && !(*value_s > 0)) {
        galv_fail(err, GALV_USAGE, "must be more than nothing");
        return galv_cli_blame(cli, GALV_OPTION_TIME_LIMIT, text, err);
    }
    return status;
}

galv_status galv_cli_memory(double *value_bytes, const galv_cli *cli, const char *text,
                            galv_err *err)
{
    uint64_t bytes = 0;
    if (galv_parse_bytes(&bytes, text, err) == GALV_OK) {
        if (bytes >= LEAST_MEMORY) {
            *value_bytes = (double)bytes;
            return GALV_OK;
        }
        galv_fail(err, GALV_USAGE, "%llu bytes are less than any GPU has",
                  (unsigned long long)bytes);
        galv_hint(err, "with its unit: 80GiB, or 80GB");
    }
    return galv_cli_blame(cli, GALV_OPTION_MEMORY_LIMIT, text, err);
}

galv_status galv_cli_bytes(double *value_bytes, const galv_cli *cli, galv_option_id id,
                           galv_err *err)
{
    const char *text = galv_cli_value(cli, id);
    if (text == NULL) {
        return GALV_OK;
    }
    uint64_t bytes = 0;
    if (galv_parse_bytes(&bytes, text, err) == GALV_OK) {
        if (bytes > 0) {
            *value_bytes = (double)bytes;
            return GALV_OK;
        }
        galv_fail(err, GALV_USAGE, "must be more than nothing");
    }
    return galv_cli_blame(cli, id, text, err);
}

galv_status galv_cli_counts(int64_t *values, size_t *n_values, size_t capacity,
                            const galv_cli *cli, galv_option_id id, int64_t low,
                            int64_t high, galv_err *err)
{
    const char *text = galv_cli_value(cli, id);
    if (text == NULL || galv_parse_counts(values, n_values, capacity, text, low, high,
                                          err) == GALV_OK) {
        return GALV_OK;
    }
    return galv_cli_blame(cli, id, text, err);
}

static galv_status find_word(int *index, const galv_cli *cli, galv_option_id id,
                             const char *word, const char *const words[],
                             size_t n_words, galv_err *err)
{
    int found = galv_word_index(words, n_words, word);
    if (found >= 0) {
        *index = found;
        return GALV_OK;
    }
    galv_fail(err, GALV_USAGE, "unknown word '%.64s'", word);
    if (strlen(word) > 1) { /* one letter is near to everything */
        galv_hint_words(err, words, n_words, word);
    }
    galv_text all = GALV_TEXT_INIT;
    for (size_t i = 0; i < n_words; i++) {
        galv_text_printf(&all, "%s%s", i > 0 ? ", " : "", words[i]);
    }
    galv_hint(err, "one of: %s", galv_text_string(&all));
    galv_text_release(&all);
    return galv_cli_blame(cli, id, galv_cli_value(cli, id), err);
}

galv_status galv_cli_word(int *index, const galv_cli *cli, galv_option_id id,
                          const char *const words[], size_t n_words, galv_err *err)
{
    const char *text = galv_cli_value(cli, id);
    if (text == NULL) {
        return GALV_OK;
    }
    return find_word(index, cli, id, text, words, n_words, err);
}

galv_status galv_cli_split(const char ***items, size_t *n_items, const galv_cli *cli,
                           galv_option_id id, galv_err *err)
{
    const char *text = galv_cli_value(cli, id);
    *n_items = 0;
    if (text == NULL) {
        return GALV_OK;
    }
    char *copy = galv_arena_strdup(cli->arena, text);
    const char **list = GALV_NEW_ARRAY(cli->arena, const char *, strlen(text) + 1);
    if (copy == NULL || list == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n = 0;
    for (char *item = copy; item != NULL;) {
        char *comma = strchr(item, ',');
        if (comma != NULL) {
            *comma = '\0';
        }
        if (*item == '\0') {
            galv_fail(err, GALV_USAGE, "an item of the list is empty");
            return galv_cli_blame(cli, id, text, err);
        }
        list[n++] = item;
        item = comma == NULL ? NULL : comma + 1;
    }
    *items = list;
    *n_items = n;
    return GALV_OK;
}

galv_status galv_cli_words(int64_t *indices, size_t *n_indices, size_t capacity,
                           const galv_cli *cli, galv_option_id id,
                           const char *const words[], size_t n_words, galv_err *err)
{
    const char **items = NULL;
    size_t n_items = 0;
    galv_status status = galv_cli_split(&items, &n_items, cli, id, err);
    if (status != GALV_OK || !galv_cli_given(cli, id)) {
        return status;
    }
    size_t n = 0;
    for (size_t i = 0; i < n_items; i++) {
        int index = 0;
        status = find_word(&index, cli, id, items[i], words, n_words, err);
        if (status != GALV_OK) {
            return status;
        }
        bool repeated = false;
        for (size_t k = 0; k < n; k++) {
            repeated = repeated || indices[k] == index;
        }
        if (!repeated && n < capacity) {
            indices[n++] = index;
        }
    }
    *n_indices = n;
    return GALV_OK;
}
