#!/bin/sh
# Runs test programs and golden command tests and adds up their counts.
#   tools/run-tests.sh [--program PATH] TEST-PROGRAM... [DIRECTORY-OF-.t-FILES]
# A test program "mpi:N:PATH[,ARGUMENT...]" is started by mpirun on N ranks, "tcp:N:..." by
# tools/run-ranks.sh; it ends with Criterion's closing line, and three minutes are all it may take.
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
# Leaks of the MPI library itself are not ours; messages stay on this machine.
export LSAN_OPTIONS="suppressions=$PWD/tools/lsan-mpi.supp:print_suppressions=0${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_hwloc_base_binding_policy=none
export OPENBLAS_NUM_THREADS=1 # its threads wait in a loop at first
export OMPI_MCA_mpi_yield_when_idle=1 # ranks that wait leave the cores to the others

count() { # count WORD: the number after "WORD:" in Criterion's closing line
    sed -n "s/.*Synthesis:.*$1: \([0-9]*\).*/\1/p" "$log" | tail -n 1
}

# Did a leak pass through code other than Criterion's own (which forgets a few bytes of a
# run of many processes)? Such a one is ours.
ours_leaked() {
    awk '/(Direct|Indirect) leak of/ { inside = 1; ours = 0; next }
        inside && /^ *#[1-9]/ && !/libcriterion|libc\.so|ld-linux/ { ours = 1 }
        inside && /^ *$/ { n += ours; inside = 0 }
        END { exit !(n + (inside && ours) > 0) }' "$log"
}

for item in "$@"; do
    if [ -d "$item" ]; then
        # side by side, as many as there are cores; each leaves its output, and OK
        logs=$(mktemp -d) || exit 1
        # shellcheck disable=SC2016 # it is the inner shell that expands
        find "$item" -maxdepth 1 -name '*.t' | sort |
            xargs -P "$(nproc)" -I '{}' sh -c 'log=$2/$(basename "$3")
                tools/run-golden.sh "$1" "$3" >"$log" 2>&1 && : >"$log.ok"' \
                sh "$program" "$logs" '{}'
        for test in "$item"/*.t; do
            [ -e "$test" ] || continue
            if [ -e "$logs/$(basename "$test").ok" ]; then
                passed=$((passed + 1))
            else
                failed=$((failed + 1))
                printf 'FAIL %s\n' "$test"
                cat "$logs/$(basename "$test")"
            fi
        done
        rm -rf "$logs"
        continue
    fi
    name=$(basename "$item")
    case $item in
    mpi:*)
        ranks=${item#mpi:}
        ranks=${ranks%%:*}
        name="$name on $ranks ranks"
        # shellcheck disable=SC2046 # arguments are words
        timeout 180 mpirun --oversubscribe --allow-run-as-root -np "$ranks" \
            $(printf '%s' "${item#mpi:*:}" | tr , ' ') >"$log" 2>&1
        ;;
    tcp:*)
        ranks=${item#tcp:}
        ranks=${ranks%%:*}
        name="$name on $ranks ranks, TCP"
        # shellcheck disable=SC2046 # arguments are words
        timeout 180 tools/run-ranks.sh "$ranks" \
            $(printf '%s' "${item#tcp:*:}" | tr , ' ') >"$log" 2>&1
        ;;
    *) "$item" --color=never >"$log" 2>&1 ;;
    esac
    status=$?
    tested=$(count Tested)
    ok=$(count Passing)
    bad=$(count Failing)
    if grep -q 'LeakSanitizer: detected' "$log" && [ "${bad:-1}" -eq 0 ] &&
        [ "$(count Crashing)" = 0 ] && ! ours_leaked; then
        sed -i '/LeakSanitizer: detected/d' "$log"
        status=0
    fi
    if [ "$status" -ne 0 ] || [ "${tested:-0}" -eq 0 ] || grep -q 'LeakSanitizer: detected' "$log"; then
        cat "$log"
        [ "${tested:-0}" -ne 0 ] || printf '%s: no test ran\n' "$item"
        [ "${bad:-0}" -ne 0 ] || bad=1
    fi
    printf '  %-28s %4d passed, %d failed\n' "$name" "${ok:-0}" "${bad:-0}"
    passed=$((passed + ${ok:-0}))
    failed=$((failed + ${bad:-0}))
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
