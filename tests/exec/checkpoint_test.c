/* Checkpoints, by whole runs: what was interrupted goes on as if it had not been, by
 * the same plan to the last bit, by any other to rounding. The reference is always a
 * run that was not interrupted. */
#include "tests/exec/run_support.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>

GALV_TEST_SUITE(exec_checkpoint);

#define TOLERANCE 1e-5

Test(exec_checkpoint, a_run_that_is_resumed_ends_with_the_same_bits, .timeout = 120)
{
    static const struct {
        const char *model, *words;
    } cases[] = {{"tied", "pp2 dp2 zero1"}, {"moe", "dp2 ep2 zero3"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int n = run_write_plan("plan", cases[i].model, cases[i].words);
        cr_assert_eq(run_exec(n, "plan.json -q --steps 6 --checkpoint-dir a"), 0);
        cr_assert_eq(run_exec(n, "plan.json -q --steps 3 --checkpoint-dir b"), 0);
        cr_assert_eq(run_exec(n, "plan.json -q --steps 6 --checkpoint-dir b --resume"),
                     0);
        cr_expect_eq(run_shell("cmp a/checkpoint-6/manifest.json "
                               "b/checkpoint-6/manifest.json && for f in "
                               "a/checkpoint-6/*.state; do cmp $f b/${f#a/}; done"),
                     0, "%s", cases[i].words);
        /* the state is one that moves: not what step 3 had */
        cr_expect_neq(run_shell("cmp -s b/checkpoint-3/rank-0.state "
                                "b/checkpoint-6/rank-0.state"),
                      0);
        run_shell("rm -rf a b");
    }
}

Test(exec_checkpoint, any_other_plan_goes_on_where_one_ended, .timeout = 240)
{
    static const struct {
        const char *model, *from, *to;
    } cases[] = {{"llama", "dp2", "tp2"},
                 {"tied", "pp2 dp2 zero1", "dp4 zero3"},
                 {"llama", "tp2 sp cp2", "dp1"},
                 {"moe", "dp1", "tp2 ep2 sp dp2 zero2"},
                 {"tied", "pp2 dualpipe", "tp4"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int from = run_write_plan("from", cases[i].model, cases[i].from);
        int to = run_write_plan("to", cases[i].model, cases[i].to);
        cr_assert_eq(run_exec(from, "from.json -q --steps 6 --checkpoint-every 3 "
                                    "--checkpoint-dir ck -o whole"),
                     0);
        cr_assert_eq(
            run_exec(to, "to.json -q --steps 6 --resume ck/checkpoint-3 -o part"), 0);
        losses whole = run_losses("whole");
        losses part = run_losses("part");
        cr_expect_eq(part.first, 4);
        cr_expect_eq(part.n, 3);
        cr_expect(run_same_losses(&whole, &part, TOLERANCE), "%s: %s, then %s",
                  cases[i].model, cases[i].from, cases[i].to);
        run_shell("rm -rf ck whole part");
    }
}

/* Four blocks in one stage: of eight samples of 16 tokens a block keeps about 230 KB,
 * of which 16 are its input. */
Test(exec_checkpoint, full_recomputation_holds_one_block_at_a_time, .timeout = 120)
{
    run_write_plan("kept", "llama", "mb8");
    run_write_plan("again", "llama", "mb8 full");
    cr_assert_eq(run_exec(1, "kept.json -q --steps 2 -o kept"), 0);
    cr_assert_eq(run_exec(1, "again.json -q --steps 2 -o again"), 0);
    cr_expect_eq(run_shell("k=$(tail -1 kept/memory.csv | cut -d, -f2); "
                           "a=$(tail -1 again/memory.csv | cut -d, -f2); "
                           "test $((k - a)) -gt 400000"),
                 0);
    cr_expect_eq(run_shell("cut -d, -f1-3 kept/losses.csv >k; "
                           "cut -d, -f1-3 again/losses.csv | cmp k -"),
                 0);
}

Test(exec_checkpoint, a_plan_changes_in_memory_and_losses_go_on, .timeout = 240)
{
    static const struct {
        const char *model, *from, *to;
    } cases[] = {{"llama", "dp2 zero2", "tp2 sp"},
                 {"tied", "pp2 dp2 zero1", "tp2 dp2 zero3"},
                 {"moe", "dp4 ep2", "pp2 tp2 ep2"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int n = run_write_plan("from", cases[i].model, cases[i].from);
        cr_assert_eq(run_write_plan("to", cases[i].model, cases[i].to), n);
        cr_assert_eq(run_exec(n, "from.json -q --steps 6 -o whole"), 0);
        cr_assert_eq(run_exec(n, "from.json -q --steps 6 --switch-to to.json "
                                 "--switch-at 3 -o part"),
                     0);
        losses whole = run_losses("whole");
        losses part = run_losses("part");
        cr_expect_eq(part.n, 6);
        cr_expect(run_same_losses(&whole, &part, TOLERANCE), "%s: %s, then %s",
                  cases[i].model, cases[i].from, cases[i].to);
        run_shell("rm -rf whole part");
    }
}

Test(exec_checkpoint, the_last_ones_are_kept_and_half_written_ones_are_not_used,
     .timeout = 120)
{
    run_write_plan("plan", "llama", "dp1");
    cr_assert_eq(run_exec(1, "plan.json -q --steps 7 --checkpoint-every 2 "
                             "--checkpoint-keep 2 --checkpoint-dir ck"),
                 0);
    cr_expect_eq(run_shell("test \"$(ls ck | tr '\\n' ' ')\" = "
                           "'checkpoint-6 checkpoint-7 '"),
                 0);
    run_shell("mv ck/checkpoint-7 ck/checkpoint-7.tmp");
    cr_expect_eq(run_exec(1, "plan.json --steps 8 --resume ck"), 0);
    cr_expect(run_said("half written and not used: checkpoint-7.tmp"));
    cr_expect_eq(run_shell("grep -q 'goes on from ck/checkpoint-6$' out"), 0);
    run_shell("mv ck/checkpoint-6 ck/checkpoint-6.tmp");
    cr_expect_eq(run_exec(1, "plan.json --steps 8 --resume ck"), 4);
    cr_expect(run_said("no whole checkpoint in ck"));
    /* a job that always says --resume begins anew where there is none */
    cr_expect_eq(run_exec(1, "plan.json --steps 2 --checkpoint-dir ck --resume"), 0);
    cr_expect_eq(run_shell("test \"$(ls ck)\" = checkpoint-2"), 0);
}

Test(exec_checkpoint, a_damaged_file_is_named_with_what_to_resume_instead,
     .timeout = 120)
{
    run_write_plan("plan", "llama", "dp1");
    run_write_plan("tied", "tied", "dp1");
    cr_assert_eq(run_exec(1, "plan.json -q --steps 4 --checkpoint-every 2 "
                             "--checkpoint-dir ck"),
                 0);
    cr_assert_eq(run_shell("cp -r ck good"), 0);
    const char *const resume = "plan.json -q --steps 6 --resume ck";
    run_shell("truncate -s -4 ck/checkpoint-4/rank-0.state");
    cr_expect_eq(run_exec(1, "%s", resume), 4);
    cr_expect(run_said("ck/checkpoint-4/rank-0.state: has "));
    cr_expect(run_said("it is cut short"));
    cr_expect(run_said("resume from the one before: --resume ck/checkpoint-2"));
    cr_expect_eq(run_lines_said(), 1);
    run_shell("cp good/checkpoint-4/rank-0.state ck/checkpoint-4/; printf x | dd "
              "of=ck/checkpoint-4/rank-0.state bs=1 seek=9000 conv=notrunc 2>&-");
    cr_expect_eq(run_exec(1, "%s", resume), 4);
    cr_expect(run_said("rank-0.state: its checksum is not that of its manifest"));
    run_shell("rm ck/checkpoint-4/rank-0.state");
    cr_expect_eq(run_exec(1, "%s", resume), 4);
    cr_expect(run_said("rank-0.state: cannot be read: No such file"));
    run_shell("printf '{' >ck/checkpoint-4/manifest.json");
    cr_expect_eq(run_exec(1, "%s", resume), 4);
    cr_expect(run_said("ck/checkpoint-4/manifest.json:1"));
    cr_expect(run_said("resume from the one before: --resume ck/checkpoint-2"));
    /* over several ranks too a rank is named once */
    run_write_plan("two", "llama", "dp2");
    run_shell("rm -rf ck; cp -r good ck; rm ck/checkpoint-4/rank-0.state");
    cr_expect_eq(run_exec(2, "two.json -q --steps 6 --resume ck"), 4);
    cr_expect_eq(run_shell("test $(grep -o 'rank [0-9]*:' err | wc -l) = 1"), 0);
    cr_expect_eq(run_exec(1, "tied.json -q --steps 6 --resume good"), 4);
    cr_expect(run_said("it is of another model: "));
    cr_expect_eq(run_exec(1, "%s/checkpoint-2 --seed 5", resume), 2);
    cr_expect(run_said("the checkpoint was trained with seed 1: leave out --seed"));
}

/* A change in memory to longer sequences is what a checkpoint and a resume are. */
Test(exec_checkpoint, a_plan_for_longer_sequences_goes_on_with_tokens_not_seen,
     .timeout = 120)
{
    run_write_plan("short", "llama", "dp2");
    run_write_plan("tp", "llama", "tp2");
    cr_assert_eq(run_shell("sed '/\"workload\"/,$s/\"seq_length\": 16/\"seq_length\": "
                           "24/' tp.json >long.json && ! cmp -s tp.json long.json"),
                 0);
    cr_assert_eq(run_exec(2, "short.json -q --steps 3 --checkpoint-dir ck"), 0);
    cr_assert_eq(run_exec(2, "long.json -q --steps 6 --resume ck -o resumed"), 0);
    cr_assert_eq(run_exec(2, "short.json -q --steps 6 --switch-to long.json "
                             "--switch-at 3 -o changed"),
                 0);
    losses resumed = run_losses("resumed");
    losses changed = run_losses("changed");
    cr_expect_eq(changed.n, 6);
    cr_expect_eq(resumed.first, 4);
    cr_expect(run_same_losses(&changed, &resumed, TOLERANCE));
}

/* An old run went to step 6; a new one goes on from its step 2. */
Test(exec_checkpoint, one_just_written_is_kept_though_later_ones_are_there,
     .timeout = 120)
{
    run_write_plan("plan", "llama", "dp1");
    cr_assert_eq(run_exec(1, "plan.json -q --steps 6 --checkpoint-dir ck "
                             "--checkpoint-every 1 --checkpoint-keep 0"),
                 0);
    cr_assert_eq(run_exec(1, "plan.json -q --steps 4 --checkpoint-dir ck "
                             "--checkpoint-every 1 --checkpoint-keep 2 "
                             "--resume ck/checkpoint-2"),
                 0);
    cr_expect_eq(run_shell("test \"$(ls ck | tr '\\n' ' ')\" = 'checkpoint-3 "
                           "checkpoint-4 checkpoint-5 checkpoint-6 '"),
                 0);
}

Test(exec_checkpoint, a_folder_that_not_all_ranks_see_is_told, .timeout = 120)
{
    run_write_plan("plan", "llama", "dp2");
    cr_assert_eq(run_exec(2, "plan.json -q --steps 2 --checkpoint-dir ck"), 0);
    run_shell("mkdir -p 0 1; cp -r ck 0; cp -r ck 1");
    const char *resume = "$RANKS 2 sh -c 'cd $RANK; exec $EXEC run ../plan.json -q "
                         "--backend host --steps 3 --checkpoint-dir ck --resume' 2>err";
    run_shell("mv 1/ck/checkpoint-2 1/ck/checkpoint-1");
    run_shell("sed -i 's/\"step\": 2/\"step\": 1/' 1/ck/checkpoint-1/manifest.json");
    cr_expect_eq(run_shell("%s", resume), 4);
    cr_expect(run_said("of checkpoints rank 0 found that of step 2, but another rank "
                       "found that of step 1"));
    run_shell("rm -r 1/ck/checkpoint-1");
    cr_expect_eq(run_shell("%s", resume), 4);
    cr_expect(run_said("but another rank found none"));
    cr_expect(run_said("must be in a folder that all ranks see"));
    cr_expect_eq(run_lines_said(), 1);
}
