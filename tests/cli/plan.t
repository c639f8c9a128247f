# plan and the bare form.

# The main job, without a command, in a folder that cannot be written to.
$ mkdir room && cd room && chmod a-w . && HOME= galvatron-sim -n 8 --tp 4,8 --pp 2,4
> galvatron-sim 0.1.0   llama3-70b on 8 x dgx-h100
> 64 GPUs h100-sxm-80gb · seq 8192 · global batch 512 (4.19 M tokens) · bf16
> by default: model, global-batch, cluster
...
~ ^Best plan +(tp|pp)
...
~ ^  step time .* s   -[0-9]+ % / \+[0-9]+ %  \(90 %, from [0-9]+ like runs\)$
...
~ ^  numbers from     measured [0-9]+ %, interpolated
...
~ ^#  plan
...
~ seed 1$
~ ^proven: no 

$ galvatron-sim plan -n 8 --tp 4,8 --pp 2,4 --global-batch 128 --json | jq -e '.schema == "galvatron-sim/plans" and .plans[0].fits and .plans[0].iteration_time_s > 0 and .searched.simulated > 0 and .seed == 1 and (.plans | length) == 5 and .plans[0].rank == 1 and .config.cluster.name == "dgx-h100"'
> true

# Plans are in order, each fits, and the breakdown adds up to the step.
$ galvatron-sim -n 8 --tp 4,8 --pp 2,4 --global-batch 128 --json | jq -e '[.plans[].iteration_time_s] as $t | ($t | sort) == $t and ([.plans[].fits] | all) and ([.plans[] | (([.breakdown_s[]] | add) / .iteration_time_s - 1) | fabs < 1e-9] | all) and ([.plans[] | (([.provenance[]] | add) - 1) | fabs < 1e-9] | all)'
> true

# The number of threads changes nothing but the wall clock.
$ for j in 1 2 7; do galvatron-sim -n 4 --global-batch 64 --tp 4,8 --json -j $j | jq -S 'del(.. | .wall_s?)' | cksum; done | sort -u | wc -l | tr -d ' '
> 1

$ for j in 1 2; do galvatron-sim -n 4 --global-batch 64 --tp 4,8 --csv -j $j >csv$j; done; cmp csv1 csv2 && head -n 1 csv1 | cut -d, -f1-5
> rank,tp,cp,ep,dp

$ galvatron-sim -n 4 --global-batch 64 --tp 8 --pp 2 --top 2 --csv | wc -l | tr -d ' '
> 3

# A plan that was found is simulated to the very same time, whatever form it comes in.
$ galvatron-sim -n 4 --global-batch 64 --tp 4,8 --pp 4 -o out -q >/dev/null; ls out
> candidates.csv
> plan.json
> result.json
> timeline.png
> trace.json

$ galvatron-sim -n 4 --global-batch 64 --tp 4,8 --pp 4 --json >plans.json; for f in plans.json out/plan.json out/result.json; do galvatron-sim simulate $f --json | jq .iteration_time_s; done >times; jq '.plans[0].iteration_time_s' plans.json >>times; jq .iteration_time_s out/result.json >>times; sort -u times | wc -l | tr -d ' '
> 1

$ jq -e '.traceEvents | length > 100' out/trace.json; head -c 8 out/timeline.png | od -An -c | tr -d ' '
> true
> 211PNG\r\n032\n

$ galvatron-sim -n 4 --global-batch 64 --tp 8 --pp 4 -o p.json -q >/dev/null && jq -r .schema p.json; galvatron-sim -n 4 --global-batch 64 --tp 8 --pp 4 -o c.csv -q >/dev/null && head -n 1 c.csv | cut -d, -f1,2; galvatron-sim -n 4 --global-batch 64 --tp 8 --pp 4 -o t.svg -q >/dev/null && head -c 5 t.svg
> galvatron-sim/plan
> fate,tp
> <svg 

# A best plan that fills the memory: what it costs to keep some, and that it is kept. Whoever
# says how much may be used is not asked again.
$ galvatron-sim -n 8 --tp 4,8 --pp 2,4 | grep -A1 '^  keeps 5'
~ ^  keeps 5 % free   [0-9.]+ s \(\+[0-9.]+ %\), [0-9.]+ GiB:$
~ ^ +tp

$ galvatron-sim -n 8 --tp 4,8 --pp 2,4 --json >kept.json; jq -c '[(.margin.peak_memory_bytes <= 0.95 * .plans[0].memory_limit_bytes), (.plans[0].peak_memory_bytes > 0.95 * .plans[0].memory_limit_bytes), (.margin.iteration_time_s >= .plans[0].iteration_time_s), .margin.fits]' kept.json; galvatron-sim -n 8 --tp 4,8 --pp 2,4 --memory-limit 79GiB --json | jq .margin
> [true,true,true,true]
> null

