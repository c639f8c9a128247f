/* Results, errors, warnings and files.
 *
 * Standard output carries the result and nothing else. It is written in one piece when
 * the command has ended well, so half a document is never piped on. Errors quote what
 * users typed and what files contain: control characters in there are replaced, so that
 * a hostile file cannot steer the terminal. */
#include "cli/output.h"

#include "base/csv.h"
#include "base/file.h"
#include "base/units.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void galv_print(const galv_cli *cli, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    galv_text_vprintf(cli->out, format, args);
    va_end(args);
}

/* ---- standard error ---- */

/* Appends text without control characters; '\n' begins an indented line. */
static void append_clean(galv_text *line, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '\n') {
            galv_text_append(line, "\n  ");
        } else {
            galv_text_append_char(line, c < 0x20 || c == 0x7F ? '?' : *at);
        }
    }
}

static void append_place(galv_text *line, const galv_err *err)
{
    if (err->file[0] == '\0') {
        return;
    }
    append_clean(line, strcmp(err->file, "-") == 0 ? "standard input" : err->file);
    if (err->line > 0) {
        galv_text_printf(line, ":%ld", err->line);
    }
    if (err->line > 0 && err->column > 0) {
        galv_text_printf(line, ":%ld", err->column);
    }
    galv_text_append(line, ": ");
}

/* One write, so that lines of several processes do not mix. */
static void say(const galv_text *line)
{
    if (!line->failed && line->length > 0) {
        fwrite(line->bytes, 1, line->length, stderr);
        fflush(stderr);
    }
}

static void say_error(const galv_cli *cli, const galv_err *err)
{
    bool color = cli->terminal.err_color;
    galv_text line = GALV_TEXT_INIT;
    galv_text_printf(&line, "galvatron-sim: %serror:%s ", color ? "\033[1;31m" : "",
                     color ? "\033[0m" : "");
    append_place(&line, err);
    append_clean(&line, err->message);
    galv_text_append_char(&line, '\n');
    if (err->hint[0] != '\0') {
        galv_text_append(&line, "  ");
        append_clean(&line, err->hint);
        galv_text_append_char(&line, '\n');
    }
    say(&line);
    galv_text_release(&line);
}

int galv_cli_conclude(const galv_cli *cli, const galv_err *err)
{
    if (err->status != GALV_OK) {
        say_error(cli, err);
    }
    return galv_status_exit_code(err->status);
}

int galv_cli_fail(const galv_cli *cli, const galv_err *err)
{
    galv_text_reset(cli->out);
    return galv_cli_conclude(cli, err);
}

galv_status galv_cli_warn(const galv_cli *cli, galv_err *err, const char *format, ...)
{
    char message[400];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (galv_cli_given(cli, GALV_OPTION_STRICT)) {
        galv_fail(err, GALV_INPUT, "%s", message);
        galv_hint(err, "a warning without --strict");
        return GALV_INPUT;
    }
    if (galv_cli_given(cli, GALV_OPTION_QUIET)) {
        return GALV_OK;
    }
    bool color = cli->terminal.err_color;
    galv_text line = GALV_TEXT_INIT;
    galv_text_printf(&line, "galvatron-sim: %swarning:%s ", color ? "\033[1;33m" : "",
                     color ? "\033[0m" : "");
    append_clean(&line, message);
    galv_text_append_char(&line, '\n');
    say(&line);
    galv_text_release(&line);
    return GALV_OK;
}

/* ---- standard output ---- */

static bool write_all(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(STDOUT_FILENO, bytes, length);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return false;
        }
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

int galv_cli_flush(const galv_cli *cli, int code)
{
    galv_err err = GALV_ERR_INIT;
    galv_text shown = GALV_TEXT_INIT;
    const galv_text *text = cli->out;
    if (!*cli->out_is_data && text->length > 0) {
        galv_terminal_append(&shown, &cli->terminal, galv_text_string(text));
        text = &shown;
    }
    if (cli->out->failed || text->failed) {
        galv_fail(&err, GALV_NO_MEMORY, "out of memory");
        code = galv_cli_conclude(cli, &err);
    } else if (!write_all(galv_text_string(text), text->length)) {
        if (errno != EPIPE) {
            galv_fail(&err, GALV_IO, "cannot write to standard output: %s",
                      strerror(errno));
            galv_cli_conclude(cli, &err);
        }
        code = galv_status_exit_code(GALV_IO);
    }
    galv_text_release(&shown);
    return code;
}

void galv_json_put_head(galv_json_writer *writer, const char *what)
{
    char schema[48];
    snprintf(schema, sizeof schema, "galvatron-sim/%s", what);
    galv_json_key_string(writer, "schema", schema);
    galv_json_key_string(writer, "schema_version", "1.0");
    galv_json_key_string(writer, "version", GALV_VERSION);
}

void galv_cli_begin_json(const galv_cli *cli, galv_json_writer *writer,
                         const char *what)
{
    *cli->out_is_data = true;
    galv_json_writer_init(writer, cli->out);
    galv_json_begin_object(writer, false);
    galv_json_put_head(writer, what);
}

galv_status galv_cli_end_json(const galv_cli *cli, galv_json_writer *writer,
                              galv_err *err)
{
    (void)cli;
    galv_json_end_object(writer);
    return galv_json_finish(writer, err);
}

/* ---- tables ---- */

