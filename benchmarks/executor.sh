#!/bin/sh
# Predicted beside measured, on this machine: profiles it, then for plans of two ranks
# predicts an iteration from that profile alone, runs it, and prints both.
#   sh benchmarks/executor.sh [build/galvatron-sim [STEPS [HIDDEN [FOLDER]]]]
# A minute or two. Two free cores are needed for figures that mean something: what other
# processes take shows in both columns, but not evenly. The smaller HIDDEN is (a multiple
# of 32), the better the chance of a step between two interruptions. FOLDER keeps
# profile, plans and timelines; a second run with it measures nothing again.
set -eu
program=${1:-build/galvatron-sim}
executor=$(dirname "$program")/galvatron-exec
steps=${2:-60}
hidden=${3:-256}
for needed in "$executor" mpirun jq; do
    if ! command -v "$needed" >/dev/null; then
        echo "executor: $needed is missing; skipped"
        exit 0
    fi
done
if [ -n "${4-}" ]; then
    room=$4
    mkdir -p "$room"
else
    room=$(mktemp -d)
    trap 'rm -rf "$room"' EXIT
fi
if [ "$(id -u)" = 0 ]; then # Open MPI asks for it
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
ranks() {
    mpirun --oversubscribe -np 2 "$executor" "$@" </dev/null
}
cat >"$room/model.json" <<EOF
{
  "schema": "galvatron-sim/model", "schema_version": "1.0", "name": "small-llama",
  "family": "llama", "kind": "decoder", "num_layers": 2, "seq_length": 128,
  "hidden_size": $hidden, "ffn_hidden_size": $((hidden * 3)), "num_attention_heads": 4,
  "num_query_groups": 4, "gated_linear_unit": true, "normalization": "rmsnorm",
  "vocab_size": 1024
}
EOF
ranks profile -m "$room/model.json" --micro-batch-size 1 --patience 300ms \
    -o "$room" -q
simulate() {
    "$program" simulate -m "$room/model.json" -c "$room/cluster.json" \
        --precision fp32 --software other --global-batch 4 --micro-batch 1 \
        --recompute none --profile "$room/profile.csv" "$@" >/dev/null 2>&1
}
median() {
    jq -s 'sort | if length % 2 == 1 then .[length / 2 | floor]
        else (.[length / 2 - 1] + .[length / 2]) / 2 end'
}

jq -r '.pools[0] | "\(.device.name), \(.devices_per_node) ranks; a rank: " +
    "\(.device.peak_flop_per_s.fp32 / 1e9 | floor) GFLOP/s, memory " +
    "\(.device.memory_bytes_per_s / 1e7 | floor / 100) GB/s, link " +
    "\(.intra_bytes_per_s / 1e7 | floor / 100) GB/s; \(.device.sources)"' \
    "$room/cluster.json"
if [ -r /proc/loadavg ]; then
    echo "others on the machine: load $(cut -d' ' -f1 /proc/loadavg) of $(nproc) cores"
fi
echo
echo '| plan | predicted ms | median step ms | error % | fastest step ms | error % | of measured numbers % |'
echo '| --- | --- | --- | --- | --- | --- | --- |'
while read -r name options; do
    folder=$room/$name
    # shellcheck disable=SC2086 # options are words
    simulate $options -o "$folder"
    ranks profile --for "$folder/plan.json" --patience 300ms -o "$room" -q
    # shellcheck disable=SC2086
    simulate $options -o "$folder"
    ranks run "$folder/plan.json" --steps "$steps" -o "$folder/run" --json \
        >"$folder/run.json"
    measured=$(jq '.steps[4:][].time_s' "$folder/run.json" | median)
    jq -r --arg name "$name" --argjson measured "$measured" \
        --slurpfile run "$folder/run.json" '
        def ms: . * 1e5 | round / 100;
        def beside($m): (. / $m - 1) * 1000 | round / 10;
        ($run[0].steps[4:] | map(.time_s) | min) as $fastest |
        "| \($name) | \(.iteration_time_s | ms) | \($measured | ms) | " +
        "\(.iteration_time_s | beside($measured)) | \($fastest | ms) | " +
        "\(.iteration_time_s | beside($fastest)) | " +
        "\(.provenance.measured * 100 | round) |"' "$folder/result.json"
done <<'EOF'
dp2 --tp 1 --cp 1 --pp 1 --zero 0
dp2-zero1 --tp 1 --cp 1 --pp 1 --zero 1
tp2 --tp 2 --sp megatron --cp 1 --pp 1 --zero 0
pp2 --tp 1 --cp 1 --pp 2 --vpp 1 --zero 0
ulysses2 --tp 2 --sp ulysses --cp 1 --pp 1 --zero 0
cp2 --tp 1 --cp 2 --pp 1 --zero 0
EOF
