/* cuDNN's graphs, computed as they are defined: each tensor in float32, rounded to its
 * type where it is written. */
#include <cuda_bf16.h>
#include <cudnn.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

enum { WORKSPACE_BYTES = 1024, ALIGNMENT = 16 };

typedef std::vector<unsigned char> bytes;

struct emulated_dnn {
    cudaStream_t stream;
};

struct emulated_descriptor {
    cudnnBackendDescriptorType_t type;
    bool finished;
    std::map<int, bytes> values;
};

typedef emulated_descriptor *descriptor;

size_t cudnnGetVersion(void)
{
    const char *asked = getenv("GALV_EMULATED_CUDNN"); /* as another release */
    return asked != nullptr ? (size_t)atoi(asked) : 91900;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_NOT_SUPPORTED ? "not supported" : "bad parameter";
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    *handle = new emulated_dnn();
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    delete handle;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- descriptors ---- */

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *made)
{
    *made = new emulated_descriptor();
    (*made)->type = type;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d)
{
    delete d;
    return CUDNN_STATUS_SUCCESS;
}

static size_t size_of(cudnnBackendAttributeType_t type)
{
    return type == CUDNN_TYPE_BOOLEAN ? sizeof(bool)
           : type == CUDNN_TYPE_DATA_TYPE || type == CUDNN_TYPE_HEUR_MODE ||
                   type == CUDNN_TYPE_POINTWISE_MODE ||
                   type == CUDNN_TYPE_REDUCTION_OPERATOR_TYPE
               ? sizeof(int)
               : 8;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t d,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n,
                                       const void *values)
{
    if (d == nullptr || d->finished || n < 1 || values == nullptr) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        for (int64_t i = 0; i < n; i++) {
            descriptor other = ((const descriptor *)values)[i];
            if (other == nullptr || !other->finished) {
                return CUDNN_STATUS_BAD_PARAM;
            }
        }
    }
    const unsigned char *first = (const unsigned char *)values;
    d->values[name] = bytes(first, first + (size_t)n * size_of(type));
    return CUDNN_STATUS_SUCCESS;
}

template <typename T>
static std::vector<T> all_of(const emulated_descriptor *d,
                             cudnnBackendAttributeName_t name)
{
    auto found = d->values.find(name);
    if (found == d->values.end()) {
        return std::vector<T>();
    }
    std::vector<T> values(found->second.size() / sizeof(T));
    memcpy((void *)values.data(), found->second.data(), values.size() * sizeof(T));
    return values;
}

template <typename T>
static T one_of(const emulated_descriptor *d, cudnnBackendAttributeName_t name,
                T otherwise)
{
    auto found = d->values.find(name);
    if (found != d->values.end()) {
        memcpy((void *)&otherwise, found->second.data(), sizeof otherwise);
    }
    return otherwise;
}

static descriptor at(const emulated_descriptor *d, cudnnBackendAttributeName_t name)
{
    return one_of<descriptor>(d, name, nullptr);
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d)
{
    static const std::map<int, int> must = {
        {CUDNN_BACKEND_TENSOR_DESCRIPTOR, CUDNN_ATTR_TENSOR_UNIQUE_ID},
        {CUDNN_BACKEND_MATMUL_DESCRIPTOR, CUDNN_ATTR_MATMUL_COMP_TYPE},
        {CUDNN_BACKEND_POINTWISE_DESCRIPTOR, CUDNN_ATTR_POINTWISE_MODE},
        {CUDNN_BACKEND_REDUCTION_DESCRIPTOR, CUDNN_ATTR_REDUCTION_OPERATOR},
        {CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, CUDNN_ATTR_OPERATION_MATMUL_CDESC},
        {CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_POINTWISE_YDESC},
        {CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_REDUCTION_YDESC},
        {CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_RESHAPE_YDESC},
        {CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, CUDNN_ATTR_OPERATIONGRAPH_OPS},
        {CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH},
        {CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR,
         CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG},
        {CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS}};
    auto name = must.find(d->type);
    if (d->finished || name == must.end() || d->values.count(name->second) == 0) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    d->finished = true;
    return CUDNN_STATUS_SUCCESS;
}

