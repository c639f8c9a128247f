/* Colours and text sizes of every figure, in one place.
 *
 * Hues are those of Okabe and Ito, "Color Universal Design" (2008), told apart under
 * the common kinds of colour-blindness; hatches tell apart in grey what hue alone does
 * not. tests/viz/palette_test.c checks contrast and difference. */
#ifndef GALV_VIZ_PALETTE_H
#define GALV_VIZ_PALETTE_H

#include <stdint.h>

typedef uint32_t galv_color; /* 0xRRGGBB, sRGB */

typedef enum galv_hatch {
    GALV_HATCH_NONE,
    GALV_HATCH_RISING,  /* 45 degrees, every 4 px */
    GALV_HATCH_FALLING, /* 135 degrees */
    GALV_HATCH_CROSS
} galv_hatch;

/* How an area is filled. */
typedef struct galv_fill {
    galv_color color;
    galv_color hatch_color;
    uint8_t hatch; /* galv_hatch */
    uint8_t alpha; /* 0 = opaque (so that zero is meaningful), else n/255 */
} galv_fill;

/* X(name, legend, fill, text, hatch, hatch colour) */
#define GALV_INK_TABLE(X)                                                        \
    X(FORWARD, "forward", 0x0072B2, 0xFFFFFF, NONE, 0)                           \
    X(BACKWARD, "backward", 0xE69F00, 0x000000, NONE, 0)                         \
    X(WEIGHT, "weight gradient", 0x009E73, 0x000000, NONE, 0)                    \
    X(RECOMPUTE, "recompute", 0x56B4E9, 0x000000, RISING, 0x0072B2)              \
    X(OPTIMIZER, "optimizer", 0x404040, 0xFFFFFF, NONE, 0)                       \
    X(TP, "tensor parallel", 0xCC79A7, 0x000000, NONE, 0)                        \
    X(PP, "pipeline messages", 0xB0B0B0, 0x000000, NONE, 0)                      \
    X(DP, "data parallel: reduce", 0xD55E00, 0x000000, NONE, 0)                  \
    X(DP_GATHER, "data parallel: gather", 0xD55E00, 0x000000, FALLING, 0xFFFFFF) \
    X(EP, "expert all-to-all", 0xF0E442, 0x000000, NONE, 0)                      \
    X(CP, "context parallel", 0x882255, 0xFFFFFF, NONE, 0)                       \
    X(IDLE, "idle", 0xF2F2F2, 0x595959, NONE, 0)                                 \
    X(FAILURE, "failure, restart", 0x000000, 0xFFFFFF, CROSS, 0x808080)

typedef enum galv_ink {
#define GALV_INK_ENUM(name, legend, fill, text, hatch, hatch_color) GALV_INK_##name,
    GALV_INK_TABLE(GALV_INK_ENUM)
#undef GALV_INK_ENUM
        GALV_N_INKS
} galv_ink;

#define GALV_COLOR_TEXT   0x000000u
#define GALV_COLOR_AXIS   0x404040u
#define GALV_COLOR_GRID   0xE5E5E5u
#define GALV_COLOR_FOOTER 0x737373u
#define GALV_COLOR_LIMIT  0xD55E00u
#define GALV_COLOR_WHITE  0xFFFFFFu

#define GALV_SIZE_TITLE    12.0
#define GALV_SIZE_SUBTITLE 9.0
#define GALV_SIZE_AXIS     9.0
#define GALV_SIZE_TICK     8.0
#define GALV_SIZE_CELL     7.5 /* and footers: nothing smaller is drawn */

/* Legend word, area fill, and the colour of text on it. */
const char *galv_ink_legend(galv_ink ink);
galv_fill galv_ink_fill(galv_ink ink);
galv_color galv_ink_text(galv_ink ink);

/* A model chunk's shade: `color` mixed with white by chunk / (n_chunks - 1) * 45 %, in
 * linear light. One chunk: the colour itself. */
galv_color galv_color_shade(galv_color color, int32_t chunk, int32_t n_chunks);

/* Black or white, whichever has the higher contrast on `color`. */
galv_color galv_color_text_on(galv_color color);

/* Contrast ratio of two colours, 1 to 21. Source: WCAG 2.1, section 1.4.3. */
double galv_color_contrast(galv_color a, galv_color b);

/* The n-th series of a line chart: blue, vermillion, green, orange, purple, sky. */
galv_color galv_series_color(int32_t series);

#endif
