/* make gpu-check: the CUDA backend against the host backend, on a device. Exit status 0
 * when all passed, or when there is no device (it says so); 1 otherwise.
 *
 *     gpu-check               under mpirun for collectives over several devices
 *     gpu-check --no-rates    leaves the measuring out
 *     gpu-check --small       so do these, with less memory: for emulated devices
 *     gpu-check --attention   attention alone, and its rates
 *     gpu-check --collectives collectives alone
 *     gpu-check --host        the host backend in the device's place: checks the check
 */
#include "exec/cuda.h"
#include "exec/host.h"
#include "exec/world_internal.h"
#include "tests/exec/gpu/gpu_check.h"

#include <stdio.h>
#include <string.h>

static int report(check *c, galv_err *err)
{
    int32_t mine = c->n_failed;
    int32_t all[1024] = {0};
    int32_t failed = 0;
    if (galv_world_size(c->world) > 1024 ||
        galv_world_all_gather(c->world, all, &mine, sizeof mine, err) != GALV_OK) {
        return 1;
    }
    for (int32_t rank = 0; rank < galv_world_size(c->world); rank++) {
        failed += all[rank];
    }
    if (galv_world_rank(c->world) == 0) {
        printf("gpu-check: %d passed, %d failed on all ranks\n", c->n_passed,
               (int)failed);
        printf(
            "[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0 \n",
            c->n_passed + c->n_failed, c->n_passed, (int)failed);
    }
    return failed > 0;
}

/* What is checked alone, if anything. */
typedef enum alone { ALL, ATTENTION, COLLECTIVES } alone;

static void check_all(check *c)
{
    check_memory(c);
    check_traffic(c);
    check_kernels(c);
    check_gemm(c);
    check_loss(c);
    check_experts(c);
    check_attention(c);
    check_collectives(c);
    if (galv_world_size(c->world) == 1) {
        check_training(c);
    }
}

static int run(check *c, bool rates, alone what)
{
    struct galv_world single = {.size = 1, .launcher = "alone"};
    galv_err err = GALV_ERR_INIT;
    if (galv_host_backend_new(&c->b[HOST], &single, &err) != GALV_OK) {
        fprintf(stderr, "gpu-check: %s\n", err.message);
        return 1;
    }
    if (galv_world_rank(c->world) == 0) {
        printf("gpu-check: %s; %s; %d ranks\n", c->b[GPU]->device, c->b[GPU]->libraries,
               (int)galv_world_size(c->world));
    }
    galv_backend *b = c->b[GPU];
    if (what == ATTENTION) {
        check_attention(c);
    } else if (what == COLLECTIVES) {
        check_collectives(c);
    } else {
        check_all(c);
    }
    if (rates && what == ATTENTION) {
        measure_attention(c);
    } else if (rates && what == ALL && galv_world_size(c->world) == 1) {
        measure(c);
    }
    b->synchronize(b);
    claim(c, b->status(b, &err) == GALV_OK && b->allocated_bytes(b) == 0,
          "no error, and all memory given back %s", err.message);
    c->b[HOST]->free(c->b[HOST]);
    return report(c, &err);
}

int main(int argc, char **argv)
{
    check c = {.random = 1};
    galv_err err = GALV_ERR_INIT;
    bool host = false;
    bool rates = true;
    alone what = ALL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--host") == 0) {
            host = true;
            rates = false;
        } else if (strcmp(argv[i], "--attention") == 0) {
            what = ATTENTION;
        } else if (strcmp(argv[i], "--collectives") == 0) {
            what = COLLECTIVES;
        } else if (strcmp(argv[i], "--no-rates") == 0) {
            rates = false;
        } else if (strcmp(argv[i], "--small") == 0) {
            c.small = true;
            rates = false;
        } else {
            fprintf(stderr, "gpu-check: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    if (galv_world_new(&c.world, &argc, &argv, &err) != GALV_OK) {
        fprintf(stderr, "gpu-check: %s\n", err.message);
        return 1;
    }
    galv_status status = host ? galv_host_backend_new(&c.b[GPU], c.world, &err)
                              : galv_cuda_backend_new(&c.b[GPU], c.world, &err);
    int result = 0;
    if (status == GALV_UNAVAILABLE) {
        if (galv_world_rank(c.world) == 0) {
            printf("gpu-check: skipped: no CUDA device (%s)\n", err.message);
        }
    } else if (status != GALV_OK) {
        fprintf(stderr, "gpu-check: %s (%s)\n", err.message, err.hint);
        result = 1;
    } else {
        result = run(&c, rates, what);
        c.b[GPU]->free(c.b[GPU]);
    }
    galv_world_free(c.world);
    return result;
}
