/* What goes wrong from outside, by whole runs: one message that says what to do, the
 * right exit status, and no process left behind. */
#include "tests/exec/run_support.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>

GALV_TEST_SUITE(exec_fault);

/* Starts three ranks (slow ones, so that few steps are taken meanwhile), waits for a
 * checkpoint, kills one rank, waits for the end; tells the launcher's exit status in
 * `status`, ranks that are left in `left` (the dead whom nobody asked for do not
 * count), and the last step that was kept in `kept`. %d: which rank, from 1. */
static const char *const kill_script =
    "rm -rf ck; $MPIRUN -np 3 $EXEC run plan.json -q --backend host --steps 100000 "
    "--checkpoint-dir ck --checkpoint-every 2 --slow-rank 1=40 >out 2>err & m=$!; n=0; "
    "while [ ! -e ck/checkpoint-2 ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done; "
    "ranks=$(pgrep -P $(pgrep -P $m)); kill -9 $(echo $ranks | cut -d' ' -f%d); "
    "wait $m; echo $? >status; sleep 0.2; "
    "for p in $ranks; do ps -o stat= -p $p; done | grep -v Z >left; "
    "ls ck | grep -v tmp | sed 's/checkpoint-//' | sort -n | tail -1 >kept";

static void kill_and_go_on(int which)
{
    run_write_plan("plan", "llama", "pp3");
    run_shell(kill_script, which);
    cr_expect_neq(run_shell("test $(cat status) = 0"), 0);
    cr_expect_neq(run_shell("test $(cat status) = 124"), 0, "it hung");
    cr_expect_eq(run_shell("test ! -s left"), 0, "ranks are left");
    cr_expect(run_said("ended from outside: a rank has died"));
    cr_expect(run_said("with the same command and --resume ck"));
    cr_expect_eq(run_lines_said(), 1);
    cr_expect_eq(run_shell("grep -q 'rank %d.*exited on signal 9' err", which - 1), 0);
}

Test(exec_fault, a_killed_rank_ends_the_job_which_goes_on_bit_for_bit, .timeout = 180)
{
    kill_and_go_on(2);
    cr_assert_eq(
        run_shell("$MPIRUN -np 3 $EXEC run plan.json -q --backend host --steps "
                  "$(($(cat kept)+2)) --checkpoint-dir ck --resume"),
        0);
    cr_assert_eq(
        run_shell("$MPIRUN -np 3 $EXEC run plan.json -q --backend host --steps "
                  "$(($(cat kept)+2)) --checkpoint-dir whole"),
        0);
    cr_expect_eq(
        run_shell("s=checkpoint-$(($(cat kept)+2)); for r in 0 1 2; do cmp "
                  "ck/$s/rank-$r.state whole/$s/rank-$r.state || exit 1; done"),
        0);
}

Test(exec_fault, rank_0_may_be_the_one_that_is_killed, .timeout = 120)
{
    kill_and_go_on(1);
}

Test(exec_fault, a_plan_for_other_ranks_is_told_with_the_command, .timeout = 120)
{
    run_write_plan("plan", "llama", "dp4");
    run_write_plan("two", "llama", "dp2");
    cr_expect_eq(run_exec(2, "plan.json"), 2);
    cr_expect(run_said("the plan is for 4 ranks, this is a run of 2"));
    cr_expect(run_said("start it with: mpirun -np 4 galvatron-exec run plan.json"));
    cr_expect_eq(run_lines_said(), 1);
    /* one to change to later is looked at before the first step */
    cr_expect_eq(run_exec(2, "two.json --switch-to plan.json --switch-at 3"), 2);
    cr_expect(run_said("the plan is for 4 ranks, this is a run of 2"));
    cr_expect_neq(run_shell("grep -q '^ *1 ' out"), 0);
    run_write_plan("moe", "moe", "dp2");
    cr_expect_eq(run_exec(2, "two.json --switch-to moe.json --switch-at 3"), 2);
    cr_expect(run_said("the other plan is for another model (moe)"));
}

Test(exec_fault, too_little_memory_is_told_before_the_start, .timeout = 120)
{
    /* 30 million hidden values wide: terabytes, whatever this machine has */
    run_write_plan("plan", "llama", "dp1");
    cr_assert_eq(run_shell("sed 's/\"hidden_size\": 32/\"hidden_size\": 3000000/' "
                           "plan.json >wide.json && ! cmp -s plan.json wide.json"),
                 0);
    cr_expect_eq(run_exec(1, "wide.json"), 1);
    cr_expect(run_said("GiB at least"));
    cr_expect(run_said("more tp, pp or ZeRO, recomputation, or a smaller micro-batch"));
    cr_expect_eq(run_lines_said(), 1);
}

