/* catalog: what is built in, from which source.
 *
 * A list is a table; one entry is shown with everything that is known of it. Fields
 * that nobody has read in a source are named as such. `--json` of one cluster or model
 * is a document that -c or -m reads again. */
#include "base/units.h"
#include "base/words.h"
#include "cli/help.h"
#include "cli/output.h"
#include "cli/table.h"
#include "plan/catalog.h"
#include "schedule/schedule.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {"models", "gpus", "clusters", "schedules"};
#define N_KINDS (sizeof kinds / sizeof kinds[0])

static void cell_si(galv_table *table, double value, double unit)
{
    char text[32];
    if (value > 0) {
        galv_table_cell(table, "%s",
                        galv_print_number(text, sizeof text, value / unit));
    } else {
        galv_table_cell(table, "%s", "-");
    }
}

/* "label: text", broken at 79 columns. */
static void print_wrapped(const galv_cli *cli, const char *label, const char *text)
{
    galv_text line = GALV_TEXT_INIT;
    galv_text_printf(&line, "%s: %s", label, text);
    galv_help_wrap(cli->out, galv_text_string(&line), 2, 79);
    galv_text_release(&line);
}

/* ---- models ---- */

static int list_models(const galv_cli *cli, galv_err *err)
{
    static const galv_column columns[] = {
        {"model", "", true, 0, 0},           {"family", "", true, 2, 0},
        {"parameters", "10^9", false, 0, 0}, {"active", "10^9", false, 3, 0},
        {"blocks", "", false, 0, 0},         {"hidden", "", false, 1, 0},
        {"heads", "", false, 4, 0},          {"seq", "tokens", false, 2, 0},
        {"experts", "", false, 3, 0},        {"as of", "", true, 5, 0},
        {"source", "", true, 9, 0}};
    galv_model *models = NULL;
    size_t n = 0;
    if (galv_catalog_models(&models, &n, cli->arena, err) != GALV_OK) {
        return galv_cli_fail(cli, err);
    }
    galv_table table;
    galv_table_init(&table, cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        const galv_model *m = &models[i];
        int32_t n_layers = galv_model_n_layers(m);
        int32_t experts = 0;
        for (int32_t g = 0; g < m->n_groups; g++) {
            experts =
                m->groups[g].num_experts > experts ? m->groups[g].num_experts : experts;
        }
        const galv_layer_group *block = galv_model_first_block(m);
        if (block == NULL) {
            block = galv_model_layer(m, n_layers - 1);
        }
        galv_table_row(&table);
        galv_table_cell(&table, "%s", m->name);
        galv_table_cell(&table, "%s", m->family);
        cell_si(&table, galv_model_parameters(m), 1e9);
        cell_si(&table, galv_model_active_parameters(m), 1e9);
        galv_table_cell(&table, "%d", galv_model_n_blocks(m));
        galv_table_cell(&table, "%d", block->hidden_size);
        galv_table_cell(&table, "%d", block->num_attention_heads);
        galv_table_cell(&table, "%d", m->seq_length);
        galv_table_cell(&table, experts > 0 ? "%d" : "-", experts);
        galv_table_cell(&table, "%s", m->as_of);
        galv_table_cell(&table, "%s", m->source);
    }
    galv_cli_print_table(cli, &table);
    return 0;
}

static void show_group(const galv_cli *cli, const galv_layer_group *g)
{
    galv_print(cli, "  %d x %s", g->n_layers, galv_layer_kind_names[g->kind]);
    galv_print(cli, ": hidden %d", g->hidden_size);
    if (g->num_attention_heads > 0) {
        galv_print(cli, ", heads %d", g->num_attention_heads);
        if (g->num_query_groups > 0 && g->num_query_groups != g->num_attention_heads) {
            galv_print(cli, " in %d groups", g->num_query_groups);
        }
    }
    if (g->ffn_hidden_size > 0) {
        galv_print(cli, ", ffn %d%s", g->ffn_hidden_size,
                   g->gated_linear_unit ? " gated" : "");
    }
    if (g->num_experts > 0) {
        galv_print(cli, ",\n      experts %d of %d, top %d", g->num_experts,
                   g->moe_ffn_hidden_size, g->moe_router_topk);
    }
    if (g->vocab_size > 0) {
        galv_print(cli, ", vocabulary %d", g->vocab_size);
    }
    galv_print(cli, "\n");
}

