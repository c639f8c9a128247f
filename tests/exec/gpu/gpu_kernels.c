/* Memory traffic, arithmetic of layers, matrix products, loss and experts against the
 * host. Tolerances: 1e-2 where bf16 is written (half a unit of its last place is 2e-3
 * of a value), 1e-4 where float32 sums come in another order, 0 where values only move.
 */
#include "tests/exec/gpu/gpu_check.h"

#include <stdio.h>

#define BOTH(c)            for (int s = 0; s < N_SIDES; s++)
#define CALL(c, name, ...) (c)->b[s]->name((c)->b[s], on, __VA_ARGS__)

static const double moved = 0, narrow = 1e-2, wide = 1e-4;

static const char *named(char *text, size_t size, const char *name, size_t rows,
                         size_t cols)
{
    snprintf(text, size, "%s [%zu, %zu]", name, rows, cols);
    return text;
}

typedef struct shape {
    size_t rows, cols;
} shape;

static const shape shapes[] = {{1, 1},    {3, 7},      {5, 129},
                               {64, 256}, {257, 1000}, {33, 4097}};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };

/* ---- traffic ---- */

static void check_rows(check *c, size_t rows, size_t cols, galv_element type)
{
    char text[96];
    twin in = twin_new(c, rows * cols, type, 1);
    twin out = twin_new(c, rows * cols, type, 1);
    twin index = twin_random_ints(c, rows, -1, (int32_t)rows);
    BOTH(c) CALL(c, gather_rows, out.at[s], in.at[s], index.at[s], rows, cols, type);
    compare(c, named(text, sizeof text, "gather_rows", rows, cols), &out, moved);
    BOTH(c)
    CALL(c, scatter_add_rows, out.at[s], in.at[s], index.at[s], rows, cols, type);
    compare(c, named(text, sizeof text, "scatter_add_rows", rows, cols), &out,
            type == GALV_ELEMENT ? 4 * narrow : wide);
    BOTH(c)
    CALL(c, copy_columns, out.at[s], cols, in.at[s], cols, rows, (cols + 1) / 2, type);
    compare(c, named(text, sizeof text, "copy_columns", rows, cols), &out,
            type == GALV_ELEMENT ? 4 * narrow : wide);
    twin_free(c, &in);
    twin_free(c, &out);
    twin_free(c, &index);
}

static void check_conversions(check *c, size_t n)
{
    static const galv_element types[] = {GALV_ELEMENT, GALV_FLOAT32, GALV_INT32};
    char text[96];
    for (int i = 0; i < 9; i++) {
        galv_element from = types[i / 3];
        galv_element to = types[i % 3];
        twin in = from == GALV_INT32 ? twin_random_ints(c, n, -100, 100)
                                     : twin_new(c, n, from, 100);
        twin out = twin_all(c, n, to, 0);
        BOTH(c) CALL(c, convert, out.at[s], to, in.at[s], from, n);
        snprintf(text, sizeof text, "convert %d to %d [%zu]", (int)from, (int)to, n);
        compare(c, text, &out,
                to == GALV_ELEMENT && from == GALV_FLOAT32 ? narrow : moved);
        twin_free(c, &in);
        twin_free(c, &out);
    }
}