Test(exec_fault, a_gpu_that_is_not_there_is_told)
{
    run_write_plan("plan", "llama", "dp1");
    int status =
        run_shell("$WHOLE_EXEC run plan.json --backend cuda --steps 1 >out 2>err");
    if (status == 0) {
        cr_skip_test("there is a GPU");
    }
    cr_expect_eq(status, 6);
    cr_expect_eq(run_lines_said(), 1);
    cr_expect_eq(run_shell("test $(wc -l <err) -ge 2"), 0, "what to do");
}

Test(exec_fault, options_that_contradict_are_told_before_anything_starts)
{
    cr_expect_eq(run_shell("$EXEC run plan.json --checkpoint-every 5 2>err"), 2);
    cr_expect(run_said("--checkpoint-every needs --checkpoint-dir DIR"));
    cr_expect_eq(run_shell("$EXEC run plan.json --switch-at 5 2>err"), 2);
    cr_expect(run_said("--switch-to and --switch-at go together"));
    cr_expect_eq(run_shell("$EXEC run plan.json --resume 2>err"), 2);
    cr_expect_eq(run_shell("$EXEC run plan.json --slow-rank 3 2>err"), 2);
    cr_expect(run_said("--slow-rank wants RANK=FACTOR, not '3'"));
    cr_expect_eq(run_shell("$EXEC run plan.json --chekpoint-dir a 2>err"), 2);
    run_write_plan("plan", "llama", "dp2");
    cr_expect_eq(run_exec(2, "plan.json -q --slow-rank 2=3"), 2);
    cr_expect(run_said("--slow-rank 2: the ranks of this run are 0 to 1"));
    cr_expect_eq(run_exec(2, "plan.json -q --tokens nowhere"), 4);
    cr_expect(run_said("nowhere: rank 0: cannot open the tokens: No such file"));
}

/* ---- the disk ---- */

/* No file may be longer than 60 KB: a rank's state is 130. (Open MPI would die of that
 * itself, so these ranks are started without it.) */
Test(exec_fault, a_disk_that_is_full_leaves_what_was_there_and_nothing_half_written,
     .timeout = 120)
{
    run_write_plan("plan", "llama", "dp2");
    cr_assert_eq(run_exec(2, "plan.json -q --steps 2 --checkpoint-dir ck"), 0);
    cr_expect_eq(run_shell("trap '' XFSZ; (ulimit -f 120; $RANKS 2 $EXEC run plan.json "
                           "-q --backend host --steps 4 --checkpoint-dir ck --resume "
                           ">out 2>err)"),
                 1);
    cr_expect(run_said("cannot write the checkpoint: File too large"));
    cr_expect(run_said("checkpoints before it are as they were; make room, then "
                       "resume"));
    cr_expect_eq(run_lines_said(), 1);
    cr_expect_eq(run_shell("test \"$(ls ck)\" = checkpoint-2"), 0);
    cr_expect_eq(run_exec(2, "plan.json -q --steps 4 --checkpoint-dir ck --resume"), 0);
    cr_expect_eq(run_exec(2, "plan.json -q --steps 4 --checkpoint-dir whole"), 0);
    cr_expect_eq(run_shell("for r in 0 1; do cmp ck/checkpoint-4/rank-$r.state "
                           "whole/checkpoint-4/rank-$r.state || exit 1; done"),
                 0);
}

Test(exec_fault, a_folder_that_cannot_be_written_to_is_told_before_the_first_step,
     .timeout = 120)
{
    run_write_plan("plan", "llama", "dp2");
    run_shell("echo >file");
    cr_expect_eq(run_exec(2, "plan.json --steps 2 -o file"), 1);
    cr_expect(run_said("file: rank 0: cannot make the folder"));
    cr_expect_eq(run_lines_said(), 1);
    cr_expect_neq(run_shell("grep -q gradient out"), 0);
    cr_expect_eq(run_exec(2, "plan.json --steps 2 --checkpoint-dir file/ck"), 1);
    cr_expect(run_said("file: rank 0: cannot make the folder"));
    cr_expect_neq(run_shell("grep -q gradient out"), 0);
    cr_expect_eq(run_exec(2, "plan.json -q --steps 2 -o new/folder"), 0);
    cr_expect_eq(run_shell("test \"$(ls -A new/folder | tr '\\n' ' ')\" = "
                           "'losses.csv memory.csv timeline.csv '"),
                 0);
}

