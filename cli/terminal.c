/* The streams and what they can show.
 *
 * The locale's name decides on UTF-8 (LC_ALL, then LC_CTYPE, then LANG) without calling
 * setlocale, which would change how numbers are printed. The width is that of the
 * terminal, but what is not a terminal gets 80 columns whatever COLUMNS says, so that a
 * file or a pipe always receives the same bytes. */
#include "cli/terminal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = environment(names[i]);
        if (value != NULL) {
            const char *dot = strchr(value, '.');
            return dot != NULL && (strncasecmp(dot + 1, "utf-8", 5) == 0 ||
                                   strncasecmp(dot + 1, "utf8", 4) == 0);
        }
    }
    return false;
}

static int terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40) {
        return size.ws_col;
    }
    return 80;
}

static bool allowed(const char *when, bool automatic)
{
    if (when == NULL || strcmp(when, "auto") == 0) {
        return automatic;
    }
    return strcmp(when, "always") == 0;
}

galv_terminal galv_terminal_look(const char *color, const char *progress)
{
    const char *term = environment("TERM");
    bool plain =
        environment("NO_COLOR") != NULL || (term != NULL && strcmp(term, "dumb") == 0);
    galv_terminal t = {0};
    t.out_is_tty = isatty(STDOUT_FILENO) == 1;
    t.err_is_tty = isatty(STDERR_FILENO) == 1;
    t.out_color = allowed(color, t.out_is_tty && !plain);
    t.err_color = allowed(color, t.err_is_tty && !plain);
    t.progress = allowed(progress, t.err_is_tty);
    t.utf8 = locale_is_utf8();
    t.width = t.out_is_tty ? terminal_width() : 80;
    return t;
}

const char *galv_terminal_bold(const galv_terminal *terminal)
{
    return terminal->out_color ? "\033[1m" : "";
}

const char *galv_terminal_plain(const galv_terminal *terminal)
{
    return terminal->out_color ? "\033[0m" : "";
}

/* Length of one of our own two sequences at `at`, else 0. */
static size_t own_sequence(const char *at)
{
    return strncmp(at, "\033[1m", 4) == 0 || strncmp(at, "\033[0m", 4) == 0 ? 4 : 0;
}

static char ascii_twin(const char *at, size_t length)
{
    static const struct {
        const char *utf8;
        char ascii;
    } twins[] = {{"·", '|'}, {"×", 'x'}, {"µ", 'u'}, {"–", '-'},
                 {"—", '-'}, {"…", '.'}, {"█", '#'}, {"░", '.'}};
    for (size_t i = 0; i < sizeof twins / sizeof twins[0]; i++) {
        if (strlen(twins[i].utf8) == length && memcmp(twins[i].utf8, at, length) == 0) {
            return twins[i].ascii;
        }
    }
    return '?';
}

void galv_terminal_append(galv_text *out, const galv_terminal *terminal,
                          const char *utf8)
{
    for (const char *at = utf8; *at != '\0';) {
        unsigned char c = (unsigned char)*at;
        size_t own = terminal->out_color ? own_sequence(at) : 0;
        if (own > 0) {
            galv_text_append_bytes(out, at, own);
            at += own;
        } else if (c < 0x80) {
            bool control = (c < 0x20 && c != '\n') || c == 0x7F;
            galv_text_append_char(out, control ? '?' : *at);
            at++;
        } else {
            size_t length = 1;
            while (((unsigned char)at[length] & 0xC0) == 0x80) {
                length++;
            }
            if (terminal->utf8) {
                galv_text_append_bytes(out, at, length);
            } else {
                galv_text_append_char(out, ascii_twin(at, length));
            }
            at += length;
        }
    }
}