static void check_sums(check *c, size_t n)
{
    char text[96];
    twin a = twin_new(c, n, GALV_ELEMENT, 1);
    twin b = twin_new(c, n, GALV_ELEMENT, 1);
    twin f = twin_new(c, n, GALV_FLOAT32, 1);
    twin sum = twin_all(c, 1, GALV_FLOAT32, 1);
    BOTH(c) CALL(c, add, a.at[s], a.at[s], b.at[s], n);
    compare(c, named(text, sizeof text, "add", 1, n), &a, narrow);
    BOTH(c) CALL(c, scale, b.at[s], n, GALV_ELEMENT, 0.3F);
    compare(c, named(text, sizeof text, "scale, bf16", 1, n), &b, narrow);
    BOTH(c) CALL(c, scale, f.at[s], n, GALV_FLOAT32, 0.3F);
    compare(c, named(text, sizeof text, "scale, float32", 1, n), &f, 1e-6);
    BOTH(c) CALL(c, sum_squares, sum.at[s], f.at[s], n);
    compare(c, named(text, sizeof text, "sum_squares", 1, n), &sum, 1e-5);
    BOTH(c) CALL(c, accumulate, f.at[s], b.at[s], GALV_ELEMENT, n);
    BOTH(c) CALL(c, accumulate, f.at[s], f.at[s], GALV_FLOAT32, n);
    compare(c, named(text, sizeof text, "accumulate", 1, n), &f, narrow);
    BOTH(c) CALL(c, fill_zero, a.at[s], n * (size_t)c->b[s]->element_bytes);
    compare(c, named(text, sizeof text, "fill_zero", 1, n), &a, moved);
    BOTH(c) CALL(c, copy, a.at[s], b.at[s], n * (size_t)c->b[s]->element_bytes);
    compare(c, named(text, sizeof text, "copy", 1, n), &a, narrow);
    twin_free(c, &a);
    twin_free(c, &b);
    twin_free(c, &f);
    twin_free(c, &sum);
}

static void check_embedding(check *c, size_t rows, size_t cols)
{
    enum { BEGIN = 10, END = 50 };
    char text[96];
    twin table = twin_new(c, (END - BEGIN) * cols, GALV_ELEMENT, 1);
    twin dtable = twin_new(c, (END - BEGIN) * cols, GALV_FLOAT32, 1);
    twin rows_out = twin_new(c, rows * cols, GALV_ELEMENT, 1);
    twin tokens = twin_random_ints(c, rows, 0, 60);
    BOTH(c)
    CALL(c, embed, rows_out.at[s], table.at[s], tokens.at[s], BEGIN, END, rows, cols);
    compare(c, named(text, sizeof text, "embed", rows, cols), &rows_out, moved);
    BOTH(c)
    CALL(c, embed_backward, dtable.at[s], rows_out.at[s], tokens.at[s], BEGIN, END,
         rows, cols);
    compare(c, named(text, sizeof text, "embed_backward", rows, cols), &dtable, wide);
    twin_free(c, &table);
    twin_free(c, &dtable);
    twin_free(c, &rows_out);
    twin_free(c, &tokens);
}

void check_traffic(check *c)
{
    for (int i = 0; i < N_SHAPES; i++) {
        check_rows(c, shapes[i].rows, shapes[i].cols, GALV_ELEMENT);
        check_rows(c, shapes[i].rows, shapes[i].cols, GALV_FLOAT32);
        check_embedding(c, shapes[i].rows, shapes[i].cols);
        check_sums(c, shapes[i].rows * shapes[i].cols);
    }
    check_conversions(c, 1);
    check_conversions(c, 70001);
}

/* ---- layers ---- */

static void check_norm(check *c, size_t rows, size_t cols, bool layer)
{
    char text[96];
    const char *forward = layer ? "LayerNorm" : "RMSNorm";
    twin x = twin_new(c, rows * cols, GALV_ELEMENT, 2);
    twin dy = twin_new(c, rows * cols, GALV_ELEMENT, 1);
    twin y = twin_new(c, rows * cols, GALV_ELEMENT, 1);
    twin weight = twin_new(c, cols, GALV_ELEMENT, 1);
    twin bias = twin_new(c, cols, GALV_ELEMENT, 1);
    twin mean = twin_all(c, rows, GALV_FLOAT32, 0);
    twin rstd = twin_all(c, rows, GALV_FLOAT32, 0);
    twin dweight = twin_new(c, cols, GALV_FLOAT32, 1);
    twin dbias = twin_new(c, cols, GALV_FLOAT32, 1);
    BOTH(c)
    CALL(c, norm, y.at[s], layer ? mean.at[s] : NULL, rstd.at[s], x.at[s], weight.at[s],
         layer ? bias.at[s] : NULL, rows, cols, 1e-2F);
    compare(c, named(text, sizeof text, forward, rows, cols), &y, narrow);
    compare(c, "  rstd", &rstd, wide);
    compare(c, "  mean", &mean, 1e-3);
    BOTH(c)
    CALL(c, norm_backward, y.at[s], dweight.at[s], layer ? dbias.at[s] : NULL, dy.at[s],
         x.at[s], weight.at[s], layer ? mean.at[s] : NULL, rstd.at[s], rows, cols);
    compare(c, "  dx", &y, narrow);
    compare(c, "  dweight", &dweight, 1e-3);
    compare(c, "  dbias", &dbias, wide);
    twin *all[] = {&x, &dy, &y, &weight, &bias, &mean, &rstd, &dweight, &dbias};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        twin_free(c, all[i]);
    }
}

