# DualPipe and DualPipeV from plans.

# Either is played by the naive simulator too, and goes through every reader of a program.
$ for s in dualpipe dualpipev; do galvatron-sim simulate -m mixtral-8x7b -n 2 --ep 4 --pp 4 --global-batch 32 --schedule $s --check --all-ranks --json | jq -e '.check.time_frac < 1e-9 and .check.memory_frac < 1e-9 and (.all_ranks.folded_time_s / .iteration_time_s - 1 | fabs) < 1e-9' || echo $s; done
> true
> true

# Two copies: every stage of DualPipe holds its blocks and those of the stage opposite.
$ for s in 1f1b dualpipe dualpipev; do galvatron-sim simulate -m mixtral-8x7b -n 2 --ep 4 --pp 4 --global-batch 32 --schedule $s --json >$s.json; jq -c '[.stages[].n_layers]' $s.json; done
> [8,8,8,8]
> [16,16,16,16]
> [8,8,8,8]

# ZeRO-1: parameters and gradients twice, the optimizer as with one copy.
$ jq -s '[.[] | [.stages[].memory | .parameters] | add] | .[1] / .[0]' 1f1b.json dualpipe.json
> 2
$ jq -s '[.[] | [.stages[].memory | .optimizer] | add] | .[1] / .[0]' 1f1b.json dualpipe.json
> 1

# Side by side, most of the experts' exchanges are hidden.
$ for s in 1f1b dualpipe dualpipev; do galvatron-sim simulate -m mixtral-8x7b -n 2 --ep 4 --pp 4 --global-batch 128 --schedule $s --json | jq .breakdown_s.ep; done | jq -s '.[1] < .[0] / 2 and .[2] < .[0] / 2'
> true

# A document of it is the plan again, and so is its order as one's own.
$ galvatron-sim simulate dualpipe.json --json | jq .iteration_time_s >a; jq .iteration_time_s dualpipe.json | cmp a -
$ galvatron-sim simulate -m mixtral-8x7b -n 2 --ep 4 --pp 4 --global-batch 32 --schedule dualpipe --print-order >own.csv; galvatron-sim simulate -m mixtral-8x7b -n 2 --ep 4 --global-batch 32 --schedule own.csv --json >own.json; jq .iteration_time_s own.json | cmp a -; jq .plan.schedule own.json
> "custom-two-way"

# What cannot be says why, and what is nearest.
$ galvatron-sim simulate -m llama3-8b -n 1 --pp 8 --schedule dualpipe --global-batch 8
2> galvatron-sim: error: schedule dualpipe on 8 stages cannot do 8 micro-batches: it needs two for each stage; the nearest is 16
2>   micro-batches are the global batch 8 / (micro-batch 1 * dp 1)
? 2
$ galvatron-sim simulate -m llama3-8b -n 1 --pp 8 --schedule dualpipe --global-batch 17
2> galvatron-sim: error: schedule dualpipe on 8 stages cannot do 17 micro-batches: a half of them enters at either end; the nearest is 18
2>   micro-batches are the global batch 17 / (micro-batch 1 * dp 1)
? 2
$ galvatron-sim simulate -m llama3-8b -n 3 --gpus-per-node 1 --pp 3 --schedule dualpipe --global-batch 12
2> galvatron-sim: error: schedule dualpipe needs an even number of stages, not 3: the two directions meet between two of them; the nearest is 4
? 2
$ galvatron-sim simulate -m llama3-8b -n 1 --pp 8 --schedule dualpipev --global-batch 15
2> galvatron-sim: error: schedule dualpipev on 8 stages cannot do 15 micro-batches: it needs two for each stage; the nearest is 16
2>   micro-batches are the global batch 15 / (micro-batch 1 * dp 1)
? 2
$ galvatron-sim simulate -m llama3-8b -n 1 --pp 4 --vpp 3 --schedule dualpipev --global-batch 32
2> galvatron-sim: error: schedule dualpipev cannot have 3 chunks a stage; the nearest is 2
? 2

# Uneven layers, an odd number of stages or of micro-batches: DualPipeV takes them all.
$ galvatron-sim simulate -m llama3-8b -n 3 --gpus-per-node 1 --pp 3 --schedule dualpipev --global-batch 7 --check --json | jq -c '[.stages[].n_layers], .check.time_frac < 1e-9'
> [11,11,10]
> true

# Searched when asked for.
$ galvatron-sim plan -m llama3-8b -n 1 --schedule dualpipe,dualpipev --global-batch 32 --json | jq -e '[.plans[].plan.schedule] | length > 0 and (. - ["dualpipe", "dualpipev", "none"] | length) == 0'
> true

$ galvatron-sim catalog schedules dualpipe | tail -n 4
>   passes           a forward and a backward side by side
>   copies           2 of the model; what ZeRO shards, it shards over both
>   needs            stages and micro-batches even, 2 micro-batches a stage or more
>   source: DeepSeek-AI 2024, arXiv 2412.19437
