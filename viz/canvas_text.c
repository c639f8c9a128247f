/* Widths of text, and whether texts overlap.
 *
 * The advance widths are those of DejaVu Sans and DejaVu Sans Bold 2.37 in units of
 * 1/2048 em (a fact of the font, as are its ascent and descent), so that what fits
 * where never depends on the machine. Characters outside the table count as a capital
 * M, wide enough for most scripts. Kerning is left out: cairo's plain text does not
 * kern. */
#include "viz/canvas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Codes 0x20 to 0x7E, then 0xA0 to 0xFF; [0] regular, [1] bold. */
static const uint16_t widths[2][95 + 96] = {
    {
        651,  821,  942,  1716, 1303, 1946, 1597, 563,  799,  799,  1024, 1716, 651,
        739,  651,  690,  1303, 1303, 1303, 1303, 1303, 1303, 1303, 1303, 1303, 1303,
        690,  690,  1716, 1716, 1716, 1087, 2048, 1401, 1405, 1430, 1577, 1294, 1178,
        1587, 1540, 604,  604,  1343, 1141, 1767, 1532, 1612, 1235, 1612, 1423, 1300,
        1251, 1499, 1401, 2025, 1403, 1251, 1403, 799,  690,  799,  1716, 1024, 1024,
        1255, 1300, 1126, 1300, 1260, 721,  1300, 1298, 569,  569,  1186, 569,  1995,
        1298, 1253, 1300, 1300, 842,  1067, 803,  1298, 1212, 1675, 1212, 1212, 1075,
        1303, 690,  1303, 1716, 651,  821,  1303, 1303, 1303, 1303, 690,  1024, 1024,
        2048, 965,  1253, 1716, 739,  2048, 1024, 1024, 1716, 821,  821,  1024, 1303,
        1303, 651,  1024, 821,  965,  1253, 1985, 1985, 1985, 1087, 1401, 1401, 1401,
        1401, 1401, 1401, 1995, 1430, 1294, 1294, 1294, 1294, 604,  604,  604,  604,
        1587, 1532, 1612, 1612, 1612, 1612, 1612, 1716, 1612, 1499, 1499, 1499, 1499,
        1251, 1239, 1290, 1255, 1255, 1255, 1255, 1255, 1255, 2011, 1126, 1260, 1260,
        1260, 1260, 569,  569,  569,  569,  1253, 1298, 1253, 1253, 1253, 1253, 1253,
        1716, 1253, 1298, 1298, 1298, 1298, 1212, 1300, 1212,
    },
    {
        713,  934,  1067, 1716, 1425, 2052, 1786, 627,  936,  936,  1071, 1716, 778,
        850,  778,  748,  1425, 1425, 1425, 1425, 1425, 1425, 1425, 1425, 1425, 1425,
        819,  819,  1716, 1716, 1716, 1188, 2048, 1585, 1561, 1503, 1700, 1399, 1399,
        1681, 1714, 762,  762,  1587, 1305, 2038, 1714, 1741, 1501, 1741, 1577, 1475,
        1397, 1663, 1585, 2259, 1579, 1483, 1485, 936,  748,  936,  1716, 1024, 1024,
        1382, 1466, 1214, 1466, 1389, 891,  1466, 1458, 702,  702,  1362, 702,  2134,
        1458, 1407, 1466, 1466, 1010, 1219, 979,  1458, 1335, 1892, 1321, 1335, 1192,
        1458, 748,  1458, 1716, 713,  934,  1425, 1425, 1303, 1425, 748,  1024, 1024,
        2048, 1155, 1323, 1716, 850,  2048, 1024, 1024, 1716, 897,  897,  1024, 1507,
        1303, 778,  1024, 897,  1155, 1323, 2120, 2120, 2120, 1188, 1585, 1585, 1585,
        1585, 1585, 1585, 2222, 1503, 1399, 1399, 1399, 1399, 762,  762,  762,  762,
        1716, 1714, 1741, 1741, 1741, 1741, 1741, 1716, 1741, 1663, 1663, 1663, 1663,
        1483, 1511, 1473, 1382, 1382, 1382, 1382, 1382, 1382, 2146, 1214, 1389, 1389,
        1389, 1389, 702,  702,  702,  702,  1407, 1458, 1407, 1407, 1407, 1407, 1407,
        1716, 1407, 1458, 1458, 1458, 1458, 1335, 1466, 1335,
    },
};

static const struct {
    uint32_t code;
    uint16_t width[2];
} more_widths[] = {
    {0x0394, {1401, 1585}}, {0x03BC, {1303, 1507}}, {0x2009, {409, 409}},
    {0x2013, {1024, 1024}}, {0x2014, {2048, 2048}}, {0x2018, {651, 778}},
    {0x2019, {651, 778}},   {0x201C, {1061, 1346}}, {0x201D, {1061, 1346}},
    {0x2022, {1208, 1309}}, {0x2026, {2048, 2048}}, {0x202F, {409, 409}},
    {0x2082, {821, 897}},   {0x2190, {1716, 1716}}, {0x2192, {1716, 1716}},
    {0x2212, {1716, 1716}}, {0x2248, {1716, 1716}}, {0x2264, {1716, 1716}},
    {0x2265, {1716, 1716}},
};