static void check_activation(check *c, galv_activation activation, size_t rows,
                             size_t cols)
{
    char text[96];
    size_t n_in = rows * cols * (activation == GALV_SWIGLU ? 2 : 1);
    twin x = twin_new(c, n_in, GALV_ELEMENT, 4);
    twin dx = twin_new(c, n_in, GALV_ELEMENT, 1);
    twin y = twin_new(c, rows * cols, GALV_ELEMENT, 1);
    BOTH(c) CALL(c, activate, activation, y.at[s], x.at[s], rows, cols);
    compare(c,
            named(text, sizeof text, activation == GALV_GELU ? "gelu" : "swiglu", rows,
                  cols),
            &y, narrow);
    BOTH(c)
    CALL(c, activate_backward, activation, dx.at[s], y.at[s], x.at[s], rows, cols);
    compare(c, "  dx", &dx, 2 * narrow);
    twin_free(c, &x);
    twin_free(c, &dx);
    twin_free(c, &y);
}

static void check_bias(check *c, size_t rows, size_t cols)
{
    char text[96];
    twin x = twin_new(c, rows * cols, GALV_ELEMENT, 1);
    twin bias = twin_new(c, cols, GALV_ELEMENT, 1);
    twin dbias = twin_new(c, cols, GALV_FLOAT32, 1);
    BOTH(c) CALL(c, bias_gradient, dbias.at[s], x.at[s], rows, cols);
    compare(c, named(text, sizeof text, "bias_gradient", rows, cols), &dbias, wide);
    BOTH(c) CALL(c, add_bias, x.at[s], bias.at[s], rows, cols);
    compare(c, named(text, sizeof text, "add_bias", rows, cols), &x, narrow);
    twin_free(c, &x);
    twin_free(c, &bias);
    twin_free(c, &dbias);
}

static void check_rotation(check *c, int32_t n_heads, int32_t dim)
{
    enum { POSITIONS = 37, SAMPLES = 3 };
    char text[96];
    size_t rows = (size_t)POSITIONS * SAMPLES;
    twin x = twin_new(c, rows * (size_t)n_heads * (size_t)dim, GALV_ELEMENT, 1);
    twin at = twin_random_ints(c, POSITIONS, 0, 200000);
    BOTH(c)
    CALL(c, rotate, x.at[s], at.at[s], POSITIONS, rows, n_heads, dim, 5e5F, false);
    compare(c, named(text, sizeof text, "rotate", (size_t)n_heads, (size_t)dim), &x,
            narrow);
    BOTH(c)
    CALL(c, rotate, x.at[s], at.at[s], POSITIONS, rows, n_heads, dim, 5e5F, true);
    compare(c, "  and back", &x, 2 * narrow);
    twin_free(c, &x);
    twin_free(c, &at);
}

