/* Models as JSON: "schema": "galvatron-sim/model".
 *
 * What is written is explicit: every group with every field that is not zero. What is
 * read may be shorter. A field given for the model as a whole is the default of all
 * groups whose kind uses it, and "num_layers" (with "kind", decoder unless there are
 * experts) stands for the usual three groups: embedding, blocks, head. Then
 *
 *   query groups    default to heads
 *   kv_channels     to hidden_size / heads
 *   ffn             to 4 hidden_size, unless the MLP is gated (then it must be given)
 *   expert's ffn    to ffn_hidden_size
 *
 * A field given in a group is taken as it is, whatever the kind, so that reading what
 * was written gives the same model to the last bit. */
#include "plan/model.h"

#include "plan/document_internal.h"

#include <stddef.h>
#include <string.h>

#define SCHEMA "galvatron-sim/model"

/* Which kinds use a field. */
enum {
    IN_BLOCKS = 1,  /* blocks, dense or not */
    IN_DENSE = 2,   /* blocks with a dense MLP */
    IN_EXPERTS = 4, /* moe_decoder */
    IN_TABLE = 8,   /* embedding */
    IN_PATCH = 16,  /* patch_embedding */
    IN_HEAD = 32,
    IN_MERGE = 64,
    IN_ALL = 127
};

typedef struct int_field {
    const char *name;
    size_t offset;
    unsigned uses;
} int_field;

#define FIELD(name, uses)                             \
    {                                                 \
#name, offsetof(galv_layer_group, name), uses \
    }

static const int_field int_fields[] = {
    FIELD(hidden_size, IN_ALL),
    FIELD(ffn_hidden_size, IN_DENSE),
    FIELD(num_attention_heads, IN_BLOCKS),
    FIELD(num_query_groups, IN_BLOCKS),
    FIELD(kv_channels, IN_BLOCKS),
    FIELD(q_lora_rank, IN_BLOCKS),
    FIELD(kv_lora_rank, IN_BLOCKS),
    FIELD(qk_nope_head_dim, IN_BLOCKS),
    FIELD(qk_rope_head_dim, IN_BLOCKS),
    FIELD(v_head_dim, IN_BLOCKS),
    FIELD(num_experts, IN_EXPERTS),
    FIELD(moe_router_topk, IN_EXPERTS),
    FIELD(moe_ffn_hidden_size, IN_EXPERTS),
    FIELD(moe_shared_ffn_hidden_size, IN_EXPERTS),
    FIELD(vocab_size, IN_TABLE | IN_HEAD),
    FIELD(max_positions, IN_TABLE | IN_PATCH),
    FIELD(patch_size, IN_PATCH),
    FIELD(num_channels, IN_PATCH),
};

#define N_INT_FIELDS (sizeof int_fields / sizeof int_fields[0])

static const char *const normalization_names[] = {"layernorm", "rmsnorm"};

static unsigned uses_of_kind(galv_layer_kind kind)
{
    switch (kind) {
    case GALV_LAYER_EMBEDDING:
        return IN_TABLE;
    case GALV_LAYER_PATCH_EMBEDDING:
        return IN_PATCH;
    case GALV_LAYER_PATCH_MERGE:
        return IN_MERGE;
    case GALV_LAYER_HEAD:
        return IN_HEAD;
    case GALV_LAYER_MOE_DECODER:
        return IN_BLOCKS | IN_EXPERTS;
    default:
        return IN_BLOCKS | IN_DENSE;
    }
}

static int32_t *field_at(galv_layer_group *group, const int_field *field)
{
    return (int32_t *)(void *)((char *)group + field->offset);
}

static int32_t field_value(const galv_layer_group *group, const int_field *field)
{
    return *(const int32_t *)(const void *)((const char *)group + field->offset);
}

/* The fields of a group, or of the model as defaults. */
static void read_shape(galv_json_object *o, galv_layer_group *group)
{
    for (size_t i = 0; i < N_INT_FIELDS; i++) {
        galv_json_i32(o, int_fields[i].name, GALV_OPTIONAL, 0, INT32_MAX,
                      field_at(group, &int_fields[i]));
    }
    int normalization = (int)group->normalization;
    galv_json_bool(o, "gated_linear_unit", GALV_OPTIONAL, &group->gated_linear_unit);
    galv_json_word(o, "normalization", GALV_OPTIONAL, normalization_names, 2,
                   &normalization);
    galv_json_bool(o, "linear_bias", GALV_OPTIONAL, &group->linear_bias);
    galv_json_bool(o, "qkv_bias", GALV_OPTIONAL, &group->qkv_bias);
    galv_json_f64(o, "dropout", GALV_OPTIONAL, 0, 1, &group->dropout);
    group->normalization = (galv_normalization)normalization;
}

