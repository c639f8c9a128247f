/* Shapes from other tools' configurations: Hugging Face config.json, Galvatron's yaml.
 *
 * A Hugging Face configuration spells the same shape in a dozen ways (hidden_size,
 * n_embd, d_model) and leaves out what its model class takes for granted (biases,
 * norms, tied embeddings). So there are two tables: the spellings of each field, first
 * match wins, and what each model_type takes for granted. A null counts as absent,
 * unknown keys are ignored, and an unknown model_type is read as Llama's when it has
 * its keys.
 *
 * The usual training length is max_position_embeddings (the original one where rotary
 * scaling extended it), at most 8192: the published maximum is mostly reached by a
 * short last phase, and --seq-length says otherwise where it matters.
 *
 * Left out: norms of queries and keys, sliding windows, soft caps, multi-token
 * prediction, vision towers of multi-modal models (their text_config is read). */
#include "plan/model.h"

#include "plan/catalog.h"
#include "plan/document_internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define MAX_USUAL_SEQ 8192
#define MAX_LAYERS    10000

typedef struct convention {
    const char *model_type;
    const char *family;
    galv_layer_kind kind;
    bool gated, layernorm, linear_bias, qkv_bias, learned_positions, tied;
} convention;

static const convention conventions[] = {
    /* the first one is the default */
    {"llama", "llama", GALV_LAYER_DECODER, true, false, false, false, false, false},
    {"mistral", "llama", GALV_LAYER_DECODER, true, false, false, false, false, false},
    {"qwen2", "llama", GALV_LAYER_DECODER, true, false, false, true, false, false},
    {"qwen3", "llama", GALV_LAYER_DECODER, true, false, false, false, false, false},
    {"phi3", "llama", GALV_LAYER_DECODER, true, false, false, false, false, false},
    {"gemma", "llama", GALV_LAYER_DECODER, true, false, false, false, false, true},
    {"gemma2", "llama", GALV_LAYER_DECODER, true, false, false, false, false, true},
    {"gemma3", "llama", GALV_LAYER_DECODER, true, false, false, false, false, true},
    {"gemma3_text", "llama", GALV_LAYER_DECODER, true, false, false, false, false,
     true},
    {"mixtral", "moe", GALV_LAYER_MOE_DECODER, true, false, false, false, false, false},
    {"qwen2_moe", "moe", GALV_LAYER_MOE_DECODER, true, false, false, true, false,
     false},
    {"qwen3_moe", "moe", GALV_LAYER_MOE_DECODER, true, false, false, false, false,
     false},
    {"deepseek_v2", "moe", GALV_LAYER_MOE_DECODER, true, false, false, false, false,
     false},
    {"deepseek_v3", "moe", GALV_LAYER_MOE_DECODER, true, false, false, false, false,
     false},
    {"gpt2", "gpt", GALV_LAYER_DECODER, false, true, true, false, true, true},
    {"gpt_neox", "gpt", GALV_LAYER_DECODER, false, true, true, false, false, false},
    {"bloom", "gpt", GALV_LAYER_DECODER, false, true, true, false, false, true},
    {"opt", "gpt", GALV_LAYER_DECODER, false, true, true, false, true, true},
    {"falcon", "gpt", GALV_LAYER_DECODER, false, true, false, false, false, true},
    {"bert", "bert", GALV_LAYER_ENCODER, false, true, true, false, true, true},
    {"roberta", "bert", GALV_LAYER_ENCODER, false, true, true, false, true, true},
    {"t5", "t5", GALV_LAYER_ENCODER, false, false, false, false, false, true},
    {"vit", "vit", GALV_LAYER_ENCODER, false, true, true, false, true, false},
};

#define N_CONVENTIONS (sizeof conventions / sizeof conventions[0])

/* ---- lenient reading ---- */

/* A configuration being read. Keys of a group of spellings are parted by blanks. */
typedef struct config {
    galv_json_value root;
    galv_err *err;
} config;