static void check_adamw(check *c, size_t n)
{
    char text[96];
    galv_adamw settings = {1e-2F, 0.9F, 0.95F, 1e-8F, 0.1F, 3, 0.5F};
    twin master = twin_new(c, n, GALV_FLOAT32, 1);
    twin m = twin_new(c, n, GALV_FLOAT32, 0.1);
    twin v = twin_all(c, n, GALV_FLOAT32, 0.25);
    twin gradient = twin_new(c, n, GALV_FLOAT32, 1);
    twin weights = twin_all(c, n, GALV_ELEMENT, 0);
    BOTH(c)
    CALL(c, adamw, &settings, master.at[s], m.at[s], v.at[s], weights.at[s],
         gradient.at[s], n);
    compare(c, named(text, sizeof text, "adamw", 1, n), &master, 1e-5);
    compare(c, "  moment 1", &m, 1e-5);
    compare(c, "  moment 2", &v, 1e-5);
    compare(c, "  weights", &weights, narrow);
    twin *all[] = {&master, &m, &v, &gradient, &weights};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        twin_free(c, all[i]);
    }
}

/* Sizes that make whole packs of values, at addresses that do not. */
static void check_odd_addresses(check *c)
{
    enum { ROWS = 5, COLS = 64, N = ROWS * COLS };
    galv_adamw settings = {1e-2F, 0.9F, 0.95F, 1e-8F, 0.1F, 3, 0.5F};
    twin x = twin_new(c, 2 * N + 1, GALV_ELEMENT, 1);
    twin y = twin_new(c, N + 1, GALV_ELEMENT, 1);
    twin dx = twin_new(c, 2 * N + 1, GALV_ELEMENT, 1);
    twin weight = twin_new(c, COLS + 1, GALV_ELEMENT, 1);
    twin rstd = twin_all(c, ROWS, GALV_FLOAT32, 0);
    twin f = twin_new(c, N + 1, GALV_FLOAT32, 1);
    twin sum = twin_all(c, 1, GALV_FLOAT32, 1);
    twin master = twin_new(c, N + 1, GALV_FLOAT32, 1);
    twin m = twin_new(c, N + 1, GALV_FLOAT32, 0.1);
    twin v = twin_all(c, N + 1, GALV_FLOAT32, 0.25);
    BOTH(c)
    {
        size_t one = (size_t)c->b[s]->element_bytes;
        char *from = (char *)x.at[s] + one;
        char *to = (char *)y.at[s] + one;
        char *back = (char *)dx.at[s] + one;
        char *scales = (char *)weight.at[s] + one;
        float *wide_values = (float *)f.at[s] + 1;
        CALL(c, norm, to, NULL, rstd.at[s], from, scales, NULL, ROWS, COLS, 1e-2F);
        CALL(c, norm_backward, back, NULL, NULL, to, from, scales, NULL, rstd.at[s],
             ROWS, COLS);
        CALL(c, add_bias, to, scales, ROWS, COLS);
        CALL(c, add, to, to, from, N);
        CALL(c, scale, to, N, GALV_ELEMENT, 0.5F);
        CALL(c, accumulate, wide_values, to, GALV_ELEMENT, N);
        CALL(c, scale, wide_values, N, GALV_FLOAT32, 0.5F);
        CALL(c, sum_squares, sum.at[s], wide_values, N);
        CALL(c, activate, GALV_GELU, to, from, ROWS, COLS);
        CALL(c, activate_backward, GALV_GELU, to, to, from, ROWS, COLS);
        CALL(c, activate_backward, GALV_SWIGLU, back, to, from, ROWS, COLS);
        CALL(c, activate, GALV_SWIGLU, to, from, ROWS, COLS);
        CALL(c, adamw, &settings, (float *)master.at[s] + 1, (float *)m.at[s] + 1,
             (float *)v.at[s] + 1, from, wide_values, N);
        CALL(c, convert, to, GALV_ELEMENT, wide_values, GALV_FLOAT32, N);
    }
    compare(c, "odd addresses, y", &y, 4 * narrow);
    compare(c, "odd addresses, dx", &dx, 4 * narrow);
    compare(c, "odd addresses, float32", &f, 4 * narrow);
    compare(c, "odd addresses, sum", &sum, narrow);
    compare(c, "odd addresses, weights", &x, 4 * narrow);
    compare(c, "odd addresses, master", &master, 1e-3);
    twin *all[] = {&x, &y, &dx, &weight, &rstd, &f, &sum, &master, &m, &v};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        twin_free(c, all[i]);
    }
}

