/* Matrix products: cuBLASLt, bf16 with float32 sums.
 *
 * cuBLASLt counts columns first, so c = op(a) op(b) of our row-major matrices is asked
 * for as c^T = op(b)^T op(a)^T, without moving anything. The way to compute a shape is
 * asked for once (heuristics) and kept; experts have another number of rows in every
 * step, so what is kept is bounded. The workspace is 32 MiB for each stream that has
 * products, taken at the first one. Shapes that cuBLASLt does not take (very odd ones)
 * go to a plain kernel.
 *
 * State: it compiles; it has not yet run on a device. */
#include "exec/cuda_internal.h"
#include "exec/cuda_machine.cuh"

#include <cublasLt.h>
#include <stdlib.h>
#include <string.h>

enum { WORKSPACE_BYTES = 32 << 20, N_KEPT = 4096, N_SLOTS = 2 * N_KEPT, TILE = 16 };

typedef struct gemm_key {
    uint64_t m, n, k;
    uint32_t transpose_a, transpose_b, c_type, aligned;
} gemm_key;

typedef struct gemm_way {
    gemm_key key;
    bool kept;  /* the slot is in use */
    bool taken; /* cuBLASLt takes the shape */
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c; /* in cuBLASLt's order: a is our b */
    cublasLtMatmulAlgo_t algorithm;
} gemm_way;

struct cuda_gemms {
    cublasLtHandle_t handle;
    cublasLtMatmulPreference_t preference;
    void *workspaces[GALV_N_STREAMS];
    gemm_way *ways; /* [N_SLOTS], open addressing */
    int n_ways;
};

static bool blas_ok(galv_cuda *c, cublasStatus_t result, const char *what)
{
    if (result == CUBLAS_STATUS_SUCCESS) {
        return true;
    }
    galv_status status =
        result == CUBLAS_STATUS_ALLOC_FAILED ? GALV_NO_MEMORY : GALV_INTERNAL;
    galv_cuda_fail(c, status, "cuBLASLt: %s: %s", what,
                   cublasLtGetStatusString(result));
    galv_cuda_hint(c, result == CUBLAS_STATUS_ALLOC_FAILED
                          ? "smaller micro-batches leave memory for the library"
                          : "run again with CUBLASLT_LOG_LEVEL=2 to see why");
    return false;
}

bool galv_cuda_gemms_new(galv_cuda *c)
{
    struct cuda_gemms *gemms = (struct cuda_gemms *)calloc(1, sizeof *gemms);
    gemm_way *ways = (gemm_way *)calloc(N_SLOTS, sizeof *ways);
    if (gemms == nullptr || ways == nullptr) {
        free(gemms);
        free(ways);
        return galv_cuda_fail(c, GALV_NO_MEMORY, "out of memory of the host");
    }
    gemms->ways = ways;
    c->gemms = gemms;
    size_t bytes = WORKSPACE_BYTES;
    return blas_ok(c, cublasLtCreate(&gemms->handle), "begin") &&
           blas_ok(c, cublasLtMatmulPreferenceCreate(&gemms->preference), "begin") &&
           blas_ok(c,
                   cublasLtMatmulPreferenceSetAttribute(
                       gemms->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                       &bytes, sizeof bytes),
                   "begin");
}

static void end_way(gemm_way *way)
{
    if (way->a != nullptr) {
        cublasLtMatrixLayoutDestroy(way->a);
    }
    if (way->b != nullptr) {
        cublasLtMatrixLayoutDestroy(way->b);
    }
    if (way->c != nullptr) {
        cublasLtMatrixLayoutDestroy(way->c);
    }
    if (way->product != nullptr) {
        cublasLtMatmulDescDestroy(way->product);
    }
    memset(way, 0, sizeof *way);
}

static void forget_ways(struct cuda_gemms *gemms)
{
    for (int i = 0; i < N_SLOTS; i++) {
        if (gemms->ways[i].kept) {
            end_way(&gemms->ways[i]);
        }
    }
    gemms->n_ways = 0;
}

void galv_cuda_gemms_free(galv_cuda *c)
{
    struct cuda_gemms *gemms = c->gemms;
    if (gemms == nullptr) {
        return;
    }
    forget_ways(gemms);
    for (int stream = 0; stream < GALV_N_STREAMS; stream++) {
        if (gemms->workspaces[stream] != nullptr) {
            cudaFree(gemms->workspaces[stream]);
        }
    }
    if (gemms->preference != nullptr) {
        cublasLtMatmulPreferenceDestroy(gemms->preference);
    }
    if (gemms->handle != nullptr) {
        cublasLtDestroy(gemms->handle);
    }
    free(gemms->ways);
    free(gemms);
    c->gemms = nullptr;
}

/* ---- ways ---- */