static int show_model(const galv_cli *cli, const char *name, galv_err *err)
{
    galv_model model;
    if (galv_catalog_model(&model, name, err) != GALV_OK) {
        return galv_cli_fail(cli, err);
    }
    char all[32], active[32];
    galv_print(
        cli, "%s   %s, %s parameters, %s active for one token\n", model.name,
        model.family, galv_print_si(all, sizeof all, galv_model_parameters(&model)),
        galv_print_si(active, sizeof active, galv_model_active_parameters(&model)));
    galv_print(cli, "  sequence %d tokens%s\n", model.seq_length,
               model.tied_embeddings ? ", tied embeddings" : "");
    for (int32_t g = 0; g < model.n_groups; g++) {
        show_group(cli, &model.groups[g]);
    }
    galv_print(cli, "  as of %s\n", model.as_of);
    print_wrapped(cli, "source", model.source);
    return 0;
}

/* ---- GPUs ---- */

static int list_gpus(const galv_cli *cli, galv_err *err)
{
    static const galv_column columns[] = {{"gpu", "", true, 0, 0},
                                          {"year", "", false, 5, 0},
                                          {"memory", "GiB", false, 0, 0},
                                          {"bandwidth", "GB/s", false, 1, 0},
                                          {"16 bit", "TFLOP/s", false, 0, 0},
                                          {"sustained", "TFLOP/s", false, 2, 0},
                                          {"fp8", "TFLOP/s", false, 3, 0},
                                          {"link", "GB/s", false, 1, 0},
                                          {"power", "W", false, 4, 0},
                                          {"rent", "$/h", false, 4, 0},
                                          {"sources", "", true, 9, 0},
                                          {"not read in a source", "", true, 9, 0}};
    galv_device *devices = NULL;
    size_t n = 0;
    if (galv_catalog_devices(&devices, &n, cli->arena, err) != GALV_OK) {
        return galv_cli_fail(cli, err);
    }
    galv_table table;
    galv_table_init(&table, cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        const galv_device *d = &devices[i];
        galv_table_row(&table);
        galv_table_cell(&table, "%s", d->id);
        galv_table_cell(&table, "%d", d->year);
        cell_si(&table, (double)d->memory_bytes, 1024.0 * 1024 * 1024);
        cell_si(&table, d->memory_bytes_per_s, 1e9);
        cell_si(&table,
                d->peak_flop_per_s[GALV_BF16] > 0 ? d->peak_flop_per_s[GALV_BF16]
                                                  : d->peak_flop_per_s[GALV_FP16],
                1e12);
        cell_si(&table, d->sustained_bf16_flop_per_s, 1e12);
        cell_si(&table, d->peak_flop_per_s[GALV_FP8], 1e12);
        cell_si(&table, d->scaleup_bytes_per_s, 1e9);
        cell_si(&table, d->tdp_w, 1);
        if (d->usd_per_hour_high > 0) {
            galv_table_cell(&table, "%.2f-%.2f", d->usd_per_hour_low,
                            d->usd_per_hour_high);
        } else {
            galv_table_cell(&table, "-");
        }
        galv_table_cell(&table, "%s", d->sources);
        galv_table_cell(&table, "%s", d->recalled_fields);
    }
    galv_cli_print_table(cli, &table);
    return 0;
}

static void show_rate(const galv_cli *cli, const char *label, double value,
                      const char *unit)
{
    char text[32];
    if (value > 0) {
        galv_print(cli, "  %-22s %s%s\n", label,
                   galv_print_si(text, sizeof text, value), unit);
    }
}

static int show_gpu(const galv_cli *cli, const char *name, galv_err *err)
{
    galv_device d;
    if (galv_catalog_device(&d, name, err) != GALV_OK) {
        return galv_cli_fail(cli, err);
    }
    char text[32];
    galv_print(cli, "%s   %s %s, %s, %d\n", d.id, d.vendor, d.name, d.arch, d.year);
    galv_print(cli, "  %-22s %s\n", "memory",
               galv_print_bytes(text, sizeof text, (double)d.memory_bytes));
    show_rate(cli, "memory bandwidth", d.memory_bytes_per_s, "B/s");
    for (int p = 0; p < GALV_N_PRECISIONS; p++) {
        char label[32];
        snprintf(label, sizeof label, "%s dense peak", galv_precision_names[p]);
        show_rate(cli, label, d.peak_flop_per_s[p], "FLOP/s");
    }
    show_rate(cli, "bf16 sustained", d.sustained_bf16_flop_per_s, "FLOP/s");
    show_rate(cli, d.scaleup_link[0] != '\0' ? d.scaleup_link : "scale-up link",
              d.scaleup_bytes_per_s, "B/s one direction");
    show_rate(cli, "power", d.tdp_w, "W");
    if (d.usd_per_hour_high > 0) {
        galv_print(cli, "  %-22s %.2f to %.2f $/h\n", "rent", d.usd_per_hour_low,
                   d.usd_per_hour_high);
    }
    print_wrapped(cli, "sources", d.sources);
    if (d.recalled_fields[0] != '\0') {
        print_wrapped(cli, "not read in a source", d.recalled_fields);
    }
    return 0;
}

