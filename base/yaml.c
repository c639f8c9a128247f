/* YAML documents, as much of YAML as configuration files need: mappings with scalar
 * keys, sequences, scalars. libyaml's events build the same tree that JSON documents
 * become, with the line and column of every value. Plain scalars are resolved by the
 * YAML 1.2 core schema (section 10.3.2 of the specification), so "no" is a string and
 * 0o17 a number.
 *
 * Refused, because they make a file mean something other than what it shows: anchors
 * and aliases (also as bombs), tags, several documents, duplicate keys. Infinity and
 * NaN are refused as in JSON. */
#include "base/yaml.h"

#include "base/file.h"
#include "base/json_internal.h"
#include "base/units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* A child that waits for its container to end. */
typedef struct pending {
    struct pending *next;
    galv_json_node *node;
} pending;

/* A container being built. */
typedef struct level {
    galv_json_node *node;
    pending *first;
    pending *last;
    const char *key; /* of the next value, in a mapping */
} level;

typedef struct builder {
    galv_json *document;
    galv_err *err;
    level stack[GALV_JSON_MAX_DEPTH];
    size_t depth;
} builder;

static galv_status fail_at_mark(builder *build, yaml_mark_t mark, const char *message)
{
    return galv_fail_at(build->err, build->document->name, (long)mark.line + 1,
                        (long)mark.column + 1, "%s", message);
}

static galv_status out_of_memory(builder *build)
{
    return galv_fail(build->err, GALV_NO_MEMORY, "out of memory reading %s",
                     build->document->name);
}

