/* JSON documents. jansson checks and parses; its tree is then copied into nodes of our
 * own, for two reasons. Its null, true and false are shared singletons, so that a
 * pointer does not say which null it is; and it keeps no positions. A node knows its
 * parent and its index there; when an error is to be reported, and only then, that path
 * is followed once through the text, which is known to be valid JSON, to find line and
 * column. YAML documents become the same nodes, with positions from the parser.
 *
 * Left out: numbers beyond 64-bit integers or doubles (errors), comments, JSON5. */
#include "base/json_internal.h"

#include "base/file.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_FROM_KEYS 16

/* ---- the tree ---- */

galv_json *galv_json_new(const char *name)
{
    galv_arena *arena = galv_arena_new();
    if (arena == NULL) {
        return NULL;
    }
    galv_json *document = GALV_NEW(arena, galv_json);
    if (document != NULL) {
        document->arena = arena;
        document->name = galv_arena_strdup(arena, name);
    }
    if (document == NULL || document->name == NULL) {
        galv_arena_free(arena);
        return NULL;
    }
    return document;
}

void galv_json_free(galv_json *document)
{
    if (document != NULL) {
        galv_arena_free(document->arena); /* holds the document itself */
    }
}

static int compare_keys(const void *a, const void *b)
{
    const galv_json_node *x = *(const galv_json_node *const *)a;
    const galv_json_node *y = *(const galv_json_node *const *)b;
    int order = strcmp(x->key, y->key);
    if (order != 0) {
        return order;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

bool galv_json_index_keys(galv_json *document, galv_json_node *object)
{
    if (object->n_children < INDEX_FROM_KEYS) {
        return true;
    }
    const galv_json_node **sorted =
        GALV_NEW_ARRAY(document->arena, const galv_json_node *, object->n_children);
    if (sorted == NULL) {
        return false;
    }
    for (size_t i = 0; i < object->n_children; i++) {
        sorted[i] = object->children[i];
    }
    qsort(sorted, object->n_children, sizeof *sorted, compare_keys);
    object->by_key = sorted;
    return true;
}

const galv_json_node *galv_json_duplicate(const galv_json_node *object)
{
    const galv_json_node *first = NULL;
    for (size_t i = 1; i < object->n_children; i++) {
        if (object->by_key != NULL) {
            const galv_json_node *second = object->by_key[i];
            if (strcmp(object->by_key[i - 1]->key, second->key) == 0 &&
                (first == NULL || second->index < first->index)) {
                first = second;
            }
            continue;
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(object->children[j]->key, object->children[i]->key) == 0) {
                return object->children[i];
            }
        }
    }
    return first;
}

static bool copy_tree(galv_json *document, galv_json_node *node, json_t *value);

static galv_json_node *add_child(galv_json *document, galv_json_node *parent,
                                 json_t *value)
{
    galv_json_node *child = GALV_NEW(document->arena, galv_json_node);
    if (child == NULL) {
        return NULL;
    }
    child->parent = parent;
    child->index = parent->n_children;
    parent->children[parent->n_children++] = child;
    return copy_tree(document, child, value) ? child : NULL;
}

static bool copy_container(galv_json *document, galv_json_node *node, json_t *value)
{
    size_t size =
        json_is_array(value) ? json_array_size(value) : json_object_size(value);
    node->children = GALV_NEW_ARRAY(document->arena, galv_json_node *, size);
    if (node->children == NULL) {
        return false;
    }
    if (json_is_array(value)) {
        node->type = GALV_JSON_ARRAY;
        for (size_t i = 0; i < size; i++) {
            if (add_child(document, node, json_array_get(value, i)) == NULL) {
                return false;
            }
        }
        return true;
    }
    node->type = GALV_JSON_OBJECT;
    const char *key = NULL;
    json_t *member = NULL;
    json_object_foreach(value, key, member)
    {
        galv_json_node *child = add_child(document, node, member);
        if (child == NULL) {
            return false;
        }
        child->key = galv_arena_strdup(document->arena, key);
        if (child->key == NULL) {
            return false;
        }
    }
    return galv_json_index_keys(document, node);
}

/* Recursive; depth is bounded by jansson's own limit (2048). */
static bool copy_tree(galv_json *document, galv_json_node *node, json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        return copy_container(document, node, value);
    case JSON_STRING:
        node->type = GALV_JSON_STRING;
        node->string = galv_arena_strdup(document->arena, json_string_value(value));
        return node->string != NULL;
    case JSON_INTEGER:
        node->type = GALV_JSON_NUMBER;
        node->integer = json_integer_value(value);
        node->number = (double)node->integer;
        node->is_integer = true;
        return true;
    case JSON_REAL:
        node->type = GALV_JSON_NUMBER;
        node->number = json_real_value(value);
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        node->type = GALV_JSON_BOOL;
        node->flag = json_is_true(value);
        return true;
    case JSON_NULL:
        node->type = GALV_JSON_NULL;
        return true;
    }
    return false;
}

