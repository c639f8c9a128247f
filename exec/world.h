/* The world: the processes of one run, and the few words they exchange as hosts.
 *
 * Started under mpirun or Slurm's srun with PMIx or PMI2 (MPI); or over TCP: with RANK,
 * WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT set as torchrun sets them, or by
 * srun alone (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID and the first host of
 * SLURM_STEP_NODELIST); or alone. Data of the model never goes this way: that is the
 * backend's.
 *
 * Over TCP rank 0 listens at MASTER_PORT, or at the next one where torchrun's agent
 * says that it listens there itself (TORCHELASTIC_USE_AGENT_STORE=True); ranks wait
 * GALV_CONNECT_S seconds for each other (60 unless set). A process that dies ends the
 * run: mpirun and srun see to that, and over TCP every process does. */
#ifndef GALV_EXEC_WORLD_H
#define GALV_EXEC_WORLD_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct galv_world galv_world;

/* Joins the world. Errors: GALV_UNAVAILABLE (no MPI where it is needed, rank 0 does not
 * answer), GALV_USAGE (the environment contradicts itself), with what to set. */
galv_status galv_world_new(galv_world **world, int *argc, char ***argv, galv_err *err);
void galv_world_free(galv_world *world);

int32_t galv_world_rank(const galv_world *world);
int32_t galv_world_size(const galv_world *world);
int32_t galv_world_local_rank(const galv_world *world);   /* among those of its node */
const char *galv_world_launcher(const galv_world *world); /* "mpirun", "alone"... */
bool galv_world_has_mpi(const galv_world *world);

/* Collective over all ranks. Synchronize the backend before these: while a rank waits
 * here, its backend's communication may stand still. */
galv_status galv_world_barrier(galv_world *world, galv_err *err);
galv_status galv_world_broadcast(galv_world *world, void *data, size_t bytes,
                                 int32_t root, galv_err *err);
/* all[size * bytes] on every rank from one[bytes] of each. */
galv_status galv_world_all_gather(galv_world *world, void *all, const void *one,
                                  size_t bytes, galv_err *err);
/* The worst status of all ranks, and the message of the lowest rank that has it; every
 * rank returns the same. Call it before going on where one rank may have failed. */
galv_status galv_world_agree(galv_world *world, galv_err *err);
/* Tells all others that this rank has failed, while they may wait for its device; the
 * first call only. Does not wait. */
void galv_world_raise_alarm(galv_world *world, const galv_err *err);
/* True, and what it said, when another rank has raised the alarm. Does not wait. */
bool galv_world_hear_alarm(galv_world *world, galv_err *err);
/* Ends all processes of the run at once, after a message to standard error. */
void galv_world_abort(galv_world *world, int exit_status);
/* Seconds to add to this rank's clock to get rank 0's, from round trips (the least of
 * `n_rounds`). Collective. Source: Cristian 1989. */
galv_status galv_world_clock_offset_s(galv_world *world, double *offset_s,
                                      int32_t n_rounds, galv_err *err);

#endif