/* ---- clusters ---- */

static int list_clusters(const galv_cli *cli, galv_err *err)
{
    static const galv_column columns[] = {
        {"cluster", "", true, 0, 0},       {"gpu", "", true, 0, 0},
        {"GPUs", "a node", false, 1, 0},   {"intra", "GB/s", false, 1, 0},
        {"inter", "GB/s", false, 1, 0},    {"fabric", "", true, 2, 0},
        {"price", "$/GPU/h", false, 3, 0}, {"topology", "", true, 6, 0},
        {"sources", "", true, 9, 0},       {"not read in a source", "", true, 9, 0}};
    galv_cluster *clusters = NULL;
    size_t n = 0;
    if (galv_catalog_clusters(&clusters, &n, cli->arena, err) != GALV_OK) {
        return galv_cli_fail(cli, err);
    }
    galv_table table;
    galv_table_init(&table, cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        const galv_cluster *c = &clusters[i];
        galv_table_row(&table);
        galv_table_cell(&table, "%s", c->name);
        galv_table_cell(&table, "%s", c->pools[0].device.id);
        galv_table_cell(&table, "%d", c->pools[0].devices_per_node);
        cell_si(&table, c->pools[0].intra_bytes_per_s, 1e9);
        cell_si(&table, c->pools[0].inter_bytes_per_s, 1e9);
        galv_table_cell(&table, "%s", c->fabric);
        cell_si(&table, c->usd_per_device_hour, 1);
        galv_table_cell(&table, "%s", c->topology);
        galv_table_cell(&table, "%s", c->sources);
        galv_table_cell(&table, "%s", c->recalled_fields);
    }
    galv_cli_print_table(cli, &table);
    return 0;
}

static int show_cluster(const galv_cli *cli, const char *name, galv_err *err)
{
    galv_cluster c;
    if (galv_catalog_cluster(&c, name, err) != GALV_OK) {
        return galv_cli_fail(cli, err);
    }
    char intra[32], inter[32], latency[32];
    for (int32_t p = 0; p < c.n_pools; p++) {
        const galv_pool *pool = &c.pools[p];
        galv_print(cli, "%s   %d x %s a node\n", c.name, pool->devices_per_node,
                   pool->device.id);
        galv_print(cli, "  inside a node    %s for each GPU, one direction\n",
                   galv_print_bandwidth(intra, sizeof intra, pool->intra_bytes_per_s));
        galv_print(cli, "  between nodes    %s for each GPU, one direction; %s\n",
                   galv_print_bandwidth(inter, sizeof inter, pool->inter_bytes_per_s),
                   galv_print_duration(latency, sizeof latency, pool->inter_latency_s));
        if (pool->scaleup_domain > pool->devices_per_node) {
            galv_print(cli, "  scale-up domain  %d GPUs\n", pool->scaleup_domain);
        }
    }
    galv_print(cli, "  fabric           %s%s%s\n", c.fabric,
               c.topology[0] != '\0' ? ", " : "", c.topology);
    if (c.usd_per_device_hour > 0) {
        galv_print(cli, "  price            %.2f $ for one GPU and hour\n",
                   c.usd_per_device_hour);
    }
    print_wrapped(cli, "sources", c.sources);
    if (c.recalled_fields[0] != '\0') {
        print_wrapped(cli, "not read in a source", c.recalled_fields);
    }
    return 0;
}

/* ---- schedules ---- */

/* Summaries are sentences: broken rather than cut. */
static int list_schedules_briefly(const galv_cli *cli)
{
    size_t n = 0;
    const galv_schedule *schedules = galv_schedules(&n);
    for (size_t i = 0; i < n; i++) {
        galv_text summary = GALV_TEXT_INIT;
        galv_help_wrap(&summary, schedules[i].summary, 15, 79);
        galv_print(cli, "%-15s%s", schedules[i].name, galv_text_string(&summary) + 15);
        galv_text_release(&summary);
    }
    galv_print(cli, "chunks and sources: --wide\n");
    return 0;
}

