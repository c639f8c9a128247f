/* What leaves the program: results, errors, warnings, files.
 *
 * Results are gathered in cli->out and written once, at the end, so that a command that
 * fails halfway has printed nothing. Everything else goes to standard error at once. */
#ifndef GALV_CLI_OUTPUT_H
#define GALV_CLI_OUTPUT_H

#include "base/json.h"
#include "base/status.h"
#include "cli/parse.h"
#include "cli/table.h"

/* Appends to the result. */
void galv_print(const galv_cli *cli, const char *format, ...) GALV_PRINTF(2, 3);

/* Prints an error ("galvatron-sim: error: FILE:LINE:COL: message" and its hints),
 * forgets what was to be printed, and returns the exit status. */
int galv_cli_fail(const galv_cli *cli, const galv_err *err);

/* The same, but what was gathered is printed all the same (exit 5, 10, 130). */
int galv_cli_conclude(const galv_cli *cli, const galv_err *err);

/* Prints a warning unless --quiet. Under --strict it becomes the error: then GALV_INPUT
 * is returned and `err` is filled. */
galv_status galv_cli_warn(const galv_cli *cli, galv_err *err, const char *format, ...)
    GALV_PRINTF(3, 4);

/* Writes the gathered result to standard output and returns the exit status: `code`, or
 * 1 when the write fails. A closed pipe is quiet. */
int galv_cli_flush(const galv_cli *cli, int code);

/* Opens the one document of --json on standard output: schema, schema_version, version.
 * `what` is "plans", "result"... Its members follow; galv_cli_end_json closes it. */
void galv_cli_begin_json(const galv_cli *cli, galv_json_writer *writer,
                         const char *what);
galv_status galv_cli_end_json(const galv_cli *cli, galv_json_writer *writer,
                              galv_err *err);

/* The head of any document of ours, into an open writer. */
void galv_json_put_head(galv_json_writer *writer, const char *what);

/* Prints a table as wide as the terminal, or whole under --wide, or its cells as CSV
 * under --csv. */
void galv_cli_print_table(const galv_cli *cli, const galv_table *table);

/* Appends a number to a line of CSV: the shortest that reads back exactly; empty for
 * NaN and infinity. */
void galv_csv_put_f64(galv_text *out, double value, bool first);
void galv_csv_put_i64(galv_text *out, int64_t value, bool first);

/* ---- files ---- */

/* Where -o points: a folder (made when missing) or a file by its extension. */
typedef struct galv_target {
    bool given;
    const char *folder; /* NULL: a file */
    const char *file;   /* NULL: a folder */
} galv_target;

/* Reads -o. A name with one of the `extensions` (".png .csv", blanks between) is a
 * file, a name without any extension or an existing folder is a folder when
 * `folder_allowed`. Errors: GALV_USAGE naming the extensions that are known here. */
galv_status galv_target_read(galv_target *target, const galv_cli *cli,
                             const char *extensions, bool folder_allowed,
                             galv_err *err);

/* Is the target this kind of file? */
bool galv_target_is(const galv_target *target, const char *extension);

/* Is it a picture? */
bool galv_target_is_picture(const galv_target *target);

/* Tells on standard error which files were written, unless --quiet. */
void galv_cli_wrote(const galv_cli *cli, const char *path);

#endif
