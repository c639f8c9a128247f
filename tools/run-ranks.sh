#!/bin/sh
# Starts a program on N ranks of this machine without mpirun, in the environment of
# torchrun: they meet over TCP.
#   tools/run-ranks.sh N PROGRAM [ARGUMENT...]
# Ends with the worst exit status. MASTER_PORT, or a port that follows from this process.
set -u
ranks=$1
shift
export WORLD_SIZE="$ranks" MASTER_ADDR="${MASTER_ADDR:-127.0.0.1}"
export MASTER_PORT="${MASTER_PORT:-$((20000 + $$ % 12000))}"
pids=
rank=0
while [ "$rank" -lt "$ranks" ]; do
    RANK=$rank LOCAL_RANK=$rank "$@" &
    pids="$pids $!"
    rank=$((rank + 1))
done
worst=0
for pid in $pids; do
    wait "$pid"
    status=$?
    [ "$status" -le "$worst" ] || worst=$status
done
exit "$worst"
