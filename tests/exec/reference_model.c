#include "tests/exec/reference_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* y[n_out] = W x (+ b), W [n_out][n_in] */
static void linear(double *y, const double *w, const double *b, const double *x,
                   int n_out, int n_in)
{
    for (int o = 0; o < n_out; o++) {
        double sum = b != NULL ? b[o] : 0;
        for (int i = 0; i < n_in; i++) {
            sum += w[o * n_in + i] * x[i];
        }
        y[o] = sum;
    }
}

static void norm(double *y, const double *x, const double *w, const double *b, int h)
{
    double mean = 0;
    double square = 0;
    for (int i = 0; i < h && b != NULL; i++) {
        mean += x[i] / h;
    }
    for (int i = 0; i < h; i++) {
        square += (x[i] - mean) * (x[i] - mean) / h;
    }
    for (int i = 0; i < h; i++) {
        y[i] = (x[i] - mean) / sqrt(square + 1e-5) * w[i] + (b != NULL ? b[i] : 0);
    }
}

/* One head of one token, in place: coordinates i and i + d/2 turn together. */
static void turn(double *x, int d, int position)
{
    for (int i = 0; i < d / 2; i++) {
        double angle = position * pow(10000, -2.0 * i / d);
        double a = x[i];
        double b = x[i + d / 2];
        x[i] = a * cos(angle) - b * sin(angle);
        x[i + d / 2] = a * sin(angle) + b * cos(angle);
    }
}