static bool is_one_of(const char *text, const char *const words[], size_t n_words)
{
    for (size_t i = 0; i < n_words; i++) {
        if (strcmp(text, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* [-+]? [0-9]+, 0o [0-7]+ or 0x [0-9a-fA-F]+ within 64 bits. */
static bool read_integer(int64_t *value, const char *text)
{
    const char *digits = text;
    const char *allowed = "0123456789";
    int base = 10;
    if (strncmp(text, "0o", 2) == 0) {
        digits = text + 2;
        allowed = "01234567";
        base = 8;
    } else if (strncmp(text, "0x", 2) == 0) {
        digits = text + 2;
        allowed = "0123456789abcdefABCDEF";
        base = 16;
    } else if (*text == '-' || *text == '+') {
        digits = text + 1;
    }
    if (*digits == '\0' || digits[strspn(digits, allowed)] != '\0') {
        return false;
    }
    errno = 0;
    long long number = strtoll(base == 10 ? text : digits, NULL, base);
    if (errno != 0) {
        return false;
    }
    *value = (int64_t)number;
    return true;
}

/* Gives a plain scalar its type. */
static galv_status resolve(builder *build, galv_json_node *node, const char *text,
                           yaml_mark_t mark)
{
    static const char *const NULLS[] = {"", "~", "null", "Null", "NULL"};
    static const char *const TRUES[] = {"true", "True", "TRUE"};
    static const char *const FALSES[] = {"false", "False", "FALSE"};
    static const char *const ODD[] = {".inf",  ".Inf",  ".INF",  "+.inf",
                                      "+.Inf", "+.INF", "-.inf", "-.Inf",
                                      "-.INF", ".nan",  ".NaN",  ".NAN"};
    if (is_one_of(text, NULLS, sizeof NULLS / sizeof NULLS[0])) {
        node->type = GALV_JSON_NULL;
        return GALV_OK;
    }
    bool yes = is_one_of(text, TRUES, sizeof TRUES / sizeof TRUES[0]);
    if (yes || is_one_of(text, FALSES, sizeof FALSES / sizeof FALSES[0])) {
        node->type = GALV_JSON_BOOL;
        node->flag = yes;
        return GALV_OK;
    }
    if (is_one_of(text, ODD, sizeof ODD / sizeof ODD[0])) {
        return fail_at_mark(build, mark, "infinity and NaN are not allowed");
    }
    if (read_integer(&node->integer, text)) {
        node->type = GALV_JSON_NUMBER;
        node->number = (double)node->integer;
        node->is_integer = true;
        return GALV_OK;
    }
    galv_err no_number = GALV_ERR_INIT;
    if (strpbrk(text, "0123456789") != NULL && strpbrk(text, " \t") == NULL &&
        galv_parse_number(&node->number, text, &no_number) == GALV_OK) {
        node->type = GALV_JSON_NUMBER;
        return GALV_OK;
    }
    node->type = GALV_JSON_STRING;
    node->string = text;
    return GALV_OK;
}

/* Puts a node into the container on top of the stack, or makes it the root. */
static galv_status attach(builder *build, galv_json_node *node, yaml_mark_t mark)
{
    node->line = (long)mark.line + 1;
    node->column = (long)mark.column + 1;
    if (build->depth == 0) {
        build->document->root = node;
        return GALV_OK;
    }
    level *top = &build->stack[build->depth - 1];
    pending *link = GALV_NEW(build->document->arena, pending);
    if (link == NULL) {
        return out_of_memory(build);
    }
    link->node = node;
    node->parent = top->node;
    node->index = top->node->n_children++;
    node->key = top->key;
    top->key = NULL;
    if (top->last == NULL) {
        top->first = link;
    } else {
        top->last->next = link;
    }
    top->last = link;
    return GALV_OK;
}

/* True when the next node is a mapping's key. */
static bool wants_key(const builder *build)
{
    return build->depth > 0 &&
           build->stack[build->depth - 1].node->type == GALV_JSON_OBJECT &&
           build->stack[build->depth - 1].key == NULL;
}

static galv_status on_scalar(builder *build, const yaml_event_t *event)
{
    const char *bytes = (const char *)event->data.scalar.value;
    if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL) {
        return fail_at_mark(build, event->start_mark,
                            "anchors and tags are not supported");
    }
    if (strlen(bytes) != event->data.scalar.length) {
        return fail_at_mark(build, event->start_mark, "a NUL in a string");
    }
    const char *text = galv_arena_strdup(build->document->arena, bytes);
    galv_json_node *node = GALV_NEW(build->document->arena, galv_json_node);
    if (text == NULL || node == NULL) {
        return out_of_memory(build);
    }
    if (wants_key(build)) {
        build->stack[build->depth - 1].key = text;
        return GALV_OK;
    }
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        galv_status status = resolve(build, node, text, event->start_mark);
        if (status != GALV_OK) {
            return status;
        }
    } else {
        node->type = GALV_JSON_STRING;
        node->string = text;
    }
    return attach(build, node, event->start_mark);
}

static galv_status on_begin(builder *build, const yaml_event_t *event)
{
    bool is_sequence = event->type == YAML_SEQUENCE_START_EVENT;
    const yaml_char_t *anchor = is_sequence ? event->data.sequence_start.anchor
                                            : event->data.mapping_start.anchor;
    const yaml_char_t *tag =
        is_sequence ? event->data.sequence_start.tag : event->data.mapping_start.tag;
    if (anchor != NULL || tag != NULL) {
        return fail_at_mark(build, event->start_mark,
                            "anchors and tags are not supported");
    }
    if (wants_key(build)) {
        return fail_at_mark(build, event->start_mark, "a key must be a plain word");
    }
    if (build->depth == GALV_JSON_MAX_DEPTH) {
        return fail_at_mark(build, event->start_mark, "nested too deeply");
    }
    galv_json_node *node = GALV_NEW(build->document->arena, galv_json_node);
    if (node == NULL) {
        return out_of_memory(build);
    }
    node->type = is_sequence ? GALV_JSON_ARRAY : GALV_JSON_OBJECT;
    galv_status status = attach(build, node, event->start_mark);
    if (status == GALV_OK) {
        build->stack[build->depth++] = (level){.node = node};
    }
    return status;
}

/* Makes the array of children now that their number is known. */
static galv_status on_end(builder *build)
{
    level *top = &build->stack[--build->depth];
    galv_json_node *node = top->node;
    node->children =
        GALV_NEW_ARRAY(build->document->arena, galv_json_node *, node->n_children);
    if (node->children == NULL) {
        return out_of_memory(build);
    }
    size_t i = 0;
    for (const pending *link = top->first; link != NULL; link = link->next) {
        node->children[i++] = link->node;
    }
    if (node->type != GALV_JSON_OBJECT) {
        return GALV_OK;
    }
    if (!galv_json_index_keys(build->document, node)) {
        return out_of_memory(build);
    }
    const galv_json_node *twice = galv_json_duplicate(node);
    if (twice != NULL) {
        return galv_fail_at(build->err, build->document->name, twice->line,
                            twice->column, "the key '%.80s' stands twice", twice->key);
    }
    return GALV_OK;
}

static galv_status on_event(builder *build, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (build->document->root != NULL) {
            return fail_at_mark(build, event->start_mark,
                                "a second document in the same file");
        }
        return GALV_OK;
    case YAML_ALIAS_EVENT:
        return fail_at_mark(build, event->start_mark, "aliases are not supported");
    case YAML_SCALAR_EVENT:
        return on_scalar(build, event);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return on_begin(build, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_end(build);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
        return GALV_OK;
    }
    return GALV_OK;
}

static galv_status parser_failed(builder *build, const yaml_parser_t *parser)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        return out_of_memory(build);
    }
    const char *problem = parser->problem == NULL ? "no valid YAML" : parser->problem;
    if (parser->error == YAML_READER_ERROR) { /* knows a byte offset, no mark */
        return galv_fail_at(build->err, build->document->name, 0, 0, "%s (byte %zu)",
                            problem, parser->problem_offset);
    }
    return fail_at_mark(build, parser->problem_mark, problem);
}

