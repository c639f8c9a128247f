#include "tests/exec/run_support.h"

#include "plan/plan.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command) != 0) {
        fprintf(stderr, "%s is left\n", folder);
    }
}

/* Programs beside this one, in the folder of tests, and beside that folder. */
static void set_programs(void)
{
    char self[1024], path[1100];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    cr_assert(n > 0);
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof path, "%s/host-exec", self);
    setenv("EXEC", path, 1);
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof path, "%s/galvatron-exec", self);
    setenv("WHOLE_EXEC", path, 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 1); /* threads that wait in a loop at first */
    setenv("RANKS", "timeout 60 " GALV_SOURCE_DIR "/tools/run-ranks.sh", 1);
    setenv("MPIRUN", "timeout 60 mpirun --oversubscribe --allow-run-as-root", 1);
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 1);
    setenv("OMPI_MCA_hwloc_base_binding_policy", "none", 1);
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 1);
}

const char *run_folder(void)
{
    if (folder[0] == '\0') {
        snprintf(folder, sizeof folder, "/tmp/galvatron-run-XXXXXX");
        cr_assert(mkdtemp(folder) != NULL);
        atexit(remove_folder);
        set_programs();
    }
    return folder;
}

static int shell(const char *command)
{
    char line[4096];
    snprintf(line, sizeof line, "cd %s && { %s; } </dev/null", run_folder(), command);
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run_shell(const char *format, ...)
{
    char command[3000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    run_folder();
    return shell(command);
}

int run_exec(int ranks, const char *format, ...)
{
    char arguments[2000];
    char command[3000];
    char start[64] = "timeout 60";
    va_list args;
    va_start(args, format);
    vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    run_folder();
    if (ranks > 1) {
        snprintf(start, sizeof start, "$MPIRUN -np %d", ranks);
    }
    snprintf(command, sizeof command, "%s $EXEC run %s --backend host >out 2>err",
             start, arguments);
    return shell(command);
}

/* ---- plans ---- */

static void make_model(galv_model *m, const char *name)
{
    bool gpt = strcmp(name, "tied") == 0;
    bool moe = strcmp(name, "moe") == 0;
    memset(m, 0, sizeof *m);
    snprintf(m->name, sizeof m->name, "%s", name);
    snprintf(m->family, sizeof m->family, "gpt");
    m->seq_length = 16;
    m->n_groups = 3;
    m->tied_embeddings = gpt;
    for (int i = 0; i < 3; i++) {
        galv_layer_group *g = &m->groups[i];
        g->n_layers = i == 1 ? 4 : 1;
        g->hidden_size = 32;
        g->normalization = gpt ? GALV_LAYERNORM : GALV_RMSNORM;
        g->linear_bias = gpt;
    }
    m->groups[0].kind = GALV_LAYER_EMBEDDING;
    m->groups[2].kind = GALV_LAYER_HEAD;
    m->groups[0].vocab_size = m->groups[2].vocab_size = 97;
    m->groups[0].max_positions = gpt ? 19 : 0;
    galv_layer_group *g = &m->groups[1];
    g->kind = moe ? GALV_LAYER_MOE_DECODER : GALV_LAYER_DECODER;
    g->num_attention_heads = 4;
    g->num_query_groups = gpt ? 4 : 2;
    g->kv_channels = 8;
    g->gated_linear_unit = !gpt;
    if (moe) {
        g->num_experts = 4;
        g->moe_router_topk = 2;
        g->moe_ffn_hidden_size = 24;
    } else {
        g->ffn_hidden_size = 64;
    }
}

static void read_words(galv_uniform_plan *u, char *schedule, const char *text)
{
    char words[128];
    snprintf(words, sizeof words, "%s", text);
    for (char *word = strtok(words, " "); word != NULL; word = strtok(NULL, " ")) {
        struct {
            const char *name;
            int32_t *value;
        } numbers[] = {{"tp", &u->strategy.tp},     {"cp", &u->strategy.cp},
                       {"ep", &u->strategy.ep},     {"dp", &u->strategy.dp},
                       {"zero", &u->strategy.zero}, {"pp", &u->pp},
                       {"mb", &u->micro_batch_size}};
        bool found = false;
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
            size_t n = strlen(numbers[i].name);
            if (strncmp(word, numbers[i].name, n) == 0 && word[n] >= '0' &&
                word[n] <= '9') {
                *numbers[i].value = atoi(word + n);
                found = true;
            }
        }
        if (strcmp(word, "sp") == 0) {
            u->strategy.sp = GALV_SP_MEGATRON;
        } else if (strcmp(word, "full") == 0) {
            u->strategy.recompute = GALV_RECOMPUTE_FULL;
        } else if (!found) {
            snprintf(schedule, 24, "%s", word);
            u->schedule = schedule;
        }
    }
}

int run_write_plan(const char *name, const char *model, const char *words)
{
    char path[160], schedule[24];
    galv_err err = GALV_ERR_INIT;
    galv_job job;
    galv_plan *plan = NULL;
    galv_arena *arena = galv_arena_new();
    galv_uniform_plan u = {.strategy = GALV_STRATEGY_INIT,
                           .pp = 1,
                           .vpp = 1,
                           .micro_batch_size = 1,
                           .overlap = GALV_OVERLAP_INIT};
    memset(&job, 0, sizeof job);
    read_words(&u, schedule, words);
    int n = u.strategy.tp * u.strategy.cp * u.strategy.dp * u.pp;
    make_model(&job.model, model);
    cr_assert_eq(galv_cluster_load(&job.cluster, "dgx-h100", 1, &err), GALV_OK);
    job.cluster.pools[0].devices_per_node = n;
    job.workload = (galv_workload)GALV_WORKLOAD_INIT;
    job.workload.seq_length = 16;
    job.workload.global_batch_size = 8;
    job.workload.precision = GALV_FP32;
    cr_assert_eq(galv_plan_make_uniform(&plan, &job, &u, arena, &err), GALV_OK, "%s",
                 err.message);
    galv_text text = GALV_TEXT_INIT;
    galv_json_writer writer;
    galv_json_writer_init(&writer, &text);
    galv_plan_to_json(&job, plan, &writer);
    cr_assert_eq(galv_json_finish(&writer, &err), GALV_OK);
    snprintf(path, sizeof path, "%s/%s.json", run_folder(), name);
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL);
    fputs(galv_text_string(&text), file);
    fclose(file);
    galv_text_release(&text);
    galv_arena_free(arena);
    return n;
}