void check_kernels(check *c)
{
    check_odd_addresses(c);
    for (int i = 0; i < N_SHAPES; i++) {
        size_t rows = shapes[i].rows;
        size_t cols = shapes[i].cols;
        check_norm(c, rows, cols, false);
        check_norm(c, rows, cols, true);
        check_activation(c, GALV_GELU, rows, cols);
        check_activation(c, GALV_SWIGLU, rows, cols);
        check_bias(c, rows, cols);
        check_adamw(c, rows * cols);
    }
    check_rotation(c, 1, 2);
    check_rotation(c, 3, 12);
    check_rotation(c, 8, 128);
    check_rotation(c, 2, 24); /* halves that are no whole packs */
    check_rotation(c, 1, 1040);
}

/* ---- matrix products ---- */

static void check_product(check *c, size_t m, size_t n, size_t k, int kind)
{
    char text[96];
    bool ta = (kind & 1) != 0;
    bool tb = (kind & 2) != 0;
    galv_element type = (kind & 4) != 0 ? GALV_FLOAT32 : GALV_ELEMENT;
    float beta = (kind & 8) != 0 ? 1.0F : 0.0F;
    twin a = twin_new(c, m * k, GALV_ELEMENT, 1);
    twin b = twin_new(c, k * n, GALV_ELEMENT, 1);
    twin out = twin_new(c, m * n, type, 1);
    BOTH(c)
    CALL(c, gemm, ta, tb, m, n, k, 0.5F, a.at[s], b.at[s], beta, out.at[s], type);
    snprintf(text, sizeof text, "gemm %c%c %s beta %g [%zu, %zu, %zu]", ta ? 'T' : 'N',
             tb ? 'T' : 'N', type == GALV_ELEMENT ? "bf16" : "float32", (double)beta, m,
             n, k);
    compare(c, text, &out, type == GALV_ELEMENT ? narrow : 1e-3);
    twin_free(c, &a);
    twin_free(c, &b);
    twin_free(c, &out);
}

void check_gemm(check *c)
{
    static const size_t sizes[][3] = {{1, 1, 1},      {3, 5, 7},       {17, 33, 65},
                                      {64, 128, 256}, {100, 72, 1000}, {256, 1, 40},
                                      {8, 8, 0},      {513, 255, 129}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int kind = 0; kind < 16; kind++) {
            check_product(c, sizes[i][0], sizes[i][1], sizes[i][2], kind);
        }
    }
}

/* ---- loss ---- */

static void check_vocabulary(check *c, size_t rows, size_t cols)
{
    enum { BEGIN = 5 };
    char text[96];
    twin logits = twin_new(c, rows * cols, GALV_ELEMENT, 8);
    twin targets = twin_random_ints(c, rows, 0, (int32_t)cols + 10);
    twin greatest = twin_all(c, rows, GALV_FLOAT32, 0);
    twin sum = twin_all(c, rows, GALV_FLOAT32, 0);
    twin target = twin_all(c, rows, GALV_FLOAT32, 0);
    twin loss = twin_all(c, 1, GALV_FLOAT32, 1);
    BOTH(c) CALL(c, softmax_max, greatest.at[s], logits.at[s], rows, cols);
    compare(c, named(text, sizeof text, "softmax_max", rows, cols), &greatest, moved);
    BOTH(c)
    CALL(c, softmax_sum, sum.at[s], target.at[s], logits.at[s], greatest.at[s],
         targets.at[s], BEGIN, rows, cols);
    compare(c, "  softmax_sum", &sum, wide);
    compare(c, "  target", &target, moved);
    BOTH(c) CALL(c, cross_entropy, loss.at[s], sum.at[s], target.at[s], rows);
    compare(c, "  cross_entropy", &loss, wide);
    BOTH(c)
    CALL(c, cross_entropy_backward, logits.at[s], greatest.at[s], sum.at[s],
         targets.at[s], BEGIN, 0.25F, rows, cols);
    compare(c, "  cross_entropy_backward", &logits, narrow);
    twin *all[] = {&logits, &targets, &greatest, &sum, &target, &loss};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        twin_free(c, all[i]);
    }
}

