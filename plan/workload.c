/* The workload: sequence, batch, precision and software of one training step.
 *
 * A workload is checked for what can be known without a model or a cluster; 0 means
 * "left open" for the sequence length and the batch, which galv_job_fill_defaults
 * settles. Not modelled: a batch that grows over the run, and phases of different
 * sequence lengths; each is a workload of its own. */
#include "plan/workload.h"

#include "base/words.h"

#define GALV_WORD(name, word, bytes) word,
const char *const galv_precision_names[GALV_N_PRECISIONS] = {
    GALV_PRECISION_TABLE(GALV_WORD)};
#undef GALV_WORD

#define GALV_WORD(name, word) word,
const char *const galv_software_names[GALV_N_SOFTWARES] = {
    GALV_SOFTWARE_TABLE(GALV_WORD)};
#undef GALV_WORD

#define GALV_WORD(name, word) word,
const char *const galv_recompute_module_names[GALV_N_RECOMPUTE_MODULES] = {
    GALV_RECOMPUTE_MODULE_TABLE(GALV_WORD)};
#undef GALV_WORD

#define MAX_SEQ_LENGTH  (1 << 28)
#define MAX_EXPERT_TP   1024
#define MAX_BATCH       ((int64_t)1 << 40)
#define MAX_TOKENS      1e18
#define MAX_LIMIT_BYTES 1e18

double galv_precision_bytes(galv_precision precision)
{
    switch (precision) {
#define GALV_CASE(name, word, bytes) \
    case GALV_##name:                \
        return bytes;
        GALV_PRECISION_TABLE(GALV_CASE)
#undef GALV_CASE
    default:
        return 0;
    }
}

/* Gradients are accumulated in fp32 or in the 16-bit type that activations have. */
static bool grad_precision_fits(galv_precision precision, galv_precision grad)
{
    if (grad == GALV_FP32) {
        return true;
    }
    switch (precision) {
    case GALV_FP16:
        return grad == GALV_FP16;
    case GALV_BF16:
    case GALV_FP8:
    case GALV_MXFP8:
    case GALV_NVFP4:
        return grad == GALV_BF16;
    default:
        return false;
    }
}

galv_status galv_workload_check(const galv_workload *workload, galv_err *err)
{
    if (workload->seq_length < 0 || workload->seq_length > MAX_SEQ_LENGTH) {
        return galv_fail(err, GALV_USAGE, "sequence length %d is not in 1 .. %d",
                         (int)workload->seq_length, MAX_SEQ_LENGTH);
    }
    if (workload->global_batch_size < 0 || workload->global_batch_size > MAX_BATCH) {
        return galv_fail(err, GALV_USAGE,
                         "global batch of %lld samples is not possible",
                         (long long)workload->global_batch_size);
    }
    if ((unsigned)workload->precision >= GALV_N_PRECISIONS ||
        (unsigned)workload->grad_precision >= GALV_N_PRECISIONS ||
        (unsigned)workload->software >= GALV_N_SOFTWARES) {
        return galv_fail(err, GALV_USAGE, "unknown precision or software");
    }
    if (!grad_precision_fits(workload->precision, workload->grad_precision)) {
        galv_fail(err, GALV_USAGE, "gradients in %s do not go with %s",
                  galv_precision_names[workload->grad_precision],
                  galv_precision_names[workload->precision]);
        galv_hint(err, "use fp32, or the 16-bit type of the activations");
        return GALV_USAGE;
    }
    if (workload->software_year != 0 &&
        (workload->software_year < 2017 || workload->software_year > 2100)) {
        return galv_fail(err, GALV_USAGE, "software year %d is not in 2017 .. 2100",
                         (int)workload->software_year);
    }
    if (!(workload->tokens_to_train >= 0 && workload->tokens_to_train <= MAX_TOKENS)) {
        return galv_fail(err, GALV_USAGE, "tokens to train must be a positive number");
    }
    if (!(workload->memory_limit_bytes >= 0 &&
          workload->memory_limit_bytes <= MAX_LIMIT_BYTES)) {
        return galv_fail(err, GALV_USAGE, "memory limit must be a positive number");
    }
    if (!(workload->memory_limit_frac >= 0 && workload->memory_limit_frac <= 1)) {
        return galv_fail(err, GALV_USAGE, "the share of memory is not in 0 .. 1");
    }
    if (workload->expert_tp < 0 || workload->expert_tp > MAX_EXPERT_TP) {
        return galv_fail(err, GALV_USAGE, "experts cut over %d ranks",
                         (int)workload->expert_tp);
    }
    return GALV_OK;
}

static galv_status read_modules(uint32_t *modules, galv_json_value list, galv_err *err)
{
    if (galv_json_type_of(list) == GALV_JSON_ABSENT) {
        return GALV_OK;
    }
    if (galv_json_type_of(list) != GALV_JSON_ARRAY) {
        return galv_json_fail(list, err, "expected an array of words");
    }
    *modules = 0;
    for (size_t i = 0; i < galv_json_length(list); i++) {
        galv_json_value element = galv_json_element(list, i);
        const char *word = NULL;
        galv_status status = galv_json_to_string(&word, element, err);
        if (status != GALV_OK) {
            return status;
        }
        int index = galv_word_index(galv_recompute_module_names,
                                    GALV_N_RECOMPUTE_MODULES, word);
        if (index < 0) {
            status = galv_json_fail(element, err, "unknown module '%.40s'", word);
            galv_hint_words(err, galv_recompute_module_names, GALV_N_RECOMPUTE_MODULES,
                            word);
            return status;
        }
        *modules |= 1u << index;
    }
    return GALV_OK;
}

