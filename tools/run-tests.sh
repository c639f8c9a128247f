#!/bin/sh
# Runs test programs and golden command tests and adds up their counts.
#   tools/run-tests.sh [--program PATH] TEST-PROGRAM... [DIRECTORY-OF-.t-FILES]
# Fails when a test fails, when a program ran no test, and when a leak was reported
# (Criterion itself lets leaks and zero tests pass). Ends with "N passed, N failed".
set -u
program=
if [ "${1-}" = --program ]; then
    program=$2
    shift 2
fi
passed=0
failed=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

count() { # count WORD: the number after "WORD:" in Criterion's closing line
    sed -n "s/.*Synthesis:.*$1: \([0-9]*\).*/\1/p" "$log" | tail -n 1
}

for item in "$@"; do
    if [ -d "$item" ]; then
        for test in "$item"/*.t; do
            [ -e "$test" ] || continue
            if tools/run-golden.sh "$program" "$test" >"$log" 2>&1; then
                passed=$((passed + 1))
            else
                failed=$((failed + 1))
                printf 'FAIL %s\n' "$test"
                cat "$log"
            fi
        done
        continue
    fi
    "$item" --color=never >"$log" 2>&1
    status=$?
    tested=$(count Tested)
    ok=$(count Passing)
    bad=$(count Failing)
    if [ "$status" -ne 0 ] || [ "${tested:-0}" -eq 0 ] || grep -q 'LeakSanitizer: detected' "$log"; then
        cat "$log"
        [ "${tested:-0}" -ne 0 ] || printf '%s: no test ran\n' "$item"
        [ "${bad:-0}" -ne 0 ] || bad=1
    fi
    printf '  %-28s %4d passed, %d failed\n' "$(basename "$item")" "${ok:-0}" "${bad:-0}"
    passed=$((passed + ${ok:-0}))
    failed=$((failed + ${bad:-0}))
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
