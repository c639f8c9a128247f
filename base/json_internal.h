/* The tree that JSON and YAML documents share. Only base/json*.c and base/yaml.c. */
#ifndef GALV_BASE_JSON_INTERNAL_H
#define GALV_BASE_JSON_INTERNAL_H

#include "base/json.h"

/* Deepest nesting of containers that is read. */
#define GALV_JSON_MAX_DEPTH 256

/* One value. Nodes are unique, so a node's address stands for its place. */
typedef struct galv_json_node {
    const struct galv_json_node *parent; /* NULL = root */
    size_t index;                        /* in the parent, in file order */
    const char *key;                     /* when the parent is an object */
    struct galv_json_node **children;    /* [n_children], in file order */
    size_t n_children;
    const struct galv_json_node **by_key; /* sorted, for large objects; or NULL */
    const char *string;
    double number;
    int64_t integer;
    long line; /* YAML: where it begins; JSON: 0, found by scanning when asked */
    long column;
    galv_json_type type;
    bool flag;
    bool is_integer; /* `integer` holds the number exactly */
} galv_json_node;

struct galv_json {
    galv_arena *arena;
    char *name;       /* for messages */
    const char *text; /* JSON only, for positions */
    size_t length;
    galv_json_node *root;
};

/* An empty document with its arena, or NULL when memory is out. */
galv_json *galv_json_new(const char *name);

/* Sorts the keys of a large object for lookups. False when memory is out. */
bool galv_json_index_keys(galv_json *document, galv_json_node *object);

/* The first key that stands twice in an object, or NULL (after index_keys). */
const galv_json_node *galv_json_duplicate(const galv_json_node *object);

/* Line and column (in characters, from 1) where a value begins; 0 when unknown. */
void galv_json_locate(galv_json_value value, long *line, long *column);

#endif
