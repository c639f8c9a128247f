# simulate, explain, compare, render: one plan.

$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 4 --pp 2
> galvatron-sim 0.1.0   llama3-8b on 1 x dgx-h100
...
~ ^Plan        tp4 pp2 dp1 mb1 sp$
...
> stage  blocks  busy  peak  params  grads  optim  activ  buffers  context
...

$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 4 --pp 2 --json | jq -e '.schema == "galvatron-sim/result" and .fits and (.stages | length) == 2 and (.plan | type) == "object"'
> true

$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 4 --pp 2 --csv | wc -l | tr -d ' '
> 2

# What is not said: dp takes what is left, with ZeRO-1.
$ galvatron-sim simulate -m llama3-8b -n 2 --global-batch 32 --tp 4 | grep ^Plan
> Plan        tp4 dp4 mb1 zero1 sp

# A plan that does not fit is simulated all the same.
$ galvatron-sim simulate -n 1 --tp 8 --global-batch 32 | grep 'memory, worst'
~ DOES NOT FIT$

$ galvatron-sim simulate -n 1 --tp 8 --global-batch 32 --json | jq .fits
> false

$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 2 --pp 4 -o a -q >/dev/null; ls a
> plan.json
> result.json
> timeline.csv
> timeline.png
> trace.json

$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 2 --pp 2 --program | head -n 3 | wc -l | tr -d ' '
> 3

# Options over the file: a faster network never makes it slower, another GPU is taken.
$ galvatron-sim simulate a/plan.json --set intra.bandwidth=2x --json >fast.json; jq -e --slurpfile r a/result.json '.iteration_time_s < $r[0].iteration_time_s' fast.json
> true

$ galvatron-sim simulate a/plan.json --gpu a100-sxm-80gb | sed -n 2p | cut -c1-20
> 8 GPUs a100-sxm-80gb

$ galvatron-sim simulate a/plan.json --tp 8
2> galvatron-sim: error: --tp and a plan file: the plan says that itself
2>   leave out one of the two
? 2

$ galvatron-sim simulate a/plan.json -n 2
2~ ^galvatron-sim: error: 
2...
? 2

$ galvatron-sim simulate - --json <a/plan.json | jq .iteration_time_s >x; jq .iteration_time_s a/result.json | cmp x -

# What selective recomputation makes again is written out, read again, and holds less.
$ galvatron-sim simulate -m deepseek-v3 -n 64 --global-batch 512 --pp 8 --ep 64 --recompute selective --recompute-modules moe_act,mla_up_proj -o m -q >/dev/null; jq -c .workload.recompute_modules m/plan.json
> ["mla_up_proj","moe_act"]

$ galvatron-sim simulate m/plan.json --json | jq -e --slurpfile r m/result.json '.peak_memory_bytes == $r[0].peak_memory_bytes'
> true

$ jq '.workload.recompute_modules = ["core_attn"]' m/plan.json | galvatron-sim simulate - --json | jq -e --slurpfile r m/result.json '.peak_memory_bytes > $r[0].peak_memory_bytes and .iteration_time_s < $r[0].iteration_time_s'
> true

$ jq '.workload.recompute_modules = ["moe_akt"]' m/plan.json | galvatron-sim simulate -
2~ unknown module 'moe_akt'
2~ did you mean 'moe_act'
? 4

# What was held when a stage was fullest: the parts of the buffers add up.
$ jq -e '[.stages[] | .memory.buffers - (.peak | .gathered_parameter_bytes + .logits_bytes + .workspace_bytes + .standing_buffer_bytes) | fabs < 16] | all' a/result.json
> true

# explain
$ galvatron-sim explain a/plan.json
...
~ is the fullest: .* of .*, most of it
~ ^  in [a-z-]+ of micro-batch [0-9]+, layers? [0-9-]+, at 
~ ^  holding activations of [0-9]+ micro-batch
...
~ ^  [0-9.]+ GiB of it handed out by the allocator; nvidia-smi shows [0-9.]+ GiB$
...
> critical path: the chain of operations that sets the end
~ ^  its time         compute
...
> stage  on path  idle  warm-up  upstream  downstream  cool-down  message  step
...
~ ^largest terms on stage
...
> the same degrees, another choice
...
~ ^--recompute full +.* fits$
...
~ --set inter.latency=0.5x$
> 
> against the best plan of this job
...

$ galvatron-sim explain a/plan.json --json | jq -e '(.terms | length) > 3 and (.what_if | length) > 3 and .terms[0].total_s >= .terms[1].total_s and ((([.critical_path.spent_s[]] | add) / .critical_path.duration_s - 1) | fabs < 1e-9)'
> true

# Blocks that are not alike: every value that they have, and how stages share them out.
$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --pp 4 -o even.json -q >/dev/null; jq '.plan | .layers = [{n_layers: 9, strategy: .layers[0].strategy}, {n_layers: 25, strategy: (.layers[0].strategy + {zero: 2})}] | .stages[0] += 1 | .stages[1] -= 1' even.json >mixed.json; galvatron-sim compare even.json mixed.json | grep -e 'zero' -e 'blocks'
~ ^~  zero +1 +1/2$
~ ^~  blocks of stages +4x8 +9 7 2x8$

# compare
$ galvatron-sim compare a/plan.json a/result.json --exit-code -q

$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 4 --pp 2 -o b.json -q >/dev/null; galvatron-sim compare a/plan.json b.json --exit-code
...
~ ^~  tp  +2  +4
...
~ ^~  step time
...
> ~ differs; both predicted
? 10

$ galvatron-sim compare a/plan.json b.json --json | jq -e '.differ and (.differences | length) > 3 and .a.fits'
> true

