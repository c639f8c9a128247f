/* Kernels of the layers against naive computations in double, gradients against central
 * differences of those. */
#include "exec/host_math.h"
#include "tests/exec/support.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

GALV_TEST_SUITE(exec_layer_kernels);

static const galv_stream on = GALV_STREAM_COMPUTE;

static void give_all_back(const device *d, void **all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        give_back(d, all[i]);
    }
}
#define GIVE_BACK(d, ...)                       \
    give_all_back((d), (void *[]){__VA_ARGS__}, \
                  sizeof((void *[]){__VA_ARGS__}) / sizeof(void *))

Test(exec_layer_kernels, gemm_is_the_sum_of_products_in_all_four_transpositions)
{
    enum { M = 5, N = 7, K = 3 };
    double a[M * K];
    double b[K * N];
    double c[M * N];
    fill_random(a, M * K, 1);
    fill_random(b, K * N, 2);
    fill_random(c, M * N, 3);
    for (int form = 0; form < 4; form++) {
        bool ta = form % 2 == 1;
        bool tb = form / 2 == 1;
        double want[M * N];
        for (int i = 0; i < M; i++) {
            for (int j = 0; j < N; j++) {
                double sum = 0;
                for (int k = 0; k < K; k++) {
                    sum += (ta ? a[k * M + i] : a[i * K + k]) *
                           (tb ? b[j * K + k] : b[k * N + j]);
                }
                want[i * N + j] = 1.5 * sum + 0.25 * c[i * N + j];
            }
        }
        device d = device_open();
        float *da = put(&d, a, M * K);
        float *db = put(&d, b, K * N);
        float *dc = put(&d, c, M * N);
        d.b->gemm(d.b, on, ta, tb, M, N, K, 1.5F, da, db, 0.25F, dc, GALV_FLOAT32);
        expect_close("c", &d, dc, want, M * N, 1e-6);
        GIVE_BACK(&d, da, db, dc);
        device_close(&d);
    }
}

Test(exec_layer_kernels, gemm_of_nothing_scales_and_overwrites_nan)
{
    device d = device_open();
    float *a = put_all(&d, 1, 4);
    float *c = put_all(&d, NAN, 4);
    d.b->gemm(d.b, on, false, false, 2, 2, 2, 1, a, a, 0, c, GALV_ELEMENT);
    expect_close("c", &d, c, (double[]){2, 2, 2, 2}, 4, 0);
    d.b->gemm(d.b, on, false, false, 2, 2, 0, 1, a, a, 0.5F, c, GALV_ELEMENT);
    expect_close("k = 0", &d, c, (double[]){1, 1, 1, 1}, 4, 0);
    d.b->gemm(d.b, on, false, false, 0, 2, 2, 1, a, a, 0, c, GALV_ELEMENT);
    GIVE_BACK(&d, a, c);
    device_close(&d);
}

/* ---- normalisation ---- */

enum { ROWS = 4, COLS = 6 };

typedef struct normal {
    double x[ROWS * COLS], w[COLS], b[COLS], dy[ROWS * COLS];
    double y[ROWS * COLS], mean[ROWS], rstd[ROWS];
    bool centred; /* LayerNorm */
} normal;

static double naive_norm(void *state)
{
    normal *n = state;
    double loss = 0;
    for (int row = 0; row < ROWS; row++) {
        const double *x = n->x + row * COLS;
        double mean = 0;
        double square = 0;
        for (int col = 0; col < COLS; col++) {
            mean += n->centred ? x[col] / COLS : 0;
        }
        for (int col = 0; col < COLS; col++) {
            square += (x[col] - mean) * (x[col] - mean) / COLS;
        }
        n->mean[row] = mean;
        n->rstd[row] = 1 / sqrt(square + 1e-3);
        for (int col = 0; col < COLS; col++) {
            double y = (x[col] - mean) * n->rstd[row] * n->w[col] +
                       (n->centred ? n->b[col] : 0);
            n->y[row * COLS + col] = y;
            loss += y * n->dy[row * COLS + col];
        }
    }
    return loss;
}

