/* Attention by cuDNN's fused kernels, where it has one for the shape.
 *
 * cuDNN knows a causal mask as a triangle, so positions have to be in order; blocks of
 * a ring of context parallelism, whose positions have gaps, and shapes without a kernel
 * stay with our own (cuda_attention.cu). The plan of a shape is made when it comes for
 * the first time and kept. Its backward kernels give bf16, which is added to the sums,
 * and add up dq in an order that is not the same each time. GALV_ATTENTION=own leaves
 * cuDNN out.
 *
 * State: it compiles, and cuDNN compiles its kernels for the graphs; it has not yet run
 * on a device. */
#include "exec/cuda_dnn_internal.h"
#include "exec/cuda_internal.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_KEPT = 64 };

typedef struct dnn_kept {
    dnn_problem problem;
    dnn_plan plan;
    bool taken; /* cuDNN has a kernel */
} dnn_kept;

struct cuda_dnn {
    cudnnHandle_t handle;
    dnn_kept kept[N_KEPT];
    int n_kept;
};

int galv_cuda_dnn_version(const galv_cuda *c)
{
    return c->dnn == nullptr ? 0 : (int)cudnnGetVersion();
}

bool galv_cuda_dnn_new(galv_cuda *c)
{
    const char *asked = getenv("GALV_ATTENTION");
    if (asked != nullptr && strcmp(asked, "own") == 0) {
        return true;
    }
    if (asked != nullptr && strcmp(asked, "cudnn") != 0) {
        galv_cuda_fail(c, GALV_USAGE, "GALV_ATTENTION is '%s'", asked);
        galv_cuda_hint(c, "it can be cudnn or own");
        return false;
    }
    struct cuda_dnn *dnn = (struct cuda_dnn *)calloc(1, sizeof *dnn);
    if (dnn == nullptr) {
        return galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
    }
    cudnnStatus_t status = cudnnCreate(&dnn->handle);
    if (status != CUDNN_STATUS_SUCCESS) {
        free(dnn);
        if (asked == nullptr) {
            return true; /* our own kernels do */
        }
        return galv_cuda_fail(c, GALV_UNAVAILABLE, "cuDNN does not begin: %s",
                              cudnnGetErrorString(status));
    }
    c->dnn = dnn;
    return true;
}

void galv_cuda_dnn_free(galv_cuda *c)
{
    if (c->dnn == nullptr) {
        return;
    }
    for (int i = 0; i < c->dnn->n_kept; i++) {
        dnn_plan_free(&c->dnn->kept[i].plan);
    }
    cudnnDestroy(c->dnn->handle);
    free(c->dnn);
    c->dnn = nullptr;
}

/* The plan of a problem; NULL where cuDNN has no kernel for it. */
static const dnn_plan *find_plan(struct cuda_dnn *dnn, const dnn_problem *problem)
{
    for (int i = 0; i < dnn->n_kept; i++) {
        if (memcmp(&dnn->kept[i].problem, problem, sizeof *problem) == 0) {
            return dnn->kept[i].taken ? &dnn->kept[i].plan : nullptr;
        }
    }
    if (dnn->n_kept == N_KEPT) {
        return nullptr;
    }
    dnn_kept *kept = &dnn->kept[dnn->n_kept++];
    kept->problem = *problem;
    kept->taken = dnn_plan_new(&kept->plan, problem, dnn->handle, nullptr) ==
                  CUDNN_STATUS_SUCCESS;
    return kept->taken ? &kept->plan : nullptr;
}

/* Whether cuDNN's own front end would give it this shape: some releases have kernels
 * whose answers are wrong for it. Source: NVIDIA, cudnn-frontend, include/
 * cudnn_frontend/node/scaled_dot_product_flash_attention.h (CompositeSDPABackwardNode::
 * pre_validate_node) and sdpa_support_surface.h. */
