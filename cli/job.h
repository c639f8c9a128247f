/* From options to what the library works on: job, profile, space, plan.
 *
 * What is given on the command line wins over a file, a file over the catalog, the
 * catalog over the defaults; where each value came from is remembered. */
#ifndef GALV_CLI_JOB_H
#define GALV_CLI_JOB_H

#include "cli/parse.h"
#include "costmodel/costmodel.h"
#include "plan/plan.h"
#include "traces/profile.h"

typedef enum galv_origin {
    GALV_ORIGIN_DEFAULT,
    GALV_ORIGIN_CATALOG,
    GALV_ORIGIN_FILE,
    GALV_ORIGIN_COMMAND_LINE
} galv_origin;

extern const char *const galv_origin_names[4];

/* A job with its measurements and, when it was read from a file, its plan. */
typedef struct galv_setup {
    galv_job job;
    galv_plan *plan;       /* NULL: none was read; owned by cli->arena */
    galv_profile *profile; /* NULL: none was given */
    int64_t seed;
    galv_origin model_from; /* where the model's numbers come from */
    galv_origin cluster_from;
    galv_origin workload_from;
} galv_setup;

/* Reads model, cluster, workload and profile from the options. Caller releases with
 * galv_setup_release, also after a failure. Errors: GALV_USAGE, GALV_INPUT. */
galv_status galv_setup_read(galv_setup *setup, const galv_cli *cli, galv_err *err);

/* The same on a cluster that was read already, the global batch left open. */
galv_status galv_setup_read_on(galv_setup *setup, const galv_cli *cli,
                               const galv_cluster *cluster, galv_err *err);

/* Reads a plan (or a document that contains one) with its job; options then override
 * the cluster, the workload and the model. "-" is standard input. */
galv_status galv_setup_load(galv_setup *setup, const galv_cli *cli, const char *path,
                            galv_err *err);
/* The same, for a search that begins at the plan: options that restrict plans are not
 * refused, they restrict the search. */
galv_status galv_setup_load_job(galv_setup *setup, const galv_cli *cli,
                                const char *path, galv_err *err);
void galv_setup_release(galv_setup *setup);

/* The cost model of the setup; its warnings are printed. Caller frees. */
galv_status galv_setup_costmodel(galv_costmodel **model, const galv_setup *setup,
                                 const galv_cli *cli, galv_err *err);

/* --jobs, or every processor. */
galv_status galv_jobs_read(int *n_jobs, const galv_cli *cli, galv_err *err);

/* Clusters of a sweep: every --gpu (or the --cluster) with every --nodes. Owned by
 * cli->arena. */
galv_status galv_clusters_read(galv_cluster **clusters, size_t *n_clusters,
                               const galv_cli *cli, galv_err *err);

#endif
