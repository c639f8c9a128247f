#!/bin/sh
# Installs into a folder of its own, builds the program of docs/library.md against the
# installed headers and libraries, shared and static, and runs it; then uninstalls and
# holds that nothing is left.
set -eu
where=$(mktemp -d)
trap 'rm -rf "$where"' EXIT
make -s --no-print-directory install PREFIX=/opt/galvatron DESTDIR="$where" "$@"
prefix=$where/opt/galvatron
# shellcheck disable=SC2016
sed -n '/^```c$/,/^```$/p' docs/library.md | sed '1d;$d' >"$where/plan64.c"
flags=$(PKG_CONFIG_SYSROOT_DIR=$where PKG_CONFIG_PATH=$prefix/lib/pkgconfig \
    pkg-config --cflags --libs galvatron)
# shellcheck disable=SC2086
cc -std=c11 -Wall -Werror "$where/plan64.c" $flags -o "$where/shared"
LD_LIBRARY_PATH=$prefix/lib "$where/shared" >"$where/shared.out"
# shellcheck disable=SC2046
cc -std=c11 "$where/plan64.c" -I"$prefix/include/galvatron" "$prefix/lib/libgalvatron.a" \
    $(pkg-config --libs gsl cairo jansson yaml-0.1) -lcsv -lm -pthread -o "$where/static"
"$where/static" >"$where/static.out"
cmp "$where/shared.out" "$where/static.out"
grep -q 'tp[0-9].* s$' "$where/shared.out"
"$prefix/bin/galvatron-sim" version >/dev/null
make -s --no-print-directory uninstall PREFIX=/opt/galvatron DESTDIR="$where"
left=$(find "$prefix" -type f)
if [ -n "$left" ]; then
    printf 'uninstall left:\n%s\n' "$left" >&2
    exit 1
fi
echo '  install and library example    passed'
