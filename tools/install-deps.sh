#!/bin/sh
# Installs the Debian packages that are missing: `build` for the program, `test` (the
# default) for the tests too. Does nothing, and needs no rights, when all are there.
set -eu
packages='build-essential pkg-config libgsl-dev libcsv-dev libcairo2-dev libjansson-dev
    libyaml-dev fonts-dejavu-core'
if [ "${1-test}" = test ]; then
    packages="$packages libcriterion-dev jq libopenmpi-dev openmpi-bin libopenblas-dev"
fi
missing=
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
[ -n "$missing" ] || exit 0
as_root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "these packages are missing; install them as root:$missing" >&2
        exit 1
    }
    as_root=sudo
fi
echo "installing:$missing"
$as_root apt-get update -q >/dev/null
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -q --no-install-recommends \
    $missing >/dev/null
