/* The canvas: widths, collisions, and files. */
#include "viz/canvas.h"

#include "tests/viz/drawing.h"
#include "viz/figure.h"

#include <cairo.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

GALV_DRAWING_SUITE(viz_canvas);

static galv_canvas *sample(void)
{
    galv_canvas *canvas = galv_canvas_new(200.0, 100.0);
    galv_fill fill = {0x56B4E9, 0x0072B2, GALV_HATCH_RISING, 0};
    galv_fill cross = {0x000000, 0x808080, GALV_HATCH_CROSS, 128};
    galv_stroke dashed = {0xD55E00, 1.0, GALV_DASH_DASHED};
    galv_text_style style = {9.0, 0x000000, GALV_ALIGN_CENTER, false, false};
    galv_text_style upward = {9.0, 0x404040, GALV_ALIGN_LEFT, true, true};
    galv_point triangle[3] = {{10, 50}, {40, 50}, {25, 80}};
    galv_canvas_tag(canvas, "sample", 0);
    galv_canvas_rect(canvas, 10, 10, 50, 20, fill);
    galv_canvas_polygon(canvas, triangle, 3, cross);
    galv_canvas_line(canvas, 5, 40, 195, 40, dashed);
    for (int marker = 0; marker <= GALV_MARKER_CROSS; marker++) {
        galv_canvas_marker(canvas, 70 + 12 * marker, 60, (galv_marker)marker, 7,
                           0x0072B2, marker % 2 == 0);
    }
    galv_canvas_text(canvas, 120, 25, style, "a < b & \"c\" \xC2\xB5s");
    galv_canvas_text(canvas, 190, 90, upward, "up");
    return canvas;
}

Test(viz_canvas, widths_of_text_are_those_of_dejavu_sans)
{
    /* advances in the font's hmtx table: W 2025, i 569, 0 1303 of 2048 units */
    cr_expect_float_eq(galv_text_width("Wi0", 2048.0, false), 2025 + 569 + 1303, 1e-9);
    cr_expect_float_eq(galv_text_width("", 9.0, true), 0.0, 1e-12);
    cr_expect_float_eq(galv_text_width("\xC2\xB5", 2048.0, false), 1303.0, 1e-9);
}

Test(viz_canvas, widths_agree_with_cairo_where_the_font_is_installed)
{
    const char *text = "stage 15: L12\xE2\x80\x93"
                       "19 \xC2\xB7 43.4 GiB \xC2\xB1 2 %";
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, 8, 8);
    cairo_t *cr = cairo_create(surface);
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_set_font_options(cr, options);
    for (int bold = 0; bold < 2; bold++) {
        cairo_text_extents_t extents;
        cairo_select_font_face(cr, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                               bold ? CAIRO_FONT_WEIGHT_BOLD
                                    : CAIRO_FONT_WEIGHT_NORMAL);
        cairo_set_font_size(cr, 100.0);
        cairo_text_extents(cr, "W", &extents);
        bool installed = fabs(extents.x_advance - (bold ? 110.3 : 98.9)) < 0.1;
        cairo_text_extents(cr, text, &extents);
        if (installed) {
            cr_expect_float_eq(galv_text_width(text, 100.0, bold), extents.x_advance,
                               1.0, "bold %d", bold);
        }
    }
    cairo_font_options_destroy(options);
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
}

Test(viz_canvas, fitted_text_is_never_wider_than_asked)
{
    const char *text = "gpt-175b on 64 x h100-sxm-80gb: tp 8, pp 8 \xC2\xB5\xC2\xB5";
    for (double width = 0.0; width < 400.0; width += 7.0) {
        char fitted[64];
        galv_text_fit(fitted, sizeof fitted, text, width, 9.0, false);
        double limit = fmax(width, galv_text_width("\xE2\x80\xA6", 9.0, false));
        cr_expect(galv_text_width(fitted, 9.0, false) <= limit + 1e-9, "%g: %s", width,
                  fitted);
        cr_expect(strlen(fitted) < sizeof fitted);
    }
}