/* ---- what came of it ---- */

losses run_losses(const char *name)
{
    losses l = {0, 0, {0}};
    char path[160], line[256];
    snprintf(path, sizeof path, "%s/%s/losses.csv", run_folder(), name);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL, "no %s", path);
    while (fgets(line, sizeof line, file) != NULL) {
        long long step = 0;
        double loss = 0;
        if (sscanf(line, "%lld,%lf", &step, &loss) == 2 && l.n < RUN_MOST_STEPS) {
            l.first = l.n == 0 ? step : l.first;
            l.loss[l.n++] = loss;
        }
    }
    fclose(file);
    return l;
}

bool run_same_losses(const losses *whole, const losses *part, double tolerance)
{
    for (int i = 0; i < part->n; i++) {
        int64_t at = part->first + i - whole->first;
        if (at < 0 || at >= whole->n ||
            !(fabs(part->loss[i] / whole->loss[at] - 1) <= tolerance)) {
            fprintf(stderr, "step %lld: %.9g and %.9g\n", (long long)part->first + i,
                    part->loss[i], at >= 0 && at < whole->n ? whole->loss[at] : 0);
            return false;
        }
    }
    return part->n > 0;
}

static char *read_err(char *text, size_t size)
{
    char path[160];
    snprintf(path, sizeof path, "%s/err", run_folder());
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
    return text;
}

bool run_said(const char *text)
{
    char all[8192];
    bool said = strstr(read_err(all, sizeof all), text) != NULL;
    if (!said) {
        fprintf(stderr, "'%s' is not in:\n%s", text, all);
    }
    return said;
}

int run_lines_said(void)
{
    char all[8192];
    int n = 0;
    read_err(all, sizeof all);
    for (const char *line = strtok(all, "\n"); line != NULL;
         line = strtok(NULL, "\n")) {
        n += strncmp(line, "galvatron-exec", 14) == 0;
    }
    return n;
}