static void hold_norm(bool centred)
{
    normal n = {.centred = centred};
    fill_random(n.x, ROWS * COLS, 1);
    fill_random(n.w, COLS, 2);
    fill_random(n.b, COLS, 3);
    fill_random(n.dy, ROWS * COLS, 4);
    for (int i = 0; i < ROWS * COLS; i++) {
        n.x[i] += 3; /* a mean that matters */
    }
    naive_norm(&n);
    device d = device_open();
    float *x = put(&d, n.x, ROWS * COLS);
    float *w = put(&d, n.w, COLS);
    float *b = centred ? put(&d, n.b, COLS) : NULL;
    float *dy = put(&d, n.dy, ROWS * COLS);
    float *y = put_all(&d, NAN, ROWS * COLS);
    float *mean = centred ? put_all(&d, NAN, ROWS) : NULL;
    float *rstd = put_all(&d, NAN, ROWS);
    float *dx = put_all(&d, NAN, ROWS * COLS);
    float *dw = put_all(&d, 0, COLS);
    float *db = centred ? put_all(&d, 0, COLS) : NULL;
    d.b->norm(d.b, on, y, mean, rstd, x, w, b, ROWS, COLS, 1e-3F);
    d.b->norm_backward(d.b, on, dx, NULL, NULL, dy, x, w, mean, rstd, ROWS, COLS);
    d.b->norm_backward(d.b, on, NULL, dw, db, dy, x, w, mean, rstd, ROWS, COLS);
    expect_close("y", &d, y, n.y, ROWS * COLS, 2e-6);
    expect_close("rstd", &d, rstd, n.rstd, ROWS, 1e-6);
    expect_gradient("dx", &d, dx, naive_norm, &n, n.x, ROWS * COLS);
    expect_gradient("dw", &d, dw, naive_norm, &n, n.w, COLS);
    if (centred) {
        expect_close("mean", &d, mean, n.mean, ROWS, 1e-6);
        expect_gradient("db", &d, db, naive_norm, &n, n.b, COLS);
    }
    GIVE_BACK(&d, x, w, b, dy, y, mean, rstd, dx, dw, db);
    device_close(&d);
}

Test(exec_layer_kernels, layer_norm_with_its_gradients)
{
    hold_norm(true);
}

Test(exec_layer_kernels, rms_norm_with_its_gradients)
{
    hold_norm(false);
}

/* ---- activations ---- */

typedef struct activated {
    galv_activation kind;
    double x[2 * ROWS * COLS], dy[ROWS * COLS], y[ROWS * COLS];
} activated;

static double naive_activate(void *state)
{
    activated *a = state;
    double loss = 0;
    for (int row = 0; row < ROWS; row++) {
        for (int col = 0; col < COLS; col++) {
            double y;
            if (a->kind == GALV_GELU) {
                double x = a->x[row * COLS + col];
                y = x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
            } else {
                double gate = a->x[row * 2 * COLS + col];
                y = gate / (1 + exp(-gate)) * a->x[row * 2 * COLS + COLS + col];
            }
            a->y[row * COLS + col] = y;
            loss += y * a->dy[row * COLS + col];
        }
    }
    return loss;
}

static void hold_activation(galv_activation kind)
{
    activated a = {.kind = kind};
    size_t n = kind == GALV_GELU ? ROWS * COLS : 2 * ROWS * COLS;
    fill_random(a.x, n, 1);
    fill_random(a.dy, ROWS * COLS, 2);
    for (size_t i = 0; i < n; i++) {
        a.x[i] *= 4;
    }
    a.x[0] = 60; /* far out, where the exponential overflows */
    a.x[1] = -120;
    naive_activate(&a);
    device d = device_open();
    float *x = put(&d, a.x, n);
    float *dy = put(&d, a.dy, ROWS * COLS);
    float *y = put_all(&d, NAN, ROWS * COLS);
    float *dx = put_all(&d, NAN, n);
    d.b->activate(d.b, on, kind, y, x, ROWS, COLS);
    d.b->activate_backward(d.b, on, kind, dx, dy, x, ROWS, COLS);
    expect_close("y", &d, y, a.y, ROWS * COLS, 2e-6);
    expect_gradient("dx", &d, dx, naive_activate, &a, a.x, n);
    GIVE_BACK(&d, x, dy, y, dx);
    device_close(&d);
}

Test(exec_layer_kernels, gelu_with_its_gradient)
{
    hold_activation(GALV_GELU);
}

Test(exec_layer_kernels, swiglu_with_its_gradient)
{
    hold_activation(GALV_SWIGLU);
}

/* ---- rotation ---- */

