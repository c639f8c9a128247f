/* Reading cases: each row to a record, each word and number checked where it stands.
 *
 * The table's cells are used as they are (strings are not copied). The model is built
 * here, since a row states it field by field; what the family implies is listed in the
 * header. Whether the degrees fit one another is not asked here but when a plan is made
 * of the case, so that a file with one odd row can still be read and listed. */
#include "traces/cases.h"

#include "base/words.h"

#include <stdlib.h>
#include <string.h>

#define MAX_COUNT 100000000
#define GIB       1073741824.0

static const char *const families[] = {"gpt", "llama", "moe", "bert", "t5", "vit"};
static const char *const sp_words[] = {"0", "1", "ulysses", "0.0", "1.0"};
/* Columns without which a case says something else: a slip in their names must not pass
 * for a column of others. */
static const char *const telling[] = {"software",
                                      "software_year",
                                      "gpu",
                                      "gpus_per_node",
                                      "num_gpus",
                                      "intra_gbytes_per_s",
                                      "inter_gbytes_per_s",
                                      "model_family",
                                      "num_layers",
                                      "hidden_size",
                                      "ffn_hidden_size",
                                      "gated_linear_unit",
                                      "num_attention_heads",
                                      "num_query_groups",
                                      "vocab_size",
                                      "tied_embeddings",
                                      "seq_length",
                                      "num_experts",
                                      "moe_router_topk",
                                      "moe_ffn_hidden_size",
                                      "precision",
                                      "tp",
                                      "sp",
                                      "cp",
                                      "ep",
                                      "pp",
                                      "vpp",
                                      "dp",
                                      "zero",
                                      "schedule",
                                      "recompute",
                                      "micro_batch_size",
                                      "global_batch_size",
                                      "flash_attention",
                                      "overlap_grad_reduce",
                                      "overlap_param_gather",
                                      "tp_comm_overlap",
                                      "causal_attention",
                                      "expert_tp",
                                      "vocab_unpadded",
                                      "launch_blocking",
                                      "stage_layers",
                                      "measured_iteration_time_s",
                                      "measured_peak_memory_gib",
                                      "memory_kind",
                                      "noise_frac",
                                      "t_f_s",
                                      "t_b_s",
                                      "t_w_s",
                                      "t_comm_s",
                                      "micro_batches",
                                      "memory_limit_activations"};
static const char *const memory_kinds[] = {"torch_peak", "torch_reserved", "nvidia_smi",
                                           "unknown"};
#define N_WORDS(words) (sizeof(words) / sizeof(words)[0])

typedef struct reader {
    const galv_csv *table;
    size_t row;
    galv_err *err;
} reader;

static const char *text(const reader *r, const char *column)
{
    return galv_csv_cell(r->table, r->row, galv_csv_column(r->table, column));
}

/* The getters do nothing once an error is recorded, so that one check at the end of a
 * row is enough. */
static void read_i32(const reader *r, const char *column, int32_t low, int32_t *number)
{
    if (r->err->status == GALV_OK) {
        galv_csv_i32(r->table, r->row, galv_csv_column(r->table, column), low,
                     MAX_COUNT, number, r->err);
    }
}

static void read_f64(const reader *r, const char *column, double low, double high,
                     double scale, double *number)
{
    double value = -1;
    if (r->err->status == GALV_OK &&
        galv_csv_f64(r->table, r->row, galv_csv_column(r->table, column), low, high,
                     &value, r->err) == GALV_OK &&
        value >= 0) {
        *number = value * scale;
    }
}

static void read_flag(const reader *r, const char *column, bool *flag)
{
    int32_t number = *flag;
    int column_index = galv_csv_column(r->table, column);
    const char *cell = galv_csv_cell(r->table, r->row, column_index);
    if (strcmp(cell, "True") == 0 || strcmp(cell, "true") == 0) {
        *flag = true;
    } else if (strcmp(cell, "False") == 0 || strcmp(cell, "false") == 0) {
        *flag = false;
    } else if (r->err->status == GALV_OK &&
               galv_csv_i32(r->table, r->row, column_index, 0, 1, &number, r->err) ==
                   GALV_OK) {
        *flag = number == 1;
    }
}

/* A word of a table, or `if_empty`. */
static const char *read_word(const reader *r, const char *column,
                             const char *const words[], size_t n_words,
                             const char *if_empty)
{
    const char *word = text(r, column);
    if (word[0] == '\0' || r->err->status != GALV_OK) {
        return if_empty;
    }
    if (galv_word_index(words, n_words, word) < 0) {
        galv_csv_fail(r->table, r->row, galv_csv_column(r->table, column), r->err,
                      "unknown %s '%.60s'", column, word);
        galv_hint_words(r->err, words, n_words, word);
    }
    return word;
}