# Nothing fits: exit 3, and on how many nodes it would.
$ galvatron-sim -n 1
2~ ^galvatron-sim: error: no plan fits
2~ it fits with --nodes [0-9]+
? 3

$ galvatron-sim -n 4 --recompute full --tp 8 --quiet >/dev/null

$ galvatron-sim -n 1 --json 2>/dev/null
? 3

# Precedence and origins.
$ galvatron-sim -n 3 --print-config
> option                value             from
> --model               llama3-70b        default
...
> --nodes               3                 command line
> --gpu                 h100-sxm-80gb     catalog
...
> --seq-length          8192              catalog
...

$ galvatron-sim -n 2 -n 3 --print-config --json | jq -c .values.nodes
> {"value":"3","from":"command line"}

$ galvatron-sim import huggingface llama-config.json -o small.json -q; galvatron-sim -m small.json --print-config --json | jq -c '.values | .model, ."seq-length"'
> {"value":"small.json","from":"command line"}
> {"value":"2048","from":"file"}

$ galvatron-sim --dry-run -n 4
...
~ ^would look at [0-9 ]+ plans
...

$ galvatron-sim --dry-run -n 4 --json | jq -e '.candidates > 0'
> true

$ galvatron-sim -m llama3-8b -n 1 --tp 1,2 --tokens 1T | grep training
~ ^  training         1.00 T tokens in .* d · .* USD at .* USD/GPU/h$

# What the nodes draw, where the catalog or the user knows: 2 nodes of 5 kW for as many
# hours as it takes.
$ galvatron-sim -m llama3-8b -n 2 --tp 1 --tokens 1T --set node_power_w=5000 | grep energy
~ ^  energy           [0-9.]+ MWh at 5.00 kW a node, its full load$
$ galvatron-sim -m llama3-8b -n 2 --tp 1 --tokens 1T --set node_power_w=0 | grep -c energy || true
> 0
$ galvatron-sim -m llama3-8b -n 2 --tp 1 --tokens 1T --set node_power_w=5000 | awk '$1 == "training" { days = $6 } $1 == "energy" { print (($2 / (2 * 0.005 * 24 * days) - 1)^2 < 0.0001) }'
> 1

# A time limit of almost nothing: interrupted, or nothing found yet.
$ galvatron-sim -n 64 --time-limit 1us >/dev/null 2>&1; echo $?
> 130

# Ctrl-C: the best so far, or nothing, but never half of it.
$ timeout --preserve-status -s INT 0.4 galvatron-sim -m gpt3-175b -n 64 --top 50 --json -j 1 >cut.json 2>/dev/null; echo $?; test ! -s cut.json || jq -e '.plans[0].rank == 1 and .searched.interrupted' cut.json >/dev/null && echo whole
> 130
> whole

# A list of batches: by tokens a second, as separate searches say.
$ for b in 32 64 128; do galvatron-sim -n 2 -m llama3-8b --uniform --global-batch $b --json | jq -c '[.plans[0].tokens_per_s, .searched.proven_optimal]'; done >apart; galvatron-sim -n 2 -m llama3-8b --uniform --global-batch 32,64,128 --json >together; jq -c '.batches[] | [.tokens_per_s, .proven_optimal]' together | cmp - apart; jq -s '[.[][0]] | max' apart >most; jq '.plans[0].tokens_per_s' together | cmp - most; jq -e '(.upper_bound_tokens_per_s / .plans[0].tokens_per_s - 1 | fabs < 1e-12) and .searched.proven_optimal and ([.plans[].tokens_per_s] | . == (sort | reverse))' together
> true

$ galvatron-sim -n 2 -m llama3-8b --uniform --global-batch 3,32,64 --top 2
...
~ ^#  plan .* batch$
...
> by global batch; the plans are in order of tokens a second
~ ^batch +step +tok/s +at most +MFU
...
~ ^    3 
~ ^   32 
~ ^   64 .*\*$
...
> proven: no other plan of these batches trains more tokens a second

$ galvatron-sim -n 2 -m llama3-8b --front --global-batch 32,64
2~ ^galvatron-sim: error: --global-batch 32,64: one batch here
2~ a list is for a search without
? 2

# Two of a kind, unless all are wanted.
$ for k in 0 1; do galvatron-sim -n 8 --tp 8 --pp 8 --zero 1 --sp megatron --recompute none --uniform --per-kind $k --top 3 --csv | wc -l | tr -d ' '; done
> 4
> 2

# A plan whose layers differ says all that its blocks have, in the table for programs too.
$ galvatron-sim plan -m llama3-8b -n 1 --tp 2 --pp 1 --zero 2,3 --global-batch 64 --memory-limit 47GiB --csv -o mixed -q | cut -d, -f9 | sort -u | grep /; cut -d, -f9,16 mixed/candidates.csv | sort -u | grep 2/3
> 2/3
> 2/3,per-layer

