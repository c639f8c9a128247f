/* Importing Galvatron's profiles: find its files by name, turn its keys into rows.
 *
 * Its files hold raw records of profiling runs and, beside them, the values that its
 * search uses; only the latter are taken. Keys carry the data
 * ("layertype_0_bsz8_seq2048"), so they are scanned by hand, and a key that looks like
 * one of ours but is not is an error. Values are measured, but not always by a run of
 * their own: activations for tp 2, 4, 8 that its profiler could not run are halves of
 * the degree before, and nothing in the file tells which. Two measurements of the same
 * thing that differ (bandwidths from one benchmark, times from another) are not both
 * taken: the cost model would have to guess which to believe. See the header for which
 * is. */
#include "traces/galvatron.h"

#include "base/file.h"
#include "base/json.h"
#include "plan/catalog.h"
#include "plan/strategy.h"
#include "traces/profile_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB         1048576.0
#define ROW_MIB     512 /* message that stands for a bandwidth */
#define MAX_DEPTH   4
#define MAX_COVERED 32
#define MAX_VALUE   1e9
#define FP32_STATES 4 /* model states per fp32 byte of a parameter: 16 bytes of 4 */

typedef struct importer {
    galv_profile *profile;
    const galv_galvatron_import *import;
    galv_arena *arena;
    galv_err *err;
    galv_model model;
    galv_device_memo memo;
    int32_t n_nodes, devices_per_node;
    int32_t n_covered; /* group sizes whose all-reduce sp_time holds */
    int32_t covered[MAX_COVERED];
} importer;

/* ---- keys ---- */

/* Does `key` match a pattern where each '#' stands for a whole number? Numbers go to
 * numbers[0], [1]... */
static bool scan_key(const char *key, const char *pattern, int32_t *numbers)
{
    size_t n = 0;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '#') {
            if (*key++ != *pattern) {
                return false;
            }
            continue;
        }
        int64_t number = 0;
        const char *digits = key;
        for (; *key >= '0' && *key <= '9' && number < 1000000000; key++) {
            number = 10 * number + (*key - '0');
        }
        if (key == digits || number > INT32_MAX) {
            return false;
        }
        numbers[n++] = (int32_t)number;
    }
    return *key == '\0';
}

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* ---- rows ---- */

static galv_profile_row new_row(const importer *im, galv_profile_kind kind,
                                const char *file)
{
    galv_profile_row row = {.kind = kind,
                            .precision = -1,
                            .phase = -1,
                            .micro_batch_size = 1,
                            .tp = 1,
                            .cp = 1};
    snprintf(row.device, sizeof row.device, "%s", im->import->device);
    snprintf(row.source, sizeof row.source, "Galvatron %.80s", file);
    return row;
}

static galv_status add_row(importer *im, const galv_profile_row *row,
                           galv_json_value value)
{
    galv_err found = GALV_ERR_INIT;
    if (galv_profile_check_with(row, &im->memo, &found) != GALV_OK) {
        return galv_json_fail(value, im->err, "%s", found.message);
    }
    return galv_profile_add(im->profile, row, im->err);
}

/* The shape of the model's T-th group of blocks; NULL when it has none. */
static const galv_layer_group *block_group(const galv_model *model, int32_t type)
{
    for (int32_t i = 0; i < model->n_groups; i++) {
        bool is_block = model->groups[i].num_attention_heads > 0;
        if (is_block && type-- == 0) {
            return &model->groups[i];
        }
    }
    return NULL;
}

static void put_shape(galv_profile_row *row, const galv_layer_group *group)
{
    snprintf(row->layer, sizeof row->layer, "%s", galv_layer_kind_names[group->kind]);
    row->hidden_size = group->hidden_size;
    row->ffn_hidden_size = group->ffn_hidden_size;
    row->num_attention_heads = group->num_attention_heads;
    row->num_query_groups = group->num_query_groups;
    row->num_experts = group->num_experts;
    row->moe_router_topk = group->moe_router_topk;
}

/* Embedding, head, or both: the word says which. */
static void put_end_shape(galv_profile_row *row, const importer *im, const char *word)
{
    const galv_layer_group *end = &im->model.groups[im->model.n_groups - 1];
    snprintf(row->layer, sizeof row->layer, "%s", word);
    row->hidden_size = end->hidden_size;
    row->vocab_size = end->vocab_size;
}

