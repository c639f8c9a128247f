#!/bin/sh
# Tables of cases as their sources state them:
#   sh tools/as_configured.sh CASES_DIR OUT_DIR
# CASES_DIR holds tables of cases (docs/formats.md). Rows of which their sources say more,
# or something else, than the table does are taken from tests/accuracy/data:
#   megatron_ci_as_configured   the configuration beside a golden value
#   bloom_as_configured         gradients summed in 16 bits, before the optimizer of bf16
#   zero_bubble_as_logged       peaks of the allocator, in 10^9 bytes
#   torchtitan_as_logged        what the allocator reserved
# One run of Megatron's CI that has an inference engine beside the training (reinforcement
# learning) is left out: what a label is wrong about says nothing about a prediction.
set -eu
cases=$1
out=$2
data=tests/accuracy/data
ours=$(mktemp)
trap 'rm -f "$ours"' EXIT
mkdir -p "$out"
cat "$data"/*_as_*.csv >"$ours"
for f in "$cases"/*.csv; do
    awk -F, '
        FNR == NR {n = $1; sub(/^ci-/, "megatron_ci_functional_small-", n); twice[n]; next}
        FNR == 1 || !($1 in twice || $1 == "megatron_ci_functional_small-1064") ||
            FILENAME ~ /stage_times/' "$ours" "$f" >"$out/$(basename "$f")"
    [ "$(wc -l <"$out/$(basename "$f")")" -gt 1 ] || rm "$out/$(basename "$f")"
done
for f in "$data"/*_as_*.csv; do
    sed 's|NVIDIA/Megatron-LM functional tests|Megatron-LM CI golden values|' "$f" \
        >"$out/$(basename "$f")"
done