Test(viz_canvas, overlapping_texts_and_texts_off_the_page_are_counted)
{
    galv_canvas *canvas = galv_canvas_new(100.0, 100.0);
    galv_text_style style = {10.0, 0, GALV_ALIGN_LEFT, false, false};
    galv_canvas_text(canvas, 10, 50, style, "one");
    cr_expect_eq(galv_canvas_text_collisions(canvas), 0);
    galv_canvas_text(canvas, 20, 52, style, "two");
    cr_expect_eq(galv_canvas_text_collisions(canvas), 1);
    galv_canvas_text(canvas, 95, 90, style, "three");
    cr_expect_eq(galv_canvas_text_collisions(canvas), 2);
    galv_text_style upward = {10.0, 0, GALV_ALIGN_LEFT, false, true};
    galv_canvas_text(canvas, 60, 80, upward, "upward");
    cr_expect_eq(galv_canvas_text_collisions(canvas), 2);
    galv_canvas_text(canvas, 52, 60, style, "meets it");
    cr_expect_eq(galv_canvas_text_collisions(canvas), 3);
    galv_canvas_free(canvas);
}

Test(viz_canvas, bad_bytes_and_bad_numbers_are_kept_out)
{
    galv_canvas *canvas = galv_canvas_new(100.0, 50.0);
    galv_text_style style = {9.0, 0, GALV_ALIGN_LEFT, false, false};
    galv_fill fill = {0, 0, GALV_HATCH_NONE, 0};
    galv_canvas_text(canvas, 5, 20, style, "a\xFF\x01\xC2z\xED\xA0\x80");
    cr_assert_eq(galv_canvas_n_items(canvas), 1);
    cr_expect_str_eq(galv_canvas_item(canvas, 0)->string, "a???z???");
    galv_canvas_text(canvas, NAN, 20, style, "nowhere");
    galv_canvas_rect(canvas, 1, 2, INFINITY, 4, fill);
    galv_canvas_rect(canvas, 1, 2, -3, 4, fill);
    galv_canvas_line(canvas, 1, NAN, 3, 4, (galv_stroke){0, 1, 0});
    galv_canvas_marker(canvas, NAN, 3, GALV_MARKER_CIRCLE, 4, 0, false);
    galv_canvas_text(canvas, 5, 20, style, NULL);
    cr_expect_eq(galv_canvas_n_items(canvas), 1);
    galv_canvas_free(canvas);
}

Test(viz_canvas, png_states_its_resolution)
{
    char path[256];
    make_path(path, "a.png");
    galv_err err = GALV_ERR_INIT;
    galv_canvas *canvas = sample();
    cr_assert_eq(galv_canvas_write(canvas, path, 2.0, &err), GALV_OK, "%s",
                 err.message);
    size_t length = 0;
    char *bytes = slurp(path, &length);
    cr_assert_not_null(bytes);
    /* 2 x 96 dpi = 7559 px/m = 0x1D87; the last four are the chunk's CRC-32 by zlib */
    const unsigned char chunk[] = {0,    0,    0x00, 9,    'p',  'H',  'Y',
                                   's',  0,    0,    0x1D, 0x87, 0,    0,
                                   0x1D, 0x87, 1,    0x8F, 0xE5, 0xF1, 0x65};
    cr_expect(length > 33 + sizeof chunk);
    cr_expect_eq(memcmp(bytes + 33, chunk, sizeof chunk), 0);
    cairo_surface_t *surface = cairo_image_surface_create_from_png(path);
    cr_expect_eq(cairo_image_surface_get_width(surface), 400);
    cr_expect_eq(cairo_image_surface_get_height(surface), 200);
    cairo_surface_destroy(surface);
    free(bytes);
    remove_path(path);
    galv_canvas_free(canvas);
}

Test(viz_canvas, files_repeat_to_the_byte)
{
    const char *const names[] = {"a.png", "a.svg", "a.pdf"};
    for (int i = 0; i < 3; i++) {
        char one[256], other[256];
        make_path(one, names[i]);
        make_path(other, names[i]);
        galv_err err = GALV_ERR_INIT;
        galv_canvas *canvas = sample();
        cr_assert_eq(galv_canvas_write(canvas, one, 1.5, &err), GALV_OK);
        galv_canvas_free(canvas);
        canvas = sample();
        cr_assert_eq(galv_canvas_write(canvas, other, 1.5, &err), GALV_OK);
        galv_canvas_free(canvas);
        size_t length = 0, other_length = 0;
        char *bytes = slurp(one, &length), *other_bytes = slurp(other, &other_length);
        cr_expect(length > 200, "%s: %zu bytes", names[i], length);
        cr_expect(length == other_length && memcmp(bytes, other_bytes, length) == 0,
                  "%s differs", names[i]);
        free(bytes);
        free(other_bytes);
        remove_path(one);
        remove_path(other);
    }
}

