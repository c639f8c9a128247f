/* Arithmetic of the layers on the host: matrix products by the BLAS, normalisation,
 * activations, rotation, embedding, AdamW.
 *
 * Statistics of a row are summed in double and kept in float32. Products of matrices
 * have the order of sums that one thread of the BLAS has. */
#include "exec/host_internal.h"
#include "exec/host_math.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void gemm(galv_backend *b, galv_stream stream, bool transpose_a,
                 bool transpose_b, size_t m, size_t n, size_t k, float alpha,
                 const void *a, const void *bb, float beta, void *c,
                 galv_element c_type)
{
    (void)c_type;
    host *h = galv_host_enter(b, stream);
    if (h == NULL || m == 0 || n == 0) {
        return;
    }
    if (m > INT32_MAX || n > INT32_MAX || k > INT32_MAX) {
        galv_host_fail(h, GALV_INTERNAL, "a matrix is larger than the BLAS can count");
        return;
    }
    int lda = (int)(transpose_a ? m : k);
    int ldb = (int)(transpose_b ? k : n);
    cblas_sgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, alpha,
                a, lda > 0 ? lda : 1, bb, ldb > 0 ? ldb : 1, beta, c, (int)n);
}

/* ---- normalisation ---- */

static void norm(galv_backend *b, galv_stream stream, void *y, float *mean, float *rstd,
                 const void *x, const void *weight, const void *bias, size_t rows,
                 size_t cols, float epsilon)
{
    if (galv_host_enter(b, stream) == NULL || cols == 0) {
        return;
    }
    const float *w = weight;
    const float *shift = bias;
    for (size_t row = 0; row < rows; row++) {
        const float *in = (const float *)x + row * cols;
        float *out = (float *)y + row * cols;
        double centre = bias != NULL ? sum_of(in, cols) / (double)cols : 0;
        double variance = sum_around(in, cols, centre) / (double)cols;
        float middle = (float)centre;
        float inverse = (float)(1 / sqrt(variance + (double)epsilon));
        rstd[row] = inverse;
        if (bias != NULL) {
            mean[row] = middle;
            for (size_t col = 0; col < cols; col++) {
                out[col] = (in[col] - middle) * inverse * w[col] + shift[col];
            }
        } else {
            for (size_t col = 0; col < cols; col++) {
                out[col] = in[col] * inverse * w[col];
            }
        }
    }
}

/* With n = (x - mean) rstd and g = dy w: dx = rstd (g - [mean of g] - n mean of g n),
 * the bracket for LayerNorm only. */
static void norm_row_backward(float *dx, const float *dy, const float *x,
                              const float *w, const float *mean, float rstd,
                              size_t cols)
{
    double centre = mean != NULL ? (double)*mean : 0;
    /* dx holds g meanwhile */
    for (size_t col = 0; col < cols; col++) {
        dx[col] = dy[col] * w[col];
    }
    double sum_g = mean != NULL ? sum_of(dx, cols) : 0;
    double sum_gn = dot_of(dx, x, cols) - centre * sum_g;
    float mean_g = (float)(sum_g / (double)cols);
    float mean_gn = (float)(sum_gn * (double)rstd / (double)cols);
    float middle = (float)centre;
    for (size_t col = 0; col < cols; col++) {
        float normal = (x[col] - middle) * rstd;
        dx[col] = rstd * (dx[col] - mean_g - normal * mean_gn);
    }
}

static void norm_backward(galv_backend *b, galv_stream stream, void *dx, float *dweight,
                          float *dbias, const void *dy, const void *x,
                          const void *weight, const float *mean, const float *rstd,
                          size_t rows, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL || cols == 0) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *in = (const float *)x + row * cols;
        const float *up = (const float *)dy + row * cols;
        const float *centre = mean != NULL ? mean + row : NULL;
        if (dweight != NULL) {
            float middle = centre != NULL ? *centre : 0.0F;
            for (size_t col = 0; col < cols; col++) {
                dweight[col] += up[col] * ((in[col] - middle) * rstd[row]);
            }
        }
        if (dbias != NULL) {
            for (size_t col = 0; col < cols; col++) {
                dbias[col] += up[col];
            }
        }
        if (dx != NULL) {
            norm_row_backward((float *)dx + row * cols, up, in, weight, centre,
                              rstd[row], cols);
        }
    }
}

/* ---- activations ---- */

/* gelu(x) = x/2 (1 + tanh(a (x + c x^3))), a = sqrt(2/pi), c = 0.044715.
 * Source: Hendrycks and Gimpel 2016 (arXiv 1606.08415), section 2. With t the tanh,
 * its derivative is (1 + t)/2 + x/2 (1 - t^2) a (1 + 3 c x^2). */
static const float gelu_a = 0.7978845608F;
static const float gelu_c = 0.044715F;

static void activate(galv_backend *b, galv_stream stream, galv_activation activation,
                     void *y, const void *x, size_t rows, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    if (activation == GALV_GELU) {
        const float *in = x;
        float *out = y;
        for (size_t i = 0; i < rows * cols; i++) {
            float v = in[i];
            float t = tanh_of(gelu_a * (v + gelu_c * v * v * v));
            out[i] = 0.5F * v * (1.0F + t);
        }
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *gate = (const float *)x + row * 2 * cols;
        const float *up = gate + cols;
        float *out = (float *)y + row * cols;
        for (size_t col = 0; col < cols; col++) {
            out[col] = gate[col] * sigmoid_of(gate[col]) * up[col];
        }
    }
}

static void gelu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = x[i];
        float t = tanh_of(gelu_a * (v + gelu_c * v * v * v));
        float inner = gelu_a * (1.0F + 3.0F * gelu_c * v * v);
        dx[i] = dy[i] * (0.5F * (1.0F + t) + 0.5F * v * (1.0F - t * t) * inner);
    }
}