/* One way for each graph, in which the graph is what is kept. */
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t d,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t most,
                                       int64_t *n, void *values)
{
    if (!d->finished || most < 1) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    *n = 1;
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
        descriptor way = ((descriptor *)values)[0];
        way->values[CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH] =
            d->values[CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH];
        way->finished = true;
        return CUDNN_STATUS_SUCCESS;
    }
    if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) {
        *(int64_t *)values = WORKSPACE_BYTES;
        return CUDNN_STATUS_SUCCESS;
    }
    return CUDNN_STATUS_BAD_PARAM;
}

/* ---- values ---- */

typedef struct place {
    int64_t at[4];
} place;

/* A tensor of a graph that is being computed. */
typedef struct tensor {
    int64_t id;
    cudnnDataType_t type;
    int64_t size[4], stride[4];
    void *memory; /* NULL: `values` */
    std::vector<float> values;
} tensor;

static size_t index_of(const tensor &t, const place &p)
{
    size_t index = 0;
    for (int i = 0; i < 4; i++) {
        index = index * (size_t)t.size[i] + (size_t)p.at[i];
    }
    return index;
}

static size_t offset_of(const tensor &t, const place &p)
{
    int64_t offset = 0;
    for (int i = 0; i < 4; i++) {
        offset += p.at[i] * t.stride[i];
    }
    return (size_t)offset;
}

static void store(tensor &t, const place &p, float value)
{
    __nv_bfloat16 narrow = __float2bfloat16(value);
    if (t.memory == nullptr) {
        t.values[index_of(t, p)] =
            t.type == CUDNN_DATA_BFLOAT16 ? __bfloat162float(narrow) : value;
    } else if (t.type == CUDNN_DATA_BFLOAT16) {
        ((__nv_bfloat16 *)t.memory)[offset_of(t, p)] = narrow;
    } else {
        ((float *)t.memory)[offset_of(t, p)] = value;
    }
}

static std::vector<place> places_of(const tensor &t)
{
    std::vector<place> all;
    for (int64_t a = 0; a < t.size[0]; a++) {
        for (int64_t b = 0; b < t.size[1]; b++) {
            for (int64_t c = 0; c < t.size[2]; c++) {
                for (int64_t d = 0; d < t.size[3]; d++) {
                    all.push_back(place{{a, b, c, d}});
                }
            }
        }
    }
    return all;
}

/* All values of a tensor, in the order of its places, and where among them those are
 * that go with a place of a tensor of another size: in the same place, the only one, or
 * the one for its group. */
typedef struct view {
    std::vector<float> values;
    std::vector<size_t> part[4]; /* [axis][at]: of the index */
} view;

static view view_of(const tensor &t, const tensor &other)
{
    view v;
    size_t step = 1;
    for (int i = 3; i >= 0; i--) {
        for (int64_t at = 0; at < other.size[i]; at++) {
            v.part[i].push_back((size_t)(at * t.size[i] / other.size[i]) * step);
        }
        step *= (size_t)t.size[i];
    }
    if (t.memory == nullptr) {
        v.values = t.values;
        return v;
    }
    v.values.reserve(step);
    for (const place &p : places_of(t)) {
        size_t at = offset_of(t, p);
        v.values.push_back(t.type == CUDNN_DATA_BFLOAT16
                               ? __bfloat162float(((const __nv_bfloat16 *)t.memory)[at])
                               : ((const float *)t.memory)[at]);
    }
    return v;
}

static size_t index_in(const view &v, const place &p)
{
    return v.part[0][(size_t)p.at[0]] + v.part[1][(size_t)p.at[1]] +
           v.part[2][(size_t)p.at[2]] + v.part[3][(size_t)p.at[3]];
}

static float value_in(const view &v, const place &p)
{
    return v.values[index_in(v, p)];
}

/* ---- operations; a graph is copied when it is queued, as plans may end before ---- */

typedef struct operation {
    cudnnBackendDescriptorType_t type;
    int mode;
    int64_t axis;
    int64_t x, b, t, y; /* ids; 0: none */
} operation;

typedef struct work {
    std::map<int64_t, tensor> tensors;
    std::vector<operation> operations;
} work;

