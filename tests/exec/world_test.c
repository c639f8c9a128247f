#include "tests/exec/world_script.h"

#include "exec/farewell.h"
#include "tests/exec/support.h"
#include "tests/support/leaks.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

GALV_TEST_SUITE(exec_world);

/* A port that is free now. */
static int free_port(void)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    cr_assert(bind(listener, (struct sockaddr *)&address, size) == 0);
    cr_assert(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    close(listener);
    return ntohs(address.sin_port);
}

static void set_number(const char *name, int number)
{
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    setenv(name, text, 1);
}

static void clear_environment(void)
{
    static const char *const names[] = {"RANK",
                                        "WORLD_SIZE",
                                        "LOCAL_RANK",
                                        "MASTER_ADDR",
                                        "MASTER_PORT",
                                        "PMI_SIZE",
                                        "OMPI_COMM_WORLD_SIZE",
                                        "PMIX_RANK",
                                        "SLURM_STEP_NUM_TASKS",
                                        "SLURM_STEP_NODELIST",
                                        "SLURM_STEP_ID",
                                        "SLURM_JOB_ID",
                                        "SLURM_NTASKS",
                                        "SLURM_PROCID",
                                        "SLURM_LOCALID"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsetenv(names[i]);
    }
}

static void set_torchrun(int rank, int size, int port)
{
    clear_environment();
    set_number("RANK", rank);
    set_number("LOCAL_RANK", rank);
    set_number("WORLD_SIZE", size);
    set_number("MASTER_PORT", port);
    setenv("MASTER_ADDR", "127.0.0.1", 1);
}

static galv_world *join_or_leave(void)
{
    galv_world *world = NULL;
    galv_err err = GALV_ERR_INIT;
    int argc = 0;
    char **argv = NULL;
    if (galv_world_new(&world, &argc, &argv, &err) != GALV_OK) {
        fprintf(stderr, "%s (%s)\n", err.message, err.hint);
        _exit(90);
    }
    return world;
}

/* Starts `size` processes as torchrun would, each of which runs `run` and leaves with
 * its answer; returns the statuses of waitpid. */
static void start(int size, int (*run)(galv_world *world), int *statuses)
{
    int port = free_port();
    pid_t pids[8];
    for (int rank = 0; rank < size; rank++) {
        pids[rank] = fork();
        cr_assert(pids[rank] >= 0);
        if (pids[rank] == 0) {
            set_torchrun(rank, size, port);
            galv_world *world = join_or_leave();
            int answer = run(world);
            galv_world_free(world);
            galv_test_check_leaks();
            _exit(answer);
        }
    }
    for (int rank = 0; rank < size; rank++) {
        waitpid(pids[rank], &statuses[rank], 0);
    }
}

Test(exec_world, over_tcp_does_what_any_world_does, .timeout = 60)
{
    int statuses[4];
    start(4, world_script, statuses);
    for (int rank = 0; rank < 4; rank++) {
        cr_expect_eq(statuses[rank], 0, "rank %d: %x", rank, statuses[rank]);
    }
}

/* As in a collective that never ends. */
static int hang(void)
{
    while (pause() != 0) {
    }
    return 0;
}

static int die_as_rank_2(galv_world *world)
{
    if (galv_world_rank(world) == 2) {
        raise(SIGKILL);
    }
    return hang();
}

Test(exec_world, a_killed_rank_ends_all_others_wherever_they_hang, .timeout = 60)
{
    int statuses[4];
    start(4, die_as_rank_2, statuses);
    for (int rank = 0; rank < 4; rank++) {
        int status = statuses[rank];
        if (rank == 2) {
            cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        } else {
            cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "rank %d: %x",
                      rank, status);
        }
    }
}

static int die_as_rank_0(galv_world *world)
{
    if (galv_world_rank(world) == 0) {
        raise(SIGKILL);
    }
    return hang();
}

Test(exec_world, the_death_of_rank_0_ends_all_others, .timeout = 60)
{
    int statuses[3];
    start(3, die_as_rank_0, statuses);
    for (int rank = 1; rank < 3; rank++) {
        cr_expect(WIFEXITED(statuses[rank]) && WEXITSTATUS(statuses[rank]) == 1);
    }
}

/* Standard error of all ranks, in a file whose name both sides know. */
static int die_with_words(galv_world *world)
{
    galv_err err = GALV_ERR_INIT;
    FILE *words = freopen(getenv("GALV_TEST_WORDS"), "a", stderr);
    if (words == NULL || galv_farewell_begin(world, &err) != GALV_OK) {
        return 1;
    }
    setvbuf(words, NULL, _IONBF, 0);
    galv_farewell_set("go on with --resume");
    galv_world_barrier(world, &err);
    if (galv_world_rank(world) == 2) {
        raise(SIGKILL);
    }
    return hang();
}

