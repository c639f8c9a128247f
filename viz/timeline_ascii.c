/* The timeline for a terminal. Every column is a quantum of time. What a row does is
 * paid out in letters: each kind of work earns the time it takes, the one owed most
 * gets the letter, among those that happen in the quantum. So a steady phase too dense
 * to show reads BBFBBF, in proportion, rather than all B. The share of time that a row
 * computes stands at the right. */
#include "viz/timeline_figure.h"

#include "viz/figure_internal.h"
#include "viz/timeline_scene_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LEAST_COLUMNS 40
#define MOST_COLUMNS  1000
#define BUSY_COLUMNS  6 /* "  73 %" */

/* The last entry is idleness. */
typedef struct letter_credit {
    double owed_s[GALV_N_OP_KINDS + 1];
} letter_credit;

/* Letter for [from, to] of a row: of what happens in it, the thing that is owed most.
 */
static char letter_at(const galv_scene *scene, int32_t rank, double from, double to,
                      size_t *first, letter_credit *credit)
{
    double spent[GALV_N_OP_KINDS + 1] = {0.0};
    double idle = to - from;
    size_t end = scene->lane_begin[rank];
    while (*first < end && scene->cells[*first].end_s <= from) {
        (*first)++;
    }
    for (size_t i = *first; i < end && scene->cells[i].start_s < to; i++) {
        const galv_span *cell = &scene->cells[i];
        double part = fmin(cell->end_s, to) - fmax(cell->start_s, from);
        if (part > 0.0) {
            spent[cell->kind] += part;
            idle -= part;
        }
    }
    spent[GALV_N_OP_KINDS] = fmax(idle, 0.0);
    int chosen = GALV_N_OP_KINDS;
    double most = -1.0;
    for (int kind = 0; kind <= GALV_N_OP_KINDS; kind++) {
        credit->owed_s[kind] += spent[kind];
        if (spent[kind] > 1e-9 * (to - from) &&
            credit->owed_s[kind] > most + 1e-9 * (to - from)) {
            most = credit->owed_s[kind];
            chosen = kind;
        }
    }
    credit->owed_s[chosen] -= to - from;
    return chosen == GALV_N_OP_KINDS ? '.' : galv_op_letter(chosen);
}

static double busy_share(const galv_scene *scene, int32_t rank)
{
    double busy = 0.0;
    for (size_t i = scene->row_begin[rank]; i < scene->lane_begin[rank]; i++) {
        busy += scene->cells[i].end_s - scene->cells[i].start_s;
    }
    return fmin(busy / scene->duration_s, 1.0);
}

static void draw_rows(galv_text *out, const galv_scene *scene, int label_columns,
                      int n_quanta)
{
    char label[48];
    double quantum_s = scene->duration_s / n_quanta;
    for (int32_t i = 0; i < scene->n_shown; i++) {
        int32_t rank = scene->shown[i];
        galv_scene_row_label(scene, rank, label, sizeof label);
        galv_text_printf(out, "%-*s", label_columns, label);
        size_t first = scene->row_begin[rank];
        letter_credit credit = {{0.0}};
        for (int q = 0; q < n_quanta; q++) {
            galv_text_append_char(out, letter_at(scene, rank, q * quantum_s,
                                                 (q + 1) * quantum_s, &first, &credit));
        }
        galv_text_printf(out, " %3.0f %%\n", 100.0 * busy_share(scene, rank));
    }
}

