/* What the fuzzers of JSON and of YAML do with a document, whatever it was read from.
 */
#ifndef GALV_TESTS_FUZZ_DOCUMENT_WALK_H
#define GALV_TESTS_FUZZ_DOCUMENT_WALK_H

#include "base/json.h"

#include <stdint.h>
#include <stdlib.h>

/* Asks every question of a value, then of its children. */
static void walk(galv_json_value value, int *budget)
{
    galv_err errors[5] = {GALV_ERR_INIT};
    double number = 0;
    int64_t whole = 0;
    const char *string = NULL;
    if ((*budget)-- <= 0) {
        return;
    }
    galv_json_to_f64(&number, value, 0, 1, &errors[0]);
    galv_json_to_i64(&whole, value, 0, 1, &errors[1]);
    galv_json_to_string(&string, value, &errors[2]);
    galv_json_fail(value, &errors[3], "here");
    if (errors[3].line < 1 || errors[3].column < 1) {
        abort(); /* every value of a text stands somewhere */
    }
    galv_json_object object;
    uint64_t bytes = 0;
    galv_json_enter(&object, value, &errors[4]);
    galv_json_bytes(&object, "a", GALV_OPTIONAL, &bytes);
    galv_json_duration(&object, "b", GALV_OPTIONAL, &number);
    galv_json_bandwidth(&object, "c", GALV_OPTIONAL, &number);
    galv_json_leave(&object);
    for (size_t i = 0; i < galv_json_length(value); i++) {
        walk(galv_json_element(value, i), budget);
    }
    for (size_t i = 0; i < galv_json_n_keys(value); i++) {
        galv_json_value member;
        const char *key = galv_json_key(value, i, &member);
        if (galv_json_member(value, key).node != member.node) {
            abort(); /* keys are unique, so a lookup finds the same value */
        }
        walk(member, budget);
    }
}

/* Walks over the first values of a document and frees it. */
static void walk_document(galv_json *document)
{
    int budget = 200;
    walk(galv_json_root(document), &budget);
    galv_json_free(document);
}

#endif
