/* What Galvatron's own cost model is fed with.
 *
 * Galvatron's search (PKU-DAIR/Hetu-Galvatron, commit cea12ffb, Apache-2.0) costs plans
 * from a few numbers that it fits to its profile files. This is those numbers, in its
 * units: milliseconds, MiB, MiB per millisecond. The files are the ones that
 * traces/galvatron.h turns into a profile of ours; here they are read the way Galvatron
 * reads them, oddities included, so that costmodel/galvatron_model.h says what
 * Galvatron would say. */
#ifndef GALV_COSTMODEL_GALVATRON_INPUTS_H
#define GALV_COSTMODEL_GALVATRON_INPUTS_H

#include "base/json.h"
#include "base/status.h"
#include "plan/plan.h"

#include <stdint.h>

#define GALV_GALVATRON_MAX_DEGREES  20 /* 1, 2, 4 ... 2^19 */
#define GALV_GALVATRON_MAX_MESSAGES 32

/* Numbers by degree (tensor-parallel degree, ranks of a group, pipeline stages). */
typedef struct galv_galvatron_by_degree {
    int32_t n;
    int32_t degrees[GALV_GALVATRON_MAX_DEGREES];
    double values[GALV_GALVATRON_MAX_DEGREES];
} galv_galvatron_by_degree;

/* slope * x + constant */
typedef struct galv_galvatron_line {
    double slope, constant;
} galv_galvatron_line;

/* Times of one collective of one group, and the line through them. */
typedef struct galv_galvatron_times {
    int32_t n_ranks;
    int32_t n;
    double message_mib[GALV_GALVATRON_MAX_MESSAGES];
    double time_ms[GALV_GALVATRON_MAX_MESSAGES];
    galv_galvatron_line line; /* ms by MiB */
} galv_galvatron_times;

typedef struct galv_galvatron_collective {
    int32_t n;
    galv_galvatron_times groups[GALV_GALVATRON_MAX_DEGREES];
} galv_galvatron_collective;

/* Embedding, head and loss on one stage. */
typedef struct galv_galvatron_ends {
    galv_galvatron_by_degree states_mib;     /* by tensor-parallel degree (1 under
                                                Ulysses): 16 bytes a parameter */
    galv_galvatron_by_degree activation_mib; /* by degree, either kind: one sample */
} galv_galvatron_ends;

typedef enum galv_galvatron_place {
    GALV_GALVATRON_WHOLE, /* both on the only stage */
    GALV_GALVATRON_FIRST, /* the embedding, with pipeline stages */
    GALV_GALVATRON_LAST,  /* the head */
    GALV_GALVATRON_N_PLACES
} galv_galvatron_place;

typedef struct galv_galvatron_inputs {
    char model[GALV_NAME_SIZE];
    int32_t n_layers; /* blocks */
    int32_t hidden_size;
    int32_t seq_length;
    int32_t n_devices;
    bool fp32;              /* else 16 bit: bf16 or fp16 */
    bool sequence_parallel; /* Megatron's, with every tensor parallelism */
    bool async_grad_reduce; /* gradients are reduced after the last micro-batch */
    double context_mib;     /* on every stage */

    galv_galvatron_line layer_ms; /* forward of one layer, by samples of one rank; a
                                     profile without batch sizes has no constant */
    galv_galvatron_line ends_ms;  /* forward of embedding, head and loss */

    double parameter_mib;                    /* of one layer, fp32 */
    galv_galvatron_by_degree activation_mib; /* kept by one layer for one sample */
    double checkpoint_mib; /* kept by a recomputed layer, not divided by tp */
    galv_galvatron_ends ends[GALV_GALVATRON_N_PLACES];

    double overlap; /* slowdown where computation and reduction overlap */
    galv_galvatron_by_degree consecutive_ms_per_mib; /* 1 / bus bandwidth */
    galv_galvatron_by_degree strided_ms_per_mib;
    galv_galvatron_by_degree p2p_ms_per_mib; /* by pipeline stages */
    galv_galvatron_collective all_gather;
    galv_galvatron_collective all_to_all;
} galv_galvatron_inputs;

/* The value at a degree; false (and *value untouched) when there is none. */
bool galv_galvatron_at_degree(double *value, const galv_galvatron_by_degree *table,
                              int32_t degree);

/* How Galvatron gets the time of a layer from several profiled shapes. */
typedef enum galv_galvatron_time_mode {
    GALV_GALVATRON_TIME_STATIC,  /* the first of the file, whatever its shape */
    GALV_GALVATRON_TIME_BATCH,   /* a line over batch sizes; 8 points or more */
    GALV_GALVATRON_TIME_SEQUENCE /* a parabola over lengths, at batch size 1 */
} galv_galvatron_time_mode;

typedef enum galv_galvatron_memory_mode {
    GALV_GALVATRON_MEMORY_STATIC,  /* the sequence length must be in the file */
    GALV_GALVATRON_MEMORY_SEQUENCE /* in proportion to the longest profiled */
} galv_galvatron_memory_mode;

/* Words of the two modes, as in Galvatron's search yaml. */
extern const char *const galv_galvatron_time_mode_names[3];
extern const char *const galv_galvatron_memory_mode_names[2];

typedef struct galv_galvatron_inputs_options {
    const char *folder;          /* with the model's files; subfolders are searched */
    const char *hardware_folder; /* NULL: the same */
    const char *model;           /* name in the files; NULL: the job's model */
    galv_galvatron_time_mode time_mode;
    galv_galvatron_memory_mode memory_mode;
    bool without_sequence_parallel;
    bool without_async_grad_reduce;
} galv_galvatron_inputs_options;

/* Reads the files for a job: its model's shape, sequence length and precision (fp32,
 * bf16 or fp16), and its cluster's nodes, are what Galvatron takes from its yaml.
 * Errors: GALV_USAGE when Galvatron has no word for the job (two kinds of blocks, mixed
 * pools, fp8), GALV_INPUT with file and key when a file or a key is missing or wrong.
 * Source: the formats are described in docs/formats.md. */
galv_status galv_galvatron_inputs_read(galv_galvatron_inputs *inputs,
                                       const galv_job *job,
                                       const galv_galvatron_inputs_options *options,
                                       galv_err *err);

/* Reads the numbers as they were after Galvatron's own fits, from the record of a run:
 * `request` (num_nodes, num_gpus_per_node, mixed_precision...) and `resolved`
 * (model, profile_model, profile_hardware, train, parallel). Errors: GALV_INPUT. */
galv_status galv_galvatron_inputs_from_run(galv_galvatron_inputs *inputs,
                                           galv_json_value request,
                                           galv_json_value resolved, galv_err *err);

#endif
