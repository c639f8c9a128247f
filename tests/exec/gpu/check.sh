#!/bin/sh
# All that one machine with a device can tell, in one command (`make gpu-check`):
#   sh tests/exec/gpu/check.sh BUILD [FOLDER]
# First what is quick and says most: every function against the host backend, training,
# rates; then plans of one rank against one rank alone; the same of two ranks that share
# the device (NCCL may refuse); a profile of layers of Llama 2 7B's size, the iteration
# predicted from it beside the measured, with pictures; last the same layers in PyTorch,
# where that is found. Every step has a time limit and a file of its own in FOLDER
# (gpu-check.out), is told in one line, and does not keep the next from running. The exit
# status is that of the checks, not of the measurements.
set -u
build=$1
out=${2:-gpu-check.out}
here=$(dirname "$0")
mkdir -p "$out"
failed=0
if [ "$(id -u)" = 0 ]; then # Open MPI asks for it
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

step() { # step NAME SECONDS COMMAND...: its output goes to FOLDER/NAME.txt
    name=$1
    seconds=$2
    shift 2
    begin=$(date +%s)
    timeout -k 10 "$seconds" "$@" >"$out/$name.txt" 2>&1 </dev/null
    status=$?
    case $status in
    0) result=ok ;;
    124 | 137) result="ended after $seconds s" ;;
    *) result="FAILED ($status)" ;;
    esac
    printf '%-14s %-20s %4d s   %s\n' "$name" "$result" $(($(date +%s) - begin)) "$out/$name.txt"
    return "$status"
}

check() {
    step "$@" || {
        failed=1
        grep -E '^FAIL|rror|emulated' "$out/$1.txt" | head -n 5
    }
}

check functions 600 "$build/tests/gpu-check"
grep -E "^rate|^gpu-check:" "$out/functions.txt"
if grep -q skipped "$out/functions.txt"; then
    exit 0
fi
if grep -q cuDNN "$out/functions.txt"; then # the same with our own kernels of attention
    check own-attention 300 env GALV_ATTENTION=own "$build/tests/gpu-check"
    grep -E "^rate  (attention|4 layers)" "$out/own-attention.txt"
fi
check plans-1 300 "$build/tests/exec-matrix" --cuda
export GALV_SHARE_DEVICE=1
step shared-2 120 mpirun --oversubscribe -np 2 "$build/tests/gpu-check" --small &&
    check plans-2 300 mpirun --oversubscribe -np 2 "$build/tests/exec-matrix" --cuda
unset GALV_SHARE_DEVICE

cat >"$out/model.json" <<EOF
{
  "schema": "galvatron-sim/model", "schema_version": "1.0", "name": "llama-2-7b-stack",
  "family": "llama", "kind": "decoder", "num_layers": 4, "seq_length": 4096,
  "hidden_size": 4096, "ffn_hidden_size": 11008, "num_attention_heads": 32,
  "num_query_groups": 32, "gated_linear_unit": true, "normalization": "rmsnorm",
  "vocab_size": 32000
}
EOF
simulator=$build/galvatron-sim
executor=$build/galvatron-exec
simulate() {
    "$simulator" simulate -m "$out/model.json" -c "$out/cluster.json" --precision bf16 \
        --software other --global-batch 4 --micro-batch 1 --recompute none --tp 1 --pp 1 \
        --zero 0 --profile "$out/profile.csv" -o "$out/plan"
}
if [ -x "$simulator" ] && [ -x "$executor" ]; then
    step profile 300 "$executor" profile -m "$out/model.json" --micro-batch-size 1 \
        --backend cuda -o "$out" -q &&
        simulate >"$out/predicted.txt" 2>&1 &&
        step run 120 "$executor" run "$out/plan/plan.json" --steps 20 --backend cuda \
            -o "$out/run" &&
        step validate 60 "$simulator" validate "$out/plan/plan.json" \
            "$out/run/timeline.csv" --profile "$out/profile.csv" &&
        cat "$out/validate.txt" &&
        step picture 60 "$simulator" render "$out/run/timeline.csv" -o "$out/timeline.png"
fi
if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
    step torch 180 python3 "$here/stack.py" && cat "$out/torch.txt"
else
    echo 'torch          not found: no comparison'
fi
exit "$failed"