Test(viz_canvas, svg_holds_text_escaped_and_searchable)
{
    char path[256];
    make_path(path, "a.svg");
    galv_err err = GALV_ERR_INIT;
    galv_canvas *canvas = sample();
    cr_assert_eq(galv_canvas_write(canvas, path, 2.0, &err), GALV_OK);
    size_t length = 0;
    char *svg = slurp(path, &length);
    cr_expect_not_null(strstr(svg, ">a &lt; b &amp; &quot;c&quot; \xC2\xB5s</text>"));
    cr_expect_not_null(strstr(svg, "width=\"200\" height=\"100\""));
    cr_expect_not_null(strstr(svg, "url(#h1-0072b2)"));
    cr_expect_not_null(strstr(svg, "<pattern id=\"h1-0072b2\""));
    free(svg);
    remove_path(path);
    galv_canvas_free(canvas);
}

Test(viz_canvas, pdf_holds_no_date_of_today)
{
    char path[256];
    make_path(path, "a.pdf");
    galv_err err = GALV_ERR_INIT;
    galv_canvas *canvas = sample();
    cr_assert_eq(galv_canvas_write(canvas, path, 2.0, &err), GALV_OK);
    size_t length = 0;
    char *pdf = slurp(path, &length);
    cr_assert_not_null(pdf);
    cr_expect_eq(strncmp(pdf, "%PDF-", 5), 0);
    bool found = false;
    for (size_t i = 0; i + 20 < length; i++) {
        if (memcmp(pdf + i, "/CreationDate", 13) == 0) {
            found = true;
            cr_expect_eq(memcmp(pdf + i + 13, " (2000", 6) == 0 ||
                             memcmp(pdf + i + 13, " (D:20000101", 12) == 0,
                         true);
        }
        cr_expect(memcmp(pdf + i, "/ModDate", 8) != 0);
    }
    cr_expect(found);
    free(pdf);
    remove_path(path);
    galv_canvas_free(canvas);
}

Test(viz_canvas, unknown_endings_and_folders_that_are_missing_are_refused)
{
    galv_canvas *canvas = sample();
    const char *const wrong[] = {"a.jpg", "a", "png", "", "a.png.txt", ".svgz"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(galv_canvas_write(canvas, wrong[i], 2.0, &err), GALV_USAGE, "%s",
                     wrong[i]);
        cr_expect(strstr(err.hint, ".png") != NULL);
    }
    const char *const endings[] = {"png", "svg", "pdf"};
    for (int i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "/nonexistent-folder/a.%s", endings[i]);
        galv_err err = GALV_ERR_INIT;
        cr_expect_eq(galv_canvas_write(canvas, path, 2.0, &err), GALV_IO, "%s", path);
        cr_expect(err.message[0] != '\0');
    }
    galv_canvas_free(canvas);
}

Test(viz_canvas, impossible_scales_are_refused)
{
    galv_canvas *canvas = galv_canvas_new(9000.0, 50.0);
    const double scales[] = {-1.0, 0.0, 9.0, NAN, INFINITY, 5.0};
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        galv_err err = GALV_ERR_INIT; /* the last: 45 000 px are too wide for cairo */
        cr_expect_eq(galv_canvas_write(canvas, "a.png", scales[i], &err), GALV_USAGE,
                     "%g", scales[i]);
    }
    galv_canvas_free(canvas);
}

Test(viz_canvas, draws_without_any_font)
{
    char config[256], path[256];
    make_path(config, "fonts.conf");
    make_path(path, "a.png");
    FILE *file = fopen(config, "w");
    cr_assert_not_null(file);
    fputs("<?xml version=\"1.0\"?><!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">"
          "<fontconfig></fontconfig>\n",
          file);
    fclose(file);
    setenv("FONTCONFIG_FILE", config, 1);
    galv_err err = GALV_ERR_INIT;
    galv_canvas *canvas = sample();
    cr_expect_eq(galv_canvas_write(canvas, path, 1.0, &err), GALV_OK, "%s",
                 err.message);
    galv_canvas_free(canvas);
    remove_path(path);
    remove_path(config);
}
