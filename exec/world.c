/* The world: who started us, and what is the same for every way to reach the others.
 *
 * The environment tells: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT are those of
 * torchrun, which leads to TCP; what mpirun, or srun with PMIx or PMI2, sets leads to
 * MPI; srun without these to TCP again; nothing of all this is a run of one process.
 * Where both are there, those of torchrun are followed if torchrun says so itself or if
 * the sizes differ (torchrun started once a node by mpirun); equal sizes mean that a
 * script copied the one into the other. */
#include "exec/world_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A whole number in the environment, or -1. */
static long number_in(const char *name)
{
    const char *text = getenv(name);
    if (text == NULL || *text == '\0') {
        return -1;
    }
    char *end = NULL;
    long number = strtol(text, &end, 10);
    return *end == '\0' && number >= 0 && number <= INT32_MAX ? number : -1;
}

static bool has(const char *name)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0';
}

/* Processes that a launcher says it started for MPI, or 0. */
static long mpi_size(void)
{
    long size = number_in("OMPI_COMM_WORLD_SIZE");
    size = size > 0 ? size : number_in("PMI_SIZE");
    if (size <= 0 && has("PMIX_RANK")) {
        size = number_in("SLURM_STEP_NUM_TASKS");
        size = size > 0 ? size : 1;
    }
    return size > 0 ? size : 0;
}

static galv_status check_torchrun(galv_err *err)
{
    static const char *const names[] = {"RANK", "WORLD_SIZE", "LOCAL_RANK",
                                        "MASTER_PORT"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (number_in(names[i]) < 0) {
            galv_fail(err, GALV_USAGE, "%s is not a whole number: '%s'", names[i],
                      has(names[i]) ? getenv(names[i]) : "");
            galv_hint(err, "torchrun sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR "
                           "and MASTER_PORT; without it, start with mpirun or srun");
            return GALV_USAGE;
        }
    }
    if (number_in("RANK") >= number_in("WORLD_SIZE")) {
        return galv_fail(err, GALV_USAGE, "RANK %ld is not below WORLD_SIZE %ld",
                         number_in("RANK"), number_in("WORLD_SIZE"));
    }
    return GALV_OK;
}

/* torchrun's agent itself may listen at MASTER_PORT, and then says so. */
static galv_status join_torchrun(galv_world *world, galv_err *err)
{
    galv_status status = check_torchrun(err);
    if (status != GALV_OK) {
        return status;
    }
    const char *agent = getenv("TORCHELASTIC_USE_AGENT_STORE");
    bool taken = agent != NULL && strcmp(agent, "True") == 0;
    char port[32];
    snprintf(port, sizeof port, "%ld", number_in("MASTER_PORT") + (taken ? 1 : 0));
    world->rank = (int32_t)number_in("RANK");
    world->size = (int32_t)number_in("WORLD_SIZE");
    world->local_rank = (int32_t)number_in("LOCAL_RANK");
    world->launcher = "torchrun";
    return world->size > 1
               ? galv_world_join_tcp(world, getenv("MASTER_ADDR"), port, err)
               : GALV_OK;
}

/* Tasks of the step of srun, or 0. The script of sbatch is no step, and says only how
 * many tasks it may have; with MASTER_ADDR it means them. */
static long slurm_size(void)
{
    long size = number_in("SLURM_STEP_NUM_TASKS");
    if (size < 0 && has("MASTER_ADDR")) {
        size = number_in("SLURM_NTASKS");
    }
    return size > 0 && number_in("SLURM_PROCID") >= 0 ? size : 0;
}

/* The first host of a list as Slurm writes them: "gpu[03-07,9],login" is gpu03. */
static bool first_host(char *host, size_t size, const char *list)
{
    size_t n = strcspn(list, ",[");
    size_t n_digits = list[n] == '[' ? strcspn(list + n + 1, ",-]") : 0;
    if (n + n_digits == 0 || n + n_digits >= size) {
        return false;
    }
    snprintf(host, size, "%.*s%.*s", (int)n, list, (int)n_digits,
             list[n] == '[' ? list + n + 1 : "");
    return true;
}

/* Without MASTER_PORT a port that follows from the job, as scripts for torchrun make
 * it, and one of its own for each step. */
