/* Does cuDNN have kernels for our graphs of attention? It compiles them without a
 * device, for one that is described to it; only loading them needs a driver, so a plan
 * that fails there, after all else, is as good as one that does not fail. That the
 * graphs compute attention is another test's claim (tests/exec/gpu on the emulated
 * device). */
#include "exec/cuda_dnn_internal.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef struct device {
    const char *name;
    int version; /* compute capability, 900 for 9.0 */
    int n_processors;
    int most_shared_bytes; /* of a block, asked for */
} device;

/* Sources: CUDA C++ Programming Guide, "Technical Specifications per Compute
 * Capability"; NVIDIA's data sheets. */
static const device a100 = {"A100", 800, 108, 163 << 10};
static const device h200 = {"H200", 900, 132, 227 << 10};
static const device b200 = {"B200", 1000, 148, 227 << 10};

/* NULL where this cuDNN wants to know other things of a device. */
static cudnnBackendDescriptor_t describe(const device *d)
{
    char text[1024];
    cudnnBackendDescriptor_t made = nullptr;
    int n = snprintf(
        text, sizeof text,
        "{\"maxGridSize\": [2147483647, 65535, 65535], \"maxBlockSize\": [1024, 1024, "
        "64],"
        " \"regsPerBlock\": 65536, \"multiProcessorCount\": %d, \"warpSize\": 32,"
        " \"maxSharedMemoryPerBlock\": 49152, \"maxSharedMemoryPerBlockOptin\": %d,"
        " \"reservedSharedMemoryPerBlock\": 1024, \"maxRegistersPerSM\": 65536,"
        " \"maxCtasPerSM\": 32, \"maxThreadsPerBlock\": 1024, \"maxThreadsPerSM\": "
        "2048,"
        " \"pciDeviceId\": 0, \"isTccDriver\": 0, \"supportCoopLaunch\": 1,"
        " \"totalGlobalMem\": 80000000000, \"smClockRateKHz\": 1400000,"
        " \"memClockRateKHz\": 1500000, \"l2CacheSize\": 41943040, \"cudaDeviceId\": 0,"
        " \"deviceVer\": %d, \"driverVer\": 13000, \"deviceName\": \"%s\"}",
        d->n_processors, d->most_shared_bytes, d->version, d->name);
    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &made) !=
            CUDNN_STATUS_SUCCESS ||
        cudnnBackendSetAttribute(made, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                 CUDNN_TYPE_CHAR, n + 1,
                                 text) != CUDNN_STATUS_SUCCESS ||
        cudnnBackendFinalize(made) != CUDNN_STATUS_SUCCESS) {
        return nullptr;
    }
    return made;
}

static int n_tested, n_passed;

static void hold(const device *d, dnn_problem problem, bool kernel)
{
    dnn_plan plan;
    cudnnBackendDescriptor_t described = describe(d);
    for (int backward = 0; backward < 2; backward++) {
        problem.backward = backward == 1;
        cudnnStatus_t status = dnn_plan_new(&plan, &problem, nullptr, described);
        bool has = status == CUDNN_STATUS_SUCCESS ||
                   status == CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER;
        n_tested++;
        n_passed += has == kernel;
        printf("%s %s: %d samples, %d queries, %d keys, %d/%d heads of %d%s, %s: %s\n",
               has == kernel ? "ok   " : "FAIL ", d->name, (int)problem.n_samples,
               (int)problem.n_queries, (int)problem.n_keys, (int)problem.n_heads,
               (int)problem.n_groups, (int)problem.qk_dim,
               problem.causal ? ", causal" : "", backward ? "backward" : "forward",
               cudnnGetErrorString(status));
        dnn_plan_free(&plan);
    }
    cudnnBackendDestroyDescriptor(described);
}

int main(void)
{
    /* cuDNN wants the driver's library, if only to know that there is one */
    if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) == nullptr &&
        dlopen(STUB_OF_DRIVER, RTLD_NOW | RTLD_GLOBAL) == nullptr) {
        printf("skipped: neither a driver nor %s\n", STUB_OF_DRIVER);
        printf(
            "[====] Synthesis: Tested: 1 | Passing: 0 | Failing: 0 | Crashing: 0 \n");
        return 0;
    }
    cudnnBackendDescriptor_t described = describe(&h200);
    if (described == nullptr) {
        printf("skipped: cuDNN %d describes devices in another way\n",
               (int)cudnnGetVersion());
        printf(
            "[====] Synthesis: Tested: 1 | Passing: 0 | Failing: 0 | Crashing: 0 \n");
        return 0;
    }
    cudnnBackendDestroyDescriptor(described);
    dnn_problem llama2 = {1, 4096, 4096, 32, 32, 128, 128, true, false};
    dnn_problem llama3 = {2, 1000, 1000, 32, 8, 128, 128, true, false};
    dnn_problem whole = {2, 1000, 500, 16, 16, 64, 64, false, false};
    dnn_problem odd = {2, 1000, 1000, 16, 16, 36, 36, true, false};
    hold(&h200, llama2, true);
    hold(&h200, llama3, true);
    hold(&h200, whole, true);
    hold(&h200, odd, false); /* rows are not of 16 bytes */
    hold(&a100, llama3, true);
    hold(&b200, llama3, true);
    printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0 \n",
           n_tested, n_passed, n_tested - n_passed);
    return n_passed < n_tested;
}
