#!/bin/sh
# What intervals are made of, anew:
#   sh tools/residuals.sh build/galvatron-sim CASES_DIR > accuracy/data/residuals.csv
# CASES_DIR holds tables of cases (docs/formats.md). Rows of Megatron's CI that contradict
# the configuration beside their golden value are taken as they were configured
# (tests/accuracy/data/megatron_ci_as_configured.csv), and one that has an inference engine
# beside the training (reinforcement learning) not at all: what a label is wrong about
# says nothing about a prediction.
set -eu
program=$1
cases=$2
configured=tests/accuracy/data/megatron_ci_as_configured.csv
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
for f in "$cases"/*.csv; do
    awk -F, '
        FNR == NR {n = $1; sub(/^ci-/, "", n); twice["megatron_ci_functional_small-" n]; next}
        FNR == 1 || !($1 in twice || $1 == "megatron_ci_functional_small-1064")' "$configured" "$f" >"$room/$(basename "$f")"
done
sed 's|NVIDIA/Megatron-LM functional tests|Megatron-LM CI golden values|' "$configured" \
    >"$room/as_configured.csv"
"$program" validate "$room"/*.csv -q --residuals "$room/residuals" >/dev/null
cat "$room/residuals"
