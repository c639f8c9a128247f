/* Galvatron's files: a few of the figures that it ships (PKU-DAIR/Hetu-Galvatron,
 * Apache-2.0, llama2-7b on nodes of eight), and what a wrong file leads to. */
#include "tests/support/leaks.h"
#include "tests/traces/helpers.h"
#include "traces/galvatron.h"

#include "base/file.h"
#include "plan/strategy.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

GALV_TEST_SUITE(traces_galvatron);

#define FOLDER GALV_SOURCE_DIR "/tests/traces/data/galvatron"
#define MIB    1048576.0

static galv_profile *import_shipped(size_t *n_files)
{
    galv_profile *profile = galv_profile_new();
    galv_err err = GALV_ERR_INIT;
    galv_galvatron_import import = {.folder = FOLDER,
                                    .model = "llama2-7b",
                                    .device = "a100-sxm-80gb",
                                    .n_nodes = 2,
                                    .devices_per_node = 8,
                                    .precision = GALV_BF16};
    cr_assert_eq(galv_profile_import_galvatron(profile, n_files, &import, &err),
                 GALV_OK, "%s:%ld: %s", err.file, err.line, err.message);
    return profile;
}

static const galv_profile_row *find_collective(const galv_profile *profile,
                                               const char *op, int32_t ranks,
                                               int32_t ranks_per_node, double mib)
{
    const galv_profile_row *found = NULL;
    for (size_t i = 0; i < profile->n_rows; i++) {
        const galv_profile_row *row = &profile->rows[i];
        if (strcmp(row->op, op) == 0 && row->ranks == ranks &&
            row->ranks_per_node == ranks_per_node && row->message_bytes >= mib * MIB &&
            row->message_bytes <= mib * MIB) {
            cr_expect_null(found, "%s of %d ranks twice", op, (int)ranks);
            found = row;
        }
    }
    return found;
}

Test(traces_galvatron, layer_times_are_per_sample_times_samples)
{
    size_t n_files = 0;
    galv_profile *profile = import_shipped(&n_files);
    cr_expect_eq(n_files, 6);
    double layer_s[9] = {0};
    double other_s[9] = {0};
    for (size_t i = 0; i < profile->n_rows; i++) {
        const galv_profile_row *row = &profile->rows[i];
        if (row->kind != GALV_PROFILE_COMPUTE) {
            continue;
        }
        cr_expect_eq(row->phase, GALV_OP_FORWARD, "backward was not measured");
        cr_expect_eq(row->precision, GALV_BF16);
        cr_expect_eq(row->seq_length, 2048);
        cr_expect_eq(row->hidden_size, 4096);
        double *times = strcmp(row->layer, "decoder") == 0 ? layer_s : other_s;
        times[(int)row->micro_batch_size] = row->time_s;
    }
    cr_expect_float_eq(layer_s[1], 4.396252679824829e-3, 1e-15);
    cr_expect_float_eq(layer_s[8], 8 * 3.9369729995727534e-3, 1e-15);
    cr_expect_float_eq(other_s[8], 8 * 2.958646392822267e-3, 1e-15);
    /* The raw records beside them: (T(4 layers) - T(2 layers)) / 2 */
    cr_expect_float_eq(layer_s[1], (23.87112617492676 - 15.0786208152771) / 2e3, 1e-12);
    galv_profile_free(profile);
}

Test(traces_galvatron, memory_is_per_degree_with_and_without_sequence_parallelism)
{
    size_t n_files = 0;
    galv_profile *profile = import_shipped(&n_files);
    int n_seen = 0;
    for (size_t i = 0; i < profile->n_rows; i++) {
        const galv_profile_row *row = &profile->rows[i];
        if (row->kind != GALV_PROFILE_MEMORY) {
            continue;
        }
        double mib = row->activation_bytes / MIB;
        bool is_layer = strcmp(row->layer, "decoder") == 0;
        if (is_layer) {
            cr_expect_eq(row->parameter_bytes, 778.2236328125 * MIB);
        }
        if (is_layer && row->recompute == GALV_RECOMPUTE_FULL) {
            /* the input of a layer in bf16, twice: 2048 x 4096 x 2 x 2 bytes */
            cr_expect_eq(row->activation_bytes, 2048.0 * 4096 * 2 * 2);
        } else if (is_layer && row->tp == 1) {
            cr_expect_eq(mib, 514.5634765625);
            cr_expect_eq(row->sp, GALV_SP_NONE);
        } else if (is_layer) {
            cr_expect_eq(row->tp, 2);
            cr_expect_eq(mib, row->sp == GALV_SP_MEGATRON ? 273.28173828125 : 300);
        } else {
            cr_expect_str_eq(row->layer, "other");
            cr_expect_eq(row->vocab_size, 32000);
            cr_expect_eq(row->parameter_bytes,
                         row->tp == 1 ? 4130.34765625 / 4 * MIB : 0);
        }
        n_seen++;
    }
    cr_expect_eq(n_seen, 6);
    galv_profile_free(profile);
}