static float combine(const operation &op, float x, float b, float t, const place &p)
{
    switch (op.mode) {
    case CUDNN_POINTWISE_ADD:
        return x + b;
    case CUDNN_POINTWISE_SUB:
        return x - b;
    case CUDNN_POINTWISE_MUL:
        return x * b;
    case CUDNN_POINTWISE_DIV:
        return x / b;
    case CUDNN_POINTWISE_EXP:
        return expf(x);
    case CUDNN_POINTWISE_LOG:
        return logf(x);
    case CUDNN_POINTWISE_GEN_INDEX:
        return (float)p.at[op.axis];
    case CUDNN_POINTWISE_CMP_GE:
        return x >= b ? 1.0F : 0.0F;
    case CUDNN_POINTWISE_BINARY_SELECT:
        return t != 0 ? x : b;
    default:
        return x;
    }
}

static void multiply(const tensor &a, const tensor &b, tensor &c)
{
    std::vector<float> left = view_of(a, a).values;
    std::vector<float> right = view_of(b, b).values;
    /* sums of dq were added to before 9.6 */
    bool keep =
        c.memory != nullptr && c.type == CUDNN_DATA_FLOAT && cudnnGetVersion() < 90600;
    std::vector<float> before = keep ? view_of(c, c).values : std::vector<float>();
    size_t depth = (size_t)a.size[3];
    size_t cols = (size_t)c.size[3];
    for (const place &p : places_of(c)) {
        float sum = keep ? before[index_of(c, p)] : 0.0F;
        const float *row = &left[index_of(a, place{{p.at[0], p.at[1], p.at[2], 0}})];
        int64_t head = p.at[1] * b.size[1] / c.size[1];
        const float *col = &right[index_of(b, place{{p.at[0], head, 0, p.at[3]}})];
        for (size_t k = 0; k < depth; k++) {
            sum += row[k] * col[k * cols];
        }
        store(c, p, sum);
    }
}

static void reduce(const tensor &x, tensor &y, int mode)
{
    view from = view_of(x, x);
    view into = view_of(y, x);
    std::vector<bool> begun(into.values.size());
    for (const place &p : places_of(x)) {
        float value = value_in(from, p);
        size_t i = index_in(into, p);
        float sum = into.values[i];
        into.values[i] = !begun[i]                         ? value
                         : mode == CUDNN_REDUCE_TENSOR_MAX ? fmaxf(sum, value)
                                                           : sum + value;
        begun[i] = true;
    }
    for (const place &p : places_of(y)) {
        store(y, p, into.values[index_of(y, p)]);
    }
}

static void compute(work &w, const operation &op)
{
    tensor &x = w.tensors[op.x];
    tensor &b = w.tensors[op.b];
    tensor &t = w.tensors[op.t];
    tensor &y = w.tensors[op.y];
    switch (op.type) {
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
        multiply(x, b, y);
        break;
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
        reduce(x, y, op.mode);
        break;
    case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR: {
        view from = view_of(x, x);
        for (const place &p : places_of(y)) {
            store(y, p, value_in(from, place{{p.at[0], p.at[1], p.at[3], p.at[2]}}));
        }
        break;
    }
    default: {
        view xs = view_of(x, y);
        view bs = op.b != 0 ? view_of(b, y) : view();
        view ts = op.t != 0 ? view_of(t, y) : view();
        for (const place &p : places_of(y)) {
            store(y, p,
                  combine(op, value_in(xs, p), op.b != 0 ? value_in(bs, p) : 0.0F,
                          op.t != 0 ? value_in(ts, p) : 0.0F, p));
        }
        break;
    }
    }
}

/* ---- running ---- */

