#!/bin/sh
# Runs test programs and golden command tests and adds up their counts.
#   tools/run-tests.sh [--program PATH] TEST-PROGRAM... [DIRECTORY-OF-.t-FILES]
# A test program "mpi:N:PATH[,ARGUMENT...]" is started by mpirun on N ranks, "tcp:N:..." by
# tools/run-ranks.sh; it ends with Criterion's closing line, and three minutes are all it may take.
# They run side by side, as many as there are cores, in the order given: the longest first.
# Fails when a test fails, when a program ran no test, and when a leak was reported
# (Criterion itself lets leaks and zero tests pass). Ends with "N passed, N failed".
set -u

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

say() { # say NAME PASSED FAILED
    printf '  %-28s %4d passed, %d failed\n' "$1" "$2" "$3"
    printf '%d %d\n' "$2" "$3" >"$counts"
}

run_program() { # run_program ITEM: says what failed, then its name and counts
    name=$(basename "$1")
    case $1 in
    mpi:*)
        ranks=${1#mpi:}
        ranks=${ranks%%:*}
        name="$name on $ranks ranks"
        # shellcheck disable=SC2046 # arguments are words
        timeout 180 mpirun --oversubscribe --allow-run-as-root -np "$ranks" \
            $(printf '%s' "${1#mpi:*:}" | tr , ' ') >"$log" 2>&1
        ;;
    tcp:*)
        ranks=${1#tcp:}
        ranks=${ranks%%:*}
        name="$name on $ranks ranks, TCP"
        # shellcheck disable=SC2046 # arguments are words
        timeout 180 tools/run-ranks.sh "$ranks" \
            $(printf '%s' "${1#tcp:*:}" | tr , ' ') >"$log" 2>&1
        ;;
    *) "$1" --color=never >"$log" 2>&1 ;;
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
        [ "${tested:-0}" -ne 0 ] || printf '%s: no test ran\n' "$1"
        [ "${bad:-0}" -ne 0 ] || bad=1
    fi
    say "$name" "${ok:-0}" "${bad:-0}"
}

run_golden() { # run_golden PROGRAM FILE
    if tools/run-golden.sh "$1" "$2" >"$log" 2>&1; then
        say "$(basename "$2")" 1 0
    else
        printf 'FAIL %s\n' "$2"
        cat "$log"
        say "$(basename "$2")" 0 1
    fi
}

if [ "${1-}" = --one ]; then # --one FOLDER NUMBER ITEM PROGRAM: leaves NUMBER.counts there
    log=$2/$3.log
    counts=$2/$3.counts
    case $4 in
    *.t) run_golden "$5" "$4" ;;
    *) run_program "$4" ;;
    esac >"$2/$3.said" 2>&1
    exec cat "$2/$3.said" # at once, so that what others say is not in between
fi

program=
if [ "${1-}" = --program ]; then
    program=$2
    shift 2
fi
logs=$(mktemp -d) || exit 1
trap 'rm -rf "$logs"' EXIT
# Leaks of the MPI library itself are not ours; messages stay on this machine.
export LSAN_OPTIONS="suppressions=$PWD/tools/lsan-mpi.supp:print_suppressions=0${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_hwloc_base_binding_policy=none
export OPENBLAS_NUM_THREADS=1 # its threads wait in a loop at first
export OMPI_MCA_mpi_yield_when_idle=1 # ranks that wait leave the cores to the others

for item in "$@"; do
    if [ -d "$item" ]; then
        find "$item" -maxdepth 1 -name '*.t' | sort
    else
        printf '%s\n' "$item"
    fi
done >"$logs/items"
# shellcheck disable=SC2016 # it is the inner shell that expands
awk '{ print NR, $0 }' "$logs/items" |
    xargs -P "$(nproc)" -L 1 sh -c '"$0" --one "$1" "$3" "$4" "$2"' "$0" "$logs" "$program"
n=$(grep -c . "$logs/items")
cat "$logs"/*.counts | awk -v n="$n" '
    { passed += $1; failed += $2 }
    END {
        failed += n - NR # what ended without a word
        printf "%d passed, %d failed\n", passed, failed
        exit !(failed == 0 && passed > 0)
    }'
