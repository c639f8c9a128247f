#!/bin/sh
# All that one machine with a device can tell, in one command (`make gpu-check`):
#   sh tests/exec/gpu/check.sh BUILD [FOLDER]
# First what says most: every function against the host backend, training, rates; a
# profile of layers of Llama 2 7B's size, the iteration predicted from it beside the
# measured; the same layers in PyTorch, where that is found. Then plans of one rank
# against one rank alone, our own attention where cuDNN attends, and plans of two ranks
# that share the device (NCCL may refuse). Every step has a time limit and a file of its
# own in FOLDER (gpu-check.out), is told in one line, and does not keep the next from
# running; what the time for all (GALV_CHECK_SECONDS, 570) has no room for is left out.
# FOLDER/summary.txt has all that is printed. The exit status is that of the checks, not
# of the measurements.
#
# GALV_CHECK_MODEL=FILE takes another model, GALV_CHECK_WORDS=--small is for gpu-check and
# GALV_CHECK_PLANS for the plans: to rehearse on a device that is slow.
# shellcheck disable=SC2086,SC2013 # $run and words of the user are many words
set -u
build=$1
out=${2:-gpu-check.out}
here=$(cd "$(dirname "$0")" && pwd)
total=${GALV_CHECK_SECONDS:-570}
begun=$(date +%s)
failed=0
mkdir -p "$out" || exit 1
: >"$out/summary.txt"

say() {
    printf '%s\n' "$*" | tee -a "$out/summary.txt"
}

step() { # step NAME SECONDS COMMAND...: its output goes to FOLDER/NAME.txt
    name=$1
    seconds=$2
    shift 2
    now=$(date +%s)
    left=$((total - (now - begun)))
    if [ "$left" -lt 15 ]; then
        say "$(printf '%-14s %-20s' "$name" 'left out: no time')"
        echo 'left out: no time' >"$out/$name.txt"
        return 125
    fi
    [ "$seconds" -le "$left" ] || seconds=$left
    timeout -k 5 "$seconds" "$@" >"$out/$name.txt" 2>&1 </dev/null
    status=$?
    case $status in
    0) result=ok ;;
    124 | 137) result="ended after $seconds s" ;;
    *) result="FAILED ($status)" ;;
    esac
    say "$(printf '%-14s %-20s %4d s   %s' "$name" "$result" $(($(date +%s) - now)) "$out/$name.txt")"
    [ "$status" = 0 ] || tail -n 3 "$out/$name.txt" | sed 's/^/    /' | tee -a "$out/summary.txt"
    return "$status"
}

check() {
    step "$@"
    status=$?
    if [ "$status" != 0 ] && [ "$status" != 125 ]; then
        failed=1
        grep -E '^FAIL' "$out/$1.txt" | head -n 5 | tee -a "$out/summary.txt"
    fi
    return "$status"
}

tell() { # tell PATTERN NAME: lines of a step's file
    grep -E "$1" "$out/$2.txt" | tee -a "$out/summary.txt"
}

# ---- programs and what they need ----

simulator=$build/galvatron-sim
executor=$build/galvatron-exec
checker=$build/tests/gpu-check
matrix=$build/tests/exec-matrix
ranks=$here/run-ranks.sh
[ -f "$ranks" ] || ranks=$here/../../../tools/run-ranks.sh
libraries=${LD_LIBRARY_PATH:-}
[ ! -d "$build/lib" ] || libraries=$build/lib:$libraries
# CUDA's libraries may lie where pip puts them
for name in $(LD_LIBRARY_PATH=$libraries ldd "$checker" 2>/dev/null | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p'); do
    folders="/usr/local /opt /usr/lib"
    site=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null)
    # shellcheck disable=SC2086,SC2013 # folders are words
    found=$(find ${site:+"$site/nvidia"} $folders -name "$name" 2>/dev/null | head -n 1)
    if [ -n "$found" ]; then
        libraries=$libraries:$(dirname "$found")
    else
        say "not found: $name, which $checker needs"
    fi
done
run="env LD_LIBRARY_PATH=$libraries OPENBLAS_NUM_THREADS=$(nproc)"

{
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,power.limit,ecc.mode.current --format=csv
    uname -srm
    nproc
} >"$out/machine.txt" 2>&1

# ---- functions, training, rates ----