/* ---- the model ---- */

typedef struct shape {
    int32_t num_layers, hidden_size, ffn_hidden_size, num_attention_heads;
    int32_t num_query_groups, vocab_size, seq_length;
    int32_t num_experts, moe_router_topk, moe_ffn_hidden_size;
    bool gated_linear_unit;
} shape;

static void require(const reader *r, const char *column, int32_t value)
{
    if (value == 0 && r->err->status == GALV_OK) {
        galv_csv_fail(r->table, r->row, galv_csv_column(r->table, column), r->err,
                      "a case with a model needs %s", column);
    }
}

/* Width of an MLP that is not stated; 0 when the hidden size is not either. */
static int32_t usual_width(const shape *s)
{
    int64_t hidden = s->hidden_size;
    int64_t width =
        s->gated_linear_unit ? (8 * hidden / 3 + 255) / 256 * 256 : 4 * hidden;
    return width <= MAX_COUNT ? (int32_t)width : MAX_COUNT;
}

static shape read_shape(const reader *r, const char *family)
{
    shape s = {.gated_linear_unit = strcmp(family, "llama") == 0};
    read_i32(r, "num_layers", 1, &s.num_layers);
    read_i32(r, "hidden_size", 1, &s.hidden_size);
    read_i32(r, "ffn_hidden_size", 1, &s.ffn_hidden_size);
    read_i32(r, "num_attention_heads", 1, &s.num_attention_heads);
    read_i32(r, "num_query_groups", 1, &s.num_query_groups);
    read_i32(r, "vocab_size", 1, &s.vocab_size);
    read_i32(r, "seq_length", 1, &s.seq_length);
    read_i32(r, "num_experts", 1, &s.num_experts);
    read_i32(r, "moe_router_topk", 1, &s.moe_router_topk);
    read_i32(r, "moe_ffn_hidden_size", 1, &s.moe_ffn_hidden_size);
    read_flag(r, "gated_linear_unit", &s.gated_linear_unit);
    require(r, "hidden_size", s.hidden_size);
    require(r, "num_attention_heads", s.num_attention_heads);
    require(r, "vocab_size", s.vocab_size);
    require(r, "seq_length", s.seq_length);
    if (strcmp(family, "moe") == 0) {
        require(r, "num_experts", s.num_experts);
        require(r, "moe_router_topk", s.moe_router_topk);
    }
    if (s.num_query_groups == 0) {
        s.num_query_groups = s.num_attention_heads;
    }
    if (s.ffn_hidden_size == 0) {
        s.ffn_hidden_size = usual_width(&s);
    }
    if (s.moe_ffn_hidden_size == 0) {
        s.moe_ffn_hidden_size = s.ffn_hidden_size;
    }
    if (r->err->status == GALV_OK && s.hidden_size % s.num_attention_heads != 0) {
        galv_csv_fail(r->table, r->row,
                      galv_csv_column(r->table, "num_attention_heads"), r->err,
                      "%d heads do not divide the hidden size %d",
                      (int)s.num_attention_heads, (int)s.hidden_size);
    }
    return s;
}

static bool begins_with_nemotron(const char *name)
{
    static const char word[] = "nemotron";
    for (size_t i = 0; i < sizeof word - 1; i++) {
        char letter =
            name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
        if (letter != word[i]) {
            return false;
        }
    }
    return true;
}

static void add_group(galv_model *model, galv_layer_group group, galv_layer_kind kind,
                      int32_t n_layers)
{
    group.kind = kind;
    group.n_layers = n_layers;
    model->groups[model->n_groups++] = group;
}

static void add_blocks(galv_model *model, const char *family, const shape *s,
                       galv_layer_group block)
{
    if (strcmp(family, "moe") == 0) {
        block.ffn_hidden_size = 0; /* there is no dense MLP */
        block.num_experts = s->num_experts;
        block.moe_router_topk = s->moe_router_topk;
        block.moe_ffn_hidden_size = s->moe_ffn_hidden_size;
        add_group(model, block, GALV_LAYER_MOE_DECODER, s->num_layers);
    } else if (strcmp(family, "bert") == 0 || strcmp(family, "vit") == 0) {
        add_group(model, block, GALV_LAYER_ENCODER, s->num_layers);
    } else if (strcmp(family, "t5") == 0) {
        add_group(model, block, GALV_LAYER_ENCODER, s->num_layers);
        add_group(model, block, GALV_LAYER_CROSS_DECODER, s->num_layers);
    } else {
        add_group(model, block, GALV_LAYER_DECODER, s->num_layers);
    }
}