static bool is_sound(const galv_attention *shape, size_t version)
{
    bool broken = version == 91000 || version == 91001;
    bool lone = shape->n_queries == 1; /* decoding's kernels, not for gradients */
    bool padded = version <= 91500 && shape->n_keys % 128 != 0;
    return !broken && !lone && !padded;
}

/* The plan for a call, its memory on 16 bytes; NULL where it is not one for cuDNN. */
static const dnn_plan *plan_of(galv_cuda *c, const galv_attention *shape, bool backward,
                               void *const *memory)
{
    if (c->dnn == nullptr || (shape->causal && !shape->in_order) ||
        (shape->causal && shape->n_queries != shape->n_keys) ||
        shape->qk_dim % 8 != 0 || shape->v_dim % 8 != 0 ||
        !is_sound(shape, cudnnGetVersion())) {
        return nullptr;
    }
    for (int i = DNN_Q; i < DNN_N_GIVEN; i++) {
        bool host = i == DNN_SCALE || i == DNN_HIDDEN || i == DNN_ONE;
        if (!host && (uintptr_t)memory[i] % 16 != 0) {
            return nullptr;
        }
    }
    dnn_problem problem;
    memset(&problem, 0, sizeof problem); /* compared byte by byte */
    problem.n_samples = shape->n_samples;
    problem.n_queries = shape->n_queries;
    problem.n_keys = shape->n_keys;
    problem.n_heads = shape->n_heads;
    problem.n_groups = shape->n_groups;
    problem.qk_dim = shape->qk_dim;
    problem.v_dim = shape->v_dim;
    problem.causal = shape->causal;
    problem.backward = backward;
    return find_plan(c->dnn, &problem);
}

/* The score of a key that is not seen; releases before 9.10 want a finite one. Source:
 * cudnn-frontend, attn::score_modifiers::get_negative_inf_value. */
static float hidden_score(void)
{
    return cudnnGetVersion() < 91000 ? -FLT_MAX : -INFINITY;
}

/* Memory of the stream's own, ready to be written. */
static void *scratch(galv_cuda *c, galv_stream stream, size_t bytes)
{
    galv_backend *b = &c->base;
    void *memory = b->allocate(b, bytes > 0 ? bytes : 1);
    return memory != nullptr && galv_cuda_enter(b, stream, memory) ? memory : nullptr;
}

static void run(galv_cuda *c, galv_stream stream, const dnn_plan *plan,
                void *const *memory)
{
    void *workspace = scratch(c, stream, (size_t)plan->workspace_bytes);
    if (workspace == nullptr) {
        return;
    }
    cudnnStatus_t status = cudnnSetStream(c->dnn->handle, c->streams[stream]);
    if (status == CUDNN_STATUS_SUCCESS) {
        status = dnn_plan_run(plan, c->dnn->handle, memory, workspace);
    }
    if (status != CUDNN_STATUS_SUCCESS) {
        galv_cuda_fail(c, GALV_INTERNAL, "cuDNN: attention: %s",
                       cudnnGetErrorString(status));
        galv_cuda_hint(c, "GALV_ATTENTION=own leaves cuDNN out; CUDNN_LOGLEVEL_DBG=2 "
                          "and CUDNN_LOGDEST_DBG=stderr say more");
    }
    c->base.release(&c->base, workspace, stream);
}

bool galv_cuda_dnn_attend(galv_cuda *c, galv_stream stream, const galv_attention *shape,
                          void *out, float *lse, const void *q, const void *k,
                          const void *v)
{
    float scale = shape->scale;
    float hidden = hidden_score();
    void *memory[DNN_N_GIVEN] = {};
    memory[DNN_Q] = (void *)q;
    memory[DNN_K] = (void *)k;
    memory[DNN_V] = (void *)v;
    memory[DNN_OUT] = out;
    memory[DNN_LSE] = lse;
    memory[DNN_SCALE] = &scale;
    memory[DNN_HIDDEN] = shape->causal ? &hidden : nullptr;
    const dnn_plan *plan = plan_of(c, shape, false, memory);
    if (plan == nullptr) {
        return false;
    }
    run(c, stream, plan, memory);
    return true;
}