/* Defaults of the model that a group of this kind uses. */
static galv_layer_group inherit(const galv_layer_group *defaults, galv_layer_kind kind)
{
    galv_layer_group group = {0};
    unsigned uses = uses_of_kind(kind);
    group.kind = kind;
    group.n_layers = 1;
    group.normalization = defaults->normalization;
    group.linear_bias = defaults->linear_bias;
    if ((uses & IN_BLOCKS) != 0) {
        group.gated_linear_unit = defaults->gated_linear_unit;
        group.qkv_bias = defaults->qkv_bias;
        group.dropout = defaults->dropout;
    }
    for (size_t i = 0; i < N_INT_FIELDS; i++) {
        if ((int_fields[i].uses & uses) != 0) {
            *field_at(&group, &int_fields[i]) = field_value(defaults, &int_fields[i]);
        }
    }
    return group;
}

/* What follows from other fields of a block. */
static void complete(galv_layer_group *group, int32_t dense_ffn)
{
    unsigned uses = uses_of_kind(group->kind);
    if ((uses & IN_BLOCKS) == 0) {
        return;
    }
    if (group->kv_lora_rank == 0) {
        if (group->num_query_groups == 0) {
            group->num_query_groups = group->num_attention_heads;
        }
        if (group->kv_channels == 0 && group->num_attention_heads > 0 &&
            group->hidden_size % group->num_attention_heads == 0) {
            group->kv_channels = group->hidden_size / group->num_attention_heads;
        }
    }
    if ((uses & IN_EXPERTS) != 0 && group->moe_ffn_hidden_size == 0) {
        group->moe_ffn_hidden_size = dense_ffn;
    }
    if ((uses & IN_DENSE) != 0 && group->ffn_hidden_size == 0 &&
        !group->gated_linear_unit && group->hidden_size <= INT32_MAX / 4) {
        group->ffn_hidden_size = 4 * group->hidden_size;
    }
}

static void read_group(galv_layer_group *group, const galv_layer_group *defaults,
                       galv_json_value value, galv_err *err)
{
    int kind = 0;
    galv_json_object o;
    galv_json_enter(&o, value, err);
    galv_json_word(&o, "kind", GALV_REQUIRED, galv_layer_kind_names, GALV_N_LAYER_KINDS,
                   &kind);
    *group = inherit(defaults, (galv_layer_kind)kind);
    galv_json_i32(&o, "n_layers", GALV_OPTIONAL, 1, 100000, &group->n_layers);
    galv_json_i32(&o, "seq_length", GALV_OPTIONAL, 0, INT32_MAX, &group->seq_length);
    read_shape(&o, group);
    if (galv_json_leave(&o) == GALV_OK) {
        complete(group, defaults->ffn_hidden_size);
    }
}

/* "num_layers": embedding, blocks, head. */
static void make_usual_groups(galv_model *model, const galv_layer_group *defaults,
                              int kind, int32_t num_layers)
{
    galv_layer_kind blocks = kind >= 0                   ? (galv_layer_kind)kind
                             : defaults->num_experts > 0 ? GALV_LAYER_MOE_DECODER
                                                         : GALV_LAYER_DECODER;
    model->n_groups = 3;
    model->groups[0] = inherit(defaults, GALV_LAYER_EMBEDDING);
    model->groups[1] = inherit(defaults, blocks);
    model->groups[1].n_layers = num_layers;
    model->groups[2] = inherit(defaults, GALV_LAYER_HEAD);
    complete(&model->groups[1], defaults->ffn_hidden_size);
}