void check_loss(check *c)
{
    for (int i = 0; i < N_SHAPES; i++) {
        check_vocabulary(c, shapes[i].rows, shapes[i].cols);
    }
}

/* ---- experts ---- */

static void check_router(check *c, size_t rows, int32_t n_experts, int32_t topk)
{
    char text[96];
    size_t n = rows * (size_t)topk;
    twin logits = twin_new(c, rows * (size_t)n_experts, GALV_FLOAT32, 3);
    twin experts = twin_random_ints(c, n, 0, 1);
    twin weights = twin_all(c, n, GALV_FLOAT32, 0);
    twin dweights = twin_new(c, n, GALV_FLOAT32, 1);
    twin dlogits = twin_all(c, rows * (size_t)n_experts, GALV_FLOAT32, 7);
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1) { /* all alike: ties go to the lower index */
            BOTH(c)
            CALL(c, scale, logits.at[s], rows * (size_t)n_experts, GALV_FLOAT32, 0.0F);
        }
        BOTH(c)
        CALL(c, route, experts.at[s], weights.at[s], logits.at[s], rows, n_experts,
             topk);
        snprintf(text, sizeof text, "route [%zu, %d] top %d%s", rows, (int)n_experts,
                 (int)topk, pass == 1 ? ", ties" : "");
        compare(c, text, &experts, moved);
        compare(c, "  weights", &weights, wide);
    }
    BOTH(c)
    CALL(c, route_backward, dlogits.at[s], dweights.at[s], experts.at[s], weights.at[s],
         rows, n_experts, topk);
    compare(c, "  route_backward", &dlogits, wide);
    twin *all[] = {&logits, &experts, &weights, &dweights, &dlogits};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        twin_free(c, all[i]);
    }
}

static void check_combine(check *c, size_t rows, int32_t topk, size_t cols)
{
    char text[96];
    size_t n = rows * (size_t)topk;
    int32_t places[1024];
    for (size_t i = 0; i < n; i++) { /* a permutation, with gaps */
        places[i] = i % 11 == 3 ? -1 : (int32_t)((i * 7 + 3) % n);
    }
    twin place = twin_ints(c, places, n);
    twin in = twin_new(c, n * cols, GALV_ELEMENT, 1);
    twin din = twin_all(c, n * cols, GALV_ELEMENT, 0);
    twin out = twin_new(c, rows * cols, GALV_ELEMENT, 1);
    twin weights = twin_new(c, n, GALV_FLOAT32, 1);
    twin dweights = twin_all(c, n, GALV_FLOAT32, 7);
    BOTH(c)
    CALL(c, combine, out.at[s], in.at[s], place.at[s], weights.at[s], rows, topk, cols);
    compare(c, named(text, sizeof text, "combine", rows, cols), &out, narrow);
    BOTH(c)
    CALL(c, combine_backward, din.at[s], dweights.at[s], out.at[s], in.at[s],
         place.at[s], weights.at[s], rows, topk, cols);
    compare(c, "  din", &din, 2 * narrow);
    compare(c, "  dweights", &dweights, 2 * narrow);
    twin *all[] = {&place, &in, &din, &out, &weights, &dweights};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        twin_free(c, all[i]);
    }
}

void check_experts(check *c)
{
    check_router(c, 1, 1, 1);
    check_router(c, 33, 5, 2);
    check_router(c, 513, 64, 6);
    check_router(c, 100, 256, 8);
    check_combine(c, 5, 2, 3); /* 7 and 10 share no divisor, nor do 7 and 160 */
    check_combine(c, 80, 2, 257);
}
