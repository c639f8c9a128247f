/* The graphs of attention, forward and backward, and plans to compute them. */
#include "exec/cuda_dnn_internal.h"

#include <string.h>

typedef cudnnBackendDescriptor_t descriptor;

enum { MOST_OPERATIONS = 32, MOST_WAYS = 16 };

/* Stops at the first failure: what is made after it is NULL, and nothing is asked. */
typedef struct graph {
    dnn_plan *owner;
    cudnnStatus_t status;
    descriptor operations[MOST_OPERATIONS];
    int n_operations;
    int64_t next_id; /* of tensors that are never in memory */
    const dnn_problem *p;
} graph;

/* ---- descriptors ---- */

static bool went_well(graph *g, cudnnStatus_t status)
{
    if (g->status == CUDNN_STATUS_SUCCESS) {
        g->status = status;
    }
    return g->status == CUDNN_STATUS_SUCCESS;
}

static descriptor make(graph *g, cudnnBackendDescriptorType_t type)
{
    descriptor made = nullptr;
    if (g->owner->n_made == DNN_MOST_MADE) {
        went_well(g, CUDNN_STATUS_INTERNAL_ERROR);
    }
    if (g->status == CUDNN_STATUS_SUCCESS &&
        went_well(g, cudnnBackendCreateDescriptor(type, &made))) {
        g->owner->made[g->owner->n_made++] = made;
    }
    return made;
}

static void set(graph *g, descriptor of, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t n, const void *value)
{
    if (g->status == CUDNN_STATUS_SUCCESS) {
        went_well(g, cudnnBackendSetAttribute(of, name, type, n, value));
    }
}

