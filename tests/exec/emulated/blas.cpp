/* Matrix products of the emulated device; columns first, as cuBLASLt counts. */
#include <cublasLt.h>
#include <cuda_bf16.h>

#include <vector>

#include <cblas.h>

enum { WORKSPACE_BYTES = 1 << 20 };

struct emulated_blas {
    int nothing;
};
struct emulated_product {
    cublasOperation_t a, b;
};
struct emulated_matrix {
    cudaDataType_t type;
    uint64_t rows, cols;
    int64_t ld;
};
struct emulated_preference {
    uint64_t workspace_bytes;
    uint32_t alignment;
};

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported" : "invalid value";
}

size_t cublasLtGetVersion(void)
{
    return 130000;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = new emulated_blas();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *product,
                                        cublasComputeType_t, cudaDataType_t)
{
    *product = new emulated_product();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product)
{
    delete product;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    cublasOperation_t *to =
        attribute == CUBLASLT_MATMUL_DESC_TRANSA ? &product->a : &product->b;
    if (bytes != sizeof *to) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    memcpy(to, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *matrix,
                                          cudaDataType_t type, uint64_t rows,
                                          uint64_t cols, int64_t ld)
{
    if (ld < (int64_t)rows || rows == 0 || cols == 0) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    *matrix = new emulated_matrix{type, rows, cols, ld};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matrix)
{
    delete matrix;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    *preference = new emulated_preference{0, 256};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    delete preference;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                     cublasLtMatmulPreferenceAttributes_t attribute,
                                     const void *value, size_t bytes)
{
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
        if (bytes != sizeof preference->workspace_bytes) {
            return CUBLAS_STATUS_INVALID_VALUE;
        }
        memcpy(&preference->workspace_bytes, value, bytes);
        return CUBLAS_STATUS_SUCCESS;
    }
    if (bytes != sizeof preference->alignment) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    memcpy(&preference->alignment, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

/* Whether the matrices make a product; its sizes. */
static bool sizes_of(cublasLtMatmulAlgo_t *sizes, cublasLtMatmulDesc_t product,
                     cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                     cublasLtMatrixLayout_t c)
{
    bool ta = product->a == CUBLAS_OP_T;
    bool tb = product->b == CUBLAS_OP_T;
    sizes->m = c->rows;
    sizes->n = c->cols;
    sizes->k = ta ? a->rows : a->cols;
    return (ta ? a->cols : a->rows) == sizes->m &&
           (tb ? b->rows : b->cols) == sizes->n &&
           (tb ? b->cols : b->rows) == sizes->k && a->type == CUDA_R_16BF &&
           b->type == CUDA_R_16BF;
}

cublasStatus_t
cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t product,
                               cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                               cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t,
                               cublasLtMatmulPreference_t preference, int,
                               cublasLtMatmulHeuristicResult_t *results, int *n)
{
    *n = 0;
    if (!sizes_of(&results->algo, product, a, b, c)) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    if (a->ld % 2 != 0 || b->ld % 2 != 0 || c->ld % 2 != 0 ||
        preference->workspace_bytes < WORKSPACE_BYTES) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    results->algo.alignment = preference->alignment;
    results->workspaceSize = WORKSPACE_BYTES;
    results->state = CUBLAS_STATUS_SUCCESS;
    *n = 1;
    return CUBLAS_STATUS_SUCCESS;
}

static float value_at(const void *values, size_t i, cudaDataType_t type)
{
    return type == CUDA_R_32F ? ((const float *)values)[i]
                              : __bfloat162float(((const __nv_bfloat16 *)values)[i]);
}

/* All values that a layout has, columns one behind another. */
static std::vector<float> values_of(const void *values, const emulated_matrix &m)
{
    std::vector<float> all(m.rows * m.cols);
    for (size_t col = 0; col < m.cols; col++) {
        for (size_t row = 0; row < m.rows; row++) {
            all[col * m.rows + row] =
                value_at(values, col * (size_t)m.ld + row, m.type);
        }
    }
    return all;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product,
                              const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b,
                              cublasLtMatrixLayout_t b_layout, const void *beta,
                              const void *c, cublasLtMatrixLayout_t c_layout, void *d,
                              cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream)
{
    cublasLtMatmulAlgo_t sizes;
    if (!sizes_of(&sizes, product, a_layout, b_layout, d_layout) ||
        c_layout->rows != d_layout->rows || c_layout->ld != d_layout->ld ||
        sizes.m != algorithm->m || sizes.n != algorithm->n || sizes.k != algorithm->k ||
        (uintptr_t)a % algorithm->alignment != 0 ||
        (uintptr_t)b % algorithm->alignment != 0 ||
        (uintptr_t)d % algorithm->alignment != 0 || workspace == nullptr ||
        workspace_bytes < WORKSPACE_BYTES || c != d) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    /* scalars and layouts are the caller's: they are taken now */
    float by = *(const float *)alpha;
    float keep = *(const float *)beta;
    emulated_product p = *product;
    emulated_matrix am = *a_layout;
    emulated_matrix bm = *b_layout;
    emulated_matrix dm = *d_layout;
    emulated_queue(stream, "matrix product", [=]() {
        memset(workspace, 0xff, WORKSPACE_BYTES);
        std::vector<float> left = values_of(a, am);
        std::vector<float> right = values_of(b, bm);
        std::vector<float> out(dm.rows * dm.cols, 0.0F);
        if (keep != 0) {
            out = values_of(d, dm);
        }
        cblas_sgemm(CblasColMajor, p.a == CUBLAS_OP_T ? CblasTrans : CblasNoTrans,
                    p.b == CUBLAS_OP_T ? CblasTrans : CblasNoTrans, (int)sizes.m,
                    (int)sizes.n, (int)sizes.k, by, left.data(), (int)am.rows,
                    right.data(), (int)bm.rows, keep, out.data(), (int)dm.rows);
        for (size_t col = 0; col < dm.cols; col++) {
            for (size_t row = 0; row < dm.rows; row++) {
                float value = out[col * dm.rows + row];
                size_t place = col * (size_t)dm.ld + row;
                if (dm.type == CUDA_R_32F) {
                    ((float *)d)[place] = value;
                } else {
                    ((__nv_bfloat16 *)d)[place] = __float2bfloat16(value);
                }
            }
        }
        return true;
    });
    return CUBLAS_STATUS_SUCCESS;
}