void galv_cli_print_table(const galv_cli *cli, const galv_table *table)
{
    if (galv_cli_given(cli, GALV_OPTION_CSV)) {
        *cli->out_is_data = true;
        for (size_t i = 0; i < table->n_columns; i++) {
            char name[96];
            snprintf(name, sizeof name, "%s%s%s", table->columns[i].header,
                     table->columns[i].unit[0] != '\0' ? " " : "",
                     table->columns[i].unit);
            for (char *at = name; *at != '\0'; at++) {
                *at = strchr(" /$^", *at) != NULL ? '_' : *at;
            }
            galv_csv_put(cli->out, name, i == 0);
        }
        galv_text_append(cli->out, "\n");
        for (size_t cell = 0; cell < table->n_rows * table->n_columns; cell++) {
            const char *text = table->cells[cell] == NULL ? "" : table->cells[cell];
            galv_csv_put(cli->out, text, cell % table->n_columns == 0);
            if ((cell + 1) % table->n_columns == 0) {
                galv_text_append(cli->out, "\n");
            }
        }
        return;
    }
    int width = galv_cli_given(cli, GALV_OPTION_WIDE) ? 0 : cli->terminal.width;
    size_t left_out =
        galv_table_print(cli->out, table, width, galv_terminal_bold(&cli->terminal),
                         galv_terminal_plain(&cli->terminal));
    if (left_out > 0) {
        galv_print(cli, "%zu more column%s: --wide\n", left_out,
                   left_out > 1 ? "s" : "");
    }
}

void galv_csv_put_f64(galv_text *out, double value, bool first)
{
    char text[40] = "";
    if (isfinite(value)) {
        galv_print_exact(text, sizeof text, value);
    }
    galv_csv_put(out, text, first);
}

void galv_csv_put_i64(galv_text *out, int64_t value, bool first)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    galv_csv_put(out, text, first);
}

/* ---- files ---- */

static bool has_extension(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash == NULL ? path : slash + 1, '.');
    const char *name = slash == NULL ? path : slash + 1;
    return dot != NULL && dot != name && dot[1] != '\0';
}

static bool extension_is_known(const char *path, const char *extensions)
{
    const char *at = extensions;
    while (*at != '\0') {
        size_t length = strcspn(at, " ");
        char extension[16];
        snprintf(extension, sizeof extension, "%.*s", (int)length, at);
        if (galv_path_has_extension(path, extension)) {
            return true;
        }
        at += length + (at[length] == ' ' ? 1u : 0u);
    }
    return false;
}

/* What --output says, whether or not it can be written there. */
static galv_status name_target(galv_target *target, const galv_cli *cli,
                               const char *extensions, bool folder_allowed,
                               galv_err *err)
{
    *target = (galv_target){false, NULL, NULL};
    const char *path = galv_cli_value(cli, GALV_OPTION_OUTPUT);
    if (path == NULL) {
        return GALV_OK;
    }
    const char *first = galv_cli_repeated(cli, GALV_OPTION_OUTPUT, 0);
    if (strcmp(first, path) != 0) {
        galv_fail(err, GALV_USAGE, "--output is given twice: %.64s and %.64s", first,
                  path);
        galv_hint(err, "%s",
                  folder_allowed ? "one file, or a folder for all that can be written"
                                 : "one of them");
        return GALV_USAGE;
    }
    size_t length = strlen(path);
    bool is_folder = galv_is_folder(path) || (length > 0 && path[length - 1] == '/');
    if (length > 0 && !is_folder && extension_is_known(path, extensions)) {
        *target = (galv_target){true, NULL, path};
        return GALV_OK;
    }
    if (length > 0 && folder_allowed && (is_folder || !has_extension(path))) {
        *target = (galv_target){true, path, NULL};
        return GALV_OK;
    }
    if (length == 0) {
        galv_fail(err, GALV_USAGE, "--output is empty");
    } else {
        galv_fail(err, GALV_USAGE, "--output %.64s: not a kind of file that %s writes",
                  path, cli->command->name);
    }
    galv_hint(err, "known here: %s%s", extensions,
              !folder_allowed         ? ""
              : extensions[0] != '\0' ? ", or a folder"
                                      : "a folder");
    return GALV_USAGE;
}

galv_status galv_target_read(galv_target *target, const galv_cli *cli,
                             const char *extensions, bool folder_allowed, galv_err *err)
{
    galv_target named;
    galv_status status = name_target(&named, cli, extensions, folder_allowed, err);
    if (status == GALV_OK && named.file != NULL) {
        status = galv_file_check_place(named.file, err);
    } else if (status == GALV_OK && named.folder != NULL) {
        status = galv_folder_check_place(named.folder, err);
    }
    if (status == GALV_OK) {
        *target = named;
    }
    return status;
}

bool galv_target_is(const galv_target *target, const char *extension)
{
    return target->file != NULL && galv_path_has_extension(target->file, extension);
}

bool galv_target_is_picture(const galv_target *target)
{
    return galv_target_is(target, ".png") || galv_target_is(target, ".svg") ||
           galv_target_is(target, ".pdf");
}

void galv_cli_wrote(const galv_cli *cli, const char *path)
{
    if (galv_cli_given(cli, GALV_OPTION_QUIET)) {
        return;
    }
    galv_text line = GALV_TEXT_INIT;
    galv_text_append(&line, "wrote ");
    append_clean(&line, path);
    galv_text_append_char(&line, '\n');
    say(&line);
    galv_text_release(&line);
}
