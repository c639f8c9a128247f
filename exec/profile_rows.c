/* What a row is of: everything that was chosen before measuring. Two rows of one thing
 * are never in a sheet, so a run that goes on measures only what is missing. */
#include "exec/profile_rows.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

static bool same(double a, double b)
{
    return a <= b && b <= a;
}

galv_status galv_sheet_open(galv_sheet *sheet, const char *path, bool resumes,
                            galv_err *err)
{
    memset(sheet, 0, sizeof *sheet);
    if (strlen(path) >= sizeof sheet->path) {
        return galv_fail(err, GALV_USAGE, "the name of the profile is too long");
    }
    snprintf(sheet->path, sizeof sheet->path, "%s", path);
    sheet->profile = galv_profile_new();
    if (sheet->profile == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "no memory for a profile");
    }
    if (!resumes || !galv_is_file(path)) {
        return GALV_OK;
    }
    galv_status status = galv_profile_read(sheet->profile, path, err);
    sheet->n_before = sheet->profile->n_rows;
    return status;
}

void galv_sheet_close(galv_sheet *sheet)
{
    galv_profile_free(sheet->profile);
    sheet->profile = NULL;
}

static bool same_shape(const galv_profile_row *a, const galv_profile_row *b)
{
    return a->hidden_size == b->hidden_size &&
           a->ffn_hidden_size == b->ffn_hidden_size &&
           a->num_attention_heads == b->num_attention_heads &&
           a->num_query_groups == b->num_query_groups &&
           a->num_experts == b->num_experts &&
           a->moe_router_topk == b->moe_router_topk && a->vocab_size == b->vocab_size &&
           a->seq_length == b->seq_length &&
           same(a->micro_batch_size, b->micro_batch_size) && a->tp == b->tp &&
           a->cp == b->cp && a->sp == b->sp && a->recompute == b->recompute;
}

bool galv_row_is_of(const galv_profile_row *a, const galv_profile_row *b)
{
    if (a->kind != b->kind || strcmp(a->device, b->device) != 0 ||
        a->precision != b->precision) {
        return false;
    }
    switch (a->kind) {
    case GALV_PROFILE_COMPUTE:
        return a->phase == b->phase && strcmp(a->layer, b->layer) == 0 &&
               same_shape(a, b);
    case GALV_PROFILE_MEMORY:
        return strcmp(a->layer, b->layer) == 0 && same_shape(a, b);
    case GALV_PROFILE_KERNEL:
        return strcmp(a->op, b->op) == 0 && a->m == b->m && a->n == b->n &&
               a->k == b->k;
    case GALV_PROFILE_COLLECTIVE:
        return strcmp(a->op, b->op) == 0 && a->ranks == b->ranks &&
               a->ranks_per_node == b->ranks_per_node &&
               same(a->message_bytes, b->message_bytes);
    case GALV_PROFILE_FACTOR:
        return strcmp(a->op, b->op) == 0;
    default:
        return true; /* overlap: one of a device */
    }
}

const galv_profile_row *galv_sheet_find(const galv_sheet *sheet,
                                        const galv_profile_row *row)
{
    for (size_t i = 0; i < sheet->profile->n_rows; i++) {
        if (galv_row_is_of(&sheet->profile->rows[i], row)) {
            return &sheet->profile->rows[i];
        }
    }
    return NULL;
}

galv_status galv_sheet_add(galv_sheet *sheet, const galv_profile_row *row,
                           galv_err *err)
{
    galv_err why = GALV_ERR_INIT;
    if (galv_profile_check_row(row, &why) != GALV_OK) {
        return galv_fail(err, GALV_INTERNAL, "a measured row is refused: %.400s",
                         why.message);
    }
    return galv_profile_add(sheet->profile, row, err);
}

galv_status galv_sheet_save(const galv_sheet *sheet, galv_err *err)
{
    return galv_profile_write_csv(sheet->profile, sheet->path, err);
}
