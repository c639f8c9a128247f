/* Mail over MPI: a channel is a communicator, a letter a request. */
#include "exec/host_internal.h"
#include "exec/world_internal.h"

#include <stdlib.h>

struct galv_channel {
    MPI_Comm comm;
};

typedef struct mpi_mail {
    galv_mail base; /* first */
    MPI_Comm world;
} mpi_mail;

static void free_mail(galv_mail *mail)
{
    free(mail);
}

static void close_channel(galv_mail *mail, galv_channel *channel)
{
    (void)mail;
    if (channel != NULL && channel->comm != MPI_COMM_NULL) {
        MPI_Comm_free(&channel->comm);
    }
    free(channel);
}

static bool make(MPI_Comm *comm, MPI_Comm world, const int32_t *ranks, int32_t n_ranks)
{
    MPI_Group all = MPI_GROUP_NULL;
    MPI_Group some = MPI_GROUP_NULL;
    bool made = MPI_Comm_group(world, &all) == MPI_SUCCESS &&
                MPI_Group_incl(all, n_ranks, ranks, &some) == MPI_SUCCESS &&
                MPI_Comm_create_group(world, some, 0, comm) == MPI_SUCCESS &&
                MPI_Comm_set_errhandler(*comm, MPI_ERRORS_RETURN) == MPI_SUCCESS;
    if (some != MPI_GROUP_NULL) {
        MPI_Group_free(&some);
    }
    if (all != MPI_GROUP_NULL) {
        MPI_Group_free(&all);
    }
    return made;
}

static galv_channel *open_channel(galv_mail *mail, const int32_t *ranks,
                                  int32_t n_ranks)
{
    const mpi_mail *m = (const mpi_mail *)mail;
    galv_channel *channel = malloc(sizeof *channel);
    if (channel == NULL) {
        return NULL;
    }
    channel->comm = MPI_COMM_NULL;
    if (!make(&channel->comm, m->world, ranks, n_ranks)) {
        close_channel(mail, channel);
        return NULL;
    }
    return channel;
}

static bool send(galv_mail *mail, galv_letter *letter, galv_channel *channel,
                 int32_t to, int tag, const void *data, size_t n)
{
    (void)mail;
    return MPI_Isend(data, (int)n, MPI_INT32_T, to, tag, channel->comm, &letter->mpi) ==
           MPI_SUCCESS;
}

static bool receive(galv_mail *mail, galv_letter *letter, galv_channel *channel,
                    int32_t from, int tag, void *data, size_t n)
{
    (void)mail;
    return MPI_Irecv(data, (int)n, MPI_INT32_T, from, tag, channel->comm,
                     &letter->mpi) == MPI_SUCCESS;
}

static bool arrived(galv_mail *mail, bool *all, galv_letter *letters, int n)
{
    (void)mail;
    for (int i = 0; i < n; i++) {
        int complete = 0;
        if (MPI_Test(&letters[i].mpi, &complete, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
            return false;
        }
        if (!complete) {
            *all = false;
            return true;
        }
    }
    *all = true;
    return true;
}

/* MPI has nothing to sleep on. */
static void rest(galv_mail *mail, int n_tries, bool passes_on)
{
    (void)mail;
    galv_host_nap(n_tries, passes_on);
}

/* MPI promises 32767 at least; a million are enough to count by. */
static int count_tags(MPI_Comm comm)
{
    void *limit = NULL;
    int found = 0;
    MPI_Comm_get_attr(comm, MPI_TAG_UB, (void *)&limit, &found);
    int greatest = found ? *(int *)limit : 32767;
    return greatest > 1 << 20 ? 1 << 20 : greatest;
}

galv_status galv_mail_new_mpi(galv_mail **mail, galv_world *world, galv_err *err)
{
    mpi_mail *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return galv_fail(err, GALV_NO_MEMORY, "out of memory");
    }
    m->world = galv_world_mpi(world);
    m->base = (galv_mail){.n_tags = count_tags(m->world),
                          .free = free_mail,
                          .open = open_channel,
                          .close = close_channel,
                          .send = send,
                          .receive = receive,
                          .arrived = arrived,
                          .rest = rest};
    *mail = &m->base;
    return GALV_OK;
}

galv_status galv_mail_new(galv_mail **mail, galv_world *world, galv_err *err)
{
    if (galv_world_size(world) == 1) {
        *mail = NULL;
        return GALV_OK;
    }
    return galv_world_is_tcp(world) ? galv_mail_new_tcp(mail, world, err)
                                    : galv_mail_new_mpi(mail, world, err);
}