static bool is_given(galv_json_value value)
{
    galv_json_type type = galv_json_type_of(value);
    return type != GALV_JSON_ABSENT && type != GALV_JSON_NULL;
}

/* The first spelling that is given; its key is left in key[KEY_SIZE]. */
#define KEY_SIZE 64
static galv_json_value find_key(const config *c, const char *spellings, char *key)
{
    while (*spellings != '\0') {
        size_t length = strcspn(spellings, " ");
        assert(length < KEY_SIZE);
        memcpy(key, spellings, length);
        key[length] = '\0';
        galv_json_value value = galv_json_member(c->root, key);
        if (is_given(value)) {
            return value;
        }
        spellings += length;
        spellings += *spellings == ' ' ? 1 : 0;
    }
    galv_json_value absent = {c->root.document, NULL};
    return absent;
}

static galv_json_value find(const config *c, const char *spellings)
{
    char key[KEY_SIZE];
    return find_key(c, spellings, key);
}

static int32_t number_or(const config *c, const char *spellings, int32_t otherwise)
{
    galv_json_value value = find(c, spellings);
    int64_t number = otherwise;
    if (is_given(value)) {
        galv_json_to_i64(&number, value, 0, INT32_MAX, c->err);
    }
    return (int32_t)number;
}

static int32_t number_required(const config *c, const char *spellings)
{
    if (!is_given(find(c, spellings))) {
        if (c->err->status == GALV_OK) {
            char key[KEY_SIZE];
            snprintf(key, sizeof key, "%.*s", (int)strcspn(spellings, " "), spellings);
            galv_json_fail_missing(c->root, key, c->err);
        }
        return 0;
    }
    return number_or(c, spellings, 0);
}

/* Anything but true and false counts as absent. */
static bool flag_or(const config *c, const char *spellings, bool otherwise)
{
    char key[KEY_SIZE];
    bool flag = otherwise;
    if (galv_json_type_of(find_key(c, spellings, key)) == GALV_JSON_BOOL) {
        galv_json_object o;
        galv_json_enter(&o, c->root, c->err);
        galv_json_bool(&o, key, GALV_OPTIONAL, &flag);
    }
    return flag;
}

static const char *text_or(const config *c, const char *spellings,
                           const char *otherwise)
{
    galv_json_value value = find(c, spellings);
    const char *text = NULL;
    if (galv_json_type_of(value) == GALV_JSON_STRING &&
        galv_json_to_string(&text, value, c->err) == GALV_OK) {
        return text;
    }
    return otherwise;
}

/* ---- Hugging Face ---- */

static const convention *convention_of(const char *model_type)
{
    for (size_t i = 0; i < N_CONVENTIONS; i++) {
        if (strcmp(conventions[i].model_type, model_type) == 0) {
            return &conventions[i];
        }
    }
    return NULL;
}

static void read_latent(const config *c, galv_layer_group *block)
{
    block->kv_lora_rank = number_or(c, "kv_lora_rank", 0);
    if (block->kv_lora_rank > 0) {
        block->q_lora_rank = number_or(c, "q_lora_rank", 0);
        block->qk_nope_head_dim = number_required(c, "qk_nope_head_dim");
        block->qk_rope_head_dim = number_required(c, "qk_rope_head_dim");
        block->v_head_dim = number_required(c, "v_head_dim");
        block->num_query_groups = 0;
        block->kv_channels = 0;
    }
}

static int32_t default_query_groups(const config *c, int32_t heads)
{
    bool one = flag_or(c, "multi_query", false) &&
               !flag_or(c, "new_decoder_architecture", false);
    return one ? 1 : heads; /* Falcon */
}