static uint64_t hash_of(const gemm_key *key)
{
    uint64_t words[5] = {key->m, key->n, key->k,
                         (uint64_t)key->transpose_a << 32 | key->transpose_b,
                         (uint64_t)key->c_type << 32 | key->aligned};
    uint64_t hash = 14695981039346656037U;
    for (int i = 0; i < 5; i++) {
        hash = (hash ^ words[i]) * 1099511628211U;
        hash ^= hash >> 29;
    }
    return hash;
}

static gemm_way *slot_of(struct cuda_gemms *gemms, const gemm_key *key)
{
    size_t slot = (size_t)(hash_of(key) % N_SLOTS);
    while (gemms->ways[slot].kept &&
           memcmp(&gemms->ways[slot].key, key, sizeof *key) != 0) {
        slot = (slot + 1) % N_SLOTS;
    }
    return &gemms->ways[slot];
}

/* Largest power of two up to 16 that divides the address. */
static uint32_t alignment_of(const void *pointer)
{
    uintptr_t address = (uintptr_t)pointer;
    uint32_t alignment = 16;
    while (address % alignment != 0) {
        alignment /= 2;
    }
    return alignment;
}

static bool set_alignments(galv_cuda *c, uint32_t bytes)
{
    static const cublasLtMatmulPreferenceAttributes_t names[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!blas_ok(c,
                     cublasLtMatmulPreferenceSetAttribute(
                         c->gemms->preference, names[i], &bytes, sizeof bytes),
                     "tell alignments")) {
            return false;
        }
    }
    return true;
}

static bool set_transpose(galv_cuda *c, gemm_way *way,
                          cublasLtMatmulDescAttributes_t which, bool transposes)
{
    cublasOperation_t operation = transposes ? CUBLAS_OP_T : CUBLAS_OP_N;
    return blas_ok(c,
                   cublasLtMatmulDescSetAttribute(way->product, which, &operation,
                                                  sizeof operation),
                   "tell what is transposed");
}