/* "F forward  B backward  . idle", of the letters in use. */
static void draw_legend(galv_text *out, const galv_scene *scene, int label_columns,
                        int columns)
{
    bool used[GALV_N_OP_KINDS] = {false};
    for (size_t i = 0; i < scene->n_cells; i++) {
        used[scene->cells[i].kind] |= galv_span_computes(&scene->cells[i]);
    }
    galv_text_append_repeated(out, ' ', (size_t)label_columns);
    int at = label_columns;
    for (int kind = 0; kind <= GALV_OP_OPTIMIZER; kind++) {
        int wanted = (int)strlen(galv_op_kind_names[kind]) + 4;
        if (!used[kind]) {
            continue;
        }
        if (at + wanted > columns) {
            galv_text_append_char(out, '\n');
            galv_text_append_repeated(out, ' ', (size_t)label_columns);
            at = label_columns;
        }
        galv_text_printf(out, "%s%c %s", at > label_columns ? "  " : "",
                         galv_op_letter(kind), galv_op_kind_names[kind]);
        at += wanted;
    }
    if (at + 6 > columns) {
        galv_text_append_char(out, '\n');
        galv_text_append_repeated(out, ' ', (size_t)label_columns);
        at = label_columns;
    }
    galv_text_printf(out, "%s. idle\n", at > label_columns ? "  " : "");
}

/* A line of at most `columns`: what is longer ends in "...", between two words. */
static void put_line(galv_text *out, const char *string, int columns)
{
    size_t wanted = galv_text_columns(string);
    size_t room = (size_t)columns;
    size_t end = strlen(string);
    if (end == 0) {
        return;
    }
    if (wanted > room) {
        size_t used = 0;
        size_t at = 0;
        end = 0;
        while (string[at] != '\0' && used <= room - 3) {
            if (string[at] == ' ') {
                end = at;
            }
            used += ((unsigned char)string[at] & 0xC0U) != 0x80U;
            at++;
        }
        while (end > 0 && string[end - 1] == ' ') {
            end--;
        }
    }
    for (size_t i = 0; i < end; i++) {
        galv_text_append_char(out, (unsigned char)string[i] < 0x20 ? ' ' : string[i]);
    }
    galv_text_append(out, wanted > room ? "...\n" : "\n");
}

static void draw(galv_text *out, const galv_scene *scene, int columns)
{
    const galv_timeline *timeline = scene->timeline;
    char label[48];
    galv_scene_row_label(scene, scene->shown[scene->n_shown - 1], label, sizeof label);
    int label_columns = (int)strlen(label) + 2;
    int n_quanta = columns - label_columns - BUSY_COLUMNS;
    put_line(out, timeline->title, columns);
    char subtitle[256];
    snprintf(subtitle, sizeof subtitle, "%.200s%s%s", timeline->subtitle,
             timeline->subtitle[0] != '\0' ? " \xC2\xB7 " : "",
             timeline->measured ? "measured" : "simulated");
    put_line(out, subtitle, columns);
    galv_time_unit unit = galv_time_unit_for(scene->duration_s);
    char number[32];
    char end[64];
    galv_print_figures(number, sizeof number, scene->duration_s / unit.seconds);
    snprintf(end, sizeof end, "%s %s", number, unit.name);
    int gap = n_quanta - 1 - (int)galv_text_columns(end);
    galv_text_append_repeated(out, ' ', (size_t)label_columns);
    galv_text_append_char(out, '0');
    galv_text_append_repeated(out, ' ', gap > 0 ? (size_t)gap : 0);
    galv_text_printf(out, "%s  busy\n", end);
    draw_rows(out, scene, label_columns, n_quanta);
    if (scene->n_shown < timeline->n_ranks) {
        galv_text_printf(out, "... %d similar %s not shown\n",
                         (int)(timeline->n_ranks - scene->n_shown),
                         scene->rows_are_stages ? "stages" : "ranks");
    }
    draw_legend(out, scene, label_columns, columns);
}

galv_status galv_timeline_draw_ascii(galv_text *out, const galv_timeline *timeline,
                                     int columns, galv_err *err)
{
    if (columns < LEAST_COLUMNS || columns > MOST_COLUMNS) {
        return galv_fail(err, GALV_USAGE,
                         "a timeline of %d columns is not between %d and %d", columns,
                         LEAST_COLUMNS, MOST_COLUMNS);
    }
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
    }
    galv_scene scene;
    galv_status status = galv_scene_make(&scene, timeline, false, arena, err);
    if (status == GALV_OK) {
        draw(out, &scene, columns);
        if (out->failed) {
            status = galv_fail(err, GALV_NO_MEMORY, "out of memory while drawing");
        }
    }
    galv_arena_free(arena);
    return status;
}
