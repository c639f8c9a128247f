/* The palette: contrast of text, and colours told apart by everyone, also in grey. The
 * measures are written here from their publications, apart from the library. */
#include "viz/palette.h"

#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>

GALV_TEST_SUITE(viz_palette);

static const char *const ink_names[GALV_N_INKS] = {
#define NAME(name, legend, fill, text, hatch, hatch_color) #name,
    GALV_INK_TABLE(NAME)
#undef NAME
};

typedef struct lab {
    double l, a, b;
} lab;

static double to_linear(unsigned byte)
{
    double v = byte / 255.0;
    return v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

static double lab_f(double t)
{
    return t > 216.0 / 24389.0 ? cbrt(t) : (24389.0 / 27.0 * t + 16.0) / 116.0;
}

/* CIE 1976 L*a*b* of linear sRGB under D65. */
static lab lab_of_linear(const double rgb[3])
{
    double x = 0.4124564 * rgb[0] + 0.3575761 * rgb[1] + 0.1804375 * rgb[2];
    double y = 0.2126729 * rgb[0] + 0.7151522 * rgb[1] + 0.0721750 * rgb[2];
    double z = 0.0193339 * rgb[0] + 0.1191920 * rgb[1] + 0.9503041 * rgb[2];
    double fx = lab_f(x / 0.95047), fy = lab_f(y), fz = lab_f(z / 1.08883);
    lab result = {116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)};
    return result;
}

/* Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of
 * Color Vision Deficiency" (2009), severity 1.0; the first is normal vision. */
static const double visions[4][9] = {{1, 0, 0, 0, 1, 0, 0, 0, 1},
                                     {0.152286, 1.052583, -0.204868, 0.114503, 0.786281,
                                      0.099216, -0.003882, -0.048116, 1.051998},
                                     {0.367322, 0.860646, -0.227968, 0.280085, 0.672501,
                                      0.047413, -0.011820, 0.042940, 0.968881},
                                     {1.255528, -0.076749, -0.178779, -0.078411,
                                      0.930809, 0.147602, 0.004733, 0.691367,
                                      0.303900}};

static lab seen(galv_color color, int vision)
{
    double rgb[3], shifted[3];
    for (int i = 0; i < 3; i++) {
        rgb[i] = to_linear((color >> (16 - 8 * i)) & 0xFF);
    }
    for (int i = 0; i < 3; i++) {
        const double *m = visions[vision] + 3 * i;
        shifted[i] = fmin(fmax(m[0] * rgb[0] + m[1] * rgb[1] + m[2] * rgb[2], 0), 1);
    }
    return lab_of_linear(shifted);
}

static double radians(double degrees)
{
    return degrees * 3.14159265358979323846 / 180.0;
}

static double hue(double b, double a)
{
    double h = a == 0 && b == 0 ? 0 : atan2(b, a) * 180.0 / 3.14159265358979323846;
    return h < 0 ? h + 360 : h;
}

/* CIEDE2000. Source: Sharma, Wu and Dalal, Color Research and Application 30 (2005). */
static double difference(lab p, lab q)
{
    double c_mean = (hypot(p.a, p.b) + hypot(q.a, q.b)) / 2;
    double g = 0.5 * (1 - sqrt(pow(c_mean, 7) / (pow(c_mean, 7) + pow(25.0, 7))));
    double ap = p.a * (1 + g), aq = q.a * (1 + g);
    double cp = hypot(ap, p.b), cq = hypot(aq, q.b);
    double hp = hue(p.b, ap), hq = hue(q.b, aq);
    double dh = cp * cq == 0 ? 0 : hq - hp;
    dh = dh > 180 ? dh - 360 : dh < -180 ? dh + 360 : dh;
    double dl = q.l - p.l, dc = cq - cp;
    double big_dh = 2 * sqrt(cp * cq) * sin(radians(dh) / 2);
    double l = (p.l + q.l) / 2, c = (cp + cq) / 2;
    double h = cp * cq == 0           ? hp + hq
               : fabs(hp - hq) <= 180 ? (hp + hq) / 2
               : hp + hq < 360        ? (hp + hq + 360) / 2
                                      : (hp + hq - 360) / 2;
    double t = 1 - 0.17 * cos(radians(h - 30)) + 0.24 * cos(radians(2 * h)) +
               0.32 * cos(radians(3 * h + 6)) - 0.20 * cos(radians(4 * h - 63));
    double sl = 1 + 0.015 * (l - 50) * (l - 50) / sqrt(20 + (l - 50) * (l - 50));
    double sc = 1 + 0.045 * c, sh = 1 + 0.015 * c * t;
    double turn = 30 * exp(-pow((h - 275) / 25, 2));
    double rt =
        -2 * sqrt(pow(c, 7) / (pow(c, 7) + pow(25.0, 7))) * sin(radians(2 * turn));
    return sqrt(pow(dl / sl, 2) + pow(dc / sc, 2) + pow(big_dh / sh, 2) +
                rt * (dc / sc) * (big_dh / sh));
}