Test(exec_layer_kernels, rotation_turns_pairs_by_position_and_back)
{
    enum { SAMPLES = 2, POSITIONS = 3, HEADS = 2, DIM = 4, N = 2 * 3 * 2 * 4 };
    static const int32_t positions[POSITIONS] = {0, 5, 1000};
    double x[N];
    double want[N];
    fill_random(x, N, 1);
    for (int row = 0; row < SAMPLES * POSITIONS; row++) {
        for (int head = 0; head < HEADS; head++) {
            for (int i = 0; i < DIM / 2; i++) {
                double angle = positions[row % POSITIONS] * pow(1e4, -2.0 * i / DIM);
                int place = (row * HEADS + head) * DIM + i;
                double u = x[place];
                double v = x[place + DIM / 2];
                want[place] = u * cos(angle) - v * sin(angle);
                want[place + DIM / 2] = v * cos(angle) + u * sin(angle);
            }
        }
    }
    device d = device_open();
    float *dx = put(&d, x, N);
    int32_t *dp = put_int(&d, positions, POSITIONS);
    d.b->rotate(d.b, on, dx, dp, POSITIONS, SAMPLES * POSITIONS, HEADS, DIM, 1e4F,
                false);
    expect_close("turned", &d, dx, want, N, 1e-6);
    d.b->rotate(d.b, on, dx, dp, POSITIONS, SAMPLES * POSITIONS, HEADS, DIM, 1e4F,
                true);
    expect_close("back", &d, dx, x, N, 1e-6);
    GIVE_BACK(&d, dx, dp);
    device_close(&d);
}

/* ---- embedding ---- */

