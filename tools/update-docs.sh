#!/bin/sh
# Runs the commands that README.md shows and puts their output back into it, so that what
# it shows is what the program prints.
#   tools/update-docs.sh PROGRAM            rewrite
#   tools/update-docs.sh PROGRAM --check    say whether it would change (exit 1)
# A block begins with the line  <!-- output of: COMMAND -->  and is the indented text up to
# <!-- end -->. Wall-clock times differ from run to run and are not compared.
set -eu
program=$(cd "$(dirname "$1")" && pwd)
mode=${2-write}
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
PATH=$program:$PATH
LC_ALL=C.UTF-8
export PATH LC_ALL
unset COLUMNS
: >"$room/new"
skip=
while IFS= read -r line; do
    case $line in
    '<!-- output of: '*)
        command=${line#'<!-- output of: '}
        command=${command%' -->'}
        # shellcheck disable=SC2016
        {
            printf '%s\n' "$line"
            printf '\n    $ %s\n' "$command"
            sh -c "$command" 2>/dev/null | sed 's/^/    /; s/ *$//'
            printf '\n'
        } >>"$room/new"
        skip=1
        ;;
    '<!-- end -->')
        skip=
        printf '%s\n' "$line" >>"$room/new"
        ;;
    *)
        [ -n "$skip" ] || printf '%s\n' "$line" >>"$room/new"
        ;;
    esac
done <README.md
plain() {
    sed -E 's/[0-9.]+ (m?s) · seed/T \1 · seed/' "$1"
}
if [ "$mode" = --check ]; then
    plain README.md >"$room/a"
    plain "$room/new" >"$room/b"
    diff -u "$room/a" "$room/b" || {
        echo 'README.md shows other output than the program: make docs' >&2
        exit 1
    }
    echo '  output shown in README.md      passed'
else
    cp "$room/new" README.md
fi