static galv_status need_group(const importer *im, galv_json_value value, int32_t type,
                              const galv_layer_group **group)
{
    *group = block_group(&im->model, type);
    return *group != NULL ? GALV_OK
                          : galv_json_fail(value, im->err,
                                           "layer type %d, but %s has fewer kinds of "
                                           "blocks",
                                           (int)type, im->model.name);
}

/* ---- computation ---- */

static galv_status read_computation(importer *im, galv_json_value root,
                                    const char *file)
{
    for (size_t i = 0; i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        const char *key = galv_json_key(root, i, &value);
        if (begins_with(key, "layernum")) {
            continue; /* raw */
        }
        galv_profile_row row = new_row(im, GALV_PROFILE_COMPUTE, file);
        row.precision = (int)im->import->precision;
        row.phase = GALV_OP_FORWARD;
        int32_t numbers[4];
        galv_status status = GALV_OK;
        int32_t batch;
        if (scan_key(key, "layertype_#_bsz#_seq#", numbers)) {
            const galv_layer_group *group;
            status = need_group(im, value, numbers[0], &group);
            if (status == GALV_OK) {
                put_shape(&row, group);
            }
            batch = numbers[1];
            row.seq_length = numbers[2];
        } else if (scan_key(key, "layertype_other_bsz#_seq#", numbers)) {
            put_end_shape(&row, im, "other");
            batch = numbers[0];
            row.seq_length = numbers[1];
        } else {
            return galv_json_fail(value, im->err, "not a key of a computation profile");
        }
        double per_sample_ms = 0;
        if (status == GALV_OK) {
            status = galv_json_to_f64(&per_sample_ms, value, 0, MAX_VALUE, im->err);
        }
        if (status == GALV_OK && per_sample_ms <= 0 && row.vocab_size > 0) {
            continue; /* "other" is a difference that its profiler clips at 0 */
        }
        row.micro_batch_size = batch;
        row.time_s = per_sample_ms * batch / 1e3;
        if (status == GALV_OK) {
            status = add_row(im, &row, value);
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

/* ---- memory ---- */

/* "2", "4": tensor-parallel degrees; "checkpoint": kept under full recomputation. */
static galv_status read_activations(importer *im, galv_json_value by_tp,
                                    const galv_profile_row *proto, bool has_sp,
                                    galv_json_value states)
{
    for (size_t i = 0; i < galv_json_n_keys(by_tp); i++) {
        galv_json_value value;
        const char *key = galv_json_key(by_tp, i, &value);
        galv_profile_row row = *proto;
        if (strcmp(key, "checkpoint") == 0) {
            row.recompute = GALV_RECOMPUTE_FULL;
        } else if (!scan_key(key, "#", &row.tp) || row.tp < 1) {
            return galv_json_fail(value, im->err, "not a tensor-parallel degree");
        }
        row.sp = has_sp && row.tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE;
        double mib = 0;
        galv_status status = galv_json_to_f64(&mib, value, 0, MAX_VALUE, im->err);
        row.activation_bytes = mib * MIB;
        galv_json_value state = galv_json_member(states, key);
        if (status == GALV_OK && row.tp == 1 &&
            galv_json_type_of(state) != GALV_JSON_ABSENT) {
            double state_mib = 0;
            status = galv_json_to_f64(&state_mib, state, 0, MAX_VALUE, im->err);
            row.parameter_bytes = state_mib * MIB / FP32_STATES;
        }
        if (status == GALV_OK && row.activation_bytes + row.parameter_bytes <= 0) {
            continue; /* clipped at 0 */
        }
        if (status == GALV_OK) {
            status = add_row(im, &row, value);
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

static galv_status need_object(const importer *im, galv_json_value value)
{
    return galv_json_type_of(value) == GALV_JSON_OBJECT
               ? GALV_OK
               : galv_json_fail(value, im->err, "an object is expected here");
}

/* One sequence length of one layer: sizes by degree. */
static galv_status read_layer_memory(importer *im, galv_json_value at_seq,
                                     galv_profile_row *row, bool has_sp)
{
    const char *dict =
        row->vocab_size > 0 ? "activation" : "tp_activation_per_bsz_dict";
    galv_json_value by_tp = galv_json_member(at_seq, dict);
    galv_json_value states = galv_json_member(at_seq, "model_states");
    galv_status status = need_object(im, at_seq);
    if (status == GALV_OK && galv_json_type_of(by_tp) != GALV_JSON_OBJECT) {
        status = galv_json_fail(at_seq, im->err, "%s is missing", dict);
    }
    galv_json_value parameters = galv_json_member(at_seq, "parameter_size");
    if (status == GALV_OK && galv_json_type_of(parameters) != GALV_JSON_ABSENT) {
        double mib = 0;
        status = galv_json_to_f64(&mib, parameters, 0, MAX_VALUE, im->err);
        row->parameter_bytes = mib * MIB;
    }
    return status == GALV_OK ? read_activations(im, by_tp, row, has_sp, states)
                             : status;
}

/* Which layer a key of the memory file speaks of; false for raw records. */
static bool name_memory_key(const char *key, int32_t *type, const char **word,
                            bool *has_sp)
{
    static const struct {
        const char *key;
        const char *word;
    } ends[] = {{"other_memory_pp_off", "other"},
                {"other_memory_pp_on_first", "embedding"},
                {"other_memory_pp_on_last", "head"}};
    char base[64];
    size_t length = strlen(key);
    *has_sp = length > 3 && strcmp(key + length - 3, "_sp") == 0;
    length -= *has_sp ? 3 : 0;
    if (length >= sizeof base) {
        return false;
    }
    memcpy(base, key, length);
    base[length] = '\0';
    *word = NULL;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        if (strcmp(base, ends[i].key) == 0) {
            *word = ends[i].word;
            return true;
        }
    }
    int32_t numbers[4];
    bool is_layer = scan_key(base, "layertype_#", numbers);
    *type = is_layer ? numbers[0] : 0;
    return is_layer;
}

static galv_status read_memory(importer *im, galv_json_value root, const char *file)
{
    for (size_t i = 0; i < galv_json_n_keys(root); i++) {
        galv_json_value by_seq;
        const char *key = galv_json_key(root, i, &by_seq);
        int32_t type = 0;
        const char *word = NULL;
        bool has_sp = false;
        if (!name_memory_key(key, &type, &word, &has_sp)) {
            continue; /* raw: "1_2_4_sp" */
        }
        galv_status status = need_object(im, by_seq);
        for (size_t j = 0; status == GALV_OK && j < galv_json_n_keys(by_seq); j++) {
            galv_json_value at_seq;
            const char *seq = galv_json_key(by_seq, j, &at_seq);
            galv_profile_row row = new_row(im, GALV_PROFILE_MEMORY, file);
            row.precision = (int)im->import->precision;
            if (!scan_key(seq, "#", &row.seq_length)) {
                return galv_json_fail(at_seq, im->err, "not a sequence length");
            }
            const galv_layer_group *group = NULL;
            if (word != NULL) {
                put_end_shape(&row, im, word);
            } else {
                status = need_group(im, at_seq, type, &group);
                if (status == GALV_OK) {
                    put_shape(&row, group);
                }
            }
            if (status == GALV_OK) {
                status = read_layer_memory(im, at_seq, &row, has_sp);
            }
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

/* ---- hardware ---- */

/* Most ranks of a group in one node; 0 = all of them. `stride`: between its ranks. */
static int32_t ranks_in_a_node(const importer *im, int32_t ranks, int32_t stride)
{
    int64_t span = (int64_t)ranks * stride;
    if (span <= im->devices_per_node) {
        return 0;
    }
    int32_t in_node = im->devices_per_node / stride;
    return in_node < 1 ? 1 : in_node;
}

static bool is_covered(const importer *im, int32_t ranks)
{
    for (int32_t i = 0; i < im->n_covered; i++) {
        if (im->covered[i] == ranks) {
            return true;
        }
    }
    return false;
}

static void cover(importer *im, int32_t ranks)
{
    if (!is_covered(im, ranks) && im->n_covered < MAX_COVERED) {
        im->covered[im->n_covered++] = ranks;
    }
}

static galv_status read_sp_time(importer *im, galv_json_value root, const char *file)
{
    for (size_t i = 0; i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        const char *key = galv_json_key(root, i, &value);
        galv_profile_row row = new_row(im, GALV_PROFILE_COLLECTIVE, file);
        int32_t numbers[4];
        bool is_all_reduce = scan_key(key, "allreduce_size_#_#MB_time", numbers);
        if (!is_all_reduce && !scan_key(key, "all2all_size_#_#MB_time", numbers)) {
            return galv_json_fail(value, im->err, "not a key of an sp_time profile");
        }
        snprintf(row.op, sizeof row.op, "%s",
                 is_all_reduce ? "all_reduce" : "all_to_all");
        row.ranks = numbers[0];
        row.ranks_per_node = ranks_in_a_node(im, row.ranks, 1);
        row.message_bytes = numbers[1] * MIB;
        double ms = 0;
        galv_status status = galv_json_to_f64(&ms, value, 0, MAX_VALUE, im->err);
        row.time_s = ms / 1e3;
        if (status == GALV_OK) {
            status = add_row(im, &row, value);
        }
        if (status != GALV_OK) {
            return status;
        }
        if (is_all_reduce) {
            cover(im, row.ranks);
        }
    }
    return GALV_OK;
}

/* A bandwidth as the time of one message: bytes moved per rank over it. */
static galv_status add_bandwidth(importer *im, galv_profile_row *row, double moved,
                                 galv_json_value value)
{
    double mib_per_ms = 0;
    galv_status status = galv_json_to_f64(&mib_per_ms, value, 1e-9, MAX_VALUE, im->err);
    if (status != GALV_OK) {
        return status;
    }
    row->message_bytes = ROW_MIB * MIB;
    row->time_s = moved * ROW_MIB / mib_per_ms / 1e3;
    return add_row(im, row, value);
}

static galv_status read_all_reduce(importer *im, galv_json_value root, const char *file)
{
    int32_t world = im->n_nodes * im->devices_per_node;
    for (size_t i = 0; i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        const char *key = galv_json_key(root, i, &value);
        int32_t numbers[4];
        if (!scan_key(key, "allreduce_size_#_consec_#", numbers) || numbers[1] > 1 ||
            numbers[0] < 2 || numbers[0] > world) {
            return galv_json_fail(value, im->err,
                                  "not a key of an allreduce_bandwidth profile");
        }
        galv_profile_row row = new_row(im, GALV_PROFILE_COLLECTIVE, file);
        snprintf(row.op, sizeof row.op, "all_reduce");
        row.ranks = numbers[0];
        int32_t together = ranks_in_a_node(im, row.ranks, 1);
        bool consecutive = numbers[1] == 1;
        row.ranks_per_node =
            consecutive ? together : ranks_in_a_node(im, row.ranks, world / row.ranks);
        if (row.ranks_per_node == together &&
            (!consecutive || is_covered(im, row.ranks))) {
            continue; /* what lies alike is taken once */
        }
        double n = row.ranks;
        galv_status status = add_bandwidth(im, &row, 2 * (n - 1) / n, value);
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

static galv_status read_p2p(importer *im, galv_json_value root, const char *file)
{
    for (size_t i = 0; i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        const char *key = galv_json_key(root, i, &value);
        galv_profile_row row = new_row(im, GALV_PROFILE_COLLECTIVE, file);
        if (!scan_key(key, "pp_size_#", &row.ranks)) {
            return galv_json_fail(value, im->err,
                                  "not a key of a p2p_bandwidth profile");
        }
        snprintf(row.op, sizeof row.op, "send_recv");
        row.ranks_per_node = im->n_nodes > 1 ? 1 : 0; /* the slowest hop decides */
        galv_status status = add_bandwidth(im, &row, 1, value);
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

static galv_status read_overlap(importer *im, galv_json_value root, const char *file)
{
    galv_profile_row row = new_row(im, GALV_PROFILE_OVERLAP, file);
    galv_json_value value = galv_json_member(root, "overlap_coe");
    if (galv_json_type_of(value) == GALV_JSON_ABSENT) {
        return galv_json_fail(root, im->err, "overlap_coe is missing");
    }
    galv_status status =
        galv_json_to_f64(&row.compute_slowdown, value, 1, MAX_VALUE, im->err);
    row.comm_slowdown = row.compute_slowdown;
    return status == GALV_OK ? add_row(im, &row, value) : status;
}

/* ---- files ---- */

/* Looks for a file in a folder and below it; two of the same name are refused, since
 * nothing says which is meant. */
static galv_status find_file(const importer *im, const char *folder, const char *name,
                             int depth, char **found)
{
    char **names = NULL;
    size_t n_names = 0;
    galv_status status = galv_folder_list(&names, &n_names, folder, im->arena, im->err);
    for (size_t i = 0; status == GALV_OK && i < n_names; i++) {
        char *path = galv_path_join(im->arena, folder, names[i]);
        if (path == NULL) {
            return galv_fail(im->err, GALV_NO_MEMORY, "out of memory");
        }
        if (depth < MAX_DEPTH && galv_is_folder(path)) {
            status = find_file(im, path, name, depth + 1, found);
        } else if (strcmp(names[i], name) == 0 && galv_is_file(path)) {
            if (*found != NULL) {
                galv_fail_at(im->err, path, 0, 0, "the same file is in another folder");
                galv_hint(im->err,
                          "import one of the two folders; the other is '%.200s'",
                          *found);
                return GALV_INPUT;
            }
            *found = path;
        }
    }
    return status;
}

typedef galv_status read_function(importer *im, galv_json_value root, const char *file);

static galv_status read_if_there(importer *im, const char *name, read_function *read,
                                 size_t *n_files)
{
    char *path = NULL;
    galv_status status = find_file(im, im->import->folder, name, 0, &path);
    if (status != GALV_OK || path == NULL) {
        return status;
    }
    galv_json *document = NULL;
    status = galv_json_read_file(&document, path, im->err);
    if (status != GALV_OK) {
        return status;
    }
    galv_json_value root = galv_json_root(document);
    status = need_object(im, root);
    if (status == GALV_OK) {
        status = read(im, root, name);
    }
    galv_json_free(document);
    *n_files += status == GALV_OK;
    return status;
}

static galv_status import_files(importer *im, size_t *n_files)
{
    const struct {
        const char *stem;
        bool of_model;
        read_function *read;
    } kinds[] = {
        {"computation_profiling", true, read_computation},
        {"memory_profiling", true, read_memory},
        {"sp_time", false, read_sp_time}, /* before the bandwidths: it comes first */
        {"allreduce_bandwidth", false, read_all_reduce},
        {"p2p_bandwidth", false, read_p2p},
    };
    galv_status status = GALV_OK;
    for (size_t i = 0; status == GALV_OK && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].of_model && im->import->model == NULL) {
            continue;
        }
        const char *name =
            kinds[i].of_model
                ? galv_arena_printf(im->arena, "%s_%s_%s_all.json", kinds[i].stem,
                                    galv_precision_names[im->import->precision],
                                    im->import->model)
                : galv_arena_printf(im->arena, "%s_%dnodes_%dgpus_per_node.json",
                                    kinds[i].stem, (int)im->n_nodes,
                                    (int)im->devices_per_node);
        status = name == NULL ? galv_fail(im->err, GALV_NO_MEMORY, "out of memory")
                              : read_if_there(im, name, kinds[i].read, n_files);
    }
    if (status == GALV_OK) {
        status = read_if_there(im, "overlap_coefficient.json", read_overlap, n_files);
    }
    if (status == GALV_OK && *n_files == 0) {
        galv_fail_at(
            im->err, im->import->folder, 0, 0,
            "no profile of Galvatron for %d nodes of %d devices in this folder",
            (int)im->n_nodes, (int)im->devices_per_node);
        if (im->import->model != NULL) {
            galv_hint(im->err, "expected computation_profiling_%s_%s_all.json",
                      galv_precision_names[im->import->precision], im->import->model);
        }
        status = GALV_INPUT;
    }
    return status;
}

galv_status galv_profile_import_galvatron(galv_profile *profile, size_t *n_files,
                                          const galv_galvatron_import *import,
                                          galv_err *err)
{
    importer im = {.profile = profile, .import = import, .err = err};
    im.n_nodes = import->n_nodes == 0 ? 1 : import->n_nodes;
    im.devices_per_node = import->devices_per_node == 0 ? 8 : import->devices_per_node;
    if (im.n_nodes < 1 || im.n_nodes > 100000 || im.devices_per_node < 1 ||
        im.devices_per_node > 4096) {
        return galv_fail(err, GALV_USAGE, "%d nodes of %d devices cannot be",
                         (int)im.n_nodes, (int)im.devices_per_node);
    }
    if (import->model != NULL) {
        galv_status status = galv_catalog_model(&im.model, import->model, err);
        if (status != GALV_OK) {
            return status;
        }
    }
    im.arena = galv_arena_new();
    if (im.arena == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    size_t n_before = profile->n_rows;
    size_t n_read = 0;
    galv_status status = import_files(&im, &n_read);
    galv_arena_free(im.arena);
    if (status != GALV_OK) {
        profile->n_rows = n_before;
        return status;
    }
    *n_files = n_read;
    return GALV_OK;
}