/* The block without experts; also what dense layers among experts look like. */
static galv_layer_group read_block(const config *c, const convention *like)
{
    galv_layer_group block = {0};
    block.kind = like->kind;
    block.n_layers =
        number_required(c, "num_hidden_layers n_layer num_layers n_layers");
    if (block.n_layers > MAX_LAYERS) {
        galv_json_fail(c->root, c->err, "%d layers are too many", (int)block.n_layers);
    }
    block.hidden_size = number_required(c, "hidden_size n_embd d_model n_embed dim");
    int32_t h = block.hidden_size;
    block.num_attention_heads =
        number_required(c, "num_attention_heads n_head num_heads n_heads");
    int32_t a = block.num_attention_heads;
    bool falcon_one = strcmp(like->model_type, "falcon") == 0 &&
                      !flag_or(c, "new_decoder_architecture", false);
    block.num_query_groups =
        falcon_one ? default_query_groups(c, a)
                   : number_or(c, "num_key_value_heads num_kv_heads n_head_kv", a);
    block.kv_channels = number_or(c, "head_dim d_kv", a > 0 ? h / a : 0);
    if (a > 0 && h % a != 0 && !is_given(find(c, "head_dim d_kv")) &&
        c->err->status == GALV_OK) {
        galv_json_fail(
            c->root, c->err,
            "hidden_size %d is not a multiple of num_attention_heads %d, and "
            "there is no head_dim",
            (int)h, (int)a);
    }
    block.gated_linear_unit = like->gated;
    const char *projection = text_or(c, "feed_forward_proj", "");
    if (strncmp(projection, "gated", 5) == 0) {
        block.gated_linear_unit = true;
    }
    block.ffn_hidden_size =
        number_or(c, "intermediate_size ffn_dim d_ff n_inner ffn_hidden_size",
                  h <= INT32_MAX / 4 ? 4 * h : 0);
    block.normalization = like->layernorm ? GALV_LAYERNORM : GALV_RMSNORM;
    block.linear_bias = flag_or(c, "bias", like->linear_bias);
    block.qkv_bias =
        !block.linear_bias && flag_or(c, "attention_bias qkv_bias", like->qkv_bias);
    galv_json_value dropout =
        find(c, "hidden_dropout_prob resid_pdrop hidden_dropout dropout dropout_rate");
    if (galv_json_type_of(dropout) == GALV_JSON_NUMBER) {
        galv_json_to_f64(&block.dropout, dropout, 0, 0.999, c->err);
    }
    read_latent(c, &block);
    return block;
}

/* Turns a block into one with experts; false when the configuration has none. */
static bool read_experts(const config *c, galv_layer_group *block)
{
    int32_t n_experts = number_or(c,
                                  "n_routed_experts num_local_experts num_experts "
                                  "num_moe_experts",
                                  0);
    if (n_experts <= 1) {
        return false;
    }
    block->kind = GALV_LAYER_MOE_DECODER;
    block->num_experts = n_experts;
    block->moe_router_topk =
        number_required(c, "num_experts_per_tok moe_router_topk moe_topk");
    block->moe_ffn_hidden_size = number_or(
        c, "moe_intermediate_size moe_ffn_hidden_size", block->ffn_hidden_size);
    int64_t n_shared = number_or(c, "n_shared_experts", 0);
    int64_t shared = n_shared * block->moe_ffn_hidden_size;
    block->moe_shared_ffn_hidden_size =
        number_or(c, "shared_expert_intermediate_size",
                  shared <= INT32_MAX ? (int32_t)shared : 0);
    block->ffn_hidden_size = 0;
    return true;
}

/* Has this layer experts? DeepSeek: from first_k_dense_replace on, each
 * moe_layer_freq-th; Qwen: each decoder_sparse_step-th but those of mlp_only_layers. */