static galv_status join_slurm(galv_world *world, galv_err *err)
{
    char host[256];
    char port[32];
    const char *nodes =
        getenv(has("SLURM_STEP_NODELIST") ? "SLURM_STEP_NODELIST" : "SLURM_NODELIST");
    if (has("MASTER_ADDR")) {
        snprintf(host, sizeof host, "%s", getenv("MASTER_ADDR"));
    } else if (nodes == NULL || !first_host(host, sizeof host, nodes)) {
        galv_fail(err, GALV_USAGE, "Slurm does not say on which host rank 0 is");
        galv_hint(err, "set MASTER_ADDR to that host");
        return GALV_USAGE;
    }
    long job = number_in("SLURM_JOB_ID");
    long step = number_in("SLURM_STEP_ID");
    long own = 10000 + ((job > 0 ? job : 0) * 16 + (step > 0 ? step : 0)) % 20000;
    long given = number_in("MASTER_PORT");
    snprintf(port, sizeof port, "%ld", given > 0 ? given : own);
    long local_rank = number_in("SLURM_LOCALID");
    world->rank = (int32_t)number_in("SLURM_PROCID");
    world->size = (int32_t)slurm_size();
    world->local_rank = local_rank >= 0 ? (int32_t)local_rank : 0;
    world->launcher = "srun";
    if (world->rank >= world->size) {
        return galv_fail(err, GALV_USAGE, "SLURM_PROCID %d is not below %d tasks",
                         world->rank, world->size);
    }
    return world->size > 1 ? galv_world_join_tcp(world, host, port, err) : GALV_OK;
}

static galv_status join_mpi(galv_world *world, long size, int *argc, char ***argv,
                            galv_err *err)
{
    world->launcher = has("OMPI_COMM_WORLD_SIZE") ? "mpirun"
                      : has("SLURM_STEP_ID")      ? "srun"
                                                  : "mpiexec";
    galv_status status = galv_world_join_mpi(world, argc, argv, err);
    if (status == GALV_OK && world->size < size) {
        galv_fail(err, GALV_UNAVAILABLE,
                  "%s started %ld processes, but each is alone for MPI",
                  world->launcher, size);
        galv_hint(err, "with Slurm: srun --mpi=none, or the PMI that this MPI was "
                       "built with (pmix, pmi2)");
        return GALV_UNAVAILABLE;
    }
    return status;
}

static galv_status join(galv_world *world, int *argc, char ***argv, galv_err *err)
{
    long size = mpi_size();
    bool torchrun = has("RANK") && has("WORLD_SIZE") && has("MASTER_ADDR");
    if (torchrun &&
        (has("TORCHELASTIC_RUN_ID") || size == 0 || size != number_in("WORLD_SIZE"))) {
        return join_torchrun(world, err);
    }
    if (size > 0) {
        return join_mpi(world, size, argc, argv, err);
    }
    if (slurm_size() > 0) {
        return join_slurm(world, err);
    }
    if (number_in("WORLD_SIZE") > 1) {
        galv_fail(err, GALV_USAGE,
                  "WORLD_SIZE is %ld, but RANK or MASTER_ADDR is not set",
                  number_in("WORLD_SIZE"));
        galv_hint(err, "torchrun sets them; or unset WORLD_SIZE");
        return GALV_USAGE;
    }
    return GALV_OK;
}

galv_status galv_world_new(galv_world **world, int *argc, char ***argv, galv_err *err)
{
    galv_world *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    made->size = 1;
    made->launcher = "alone";
    galv_status status = join(made, argc, argv, err);
    if (status != GALV_OK) {
        galv_world_free(made);
        return status;
    }
    *world = made;
    return GALV_OK;
}

void galv_world_free(galv_world *world)
{
    if (world != NULL && world->way != NULL) {
        world->way->free(world);
    }
    free(world);
}

int32_t galv_world_rank(const galv_world *world)
{
    return world->rank;
}

int32_t galv_world_size(const galv_world *world)
{
    return world->size;
}

int32_t galv_world_local_rank(const galv_world *world)
{
    return world->local_rank;
}

const char *galv_world_launcher(const galv_world *world)
{
    return world->launcher;
}

bool galv_world_has_mpi(const galv_world *world)
{
    return galv_world_mpi(world) != MPI_COMM_NULL;
}

galv_status galv_world_all_gather(galv_world *world, void *all, const void *one,
                                  size_t bytes, galv_err *err)
{
    if (world->size == 1) {
        if (bytes > 0) {
            memmove(all, one, bytes);
        }
        return GALV_OK;
    }
    return world->way->all_gather(world, all, one, bytes, err);
}

