/* Whatever the plan, the same mathematics: losses and gradient norms of a few steps
 * equal those of one rank that knows nothing of parallelism.
 *
 * Every rank first trains the model alone (a world of its own of one rank), then all
 * together by the plan. What one rank computes is held against differences of the loss
 * in tests/exec/model_test.c. Plans are those of the world's size.
 *
 *     matrix [--cuda] [WORD...]      only cases with these words in them
 *     matrix [--cuda] --draw N SEED  N plans drawn by lot instead
 *
 * With --cuda both are trained on the CUDA backend, or on what stands in its place. Its
 * bf16 values are rounded wherever a plan cuts a sum in two, so 2e-2 is allowed; a rank
 * that leaves out or doubles a part is far beyond it. Where tokens choose experts, one
 * that stands between two goes to the other after rounding: 1e-1. */
#include "exec/cuda.h"
#include "exec/host.h"
#include "exec/trainer_internal.h"
#include "exec/world_internal.h"
#include "schedule/schedule.h"
#include "tests/exec/mpi/matrix_support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 3, BATCH = 8, SEQ = 32, N_BLOCKS = 4, MOST_LAYERS = 16 };
#define TOLERANCE         1e-5
#define TOLERANCE_BF16    2e-2
#define TOLERANCE_EXPERTS 1e-1

typedef galv_status make_backend(galv_backend **b, galv_world *world, galv_err *err);

/* Words: a model (gpt llama tied moe shared few), degrees (tp2 cp2 ep2 dp2 pp2 vpp2
 * mb2 zero1), sp (megatron ulysses), recomputation (selective full), a schedule's name
 * (own: an order of one's own),
 * overlaps switched (late: gradients and gathers at the end; rings: tp-comm; waiting:
 * messages; stepping: steps of stages). After "/" the strategy of every other layer. */
static const char *const cases[] = {
#include "tests/exec/mpi/matrix_cases.h"
};

/* ---- models ---- */

static void make_model(galv_model *m, const char *name)
{
    bool gpt = strcmp(name, "gpt") == 0 || strcmp(name, "tied") == 0;
    bool moe = strcmp(name, "moe") == 0 || strcmp(name, "shared") == 0;
    memset(m, 0, sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->family, sizeof m->family, "gpt");
    m->seq_length = SEQ;
    m->n_groups = 3;
    m->tied_embeddings = strcmp(name, "tied") == 0;
    for (int i = 0; i < 3; i++) {
        galv_layer_group *g = &m->groups[i];
        g->n_layers = i == 1 ? N_BLOCKS : 1;
        g->hidden_size = 32;
        g->normalization = gpt ? GALV_LAYERNORM : GALV_RMSNORM;
        g->linear_bias = gpt;
    }
    m->groups[0].kind = GALV_LAYER_EMBEDDING;
    m->groups[2].kind = GALV_LAYER_HEAD;
    m->groups[0].vocab_size = m->groups[2].vocab_size = 97;
    m->groups[0].max_positions = gpt ? 37 : 0;
    galv_layer_group *g = &m->groups[1];
    g->kind = moe ? GALV_LAYER_MOE_DECODER : GALV_LAYER_DECODER;
    g->num_attention_heads = 4;
    g->num_query_groups = gpt ? 4 : strcmp(name, "few") == 0 ? 1 : 2;
    g->kv_channels = strcmp(name, "few") == 0 ? 12 : 8; /* 4 * 12 is not 32 */
    g->gated_linear_unit = !gpt;
    g->qkv_bias = strcmp(name, "few") == 0;
    if (moe) {
        g->num_experts = 4;
        g->moe_router_topk = 2;
        g->moe_ffn_hidden_size = 24;
        g->moe_shared_ffn_hidden_size = strcmp(name, "shared") == 0 ? 16 : 0;
    } else {
        g->ffn_hidden_size = 64;
    }
}

/* ---- plans ---- */

typedef struct spec {
    char model[16];
    galv_uniform_plan uniform;
    galv_strategy strategies[2];
    char schedule[24];
    bool uneven;
} spec;

static int number_after(const char *word, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(word, prefix, n) == 0 && word[n] >= '0' && word[n] <= '9'
               ? atoi(word + n)
               : 0;
}