static bool layer_is_sparse(const config *c, int32_t layer)
{
    if (layer < number_or(c, "first_k_dense_replace", 0)) {
        return false;
    }
    int32_t frequency = number_or(c, "moe_layer_freq", 1);
    int32_t step = number_or(c, "decoder_sparse_step", 1);
    if ((frequency > 1 && layer % frequency != 0) ||
        (step > 1 && (layer + 1) % step != 0)) {
        return false;
    }
    galv_json_value only = find(c, "mlp_only_layers");
    for (size_t i = 0; i < galv_json_length(only); i++) {
        int64_t dense = -1;
        galv_json_to_i64(&dense, galv_json_element(only, i), 0, INT32_MAX, c->err);
        if (dense == layer) {
            return false;
        }
    }
    return true;
}

/* Appends one layer, to the last group when it is of the same sort. */
static bool append_layer(galv_model *model, const galv_layer_group *layer)
{
    galv_layer_group *last = &model->groups[model->n_groups - 1];
    if (last->kind == layer->kind) {
        last->n_layers++;
        return true;
    }
    if (model->n_groups >= GALV_MAX_GROUPS - 1) {
        return false;
    }
    model->groups[model->n_groups] = *layer;
    model->groups[model->n_groups++].n_layers = 1;
    return true;
}

static void append_blocks(const config *c, galv_model *model,
                          const galv_layer_group *dense)
{
    galv_layer_group sparse = *dense;
    if (!read_experts(c, &sparse)) {
        model->groups[model->n_groups] = *dense;
        model->groups[model->n_groups].kind =
            dense->kind == GALV_LAYER_MOE_DECODER ? GALV_LAYER_DECODER : dense->kind;
        model->n_groups++;
        return;
    }
    galv_layer_group plain = *dense;
    plain.kind = GALV_LAYER_DECODER;
    for (int32_t layer = 0; layer < dense->n_layers; layer++) {
        if (c->err->status != GALV_OK) {
            return;
        }
        if (!append_layer(model, layer_is_sparse(c, layer) ? &sparse : &plain)) {
            galv_json_fail(c->root, c->err,
                           "dense and expert layers alternate more than %d times",
                           GALV_MAX_GROUPS - 2);
            return;
        }
    }
}

static int32_t usual_seq_length(const config *c)
{
    config scaling = {find(c, "rope_scaling"), c->err};
    int32_t positions =
        number_or(c, "max_position_embeddings n_positions n_ctx seq_length", 2048);
    int32_t original = 0;
    if (galv_json_type_of(scaling.root) == GALV_JSON_OBJECT) {
        original = number_or(&scaling, "original_max_position_embeddings", 0);
    }
    positions = original > 0 ? original : positions;
    return positions < MAX_USUAL_SEQ ? positions : MAX_USUAL_SEQ;
}

static void read_image_ends(const config *c, galv_model *model,
                            const galv_layer_group *block)
{
    int32_t patch = number_or(c, "patch_size", 16);
    int32_t image = number_or(c, "image_size", 224);
    int64_t side = patch > 0 ? image / patch : 0;
    int64_t tokens = side * side + 1;
    if (patch < 1 || tokens > (1 << 24)) {
        galv_json_fail(c->root, c->err, "patches of %d in images of %d pixels",
                       (int)patch, (int)image);
        return;
    }
    galv_layer_group *embedding = &model->groups[0];
    embedding->kind = GALV_LAYER_PATCH_EMBEDDING;
    embedding->vocab_size = 0;
    embedding->patch_size = patch;
    embedding->num_channels = number_or(c, "num_channels", 3);
    embedding->max_positions = (int32_t)tokens;
    model->seq_length = (int32_t)tokens;
    galv_layer_group *head = &model->groups[model->n_groups - 1];
    size_t labels = galv_json_n_keys(find(c, "id2label"));
    head->vocab_size = number_or(c, "num_labels", labels > 0 ? (int32_t)labels : 1000);
    head->linear_bias = block->linear_bias;
    model->tied_embeddings = false;
}

