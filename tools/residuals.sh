#!/bin/sh
# What intervals are made of, anew:
#   sh tools/residuals.sh build/galvatron-sim CASES_DIR > accuracy/data/residuals.csv
# CASES_DIR holds tables of cases (docs/formats.md), taken as their sources state them
# (tools/as_configured.sh).
set -eu
program=$1
cases=$2
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
sh tools/as_configured.sh "$cases" "$room/cases"
"$program" validate "$room"/cases/*.csv -q --residuals "$room/residuals" >/dev/null
cat "$room/residuals"
