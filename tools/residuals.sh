#!/bin/sh
# What intervals are made of, anew:
#   sh tools/residuals.sh build/galvatron-sim CASES_DIR > accuracy/data/residuals.csv
# CASES_DIR holds tables of cases (docs/formats.md). Rows of which their sources say more,
# or something else, than the table does are taken from tests/accuracy/data:
#   megatron_ci_as_configured   the configuration beside a golden value
#   bloom_as_configured         gradients summed in 16 bits, before the optimizer of bf16
#   zero_bubble_as_logged       peaks of the allocator, in 10^9 bytes
#   torchtitan_as_logged        what the allocator reserved
# One run of Megatron's CI that has an inference engine beside the training (reinforcement
# learning) is left out: what a label is wrong about says nothing about a prediction.
set -eu
program=$1
cases=$2
data=tests/accuracy/data
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cat "$data"/*_as_*.csv >"$room/corrected"
for f in "$cases"/*.csv; do
    awk -F, '
        FNR == NR {n = $1; sub(/^ci-/, "megatron_ci_functional_small-", n); twice[n]; next}
        FNR == 1 || !($1 in twice || $1 == "megatron_ci_functional_small-1064")' "$room/corrected" "$f" >"$room/$(basename "$f")"
    [ "$(wc -l <"$room/$(basename "$f")")" -gt 1 ] || rm "$room/$(basename "$f")"
done
for f in "$data"/*_as_*.csv; do
    sed 's|NVIDIA/Megatron-LM functional tests|Megatron-LM CI golden values|' "$f" \
        >"$room/$(basename "$f")"
done
"$program" validate "$room"/*.csv -q --residuals "$room/residuals" >/dev/null
cat "$room/residuals"
