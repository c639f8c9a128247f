/* The profile: round trip, units, and rows that cannot be true. */
#include "tests/support/leaks.h"
#include "tests/traces/helpers.h"
#include "traces/profile.h"

#include "base/file.h"
#include "plan/strategy.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

GALV_TEST_SUITE(traces_profile);

static galv_status read_text(galv_profile *profile, const char *text, galv_err *err)
{
    galv_arena *arena = galv_arena_new();
    galv_csv table;
    galv_status status =
        galv_csv_read_text(&table, "p.csv", text, strlen(text), arena, err);
    if (status == GALV_OK) {
        status = galv_profile_read_table(profile, &table, err);
    }
    galv_arena_free(arena);
    return status;
}

/* FlashAttention-era figures of nobody in particular: the units are what is tested. */
static const char sample[] =
    "source,kind,device,precision,layer,phase,hidden_size,ffn_hidden_size,seq_length,"
    "micro_batch_size,tp,op,m,n,k,ranks,message_bytes,time_ms,time_us,stddev_us,"
    "samples,"
    "activation_bytes,compute_slowdown,value,recompute,sp,remark\n"
    "own,compute,a100-sxm-80gb,bf16,decoder,forward,4096,11008,2048,1,2,,,,,,,4.4,,12,"
    "10,"
    ",,,,,\n"
    "own,kernel,a100-sxm-80gb,bf16,,,,,,,,gemm,4096,4096,4096,,,0.6,,,,,,,,,\n"
    "own,collective,a100-sxm-80gb,,,,,,,,,all_reduce,,,,8,1048576,,78.95,,,,,,,,\n"
    "own,memory,a100-sxm-80gb,bf16,decoder,,4096,,2048,,,,,,,,,,,,,33554432,,,full,"
    "megatron,\n"
    "own,overlap,a100-sxm-80gb,,,,,,,,,,,,,,,,,,,,1.2,,,,\n"
    "own,factor,,,,,,,,,,backward_ratio,,,,,,,,,,,,1.97,,,ignored\n";

Test(traces_profile, rows_of_every_kind_are_read_in_si_units)
{
    galv_profile *profile = galv_profile_new();
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(read_text(profile, sample, &err), GALV_OK, "line %ld: %s", err.line,
                 err.message);
    cr_assert_eq(profile->n_rows, GALV_N_PROFILE_KINDS);
    const galv_profile_row *rows = profile->rows;
    for (int kind = 0; kind < GALV_N_PROFILE_KINDS; kind++) {
        cr_expect_eq((int)rows[kind].kind, kind);
    }
    cr_expect_eq(rows[0].time_s, 4.4 / 1e3);
    cr_expect_eq(rows[0].stddev_s, 12 / 1e6);
    cr_expect_eq(rows[0].samples, 10);
    cr_expect_eq(rows[0].precision, GALV_BF16);
    cr_expect_eq(rows[0].phase, GALV_OP_FORWARD);
    cr_expect_eq(rows[0].tp, 2);
    cr_expect_eq(rows[0].cp, 1, "an empty degree is 1");
    cr_expect_eq(rows[2].time_s, 78.95 / 1e6);
    cr_expect_eq(rows[2].precision, -1, "an empty precision is any");
    cr_expect_eq(rows[3].recompute, GALV_RECOMPUTE_FULL);
    cr_expect_eq(rows[3].sp, GALV_SP_MEGATRON);
    cr_expect_eq(rows[4].compute_slowdown, 1.2);
    cr_expect_eq(rows[4].comm_slowdown, 1, "an empty slowdown is none");
    cr_expect_eq(rows[5].value, 1.97);
    cr_expect_str_eq(rows[5].op, "backward_ratio");
    galv_profile_free(profile);
}