static void read_groups(galv_model *model, galv_json_object *o,
                        const galv_layer_group *defaults)
{
    galv_json_value groups = galv_json_get(o, "groups", GALV_OPTIONAL);
    int32_t num_layers = 0;
    int kind = -1;
    galv_json_i32(o, "num_layers", GALV_OPTIONAL, 1, 100000, &num_layers);
    galv_json_word(o, "kind", GALV_OPTIONAL, galv_layer_kind_names, GALV_N_LAYER_KINDS,
                   &kind);
    if (o->err->status != GALV_OK) {
        return;
    }
    if (galv_json_type_of(groups) == GALV_JSON_ABSENT) {
        if (num_layers == 0) {
            galv_json_fail(o->value, o->err, "a model needs 'groups' or 'num_layers'");
            return;
        }
        make_usual_groups(model, defaults, kind, num_layers);
        return;
    }
    size_t n_groups = galv_json_length(groups);
    if (num_layers != 0 || n_groups == 0 || n_groups > GALV_MAX_GROUPS) {
        galv_json_fail(groups, o->err,
                       "'groups' must hold 1 to %d groups, without 'num_layers' beside "
                       "it",
                       GALV_MAX_GROUPS);
        return;
    }
    model->n_groups = (int32_t)n_groups;
    for (size_t i = 0; i < n_groups; i++) {
        read_group(&model->groups[i], defaults, galv_json_element(groups, i), o->err);
    }
}

galv_status galv_model_from_json(galv_model *model, galv_json_value value,
                                 galv_err *err)
{
    galv_model read = {0};
    galv_layer_group defaults = {0};
    galv_json_object o;
    galv_json_enter(&o, value, err);
    galv_document_read_schema(&o, SCHEMA);
    galv_json_string(&o, "name", GALV_REQUIRED, read.name, sizeof read.name);
    galv_json_string(&o, "family", GALV_OPTIONAL, read.family, sizeof read.family);
    galv_json_i32(&o, "seq_length", GALV_REQUIRED, 1, 1 << 28, &read.seq_length);
    galv_json_bool(&o, "tied_embeddings", GALV_OPTIONAL, &read.tied_embeddings);
    galv_json_string(&o, "source", GALV_OPTIONAL, read.source, sizeof read.source);
    galv_json_string(&o, "as_of", GALV_OPTIONAL, read.as_of, sizeof read.as_of);
    read_shape(&o, &defaults);
    read_groups(&read, &o, &defaults);
    galv_status status = galv_json_leave(&o);
    if (status != GALV_OK) {
        return status;
    }
    galv_err why = GALV_ERR_INIT;
    if (galv_model_check(&read, &why) != GALV_OK) {
        return galv_document_refuse(value, &why, err);
    }
    *model = read;
    return GALV_OK;
}

static void write_group(const galv_layer_group *group, galv_json_writer *writer)
{
    galv_json_begin_object(writer, true);
    galv_json_key_string(writer, "kind", galv_layer_kind_names[group->kind]);
    galv_json_key_i64(writer, "n_layers", group->n_layers);
    if (group->seq_length != 0) {
        galv_json_key_i64(writer, "seq_length", group->seq_length);
    }
    for (size_t i = 0; i < N_INT_FIELDS; i++) {
        int32_t number = field_value(group, &int_fields[i]);
        if (number != 0) {
            galv_json_key_i64(writer, int_fields[i].name, number);
        }
    }
    galv_json_key_string(writer, "normalization",
                         normalization_names[group->normalization]);
    if (group->gated_linear_unit) {
        galv_json_key_bool(writer, "gated_linear_unit", true);
    }
    if (group->linear_bias) {
        galv_json_key_bool(writer, "linear_bias", true);
    }
    if (group->qkv_bias) {
        galv_json_key_bool(writer, "qkv_bias", true);
    }
    if (group->dropout > 0) {
        galv_json_key_f64(writer, "dropout", group->dropout);
    }
    galv_json_end_object(writer);
}

void galv_model_to_json(const galv_model *model, galv_json_writer *writer)
{
    galv_json_begin_object(writer, false);
    galv_document_write_schema(writer, SCHEMA);
    galv_json_key_string(writer, "name", model->name);
    if (model->family[0] != '\0') {
        galv_json_key_string(writer, "family", model->family);
    }
    galv_json_key_i64(writer, "seq_length", model->seq_length);
    galv_json_key_bool(writer, "tied_embeddings", model->tied_embeddings);
    if (model->source[0] != '\0') {
        galv_json_key_string(writer, "source", model->source);
    }
    if (model->as_of[0] != '\0') {
        galv_json_key_string(writer, "as_of", model->as_of);
    }
    galv_json_put_key(writer, "groups");
    galv_json_begin_array(writer, false);
    for (int32_t i = 0; i < model->n_groups; i++) {
        write_group(&model->groups[i], writer);
    }
    galv_json_end_array(writer);
    galv_json_end_object(writer);
}