static galv_model build_model(const reader *r, const galv_case *c, const shape *s)
{
    const char *family = c->model_family;
    const char *name = text(r, "model");
    bool is_moe = strcmp(family, "moe") == 0;
    bool is_vit = strcmp(family, "vit") == 0;
    /* experts of an MLP without a gate are GPT's: learned positions, one table for both
     * ends, Megatron-LM's default dropout */
    bool is_gpt = strcmp(family, "gpt") == 0 || (is_moe && !s->gated_linear_unit);
    bool modern = strcmp(family, "llama") == 0 || (is_moe && s->gated_linear_unit) ||
                  begins_with_nemotron(name);
    galv_model model = {.seq_length = s->seq_length,
                        .tied_embeddings = !modern && !is_vit};
    read_flag(r, "tied_embeddings", &model.tied_embeddings);
    strncpy(model.name, name, sizeof model.name - 1);
    strncpy(model.family, family, sizeof model.family - 1);
    strncpy(model.source, c->source, sizeof model.source - 1);
    bool rms = strcmp(family, "llama") == 0 || (is_moe && s->gated_linear_unit);
    bool older = c->software_year == 2021 || c->software_year == 2022;
    bool drops = is_gpt && strcmp(c->software, "megatron") == 0 &&
                 (is_moe || older || !c->flash_attention);
    galv_layer_group block = {
        .hidden_size = s->hidden_size,
        .ffn_hidden_size = s->ffn_hidden_size,
        .num_attention_heads = s->num_attention_heads,
        .num_query_groups = s->num_query_groups,
        .kv_channels = s->hidden_size / s->num_attention_heads,
        .gated_linear_unit = s->gated_linear_unit,
        .normalization = rms ? GALV_RMSNORM : GALV_LAYERNORM,
        .linear_bias = !modern && !is_moe,
        .dropout = drops ? 0.1 : 0,
    };
    galv_layer_group end = {.hidden_size = s->hidden_size,
                            .normalization = block.normalization,
                            .dropout = block.dropout,
                            .vocab_size = s->vocab_size,
                            .max_positions = modern ? 0 : s->seq_length};
    galv_layer_group begin = end;
    if (is_vit) {
        begin.vocab_size = 0;
        begin.patch_size = 16;
        begin.num_channels = 3;
    }
    add_group(&model, begin, is_vit ? GALV_LAYER_PATCH_EMBEDDING : GALV_LAYER_EMBEDDING,
              1);
    add_blocks(&model, family, s, block);
    end.max_positions = 0;
    end.dropout = 0;
    add_group(&model, end, GALV_LAYER_HEAD, 1);
    return model;
}

/* ---- the row ---- */

static void read_what_ran(const reader *r, galv_case *c)
{
    c->sweep = text(r, "sweep");
    c->source = text(r, "source");
    c->notes = text(r, "notes");
    c->gpu = text(r, "gpu");
    c->software = read_word(r, "software", galv_software_names, GALV_N_SOFTWARES,
                            galv_software_names[GALV_SOFTWARE_OTHER]);
    c->model_family = read_word(r, "model_family", families, N_WORDS(families), "gpt");
    c->precision = read_word(r, "precision", galv_precision_names, GALV_N_PRECISIONS,
                             galv_precision_names[GALV_BF16]);
    c->recompute = read_word(r, "recompute", galv_recompute_names, GALV_N_RECOMPUTES,
                             galv_recompute_names[GALV_RECOMPUTE_NONE]);
    c->sp = read_word(r, "sp", sp_words, N_WORDS(sp_words), sp_words[0]);
    c->sp = strcmp(c->sp, "1.0") == 0 ? "1" : strcmp(c->sp, "0.0") == 0 ? "0" : c->sp;
    c->schedule = text(r, "schedule");
    c->stage_layers = text(r, "stage_layers");
    read_i32(r, "software_year", 1990, &c->software_year);
    c->gpus_per_node = 8;
    read_i32(r, "gpus_per_node", 1, &c->gpus_per_node);
    read_i32(r, "num_gpus", 1, &c->num_gpus);
    read_f64(r, "intra_gbytes_per_s", 1e-6, 1e9, 1e9, &c->intra_bytes_per_s);
    read_f64(r, "inter_gbytes_per_s", 1e-6, 1e9, 1e9, &c->inter_bytes_per_s);
}