Test(traces_galvatron, bandwidths_become_times_where_no_time_was_measured)
{
    size_t n_files = 0;
    galv_profile *profile = import_shipped(&n_files);
    static const struct {
        const char *op;
        int32_t ranks, ranks_per_node;
        double mib, time_ms;
    } cases[] = {
        {"all_reduce", 8, 0, 1, 0.07895},
        {"all_reduce", 8, 0, 512, 4.6768}, /* not the bandwidth's 5.76 */
        {"all_to_all", 8, 0, 512, 2.4822},
        {"all_reduce", 16, 8, 512, 2 * 15.0 / 16 * 512 / 44.682},
        {"all_reduce", 8, 4, 512, 2 * 7.0 / 8 * 512 / 20.7724}, /* every other rank */
        {"all_reduce", 2, 0, 512, 512 / 149.666},
        {"all_reduce", 2, 1, 512, 512 / 8.13007},
        {"send_recv", 2, 1, 512, 512 / 7.65998},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const galv_profile_row *row =
            find_collective(profile, cases[i].op, cases[i].ranks,
                            cases[i].ranks_per_node, cases[i].mib);
        cr_assert_not_null(row, "case %zu", i);
        cr_expect_float_eq(row->time_s * 1e3 / cases[i].time_ms, 1, 1e-12, "case %zu",
                           i);
    }
    galv_profile_free(profile);
}

static void put_file(const char *folder, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    galv_err err = GALV_ERR_INIT;
    cr_assert_eq(galv_file_write(path, text, strlen(text), &err), GALV_OK);
}