static void read_word(spec *s, galv_strategy *to, const char *word)
{
    const struct {
        const char *prefix;
        int32_t *value;
    } numbers[] = {{"tp", &to->tp},        {"cp", &to->cp},
                   {"ep", &to->ep},        {"dp", &to->dp},
                   {"pp", &s->uniform.pp}, {"vpp", &s->uniform.vpp},
                   {"zero", &to->zero},    {"mb", &s->uniform.micro_batch_size}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int n = number_after(word, numbers[i].prefix);
        if (n > 0) {
            *numbers[i].value = n;
            return;
        }
    }
    if (strcmp(word, "megatron") == 0) {
        to->sp = GALV_SP_MEGATRON;
    } else if (strcmp(word, "ulysses") == 0) {
        to->sp = GALV_SP_ULYSSES;
    } else if (strcmp(word, "selective") == 0) {
        to->recompute = GALV_RECOMPUTE_SELECTIVE;
    } else if (strcmp(word, "full") == 0) {
        to->recompute = GALV_RECOMPUTE_FULL;
    } else if (strcmp(word, "late") == 0) {
        s->uniform.overlap.grad_reduce = s->uniform.overlap.param_gather = false;
    } else if (strcmp(word, "rings") == 0) {
        s->uniform.overlap.tp_comm = true;
    } else if (strcmp(word, "waiting") == 0) {
        s->uniform.overlap.p2p = false;
    } else if (strcmp(word, "stepping") == 0) {
        s->uniform.overlap.step = true;
    } else if (strcmp(word, "uneven") == 0) {
        s->uneven = true;
    } else if (s->model[0] == '\0') {
        snprintf(s->model, sizeof s->model, "%s", word);
    } else {
        snprintf(s->schedule, sizeof s->schedule, "%s", word);
    }
}

static void read_spec(spec *s, const char *text)
{
    char words[160];
    const galv_strategy plain = GALV_STRATEGY_INIT;
    memset(s, 0, sizeof *s);
    s->uniform.pp = s->uniform.vpp = s->uniform.micro_batch_size = 1;
    s->uniform.overlap = (galv_overlap)GALV_OVERLAP_INIT;
    s->strategies[0] = s->strategies[1] = plain;
    snprintf(words, sizeof words, "%s", text);
    galv_strategy *to = &s->strategies[0];
    bool two = false;
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
        if (strcmp(word, "/") == 0) {
            two = true;
            to = &s->strategies[1];
        } else {
            read_word(s, to, word);
        }
    }
    if (!two) {
        s->strategies[1] = s->strategies[0];
    }
}

static int devices_of(const spec *s)
{
    const galv_strategy *a = &s->strategies[0];
    return a->tp * a->cp * a->dp * s->uniform.pp;
}

