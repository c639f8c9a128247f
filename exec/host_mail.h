/* Mail of the host backend: nonblocking messages between the ranks of a channel, over
 * MPI or over TCP, as the world was joined.
 *
 * A message finds its receive by channel, sender and tag, those of one tag in the order
 * in which they were sent. Nothing goes on by itself: `arrived` lets it. */
#ifndef GALV_EXEC_HOST_MAIL_H
#define GALV_EXEC_HOST_MAIL_H

#include "exec/world.h"

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The ranks of a communicator; they may have several channels. */
typedef struct galv_channel galv_channel;

/* A send or receive under way; of no more meaning once it has arrived. */
typedef union galv_letter {
    MPI_Request mpi;
    void *tcp;
} galv_letter;

typedef struct galv_mail galv_mail;
struct galv_mail {
    int n_tags; /* tags are 0 ... n_tags - 1 */

    void (*free)(galv_mail *mail);
    /* The channel of these ranks of the world, this one among them; collective over
     * them. NULL when it cannot be made. */
    galv_channel *(*open)(galv_mail *mail, const int32_t *ranks, int32_t n_ranks);
    /* After all its letters have arrived. */
    void (*close)(galv_mail *mail, galv_channel *channel);
    /* To and from a place in the channel; n values of four bytes, 0 < n <= 2^30, which
     * stay where they are until the letter has arrived. False: communication failed. */
    bool (*send)(galv_mail *mail, galv_letter *letter, galv_channel *channel,
                 int32_t to, int tag, const void *data, size_t n);
    bool (*receive)(galv_mail *mail, galv_letter *letter, galv_channel *channel,
                    int32_t from, int tag, void *data, size_t n);
    /* Whether all n have; to be asked again until then, with the same ones. Lets all
     * letters go on, those of other channels too. False: communication failed. */
    bool (*arrived)(galv_mail *mail, bool *all, galv_letter *letters, int n);
    /* Gives the processor up after `n_tries` looks in vain, for a millisecond at most
     * (galv_host_nap). */
    void (*rest)(galv_mail *mail, int n_tries, bool passes_on);
};

/* NULL for a world of one rank. Collective over the world, which outlives the mail. */
galv_status galv_mail_new(galv_mail **mail, galv_world *world, galv_err *err);

/* ---- the two ways ---- */
galv_status galv_mail_new_mpi(galv_mail **mail, galv_world *world, galv_err *err);
galv_status galv_mail_new_tcp(galv_mail **mail, galv_world *world, galv_err *err);

#endif
