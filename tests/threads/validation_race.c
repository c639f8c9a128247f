/* A validation on four threads, for the thread sanitizer: whole models and bare stage
 * times, cases that work and one that does not; the same answers as on one. Run from
 * the root of the sources. */
#include "accuracy/validation.h"

#include <stdio.h>
#include <string.h>

#define REPEATED 4

/* The cases of both files, several times over. */
static galv_status read_all(galv_case **cases, size_t *n_cases, galv_arena *arena,
                            galv_err *err)
{
    static const char *const files[] = {"tests/accuracy/data/stack.csv",
                                        "tests/accuracy/data/cases.csv"};
    galv_case *of[2] = {NULL, NULL};
    size_t n[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        if (galv_cases_read(&of[i], &n[i], files[i], arena, err) != GALV_OK) {
            return err->status;
        }
    }
    galv_case *all = GALV_NEW_ARRAY(arena, galv_case, REPEATED * (n[0] + n[1]));
    if (all == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    size_t at = 0;
    for (int k = 0; k < 2 * REPEATED; k++) {
        memcpy(&all[at], of[k % 2], n[k % 2] * sizeof *all);
        at += n[k % 2];
    }
    *cases = all;
    *n_cases = at;
    return GALV_OK;
}

static galv_status validate(galv_validation *validation, int n_jobs, galv_arena *arena,
                            galv_err *err)
{
    galv_case *cases = NULL;
    size_t n = 0;
    galv_status status = read_all(&cases, &n, arena, err);
    return status == GALV_OK
               ? galv_validate(validation, cases, n, NULL, n_jobs, arena, err)
               : status;
}

static bool same(const galv_validation *a, const galv_validation *b)
{
    size_t n_right = 0;
    for (size_t i = 0; i < a->n_cases && a->n_cases == b->n_cases; i++) {
        const galv_validated_case *x = &a->cases[i];
        const galv_validated_case *y = &b->cases[i];
        if (x->status != y->status || strcmp(x->why_not, y->why_not) != 0 ||
            memcmp(&x->predicted_iteration_time_s, &y->predicted_iteration_time_s,
                   sizeof(double)) != 0) {
            return false;
        }
        n_right += x->status == GALV_OK;
    }
    return a->n_cases == b->n_cases && n_right >= 8 && n_right < a->n_cases;
}

int main(void)
{
    galv_err err = GALV_ERR_INIT;
    galv_validation one = {0};
    galv_validation four = {0};
    galv_arena *arena = galv_arena_new();
    galv_status status = validate(&one, 1, arena, &err);
    if (status == GALV_OK) {
        status = validate(&four, 4, arena, &err);
    }
    bool right = status == GALV_OK && same(&one, &four);
    if (!right) {
        fprintf(stderr, "validation_race: %s\n",
                status != GALV_OK ? err.message : "the answers differ");
        for (size_t i = 0; i < one.n_cases; i++) {
            fprintf(stderr, "  %s: %s\n", one.cases[i].measured->case_id,
                    one.cases[i].why_not);
        }
    }
    galv_arena_free(arena);
    return right ? 0 : 1;
}
