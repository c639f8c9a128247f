/* The hint of "no plan fits": on how many nodes one would. */
#ifndef GALV_CLI_WHAT_FITS_H
#define GALV_CLI_WHAT_FITS_H

#include "cli/job.h"
#include "search/space.h"

/* Adds the hint to an error that is set; tries twice the nodes, and again, up to 128
 * times as many. */
void galv_say_what_fits(const galv_cli *cli, const galv_setup *setup,
                        const galv_space *space, galv_err *err);

#endif