static void set_descriptor(graph *g, descriptor of, cudnnBackendAttributeName_t name,
                           descriptor value)
{
    set(g, of, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static void finish(graph *g, descriptor made)
{
    if (g->status == CUDNN_STATUS_SUCCESS) {
        went_well(g, cudnnBackendFinalize(made));
    }
}

/* ---- tensors: four dimensions, [sample, head, row, column] ---- */

typedef struct extents {
    int64_t size[4];
    int64_t stride[4]; /* values */
} extents;

/* Of a tensor that lies in memory as [sample, row, head, column]. */
static extents by_rows(int64_t samples, int64_t heads, int64_t rows, int64_t columns)
{
    extents e = {{samples, heads, rows, columns},
                 {rows * heads * columns, columns, heads * columns, 1}};
    return e;
}

/* Of one that lies as [sample, head, row, column]. */
static extents by_heads(int64_t samples, int64_t heads, int64_t rows, int64_t columns)
{
    extents e = {{samples, heads, rows, columns},
                 {heads * rows * columns, rows * columns, columns, 1}};
    return e;
}

static extents turned(extents e)
{
    extents t = {{e.size[0], e.size[1], e.size[3], e.size[2]},
                 {e.stride[0], e.stride[1], e.stride[3], e.stride[2]}};
    return t;
}

static descriptor tensor(graph *g, int64_t id, cudnnDataType_t type, extents e)
{
    descriptor made = make(g, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    bool yes = true;
    bool by_value = id == DNN_SCALE || id == DNN_HIDDEN || id == DNN_ONE;
    int64_t alignment = by_value ? (int64_t)sizeof(float) : 16;
    set(g, made, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    set(g, made, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, e.size);
    set(g, made, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, e.stride);
    set(g, made, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    set(g, made, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    if (id >= DNN_N_GIVEN) {
        set(g, made, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &yes);
    }
    if (by_value) {
        set(g, made, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &yes);
    }
    finish(g, made);
    return made;
}

static descriptor passing(graph *g, cudnnDataType_t type, extents e)
{
    return tensor(g, g->next_id++, type, e);
}

static descriptor scalar(graph *g, int64_t id)
{
    extents one = {{1, 1, 1, 1}, {1, 1, 1, 1}};
    return tensor(g, id, CUDNN_DATA_FLOAT, one);
}

/* ---- operations ---- */

static descriptor add_operation(graph *g, cudnnBackendDescriptorType_t type)
{
    descriptor made = make(g, type);
    if (g->n_operations == MOST_OPERATIONS) {
        went_well(g, CUDNN_STATUS_INTERNAL_ERROR);
    }
    if (g->status == CUDNN_STATUS_SUCCESS) {
        g->operations[g->n_operations++] = made;
    }
    return made;
}

/* c = a b for each sample and head; a head of b may serve several of a. */
static void multiply(graph *g, descriptor a, descriptor b, descriptor c)
{
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    descriptor how = make(g, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    set(g, how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    finish(g, how);
    descriptor op = add_operation(g, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
    finish(g, op);
}

typedef struct pointwise_how {
    cudnnPointwiseMode_t mode;
    cudnnDataType_t type;
    int64_t axis; /* of an index, else -1 */
} pointwise_how;

/* y = x, or x with b, or x where t holds and b elsewhere; what is not used is NULL. */
static void add_pointwise(graph *g, pointwise_how by, descriptor y, descriptor x,
                          descriptor b, descriptor t)
{
    descriptor how = make(g, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    set(g, how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &by.mode);
    set(g, how, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &by.type);
    if (by.axis >= 0) {
        set(g, how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &by.axis);
    }
    finish(g, how);
    descriptor op = add_operation(g, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b != nullptr) {
        set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
    }
    if (t != nullptr) {
        set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
    }
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    finish(g, op);
}

static void pointwise(graph *g, cudnnPointwiseMode_t mode, descriptor y, descriptor x,
                      descriptor b)
{
    pointwise_how by = {mode, CUDNN_DATA_FLOAT, -1};
    add_pointwise(g, by, y, x, b, nullptr);
}

/* Over the dimensions in which y has one place and x more. */
static void reduce(graph *g, cudnnReduceTensorOp_t mode, descriptor y, descriptor x)
{
    cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    descriptor how = make(g, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    set(g, how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1,
        &mode);
    set(g, how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    finish(g, how);
    descriptor op = add_operation(g, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    finish(g, op);
}

/* y = x with its rows as columns. */
static void turn(graph *g, descriptor y, descriptor x)
{
    descriptor op = add_operation(g, CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
    set_descriptor(g, op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
    finish(g, op);
}

/* ---- attention ---- */

static extents queries(const dnn_problem *p, int64_t columns)
{
    return by_rows(p->n_samples, p->n_heads, p->n_queries, columns);
}

static extents keys(const dnn_problem *p, int64_t columns)
{
    return by_rows(p->n_samples, p->n_groups, p->n_keys, columns);
}

static extents scores(const dnn_problem *p)
{
    return by_heads(p->n_samples, p->n_heads, p->n_queries, p->n_keys);
}

/* One value for each query. */
static extents rows(const dnn_problem *p)
{
    return by_heads(p->n_samples, p->n_heads, p->n_queries, 1);
}

static descriptor passing_scores(graph *g)
{
    return passing(g, CUDNN_DATA_FLOAT, scores(g->p));
}

/* s where the query's index is not less than the key's, DNN_HIDDEN elsewhere. */
static descriptor mask(graph *g, descriptor s)
{
    if (!g->p->causal) {
        return s;
    }
    descriptor row = passing(g, CUDNN_DATA_INT32, scores(g->p));
    descriptor column = passing(g, CUDNN_DATA_INT32, scores(g->p));
    descriptor sees = passing(g, CUDNN_DATA_BOOLEAN, scores(g->p));
    descriptor masked = passing_scores(g);
    pointwise_how of_row = {CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_FLOAT, 2};
    pointwise_how of_column = {CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_FLOAT, 3};
    pointwise_how compare = {CUDNN_POINTWISE_CMP_GE, CUDNN_DATA_BOOLEAN, -1};
    pointwise_how choose = {CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, -1};
    add_pointwise(g, of_row, row, s, nullptr, nullptr);
    add_pointwise(g, of_column, column, s, nullptr, nullptr);
    add_pointwise(g, compare, sees, row, column, nullptr);
    add_pointwise(g, choose, masked, s, scalar(g, DNN_HIDDEN), sees);
    return masked;
}

/* Scaled products of queries and keys. */
static descriptor find_scores(graph *g, descriptor q, descriptor k_turned,
                              descriptor scale)
{
    descriptor product = passing_scores(g);
    descriptor s = passing_scores(g);
    multiply(g, q, k_turned, product);
    pointwise(g, CUDNN_POINTWISE_MUL, s, product, scale);
    return s;
}

static void forward(graph *g)
{
    const dnn_problem *p = g->p;
    descriptor q = tensor(g, DNN_Q, CUDNN_DATA_BFLOAT16, queries(p, p->qk_dim));
    descriptor k_turned =
        tensor(g, DNN_K, CUDNN_DATA_BFLOAT16, turned(keys(p, p->qk_dim)));
    descriptor v = tensor(g, DNN_V, CUDNN_DATA_BFLOAT16, keys(p, p->v_dim));
    descriptor out = tensor(g, DNN_OUT, CUDNN_DATA_BFLOAT16, queries(p, p->v_dim));
    descriptor lse = tensor(g, DNN_LSE, CUDNN_DATA_FLOAT, rows(p));
    descriptor s = mask(g, find_scores(g, q, k_turned, scalar(g, DNN_SCALE)));
    descriptor greatest = passing(g, CUDNN_DATA_FLOAT, rows(p));
    descriptor less = passing_scores(g);
    descriptor power = passing_scores(g);
    descriptor sum = passing(g, CUDNN_DATA_FLOAT, rows(p));
    descriptor log_sum = passing(g, CUDNN_DATA_FLOAT, rows(p));
    descriptor share = passing(g, CUDNN_DATA_BFLOAT16, scores(p));
    reduce(g, CUDNN_REDUCE_TENSOR_MAX, greatest, s);
    pointwise(g, CUDNN_POINTWISE_SUB, less, s, greatest);
    pointwise(g, CUDNN_POINTWISE_EXP, power, less, nullptr);
    reduce(g, CUDNN_REDUCE_TENSOR_ADD, sum, power);
    pointwise(g, CUDNN_POINTWISE_LOG, log_sum, sum, nullptr);
    pointwise(g, CUDNN_POINTWISE_ADD, lse, greatest, log_sum);
    pointwise(g, CUDNN_POINTWISE_DIV, share, power, sum);
    multiply(g, share, v, out);
}

/* x = the transpose of `weights` times y; added up over the heads of a group. */
static void multiply_turned(graph *g, descriptor x, descriptor weights, descriptor y,
                            int64_t columns)
{
    const dnn_problem *p = g->p;
    descriptor weights_turned = passing(g, CUDNN_DATA_BFLOAT16, turned(scores(p)));
    turn(g, weights_turned, weights);
    if (p->n_heads == p->n_groups) {
        multiply(g, weights_turned, y, x);
        return;
    }
    descriptor of_heads = passing(
        g, CUDNN_DATA_BFLOAT16, by_heads(p->n_samples, p->n_heads, p->n_keys, columns));
    multiply(g, weights_turned, y, of_heads);
    reduce(g, CUDNN_REDUCE_TENSOR_ADD, x, of_heads);
}

static void backward(graph *g)
{
    const dnn_problem *p = g->p;
    descriptor q = tensor(g, DNN_Q, CUDNN_DATA_BFLOAT16, queries(p, p->qk_dim));
    descriptor k_turned =
        tensor(g, DNN_K, CUDNN_DATA_BFLOAT16, turned(keys(p, p->qk_dim)));
    descriptor v_turned =
        tensor(g, DNN_V, CUDNN_DATA_BFLOAT16, turned(keys(p, p->v_dim)));
    descriptor out = tensor(g, DNN_OUT, CUDNN_DATA_BFLOAT16, queries(p, p->v_dim));
    descriptor dout = tensor(g, DNN_DOUT, CUDNN_DATA_BFLOAT16, queries(p, p->v_dim));
    descriptor lse = tensor(g, DNN_LSE, CUDNN_DATA_FLOAT, rows(p));
    descriptor scale = scalar(g, DNN_SCALE);
    descriptor dq = tensor(g, DNN_DQ, CUDNN_DATA_BFLOAT16, queries(p, p->qk_dim));
    descriptor dk = tensor(g, DNN_DK, CUDNN_DATA_BFLOAT16, keys(p, p->qk_dim));
    descriptor dv = tensor(g, DNN_DV, CUDNN_DATA_BFLOAT16, keys(p, p->v_dim));
    /* delta = sum over columns of dout * out */
    descriptor product =
        passing(g, CUDNN_DATA_FLOAT,
                by_heads(p->n_samples, p->n_heads, p->n_queries, p->v_dim));
    descriptor sum = passing(g, CUDNN_DATA_FLOAT, rows(p));
    descriptor delta = tensor(g, DNN_DELTA, CUDNN_DATA_FLOAT, rows(p));
    pointwise(g, CUDNN_POINTWISE_MUL, product, dout, out);
    reduce(g, CUDNN_REDUCE_TENSOR_ADD, sum, product);
    pointwise(g, CUDNN_POINTWISE_MUL, delta, sum, scalar(g, DNN_ONE));
    /* the shares again, and dv = shares^T dout */
    descriptor less = passing_scores(g);
    descriptor share = passing_scores(g);
    descriptor s = find_scores(g, q, k_turned, scale);
    pointwise(g, CUDNN_POINTWISE_SUB, less, s, lse);
    pointwise(g, CUDNN_POINTWISE_EXP, share, mask(g, less), nullptr);
    multiply_turned(g, dv, share, dout, p->v_dim);
    /* ds = shares * (dout v^T - delta) * scale, and dk = ds^T q */
    descriptor dshare = passing_scores(g);
    descriptor less_delta = passing_scores(g);
    descriptor weighted = passing_scores(g);
    descriptor ds = passing(g, CUDNN_DATA_BFLOAT16, scores(p));
    multiply(g, dout, v_turned, dshare);
    pointwise(g, CUDNN_POINTWISE_SUB, less_delta, dshare, delta);
    pointwise(g, CUDNN_POINTWISE_MUL, weighted, less_delta, share);
    pointwise(g, CUDNN_POINTWISE_MUL, ds, weighted, scale);
    multiply_turned(g, dk, ds, q, p->qk_dim);
    /* dq = ds k */
    descriptor k = passing(g, CUDNN_DATA_BFLOAT16, keys(p, p->qk_dim));
    descriptor dq_sum =
        tensor(g, DNN_DQ_SUM, CUDNN_DATA_FLOAT,
               by_heads(p->n_samples, p->n_heads, p->n_queries, p->qk_dim));
    turn(g, k, k_turned);
    multiply(g, ds, k, dq_sum);
    pointwise(g, CUDNN_POINTWISE_IDENTITY, dq, dq_sum, nullptr);
}

/* ---- plans ---- */

/* Tries one way to compute; false where there is no plan, the status says why. */
static bool plan_way(graph *g, descriptor way, cudnnHandle_t handle, descriptor device)
{
    g->status = CUDNN_STATUS_SUCCESS;
    descriptor plan = make(g, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    if (handle != nullptr) {
        set(g, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    } else {
        set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device);
    }
    set_descriptor(g, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, way);
    finish(g, plan);
    if (g->status != CUDNN_STATUS_SUCCESS) {
        return false;
    }
    int64_t n = 0;
    g->owner->plan = plan;
    return went_well(g, cudnnBackendGetAttribute(
                            plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                            CUDNN_TYPE_INT64, 1, &n, &g->owner->workspace_bytes));
}

/* Asks for ways to compute, best first, and takes the first that the device has. */
static void choose_way(graph *g, cudnnHandle_t handle, descriptor device)
{
    descriptor whole = make(g, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    set(g, whole, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
        g->n_operations, g->operations);
    if (handle != nullptr) {
        set(g, whole, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    }
    finish(g, whole);
    cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    descriptor advice = make(g, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set_descriptor(g, advice, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, whole);
    set(g, advice, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (handle == nullptr) {
        set_descriptor(g, advice, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device);
    }
    finish(g, advice);
    descriptor ways[MOST_WAYS];
    int64_t n = 0;
    for (int i = 0; i < MOST_WAYS; i++) {
        ways[i] = make(g, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    }
    if (g->status == CUDNN_STATUS_SUCCESS) {
        went_well(g, cudnnBackendGetAttribute(advice, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                              CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST_WAYS,
                                              &n, ways));
    }
    if (g->status != CUDNN_STATUS_SUCCESS) {
        return;
    }
    for (int64_t i = 0; i < n && i < MOST_WAYS; i++) {
        /* one that is not for this device is refused; all else would fail again */
        if (plan_way(g, ways[i], handle, device) ||
            g->status >= CUDNN_STATUS_INTERNAL_ERROR) {
            return;
        }
    }
    g->status = CUDNN_STATUS_NOT_SUPPORTED;
}

cudnnStatus_t dnn_plan_new(dnn_plan *plan, const dnn_problem *problem,
                           cudnnHandle_t handle, cudnnBackendDescriptor_t device)
{
    memset(plan, 0, sizeof *plan);
    graph g = {};
    g.owner = plan;
    g.p = problem;
    g.next_id = DNN_N_GIVEN;
    if (problem->backward) {
        backward(&g);
    } else {
        forward(&g);
    }
    choose_way(&g, handle, device);
    return g.status;
}

void dnn_plan_free(dnn_plan *plan)
{
    for (int i = plan->n_made - 1; i >= 0; i--) {
        cudnnBackendDestroyDescriptor(plan->made[i]);
    }
    memset(plan, 0, sizeof *plan);
}

cudnnStatus_t dnn_plan_run(const dnn_plan *plan, cudnnHandle_t handle,
                           void *const *memory, void *workspace)
{
    int64_t ids[DNN_N_GIVEN];
    void *given[DNN_N_GIVEN];
    int64_t n = 0;
    dnn_plan pack = {};
    graph g = {};
    g.owner = &pack;
    for (int64_t id = DNN_Q; id < DNN_N_GIVEN; id++) {
        if (memory[id] != nullptr) {
            ids[n] = id;
            given[n++] = memory[id];
        }
    }
    descriptor all = make(&g, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    set(&g, all, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, n, given);
    set(&g, all, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, n, ids);
    set(&g, all, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    finish(&g, all);
    if (g.status == CUDNN_STATUS_SUCCESS) {
        went_well(&g, cudnnBackendExecute(handle, plan->plan, all));
    }
    dnn_plan_free(&pack);
    return g.status;
}