/* ---- parsing ---- */

/* Parses the text that the document holds; frees the document on failure. */
static galv_status parse(galv_json **out, galv_json *document, galv_err *err)
{
    if (document->length == strspn(document->text, " \t\r\n")) {
        galv_status empty = galv_fail_at(err, document->name, 1, 0,
                                         "the file is empty: JSON is needed");
        galv_json_free(document);
        return empty;
    }
    json_error_t error;
    memset(&error, 0, sizeof error);
    json_t *tree = json_loadb(document->text, document->length,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    galv_status status = GALV_OK;
    if (tree == NULL && json_error_code(&error) == json_error_out_of_memory) {
        status =
            galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s", document->name);
    } else if (tree == NULL) {
        status = galv_fail_at(err, document->name, error.line < 0 ? 0 : error.line,
                              error.column < 0 ? 0 : error.column, "%s", error.text);
    } else {
        document->root = GALV_NEW(document->arena, galv_json_node);
        if (document->root == NULL || !copy_tree(document, document->root, tree)) {
            status = galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s",
                               document->name);
        }
        json_decref(tree);
    }
    if (status != GALV_OK) {
        galv_json_free(document);
        return status;
    }
    *out = document;
    return GALV_OK;
}

/* Windows editors put a byte-order mark before the text; it is no part of it. */
static void skip_mark(galv_json *document)
{
    if (document->length >= 3 && memcmp(document->text, "\xEF\xBB\xBF", 3) == 0) {
        document->text += 3;
        document->length -= 3;
    }
}

galv_status galv_json_read_file(galv_json **document, const char *path, galv_err *err)
{
    galv_json *made = galv_json_new(strcmp(path, "-") == 0 ? "standard input" : path);
    if (made == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s", path);
    }
    char *bytes = NULL;
    galv_status status =
        galv_file_read(&bytes, &made->length, path, 0, made->arena, err);
    if (status != GALV_OK) {
        galv_json_free(made);
        return status;
    }
    made->text = bytes;
    skip_mark(made);
    return parse(document, made, err);
}

galv_status galv_json_read_text(galv_json **document, const char *name,
                                const char *text, size_t length, galv_err *err)
{
    galv_json *made = galv_json_new(name);
    char *copy = made == NULL ? NULL : galv_arena_calloc(made->arena, length + 1, 1);
    if (copy == NULL) {
        galv_json_free(made);
        return galv_fail(err, GALV_NO_MEMORY, "out of memory reading %s", name);
    }
    if (length > 0) {
        memcpy(copy, text, length);
    }
    made->text = copy;
    made->length = length;
    skip_mark(made);
    return parse(document, made, err);
}

/* ---- values ---- */

static galv_json_value value_of(const galv_json *document, const galv_json_node *node)
{
    return (galv_json_value){document, node};
}

galv_json_value galv_json_root(const galv_json *document)
{
    return value_of(document, document == NULL ? NULL : document->root);
}

galv_json_type galv_json_type_of(galv_json_value value)
{
    const galv_json_node *node = value.node;
    return node == NULL ? GALV_JSON_ABSENT : node->type;
}

size_t galv_json_length(galv_json_value array)
{
    const galv_json_node *node = array.node;
    return node == NULL || node->type != GALV_JSON_ARRAY ? 0 : node->n_children;
}

galv_json_value galv_json_element(galv_json_value array, size_t index)
{
    const galv_json_node *node = array.node;
    return value_of(array.document,
                    index < galv_json_length(array) ? node->children[index] : NULL);
}

size_t galv_json_n_keys(galv_json_value object)
{
    const galv_json_node *node = object.node;
    return node == NULL || node->type != GALV_JSON_OBJECT ? 0 : node->n_children;
}

const char *galv_json_key(galv_json_value object, size_t index, galv_json_value *value)
{
    const galv_json_node *node = object.node;
    if (index >= galv_json_n_keys(object)) {
        if (value != NULL) {
            *value = value_of(object.document, NULL);
        }
        return NULL;
    }
    if (value != NULL) {
        *value = value_of(object.document, node->children[index]);
    }
    return node->children[index]->key;
}

