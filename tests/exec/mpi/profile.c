/* A small profile on several ranks: it measures all that is wanted, once. */
#include "exec/profile_rows.h"
#include "exec/profile_session.h"
#include "tests/exec/mpi/mpi_support.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char model_text[] =
    "{\"schema\": \"galvatron-sim/model\", \"schema_version\": \"1.0\","
    " \"name\": \"small\", \"family\": \"llama\", \"seq_length\": 8,"
    " \"kind\": \"decoder\", \"num_layers\": 2, \"hidden_size\": 16,"
    " \"ffn_hidden_size\": 32, \"num_attention_heads\": 4, \"num_query_groups\": 4,"
    " \"gated_linear_unit\": true, \"normalization\": \"rmsnorm\","
    " \"vocab_size\": 32}";

static void work(team *t, galv_profile_result *result, const char *folder,
                 const atomic_bool *stop, galv_status expected)
{
    char model[256];
    galv_err err = GALV_ERR_INIT;
    galv_profile_options options = GALV_PROFILE_OPTIONS_INIT;
    snprintf(model, sizeof model, "%s/model.json", folder);
    options.model = model;
    options.out = folder;
    options.quiet = true;
    options.most_message_bytes = 4096;
    options.patience = (galv_patience){1, 2, 2, 1, 1};
    options.micro_batches[options.n_micro_batches++] = 1;
    *result = (galv_profile_result){.n_measured = 0};
    galv_status status = galv_profile_run(result, &options, t->world, t->b, stop, &err);
    CLAIM(t, status == expected, "%d, not %d: %s", (int)status, (int)expected,
          err.message);
}

static bool make_folder(team *t, char *folder, size_t size)
{
    galv_err err = GALV_ERR_INIT;
    char path[256];
    snprintf(folder, size, "/tmp/galvatron-profile-XXXXXX");
    if (t->rank == 0) {
        CLAIM(t, mkdtemp(folder) != NULL, "no folder");
        snprintf(path, sizeof path, "%s/model.json", folder);
        galv_file_write(path, model_text, sizeof model_text - 1, &err);
    }
    return galv_world_broadcast(t->world, folder, size, 0, &err) == GALV_OK;
}

static void remove_folder(const team *t, const char *folder)
{
    static const char *const names[] = {"model.json", "profile.csv", "cluster.json"};
    char path[256];
    for (int i = 0; i < 3 && t->rank == 0; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    if (t->rank == 0) {
        rmdir(folder);
    }
}

/* Rows of the file, and the fewest samples that any layer or collective has. */
static size_t count_rows(team *t, const char *folder, int32_t *fewest, size_t *splits)
{
    char path[256];
    galv_err err = GALV_ERR_INIT;
    galv_profile *profile = galv_profile_new();
    snprintf(path, sizeof path, "%s/profile.csv", folder);
    CLAIM(t, galv_profile_read(profile, path, &err) == GALV_OK, "%s", err.message);
    size_t n = profile->n_rows;
    *fewest = 1000000;
    *splits = 0;
    for (size_t i = 0; i < n; i++) {
        const galv_profile_row *row = &profile->rows[i];
        bool timed =
            row->kind == GALV_PROFILE_COMPUTE || row->kind == GALV_PROFILE_COLLECTIVE;
        *fewest = timed && row->samples < *fewest ? row->samples : *fewest;
        *splits += row->kind == GALV_PROFILE_COMPUTE && row->tp == t->size &&
                   row->phase == GALV_OP_BACKWARD_WEIGHT;
        for (size_t k = 0; k < i; k++) {
            CLAIM(t, !galv_row_is_of(row, &profile->rows[k]), "row %zu is %zu again", i,
                  k);
        }
    }
    galv_profile_free(profile);
    return n;
}

static void a_profile_is_measured_once(team *t)
{
    char folder[64];
    galv_profile_result first;
    galv_profile_result again;
    atomic_bool stop = false;
    int32_t fewest = 0;
    size_t splits = 0;
    if (!make_folder(t, folder, sizeof folder)) {
        return;
    }
    work(t, &first, folder, &stop, GALV_OK);
    CLAIM(t, first.n_measured > 40 && first.n_kept == 0, "%zu", first.n_measured);
    CLAIM(t, galv_cluster_n_devices(&first.cluster) == t->size, "devices");
    if (t->rank == 0) {
        size_t n = count_rows(t, folder, &fewest, &splits);
        CLAIM(t, n == first.n_measured + 11, "%zu rows, %zu measured", n,
              first.n_measured); /* overlap, two factors of time and eight of memory */
        CLAIM(t, fewest >= 2, "%d", (int)fewest);
        CLAIM(t, splits == 3, "%zu", splits); /* embedding, decoder, head */
    }
    work(t, &again, folder, &stop, GALV_OK);
    CLAIM(t, again.n_measured == 0 && again.n_kept == first.n_measured, "%zu again",
          again.n_measured);
    remove_folder(t, folder);
}

static void an_interrupted_profile_keeps_what_it_has(team *t)
{
    char folder[64];
    galv_profile_result result;
    galv_profile_result rest;
    atomic_bool stop = false;
    int32_t fewest = 0;
    size_t splits = 0;
    if (!make_folder(t, folder, sizeof folder)) {
        return;
    }
    work(t, &result, folder, &stop, GALV_OK);
    if (t->rank == 0) { /* the file as if stopped after some rows */
        char path[256];
        galv_err err = GALV_ERR_INIT;
        galv_sheet sheet;
        snprintf(path, sizeof path, "%s/profile.csv", folder);
        CLAIM(t, galv_sheet_open(&sheet, path, true, &err) == GALV_OK, "%s",
              err.message);
        sheet.profile->n_rows = 5;
        CLAIM(t, galv_sheet_save(&sheet, &err) == GALV_OK, "%s", err.message);
        galv_sheet_close(&sheet);
    }
    stop = t->rank == t->size - 1; /* one rank alone hears of it */
    work(t, &rest, folder, &stop, GALV_INTERRUPTED);
    CLAIM(t, rest.n_kept == 5 && rest.n_measured == 0, "%zu kept", rest.n_kept);
    if (t->rank == 0) {
        CLAIM(t, count_rows(t, folder, &fewest, &splits) == 5, "rows");
    }
    stop = false;
    work(t, &rest, folder, &stop, GALV_OK);
    CLAIM(t, rest.n_kept == 5 && rest.n_measured == result.n_measured - 5, "%zu new",
          rest.n_measured);
    remove_folder(t, folder);
}

int main(int argc, char **argv)
{
    static const team_test tests[] = {
        {"a_profile_is_measured_once", a_profile_is_measured_once},
        {"an_interrupted_profile_keeps_what_it_has",
         an_interrupted_profile_keeps_what_it_has},
    };
    return team_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
