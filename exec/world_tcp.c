/* The world over TCP, as torchrun sets it up. */
#include "exec/world_internal.h"

galv_status galv_world_join_tcp(galv_world *world, galv_err *err)
{
    return galv_fail(err, GALV_UNAVAILABLE, "%d processes of torchrun: not built",
                     world->size);
}