/* Five kills, each as soon as a checkpoint of the next step begins to be written or a
 * little later: what is left is whole, and leads to the bits of a run without kills. */
Test(exec_fault, a_kill_while_a_checkpoint_is_written_leaves_whole_ones, .timeout = 180)
{
    run_write_plan("plan", "llama", "dp2");
    cr_assert_eq(run_exec(2, "plan.json -q --steps 2 --checkpoint-dir ck"), 0);
    run_shell("export GALV_CONNECT_S=5; for i in 0 2 4 6 8; do rm -rf ck/*.tmp; "
              "$RANKS 2 $EXEC run plan.json -q --backend host --steps 100000 "
              "--checkpoint-dir ck --checkpoint-every 1 --resume >out 2>>kills & m=$!; "
              "n=0; while ! ls ck/*.tmp >found 2>&1 && [ $n -lt 3000 ]; do n=$((n+1)); "
              "done; sleep 0.00$i; kill -9 $(pgrep -P $(pgrep -P $m) | tail -1); "
              "wait $m; done; ls ck | grep -v tmp | sed 's/checkpoint-//' | sort -n | "
              "tail -1 >kept");
    cr_expect_eq(run_shell("grep -q 'rank 1 has gone' kills"), 0);
    cr_expect_eq(run_shell("test $(cat kept) -gt 2"), 0);
    cr_assert_eq(run_shell("$RANKS 2 $EXEC run plan.json -q --backend host --steps "
                           "$(($(cat kept)+1)) --checkpoint-dir ck --resume 2>err"),
                 0);
    cr_assert_eq(run_shell("$RANKS 2 $EXEC run plan.json -q --backend host --steps "
                           "$(($(cat kept)+1)) --checkpoint-dir whole 2>err"),
                 0);
    cr_expect_eq(run_shell("s=checkpoint-$(($(cat kept)+1)); for r in 0 1; do cmp "
                           "ck/$s/rank-$r.state whole/$s/rank-$r.state || exit 1; "
                           "done; ! ls ck/*.tmp 2>&-"),
                 0);
}

/* ---- ranks that were started without mpirun ---- */

Test(exec_fault, ranks_without_mpirun_train_to_the_same_bits, .timeout = 120)
{
    run_write_plan("plan", "llama", "tp2 pp2");
    cr_assert_eq(run_exec(4, "plan.json --steps 4 -o mpi"), 0);
    cr_assert_eq(run_shell("$RANKS 4 $EXEC run plan.json --backend host --steps 4 "
                           "-o tcp >out 2>err"),
                 0);
    cr_expect_eq(run_lines_said(), 0);
    cr_expect_eq(run_shell("for f in mpi tcp; do cut -d, -f1-3 $f/losses.csv >$f.csv; "
                           "done; cmp mpi.csv tcp.csv && test $(wc -l <tcp.csv) = 5"),
                 0);
    cr_expect_eq(run_shell("grep -q 'TCP, started by torchrun' out"), 0);
}

Test(exec_fault, a_plan_for_other_ranks_is_told_as_they_were_started, .timeout = 60)
{
    run_write_plan("plan", "llama", "dp2");
    cr_expect_eq(run_shell("$RANKS 3 $EXEC run plan.json --backend host 2>err"), 2);
    cr_expect(run_said("start 2 ranks of it, with WORLD_SIZE=2"));
    cr_expect_eq(run_lines_said(), 1);
}

Test(exec_fault, a_missing_rank_is_told_once_in_time, .timeout = 120)
{
    run_write_plan("plan", "llama", "dp2");
    cr_expect_eq(
        run_shell("export WORLD_SIZE=3 MASTER_ADDR=127.0.0.1 "
                  "MASTER_PORT=$((20000+$$%%12000)) GALV_CONNECT_S=1; "
                  "LOCAL_RANK=1 RANK=1 timeout 20 $EXEC run plan.json "
                  "--backend host 2>err1 & "
                  "LOCAL_RANK=0 RANK=0 timeout 20 $EXEC run plan.json "
                  "--backend host 2>err; s=$?; wait $! || t=$?; exit $((s+t))"),
        12);
    cr_expect(run_said("rank 2 of 3 did not come within 1 s to port"));
    cr_expect(run_said("start every rank, with the same MASTER_ADDR and MASTER_PORT"));
    cr_expect_eq(run_lines_said(), 1);
    cr_expect_eq(run_shell("test ! -s err1"), 0);
}