Test(traces_profile, what_is_written_reads_back_to_the_same_bytes)
{
    galv_profile *profile = galv_profile_new();
    galv_profile *back = galv_profile_new();
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(read_text(profile, sample, &err), GALV_OK);
    uint64_t state = 5;
    for (int i = 0; i < 200; i++) { /* also makes the array grow */
        galv_profile_row row = profile->rows[2];
        row.time_s = 1e-3 + 1e-20 * (double)test_random(&state);
        row.message_bytes = 1 + (double)(test_random(&state) >> 40);
        cr_assert_eq(galv_profile_add(profile, &row, &err), GALV_OK);
    }
    char path[64];
    test_temporary_path(path);
    cr_assert_eq(galv_profile_write_csv(profile, path, &err), GALV_OK);
    cr_assert_eq(galv_profile_read(back, path, &err), GALV_OK, "line %ld: %s", err.line,
                 err.message);
    unlink(path);
    cr_assert_eq(back->n_rows, profile->n_rows);
    for (size_t i = 0; i < profile->n_rows; i++) {
        cr_expect_eq(memcmp(&back->rows[i], &profile->rows[i], sizeof back->rows[i]), 0,
                     "row %zu", i);
    }
    galv_profile_free(profile);
    galv_profile_free(back);
}

#define HEADER                                                                         \
    "kind,device,precision,layer,phase,hidden_size,ffn_hidden_size,seq_length,op,m,n," \
    "k,"                                                                               \
    "ranks,ranks_per_node,message_bytes,time_ms,time_us,activation_bytes,"             \
    "compute_slowdown,tp\n"

