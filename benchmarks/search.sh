#!/bin/sh
# How fast the search is: candidates, what was cut and simulated, rates, peak memory.
#   sh benchmarks/search.sh build/galvatron-sim [JOBS]
# Without --uniform, strategies are mixed layer by layer as well: plans are then uniform
# candidates and the layerings that were judged. Each job is run once on JOBS threads
# (default 1); times are of the wall clock. The last column is what the best plan takes
# more than the bound that no plan can beat (0: proven).
set -eu
program=$1
jobs=${2-1}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
model=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
printf 'search: %s on %s, %s thread(s)\n' "$(uname -sm)" "$model" "$jobs"
printf '%-64s %8s %8s %6s %8s %9s %7s %s\n' job plans 'too big' simul. seconds plans/s 'MiB' gap
run() {
    start=$(date +%s.%N)
    "$program" plan "$@" -j "$jobs" --json >"$room/out" 2>"$room/err" &
    pid=$!
    peak=0
    while kill -0 "$pid" 2>/dev/null; do
        now=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null || true)
        [ -z "$now" ] || peak=$now
        sleep 0.02
    done
    wait "$pid" || { cat "$room/err" >&2; return 1; }
    end=$(date +%s.%N)
    jq -r --arg job "$*" --arg peak "$peak" --arg start "$start" --arg end "$end" '
        [.searched.candidates, .searched.out_of_memory,
         .searched.simulated, .searched.wall_s, .searched.candidates / .searched.wall_s,
         ($peak | tonumber) / 1024,
         100 * (.plans[0].iteration_time_s / .searched.lower_bound_s - 1)] | @tsv' "$room/out" |
        awk -F '\t' -v job="$*" '{printf "%-64s %8d %8d %6d %8.2f %9.0f %7.1f %.1f%%\n",
            job, $1, $2, $3, $4, $5, $6, $7}'
}
for how in --uniform ''; do
    # shellcheck disable=SC2086
    for job in '-m llama3-8b -n 1' \
        '-m llama2-7b --gpu a100-sxm-40gb -n 1 --global-batch 32' \
        '-m llama3-70b -n 8 --global-batch 256' \
        '-m llama3-70b -n 64' \
        '-m llama3-70b -n 64 --global-batch 100000' \
        '-m gpt3-175b -n 64 --global-batch 1536' \
        '-m mixtral-8x22b -n 16' \
        '-m deepseek-v3 -n 128' \
        '-m llama3.1-405b -n 2048 --global-batch 2048'; do
        run $job $how
    done
done
