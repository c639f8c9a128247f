/* The tables of constants compiled in (costmodel/data), and which of their rows are a
 * device's. */
#ifndef GALV_COSTMODEL_LAW_TABLE_INTERNAL_H
#define GALV_COSTMODEL_LAW_TABLE_INTERNAL_H

#include "base/csv.h"
#include "plan/cluster.h"

#include <math.h>
#include <stdbool.h>

/* First error wins, as in galv_err. */
typedef struct galv_law_table {
    galv_csv csv;
    galv_err *err;
    galv_status status;
} galv_law_table;

static inline double galv_positive(double value, double otherwise)
{
    return value > 0 && isfinite(value) ? value : otherwise;
}

/* Reads a table from its text; its status says how that went. */
void galv_law_table_open(galv_law_table *table, const char *name, const char *text,
                         size_t length, galv_arena *arena, galv_err *err);

/* A cell's text, "" when empty; its number, `otherwise` when empty. */
const char *galv_law_cell(const galv_law_table *table, size_t row, const char *column);
double galv_law_number(galv_law_table *table, size_t row, const char *column,
                       double otherwise);

/* Is the first word of two architectures one? "Hopper+Grace" and "Hopper" are one
 * generation. */
bool galv_same_generation(const char *a, const char *b);

/* How near the device that a row was measured on (columns device, also, arch) is to
 * another; more is nearer. From the same silicon on the row's numbers are the device's
 * own. */
typedef enum galv_kinship {
    GALV_KIN_NONE,
    GALV_KIN_GENERATION,   /* first word of the architectures: Blackwell */
    GALV_KIN_ARCHITECTURE, /* all of it but the host: Blackwell GB202 */
    GALV_KIN_SILICON,      /* listed in the row: the same chip */
    GALV_KIN_ITSELF
} galv_kinship;

galv_kinship galv_law_kinship(const galv_law_table *table, size_t row,
                              const galv_device *device);

#endif
