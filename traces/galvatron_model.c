/* Galvatron's profiles of a model: forward times of a layer, and its memory.
 *
 * Both files are objects whose keys carry the data. "other" is all that is no layer:
 * embedding, head and loss. Its time is the difference of a measurement and a multiple
 * of another, which its profiler clips at 0; such zeros are left out. */
#include "traces/galvatron_internal.h"

#include "plan/strategy.h"

#include <stdio.h>
#include <string.h>

#define FP32_STATES 4 /* model states per fp32 byte of a parameter: 16 bytes of 4 */

static bool begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
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
static void put_end_shape(galv_profile_row *row, const galv_galvatron_importer *im,
                          const char *word)
{
    const galv_layer_group *end = &im->model.groups[im->model.n_groups - 1];
    snprintf(row->layer, sizeof row->layer, "%s", word);
    row->hidden_size = end->hidden_size;
    row->vocab_size = end->vocab_size;
}

static galv_status need_group(const galv_galvatron_importer *im, galv_json_value value,
                              int32_t type, const galv_layer_group **group)
{
    *group = block_group(&im->model, type);
    return *group != NULL ? GALV_OK
                          : galv_json_fail(value, im->err,
                                           "layer type %d, but %s has fewer kinds of "
                                           "blocks",
                                           (int)type, im->model.name);
}

/* ---- computation ---- */

galv_status galv_galvatron_read_computation(galv_galvatron_importer *im,
                                            galv_json_value root, const char *file)
{
    for (size_t i = 0; i < galv_json_n_keys(root); i++) {
        galv_json_value value;
        const char *key = galv_json_key(root, i, &value);
        if (begins_with(key, "layernum")) {
            continue; /* raw */
        }
        galv_profile_row row = galv_galvatron_new_row(im, GALV_PROFILE_COMPUTE, file);
        row.precision = (int)im->import->precision;
        row.phase = GALV_OP_FORWARD;
        int32_t numbers[4];
        galv_status status = GALV_OK;
        int32_t batch;
        if (galv_galvatron_scan_key(key, "layertype_#_bsz#_seq#", numbers)) {
            const galv_layer_group *group;
            status = need_group(im, value, numbers[0], &group);
            if (status == GALV_OK) {
                put_shape(&row, group);
            }
            batch = numbers[1];
            row.seq_length = numbers[2];
        } else if (galv_galvatron_scan_key(key, "layertype_other_bsz#_seq#", numbers)) {
            put_end_shape(&row, im, "other");
            batch = numbers[0];
            row.seq_length = numbers[1];
        } else {
            return galv_json_fail(value, im->err, "not a key of a computation profile");
        }
        double per_sample_ms = 0;
        if (status == GALV_OK) {
            status = galv_json_to_f64(&per_sample_ms, value, 0,
                                      GALV_GALVATRON_MAX_VALUE, im->err);
        }
        if (status == GALV_OK && per_sample_ms <= 0 && row.vocab_size > 0) {
            continue; /* "other" is a difference that its profiler clips at 0 */
        }
        row.micro_batch_size = batch;
        row.time_s = per_sample_ms * batch / 1e3;
        if (status == GALV_OK) {
            status = galv_galvatron_add_row(im, &row, value);
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

/* ---- memory ---- */

/* "2", "4": tensor-parallel degrees; "checkpoint": kept under full recomputation. */
static galv_status read_activations(galv_galvatron_importer *im, galv_json_value by_tp,
                                    const galv_profile_row *proto, bool has_sp,
                                    galv_json_value states)
{
    for (size_t i = 0; i < galv_json_n_keys(by_tp); i++) {
        galv_json_value value;
        const char *key = galv_json_key(by_tp, i, &value);
        galv_profile_row row = *proto;
        if (strcmp(key, "checkpoint") == 0) {
            row.recompute = GALV_RECOMPUTE_FULL;
        } else if (!galv_galvatron_scan_key(key, "#", &row.tp) || row.tp < 1) {
            return galv_json_fail(value, im->err, "not a tensor-parallel degree");
        }
        row.sp = has_sp && row.tp > 1 ? GALV_SP_MEGATRON : GALV_SP_NONE;
        double mib = 0;
        galv_status status =
            galv_json_to_f64(&mib, value, 0, GALV_GALVATRON_MAX_VALUE, im->err);
        row.activation_bytes = mib * GALV_GALVATRON_MIB;
        galv_json_value state = galv_json_member(states, key);
        if (status == GALV_OK && row.tp == 1 &&
            galv_json_type_of(state) != GALV_JSON_ABSENT) {
            double state_mib = 0;
            status = galv_json_to_f64(&state_mib, state, 0, GALV_GALVATRON_MAX_VALUE,
                                      im->err);
            row.parameter_bytes = state_mib * GALV_GALVATRON_MIB / FP32_STATES;
        }
        if (status == GALV_OK && row.activation_bytes + row.parameter_bytes <= 0) {
            continue; /* clipped at 0 */
        }
        if (status == GALV_OK) {
            status = galv_galvatron_add_row(im, &row, value);
        }
        if (status != GALV_OK) {
            return status;
        }
    }
    return GALV_OK;
}

/* One sequence length of one layer: sizes by degree. */
static galv_status read_layer_memory(galv_galvatron_importer *im,
                                     galv_json_value at_seq, galv_profile_row *row,
                                     bool has_sp)
{
    const char *dict =
        row->vocab_size > 0 ? "activation" : "tp_activation_per_bsz_dict";
    galv_json_value by_tp = galv_json_member(at_seq, dict);
    galv_json_value states = galv_json_member(at_seq, "model_states");
    galv_status status = galv_galvatron_need_object(im, at_seq);
    if (status == GALV_OK && galv_json_type_of(by_tp) != GALV_JSON_OBJECT) {
        status = galv_json_fail(at_seq, im->err, "%s is missing", dict);
    }
    galv_json_value parameters = galv_json_member(at_seq, "parameter_size");
    if (status == GALV_OK && galv_json_type_of(parameters) != GALV_JSON_ABSENT) {
        double mib = 0;
        status =
            galv_json_to_f64(&mib, parameters, 0, GALV_GALVATRON_MAX_VALUE, im->err);
        row->parameter_bytes = mib * GALV_GALVATRON_MIB;
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
    bool is_layer = galv_galvatron_scan_key(base, "layertype_#", numbers);
    *type = is_layer ? numbers[0] : 0;
    return is_layer;
}

galv_status galv_galvatron_read_memory(galv_galvatron_importer *im,
                                       galv_json_value root, const char *file)
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
        galv_status status = galv_galvatron_need_object(im, by_seq);
        for (size_t j = 0; status == GALV_OK && j < galv_json_n_keys(by_seq); j++) {
            galv_json_value at_seq;
            const char *seq = galv_json_key(by_seq, j, &at_seq);
            galv_profile_row row =
                galv_galvatron_new_row(im, GALV_PROFILE_MEMORY, file);
            row.precision = (int)im->import->precision;
            if (!galv_galvatron_scan_key(seq, "#", &row.seq_length)) {
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