galv_json_value galv_json_member(galv_json_value object, const char *key)
{
    size_t n_keys = galv_json_n_keys(object);
    const galv_json_node *node = object.node;
    if (n_keys > 0 && node->by_key != NULL) {
        size_t low = 0;
        size_t high = n_keys;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            int order = strcmp(node->by_key[middle]->key, key);
            if (order == 0) {
                return value_of(object.document, node->by_key[middle]);
            }
            if (order < 0) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return value_of(object.document, NULL);
    }
    for (size_t i = 0; i < n_keys; i++) {
        if (strcmp(node->children[i]->key, key) == 0) {
            return value_of(object.document, node->children[i]);
        }
    }
    return value_of(object.document, NULL);
}

/* ---- where a value stands ---- */

/* A place in the text. */
typedef struct cursor {
    const char *at;
    const char *end;
} cursor;

static void skip_blanks(cursor *here)
{
    while (here->at < here->end && strchr(" \t\r\n", *here->at) != NULL) {
        here->at++;
    }
}

static void skip_string(cursor *here)
{
    for (here->at++; here->at < here->end && *here->at != '"'; here->at++) {
        if (*here->at == '\\') {
            here->at++;
        }
    }
    if (here->at < here->end) {
        here->at++;
    }
}

/* Moves past one value: to the comma or bracket that ends it. */
static void skip_value(cursor *here)
{
    size_t depth = 0;
    while (here->at < here->end) {
        char c = *here->at;
        if (c == '"') {
            skip_string(here);
            continue;
        }
        if (depth == 0 && (c == ',' || c == ']' || c == '}')) {
            return;
        }
        if (c == '[' || c == '{') {
            depth++;
        } else if (c == ']' || c == '}') {
            depth--;
        }
        here->at++;
    }
}

/* Moves from a container's bracket to the value of its `index`-th item. */
static void enter_item(cursor *here, size_t index, bool is_object)
{
    here->at++;
    for (size_t i = 0;; i++) {
        skip_blanks(here);
        if (is_object) {
            skip_string(here);
            skip_blanks(here);
            here->at++; /* the colon */
            skip_blanks(here);
        }
        if (i == index || here->at >= here->end) {
            return;
        }
        skip_value(here);
        here->at++; /* the comma */
    }
}

void galv_json_locate(galv_json_value value, long *line, long *column)
{
    const galv_json *document = value.document;
    const galv_json_node *node = value.node;
    *line = node == NULL ? 0 : node->line;
    *column = node == NULL ? 0 : node->column;
    if (node == NULL || node->line > 0 || document == NULL || document->text == NULL) {
        return;
    }
    size_t depth = 0;
    for (const galv_json_node *up = node; up->parent != NULL; up = up->parent) {
        depth++;
    }
    cursor here = {document->text, document->text + document->length};
    skip_blanks(&here);
    for (; depth > 0; depth--) {
        const galv_json_node *step = node;
        for (size_t i = 1; i < depth; i++) {
            step = step->parent;
        }
        enter_item(&here, step->index, step->parent->type == GALV_JSON_OBJECT);
    }
    *line = 1;
    *column = 1;
    for (const char *at = document->text; at < here.at && at < here.end; at++) {
        if (*at == '\n') {
            (*line)++;
            *column = 1;
        } else if (((unsigned char)*at & 0xC0U) != 0x80U) {
            (*column)++;
        }
    }
}

/* "levels[0].bandwidth": the names from the root to the node. */
static void print_path(galv_text *out, const galv_json_node *node)
{
    const galv_json_node *chain[2049];
    size_t n = 0;
    for (; node->parent != NULL && n < sizeof chain / sizeof chain[0];
         node = node->parent) {
        chain[n++] = node;
    }
    while (n > 0) {
        const galv_json_node *step = chain[--n];
        if (step->parent->type == GALV_JSON_ARRAY) {
            galv_text_printf(out, "[%zu]", step->index);
        } else {
            galv_text_printf(out, "%s%s", out->length == 0 ? "" : ".", step->key);
        }
        if (out->length > 200) { /* an error message, not a dump */
            galv_text_append(out, "...");
            return;
        }
    }
}

galv_status galv_json_fail(galv_json_value value, galv_err *err, const char *format,
                           ...)
{
    if (err == NULL || err->status != GALV_OK) {
        return GALV_INPUT;
    }
    const galv_json_node *node = value.node;
    long line = 0;
    long column = 0;
    galv_text message = GALV_TEXT_INIT;
    galv_json_locate(value, &line, &column);
    if (node != NULL) {
        print_path(&message, node);
        if (message.length > 0) {
            galv_text_append(&message, ": ");
        }
    }
    va_list args;
    va_start(args, format);
    galv_text_vprintf(&message, format, args);
    va_end(args);
    galv_fail_at(err, value.document == NULL ? "" : value.document->name, line, column,
                 "%s", galv_text_string(&message));
    galv_text_release(&message);
    return GALV_INPUT;
}
