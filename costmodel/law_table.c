/* Reading the tables of constants, and finding a device in them. */
#include "costmodel/law_table_internal.h"

#include <string.h>

void galv_law_table_open(galv_law_table *t, const char *name, const char *text,
                         size_t length, galv_arena *arena, galv_err *err)
{
    t->err = err;
    t->status = galv_csv_read_text(&t->csv, name, text, length, arena, err);
}

const char *galv_law_cell(const galv_law_table *t, size_t row, const char *column)
{
    return galv_csv_cell(&t->csv, row, galv_csv_column(&t->csv, column));
}

double galv_law_number(galv_law_table *t, size_t row, const char *column,
                       double otherwise)
{
    double value = otherwise;
    galv_status status = galv_csv_f64(&t->csv, row, galv_csv_column(&t->csv, column),
                                      -1e18, 1e18, &value, t->err);
    t->status = t->status == GALV_OK ? status : t->status;
    return value;
}

/* Is `id` one of the words of a ';' list? */
static bool listed(const char *list, const char *id)
{
    size_t length = strlen(id);
    while (*list != '\0') {
        size_t word = strcspn(list, ";");
        if (word == length && strncmp(list, id, length) == 0) {
            return true;
        }
        list += word + (list[word] == ';');
    }
    return false;
}

bool galv_same_generation(const char *a, const char *b)
{
    size_t length = strcspn(a, " +");
    return length > 0 && length == strcspn(b, " +") && strncmp(a, b, length) == 0;
}

/* Generation of a device that tables measure, by its id. */
static const char *generation_of(const char *id)
{
    static const char *const known[][2] = {
        {"v100", "Volta"},   {"a100", "Ampere"},       {"h100", "Hopper"},
        {"h200", "Hopper"},  {"b200", "Blackwell"},    {"b300", "Blackwell"},
        {"gb", "Blackwell"}, {"rtx-pro", "Blackwell"}, {"l40", "Ada"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strncmp(id, known[i][0], strlen(known[i][0])) == 0) {
            return known[i][1];
        }
    }
    return "";
}

int galv_law_kinship(const galv_law_table *t, size_t row, const galv_device *device)
{
    const char *id = galv_law_cell(t, row, "device");
    if (strcmp(id, device->id) == 0) {
        return 3;
    }
    if (listed(galv_law_cell(t, row, "also"), device->id)) {
        return 2;
    }
    return galv_same_generation(generation_of(id), device->arch) ? 1 : 0;
}
