/* What reading profiles shares: rows are checked against their device's peak, and the
 * rows of a file mostly have the same device, which is looked up once. */
#ifndef GALV_TRACES_PROFILE_INTERNAL_H
#define GALV_TRACES_PROFILE_INTERNAL_H

#include "plan/cluster.h"
#include "traces/profile.h"

/* The device looked up last. Zero-initialise. */
typedef struct galv_device_memo {
    char id[sizeof((galv_profile_row *)0)->device];
    bool is_known; /* to the catalog */
    galv_device device;
} galv_device_memo;

/* galv_profile_check_row with a memo. */
galv_status galv_profile_check_with(const galv_profile_row *row, galv_device_memo *memo,
                                    galv_err *err);

#endif