check functions 200 $run "$checker" ${GALV_CHECK_WORDS:-}
tell '^rate|^gpu-check:' functions
if grep -q 'gpu-check: skipped' "$out/functions.txt"; then
    exit 0
fi

# ---- predicted beside measured ----

model=${GALV_CHECK_MODEL:-$out/model.json}
[ -n "${GALV_CHECK_MODEL:-}" ] || cat >"$model" <<EOF
{
  "schema": "galvatron-sim/model", "schema_version": "1.0", "name": "llama-2-7b-stack",
  "family": "llama", "kind": "decoder", "num_layers": 4, "seq_length": 4096,
  "hidden_size": 4096, "ffn_hidden_size": 11008, "num_attention_heads": 32,
  "num_query_groups": 32, "gated_linear_unit": true, "normalization": "rmsnorm",
  "vocab_size": 32000
}
EOF
# Long enough that clocks are those of sustained work.
step profile 150 $run "$executor" profile -m "$model" --micro-batch-size 1 --samples 60 \
    --backend cuda -o "$out" -q
if ! $run "$simulator" --version >"$out/simulator.txt" 2>&1; then
    say "galvatron-sim does not run here, so that nothing is predicted: $(head -n 1 "$out/simulator.txt")"
elif step simulate 60 $run "$simulator" simulate -m "$model" -c "$out/cluster.json" \
    --precision bf16 --software other --global-batch 4 --micro-batch 1 --recompute none \
    --tp 1 --pp 1 --zero 0 --profile "$out/profile.csv" -o "$out/plan"; then
    step run 120 $run "$executor" run "$out/plan/plan.json" --steps 20 --backend cuda -o "$out/run"
    step validate 60 $run "$simulator" validate "$out/plan/plan.json" \
        "$out/run/timeline.csv" --profile "$out/profile.csv"
    tee -a "$out/summary.txt" <"$out/validate.txt"
    step picture 30 $run "$simulator" render "$out/run/timeline.csv" -o "$out/timeline.png"
fi

# ---- the same layers in PyTorch ----

if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    step torch 150 python3 "$here/stack.py"
    tell '^torch' torch
else
    say 'torch          not found, or it sees no device: no comparison'
fi

# ---- plans ----

check plans-1 120 $run "$matrix" --cuda ${GALV_CHECK_PLANS:-}
if grep -q cuDNN "$out/functions.txt"; then # the same with our own kernels of attention
    check own-attention 90 $run GALV_ATTENTION=own "$checker" --attention ${GALV_CHECK_WORDS:-}
    tell '^rate' own-attention
fi
shared="$run GALV_SHARE_DEVICE=1"
step shared-2 60 $shared sh "$ranks" 2 "$checker" --small &&
    check plans-2 90 $shared sh "$ranks" 2 "$matrix" --cuda tp2

# ---- in one look ----

say ''
say "$(grep -c '^ok' "$out/functions.txt") functions as on the host, $(grep -c '^FAIL' "$out/functions.txt") not; $(($(date +%s) - begun)) s in all"
if [ -s "$out/run/losses.csv" ]; then
    ours=$(awk -F, 'NR > 4 { print $4 }' "$out/run/losses.csv" | sort -g | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] }')
    tokens=$(sed -n 's/.*"seq_length": *\([0-9]*\).*/\1/p' "$model" | head -n 1)
    say "$(awk -v s="$ours" -v n="$tokens" 'BEGIN { printf "step %.2f ms, %.0f tokens/s", 1e3 * s, 4 * n / s }')"
    for torch in $(sed -n 's/^torch .*: \([0-9]*\) tokens.*/\1/p' "$out/torch.txt" 2>/dev/null); do
        say "$(awk -v s="$ours" -v n="$tokens" -v t="$torch" 'BEGIN { printf "%.3f times PyTorch'"'"'s %d tokens/s", 4 * n / s / t, t }')"
    done
    whole=$(sed -n 's/.*"peak_memory_bytes": *\([0-9.e+]*\).*/\1/p' "$out/plan/result.json" | head -n 1)
    say "$(awk -F, -v w="${whole:-0}" 'NR == 2 {
        printf "peak of memory %.3f GiB, predicted %.3f GiB (%+.1f %%)", $2 / 2^30, w / 2^30, 100 * (w / $2 - 1) }' "$out/run/memory.csv")"
fi
if [ "$failed" = 0 ]; then say 'all checks passed'; else say 'CHECKS FAILED: see above'; fi
exit "$failed"