Test(exec_fault, a_killed_rank_ends_the_others_without_mpirun_too, .timeout = 120)
{
    run_write_plan("plan", "llama", "pp3");
    run_shell(
        "rm -rf ck; $RANKS 3 $EXEC run plan.json -q --backend host --steps 100000 "
        "--checkpoint-dir ck --checkpoint-every 2 --slow-rank 1=40 >out 2>err & "
        "m=$!; n=0; while [ ! -e ck/checkpoint-2 ] && [ $n -lt 300 ]; do "
        "sleep 0.1; n=$((n+1)); done; "
        "ranks=$(pgrep -P $(pgrep -P $m)); kill -9 $(echo $ranks | cut -d' ' -f3); "
        "wait $m; echo $? >status; sleep 0.2; "
        "for p in $ranks; do ps -o stat= -p $p; done | grep -v Z >left");
    cr_expect_eq(run_shell("test $(cat status) = 137"), 0);
    cr_expect_eq(run_shell("test ! -s left"), 0, "ranks are left");
    cr_expect(run_said("rank 2 has gone; rank 0 ends too"));
    cr_expect(run_said("with the same command and --resume ck"));
}

/* ---- what is slowed down for tries ---- */

/* A step of dp2 passes all gradients, some 150 KB, over the link and back. */
Test(exec_fault, a_slow_link_takes_the_time_of_its_bytes, .timeout = 120)
{
    run_write_plan("plan", "llama", "dp2");
    cr_assert_eq(run_exec(2, "plan.json --steps 6 --slow-link 1-0=1MB/s@4 -o out2"), 0);
    cr_expect_eq(run_shell("awk -F, 'NR > 1 && NR < 5 { if ($4 > fast) fast = $4 } "
                           "NR > 5 { n += $4 > 0.1 } END { exit !(n == 2) }' "
                           "out2/losses.csv"),
                 0);
    cr_assert_eq(run_exec(2, "plan.json --steps 6 -o out1"), 0);
    cr_expect_eq(run_shell("for f in out1 out2; do cut -d, -f1-3 $f/losses.csv >$f.csv;"
                           " done; cmp out1.csv out2.csv"),
                 0);
    cr_expect_eq(run_exec(2, "plan.json -q --slow-link 0-2=1MB/s"), 2);
    cr_expect(run_said("--slow-link 0-2: the ranks of this run are 0 to 1"));
    cr_expect_eq(run_exec(2, "plan.json -q --slow-link 0=1MB/s"), 2);
    cr_expect(run_said("--slow-link wants RANK-RANK=BANDWIDTH, not '0=1MB/s'"));
}

/* Stage 1 waits 16 times for 2 KB over a slow link, 20 ms each: if its computation were
 * said to have lasted as long, a step would take half a minute. */
Test(exec_fault, a_slow_rank_does_not_wait_longer_than_others, .timeout = 120)
{
    run_write_plan("plan", "llama", "pp2");
    cr_assert_eq(run_exec(2, "plan.json -q --steps 2 --slow-rank 1=100 "
                             "--slow-link 0-1=100kB/s -o slow"),
                 0);
    cr_expect_eq(run_shell("awk -F, 'NR > 1 { n += $4 > 8 } END { exit n }' "
                           "slow/losses.csv"),
                 0);
}

/* ---- numbers that are none ---- */

Test(exec_fault, a_loss_that_is_no_number_ends_the_run_before_it_is_stepped_by,
     .timeout = 120)
{
    run_write_plan("plan", "tied", "pp2 dp2 zero1 zb-h1");
    cr_expect_eq(run_exec(4, "plan.json --steps 50 --learning-rate 1e30 "
                             "--checkpoint-dir ck --checkpoint-every 1"),
                 1);
    cr_expect(run_said("nothing was stepped"));
    cr_expect(run_said("a smaller --learning-rate"));
    cr_expect_eq(run_lines_said(), 1);
    cr_expect_neq(run_shell("grep -q nan out"), 0);
}