static double advance(uint32_t code, bool bold)
{
    if (code >= 0x20 && code <= 0x7E) {
        return widths[bold][code - 0x20];
    }
    if (code >= 0xA0 && code <= 0xFF) {
        return widths[bold][95 + code - 0xA0];
    }
    for (size_t i = 0; i < sizeof more_widths / sizeof more_widths[0]; i++) {
        if (more_widths[i].code == code) {
            return more_widths[i].width[bold];
        }
    }
    return widths[bold]['M' - 0x20];
}

/* The next code point of a UTF-8 string; invalid bytes stand for themselves. */
static uint32_t next_code(const char **string)
{
    const unsigned char *in = (const unsigned char *)*string;
    uint32_t code = in[0];
    size_t length = 1;
    if (code >= 0xF0) {
        length = 4;
        code &= 0x07U;
    } else if (code >= 0xE0) {
        length = 3;
        code &= 0x0FU;
    } else if (code >= 0xC0) {
        length = 2;
        code &= 0x1FU;
    }
    size_t used = 1;
    while (used < length && (in[used] & 0xC0U) == 0x80U) {
        code = (code << 6) | (in[used] & 0x3FU);
        used++;
    }
    *string += used;
    return code;
}

double galv_text_width(const char *string, double size, bool bold)
{
    double units = 0.0;
    while (*string != '\0') {
        units += advance(next_code(&string), bold);
    }
    return units * size / 2048.0;
}

void galv_text_fit(char *buffer, size_t buffer_size, const char *string, double width,
                   double size, bool bold)
{
    if (galv_text_width(string, size, bold) <= width && strlen(string) < buffer_size) {
        snprintf(buffer, buffer_size, "%s", string);
        return;
    }
    static const char ellipsis[] = "\xE2\x80\xA6";
    double left = width - galv_text_width(ellipsis, size, bold);
    const char *end = string;
    while (*end != '\0') {
        const char *next = end;
        left -= advance(next_code(&next), bold) * size / 2048.0;
        if (left < 0.0 || (size_t)(next - string) + sizeof ellipsis > buffer_size) {
            break;
        }
        end = next;
    }
    while (end > string && end[-1] == ' ') {
        end--;
    }
    snprintf(buffer, buffer_size, "%.*s%s", (int)(end - string), string, ellipsis);
}

/* ---- collisions ---- */

typedef struct text_box {
    double x0, y0, x1, y1;
    const char *string;
} text_box;

/* Height of capitals and depth of descenders over the font size. */
#define CAP_HEIGHT 0.73
#define DESCENT    0.20

static text_box box_of(const galv_item *item)
{
    double shift = item->style.align == GALV_ALIGN_LEFT     ? 0.0
                   : item->style.align == GALV_ALIGN_CENTER ? item->w / 2.0
                                                            : item->w;
    double up = CAP_HEIGHT * item->style.size;
    double down = DESCENT * item->style.size;
    text_box box = {item->x - shift, item->y - up, item->x - shift + item->w,
                    item->y + down, item->string};
    if (item->style.upward) {
        box.x0 = item->x - up;
        box.x1 = item->x + down;
        box.y0 = item->y + shift - item->w;
        box.y1 = item->y + shift;
    }
    return box;
}

static int compare_boxes(const void *a, const void *b)
{
    double one = ((const text_box *)a)->x0;
    double other = ((const text_box *)b)->x0;
    return (one > other) - (one < other);
}

/* Boxes are swept from left to right: a box meets only those that begin before it
 * ends. Boxes that touch by less than a tenth of a pixel do not collide. */
static size_t sweep(const text_box *boxes, size_t n_boxes, galv_text *out)
{
    size_t collisions = 0;
    for (size_t i = 0; i < n_boxes; i++) {
        for (size_t j = i + 1; j < n_boxes && boxes[j].x0 < boxes[i].x1 - 0.1; j++) {
            if (boxes[j].y0 < boxes[i].y1 - 0.1 && boxes[i].y0 < boxes[j].y1 - 0.1) {
                collisions++;
                if (out != NULL) {
                    galv_text_printf(out, "\"%s\" meets \"%s\" at %.1f,%.1f\n",
                                     boxes[i].string, boxes[j].string, boxes[j].x0,
                                     boxes[j].y0);
                }
            }
        }
    }
    return collisions;
}

size_t galv_canvas_describe_collisions(const galv_canvas *canvas, galv_text *out)
{
    size_t n_items = galv_canvas_n_items(canvas);
    text_box *boxes = calloc(n_items + 1, sizeof *boxes);
    if (boxes == NULL) {
        return n_items + 1;
    }
    size_t n_boxes = 0;
    size_t outside = 0;
    for (size_t i = 0; i < n_items; i++) {
        const galv_item *item = galv_canvas_item(canvas, i);
        if (item->kind != GALV_ITEM_TEXT) {
            continue;
        }
        text_box box = box_of(item);
        if (box.x0 < 0.0 || box.y0 < 0.0 || box.x1 > galv_canvas_width(canvas) ||
            box.y1 > galv_canvas_height(canvas)) {
            outside++;
            if (out != NULL) {
                galv_text_printf(out, "\"%s\" leaves the canvas at %.1f,%.1f\n",
                                 box.string, box.x0, box.y0);
            }
        }
        boxes[n_boxes++] = box;
    }
    qsort(boxes, n_boxes, sizeof *boxes, compare_boxes);
    size_t collisions = sweep(boxes, n_boxes, out);
    free(boxes);
    return collisions + outside;
}

size_t galv_canvas_text_collisions(const galv_canvas *canvas)
{
    return galv_canvas_describe_collisions(canvas, NULL);
}