/* Adds a tensor; false where it has no memory that it should have. */
static bool add_tensor(work *w, descriptor d, const std::map<int64_t, void *> &memory,
                       int64_t *id)
{
    *id = d == nullptr ? 0 : one_of<int64_t>(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, 0);
    if (d == nullptr || w->tensors.count(*id) > 0) {
        return true;
    }
    tensor t = {};
    std::vector<int64_t> size = all_of<int64_t>(d, CUDNN_ATTR_TENSOR_DIMENSIONS);
    std::vector<int64_t> stride = all_of<int64_t>(d, CUDNN_ATTR_TENSOR_STRIDES);
    t.id = *id;
    t.type = (cudnnDataType_t)one_of<int>(d, CUDNN_ATTR_TENSOR_DATA_TYPE, 0);
    size_t n = 1;
    for (size_t i = 0; i < 4; i++) {
        t.size[i] = size[i];
        t.stride[i] = stride[i];
        n *= (size_t)size[i];
    }
    auto found = memory.find(*id);
    if (one_of<bool>(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, false)) {
        if (found == memory.end()) {
            return false;
        }
        t.values.push_back(*(const float *)found->second); /* on the host: read now */
        if (std::isinf(t.values[0]) && cudnnGetVersion() < 91000) {
            return false;
        }
    } else if (one_of<bool>(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, false)) {
        t.values.resize(n);
    } else if (found == memory.end() || (uintptr_t)found->second % ALIGNMENT != 0) {
        return false;
    } else {
        t.memory = found->second;
    }
    w->tensors[*id] = t;
    return true;
}

static bool add_operation(work *w, descriptor d,
                          const std::map<int64_t, void *> &memory)
{
    operation op = {};
    descriptor x = nullptr;
    descriptor b = nullptr;
    descriptor t = nullptr;
    descriptor y = nullptr;
    op.type = d->type;
    switch (d->type) {
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
        x = at(d, CUDNN_ATTR_OPERATION_MATMUL_ADESC);
        b = at(d, CUDNN_ATTR_OPERATION_MATMUL_BDESC);
        y = at(d, CUDNN_ATTR_OPERATION_MATMUL_CDESC);
        break;
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: {
        descriptor how = at(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
        op.mode = one_of<int>(how, CUDNN_ATTR_POINTWISE_MODE, -1);
        op.axis = one_of<int64_t>(how, CUDNN_ATTR_POINTWISE_AXIS, 0);
        x = at(d, CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
        b = at(d, CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
        t = at(d, CUDNN_ATTR_OPERATION_POINTWISE_TDESC);
        y = at(d, CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
        break;
    }
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
        op.mode = one_of<int>(at(d, CUDNN_ATTR_OPERATION_REDUCTION_DESC),
                              CUDNN_ATTR_REDUCTION_OPERATOR, -1);
        x = at(d, CUDNN_ATTR_OPERATION_REDUCTION_XDESC);
        y = at(d, CUDNN_ATTR_OPERATION_REDUCTION_YDESC);
        break;
    default:
        x = at(d, CUDNN_ATTR_OPERATION_RESHAPE_XDESC);
        y = at(d, CUDNN_ATTR_OPERATION_RESHAPE_YDESC);
        break;
    }
    if (x == nullptr || y == nullptr || !add_tensor(w, x, memory, &op.x) ||
        !add_tensor(w, b, memory, &op.b) || !add_tensor(w, t, memory, &op.t) ||
        !add_tensor(w, y, memory, &op.y)) {
        return false;
    }
    w->operations.push_back(op);
    return true;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack)
{
    std::vector<int64_t> ids =
        all_of<int64_t>(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    std::vector<void *> pointers =
        all_of<void *>(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    void *workspace = one_of<void *>(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, nullptr);
    descriptor graph = at(at(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG),
                          CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    if (ids.size() != pointers.size() || workspace == nullptr) {
        return CUDNN_STATUS_BAD_PARAM;
    }
    std::map<int64_t, void *> memory;
    for (size_t i = 0; i < ids.size(); i++) {
        memory[ids[i]] = pointers[i];
    }
    auto w = std::make_shared<work>();
    for (descriptor d : all_of<descriptor>(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS)) {
        if (!add_operation(w.get(), d, memory)) {
            return CUDNN_STATUS_BAD_PARAM;
        }
    }
    emulated_queue(handle->stream, "a graph of cuDNN", [=]() {
        memset(workspace, 0xff, WORKSPACE_BYTES);
        for (const operation &op : w->operations) {
            compute(*w, op);
        }
        return true;
    });
    return CUDNN_STATUS_SUCCESS;
}