/* Adds the attention of all tokens to x[t][h]. */
static void attention(double *x, double *const *w, const galv_layer_group *g, int seq,
                      int rotary)
{
    int h = g->hidden_size;
    int d = g->kv_channels;
    int heads = g->num_attention_heads;
    int groups = g->num_query_groups;
    double *y = calloc((size_t)h, sizeof *y);
    double *q = calloc((size_t)(seq * heads * d), sizeof *q);
    double *k = calloc((size_t)(seq * groups * d), sizeof *k);
    double *v = calloc((size_t)(seq * groups * d), sizeof *v);
    double *out = calloc((size_t)(heads * d), sizeof *out);
    double *score = calloc((size_t)seq, sizeof *score);
    for (int t = 0; t < seq; t++) {
        norm(y, x + t * h, w[GALV_TENSOR_NORM1_WEIGHT], w[GALV_TENSOR_NORM1_BIAS], h);
        linear(q + t * heads * d, w[GALV_TENSOR_QUERY], w[GALV_TENSOR_QUERY_BIAS], y,
               heads * d, h);
        linear(k + t * groups * d, w[GALV_TENSOR_KEY], w[GALV_TENSOR_KEY_BIAS], y,
               groups * d, h);
        linear(v + t * groups * d, w[GALV_TENSOR_VALUE], w[GALV_TENSOR_VALUE_BIAS], y,
               groups * d, h);
        for (int a = 0; a < heads && rotary; a++) {
            turn(q + (t * heads + a) * d, d, t);
        }
        for (int a = 0; a < groups && rotary; a++) {
            turn(k + (t * groups + a) * d, d, t);
        }
    }
    for (int t = 0; t < seq; t++) {
        for (int a = 0; a < heads; a++) {
            int group = a / (heads / groups);
            double sum = 0;
            memset(out + a * d, 0, (size_t)d * sizeof *out);
            for (int s = 0; s <= t; s++) {
                score[s] = 0;
                for (int i = 0; i < d; i++) {
                    score[s] +=
                        q[(t * heads + a) * d + i] * k[(s * groups + group) * d + i];
                }
                score[s] = exp(score[s] / sqrt(d));
                sum += score[s];
            }
            for (int s = 0; s <= t; s++) {
                for (int i = 0; i < d; i++) {
                    out[a * d + i] += score[s] / sum * v[(s * groups + group) * d + i];
                }
            }
        }
        linear(y, w[GALV_TENSOR_PROJECTION], w[GALV_TENSOR_PROJECTION_BIAS], out, h,
               heads * d);
        for (int i = 0; i < h; i++) {
            x[t * h + i] += y[i];
        }
    }
    free(y);
    free(q);
    free(k);
    free(v);
    free(out);
    free(score);
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

/* z[h] = down(act(gate y, up y)); gate NULL: GELU of up. Rows of gate, then of up. */
static void mlp(double *z, const double *gate, const double *gate_bias,
                const double *up, const double *up_bias, const double *down,
                const double *down_bias, const double *y, int h, int f)
{
    double *a = calloc((size_t)f, sizeof *a);
    double *b = calloc((size_t)f, sizeof *b);
    linear(b, up, up_bias, y, f, h);
    if (gate != NULL) {
        linear(a, gate, gate_bias, y, f, h);
    }
    for (int i = 0; i < f; i++) {
        b[i] = gate != NULL ? a[i] / (1 + exp(-a[i])) * b[i] : gelu(b[i]);
    }
    linear(z, down, down_bias, b, h, f);
    free(a);
    free(b);
}

/* Adds the experts' answers to y (one token) to z. */
static void experts(double *z, const double *y, double *const *w,
                    const galv_layer_group *g)
{
    int h = g->hidden_size;
    int f = g->moe_ffn_hidden_size;
    int in = g->gated_linear_unit ? 2 * f : f;
    const double *in_bias = w[GALV_TENSOR_EXPERT_IN_BIAS];
    const double *out_bias = w[GALV_TENSOR_EXPERT_OUT_BIAS];
    double *logits = calloc((size_t)g->num_experts, sizeof *logits);
    double *answer = calloc((size_t)h, sizeof *answer);
    int chosen[16];
    double sum = 0;
    linear(logits, w[GALV_TENSOR_ROUTER], NULL, y, g->num_experts, h);
    for (int k = 0; k < g->moe_router_topk; k++) {
        chosen[k] = -1;
        for (int e = 0; e < g->num_experts; e++) {
            int taken = 0;
            for (int j = 0; j < k; j++) {
                taken |= chosen[j] == e;
            }
            if (!taken && (chosen[k] < 0 || logits[e] > logits[chosen[k]])) {
                chosen[k] = e;
            }
        }
        sum += exp(logits[chosen[k]]);
    }
    for (int k = 0; k < g->moe_router_topk; k++) {
        int e = chosen[k];
        const double *first = w[GALV_TENSOR_EXPERT_IN] + e * in * h;
        const double *bias = in_bias != NULL ? in_bias + e * in : NULL;
        const double *second = w[GALV_TENSOR_EXPERT_OUT] + e * h * f;
        int gated = g->gated_linear_unit;
        mlp(answer, gated ? first : NULL, gated ? bias : NULL,
            gated ? first + f * h : first, gated && bias != NULL ? bias + f : bias,
            second, out_bias != NULL ? out_bias + e * h : NULL, y, h, f);
        for (int i = 0; i < h; i++) {
            z[i] += exp(logits[e]) / sum * answer[i];
        }
    }
    free(logits);
    free(answer);
}

/* Adds MLP or experts of all tokens to x. */
static void second_half(double *x, double *const *w, const galv_layer_group *g, int seq)
{
    int h = g->hidden_size;
    int moe = g->kind == GALV_LAYER_MOE_DECODER;
    int f = moe ? g->moe_shared_ffn_hidden_size : g->ffn_hidden_size;
    double *y = calloc((size_t)h, sizeof *y);
    double *z = calloc((size_t)h, sizeof *z);
    for (int t = 0; t < seq; t++) {
        norm(y, x + t * h, w[GALV_TENSOR_NORM2_WEIGHT], w[GALV_TENSOR_NORM2_BIAS], h);
        memset(z, 0, (size_t)h * sizeof *z);
        if (f > 0) {
            mlp(z, w[GALV_TENSOR_GATE], w[GALV_TENSOR_GATE_BIAS], w[GALV_TENSOR_UP],
                w[GALV_TENSOR_UP_BIAS], w[GALV_TENSOR_DOWN], w[GALV_TENSOR_DOWN_BIAS],
                y, h, f);
        }
        if (moe) {
            experts(z, y, w, g);
        }
        for (int i = 0; i < h; i++) {
            x[t * h + i] += z[i];
        }
    }
    free(y);
    free(z);
}

double reference_loss(const reference_model *m, const int32_t *tokens,
                      int32_t n_samples, int32_t seq_length)
{
    const galv_layer_group *ends = galv_model_layer(m->model, 0);
    int h = ends->hidden_size;
    int vocabulary = ends->vocab_size;
    double *const *first = m->weights[0];
    double *const *last = m->weights[m->n_layers - 1];
    double *x = calloc((size_t)(seq_length * h), sizeof *x);
    double *y = calloc((size_t)h, sizeof *y);
    double *logits = calloc((size_t)vocabulary, sizeof *logits);
    double loss = 0;
    for (int32_t s = 0; s < n_samples; s++) {
        const int32_t *sample = tokens + s * (seq_length + 1);
        for (int t = 0; t < seq_length; t++) {
            for (int i = 0; i < h; i++) {
                const double *positions = first[GALV_TENSOR_POSITION_TABLE];
                x[t * h + i] = first[GALV_TENSOR_TOKEN_TABLE][sample[t] * h + i] +
                               (positions != NULL ? positions[t * h + i] : 0);
            }
        }
        for (int32_t layer = 1; layer + 1 < m->n_layers; layer++) {
            const galv_layer_group *g = galv_model_layer(m->model, layer);
            attention(x, m->weights[layer], g, seq_length, ends->max_positions == 0);
            second_half(x, m->weights[layer], g, seq_length);
        }
        for (int t = 0; t < seq_length; t++) {
            double sum = 0;
            norm(y, x + t * h, last[GALV_TENSOR_NORM1_WEIGHT],
                 last[GALV_TENSOR_NORM1_BIAS], h);
            linear(logits, last[GALV_TENSOR_TOKEN_TABLE], last[GALV_TENSOR_HEAD_BIAS],
                   y, vocabulary, h);
            for (int v = 0; v < vocabulary; v++) {
                sum += exp(logits[v]);
            }
            loss += log(sum) - logits[sample[t + 1]];
        }
    }
    free(x);
    free(y);
    free(logits);
    return loss / ((double)n_samples * seq_length);
}
