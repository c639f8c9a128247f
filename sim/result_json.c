/* A result as JSON, in the order and with the names of docs/formats.md. Times, shares
 * and bytes are SI and unrounded. */
#include "sim/evaluate.h"

static void put_named(galv_json_writer *writer, const char *key,
                      const char *const names[], const double *values, int n)
{
    galv_json_put_key(writer, key);
    galv_json_begin_object(writer, true);
    for (int i = 0; i < n; i++) {
        galv_json_key_f64(writer, names[i], values[i]);
    }
    galv_json_end_object(writer);
}

static void put_stage(galv_json_writer *writer, const galv_stage_result *stage)
{
    galv_json_begin_object(writer, true);
    galv_json_key_i64(writer, "stage", stage->stage);
    galv_json_key_i64(writer, "n_layers", stage->n_layers);
    galv_json_key_f64(writer, "busy_s", stage->busy_s);
    galv_json_key_f64(writer, "peak_memory_bytes", stage->peak_memory_bytes);
    galv_json_key_f64(writer, "memory_limit_bytes", stage->memory_limit_bytes);
    galv_json_key_f64(writer, "allocated_memory_bytes",
                      stage->peak_memory_bytes - stage->memory[GALV_MEMORY_CONTEXT]);
    put_named(writer, "memory", galv_memory_use_names, stage->memory,
              GALV_N_MEMORY_USES);
    galv_json_put_key(writer, "peak");
    galv_json_begin_object(writer, true);
    galv_peak_to_json(&stage->peak, writer);
    galv_json_end_object(writer);
    galv_json_end_object(writer);
}

void galv_result_to_json(const galv_result *result, const galv_job *job,
                         const galv_plan *plan, galv_json_writer *writer)
{
    galv_json_key_f64(writer, "iteration_time_s", result->iteration_time_s);
    galv_json_key_f64(writer, "tokens_per_s", result->tokens_per_s);
    galv_json_key_f64(writer, "tokens_per_s_per_gpu", result->tokens_per_s_per_gpu);
    galv_json_key_f64(writer, "samples_per_s", result->samples_per_s);
    galv_json_key_f64(writer, "model_tflops_per_gpu", result->model_tflops_per_gpu);
    galv_json_key_f64(writer, "hardware_tflops_per_gpu",
                      result->hardware_tflops_per_gpu);
    galv_json_key_f64(writer, "mfu", result->mfu);
    galv_json_key_f64(writer, "hfu", result->hfu);
    galv_json_key_f64(writer, "peak_memory_bytes", result->peak_memory_bytes);
    galv_json_key_f64(writer, "memory_limit_bytes", result->memory_limit_bytes);
    galv_json_key_bool(writer, "fits", result->fits);
    galv_json_key_f64(writer, "bubble_frac", result->bubble_frac);
    galv_json_key_f64(writer, "exposed_comm_frac", result->exposed_comm_frac);
    put_named(writer, "breakdown_s", galv_breakdown_names, result->breakdown_s,
              GALV_N_BREAKDOWNS);
    put_named(writer, "provenance", galv_provenance_names, result->provenance,
              GALV_N_PROVENANCES);
    galv_json_key_i64(writer, "events", (int64_t)result->events);
    galv_json_key_f64(writer, "wall_s", result->wall_s);
    galv_json_put_key(writer, "stages");
    galv_json_begin_array(writer, false);
    for (int32_t stage = 0; stage < result->n_stages; stage++) {
        put_stage(writer, &result->stages[stage]);
    }
    galv_json_end_array(writer);
    galv_json_put_key(writer, "plan");
    galv_plan_to_json(job, plan, writer);
}