static void append_t5_decoder(const config *c, galv_model *model)
{
    galv_layer_group *encoder = &model->groups[model->n_groups - 1];
    galv_layer_group *decoder = &model->groups[model->n_groups++];
    *decoder = *encoder;
    decoder->kind = GALV_LAYER_CROSS_DECODER;
    decoder->n_layers = number_or(c, "num_decoder_layers", encoder->n_layers);
    model->seq_length = 512;
}

static void name_model(const config *c, galv_model *model)
{
    const char *path = text_or(c, "_name_or_path", "");
    const char *slash = strrchr(path, '/');
    galv_document_copy(model->name, sizeof model->name,
                       slash == NULL ? path : slash + 1);
    galv_document_copy(model->source, sizeof model->source, "Hugging Face config.json");
}

static void fill_model(const config *c, galv_model *model, const convention *like)
{
    bool is_image = strcmp(like->family, "vit") == 0;
    galv_layer_group block = read_block(c, like);
    galv_layer_group ends = {0};
    ends.n_layers = 1;
    ends.hidden_size = block.hidden_size;
    ends.normalization = block.normalization;
    ends.vocab_size = is_image ? 1 : number_required(c, "vocab_size");
    galv_document_copy(model->family, sizeof model->family, like->family);
    model->tied_embeddings = flag_or(c, "tie_word_embeddings", like->tied);
    model->seq_length = usual_seq_length(c);
    model->groups[0] = ends;
    model->groups[0].kind = GALV_LAYER_EMBEDDING;
    if (like->learned_positions) {
        model->groups[0].max_positions =
            number_or(c, "max_position_embeddings n_positions n_ctx", 0);
    }
    model->n_groups = 1;
    append_blocks(c, model, &block);
    if (strcmp(like->family, "t5") == 0) {
        append_t5_decoder(c, model);
    }
    if (c->err->status != GALV_OK) {
        return;
    }
    ends.kind = GALV_LAYER_HEAD;
    model->groups[model->n_groups++] = ends;
    if (is_image) {
        read_image_ends(c, model, &block);
    }
    for (int32_t i = 0; i < model->n_groups; i++) {
        if (model->groups[i].kind == GALV_LAYER_MOE_DECODER) {
            galv_document_copy(model->family, sizeof model->family, "moe");
        }
    }
}

static galv_status finish(galv_model *model, const galv_model *read,
                          galv_json_value value, galv_err *err)
{
    if (err->status != GALV_OK) {
        return err->status;
    }
    galv_err why = GALV_ERR_INIT;
    if (galv_model_check(read, &why) != GALV_OK) {
        return galv_document_refuse(value, &why, err);
    }
    *model = *read;
    return GALV_OK;
}

galv_status galv_model_from_huggingface(galv_model *model, galv_json_value value,
                                        galv_err *err)
{
    if (err->status != GALV_OK) {
        return err->status;
    }
    if (galv_json_type_of(value) != GALV_JSON_OBJECT) {
        return galv_json_fail(value, err, "a model configuration is an object");
    }
    config c = {value, err};
    galv_json_value text = galv_json_member(value, "text_config");
    if (galv_json_type_of(text) == GALV_JSON_OBJECT &&
        !is_given(find(&c, "hidden_size"))) {
        c.root = text;
    }
    const char *model_type = text_or(&c, "model_type", "llama");
    const convention *like = convention_of(model_type);
    if (like == NULL) {
        if (!is_given(find(&c, "hidden_size")) ||
            !is_given(find(&c, "num_hidden_layers")) ||
            !is_given(find(&c, "num_attention_heads"))) {
            galv_json_fail(c.root, err,
                           "model_type '%.40s' is not known, and the keys "
                           "are not Llama's",
                           model_type);
            galv_hint(err, "write the shape as a galvatron-sim/model document");
            return err->status;
        }
        like = &conventions[0];
    }
    galv_model read = {0};
    name_model(&c, &read);
    fill_model(&c, &read, like);
    return finish(model, &read, value, err);
}

