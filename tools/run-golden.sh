#!/bin/sh
# Runs one file of golden command tests:  tools/run-golden.sh PROGRAM TEST.t
#
# Called from the source root. Each command runs in one temporary folder that holds a
# copy of tests/cli/data and has PROGRAM as galvatron-sim on its PATH. A test file is
# lines that begin with
#   #        a comment (as are blank lines)
#   $ CMD    a command for sh; what follows is what is expected of it:
#   > TEXT   this line on standard output       2> TEXT   on standard error
#   ~ ERE    a line that matches                2~ ERE    on standard error
#   ...      any number of lines                2...      on standard error
#   ? N      the exit status (0 when not said)
# Lines are expected in that order and no others: a command without any of them must
# print nothing.
set -u
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") || exit 1
test=$2
room=$(mktemp -d) || exit 1
trap 'chmod -R u+w "$room"; rm -rf "$room"' EXIT
mkdir "$room/bin" "$room/work" "$room/expect" || exit 1
ln -s "$program" "$room/bin/galvatron-sim"
[ ! -d tests/cli/data ] || cp -R tests/cli/data/. "$room/work"

PATH=$room/bin:$PATH
HOME=$room/work
LC_ALL=C.UTF-8
export PATH HOME LC_ALL
unset COLUMNS NO_COLOR TERM LANG LC_CTYPE CDPATH

# Compares expected lines (first file: "> text", "~ ere" or "...") with actual ones.
cat >"$room/match.awk" <<'AWK'
FILENAME == ARGV[1] { n++; kind[n] = substr($0, 1, 1); text[n] = substr($0, 3); next }
{ m++; line[m] = $0 }
function fits(i, j,    k) {
    if (i > n) {
        return j > m
    }
    if (kind[i] == ".") {
        for (k = j; k <= m + 1; k++) {
            if (fits(i + 1, k)) {
                return 1
            }
        }
        return 0
    }
    if (j > m || (kind[i] == ">" ? line[j] != text[i] : line[j] !~ text[i])) {
        if (i + j > deepest) {
            deepest = i + j
            want = text[i]
            got = j > m ? "(end)" : line[j]
        }
        return 0
    }
    return fits(i + 1, j + 1)
}
END {
    if (!fits(1, 1)) {
        if (want != "" || got != "") {
            printf "  expected  %s\n  found     %s\n", want, got
        } else {
            printf "  more lines than expected, from: %s\n", line[n + 1]
        }
        exit 1
    }
}
AWK

failed=0
number=0
command=
began=0

check() {
    [ -n "$command" ] || return 0
    (cd "$room/work" && exec sh -c "$command") >"$room/out" 2>"$room/err" </dev/null
    status=$?
    why=
    [ "$status" -eq "$want_status" ] || why="  exit status $status, expected $want_status
"
    for stream in out err; do
        found=$(awk -f "$room/match.awk" "$room/expect/$stream" "$room/$stream") ||
            why="$why  on std$stream
$found
"
    done
    if [ -n "$why" ]; then
        failed=$((failed + 1))
        printf '%s:%d: $ %s\n%s' "$test" "$began" "$command" "$why"
        [ ! -s "$room/err" ] || sed 's/^/  stderr: /' "$room/err" | head -n 5
    fi
}

begin() {
    command=$1
    began=$number
    want_status=0
    : >"$room/expect/out"
    : >"$room/expect/err"
}

while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    case $line in
    '$ '*) check; begin "${line#??}" ;;
    '? '*) want_status=${line#??} ;;
    '>'* | '~ '*) printf '%s\n' "$line" >>"$room/expect/out" ;;
    '2>'* | '2~ '*) printf '%s\n' "${line#?}" >>"$room/expect/err" ;;
    '...') printf '...\n' >>"$room/expect/out" ;;
    '2...') printf '...\n' >>"$room/expect/err" ;;
    '' | '#'*) ;;
    *) printf '%s:%d: not a line of a test: %s\n' "$test" "$number" "$line"; failed=1 ;;
    esac
done <"$test"
check
[ "$failed" -eq 0 ]