# render
$ galvatron-sim render a/plan.json -o t.png -q; galvatron-sim render timeline a/timeline.csv -o t2.png -q; cmp t.png t2.png

$ for k in memory breakdown; do galvatron-sim render $k a/result.json -o $k.pdf -q; head -c 4 $k.pdf; echo; done
> %PDF
> %PDF

$ galvatron-sim render a/result.json --ascii | tail -n 1
~ F forward

$ galvatron-sim render a/timeline.csv --ascii | awk 'length($0) > 90'

$ galvatron-sim render a/timeline.csv -o trace.json -q; jq -e '.traceEvents | length > 10' trace.json
> true

$ galvatron-sim render a/timeline.csv -o again.csv -q; cmp a/timeline.csv again.csv

$ galvatron-sim render a/timeline.csv --window 0s..10ms --scale 1 --width 800 -o w.png
2> wrote w.png

$ galvatron-sim render a/plan.json b.json -o two.svg; head -c 5 two.svg
> <svg 
2> wrote two.svg

$ galvatron-sim render memory a/plan.json b.json -o two.svg
2> galvatron-sim: error: 'render memory' takes one file
? 2

$ galvatron-sim render breakdown - -o breakdown.png -q <a/result.json

$ galvatron-sim render memory a/timeline.csv -o m.png
2...
? 4

$ galvatron-sim render tmeline a/plan.json -o a.png
2> galvatron-sim: error: unknown kind of picture 'tmeline'
2>   did you mean 'timeline'?
? 2

# Data parallelism is what is left; said aloud, it is checked.
$ galvatron-sim simulate -n 2 -m llama3-8b --tp 4 --pp 2 --dp 2 --json | jq .plan.layers[0].strategy.dp
> 2
$ galvatron-sim simulate -n 2 -m llama3-8b --tp 4 --pp 2 --dp 8
2> galvatron-sim: error: --dp 8: dp is 2: 16 GPUs / (tp 4 x cp 1 x pp 2)
? 2
$ galvatron-sim plan -n 2 -m llama3-8b --dp 4 --global-batch 64 --json | jq -e '[.plans[].plan.layers[0].strategy.dp] | unique == [4]'
> true

# What is hidden is hidden: everything in turn is slower.
$ for o in none grad-reduce,p2p grad-reduce,param-gather,p2p; do galvatron-sim simulate -n 4 -m llama3-8b --tp 4 --pp 2 --global-batch 64 --overlap $o --json | jq .iteration_time_s; done >times; sort -rg times | cmp - times && sort -u times | wc -l | tr -d ' '
> 3
$ galvatron-sim simulate -n 1 -m llama3-8b --overlap tp-com
2> galvatron-sim: error: --overlap tp-com: unknown word 'tp-com'
2>   did you mean 'tp-comm'?
? 2

# dp 8, pp 8 on 8 nodes of 8: the order of ranks decides what crosses nodes.
$ for o in tp-cp-dp-pp tp-cp-pp-dp; do galvatron-sim simulate -m llama2-7b -n 8 --pp 8 --global-batch 512 --rank-order $o --json >$o.json; galvatron-sim simulate $o.json --json | jq .iteration_time_s | tee t; jq .iteration_time_s $o.json | cmp - t; done | sort -u | wc -l | tr -d ' '
> 2

$ galvatron-sim simulate -m llama2-7b -n 8 --pp 8 --global-batch 512 --rank-order tp-cp-pp-dp --all-ranks
2~ ^galvatron-sim: error: ranks are told apart in the order tp-cp-dp-pp only
? 2

$ galvatron-sim simulate -n 8 --pp 8 --rank-order any
2~ ^galvatron-sim: error: --rank-order any: one plan takes one value
2...
? 2

# Without a common optimizer step zb-2p costs less than with one, and 1f1b no less; the
# plan remembers it, and the parts still add up.
$ for s in zb-2p 1f1b; do for o in p2p p2p,step; do galvatron-sim simulate -m llama3-8b -n 1 --tp 2 --pp 4 --zero 0 --global-batch 24 --schedule $s --overlap $o --json >$s-$o.json; done; jq -s -c '[.[1].iteration_time_s / .[0].iteration_time_s | . < 0.98, . > 0.95 and . < 1.001] + [.[1].plan.overlap.step, (([.[1].breakdown_s[]] | add) / .[1].iteration_time_s - 1 | fabs < 1e-12)]' $s-p2p.json $s-p2p,step.json; galvatron-sim simulate $s-p2p,step.json --json | jq .iteration_time_s >again; jq .iteration_time_s $s-p2p,step.json | cmp again -; done
> [true,true,true,true]
> [false,true,true,true]

$ galvatron-sim plan -n 1 --overlap step
2> galvatron-sim: error: --overlap step: a search is of plans with a common optimizer step
2>   steps that overlap, of one plan: galvatron-sim simulate
? 2

$ galvatron-sim simulate -m llama3-8b -n 1 --pp 2 --overlap step --all-ranks
2> galvatron-sim: error: every rank by itself takes a common optimizer step: no overlap of steps
? 2

$ galvatron-sim simulate -m llama3-8b -n 1 --pp 4 --vpp 2 --schedule interleaved --group-size 8 --global-batch 64 --json | jq .plan.group_size
> 8

$ galvatron-sim simulate -m llama3-8b -n 1 --pp 4 --group-size 8 --global-batch 64
2> galvatron-sim: error: --group-size is of schedule interleaved, not of 1f1b
? 2

# A cluster that was changed says so.
$ galvatron-sim simulate -m llama3-8b -c dgx-h100 -n 1 --tp 8 --global-batch 8 --set inter.bandwidth=2x --set device.flops=2x | sed -n 3p
> changed: inter.bandwidth=2x, device.flops=2x