/* ---- Galvatron ---- */

/* The section that holds the shape: the file itself, or one inside it. */
static galv_json_value shape_section(galv_json_value root)
{
    static const char *const paths[][2] = {
        {"model_info", ""}, {"model", ""}, {"runtime", "model"}, {"model_config", ""}};
    config c = {root, NULL};
    if (is_given(find(&c, "hidden_size model_size"))) {
        return root;
    }
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        galv_json_value section = galv_json_member(root, paths[i][0]);
        if (paths[i][1][0] != '\0') {
            section = galv_json_member(section, paths[i][1]);
        }
        config inner = {section, NULL};
        if (galv_json_type_of(section) == GALV_JSON_OBJECT &&
            is_given(find(&inner, "hidden_size model_size"))) {
            return section;
        }
    }
    return root;
}

static void read_galvatron_shape(const config *c, galv_model *read)
{
    bool rms = strcmp(text_or(c, "normalization", "LayerNorm"), "RMSNorm") == 0;
    bool learned =
        strcmp(text_or(c, "position_embedding_type", "rope"), "learned_absolute") == 0;
    convention like = {"galvatron", "gpt", GALV_LAYER_DECODER,
                       false,       false, false,
                       false,       false, false};
    like.gated = flag_or(c, "gated_linear_unit swiglu", false);
    like.layernorm = !rms;
    like.linear_bias = flag_or(c, "add_bias_linear", !rms);
    like.qkv_bias = flag_or(c, "add_qkv_bias", false);
    like.learned_positions = learned;
    like.family = like.gated ? "llama" : "gpt";
    fill_model(c, read, &like);
    if (c->err->status != GALV_OK) {
        return;
    }
    read->tied_embeddings = !flag_or(c, "untie_embeddings_and_output_weights", false);
    for (int32_t i = 0; i < read->n_groups; i++) {
        galv_layer_group *group = &read->groups[i];
        if (group->num_attention_heads > 0) {
            int32_t heads = group->num_attention_heads;
            group->num_query_groups = number_or(c, "num_query_groups", heads);
            group->kv_channels =
                number_or(c, "kv_channels", group->hidden_size / heads);
        }
    }
}

galv_status galv_model_from_galvatron(galv_model *model, galv_json_value value,
                                      galv_err *err)
{
    if (err->status != GALV_OK) {
        return err->status;
    }
    if (galv_json_type_of(value) != GALV_JSON_OBJECT) {
        return galv_json_fail(value, err, "a model configuration is an object");
    }
    config c = {shape_section(value), err};
    const char *name = text_or(&c, "model_size model_name", "");
    galv_model read = {0};
    if (is_given(find(&c, "hidden_size"))) {
        read_galvatron_shape(&c, &read);
        galv_document_copy(read.name, sizeof read.name, name);
        galv_document_copy(read.source, sizeof read.source, "Galvatron model yaml");
    } else {
        galv_err why = GALV_ERR_INIT;
        if (galv_catalog_model(&read, name, &why) != GALV_OK) {
            galv_json_fail(
                c.root, err,
                "no hidden_size, and model_size '%.60s' is not in the catalog", name);
            galv_hint(err, "%s", why.hint);
            return err->status;
        }
    }
    static const char *const sections[] = {"common_train_info", "train"};
    config root = {value, err};
    int32_t seq_length = number_or(&root, "seq_length", 0);
    for (size_t i = 0; i < sizeof sections / sizeof sections[0] && seq_length == 0;
         i++) {
        config section = {galv_json_member(value, sections[i]), err};
        if (galv_json_type_of(section.root) == GALV_JSON_OBJECT) {
            seq_length = number_or(&section, "seq_length", 0);
        }
    }
    if (seq_length > 0) {
        read.seq_length = seq_length;
    }
    return finish(model, &read, value, err);
}