static galv_status run_parser(builder *build, yaml_parser_t *parser)
{
    for (;;) {
        yaml_event_t event;
        if (yaml_parser_parse(parser, &event) == 0) {
            return parser_failed(build, parser);
        }
        bool done = event.type == YAML_STREAM_END_EVENT;
        galv_status status = on_event(build, &event);
        yaml_event_delete(&event);
        if (status != GALV_OK) {
            return status;
        }
        if (done) {
            return GALV_OK;
        }
    }
}

/* Parses a text into a document; frees the document on failure. */
static galv_status parse(galv_json **out, galv_json *document, const char *text,
                         size_t length, galv_err *err)
{
    builder *build = GALV_NEW(document->arena, builder);
    yaml_parser_t parser;
    if (build == NULL || yaml_parser_initialize(&parser) == 0) {
        galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s", document->name);
        galv_json_free(document);
        return GALV_NO_MEMORY;
    }
    build->document = document;
    build->err = err;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    galv_status status = run_parser(build, &parser);
    yaml_parser_delete(&parser);
    if (status == GALV_OK && document->root == NULL) {
        status = galv_fail_at(err, document->name, 0, 0, "the file is empty");
    }
    if (status != GALV_OK) {
        galv_json_free(document);
        return status;
    }
    *out = document;
    return GALV_OK;
}

galv_status galv_yaml_read_file(galv_json **document, const char *path, galv_err *err)
{
    galv_json *made = galv_json_new(strcmp(path, "-") == 0 ? "standard input" : path);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s", path);
    }
    char *text = NULL;
    size_t length = 0;
    galv_status status = galv_file_read(&text, &length, path, 0, made->arena, err);
    if (status != GALV_OK) {
        galv_json_free(made);
        return status;
    }
    return parse(document, made, text, length, err);
}

galv_status galv_yaml_read_text(galv_json **document, const char *name,
                                const char *text, size_t length, galv_err *err)
{
    galv_json *made = galv_json_new(name);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s", name);
    }
    return parse(document, made, text, length, err);
}
