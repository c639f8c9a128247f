#!/bin/sh
# From a fresh machine to the main job: installs what is missing, builds, plans 64 nodes
# from built-in data and leaves the report, with its timeline picture, in report/.
set -eu
cd "$(dirname "$0")/.."
tools/install-deps.sh build
make -j"$(nproc)" all
build/galvatron-sim --nodes 64 -o report
echo
echo "the picture of the best plan: $PWD/report/timeline.png"
