#!/bin/sh
# Packs what gpu-check needs, for a machine with a device that has none of the packages
# and no network: the programs, the libraries that they need beside CUDA's and the
# system's, and the scripts.
#   tools/gpu-bundle.sh BUILD    leaves BUILD/gpu-check.tar.gz
# There:  tar xzf gpu-check.tar.gz && sh gpu-check/check.sh gpu-check [FOLDER]
set -eu
build=$1
to=$build/gpu-check
rm -rf "$to" "$to.tar.gz"
mkdir -p "$to/tests" "$to/lib"
cp "$build/galvatron-exec" "$to/"
[ ! -x "$build/galvatron-sim" ] || cp "$build/galvatron-sim" "$to/"
cp "$build/tests/gpu-check" "$build/tests/exec-matrix" "$to/tests/"
cp tests/exec/gpu/check.sh tests/exec/gpu/stack.py tools/run-ranks.sh "$to/"
ldd "$to"/galvatron-* "$to"/tests/* | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|libcudart|libcublasLt|libnccl|libcudnn|libcuda)\.so' |
    while read -r library; do
        cp -L "$library" "$to/lib/"
    done
strip --strip-debug "$to"/galvatron-* "$to"/tests/*
tar -C "$build" -czf "$to.tar.gz" gpu-check
rm -rf "$to"
printf '  %s: %s KiB\n' "$to.tar.gz" "$(du -k "$to.tar.gz" | cut -f 1)"
