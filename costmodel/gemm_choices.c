/* What a library makes of a product beside the law: measured.
 *
 * A library picks kernels by rules of its own, at some sizes better ones than the tiles
 * of gemm.c say and at others worse. It is no noise: what the law leaves over agrees on
 * identical chips (B200 and B300: correlation of 0.84 below 3e10 FLOP). No few
 * constants tell it, so it is measured: data/gemm_choices.csv holds ln(measured / law)
 * in hundredths, a letter for each m below, a row for each n and k.
 * benchmarks/fit_choices.c makes it of the published points; its head says how, and it
 * prints how far off points and whole sizes are that were held out. Between the sizes
 * it is interpolated linearly; m stands twice at each tile's edge, since one row more
 * begins another tile. Beyond the largest size it stays; below the smallest it fades
 * within a factor of 2. Devices that have no rows, and batches of products, have none.
 *
 * Left out: other layouts than that of forward products; other libraries. */
#include "costmodel/kernels_internal.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

extern const char galv_data_gemm_choices_csv[];

const double galv_choice_m[GALV_N_CHOICE_M] = {
    512,  513,  768,  769,  1024, 1025, 1280, 1281, 1536, 1537,  1792, 1793,
    2048, 2049, 2304, 2305, 2560, 2561, 2816, 2817, 3072, 3073,  3328, 3329,
    3584, 3585, 3840, 3841, 4096, 4097, 4352, 4353, 8192, 16384, 32768};
const double galv_choice_n[GALV_N_CHOICE_N] = {512,  768,   1024,  1536,  2048,  2560,
                                               3072, 3584,  4096,  5120,  6144,  7168,
                                               8192, 10240, 12288, 16384, 51200, 65536};
const double galv_choice_k[GALV_N_CHOICE_K] = {512,  1024,  2048, 4096,
                                               8192, 16384, 65536};

/* The letter of no difference; the next one is a hundredth slower. */
#define NONE 'W'

bool galv_gemm_choices_find(galv_gemm_choices *choices, const char *device)
{
    size_t length = strlen(device);
    const char *line = galv_data_gemm_choices_csv;
    int found = 0;
    while (*line != '\0' && found < GALV_N_CHOICE_N * GALV_N_CHOICE_K) {
        size_t width = strcspn(line, "\n");
        if (strncmp(line, device, length) == 0 && line[length] == ',' &&
            width > GALV_N_CHOICE_M) {
            choices->letters[found / GALV_N_CHOICE_K][found % GALV_N_CHOICE_K] =
                line + width - GALV_N_CHOICE_M;
            found++;
        } else if (found > 0) {
            break; /* a device's rows lie together */
        }
        line += width + (line[width] == '\n');
    }
    choices->present = found == GALV_N_CHOICE_N * GALV_N_CHOICE_K;
    return choices->present || found == 0;
}

/* A size between two that were measured. */
typedef struct place {
    int at;
    double part; /* of the way to the next one */
    double fade;
} place;

static inline place find_place(const double *sizes, int n, double size)
{
    place p = {0, 0, 1};
    if (size <= sizes[0]) {
        p.fade = fmax(0, 2 - sizes[0] / size);
        return p;
    }
    if (size >= sizes[n - 1]) {
        p.at = n - 2;
        p.part = 1;
        return p;
    }
    for (int left = n - 1; left > 1; left -= left / 2) { /* without a branch inside */
        p.at += sizes[p.at + left / 2] <= size ? left / 2 : 0;
    }
    p.part = (size - sizes[p.at]) / (sizes[p.at + 1] - sizes[p.at]);
    return p;
}

/* Where a product lies in the table, and how much of what stands there counts. */
typedef struct spot {
    place m, n, k;
    double fade;
} spot;

static inline spot find_spot(double m, double n, double k)
{
    spot s = {find_place(galv_choice_m, GALV_N_CHOICE_M, m),
              find_place(galv_choice_n, GALV_N_CHOICE_N, n),
              find_place(galv_choice_k, GALV_N_CHOICE_K, k), 1};
    s.fade = s.m.fade * s.n.fade * s.k.fade;
    return s;
}

/* What a pair of rows counts: bit 0 is the next n, bit 1 the next k. */
static inline double pair_weight(const spot *s, int pair)
{
    return s->fade * (pair & 1 ? s->n.part : 1 - s->n.part) *
           (pair & 2 ? s->k.part : 1 - s->k.part);
}

void galv_gemm_choice_weights(int at[3], double weights[8], double m, double n,
                              double k)
{
    spot s = find_spot(m, n, k);
    at[0] = s.m.at;
    at[1] = s.n.at;
    at[2] = s.k.at;
    for (int pair = 0; pair < 4; pair++) {
        double nk = pair_weight(&s, pair);
        weights[2 * pair] = (1 - s.m.part) * nk;
        weights[2 * pair + 1] = s.m.part * nk;
    }
}

/* To 1e-5 where |x| < 0.4. */
static double exponential(double x)
{
    return 1 + x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5))));
}

double galv_gemm_choice(const galv_gemm_choices *choices, double m, double n, double k)
{
    if (!choices->present) {
        return 1;
    }
    double sum = 0;
    spot s = find_spot(m, n, k);
    for (int pair = 0; pair < 4; pair++) {
        const char *letters =
            choices->letters[s.n.at + (pair & 1)][s.k.at + (pair >> 1)] + s.m.at;
        double nk = pair_weight(&s, pair);
        sum += (1 - s.m.part) * nk * (letters[0] - NONE) +
               s.m.part * nk * (letters[1] - NONE);
    }
    return exponential(0.01 * sum);
}
