/* The close-up of a plan without a pipeline: its cells tell little, so the layers
 * around the turn from the last forward layer to the first backward one are shown, with
 * their communication on lanes below. The window holds about as many operations as can
 * be read. */
#include "viz/figure_internal.h"
#include "viz/timeline_parts_internal.h"

#include <math.h>
#include <stdio.h>

#define CLOSE_UP_OP_PX   13.0
#define CLOSE_UP_ROW_PX  22.0
#define CLOSE_UP_LANE_PX 12.0
#define CLOSE_UP_HEADING 26.0
#define CLOSE_UP_AXIS    24.0

double galv_close_up_height(const galv_close_up *close_up)
{
    double lanes = 0.0;
    for (int lane = 0; lane < GALV_N_LANES; lane++) {
        lanes += close_up->lane_used[lane] ? CLOSE_UP_LANE_PX + 3.0 : 0.0;
    }
    return CLOSE_UP_HEADING + CLOSE_UP_ROW_PX + lanes + CLOSE_UP_AXIS;
}

/* The first forward cell in the middle third whose next cell is none. */
static const galv_span *find_turn(const galv_scene *scene)
{
    size_t begin = scene->row_begin[0];
    size_t end = scene->lane_begin[0];
    for (size_t i = begin + (end - begin) / 3; i + 1 < end; i++) {
        const galv_span *cell = &scene->cells[i];
        if (cell->kind == GALV_OP_FORWARD && cell[1].kind != GALV_OP_FORWARD) {
            return cell;
        }
    }
    return &scene->cells[begin];
}

galv_close_up galv_close_up_choose(const galv_scene *scene, double x, double w)
{
    const galv_timeline *timeline = scene->timeline;
    const galv_span *turn = find_turn(scene);
    int n_ops = 0;
    double total_s = 0.0;
    for (size_t i = 0; i < timeline->n_spans; i++) {
        const galv_span *span = &timeline->spans[i];
        if (galv_span_computes(span) && span->micro_batch == turn->micro_batch &&
            span->kind == turn->kind) {
            n_ops++;
            total_s += span->end_s - span->start_s;
        }
    }
    double mean_s = n_ops > 0 ? total_s / n_ops : scene->median_s;
    double length_s = fmin(mean_s * w / CLOSE_UP_OP_PX, scene->duration_s);
    double start_s = fmax(0.0, turn->end_s - 0.42 * length_s);
    start_s = fmin(start_s, scene->duration_s - length_s);
    galv_close_up result = {.frame = {x, w, start_s, start_s + length_s},
                            .micro_batch = turn->micro_batch};
    for (size_t i = 0; i < timeline->n_spans; i++) {
        const galv_span *span = &timeline->spans[i];
        if (span->start_s < result.frame.end_s && span->end_s > start_s) {
            result.ink_used[galv_span_ink(span)] = true;
            if (!galv_span_computes(span)) {
                result.lane_used[galv_span_lane(span)] = true;
            }
        }
    }
    return result;
}

static void draw_span(galv_canvas *canvas, const galv_frame *frame,
                      const galv_span *span, double y, double h)
{
    if (span->end_s <= frame->start_s || span->start_s >= frame->end_s) {
        return;
    }
    char label[32] = "";
    if (galv_span_computes(span) && span->first_layer >= 0 && span->n_layers <= 1) {
        snprintf(label, sizeof label, "%d", (int)span->first_layer);
    } else if (galv_span_computes(span) && span->first_layer >= 0) {
        snprintf(label, sizeof label, "%d\xE2\x80\x93%d", (int)span->first_layer,
                 (int)(span->first_layer + span->n_layers - 1));
    }
    double x0 = galv_frame_x(frame, span->start_s);
    double x1 = galv_frame_x(frame, span->end_s);
    galv_draw_cell(canvas, x0, y, x1 - x0, h, galv_ink_fill(galv_span_ink(span)),
                   label);
}

static void draw_lane(galv_canvas *canvas, const galv_scene *scene,
                      const galv_frame *frame, int lane, double y, double h)
{
    galv_canvas_tag(canvas, "close-up", lane);
    galv_canvas_rect(canvas, frame->x, y, frame->w, h, galv_plain(0xF8F8F8));
    galv_canvas_text(canvas, frame->x - GALV_LABEL_GAP, y + h / 2.0 + 3.0,
                     galv_style(GALV_SIZE_TICK, GALV_COLOR_FOOTER, GALV_ALIGN_RIGHT),
                     galv_lane_name((galv_lane)lane));
    for (size_t i = 0; i < scene->timeline->n_spans; i++) {
        const galv_span *span = &scene->timeline->spans[i];
        if (span->rank == 0 && !galv_span_computes(span) &&
            (int)galv_span_lane(span) == lane) {
            draw_span(canvas, frame, span, y, h);
        }
    }
}

void galv_draw_close_up(galv_canvas *canvas, const galv_scene *scene,
                        const galv_close_up *close_up, double y)
{
    galv_frame frame = close_up->frame;
    double x = frame.x;
    double w = frame.w;
    galv_canvas_tag(canvas, "close-up", -1);
    char heading[96];
    char fitted[96];
    snprintf(heading, sizeof heading,
             "Close-up: micro-batch %d turns from forward to backward (numbers are "
             "layers)",
             (int)close_up->micro_batch);
    galv_text_fit(fitted, sizeof fitted, heading, w, GALV_SIZE_AXIS, true);
    galv_canvas_text(canvas, x, y + 17.0,
                     galv_style_bold(GALV_SIZE_AXIS, GALV_COLOR_TEXT, GALV_ALIGN_LEFT),
                     fitted);
    double top = y + CLOSE_UP_HEADING;
    galv_canvas_rect(canvas, x, top, w, CLOSE_UP_ROW_PX, galv_ink_fill(GALV_INK_IDLE));
    galv_canvas_text(canvas, x - GALV_LABEL_GAP, top + CLOSE_UP_ROW_PX / 2.0 + 3.2,
                     galv_style(GALV_SIZE_AXIS, GALV_COLOR_TEXT, GALV_ALIGN_RIGHT),
                     "compute");
    for (size_t i = 0; i < scene->timeline->n_spans; i++) {
        const galv_span *span = &scene->timeline->spans[i];
        if (span->rank == 0 && galv_span_computes(span)) {
            draw_span(canvas, &frame, span, top, CLOSE_UP_ROW_PX);
        }
    }
    double at = top + CLOSE_UP_ROW_PX + 3.0;
    for (int lane = 0; lane < GALV_N_LANES; lane++) {
        if (close_up->lane_used[lane]) {
            draw_lane(canvas, scene, &frame, lane, at, CLOSE_UP_LANE_PX);
            at += CLOSE_UP_LANE_PX + 3.0;
        }
    }
    galv_draw_time_axis(canvas, &frame, at - 1.0, scene->duration_s, true);
}
