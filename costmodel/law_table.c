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

/* "Hopper+Grace" is Hopper with another host. */
static bool same_architecture(const char *a, const char *b)
{
    size_t length = strcspn(a, "+");
    return length > 0 && length == strcspn(b, "+") && strncmp(a, b, length) == 0;
}

galv_kinship galv_law_kinship(const galv_law_table *t, size_t row,
                              const galv_device *device)
{
    if (strcmp(galv_law_cell(t, row, "device"), device->id) == 0) {
        return GALV_KIN_ITSELF;
    }
    if (listed(galv_law_cell(t, row, "also"), device->id)) {
        return GALV_KIN_SILICON;
    }
    const char *arch = galv_law_cell(t, row, "arch");
    if (same_architecture(arch, device->arch)) {
        return GALV_KIN_ARCHITECTURE;
    }
    return galv_same_generation(arch, device->arch) ? GALV_KIN_GENERATION
                                                    : GALV_KIN_NONE;
}