Test(exec_layer_kernels, embedding_reads_its_part_and_adds_gradients_there)
{
    /* tokens 10, 11, 12, and what is not the table's */
    double table[4 * 2] = {1, 2, 3, 4, 5, 6, -9, -9};
    static const int32_t tokens[5] = {11, 9, 12, 11, 13};
    device d = device_open();
    float *t = put(&d, table, 8);
    int32_t *tok = put_int(&d, tokens, 5);
    float *out = put_all(&d, NAN, 10);
    d.b->embed(d.b, on, out, t, tok, 10, 13, 5, 2);
    expect_close("out", &d, out, (double[]){3, 4, 0, 0, 5, 6, 3, 4, 0, 0}, 10, 0);
    float *dout = put(&d, (double[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 10);
    float *dtable = put_all(&d, 100, 8);
    d.b->embed_backward(d.b, on, dtable, dout, tok, 10, 13, 5, 2);
    expect_close("dtable", &d, dtable,
                 (double[]){100, 100, 108, 110, 105, 106, 100, 100}, 8, 0);
    GIVE_BACK(&d, t, tok, out, dout, dtable);
    device_close(&d);
}

/* ---- loss ---- */

enum { TOKENS = 5, VOCABULARY = 7, SPLIT = 3 };

typedef struct loss {
    double logits[TOKENS * VOCABULARY];
    const int32_t *targets;
} loss;

static double naive_loss(void *state)
{
    const loss *l = state;
    double total = 0;
    for (int row = 0; row < TOKENS; row++) {
        double sum = 0;
        for (int col = 0; col < VOCABULARY; col++) {
            sum += exp(l->logits[row * VOCABULARY + col]);
        }
        total += log(sum) - l->logits[row * VOCABULARY + l->targets[row]];
    }
    return total * 0.25;
}

/* One part of the vocabulary, columns [first, first + n). */
static float *part_of(const device *d, const double *logits, int first, int n)
{
    double part[TOKENS * VOCABULARY];
    for (int row = 0; row < TOKENS; row++) {
        for (int col = 0; col < n; col++) {
            part[row * n + col] = logits[row * VOCABULARY + first + col];
        }
    }
    return put(d, part, (size_t)(TOKENS * n));
}

Test(exec_layer_kernels, cross_entropy_over_a_split_vocabulary_equals_the_whole)
{
    static const int32_t targets[TOKENS] = {0, 2, 3, 6, 4};
    loss l = {.targets = targets};
    fill_random(l.logits, TOKENS * VOCABULARY, 1);
    for (int i = 0; i < TOKENS * VOCABULARY; i++) {
        l.logits[i] *= 5;
    }
    device d = device_open();
    galv_backend *b = d.b;
    int32_t *t = put_int(&d, targets, TOKENS);
    float *parts[2] = {part_of(&d, l.logits, 0, SPLIT),
                       part_of(&d, l.logits, SPLIT, VOCABULARY - SPLIT)};
    const size_t widths[2] = {SPLIT, VOCABULARY - SPLIT};
    const int32_t begins[2] = {0, SPLIT};
    float *most = put_all(&d, NAN, TOKENS);
    float *sum = put_all(&d, 0, TOKENS);
    float *target = put_all(&d, 0, TOKENS);
    float *part_sum = put_all(&d, NAN, TOKENS);
    float *part_target = put_all(&d, NAN, TOKENS);
    float *loss_sum = put_all(&d, 1, 1);
    float maxima[2][TOKENS];
    for (int part = 0; part < 2; part++) {
        b->softmax_max(b, on, most, parts[part], TOKENS, widths[part]);
        b->download(b, maxima[part], most, TOKENS, GALV_FLOAT32);
    }
    for (int row = 0; row < TOKENS; row++) {
        maxima[0][row] = fmaxf(maxima[0][row], maxima[1][row]);
    }
    b->upload(b, most, maxima[0], TOKENS, GALV_FLOAT32);
    for (int part = 0; part < 2; part++) {
        b->softmax_sum(b, on, part_sum, part_target, parts[part], most, t, begins[part],
                       TOKENS, widths[part]);
        b->add(b, on, sum, sum, part_sum, TOKENS);
        b->add(b, on, target, target, part_target, TOKENS);
    }
    b->cross_entropy(b, on, loss_sum, sum, target, TOKENS);
    expect_close("loss", &d, loss_sum, (double[]){1 + 4 * naive_loss(&l)}, 1, 1e-6);
    /* the gradient of a quarter of the loss, in two parts beside each other */
    float *whole = put_all(&d, NAN, TOKENS * VOCABULARY);
    for (int part = 0; part < 2; part++) {
        b->cross_entropy_backward(b, on, parts[part], most, sum, t, begins[part], 0.25F,
                                  TOKENS, widths[part]);
        b->copy_columns(b, on, whole + begins[part], VOCABULARY, parts[part],
                        widths[part], TOKENS, widths[part], GALV_ELEMENT);
    }
    expect_gradient("dlogits", &d, whole, naive_loss, &l, l.logits,
                    TOKENS * VOCABULARY);
    GIVE_BACK(&d, t, parts[0], parts[1], most, sum, target, part_sum, part_target,
              loss_sum, whole);
    device_close(&d);
}

/* ---- optimizer ---- */

Test(exec_layer_kernels, adamw_follows_the_published_algorithm_over_steps)
{
    enum { N = 9 };
    double p[N];
    double m[N] = {0};
    double v[N] = {0};
    double g[N];
    fill_random(p, N, 1);
    device d = device_open();
    float *master = put(&d, p, N);
    float *moment1 = put_all(&d, 0, N);
    float *moment2 = put_all(&d, 0, N);
    float *weights = put_all(&d, NAN, N);
    for (int step = 1; step <= 3; step++) {
        fill_random(g, N, 10 + (unsigned)step);
        galv_adamw settings = {.learning_rate = 0.01F,
                               .beta1 = 0.9F,
                               .beta2 = 0.95F,
                               .epsilon = 1e-8F,
                               .weight_decay = 0.1F,
                               .step = step,
                               .gradient_scale = 0.5F};
        float *gradient = put(&d, g, N);
        d.b->adamw(d.b, on, &settings, master, moment1, moment2, weights, gradient, N);
        give_back(&d, gradient);
        for (int i = 0; i < N; i++) {
            double scaled = 0.5 * g[i];
            m[i] = 0.9 * m[i] + 0.1 * scaled;
            v[i] = 0.95 * v[i] + 0.05 * scaled * scaled;
            double m_hat = m[i] / (1 - pow(0.9, step));
            double v_hat = v[i] / (1 - pow(0.95, step));
            p[i] = p[i] - 0.01 * (m_hat / (sqrt(v_hat) + 1e-8) + 0.1 * p[i]);
        }
    }
    expect_close("master", &d, master, p, N, 1e-6);
    expect_close("weights", &d, weights, p, N, 1e-6);
    expect_close("moment1", &d, moment1, m, N, 1e-6);
    expect_close("moment2", &d, moment2, v, N, 1e-6);
    GIVE_BACK(&d, master, moment1, moment2, weights);
    device_close(&d);
}

/* ---- the exponential of the loops ---- */

Test(exec_layer_kernels, exponential_is_good_to_two_units_and_passes_nan_on)
{
    for (int i = -870000; i <= 880000; i++) {
        float x = (float)i * 1e-4F;
        double want = exp((double)x);
        cr_assert(fabs((double)exp_of(x) - want) <= 2.4e-7 * want,
                  "at %.9g: %.9g, not %.9g", (double)x, (double)exp_of(x), want);
    }
    cr_expect_eq(exp_of(0), 1.0F);
    cr_expect_eq(exp_of(-INFINITY), 0.0F);
    cr_expect_eq(exp_of(-1000), 0.0F);
    cr_expect_gt(exp_of(INFINITY), 1e38F);
    cr_expect(isnan(exp_of(NAN)));
    cr_expect_lt(sigmoid_of(-200), 1e-37F);
    cr_expect_eq(sigmoid_of(200), 1.0F);
    cr_expect_eq(tanh_of(50), 1.0F);
    cr_expect_eq(tanh_of(-50), -1.0F);
}