Test(traces_profile, rows_that_cannot_be_true_are_refused_with_their_line)
{
    static const struct {
        const char *row;
        const char *says;
    } cases[] = {
        {"compte,a100-sxm-80gb,bf16,decoder,forward,1024,,512,,,,,,,,1,,,,", "compute"},
        {",a100-sxm-80gb,bf16,decoder,forward,1024,,512,,,,,,,,1,,,,", "kind"},
        {"compute,,bf16,decoder,forward,1024,,512,,,,,,,,1,,,,", "device"},
        {"compute,a100-sxm-80gb,bf16,decoder,,1024,,512,,,,,,,,1,,,,", "phase"},
        {"compute,a100-sxm-80gb,bf16,decoder,all_reduce,1024,,512,,,,,,,,1,,,,", ""},
        {"compute,a100-sxm-80gb,bf16,decodr,forward,1024,,512,,,,,,,,1,,,,", "decoder"},
        {"compute,a100-sxm-80gb,bf16,decoder,forward,,,512,,,,,,,,1,,,,",
         "hidden_size"},
        {"compute,a100-sxm-80gb,bf16,decoder,forward,1024,,,,,,,,,,1,,,,",
         "seq_length"},
        {"compute,a100-sxm-80gb,bf16,decoder,forward,1024,,512,,,,,,,,0,,,,", "time"},
        {"compute,a100-sxm-80gb,bf16,decoder,forward,1024,,512,,,,,,,,,,,,", "time"},
        {"compute,a100-sxm-80gb,bf16,decoder,forward,1024,,512,,,,,,,,-1,,,,", ""},
        {"compute,a100-sxm-80gb,bf16,decoder,forward,1024,,512,,,,,,,,nan,,,,", ""},
        {"compute,a100-sxm-80gb,bf16,decoder,forward,1024,,512,,,,,,,,inf,,,,", ""},
        {"compute,a100-sxm-80gb,bf16,decoder,forward,1024,,512,,,,,,,,1,1,,,", "two"},
        {"compute,a100-sxm-80gb,bf16,decoder,forward,1024,,512,,,,,,,,1,,,,0", "tp"},
        /* 2 x 2048 x (2 x 4096^2 + 2 x 4096 x 11008) FLOP in 1 ms: 507 TFLOP/s of 312
         */
        {"compute,a100-sxm-80gb,bf16,decoder,forward,4096,11008,2048,,,,,,,,1,,,,",
         "peak"},
        /* the same kernel in half the time that 312 TFLOP/s allow */
        {"kernel,a100-sxm-80gb,bf16,,,,,,gemm,4096,4096,4096,,,,0.2,,,,", "peak"},
        {"kernel,a100-sxm-80gb,bf16,,,,,,,4096,4096,4096,,,,1,,,,", "op"},
        {"collective,a100-sxm-80gb,,,,,,,allreduce,,,,8,,1024,,9,,,", "all_reduce"},
        {"collective,a100-sxm-80gb,,,,,,,all_reduce,,,,1,,1024,,9,,,", "ranks"},
        {"collective,a100-sxm-80gb,,,,,,,all_reduce,,,,8,,,,9,,,", "message_bytes"},
        /* 1 GiB in 1 ms over 300 GB/s */
        {"collective,a100-sxm-80gb,,,,,,,all_reduce,,,,8,,1073741824,1,,,,", "links"},
        {"memory,a100-sxm-80gb,bf16,decoder,,1024,,512,,,,,,,,,,,,", "activation"},
        {"memory,a100-sxm-80gb,bf16,decoder,,1024,,512,,,,,,,,,,-5,,", ""},
        {"overlap,a100-sxm-80gb,,,,,,,,,,,,,,,,,0.9,", "1 or more"},
        {"factor,,,,,,,,,,,,,,,,,,,", "name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        galv_profile *profile = galv_profile_new();
        galv_err err = GALV_ERR_INIT;
        char text[800];
        snprintf(text, sizeof text,
                 HEADER "overlap,x,,,,,,,,,,,,,,,,,1.1,\n"
                        "%s\n",
                 cases[i].row);
        cr_expect_eq(read_text(profile, text, &err), GALV_INPUT, "case %s",
                     cases[i].row);
        cr_expect(strstr(err.message, cases[i].says) != NULL ||
                      strstr(err.hint, cases[i].says) != NULL,
                  "case %s says %s (%s)", cases[i].row, err.message, err.hint);
        cr_expect_eq(err.line, 3, "case %s: line %ld", cases[i].row, err.line);
        cr_expect_str_eq(err.file, "p.csv");
        cr_expect_eq(profile->n_rows, 0, "case %s: nothing is added", cases[i].row);
        galv_profile_free(profile);
    }
}

Test(traces_profile, fast_but_possible_rows_and_unknown_devices_are_believed)
{
    static const char *const rows[] = {
        /* a collective between nodes, a device the catalog does not have */
        "collective,a100-sxm-80gb,,,,,,,all_reduce,,,,8,4,1073741824,1,,,,",
        "collective,my-chip,,,,,,,all_reduce,,,,8,,1073741824,1,,,,",
        "compute,my-chip,bf16,decoder,forward,4096,11008,2048,,,,,,,,1,,,,",
        /* 1.9 ms: 267 of 312 TFLOP/s; eight devices: an eighth of the time */
        "compute,a100-sxm-80gb,bf16,decoder,forward,4096,11008,2048,,,,,,,,1.9,,,,",
        "compute,a100-sxm-80gb,bf16,decoder,forward,4096,11008,2048,,,,,,,,0.25,,,,8",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        galv_profile *profile = galv_profile_new();
        galv_err err = GALV_ERR_INIT;
        char text[800];
        snprintf(text, sizeof text, HEADER "%s\n", rows[i]);
        cr_expect_eq(read_text(profile, text, &err), GALV_OK, "case %s: %s", rows[i],
                     err.message);
        galv_profile_free(profile);
    }
}

Test(traces_profile, a_folder_gives_the_rows_of_its_csv_files)
{
    char folder[64];
    test_temporary_path(folder);
    unlink(folder);
    cr_assert_eq(mkdir(folder, 0700), 0);
    char paths[2][100];
    galv_err err = GALV_ERR_INIT;
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%d.csv", folder, i);
        cr_assert_eq(galv_file_write(paths[i], sample, strlen(sample), &err), GALV_OK);
    }
    galv_profile *profile = galv_profile_new();
    cr_expect_eq(galv_profile_read(profile, folder, &err), GALV_OK);
    cr_expect_eq(profile->n_rows, 12);
    cr_assert_eq(galv_file_write(paths[1], "kind\nwrong\n", 11, &err), GALV_OK);
    cr_expect_eq(galv_profile_read(profile, folder, &err), GALV_INPUT);
    cr_expect_eq(profile->n_rows, 12, "the first file's rows are taken back");
    unlink(paths[0]);
    unlink(paths[1]);
    galv_err second = GALV_ERR_INIT;
    cr_expect_eq(galv_profile_read(profile, folder, &second), GALV_INPUT);
    cr_expect_eq(galv_profile_read(profile, "/nonexistent/file", &second), GALV_INPUT);
    rmdir(folder);
    galv_profile_free(profile);
}