Test(exec_world, a_death_is_told_with_how_to_go_on_once, .timeout = 60)
{
    char path[] = "/tmp/galvatron-words-XXXXXX";
    char text[1024];
    int statuses[4];
    int file = mkstemp(path);
    cr_assert(file >= 0);
    setenv("GALV_TEST_WORDS", path, 1);
    start(4, die_with_words, statuses);
    ssize_t n = read(file, text, sizeof text - 1);
    close(file);
    unlink(path);
    cr_assert(n > 0);
    text[n] = '\0';
    cr_expect(strstr(text, "rank 2 has gone; rank 0 ends too") != NULL, "%s", text);
    const char *words = strstr(text, "go on with --resume");
    cr_expect(words != NULL && strstr(words + 1, "go on with --resume") == NULL, "%s",
              text);
}

static int abort_as_rank_1(galv_world *world)
{
    if (galv_world_rank(world) == 1) {
        galv_world_abort(world, 3);
    }
    return hang();
}

Test(exec_world, abort_ends_all_with_its_status, .timeout = 60)
{
    int statuses[3];
    start(3, abort_as_rank_1, statuses);
    for (int rank = 0; rank < 3; rank++) {
        cr_expect(WIFEXITED(statuses[rank]) && WEXITSTATUS(statuses[rank]) == 3,
                  "rank %d: %x", rank, statuses[rank]);
    }
}

static int leave_early(galv_world *world)
{
    if (galv_world_rank(world) != 1) {
        /* rank 1 has left by then, and that is no death */
        sleep(1);
    }
    return 0;
}

Test(exec_world, a_rank_that_leaves_in_order_takes_nobody_with_it, .timeout = 60)
{
    int statuses[3];
    start(3, leave_early, statuses);
    for (int rank = 0; rank < 3; rank++) {
        cr_expect_eq(statuses[rank], 0, "rank %d: %x", rank, statuses[rank]);
    }
}

static galv_status join_status(galv_err *err)
{
    galv_world *world = NULL;
    int argc = 0;
    char **argv = NULL;
    galv_status status = galv_world_new(&world, &argc, &argv, err);
    if (status == GALV_OK) {
        galv_world_free(world);
    }
    return status;
}

Test(exec_world, a_wrong_environment_is_told_with_what_to_set)
{
    galv_err err = GALV_ERR_INIT;
    set_torchrun(2, 2, 1);
    cr_expect_eq(join_status(&err), GALV_USAGE);
    cr_expect_str_eq(err.message, "RANK 2 is not below WORLD_SIZE 2");
    err = (galv_err)GALV_ERR_INIT;
    setenv("RANK", "first", 1);
    cr_expect_eq(join_status(&err), GALV_USAGE);
    cr_expect_str_eq(err.message, "RANK is not a whole number: 'first'");
    err = (galv_err)GALV_ERR_INIT;
    unsetenv("RANK");
    cr_expect_eq(join_status(&err), GALV_USAGE);
    cr_expect_str_eq(err.message,
                     "WORLD_SIZE is 2, but RANK or MASTER_ADDR is not set");
    err = (galv_err)GALV_ERR_INIT;
    set_torchrun(1, 2, free_port());
    setenv("GALV_CONNECT_S", "0.1", 1);
    cr_expect_eq(join_status(&err), GALV_UNAVAILABLE);
    cr_expect(strstr(err.message, "rank 0 does not answer at 127.0.0.1") != NULL);
    err = (galv_err)GALV_ERR_INIT;
    set_torchrun(0, 2, free_port());
    cr_expect_eq(join_status(&err), GALV_UNAVAILABLE);
    cr_expect(strstr(err.message, "rank 1 of 2 did not come within 0.1 s") != NULL);
    cr_expect(strstr(err.hint, "GALV_CONNECT_S") != NULL);
}

Test(exec_world, alone_is_a_world_too)
{
    clear_environment();
    galv_world *world = NULL;
    galv_err err = GALV_ERR_INIT;
    int argc = 0;
    char **argv = NULL;
    cr_assert_eq(galv_world_new(&world, &argc, &argv, &err), GALV_OK);
    cr_expect_eq(world_script(world), 0);
    cr_expect_str_eq(galv_world_launcher(world), "alone");
    cr_expect_not(galv_world_has_mpi(world));
    galv_world_free(world);
    set_torchrun(0, 1, 1); /* a torchrun of one process needs no connection */
    cr_assert_eq(galv_world_new(&world, &argc, &argv, &err), GALV_OK);
    cr_expect_eq(galv_world_size(world), 1);
    galv_world_free(world);
}

/* What every rank of the host backend gets back of a sum over all, over TCP. */
static int sum_on_the_host(galv_world *world)
{
    enum { N = 3000 };
    galv_backend *b = NULL;
    galv_err err = GALV_ERR_INIT;
    int32_t ranks[] = {0, 1, 2};
    if (galv_host_backend_new(&b, world, &err) != GALV_OK ||
        strstr(b->libraries, "TCP") == NULL) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    galv_comm *comm = b->comm_new(b, ranks, 3);
    float *x = b->allocate(b, N * sizeof *x);
    for (int i = 0; i < N; i++) {
        x[i] = (float)(i * (galv_world_rank(world) + 1));
    }
    b->all_reduce(b, GALV_STREAM_DP, comm, x, N, GALV_FLOAT32, GALV_SUM);
    b->synchronize(b);
    int n_wrong = 0;
    for (int i = 0; i < N; i++) {
        n_wrong += x[i] != (float)(6 * i);
    }
    b->release(b, x, GALV_STREAM_DP);
    b->comm_free(b, comm);
    b->free(b);
    return n_wrong > 0;
}

