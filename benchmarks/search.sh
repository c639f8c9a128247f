#!/bin/sh
# How fast the search is: plans, what was cut and simulated, rates, times, peak memory.
#   sh benchmarks/search.sh build/galvatron-sim [JOBS] [uniform|mixed]
# "uniform": one strategy for all layers; "mixed": layer by layer as well, and plans are
# uniform candidates and the layerings that were judged. Each job is run once on JOBS
# threads (default 1). Needs GNU time and jq.
# wall, CPU: seconds of the whole command; on a busy machine look at CPU (user + system).
# cut: by the tree, by memory, by a bound; of them "too big" by memory. costed and
# simulated: plans a CPU second of the whole command. gap: what the best plan takes more
# than the bound that no plan can beat (0: proven). The jobs with a goal are the first.
set -eu
program=$1
jobs=${2-1}
which=${3-both}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
# As llama2-7b, of 80 layers.
cat >"$room/deep.json" <<'END'
{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
 "num_attention_heads": 32, "num_key_value_heads": 32, "num_hidden_layers": 80,
 "vocab_size": 32000, "max_position_embeddings": 4096, "tie_word_embeddings": false}
END
printf 'search: %s, %s on %s, %s CPUs, load %s, %s thread(s)\n' \
    "$("$program" version | head -n 1)" "$(uname -sm)" \
    "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)" \
    "$(getconf _NPROCESSORS_ONLN)" "$(cut -d ' ' -f 1 /proc/loadavg)" "$jobs"
run() { # LABEL OPTIONS
    label=$1
    shift
    status=0
    command time -f '%e %U %S %M' -o "$room/time" \
        "$program" plan "$@" -j "$jobs" --json >"$room/out" 2>"$room/err" || status=$?
    if [ "$status" -ne 0 ]; then
        cat "$room/err" >&2
        return "$status"
    fi
    jq -r '[.searched.candidates, .searched.pruned, .searched.out_of_memory,
            .searched.simulated,
            100 * (.plans[0].iteration_time_s / .searched.lower_bound_s - 1)] | @tsv' \
        "$room/out" | tr '\t\n' '  ' | cat - "$room/time" |
        awk -v job="$label" '{ cpu = $7 + $8
            printf "%-52s %7d %7d %7d %6d %6.2f %6.2f %8.0f %8.1f %5.0f %6.1f%%\n", job,
                $1, $2, $3, $4, $6, cpu, $1 / cpu, $4 / cpu, $9 / 1024, $5 }'
}
for how in uniform mixed; do
    [ "$which" = both ] || [ "$which" = "$how" ] || continue
    printf '%-52s %7s %7s %7s %6s %6s %6s %8s %8s %5s %7s\n' "$how" plans cut 'too big' \
        simul. 'wall s' 'CPU s' costed/s simul./s MiB gap
    option=
    [ "$how" = mixed ] || option=--uniform
    run '80 layers, llama2-7b else, -n 64 (512 GPUs, 0.3 s)' -m "$room/deep.json" \
        -c dgx-h100 -n 64 --memory-limit 80GB --global-batch 1024 $option
    run '-m gpt3-175b -n 64 (512 GPUs, 1 s)' -m gpt3-175b -n 64 --global-batch 1536 $option
    run '-m llama3.1-405b -n 2048 (16,384 GPUs, 3 s)' -m llama3.1-405b -n 2048 \
        --global-batch 2048 $option
    # shellcheck disable=SC2086
    for job in '-m llama3-8b -n 1' \
        '-m llama2-7b --gpu a100-sxm-40gb -n 1 --global-batch 32' \
        '-m llama3-70b -n 8 --global-batch 256' \
        '-m llama3-70b -n 64' \
        '-m llama3-70b -n 64 --global-batch 100000' \
        '-m mixtral-8x22b -n 16' \
        '-m deepseek-v3 -n 128'; do
        run "$job" $job $option
    done
done
