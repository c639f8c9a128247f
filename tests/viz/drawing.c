/* Files and goldens for the tests of pictures. */
#include "tests/viz/drawing.h"

#include "viz/figure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void finish_drawing(void)
{
    galv_viz_shutdown();
    galv_test_check_leaks();
}

char *slurp(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    char *bytes = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        long size = ftell(file);
        rewind(file);
        bytes = size >= 0 ? calloc((size_t)size + 1, 1) : NULL;
        if (bytes != NULL) {
            *length = fread(bytes, 1, (size_t)size, file);
        }
    }
    fclose(file);
    return bytes;
}

void make_path(char *buffer, const char *name)
{
    char folder[] = "/tmp/galv-viz-XXXXXX";
    snprintf(buffer, 256, "%s/%s", mkdtemp(folder) != NULL ? folder : ".", name);
}

void remove_path(const char *path)
{
    char folder[256];
    remove(path);
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        *slash = '\0';
        rmdir(folder);
    }
}

const galv_item *find_text(const galv_canvas *canvas, const char *needle)
{
    for (size_t i = 0; i < galv_canvas_n_items(canvas); i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        if (item->kind == GALV_ITEM_TEXT && strstr(item->string, needle) != NULL) {
            return item;
        }
    }
    return NULL;
}

int differs_from_golden(const char *text, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/tests/viz/data/%s", GALV_SOURCE_DIR, name);
    if (getenv("GALV_UPDATE_GOLDENS") != NULL) {
        FILE *file = fopen(path, "wb");
        if (file != NULL) {
            fputs(text, file);
            fclose(file);
        }
    }
    size_t length = 0;
    char *golden = slurp(path, &length);
    if (golden == NULL) {
        return -1;
    }
    int line = 1;
    size_t i = 0;
    while (text[i] != '\0' && text[i] == golden[i]) {
        line += text[i] == '\n';
        i++;
    }
    bool same = text[i] == golden[i];
    free(golden);
    return same ? 0 : line;
}