static int list_schedules(const galv_cli *cli)
{
    static const galv_column columns[] = {{"schedule", "", true, 0, 0},
                                          {"what it does", "", true, 0, 0},
                                          {"chunks", "a stage", false, 1, 0},
                                          {"source", "", true, 9, 0}};
    if (!galv_cli_given(cli, GALV_OPTION_CSV) &&
        !galv_cli_given(cli, GALV_OPTION_WIDE)) {
        return list_schedules_briefly(cli);
    }
    size_t n = 0;
    const galv_schedule *schedules = galv_schedules(&n);
    galv_table table;
    galv_table_init(&table, cli->arena, columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < n; i++) {
        const galv_schedule *s = &schedules[i];
        galv_table_row(&table);
        galv_table_cell(&table, "%s", s->name);
        galv_table_cell(&table, "%s", s->summary);
        if (s->min_chunks == s->max_chunks) {
            galv_table_cell(&table, "%d", s->min_chunks);
        } else {
            galv_table_cell(&table, "%d or more", s->min_chunks);
        }
        galv_table_cell(&table, "%s", s->source);
    }
    galv_cli_print_table(cli, &table);
    return 0;
}

static int show_schedule(const galv_cli *cli, const char *name, galv_err *err)
{
    const galv_schedule *s = NULL;
    if (galv_schedule_find(&s, name, err) != GALV_OK) {
        return galv_cli_fail(cli, err);
    }
    galv_print(cli, "%s   %s\n", s->name, s->summary);
    if (s->min_chunks == s->max_chunks) {
        galv_print(cli, "  chunks a stage   %d\n", s->min_chunks);
    } else {
        galv_print(cli, "  chunks a stage   %d or more\n", s->min_chunks);
    }
    galv_print(cli, "  backward         %s\n",
               s->splits_backward ? "split: for inputs, for weights" : "whole");
    if (s->pairs) {
        galv_print(cli, "  passes           a forward and a backward side by side\n");
    }
    if (s->two_way) {
        galv_print(cli,
                   "  copies           2 of the model; what ZeRO shards, it shards "
                   "over both\n");
    }
    if (s->needs != NULL) {
        galv_print(cli, "  needs            %s\n", s->needs);
    }
    print_wrapped(cli, "source", s->source);
    return 0;
}

/* ---- JSON ---- */

static void put_schedule(galv_json_writer *writer, const galv_schedule *s)
{
    galv_json_begin_object(writer, false);
    galv_json_key_string(writer, "name", s->name);
    galv_json_key_string(writer, "summary", s->summary);
    galv_json_key_string(writer, "source", s->source);
    galv_json_key_bool(writer, "splits_backward", s->splits_backward);
    galv_json_key_i64(writer, "min_chunks", s->min_chunks);
    galv_json_key_i64(writer, "max_chunks", s->max_chunks);
    galv_json_key_i64(writer, "min_stages", s->min_stages);
    galv_json_key_bool(writer, "pairs_passes", s->pairs);
    galv_json_key_i64(writer, "copies", s->two_way ? 2 : 1);
    if (s->needs != NULL) {
        galv_json_key_string(writer, "needs", s->needs);
    }
    galv_json_end_object(writer);
}

/* One entry: the document itself, so that it can be edited and read again. */
static int one_as_json(const galv_cli *cli, int kind, const char *name, galv_err *err)
{
    *cli->out_is_data = true;
    galv_json_writer writer;
    galv_json_writer_init(&writer, cli->out);
    galv_model model;
    galv_device device;
    galv_cluster cluster;
    const galv_schedule *schedule = NULL;
    galv_status status = GALV_OK;
    if (kind == 0 && (status = galv_catalog_model(&model, name, err)) == GALV_OK) {
        galv_model_to_json(&model, &writer);
    } else if (kind == 1 &&
               (status = galv_catalog_device(&device, name, err)) == GALV_OK) {
        galv_device_to_json(&device, &writer);
    } else if (kind == 2 &&
               (status = galv_catalog_cluster(&cluster, name, err)) == GALV_OK) {
        galv_cluster_to_json(&cluster, &writer);
    } else if (kind == 3 &&
               (status = galv_schedule_find(&schedule, name, err)) == GALV_OK) {
        put_schedule(&writer, schedule);
    }
    if (status == GALV_OK) {
        status = galv_json_finish(&writer, err);
    }
    return status == GALV_OK ? 0 : galv_cli_fail(cli, err);
}