static void read_how(const reader *r, galv_case *c)
{
    c->tp = c->cp = c->ep = c->pp = c->vpp = c->micro_batch_size = 1;
    read_i32(r, "tp", 1, &c->tp);
    read_i32(r, "cp", 1, &c->cp);
    read_i32(r, "ep", 1, &c->ep);
    read_i32(r, "pp", 1, &c->pp);
    read_i32(r, "vpp", 1, &c->vpp);
    read_i32(r, "dp", 1, &c->dp);
    if (c->dp == 0) {
        int64_t others = (int64_t)c->tp * c->cp;
        others = others <= MAX_COUNT ? others * c->pp : 0;
        bool divides = others > 0 && c->num_gpus % others == 0 && c->num_gpus > 0;
        c->dp = divides ? (int32_t)(c->num_gpus / others) : 1;
    }
    read_i32(r, "zero", 0, &c->zero);
    if (r->err->status == GALV_OK && c->zero > 3) {
        galv_csv_fail(r->table, r->row, galv_csv_column(r->table, "zero"), r->err,
                      "zero is 0, 1, 2 or 3, not %d", (int)c->zero);
    }
    read_i32(r, "micro_batch_size", 1, &c->micro_batch_size);
    int32_t global_batch_size = 0;
    read_i32(r, "global_batch_size", 1, &global_batch_size);
    c->global_batch_size = global_batch_size;
    c->flash_attention = c->causal_attention = true;
    c->overlap_grad_reduce = c->overlap_param_gather = true;
    read_flag(r, "flash_attention", &c->flash_attention);
    read_flag(r, "causal_attention", &c->causal_attention);
    read_flag(r, "overlap_grad_reduce", &c->overlap_grad_reduce);
    read_flag(r, "overlap_param_gather", &c->overlap_param_gather);
    read_flag(r, "tp_comm_overlap", &c->tp_comm_overlap);
    read_i32(r, "expert_tp", 1, &c->expert_tp);
    read_flag(r, "vocab_unpadded", &c->vocab_unpadded);
    c->launch_blocking = strstr(c->notes, "CUDA_LAUNCH_BLOCKING=1") != NULL;
    read_flag(r, "launch_blocking", &c->launch_blocking);
}

static void read_measured(const reader *r, galv_case *c)
{
    read_f64(r, "measured_iteration_time_s", 1e-9, 1e9, 1, &c->iteration_time_s);
    read_f64(r, "measured_peak_memory_gib", 1e-9, 1e9, GIB, &c->peak_memory_bytes);
    c->memory_kind =
        read_word(r, "memory_kind", memory_kinds, N_WORDS(memory_kinds), "");
    read_f64(r, "noise_frac", 0, 10, 1, &c->noise_frac);
    c->confidence = text(r, "confidence");
    read_f64(r, "t_f_s", 1e-9, 1e9, 1, &c->t_f_s);
    read_f64(r, "t_b_s", 1e-9, 1e9, 1, &c->t_b_s);
    read_f64(r, "t_w_s", 0, 1e9, 1, &c->t_w_s);
    read_f64(r, "t_comm_s", 0, 1e9, 1, &c->t_comm_s);
    read_i32(r, "micro_batches", 1, &c->n_micro_batches);
    read_f64(r, "memory_limit_activations", 1e-9, 1e9, 1, &c->memory_limit_activations);
}

static galv_status read_case(const reader *r, galv_case *c)
{
    c->case_id = text(r, "case_id");
    c->line = r->table->lines[r->row];
    c->file = r->table->name;
    if (c->case_id[0] == '\0') {
        return galv_csv_fail(r->table, r->row, galv_csv_column(r->table, "case_id"),
                             r->err, "the case_id is missing");
    }
    read_what_ran(r, c);
    read_how(r, c);
    read_measured(r, c);
    bool has_model = text(r, "num_layers")[0] != '\0';
    if (has_model && r->err->status == GALV_OK) {
        shape s = read_shape(r, c->model_family);
        if (r->err->status == GALV_OK) {
            c->model = build_model(r, c, &s);
        }
    } else if (!has_model && c->t_f_s <= 0 && r->err->status == GALV_OK) {
        galv_csv_fail(r->table, r->row, galv_csv_column(r->table, "num_layers"), r->err,
                      "a case needs a model (num_layers) or stage times (t_f_s)");
    }
    return r->err->status;
}

