/* The world over MPI. */
#include "tests/exec/mpi/mpi_support.h"

#include "tests/exec/world_script.h"

static void the_world_over_mpi_does_what_any_world_does(team *t)
{
    t->n_failed += world_script(t->world);
    CLAIM(t, galv_world_has_mpi(t->world), "has MPI");
    CLAIM(t, strcmp(galv_world_launcher(t->world), "mpirun") == 0, "%s",
          galv_world_launcher(t->world));
}

int main(int argc, char **argv)
{
    static const team_test tests[] = {
        {"the_world_over_mpi_does_what_any_world_does",
         the_world_over_mpi_does_what_any_world_does},
    };
    return team_main(argc, argv, tests, sizeof tests / sizeof tests[0]);
}
