/* What one pass over one chunk takes and holds, from its operations alone, as they run
 * in the middle of an iteration when nothing of another pass is beside them. */
#ifndef GALV_SIM_PASS_PRICE_H
#define GALV_SIM_PASS_PRICE_H

#include "schedule/program.h"
#include "sim/pass_memory.h"
#include "sim/prices.h"

typedef struct galv_pass_price {
    double latency_s; /* its longest path, all rates 1 */
    double bare_s;    /* the same when messages of parameters take no time */
    double load_s[GALV_N_STREAMS]; /* work, by stream */
    /* What hiding messages of parameters behind computation takes, were it nothing
     * else; by a second of them at most; and the most seconds of them that other
     * communication of the pass can hide. See search/layer_table.c. */
    double slowing_s, most_slowing, beside_s;
    galv_pass_memory memory;
} galv_pass_price;

/* The price of a pass (galv_pass) of a chunk of a stage, the same for every virtual
 * stage of a class. Valid as long as the prices. Errors: as galv_program_pass;
 * GALV_NO_MEMORY. */
galv_status galv_prices_pass(const galv_pass_price **price, galv_prices *prices,
                             int32_t stage, int32_t chunk, int pass, galv_err *err);

/* The longest path through one pass, all rates 1: work_s[n_ops] in, end_s[n_ops] is
 * scratch. Messages of parameters count only between two other operations. */
double galv_pass_latency(double *end_s, const galv_pass_ops *ops, const double *work_s);

#endif