static void activate_backward(galv_backend *b, galv_stream stream,
                              galv_activation activation, void *dx, const void *dy,
                              const void *x, size_t rows, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    if (activation == GALV_GELU) {
        gelu_backward(dx, dy, x, rows * cols);
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        const float *gate = (const float *)x + row * 2 * cols;
        const float *up = gate + cols;
        const float *d = (const float *)dy + row * cols;
        float *dgate = (float *)dx + row * 2 * cols;
        float *dup = dgate + cols;
        for (size_t col = 0; col < cols; col++) {
            float s = sigmoid_of(gate[col]);
            float g = gate[col];
            dgate[col] = d[col] * up[col] * s * (1.0F + g * (1.0F - s));
            dup[col] = d[col] * g * s;
        }
    }
}

/* ---- rotation ---- */

typedef struct turn {
    float cosine, sine;
} turn;

static void turns_at(turn *turns, int32_t half, int32_t position, double base,
                     bool back)
{
    for (int32_t i = 0; i < half; i++) {
        double angle = (double)position * pow(base, -(double)i / (double)half);
        turns[i].cosine = (float)cos(angle);
        turns[i].sine = (float)(back ? -sin(angle) : sin(angle));
    }
}

static void rotate(galv_backend *b, galv_stream stream, void *x,
                   const int32_t *positions, size_t n_positions, size_t rows,
                   int32_t n_heads, int32_t dim, float base, bool back)
{
    host *h = galv_host_enter(b, stream);
    int32_t half = dim / 2;
    if (h == NULL || half <= 0 || n_positions == 0) {
        return;
    }
    turn *turns = calloc((size_t)half, sizeof *turns);
    if (turns == NULL) {
        galv_host_fail(h, GALV_NO_MEMORY, "out of memory");
        return;
    }
    for (size_t position = 0; position < n_positions; position++) {
        turns_at(turns, half, positions[position], (double)base, back);
        for (size_t row = position; row < rows; row += n_positions) {
            float *first = (float *)x + row * (size_t)n_heads * (size_t)dim;
            for (int32_t head = 0; head < n_heads; head++, first += dim) {
                float *second = first + half;
                for (int32_t i = 0; i < half; i++) {
                    float u = first[i];
                    float v = second[i];
                    first[i] = u * turns[i].cosine - v * turns[i].sine;
                    second[i] = u * turns[i].sine + v * turns[i].cosine;
                }
            }
        }
    }
    free(turns);
}

/* ---- embedding ---- */

static void embed(galv_backend *b, galv_stream stream, void *out, const void *table,
                  const int32_t *tokens, int32_t begin, int32_t end, size_t rows,
                  size_t cols)
{
    if (galv_host_enter(b, stream) == NULL || cols == 0) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        float *to = (float *)out + row * cols;
        if (tokens[row] < begin || tokens[row] >= end) {
            memset(to, 0, cols * sizeof *to);
        } else {
            memcpy(to, (const float *)table + (size_t)(tokens[row] - begin) * cols,
                   cols * sizeof *to);
        }
    }
}

static void embed_backward(galv_backend *b, galv_stream stream, float *dtable,
                           const void *dout, const int32_t *tokens, int32_t begin,
                           int32_t end, size_t rows, size_t cols)
{
    if (galv_host_enter(b, stream) == NULL) {
        return;
    }
    for (size_t row = 0; row < rows; row++) {
        if (tokens[row] < begin || tokens[row] >= end) {
            continue;
        }
        float *to = dtable + (size_t)(tokens[row] - begin) * cols;
        const float *from = (const float *)dout + row * cols;
        for (size_t col = 0; col < cols; col++) {
            to[col] += from[col];
        }
    }
}

/* ---- optimizer ---- */

/* The arrays do not overlap, except that weights may be master. */
static void adamw_values(const galv_adamw *s, float *restrict master,
                         float *restrict moment1, float *restrict moment2,
                         const float *restrict gradient, size_t n)
{
    float correct1 = (float)(1 / (1 - pow((double)s->beta1, (double)s->step)));
    float correct2 = (float)(1 / (1 - pow((double)s->beta2, (double)s->step)));
    float keep = 1.0F - s->learning_rate * s->weight_decay;
    float beta1 = s->beta1;
    float beta2 = s->beta2;
    float rate = s->learning_rate;
    float epsilon = s->epsilon;
    float factor = s->gradient_scale;
    for (size_t i = 0; i < n; i++) {
        float g = gradient[i] * factor;
        float m = beta1 * moment1[i] + (1.0F - beta1) * g;
        float v = beta2 * moment2[i] + (1.0F - beta2) * g * g;
        float step = m * correct1 / (sqrtf(v * correct2) + epsilon);
        moment1[i] = m;
        moment2[i] = v;
        master[i] = keep * master[i] - rate * step;
    }
}

static void adamw(galv_backend *b, galv_stream stream, const galv_adamw *settings,
                  float *master, float *moment1, float *moment2, void *weights,
                  const float *gradient, size_t n)
{
    if (galv_host_enter(b, stream) == NULL || n == 0) {
        return;
    }
    adamw_values(settings, master, moment1, moment2, gradient, n);
    if (weights != NULL && weights != master) {
        memmove(weights, master, n * sizeof *master);
    }
}

void galv_host_fill_kernels(galv_backend *b)
{
    b->gemm = gemm;
    b->norm = norm;
    b->norm_backward = norm_backward;
    b->activate = activate;
    b->activate_backward = activate_backward;
    b->rotate = rotate;
    b->embed = embed;
    b->embed_backward = embed_backward;
    b->adamw = adamw;
}