Test(exec_world, the_host_backend_communicates_over_tcp, .timeout = 60)
{
    int statuses[3];
    start(3, sum_on_the_host, statuses);
    for (int rank = 0; rank < 3; rank++) {
        cr_expect_eq(statuses[rank], 0, "rank %d: %x", rank, statuses[rank]);
    }
}

/* Rank 1 raises the alarm; the others hear it wherever they are, once it is there. */
static int hear_of_rank_1(galv_world *world)
{
    galv_err err = GALV_ERR_INIT;
    if (galv_world_rank(world) == 1) {
        galv_fail(&err, GALV_NO_MEMORY, "none left");
        galv_hint(&err, "buy some");
        galv_world_raise_alarm(world, &err);
        return galv_world_agree(world, &err) == GALV_NO_MEMORY ? 0 : 1;
    }
    for (int n_tries = 0; !galv_world_hear_alarm(world, &err); n_tries++) {
        if (n_tries > 2000) {
            return 2;
        }
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    bool told = strcmp(err.message, "rank 1 failed: none left") == 0 &&
                strcmp(err.hint, "buy some") == 0 && err.status == GALV_NO_MEMORY;
    return told && galv_world_agree(world, &err) == GALV_NO_MEMORY ? 0 : 3;
}

/* Sockets that a program started by this one would keep open, so that nobody would see
 * them close when this rank dies. */
static int count_inherited(galv_world *world)
{
    galv_backend *b = NULL;
    galv_err err = GALV_ERR_INIT;
    int n_inherited = 0;
    int n_sockets = 0;
    if (galv_host_backend_new(&b, world, &err) != GALV_OK) {
        return 91;
    }
    for (int fd = 3; fd < 256; fd++) {
        struct stat what;
        if (fstat(fd, &what) == 0 && S_ISSOCK(what.st_mode)) {
            n_sockets++;
            n_inherited += (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
        }
    }
    b->free(b);
    return n_sockets >= 4 ? n_inherited : 92; /* words, lifeline, two for data */
}

Test(exec_world, a_program_that_a_rank_starts_does_not_outlive_it_on_its_connections,
     .timeout = 60)
{
    int statuses[3];
    start(3, count_inherited, statuses);
    for (int rank = 0; rank < 3; rank++) {
        cr_expect_eq(statuses[rank], 0, "rank %d: %x", rank, statuses[rank]);
    }
}

Test(exec_world, an_alarm_is_heard_by_all, .timeout = 60)
{
    int statuses[4];
    start(4, hear_of_rank_1, statuses);
    for (int rank = 0; rank < 4; rank++) {
        cr_expect_eq(statuses[rank], 0, "rank %d: %x", rank, statuses[rank]);
    }
}

/* As srun without PMI starts a task; the first host of the step is this one. */
static void set_slurm(int rank, int size, int port)
{
    clear_environment();
    set_number("SLURM_PROCID", rank);
    set_number("SLURM_LOCALID", rank);
    set_number("SLURM_STEP_NUM_TASKS", size);
    set_number("SLURM_JOB_ID", 1234567);
    set_number("SLURM_STEP_ID", 3);
    set_number("MASTER_PORT", port);
    setenv("SLURM_STEP_NODELIST", "127.0.0.[1-2,5],node7", 1);
}

Test(exec_world, tasks_of_srun_meet_on_the_first_host_of_the_step, .timeout = 60)
{
    int port = free_port();
    pid_t pids[3];
    for (int rank = 0; rank < 3; rank++) {
        pids[rank] = fork();
        if (pids[rank] == 0) {
            set_slurm(rank, 3, port);
            galv_world *world = join_or_leave();
            int answer = world_script(world);
            answer += strcmp(galv_world_launcher(world), "srun") != 0;
            galv_world_free(world);
            _exit(answer);
        }
    }
    for (int rank = 0; rank < 3; rank++) {
        int status = 0;
        waitpid(pids[rank], &status, 0);
        cr_expect_eq(status, 0, "rank %d: %x", rank, status);
    }
}

Test(exec_world, the_script_of_sbatch_is_a_run_of_one_process)
{
    clear_environment();
    set_number("SLURM_PROCID", 0); /* its own, and the tasks that it may start */
    set_number("SLURM_NTASKS", 8);
    set_number("SLURM_JOB_ID", 5);
    galv_err err = GALV_ERR_INIT;
    cr_expect_eq(join_status(&err), GALV_OK, "%s", err.message);
}