/* ---- the file ---- */

static int compare_ids(const void *a, const void *b)
{
    const galv_case *x = *(const galv_case *const *)a;
    const galv_case *y = *(const galv_case *const *)b;
    int by_id = strcmp(x->case_id, y->case_id);
    return by_id != 0 ? by_id : (x->line > y->line) - (x->line < y->line);
}

static galv_status check_unique(const galv_case *cases, size_t n_cases,
                                galv_arena *arena, galv_err *err)
{
    const galv_case **sorted = GALV_NEW_ARRAY(arena, const galv_case *, n_cases);
    if (sorted == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < n_cases; i++) {
        sorted[i] = &cases[i];
    }
    if (n_cases > 1) {
        qsort(sorted, n_cases, sizeof *sorted, compare_ids);
    }
    for (size_t i = 1; i < n_cases; i++) {
        if (strcmp(sorted[i - 1]->case_id, sorted[i]->case_id) == 0) {
            return galv_fail_at(err, sorted[i]->file, sorted[i]->line, 0,
                                "case_id '%.80s' was on line %ld already",
                                sorted[i]->case_id, sorted[i - 1]->line);
        }
    }
    return GALV_OK;
}

/* What is left of a row that is wrong. */
static galv_status keep_fault(galv_case *c, const reader *r, galv_arena *arena)
{
    const char *id = text(r, "case_id");
    *c = (galv_case){
        .case_id = id[0] != '\0'
                       ? id
                       : galv_arena_printf(arena, "line %ld", r->table->lines[r->row]),
        .sweep = text(r, "sweep"),
        .source = text(r, "source"),
        .software = "",
        .gpu = text(r, "gpu"),
        .model_family = text(r, "model_family"),
        .notes = text(r, "notes"),
        .line = r->table->lines[r->row],
        .file = r->table->name,
        .memory_kind = "",
        .confidence = text(r, "confidence"),
        .fault = galv_arena_printf(arena, "%s", r->err->message)};
    return c->case_id == NULL || c->fault == NULL ? GALV_NO_MEMORY : GALV_OK;
}

/* Of wrong rows: the first ends the reading, or with `first_wrong` they are kept. */
static galv_status read_rows(galv_case **cases, size_t *n_cases, const galv_csv *table,
                             galv_err *first_wrong, galv_arena *arena, galv_err *err)
{
    if (galv_csv_require(table, "case_id", err) < 0 ||
        galv_csv_not_nearly(table, telling, N_WORDS(telling), err) != GALV_OK) {
        return GALV_INPUT;
    }
    galv_case *read = GALV_NEW_ARRAY(arena, galv_case, table->n_rows);
    if (read == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    for (size_t row = 0; row < table->n_rows; row++) {
        galv_err wrong = GALV_ERR_INIT;
        reader r = {table, row, first_wrong == NULL ? err : &wrong};
        galv_status status = read_case(&r, &read[row]);
        if (status != GALV_OK && first_wrong == NULL) {
            return status;
        }
        if (status != GALV_OK) {
            if (first_wrong->status == GALV_OK) {
                *first_wrong = wrong;
            }
            if (keep_fault(&read[row], &r, arena) != GALV_OK) {
                return galv_fail(err, GALV_NO_MEMORY, "out of memory");
            }
        }
    }
    galv_status status = check_unique(read, table->n_rows, arena, err);
    if (status == GALV_OK) {
        *cases = read;
        *n_cases = table->n_rows;
    }
    return status;
}

galv_status galv_cases_read_table(galv_case **cases, size_t *n_cases,
                                  const galv_csv *table, galv_arena *arena,
                                  galv_err *err)
{
    return read_rows(cases, n_cases, table, NULL, arena, err);
}

galv_status galv_cases_read(galv_case **cases, size_t *n_cases, const char *path,
                            galv_arena *arena, galv_err *err)
{
    galv_csv table;
    galv_status status = galv_csv_read_file(&table, path, arena, err);
    return status == GALV_OK ? galv_cases_read_table(cases, n_cases, &table, arena, err)
                             : status;
}

galv_status galv_cases_read_each(galv_case **cases, size_t *n_cases, const char *path,
                                 galv_err *first_wrong, galv_arena *arena,
                                 galv_err *err)
{
    galv_csv table;
    galv_status status = galv_csv_read_file(&table, path, arena, err);
    return status == GALV_OK
               ? read_rows(cases, n_cases, &table, first_wrong, arena, err)
               : status;
}