Test(viz_palette, difference_here_agrees_with_published_pairs)
{
    /* pairs 1, 7 and 25 of Sharma, Wu and Dalal's table 1 */
    lab a = {50.0, 2.6772, -79.7751}, b = {50.0, 0.0, -82.7485};
    cr_expect_float_eq(difference(a, b), 2.0425, 5e-5);
    lab c = {50.0, 0.0, 0.0}, d = {50.0, -1.0, 2.0};
    cr_expect_float_eq(difference(c, d), 2.3669, 5e-5);
    lab e = {60.2574, -34.0099, 36.2677}, f = {60.4626, -34.1751, 39.4387};
    cr_expect_float_eq(difference(e, f), 1.2644, 5e-5);
}

Test(viz_palette, contrast_is_21_for_black_on_white_and_4_54_for_grey_767676)
{
    cr_expect_float_eq(galv_color_contrast(0x000000, 0xFFFFFF), 21.0, 1e-9);
    cr_expect_float_eq(galv_color_contrast(0xFFFFFF, 0x000000), 21.0, 1e-9);
    cr_expect_float_eq(galv_color_contrast(0x767676, 0xFFFFFF), 4.54, 0.005);
}

Test(viz_palette, text_on_every_fill_can_be_read)
{
    for (int ink = 0; ink < GALV_N_INKS; ink++) {
        double contrast = galv_color_contrast(galv_ink_fill((galv_ink)ink).color,
                                              galv_ink_text((galv_ink)ink));
        cr_expect(contrast >= 4.5, "%s: %.2f", ink_names[ink], contrast);
    }
    const galv_color page_texts[] = {GALV_COLOR_TEXT, GALV_COLOR_AXIS,
                                     GALV_COLOR_FOOTER, 0xA64500};
    for (size_t i = 0; i < sizeof page_texts / sizeof page_texts[0]; i++) {
        cr_expect(galv_color_contrast(page_texts[i], GALV_COLOR_WHITE) >= 4.5,
                  "page text %06X", (unsigned)page_texts[i]);
    }
}

Test(viz_palette, text_on_every_shade_of_a_chunk_can_be_read)
{
    for (int ink = 0; ink <= GALV_INK_RECOMPUTE; ink++) {
        for (int chunk = 0; chunk < 8; chunk++) {
            galv_color shade =
                galv_color_shade(galv_ink_fill((galv_ink)ink).color, chunk, 8);
            double contrast = galv_color_contrast(shade, galv_color_text_on(shade));
            cr_expect(contrast >= 4.5, "%s chunk %d: %.2f", ink_names[ink], chunk,
                      contrast);
        }
    }
}

Test(viz_palette, what_shares_a_lane_differs_for_every_vision)
{
    const galv_ink lane[] = {GALV_INK_FORWARD,   GALV_INK_BACKWARD,  GALV_INK_WEIGHT,
                             GALV_INK_RECOMPUTE, GALV_INK_OPTIMIZER, GALV_INK_IDLE};
    size_t n = sizeof lane / sizeof lane[0];
    for (int vision = 0; vision < 4; vision++) {
        for (size_t i = 0; i < n; i++) {
            for (size_t j = i + 1; j < n; j++) {
                double d = difference(seen(galv_ink_fill(lane[i]).color, vision),
                                      seen(galv_ink_fill(lane[j]).color, vision));
                cr_expect(d >= 10.0, "%s and %s, vision %d: %.1f", ink_names[lane[i]],
                          ink_names[lane[j]], vision, d);
            }
        }
    }
}

Test(viz_palette, forward_and_backward_are_far_apart_for_every_vision)
{
    for (int vision = 0; vision < 4; vision++) {
        double d = difference(seen(galv_ink_fill(GALV_INK_FORWARD).color, vision),
                              seen(galv_ink_fill(GALV_INK_BACKWARD).color, vision));
        cr_expect(d >= 50.0, "vision %d: %.1f", vision, d);
    }
}

Test(viz_palette, computation_reads_in_grey_by_lightness_or_hatch)
{
    const galv_ink lane[] = {GALV_INK_OPTIMIZER, GALV_INK_FORWARD,   GALV_INK_WEIGHT,
                             GALV_INK_BACKWARD,  GALV_INK_RECOMPUTE, GALV_INK_IDLE};
    size_t n = sizeof lane / sizeof lane[0];
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            galv_fill a = galv_ink_fill(lane[i]), b = galv_ink_fill(lane[j]);
            double gap = fabs(seen(a.color, 0).l - seen(b.color, 0).l);
            cr_expect(gap >= 10.0 || a.hatch != b.hatch, "%s and %s: %.1f",
                      ink_names[lane[i]], ink_names[lane[j]], gap);
        }
    }
}

Test(viz_palette, shade_of_the_last_chunk_is_45_percent_white_in_linear_light)
{
    galv_color shade = galv_color_shade(0x0072B2, 3, 4);
    for (int shift = 0; shift <= 16; shift += 8) {
        double from = to_linear((0x0072B2 >> shift) & 0xFF);
        double to = to_linear((shade >> shift) & 0xFF);
        cr_expect_float_eq(to, from + 0.45 * (1 - from), 0.005, "shift %d", shift);
    }
    cr_expect_eq(galv_color_shade(0x0072B2, 0, 4), 0x0072B2);
    cr_expect_eq(galv_color_shade(0x0072B2, 1, 1), 0x0072B2);
}