/* Fills in a way that cuBLASLt can go; way->taken stays false where it has none. */
static bool find_way(galv_cuda *c, gemm_way *way, const gemm_key *key)
{
    cudaDataType_t c_type = key->c_type == GALV_ELEMENT ? CUDA_R_16BF : CUDA_R_32F;
    bool ta = key->transpose_a != 0;
    bool tb = key->transpose_b != 0;
    way->key = *key;
    way->kept = true;
    c->gemms->n_ways++;
    /* rows and columns as cuBLASLt counts them; ours are b[k, n] or b[n, k] */
    bool good =
        blas_ok(c,
                cublasLtMatmulDescCreate(&way->product, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                "describe a product") &&
        set_transpose(c, way, CUBLASLT_MATMUL_DESC_TRANSA, tb) &&
        set_transpose(c, way, CUBLASLT_MATMUL_DESC_TRANSB, ta) &&
        blas_ok(c,
                cublasLtMatrixLayoutCreate(&way->a, CUDA_R_16BF, tb ? key->k : key->n,
                                           tb ? key->n : key->k,
                                           (int64_t)(tb ? key->k : key->n)),
                "describe a matrix") &&
        blas_ok(c,
                cublasLtMatrixLayoutCreate(&way->b, CUDA_R_16BF, ta ? key->m : key->k,
                                           ta ? key->k : key->m,
                                           (int64_t)(ta ? key->m : key->k)),
                "describe a matrix") &&
        blas_ok(c,
                cublasLtMatrixLayoutCreate(&way->c, c_type, key->n, key->m,
                                           (int64_t)key->n),
                "describe a matrix") &&
        set_alignments(c, key->aligned);
    if (!good) {
        return false;
    }
    cublasLtMatmulHeuristicResult_t found;
    int n_found = 0;
    memset(&found, 0, sizeof found);
    cublasStatus_t result = cublasLtMatmulAlgoGetHeuristic(
        c->gemms->handle, way->product, way->a, way->b, way->c, way->c,
        c->gemms->preference, 1, &found, &n_found);
    if (result != CUBLAS_STATUS_SUCCESS && result != CUBLAS_STATUS_NOT_SUPPORTED &&
        result != CUBLAS_STATUS_INVALID_VALUE) { /* very odd shapes are either */
        return blas_ok(c, result, "look for a way to multiply");
    }
    way->taken = result == CUBLAS_STATUS_SUCCESS && n_found > 0 &&
                 found.state == CUBLAS_STATUS_SUCCESS;
    way->algorithm = found.algo;
    return true;
}

static gemm_way *way_for(galv_cuda *c, const gemm_key *key)
{
    gemm_way *way = slot_of(c->gemms, key);
    if (way->kept) {
        return way;
    }
    if (c->gemms->n_ways >= N_KEPT) {
        forget_ways(c->gemms);
        way = slot_of(c->gemms, key);
    }
    if (!find_way(c, way, key)) {
        return nullptr;
    }
    return way;
}

/* ---- where cuBLASLt has no way ---- */

typedef struct plain_product {
    const bf16 *a, *b;
    void *c;
    size_t m, n, k;
    size_t a_row, a_col, b_row, b_col; /* strides */
    float alpha, beta;
    bool wide; /* c is float32 */
} plain_product;

/* One value of c for each thread; a block shares tiles of a and b. The grid covers
 * columns by x and strides over rows by y. */
__global__ void __launch_bounds__(TILE *TILE) multiply_plainly(plain_product p)
{
    __shared__ float a[TILE][TILE + 1];
    __shared__ float b[TILE][TILE + 1];
    int x = (int)threadIdx.x;
    int y = (int)threadIdx.y;
    size_t col = (size_t)blockIdx.x * TILE + (size_t)x;
    for (size_t first = (size_t)blockIdx.y * TILE; first < p.m;
         first += (size_t)gridDim.y * TILE) {
        size_t row = first + (size_t)y;
        float sum = 0;
        for (size_t k = 0; k < p.k; k += TILE) {
            bool in_a = row < p.m && k + (size_t)x < p.k;
            bool in_b = col < p.n && k + (size_t)y < p.k;
            a[y][x] =
                in_a ? __bfloat162float(p.a[row * p.a_row + (k + (size_t)x) * p.a_col])
                     : 0.0F;
            b[y][x] =
                in_b ? __bfloat162float(p.b[(k + (size_t)y) * p.b_row + col * p.b_col])
                     : 0.0F;
            __syncthreads();
            for (int i = 0; i < TILE; i++) {
                sum += a[y][i] * b[i][x];
            }
            __syncthreads();
        }
        if (row < p.m && col < p.n) {
            size_t place = row * p.n + col;
            float *wide = (float *)p.c + place;
            bf16 *narrow = (bf16 *)p.c + place;
            float value = p.alpha * sum;
            if (p.beta != 0) {
                value += p.beta * (p.wide ? *wide : __bfloat162float(*narrow));
            }
            if (p.wide) {
                *wide = value;
            } else {
                *narrow = __float2bfloat16(value);
            }
        }
    }
}

static void multiply(galv_cuda *c, galv_stream stream, const plain_product *p)
{
    size_t n_x = (p->n + TILE - 1) / TILE;
    size_t n_y = (p->m + TILE - 1) / TILE;
    if (n_x > INT32_MAX) {
        galv_cuda_fail(c, GALV_INTERNAL, "a matrix has too many columns");
        return;
    }
    dim3 grid((unsigned)n_x, (unsigned)(n_y < 65535 ? n_y : 65535));
    CUDA_LAUNCH(multiply_plainly, grid, dim3(TILE, TILE), 0, c->streams[stream], *p);
    galv_cuda_launched(c, "plain matrix product");
}

static void gemm(galv_backend *b, galv_stream stream, bool transpose_a,
                 bool transpose_b, size_t m, size_t n, size_t k, float alpha,
                 const void *a, const void *bb, float beta, void *out,
                 galv_element c_type)
{
    galv_cuda *c = galv_cuda_of(b);
    if (!galv_cuda_enter(b, stream, out) || m == 0 || n == 0) {
        return;
    }
    void **workspace = &c->gemms->workspaces[stream];
    if (*workspace == nullptr &&
        !galv_cuda_ok(c, cudaMalloc(workspace, WORKSPACE_BYTES),
                      "allocate the workspace of matrix products")) {
        return;
    }
    plain_product plain = {};
    plain.a = (const bf16 *)a;
    plain.b = (const bf16 *)bb;
    plain.c = out;
    plain.m = m;
    plain.n = n;
    plain.k = k;
    plain.a_row = transpose_a ? 1 : k;
    plain.a_col = transpose_a ? m : 1;
    plain.b_row = transpose_b ? 1 : n;
    plain.b_col = transpose_b ? k : 1;
    plain.alpha = alpha;
    plain.beta = beta;
    plain.wide = c_type != GALV_ELEMENT;
    if (k == 0) {
        multiply(c, stream, &plain);
        return;
    }
    gemm_key key;
    memset(&key, 0, sizeof key);
    uint32_t aligned = alignment_of(a);
    aligned = alignment_of(bb) < aligned ? alignment_of(bb) : aligned;
    aligned = alignment_of(out) < aligned ? alignment_of(out) : aligned;
    key.m = m;
    key.n = n;
    key.k = k;
    key.transpose_a = transpose_a;
    key.transpose_b = transpose_b;
    key.c_type = (uint32_t)c_type;
    key.aligned = aligned;
    const gemm_way *way = way_for(c, &key);
    if (way == nullptr) {
        return;
    }
    if (!way->taken) {
        multiply(c, stream, &plain);
        return;
    }
    blas_ok(c,
            cublasLtMatmul(c->gemms->handle, way->product, &alpha, bb, way->a, a,
                           way->b, &beta, out, way->c, out, way->c, &way->algorithm,
                           *workspace, WORKSPACE_BYTES, c->streams[stream]),
            "multiply");
}

void galv_cuda_fill_gemm(galv_backend *b)
{
    b->gemm = gemm;
}