static size_t count_queries(const galv_attention *shape)
{
    return (size_t)shape->n_samples * (size_t)shape->n_queries * (size_t)shape->n_heads;
}

static size_t count_keys(const galv_attention *shape)
{
    return (size_t)shape->n_samples * (size_t)shape->n_keys * (size_t)shape->n_groups;
}

bool galv_cuda_dnn_attend_backward_whole(galv_cuda *c, galv_stream stream,
                                         const galv_attention *shape, void *dq,
                                         void *dk, void *dv, const void *dout,
                                         const void *q, const void *k, const void *v,
                                         const void *out, const float *lse)
{
    galv_backend *b = &c->base;
    float scale = shape->scale;
    float hidden = hidden_score();
    float one = 1;
    size_t n_rows = count_queries(shape);
    size_t n_dq = n_rows * (size_t)shape->qk_dim;
    void *memory[DNN_N_GIVEN] = {};
    memory[DNN_Q] = (void *)q;
    memory[DNN_K] = (void *)k;
    memory[DNN_V] = (void *)v;
    memory[DNN_OUT] = (void *)out;
    memory[DNN_LSE] = (void *)lse;
    memory[DNN_DOUT] = (void *)dout;
    memory[DNN_SCALE] = &scale;
    memory[DNN_HIDDEN] = shape->causal ? &hidden : nullptr;
    memory[DNN_ONE] = &one;
    memory[DNN_DQ] = dq;
    memory[DNN_DK] = dk;
    memory[DNN_DV] = dv;
    const dnn_plan *plan = plan_of(c, shape, true, memory);
    if (plan == nullptr) {
        return false;
    }
    memory[DNN_DELTA] = scratch(c, stream, n_rows * sizeof(float));
    memory[DNN_DQ_SUM] = scratch(c, stream, n_dq * sizeof(float));
    if (cudnnGetVersion() < 90600) { /* it adds to what is there */
        b->fill_zero(b, stream, memory[DNN_DQ_SUM], n_dq * sizeof(float));
    }
    if (c->err.status == GALV_OK) {
        run(c, stream, plan, memory);
    }
    b->release(b, memory[DNN_DELTA], stream);
    b->release(b, memory[DNN_DQ_SUM], stream);
    return true;
}

bool galv_cuda_dnn_attend_backward(galv_cuda *c, galv_stream stream,
                                   const galv_attention *shape, float *dq, float *dk,
                                   float *dv, const void *dout, const void *q,
                                   const void *k, const void *v, const void *out,
                                   const float *lse)
{
    galv_backend *b = &c->base;
    size_t n_dq = count_queries(shape) * (size_t)shape->qk_dim;
    size_t n_dk = count_keys(shape) * (size_t)shape->qk_dim;
    size_t n_dv = count_keys(shape) * (size_t)shape->v_dim;
    if (c->dnn == nullptr) {
        return false;
    }
    void *narrow[3] = {scratch(c, stream, n_dq * sizeof(bf16)),
                       scratch(c, stream, n_dk * sizeof(bf16)),
                       scratch(c, stream, n_dv * sizeof(bf16))};
    bool done = c->err.status != GALV_OK || galv_cuda_dnn_attend_backward_whole(
                                                c, stream, shape, narrow[0], narrow[1],
                                                narrow[2], dout, q, k, v, out, lse);
    if (done) {
        b->accumulate(b, stream, dq, narrow[0], GALV_ELEMENT, n_dq);
        b->accumulate(b, stream, dk, narrow[1], GALV_ELEMENT, n_dk);
        b->accumulate(b, stream, dv, narrow[2], GALV_ELEMENT, n_dv);
    }
    for (int i = 0; i < 3; i++) {
        b->release(b, narrow[i], stream);
    }
    return done;
}