# Candidates alike in time and memory are one point of the front, with one label.
$ printf 'fate,tp,cp,ep,dp,pp,iteration_time_s,peak_memory_bytes\nsimulated,4,1,1,8,2,7.5,80e9\nsimulated,4,1,1,8,2,7.5,80e9\nsimulated,8,1,1,8,1,7.9,60e9\n' >alike.csv; galvatron-sim render pareto alike.csv -o alike.svg -q; grep -c '>tp4 pp2 dp8<' alike.svg
> 1

# One GPU is one, and what is over the limit by less than can be seen is told.
$ galvatron-sim simulate -m gpt2-small --gpu l4 -n 1 --gpus-per-node 1 --global-batch 2 -q | sed -n 2p | cut -d' ' -f1-3
> 1 GPU l4
$ galvatron-sim simulate -m gpt2-small --gpu l4 -n 1 --gpus-per-node 1 --global-batch 2 -q --json | jq '.peak_memory_bytes | floor' >peak; galvatron-sim simulate -m gpt2-small --gpu l4 -n 1 --gpus-per-node 1 --global-batch 2 --memory-limit "$(($(cat peak) - 1000000))" -q | grep worst
~ DOES NOT FIT, by [0-9.]+ (MiB|kiB|KiB|B)$

# 24, 40 and 96 GPUs, a batch of 56, 31 blocks on 8 stages: all work is done, by all GPUs.
$ for n in 3 5 12; do galvatron-sim -m llama3-8b -n $n --json | jq -c '.plans[0] | [.plan.layers[1].strategy, .plan.pp] as [$s, $pp] | [$s.tp * $s.cp * $s.dp * $pp, .mfu > 0.55]'; done
> [24,true]
> [40,true]
> [96,true]

$ galvatron-sim catalog models llama3-8b --json | sed 's/"n_layers": 32/"n_layers": 31/' >31.json; galvatron-sim -m 31.json -n 1 --pp 8 --global-batch 56 --json | jq -c '.plans[0] | [(.plan.stages | add), .plan.global_batch_size, .mfu > 0.45, .bubble_frac < 0.25, (.stages | length)]'
> [33,56,true,true,8]

# Constraints of real frameworks, each with its message and the nearest that is possible.
$ for o in '-n 3 --tp 3' '-n 2 --tp 16' '-n 5 --pp 40' '-n 1 --ep 2' '-n 1 --global-batch 7 --tp 1 --pp 1' '-n 1 --dp 3'; do galvatron-sim -m llama3-8b $o 2>&1 | head -1 | sed 's/.*no candidate plan: //'; done
> tp 3 does not divide the attention heads (32)
> tp 16 is more than the 8 devices of one scale-up domain
> pp 40: blocks, embedding and head are enough for 34 stages
> the model has no experts for --ep
~ ^global batch 7 is not divisible by dp [0-9]+$
~ ^dp is [0-9]+ for pp 1, tp 1, cp [0-9]+ on 8 devices, not as asked$

$ for o in '--tp 64 -n 8 --internode-tp' '--cp 8 --seq-length 1000 -n 1' '--tp 8 --sp megatron --seq-length 1001 -n 1' '--pp 2 --vpp 20 -n 1' '--micro-batch 3 --global-batch 8 -n 1' '--pp 2 --tp 4 --schedule dualpipe --global-batch 3 -n 1'; do galvatron-sim simulate -m llama3-8b $o 2>&1 | head -2; done
2...
~ tp 64 does not divide the attention heads \(32\)$
~ ^  nearest: tp 32
~ 2 \* cp 16 does not divide the sequence length \(1000\)$
~ ^  nearest: 2 \* cp 10 or 20$
~ tp \(with sp\) 8 does not divide the sequence length \(1001\)$
~ ^  nearest: tp \(with sp\) 7 or 11$
~ pp 2 \* vpp 20 stages for 32 blocks$
~ ^  with pp 2, vpp is at most 17$
~ global batch 8 is not a multiple of micro-batch 3 \* dp 8 = 24$
~ ^  nearest global batch: 24$
~ schedule dualpipe on 2 stages cannot do 3 micro-batches
~ ^  micro-batches are

# What is shared out by nothing is asked for by any ZeRO stage.
$ galvatron-sim -m llama3-8b -n 1 --tp 8 --pp 1 --zero 2,3 --global-batch 16 --json | jq -c '.plans[0].plan.layers[1].strategy | [.tp, .dp]'
> [8,1]

# The sign of the shares is never alone on a line.
$ for n in 128 256 512; do galvatron-sim simulate -m deepseek-v3 -n $n --tp 2 --pp 32 --ep 16 --seq-length 4096 --global-batch 15360; done | grep -c '^ *%$'
> 0
? 1
