/* Status codes and the error record that carries a message to the user.
 *
 * Every function that can fail returns a galv_status and takes, last, a
 * `galv_err *` (never NULL unless the comment says so). On failure the record
 * holds what failed, where (file, line, column) and what to do; outputs are left
 * untouched. The first error wins: a record that already holds an error is not
 * overwritten. Programmer errors are asserted, not reported. */
#ifndef GALV_BASE_STATUS_H
#define GALV_BASE_STATUS_H

#include <stdbool.h>

/* X(name, exit status of the command line, text) */
#define GALV_STATUS_TABLE(X)                    \
    X(OK, 0, "ok")                              \
    X(IO, 1, "input or output failed")          \
    X(NO_MEMORY, 1, "out of memory")            \
    X(INTERNAL, 1, "internal error")            \
    X(USAGE, 2, "wrong command line")           \
    X(INFEASIBLE, 3, "no plan fits")            \
    X(INPUT, 4, "wrong input file")             \
    X(TOLERANCE, 5, "outside the tolerance")    \
    X(UNAVAILABLE, 6, "not built or no device") \
    X(DIFFERENT, 10, "differs")                 \
    X(INTERRUPTED, 130, "interrupted")

typedef enum galv_status {
#define GALV_STATUS_ENUM(name, code, text) GALV_##name,
    GALV_STATUS_TABLE(GALV_STATUS_ENUM)
#undef GALV_STATUS_ENUM
} galv_status;

/* What went wrong, and where. Initialise with GALV_ERR_INIT (all zero). */
typedef struct galv_err {
    galv_status status;
    char message[512]; /* lower case, no full stop: "unknown key 'bandwith'" */
    char file[256];    /* "" when the error is not in a file */
    long line;         /* from 1; 0 = unknown */
    long column;       /* from 1; 0 = unknown */
    char hint[320];    /* what to do: "did you mean 'bandwidth'?"; "" = none */
} galv_err;

#define GALV_ERR_INIT             \
    {                             \
        GALV_OK, "", "", 0, 0, "" \
    }

#if defined(__GNUC__)
#define GALV_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define GALV_PRINTF(fmt, args)
#endif

/* Records a failure with no place in a file and returns `status`. */
galv_status galv_fail(galv_err *err, galv_status status, const char *format, ...)
    GALV_PRINTF(3, 4);

/* Records a GALV_INPUT failure at a place in a file (line, column from 1; 0 =
 * unknown) and returns GALV_INPUT. */
galv_status galv_fail_at(galv_err *err, const char *file, long line, long column,
                         const char *format, ...) GALV_PRINTF(5, 6);

/* Adds a hint to an error that has none yet. */
void galv_hint(galv_err *err, const char *format, ...) GALV_PRINTF(2, 3);

/* Puts a file name in front of an error that names none. */
void galv_err_set_file(galv_err *err, const char *file);

/* Fixed text of a status, e.g. "wrong input file". Never NULL. */
const char *galv_status_text(galv_status status);

/* Exit status of the command line for a status (0, 1, 2, 3, 4, 5, 6, 10 or 130). */
int galv_status_exit_code(galv_status status);

#endif
