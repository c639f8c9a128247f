/* What the tests of pictures share. */
#ifndef GALV_TESTS_VIZ_DRAWING_H
#define GALV_TESTS_VIZ_DRAWING_H

#include "tests/support/leaks.h"
#include "viz/canvas.h"

#include <stddef.h>

/* Ends cairo and fontconfig, then checks for leaks. */
void finish_drawing(void);

#define GALV_DRAWING_SUITE(name) TestSuite(name, .fini = finish_drawing)

/* The whole file in memory (freed by the caller) or NULL; a NUL follows its bytes. */
char *slurp(const char *path, size_t *length);

/* A file name in a fresh folder, into buffer[256]; the folder is the test's own. */
void make_path(char *buffer, const char *name);
/* Removes what make_path made for this name. */
void remove_path(const char *path);

/* The first text item that contains `needle`, or NULL. */
const galv_item *find_text(const galv_canvas *canvas, const char *needle);

/* Compares text with tests/viz/data/NAME; with the environment variable
 * GALV_UPDATE_GOLDENS set, writes it instead. Returns the first line that differs, 0
 * for none, -1 when the file is missing. */
int differs_from_golden(const char *text, const char *name);

#endif