Test(traces_galvatron, wrong_files_are_refused_by_file_and_nothing_is_added)
{
    static const struct {
        const char *name, *text;
    } cases[] = {
        {"computation_profiling_bf16_llama2-7b_all.json",
         "{\"layertype_0_bsz2_seq2048\": 4.4, \"layertype_0_bsz1_seq2048\": -1}"},
        {"computation_profiling_bf16_llama2-7b_all.json",
         "{\"layertype_0_bsz1_seq2048\": \"fast\"}"},
        {"computation_profiling_bf16_llama2-7b_all.json",
         "{\"layertype_0_bsz0_seq2048\": 1}"},
        {"computation_profiling_bf16_llama2-7b_all.json",
         "{\"layertype_1_bsz1_seq2048\": 1}"},
        {"computation_profiling_bf16_llama2-7b_all.json",
         "{\"layertype_0_bsz1_seq2048\": 0.001}"}, /* a petaflop/s and more */
        {"computation_profiling_bf16_llama2-7b_all.json",
         "{\"layertype_0_bsz1_seq99999999999999\": 1}"},
        {"computation_profiling_bf16_llama2-7b_all.json", "{\"unheard_of\": 1}"},
        {"computation_profiling_bf16_llama2-7b_all.json", "[1, 2]"},
        {"memory_profiling_bf16_llama2-7b_all.json", "{\"layertype_0\": 5}"},
        {"memory_profiling_bf16_llama2-7b_all.json", "{\"layertype_0\": {\"x\": {}}}"},
        {"memory_profiling_bf16_llama2-7b_all.json", "{\"layertype_0\": {\"8\": {}}}"},
        {"memory_profiling_bf16_llama2-7b_all.json", "{\"layertype_0\": {\"8\": 1}}"},
        {"memory_profiling_bf16_llama2-7b_all.json",
         "{\"layertype_0\": {\"8\": {\"tp_activation_per_bsz_dict\": {\"0\": 1}}}}"},
        {"overlap_coefficient.json", "{\"overlap_coe\": 0.5}"},
        {"overlap_coefficient.json", "{}"},
        {"p2p_bandwidth_1nodes_8gpus_per_node.json", "{\"pp_size_2\": 0}"},
        {"p2p_bandwidth_1nodes_8gpus_per_node.json", "{\"pp_size_\": 1}"},
        {"allreduce_bandwidth_1nodes_8gpus_per_node.json",
         "{\"allreduce_size_1_consec_1\": 10}"},
        {"allreduce_bandwidth_1nodes_8gpus_per_node.json",
         "{\"allreduce_size_16_consec_1\": 10}"},
        {"sp_time_1nodes_8gpus_per_node.json", "{\"allreduce_size_8_1MB_time\": 0}"},
        {"sp_time_1nodes_8gpus_per_node.json", "{\"allreduce_size_8_0MB_time\": 1}"},
    };
    char folder[64];
    test_temporary_path(folder);
    unlink(folder);
    cr_assert_eq(mkdir(folder, 0700), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put_file(folder, cases[i].name, cases[i].text);
        galv_profile *profile = galv_profile_new();
        galv_err err = GALV_ERR_INIT;
        size_t n_files = 99;
        galv_galvatron_import import = {.folder = folder,
                                        .model = "llama2-7b",
                                        .device = "a100-sxm-80gb",
                                        .precision = GALV_BF16};
        cr_expect_eq(galv_profile_import_galvatron(profile, &n_files, &import, &err),
                     GALV_INPUT, "case %zu", i);
        cr_expect(strstr(err.file, cases[i].name) != NULL, "case %zu: '%s' %s", i,
                  err.file, err.message);
        cr_expect_eq(profile->n_rows, 0, "case %zu", i);
        cr_expect_eq(n_files, 99, "case %zu", i);
        galv_profile_free(profile);
        char path[200];
        snprintf(path, sizeof path, "%s/%s", folder, cases[i].name);
        unlink(path);
    }
    rmdir(folder);
}

Test(traces_galvatron, a_folder_without_profiles_says_what_is_expected)
{
    galv_profile *profile = galv_profile_new();
    galv_err err = GALV_ERR_INIT;
    size_t n_files = 0;
    galv_galvatron_import import = {.folder = FOLDER "/hardware",
                                    .model = "llama2-7b",
                                    .device = "a100-sxm-80gb",
                                    .n_nodes = 3};
    /* the overlap coefficient fits any number of nodes */
    cr_expect_eq(galv_profile_import_galvatron(profile, &n_files, &import, &err),
                 GALV_OK);
    cr_expect_eq(n_files, 1);
    import.folder = FOLDER "/model";
    import.precision = GALV_FP16;
    cr_expect_eq(galv_profile_import_galvatron(profile, &n_files, &import, &err),
                 GALV_INPUT);
    cr_expect(strstr(err.hint, "computation_profiling_fp16_llama2-7b_all.json") !=
              NULL);
    galv_profile_free(profile);
}

Test(traces_galvatron, groups_that_lie_alike_are_taken_once)
{
    char folder[64];
    test_temporary_path(folder);
    unlink(folder);
    cr_assert_eq(mkdir(folder, 0700), 0);
    const char *name = "allreduce_bandwidth_1nodes_8gpus_per_node.json";
    put_file(folder, name,
             "{\"allreduce_size_4_consec_0\": 155.815, "
             "\"allreduce_size_4_consec_1\": 159.119}");
    galv_profile *profile = galv_profile_new();
    galv_err err = GALV_ERR_INIT;
    size_t n_files = 0;
    galv_galvatron_import import = {.folder = folder, .device = "a100-sxm-80gb"};
    cr_assert_eq(galv_profile_import_galvatron(profile, &n_files, &import, &err),
                 GALV_OK, "%s", err.message);
    cr_assert_eq(profile->n_rows, 1);
    cr_expect_float_eq(profile->rows[0].time_s, 1.5 * 512 / 159.119 / 1e3, 1e-15);
    galv_profile_free(profile);
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    rmdir(folder);
}
