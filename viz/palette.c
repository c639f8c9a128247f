/* The palette. Fills differ in lightness as well as in hue, so that computation reads
 * in grey print: forward, weight gradient, backward and idle are some 20 L* apart, and
 * recompute, as light as backward, carries a hatch. Communication is told from
 * computation by place (its own lanes or a thin band), not by colour alone. */
#include "viz/palette.h"

#include <math.h>
#include <stddef.h>

typedef struct ink_entry {
    const char *legend;
    galv_color fill;
    galv_color text;
    galv_hatch hatch;
    galv_color hatch_color;
} ink_entry;

static const ink_entry inks[GALV_N_INKS] = {
#define ENTRY(name, legend, fill, text, hatch, hatch_color) \
    {legend, fill, text, GALV_HATCH_##hatch, hatch_color},
    GALV_INK_TABLE(ENTRY)
#undef ENTRY
};

const char *galv_ink_legend(galv_ink ink)
{
    return inks[ink].legend;
}

galv_fill galv_ink_fill(galv_ink ink)
{
    galv_fill fill = {inks[ink].fill, inks[ink].hatch_color, (uint8_t)inks[ink].hatch,
                      0};
    return fill;
}

galv_color galv_ink_text(galv_ink ink)
{
    return inks[ink].text;
}

/* sRGB transfer function, IEC 61966-2-1. */
static double to_linear(uint32_t byte)
{
    double value = (double)byte / 255.0;
    return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4);
}

static uint32_t from_linear(double value)
{
    double encoded =
        value <= 0.0031308 ? 12.92 * value : 1.055 * pow(value, 1.0 / 2.4) - 0.055;
    return (uint32_t)lround(fmin(fmax(encoded, 0.0), 1.0) * 255.0);
}

galv_color galv_color_shade(galv_color color, int32_t chunk, int32_t n_chunks)
{
    if (n_chunks < 2 || chunk <= 0) {
        return color;
    }
    double white = 0.45 * fmin((double)chunk / (double)(n_chunks - 1), 1.0);
    galv_color mixed = 0;
    for (unsigned shift = 0; shift <= 16; shift += 8) {
        double linear = to_linear((color >> shift) & 0xFFU);
        mixed |= from_linear(linear + (1.0 - linear) * white) << shift;
    }
    return mixed;
}

static double luminance(galv_color color)
{
    return 0.2126 * to_linear((color >> 16) & 0xFFU) +
           0.7152 * to_linear((color >> 8) & 0xFFU) + 0.0722 * to_linear(color & 0xFFU);
}

double galv_color_contrast(galv_color a, galv_color b)
{
    double one = luminance(a) + 0.05;
    double other = luminance(b) + 0.05;
    return one > other ? one / other : other / one;
}

galv_color galv_color_text_on(galv_color color)
{
    return galv_color_contrast(color, 0x000000) > galv_color_contrast(color, 0xFFFFFF)
               ? 0x000000
               : 0xFFFFFF;
}

galv_color galv_series_color(int32_t series)
{
    static const galv_color colors[] = {0x0072B2, 0xD55E00, 0x009E73,
                                        0xE69F00, 0xCC79A7, 0x56B4E9};
    int32_t n_colors = (int32_t)(sizeof colors / sizeof colors[0]);
    return colors[((series % n_colors) + n_colors) % n_colors];
}