galv_status galv_world_barrier(galv_world *world, galv_err *err)
{
    char *all = malloc((size_t)world->size);
    if (all == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    galv_status status = galv_world_all_gather(world, all, "", 1, err);
    free(all);
    return status;
}

galv_status galv_world_broadcast(galv_world *world, void *data, size_t bytes,
                                 int32_t root, galv_err *err)
{
    return world->size == 1 || bytes == 0
               ? GALV_OK
               : world->way->broadcast(world, data, bytes, root, err);
}

static bool names_a_rank(const char *message)
{
    int n = 0;
    return sscanf(message, "rank %*d:%n", &n) == 0 && n > 0;
}

galv_status galv_world_agree(galv_world *world, galv_err *err)
{
    if (world->size == 1) {
        return err->status;
    }
    int32_t *all = malloc((size_t)world->size * sizeof *all);
    if (all == NULL) {
        galv_fail(err, GALV_NO_MEMORY, "out of memory");
        return GALV_NO_MEMORY;
    }
    int32_t own = (int32_t)err->status;
    galv_err trouble = GALV_ERR_INIT;
    galv_status status = galv_world_all_gather(world, all, &own, sizeof own, &trouble);
    int32_t worst = 0;
    for (int32_t rank = 1; status == GALV_OK && rank < world->size; rank++) {
        worst = all[rank] > all[worst] ? rank : worst;
    }
    galv_err shared = *err;
    if (status == GALV_OK && all[worst] != GALV_OK) {
        status = galv_world_broadcast(world, &shared, sizeof shared, worst, &trouble);
        if (status == GALV_OK) {
            *err = shared;
            if (!names_a_rank(shared.message)) { /* agreed upon before */
                snprintf(err->message, sizeof err->message, "rank %d: %.*s", worst,
                         (int)sizeof shared.message - 32, shared.message);
            }
            status = shared.status;
        }
    }
    free(all);
    if (trouble.status != GALV_OK && err->status == GALV_OK) {
        *err = trouble;
    }
    return status;
}

void galv_world_raise_alarm(galv_world *world, const galv_err *err)
{
    if (world->size > 1 && !world->alarmed) {
        world->alarmed = true;
        world->way->raise_alarm(world, err);
    }
}

bool galv_world_hear_alarm(galv_world *world, galv_err *err)
{
    int32_t rank = 0;
    galv_err theirs = GALV_ERR_INIT;
    if (world->size == 1 || !world->way->hear_alarm(world, &rank, &theirs)) {
        return false;
    }
    galv_fail(err, theirs.status, "rank %d failed: %.400s", rank, theirs.message);
    if (theirs.hint[0] != '\0') {
        galv_hint(err, "%s", theirs.hint);
    }
    return true;
}

void galv_world_abort(galv_world *world, int exit_status)
{
    fprintf(stderr, "galvatron-exec: rank %d ends the run\n",
            world != NULL ? world->rank : 0);
    if (world != NULL && world->way != NULL) {
        world->way->abort(world, exit_status);
    }
    _Exit(exit_status);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Rank 0 answers with its clock. */
static galv_status answer(galv_world *world, int32_t rank, int32_t n_rounds,
                          galv_err *err)
{
    for (int32_t round = 0; round < n_rounds; round++) {
        double time_s = 0;
        galv_status status = world->way->recv(world, rank, &time_s, sizeof time_s, err);
        if (status == GALV_OK) {
            time_s = now_s();
            status = world->way->send(world, rank, &time_s, sizeof time_s, err);
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

/* The answer was written, we suppose, half way between asking and hearing it; the
 * shortest round trip leaves the least doubt. */
static galv_status ask(galv_world *world, double *offset_s, int32_t n_rounds,
                       galv_err *err)
{
    double shortest_s = -1;
    for (int32_t round = 0; round < n_rounds; round++) {
        double asked_s = now_s();
        double theirs_s = 0;
        galv_status status = world->way->send(world, 0, &asked_s, sizeof asked_s, err);
        if (status == GALV_OK) {
            status = world->way->recv(world, 0, &theirs_s, sizeof theirs_s, err);
        }
        if (status != GALV_OK) {
            return status;
        }
        double heard_s = now_s();
        if (shortest_s < 0 || heard_s - asked_s < shortest_s) {
            shortest_s = heard_s - asked_s;
            *offset_s = theirs_s - (asked_s + heard_s) / 2;
        }
    }
    return GALV_OK;
}

galv_status galv_world_clock_offset_s(galv_world *world, double *offset_s,
                                      int32_t n_rounds, galv_err *err)
{
    double offset = 0;
    galv_status status = GALV_OK;
    if (world->rank != 0) {
        status = ask(world, &offset, n_rounds, err);
    }
    for (int32_t rank = 1; world->rank == 0 && rank < world->size && status == GALV_OK;
         rank++) {
        status = answer(world, rank, n_rounds, err);
    }
    if (status == GALV_OK) {
        *offset_s = offset;
    }
    return status;
}