static int list_as_json(const galv_cli *cli, int kind, galv_err *err)
{
    galv_json_writer writer;
    galv_cli_begin_json(cli, &writer, "catalog");
    galv_json_put_key(&writer, kinds[kind]);
    galv_json_begin_array(&writer, false);
    size_t n = 0;
    galv_status status = GALV_OK;
    if (kind == 0) {
        galv_model *models = NULL;
        status = galv_catalog_models(&models, &n, cli->arena, err);
        for (size_t i = 0; status == GALV_OK && i < n; i++) {
            galv_model_to_json(&models[i], &writer);
        }
    } else if (kind == 1) {
        galv_device *devices = NULL;
        status = galv_catalog_devices(&devices, &n, cli->arena, err);
        for (size_t i = 0; status == GALV_OK && i < n; i++) {
            galv_device_to_json(&devices[i], &writer);
        }
    } else if (kind == 2) {
        galv_cluster *clusters = NULL;
        status = galv_catalog_clusters(&clusters, &n, cli->arena, err);
        for (size_t i = 0; status == GALV_OK && i < n; i++) {
            galv_cluster_to_json(&clusters[i], &writer);
        }
    } else {
        const galv_schedule *schedules = galv_schedules(&n);
        for (size_t i = 0; i < n; i++) {
            put_schedule(&writer, &schedules[i]);
        }
    }
    galv_json_end_array(&writer);
    if (status == GALV_OK) {
        status = galv_cli_end_json(cli, &writer, err);
    }
    return status == GALV_OK ? 0 : galv_cli_fail(cli, err);
}

/* ---- the command ---- */

static int overview(const galv_cli *cli, galv_err *err)
{
    galv_model *models = NULL;
    galv_device *devices = NULL;
    galv_cluster *clusters = NULL;
    size_t n[N_KINDS] = {0};
    if (galv_catalog_models(&models, &n[0], cli->arena, err) != GALV_OK ||
        galv_catalog_devices(&devices, &n[1], cli->arena, err) != GALV_OK ||
        galv_catalog_clusters(&clusters, &n[2], cli->arena, err) != GALV_OK) {
        return galv_cli_fail(cli, err);
    }
    galv_schedules(&n[3]);
    if (galv_cli_given(cli, GALV_OPTION_JSON)) {
        galv_json_writer writer;
        galv_cli_begin_json(cli, &writer, "catalog");
        for (size_t i = 0; i < N_KINDS; i++) {
            galv_json_key_i64(&writer, kinds[i], (int64_t)n[i]);
        }
        return galv_cli_end_json(cli, &writer, err) == GALV_OK
                   ? 0
                   : galv_cli_fail(cli, err);
    }
    for (size_t i = 0; i < N_KINDS; i++) {
        galv_print(cli, "%4zu %-10s galvatron-sim catalog %s\n", n[i], kinds[i],
                   kinds[i]);
    }
    return 0;
}

int galv_cmd_catalog(const galv_cli *cli)
{
    galv_err err = GALV_ERR_INIT;
    if (cli->n_arguments == 0) {
        return overview(cli, &err);
    }
    const char *word = cli->arguments[0];
    int kind = galv_word_index(kinds, N_KINDS, word);
    if (kind < 0) {
        galv_fail(&err, GALV_USAGE, "unknown catalog '%.64s'", word);
        galv_hint_words(&err, kinds, N_KINDS, word);
        return galv_cli_fail(cli, &err);
    }
    const char *name = cli->n_arguments > 1 ? cli->arguments[1] : NULL;
    if (galv_cli_given(cli, GALV_OPTION_JSON)) {
        return name == NULL ? list_as_json(cli, kind, &err)
                            : one_as_json(cli, kind, name, &err);
    }
    if (name == NULL) {
        return kind == 0   ? list_models(cli, &err)
               : kind == 1 ? list_gpus(cli, &err)
               : kind == 2 ? list_clusters(cli, &err)
                           : list_schedules(cli);
    }
    return kind == 0   ? show_model(cli, name, &err)
           : kind == 1 ? show_gpu(cli, name, &err)
           : kind == 2 ? show_cluster(cli, name, &err)
                       : show_schedule(cli, name, &err);
}
