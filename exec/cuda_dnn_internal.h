/* Attention as cuDNN is asked for it: a graph of elementary operations that it knows as
 * a whole and has one kernel for. C++ for nvcc alone, where cuDNN 9 is found.
 *
 * Source: what the graphs compute, Dao 2023 (arXiv 2307.08691), sections 2.2 and 3.1;
 * which graphs there is a kernel for, cuDNN's documentation of its graph API, "Fused
 * Attention fprop" and "bprop". */
#ifndef GALV_EXEC_CUDA_DNN_INTERNAL_H
#define GALV_EXEC_CUDA_DNN_INTERNAL_H

#include <cudnn.h>
#include <stdint.h>

/* One pass over attention of one shape, tensors laid out as galv_attention says. */
typedef struct dnn_problem {
    int64_t n_samples, n_queries, n_keys, n_heads, n_groups, qk_dim, v_dim;
    bool causal; /* query i sees keys 0 to i */
    bool backward;
} dnn_problem;

/* What the caller gives memory for; the unique ids of the graph. bf16 on the device
 * unless said otherwise. The gradients are written, not added to. */
enum dnn_given {
    DNN_Q = 1,
    DNN_K,
    DNN_V,
    DNN_OUT,    /* forward written, backward read */
    DNN_LSE,    /* float32, likewise */
    DNN_SCALE,  /* float32 on the host */
    DNN_HIDDEN, /* float32 on the host: the score of a key that is not seen */
    DNN_ONE,    /* float32 on the host; this and all below backward alone */
    DNN_DOUT,
    DNN_DELTA,  /* float32 [n_samples, n_heads, n_queries], scratch */
    DNN_DQ_SUM, /* float32, the size of q, scratch */
    DNN_DQ,
    DNN_DK,
    DNN_DV,
    DNN_N_GIVEN
};

enum { DNN_MOST_MADE = 192 };

typedef struct dnn_plan {
    cudnnBackendDescriptor_t made[DNN_MOST_MADE]; /* all that it stands on */
    int n_made;
    cudnnBackendDescriptor_t plan;
    int64_t workspace_bytes;
} dnn_plan;

/* Makes a plan for the device of a handle or, where that is NULL, for one that is only
 * described (a finalized CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR), which compiles the
 * kernel but cannot load it. Takes about a second. The status of what failed where
 * there is no plan: NOT_SUPPORTED when there is no kernel for the problem. Free the
 * plan in any case. */
cudnnStatus_t dnn_plan_new(dnn_plan *plan, const dnn_problem *problem,
                           cudnnHandle_t handle, cudnnBackendDescriptor_t device);
void dnn_plan_free(dnn_plan *plan);

/* Runs in the stream of the handle. memory[DNN_N_GIVEN], NULL for what the problem has
 * not; workspace on the device. */
cudnnStatus_t dnn_plan_run(const dnn_plan *plan, cudnnHandle_t handle,
                           void *const *memory, void *workspace);

#endif