galv_status galv_workload_from_json(galv_workload *workload, galv_json_value value,
                                    galv_err *err)
{
    galv_workload read = *workload;
    int precision = (int)read.precision;
    int grad_precision = (int)read.grad_precision;
    int software = (int)read.software;
    galv_json_object o;
    galv_json_enter(&o, value, err);
    galv_json_i32(&o, "seq_length", GALV_OPTIONAL, 0, MAX_SEQ_LENGTH, &read.seq_length);
    galv_json_i64(&o, "global_batch_size", GALV_OPTIONAL, 0, MAX_BATCH,
                  &read.global_batch_size);
    galv_json_word(&o, "precision", GALV_OPTIONAL, galv_precision_names,
                   GALV_N_PRECISIONS, &precision);
    /* fp32 training has no other choice; others keep what the caller had */
    galv_json_word(&o, "grad_precision", GALV_OPTIONAL, galv_precision_names,
                   GALV_N_PRECISIONS, &grad_precision);
    galv_json_bool(&o, "flash_attention", GALV_OPTIONAL, &read.flash_attention);
    galv_json_bool(&o, "causal", GALV_OPTIONAL, &read.causal);
    galv_json_word(&o, "software", GALV_OPTIONAL, galv_software_names, GALV_N_SOFTWARES,
                   &software);
    galv_json_i32(&o, "software_year", GALV_OPTIONAL, 0, 2100, &read.software_year);
    galv_json_f64(&o, "tokens_to_train", GALV_OPTIONAL, 0, MAX_TOKENS,
                  &read.tokens_to_train);
    galv_json_f64(&o, "memory_limit_bytes", GALV_OPTIONAL, 0, MAX_LIMIT_BYTES,
                  &read.memory_limit_bytes);
    galv_json_f64(&o, "memory_limit_frac", GALV_OPTIONAL, 0, 1,
                  &read.memory_limit_frac);
    galv_json_i32(&o, "expert_tp", GALV_OPTIONAL, 0, MAX_EXPERT_TP, &read.expert_tp);
    galv_json_bool(&o, "vocab_unpadded", GALV_OPTIONAL, &read.vocab_unpadded);
    galv_json_bool(&o, "launch_blocking", GALV_OPTIONAL, &read.launch_blocking);
    galv_json_bool(&o, "fp8_params", GALV_OPTIONAL, &read.fp8_params);
    galv_json_bool(&o, "fp8_activation_input", GALV_OPTIONAL,
                   &read.fp8_activation_input);
    galv_json_value modules = galv_json_get(&o, "recompute_modules", GALV_OPTIONAL);
    galv_status status = galv_json_leave(&o);
    if (status == GALV_OK) {
        status = read_modules(&read.recompute_modules, modules, err);
    }
    if (status != GALV_OK) {
        return status;
    }
    read.precision = (galv_precision)precision;
    read.grad_precision = (galv_precision)grad_precision;
    read.software = (galv_software)software;
    galv_err why = GALV_ERR_INIT;
    if (galv_workload_check(&read, &why) != GALV_OK) {
        status = galv_json_fail(value, err, "%s", why.message);
        galv_hint(err, "%s", why.hint);
        return status;
    }
    *workload = read;
    return GALV_OK;
}

void galv_workload_to_json(const galv_workload *workload, galv_json_writer *writer)
{
    galv_json_begin_object(writer, false);
    galv_json_key_i64(writer, "seq_length", workload->seq_length);
    galv_json_key_i64(writer, "global_batch_size", workload->global_batch_size);
    galv_json_key_string(writer, "precision",
                         galv_precision_names[workload->precision]);
    galv_json_key_string(writer, "grad_precision",
                         galv_precision_names[workload->grad_precision]);
    galv_json_key_bool(writer, "flash_attention", workload->flash_attention);
    galv_json_key_bool(writer, "causal", workload->causal);
    galv_json_key_string(writer, "software", galv_software_names[workload->software]);
    galv_json_key_i64(writer, "software_year", workload->software_year);
    galv_json_key_f64(writer, "tokens_to_train", workload->tokens_to_train);
    galv_json_key_f64(writer, "memory_limit_bytes", workload->memory_limit_bytes);
    if (workload->memory_limit_frac > 0) {
        galv_json_key_f64(writer, "memory_limit_frac", workload->memory_limit_frac);
    }
    if (workload->expert_tp > 0) {
        galv_json_key_i64(writer, "expert_tp", workload->expert_tp);
    }
    if (workload->vocab_unpadded) {
        galv_json_key_bool(writer, "vocab_unpadded", true);
    }
    if (workload->launch_blocking) {
        galv_json_key_bool(writer, "launch_blocking", true);
    }
    if (workload->fp8_params) {
        galv_json_key_bool(writer, "fp8_params", true);
    }
    if (workload->fp8_activation_input) {
        galv_json_key_bool(writer, "fp8_activation_input", true);
    }
    if (workload->recompute_modules != 0) {
        galv_json_put_key(writer, "recompute_modules");
        galv_json_begin_array(writer, true);
        for (uint32_t i = 0; i < GALV_N_RECOMPUTE_MODULES; i++) {
            if ((workload->recompute_modules >> i & 1) != 0) {
                galv_json_put_string(writer, galv_recompute_module_names[i]);
            }
        }
        galv_json_end_array(writer);
    }
    galv_json_end_object(writer);
}
