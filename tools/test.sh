#!/bin/sh
# From a fresh machine to passed tests: installs what is missing, builds, and runs the
# whole suite in the release build, under the address and undefined-behaviour
# sanitizers, and what runs in threads under the thread sanitizer.
set -eu
cd "$(dirname "$0")/.."
tools/install-deps.sh test
jobs=$(nproc)
echo '== thread sanitizer'
make -s -j"$jobs" tsan-test
echo '== address and undefined-behaviour sanitizers'
make -s -j"$jobs" asan-test
tools/check-includes.sh
echo '== release build'
make -s -j"$jobs" test-install
make -s docs-check
make -s -j"$jobs" test
