/* What the two output streams can show: colour, UTF-8, width. */
#ifndef GALV_CLI_TERMINAL_H
#define GALV_CLI_TERMINAL_H

#include "base/text.h"

#include <stdbool.h>

typedef struct galv_terminal {
    bool out_is_tty, err_is_tty;
    bool out_color, err_color;
    bool progress; /* may a progress line be shown? */
    bool utf8;     /* else ASCII stands in */
    int width;     /* columns of standard output; 80 unless it is a terminal */
} galv_terminal;

/* Looks at the streams and the environment. `color` and `progress` are "auto",
 * "always", "never", or NULL for auto. Colour is off when NO_COLOR is set and not
 * empty, when TERM is dumb, and when the stream is no terminal; "always" wins. */
galv_terminal galv_terminal_look(const char *color, const char *progress);

/* Bold and back; "" where there is no colour. */
const char *galv_terminal_bold(const galv_terminal *terminal);
const char *galv_terminal_plain(const galv_terminal *terminal);

/* Appends UTF-8 text, with one ASCII character for each of the few others that we use
 * where the terminal cannot show them: the width stays the same. Control characters,
 * which names in files may have, are replaced: only our own bold and plain pass. */
void galv_terminal_append(galv_text *out, const galv_terminal *terminal,
                          const char *utf8);

#endif