static void make_job(galv_job *job, const char *model, int n_devices, int batch)
{
    memset(job, 0, sizeof *job);
    make_model(&job->model, model);
    galv_err err = GALV_ERR_INIT;
    if (galv_cluster_load(&job->cluster, "dgx-h100", 1, &err) != GALV_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    job->cluster.pools[0].n_nodes = 1;
    job->cluster.pools[0].devices_per_node = n_devices;
    job->workload = (galv_workload)GALV_WORKLOAD_INIT;
    job->workload.seq_length = SEQ;
    job->workload.global_batch_size = batch;
    job->workload.precision = GALV_FP32;
}

/* An order of one's own: all forwards, then backwards, on the last stage every other
 * one split into inputs and weights, the weights one backward late. */
static galv_status set_own_order(galv_plan *plan, galv_arena *arena, galv_err *err)
{
    galv_order_entry entries[4 * 3 * BATCH];
    galv_order *order = NULL;
    size_t at = 0;
    size_t n = 0;
    int32_t m = galv_plan_n_micro_batches(plan);
    for (int32_t stage = 0; stage < plan->pp; stage++) {
        int32_t late = -1;
        for (int32_t mb = 0; mb < m; mb++) {
            entries[n++] = (galv_order_entry){stage, {GALV_PASS_FORWARD, 0, 0, mb}};
        }
        for (int32_t mb = 0; mb < m; mb++) {
            bool split = stage == plan->pp - 1 && mb % 2 == 0;
            entries[n++] = (galv_order_entry){
                stage,
                {split ? GALV_PASS_BACKWARD_INPUT : GALV_PASS_BACKWARD, 0, 0, mb}};
            if (late >= 0) {
                entries[n++] =
                    (galv_order_entry){stage, {GALV_PASS_BACKWARD_WEIGHT, 0, 0, late}};
            }
            late = split ? mb : -1;
        }
        if (late >= 0) {
            entries[n++] =
                (galv_order_entry){stage, {GALV_PASS_BACKWARD_WEIGHT, 0, 0, late}};
        }
    }
    galv_status status = galv_order_make(&order, entries, n, NULL, &at, arena, err);
    return status == GALV_OK ? galv_plan_set_order(plan, order, err) : status;
}

static galv_status make_plan(galv_plan **plan, const galv_job *job, spec *s,
                             galv_arena *arena, galv_err *err)
{
    galv_strategy layers[MOST_LAYERS];
    static const int32_t uneven[4][8] = {
        {4}, {1, 3}, {1, 2, 1}, {2, 1, 1, 0}}; /* by virtual stages, less one */
    int32_t n = galv_model_n_layers(&job->model);
    for (int32_t i = 0; i < n; i++) {
        layers[i] = galv_plan_strategy_for(&s->strategies[i % 2],
                                           galv_model_layer(&job->model, i));
    }
    s->uniform.schedule = s->schedule[0] != '\0' ? s->schedule : NULL;
    s->uniform.stage_blocks =
        s->uneven ? uneven[s->uniform.pp * s->uniform.vpp - 1] : NULL;
    bool own = strcmp(s->schedule, "own") == 0;
    s->uniform.schedule = own ? "gpipe" : s->uniform.schedule;
    galv_status status =
        galv_plan_make_layered(plan, job, &s->uniform, layers, arena, err);
    return status == GALV_OK && own ? set_own_order(*plan, arena, err) : status;
}

/* ---- runs ---- */

typedef struct result {
    double loss[STEPS], norm[STEPS];
    char left[200]; /* an operation without a span, memory not given back; "" = none */
} result;

static bool is_of(const galv_recorded_span *span, const galv_operation *o, int32_t mb)
{
    const galv_operation *a = &span->operation;
    return a->kind == o->kind && a->stream == o->stream && a->part == o->part &&
           a->pass == o->pass && a->chunk == o->chunk &&
           a->first_layer == o->first_layer && span->micro_batch == mb;
}

/* Every operation of the program has a span in the timeline. */
static void check_spans(result *r, const galv_trainer *t)
{
    const galv_program *p = t->program;
    const galv_recorder *recorder = &t->worker.recorder;
    int32_t stage = t->worker.layout.stage;
    for (uint32_t op = p->queue_begin[stage * GALV_N_STREAMS];
         op < p->queue_begin[(stage + 1) * GALV_N_STREAMS]; op++) {
        const galv_operation *o = &p->classes[p->ops[op].class_index];
        size_t i = 0;
        while (i < recorder->n_spans &&
               !is_of(&recorder->spans[i], o, p->ops[op].micro_batch)) {
            i++;
        }
        /* rows that need not change hands between layers spread differently */
        bool may_be_free = o->stream == GALV_STREAM_TP && o->part == GALV_PART_WHOLE &&
                           o->kind == GALV_OP_ALL_GATHER &&
                           t->worker.plan->n_strategies > 1;
        if (i == recorder->n_spans && !may_be_free) {
            char name[120];
            snprintf(r->left, sizeof r->left, "no span: %s, layer %d",
                     galv_program_name_op(name, sizeof name, p, op),
                     (int)o->first_layer);
        }
    }
}

static galv_status train(result *r, const galv_job *job, const galv_plan *plan,
                         galv_world *world, make_backend *make, galv_err *err)
{
    galv_backend *backend = NULL;
    galv_trainer *trainer = NULL;
    galv_trainer_options options = GALV_TRAINER_OPTIONS_INIT;
    options.learning_rate = 3e-3F;
    options.epsilon = 1e-5F; /* rounding is not blown up where gradients vanish */
    options.seed = 7;
    galv_status status = make(&backend, world, err);
    if (status == GALV_OK) {
        status = galv_trainer_new(&trainer, job, plan, backend, world, &options, err);
    }
    memset(r, 0, sizeof *r);
    size_t before = status == GALV_OK ? backend->allocated_bytes(backend) : 0;
    for (int step = 0; step < STEPS && status == GALV_OK; step++) {
        galv_step_result taken = {0};
        status = galv_trainer_step(trainer, &taken, err);
        r->loss[step] = taken.loss;
        r->norm[step] = taken.gradient_norm;
        size_t after = backend->allocated_bytes(backend);
        if (step > 0 && after != before) {
            snprintf(r->left, sizeof r->left, "%zu bytes after a step, %zu before",
                     after, before);
        }
        before = after;
    }
    if (status == GALV_OK) {
        check_spans(r, trainer);
    }
    galv_trainer_free(trainer);
    if (backend != NULL) {
        if (backend->allocated_bytes(backend) != 0) {
            snprintf(r->left, sizeof r->left, "%zu bytes are not given back",
                     backend->allocated_bytes(backend));
        }
        backend->free(backend);
    }
    return status;
}

/* One rank alone, by a plan of one rank. */
static galv_status train_alone(result *r, const char *model, int batch,
                               make_backend *make, galv_err *err)
{
    struct galv_world alone = {.size = 1, .launcher = "alone"};
    galv_job job;
    galv_plan *plan = NULL;
    galv_arena *arena = galv_arena_new();
    spec s;
    read_spec(&s, model);
    make_job(&job, s.model, 1, batch);
    galv_status status = make_plan(&plan, &job, &s, arena, err);
    if (status == GALV_OK) {
        status = train(r, &job, plan, &alone, make, err);
    }
    galv_arena_free(arena);
    return status;
}

static double difference(const result *a, const result *b)
{
    double most = 0;
    for (int step = 0; step < STEPS; step++) {
        double loss = fabs(a->loss[step] / b->loss[step] - 1);
        double norm = fabs(a->norm[step] / b->norm[step] - 1);
        most = loss > most ? loss : most;
        most = norm > most ? norm : most;
        if (!isfinite(loss) || !isfinite(norm)) {
            return INFINITY;
        }
    }
    return most;
}

/* What one rank gets for a model and batch, kept from case to case. */
typedef struct reference {
    char model[16];
    int batch;
    result result;
} reference;

enum { MOST_MODELS = 64 };

static galv_status find_reference(const result **r, reference *known, const char *model,
                                  int batch, make_backend *make, galv_err *err)
{
    int i = 0;
    while (known[i].model[0] != '\0' &&
           (strcmp(known[i].model, model) != 0 || known[i].batch != batch)) {
        i++;
    }
    galv_status status = GALV_OK;
    if (known[i].model[0] == '\0') {
        status = train_alone(&known[i].result, model, batch, make, err);
        snprintf(known[i].model, sizeof known[i].model, "%.15s", model);
        known[i].batch = batch;
    }
    *r = &known[i].result;
    return status;
}

/* Trains by the plan (if `status`, of making it, is GALV_OK) and tells whether the case
 * passed. */
static bool run_plan(const char *text, const galv_job *job, const galv_plan *plan,
                     galv_status status, galv_err *err, reference *known,
                     galv_world *world, make_backend *make)
{
    const result *alone = NULL;
    result together;
    bool speaks = galv_world_rank(world) == 0;
    if (status == GALV_OK) {
        status = find_reference(&alone, known, job->model.name,
                                (int)job->workload.global_batch_size, make, err);
    }
    if (status == GALV_OK) {
        status = train(&together, job, plan, world, make, err);
    }
    if (status != GALV_OK) {
        if (speaks) {
            printf("FAIL  %-60s %s\n", text, err->message);
        }
        return false;
    }
    double most = difference(&together, alone);
    double allowed = make == galv_host_backend_new ? TOLERANCE
                     : galv_model_layer(&job->model, 1)->kind == GALV_LAYER_MOE_DECODER
                         ? TOLERANCE_EXPERTS
                         : TOLERANCE_BF16;
    bool passed = most <= allowed && together.left[0] == '\0';
    if (speaks || together.left[0] != '\0') {
        printf("%s  %-60s %.1e  %s\n", passed ? "ok  " : "FAIL", text, most,
               together.left);
        if (most > allowed) {
            for (int step = 0; step < STEPS; step++) {
                printf("      step %d: loss %.8f, alone %.8f; norm %.8f, alone %.8f\n",
                       step + 1, together.loss[step], alone->loss[step],
                       together.norm[step], alone->norm[step]);
            }
        }
        fflush(stdout);
    }
    return passed;
}

/* Returns whether the case passed. */
static bool run_case(const char *text, reference *known, galv_world *world,
                     make_backend *make)
{
    galv_err err = GALV_ERR_INIT;
    galv_job job;
    galv_plan *plan = NULL;
    galv_arena *arena = galv_arena_new();
    spec s;
    read_spec(&s, text);
    make_job(&job, s.model, devices_of(&s), BATCH);
    galv_status status = make_plan(&plan, &job, &s, arena, &err);
    bool passed = run_plan(text, &job, plan, status, &err, known, world, make);
    galv_arena_free(arena);
    return passed;
}

/* ---- plans drawn by lot ---- */

/* Is it a plan, and one that can be run? */
static bool make_drawn(galv_plan **plan, const galv_job *job, const drawn_plan *drawn,
                       galv_arena *arena)
{
    galv_strategy layers[MOST_LAYERS];
    galv_err err = GALV_ERR_INIT;
    galv_program *program = NULL;
    int32_t n = galv_model_n_layers(&job->model);
    for (int32_t i = 0; i < n; i++) {
        layers[i] = galv_plan_strategy_for(&drawn->strategies[drawn->of_layer[i]],
                                           galv_model_layer(&job->model, i));
    }
    if (galv_plan_make_layered(plan, job, &drawn->uniform, layers, arena, &err) !=
            GALV_OK ||
        galv_program_compile(&program, job, *plan, arena, &err) != GALV_OK) {
        return false;
    }
    int32_t first = (*plan)->layer_strategy[0];
    int32_t last = (*plan)->layer_strategy[(*plan)->n_layers - 1];
    return first == last || !job->model.tied_embeddings;
}

/* Adds to n_run and n_failed. */
static void run_drawn(int n, uint64_t seed, int *n_run, int *n_failed, reference *known,
                      galv_world *world, make_backend *make)
{
    uint64_t state = seed;
    char text[512];
    while (*n_run < n) {
        galv_err err = GALV_ERR_INIT;
        galv_job job;
        galv_plan *plan = NULL;
        drawn_plan drawn;
        galv_arena *arena = galv_arena_new();
        draw_plan(&drawn, &state, galv_world_size(world), N_BLOCKS);
        make_job(&job, drawn.model, galv_world_size(world), drawn.global_batch_size);
        if (make_drawn(&plan, &job, &drawn, arena)) {
            drawn_plan_print(text, sizeof text, &drawn, N_BLOCKS + 2);
            *n_run += 1;
            *n_failed += !run_plan(text, &job, plan, GALV_OK, &err, known, world, make);
        }
        galv_arena_free(arena);
    }
}

static bool has_words(const char *text, char **words)
{
    while (*words != NULL && strstr(text, *words) != NULL) {
        words++;
    }
    return *words == NULL;
}

int main(int argc, char **argv)
{
    galv_world *world = NULL;
    galv_err err = GALV_ERR_INIT;
    if (galv_world_new(&world, &argc, &argv, &err) != GALV_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    bool cuda = argc > 1 && strcmp(argv[1], "--cuda") == 0;
    make_backend *make = cuda ? galv_cuda_backend_new : galv_host_backend_new;
    reference known[MOST_MODELS + 1];
    memset(known, 0, sizeof known);
    int n_failed = 0;
    int n_run = 0;
    bool draws = argc == 4 + cuda && strcmp(argv[1 + cuda], "--draw") == 0;
    if (draws) {
        run_drawn(atoi(argv[2 + cuda]), strtoull(argv[3 + cuda], NULL, 10), &n_run,
                  &n_failed, known, world, make);
    }
    for (size_t i = 0; !draws && i < sizeof cases / sizeof cases[0]; i++) {
        spec s;
        read_spec(&s, cases[i]);
        if (devices_of(&s) == galv_world_size(world) &&
            has_words(cases[i], argv + 1 + cuda)) {
            n_run++;
            n_failed += !run_case(cases[i], known, world, make);
        }
    }
    if (galv_world_rank(world) == 0) {
        printf(
            "[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0 \n",
            n_run, n_run - n_failed, n_failed);
    }
    galv_world_free(world);
    return n_failed == 0 ? 0 : 1;
}
