# Galvatron's strategies in and out. The strategy is the one that its search (commit
# cea12ffb) found for llama2-7b on 8 A100 with 24 GB and batch 64.
$ galvatron-sim import galvatron-plan galvatron-config.json -m llama2-7b --gpu a100-sxm-80gb -n 1 --seq-length 2048 -o plan.json -q

$ jq -c '[.pp, .schedule, .micro_batch_size, .global_batch_size, .stages]' plan.json
> [4,"1f1b",1,64,[9,8,8,9]]

# A strategy for 8 GPUs, named at its field; the model's blocks are counted.
$ galvatron-sim import galvatron-plan galvatron-config.json -m llama2-7b --gpu a100-sxm-80gb -n 2
2~ ^galvatron-sim: error: galvatron-config.json:8:19: world_size: 8 GPUs, the cluster has 16$
2>   --nodes and --gpus-per-node say how many there are
? 4

$ galvatron-sim import galvatron-plan galvatron-config.json -m llama3-70b --gpu a100-sxm-80gb -n 1
2~ ^galvatron-sim: error: galvatron-config.json:3:21: tp_sizes_enc: 32 numbers, 80 are expected$
? 4

$ galvatron-sim import galvatron-plan galvatron-config.json --gpu a100-sxm-80gb -n 1
2> galvatron-sim: error: 'import galvatron-plan' needs --model
2...
? 2

$ sed 's/"vsp"/"vsq"/' galvatron-config.json >typo.json; galvatron-sim import galvatron-plan typo.json -m llama2-7b --gpu a100-sxm-80gb -n 1
2~ ^galvatron-sim: error: typo.json:15:12: .*vsq
2>   did you mean 'vsp'?
? 4

# There and back: the same fields, and the name that Galvatron's runtime reads beside
# the one that its search writes.
$ galvatron-sim export galvatron plan.json -o back.json -q; jq -S 'del(.vocab_sdp)' back.json >a; jq -S . galvatron-config.json >b; cmp a b && jq .vocab_sdp back.json
> 1

$ galvatron-sim export galvatron plan.json | cmp - back.json

# A plan of our own; what Galvatron has no word for is refused.
$ galvatron-sim simulate -m llama2-7b --gpu a100-sxm-80gb -n 1 --tp 2 --pp 2 --zero 2 --global-batch 16 -o own -q >/dev/null; galvatron-sim export galvatron own/plan.json | jq -c '[.pp_deg, .pp_division, .chunks, .vtp, .default_dp_type, .embed_sdp]'
> [2,"16,16",8,2,"zero2",0]

$ galvatron-sim simulate -m llama2-7b --gpu a100-sxm-80gb -n 1 --tp 2 --pp 2 --zero 1 --global-batch 16 -o own -q >/dev/null; galvatron-sim export galvatron own/plan.json -o refused.json
2> galvatron-sim: error: Galvatron has no word for zero 1 (layer 0)
2>   nearest: zero 2, or zero 0
? 2

$ test -e refused.json
? 1

$ galvatron-sim export megatron plan.json
2> galvatron-sim: error: unknown format 'megatron'
2...
? 2

# What Galvatron's own cost model makes of that plan: its search said 5.056953720833 s
# and 24557 MiB of 24 GiB on stage 0, a fifth of which is kept free.
$ galvatron-sim simulate plan.json --cost-model galvatron --galvatron-profile galvatron-1x8 --memory-limit 24GiB | sed -n '/^Galvatron/,$p'
> Galvatron's cost model, fed by its own profiles (times: batch)
>
~ ^  step time        5\.06 s   [-+][0-9.]+ % of ours, [0-9.]+ s$
>   throughput       12.7 samples/s
>   memory, worst    19.2 GiB of 19.2 GiB on stage 0
>                    4.80 GiB more are kept free, a fifth
>
> stage  micro-batch  memory  ours
>                 ms     GiB   GiB
~ ^    0        158\.0    19\.2  [0-9.]+$
~ ^    1        143\.7    18\.5  [0-9.]+$
~ ^    2        133\.6    18\.7  [0-9.]+$
~ ^    3        131\.2    18\.8  [0-9.]+$

$ galvatron-sim simulate plan.json --cost-model galvatron --galvatron-profile galvatron-1x8 --memory-limit 24GiB --json | jq -c '.galvatron | [(.iteration_time_s * 1e8 | round), .peak_memory_bytes / 1048576, .fits]'
> [505695372,24557,true]

$ galvatron-sim simulate plan.json --cost-model galvatron --galvatron-profile galvatron-1x8 --galvatron-time static --memory-limit 23GiB --json | jq -c '.galvatron | [.time_mode, .fits]'
> ["static",false]

$ galvatron-sim simulate plan.json --cost-model galvatron
2> galvatron-sim: error: --cost-model galvatron needs --galvatron-profile
2...
? 2

$ galvatron-sim simulate plan.json --galvatron-time static
2> galvatron-sim: error: --galvatron-time goes with --cost-model galvatron
2...
? 2

$ galvatron-sim simulate plan.json --cost-model galvatron --galvatron-profile galvatron-1x8 --galvatron-time sequence
2~ ^galvatron-sim: error: galvatron-1x8/computation_profiling_bf16_llama2-7b_all.json:1:1: .*sequence lengths
2...
? 4

$ galvatron-sim simulate own/plan.json --cost-model galvatron --galvatron-profile galvatron-1x8 --seq-length 2048 --quiet
2> galvatron-sim: error: Galvatron's cost model has no ZeRO-1
2>   nearest: zero 0 or zero 2
? 2

# The best plan under its model, found exactly: its own engine says 5.0569537 s for this
# job, too (commit cea12ffb); for batch 32 and 80 GB it says 1.7593970 s.
$ galvatron-sim plan -m llama2-7b --gpu a100-sxm-80gb -n 1 --seq-length 2048 --global-batch 64 --memory-limit 24GiB --cost-model galvatron --galvatron-profile galvatron-1x8 -o best.json -q | tail -n 1
> proven: no other plan of Galvatron's space is faster under its model

$ galvatron-sim simulate best.json --cost-model galvatron --galvatron-profile galvatron-1x8 --memory-limit 24GiB --json | jq -c '.galvatron | [(.iteration_time_s * 1e6 | round), .fits]'
> [5056954,true]

$ galvatron-sim plan -m llama2-7b --gpu a100-sxm-80gb -n 1 --seq-length 2048 --global-batch 32 --memory-limit 80GiB --cost-model galvatron --galvatron-profile galvatron-1x8 --json | jq -c '[(.galvatron.iteration_time_s < 1.7594), .searched.proven_optimal]'
> [true,true]

$ galvatron-sim plan -m llama2-7b --gpu a100-sxm-80gb -n 1 --seq-length 2048 --global-batch 32 --memory-limit 8GiB --cost-model galvatron --galvatron-profile galvatron-1x8
2> galvatron-sim: error: no plan of Galvatron's space fits in 8.0 GiB, 0.0 GiB kept free
2...
? 3

$ galvatron-sim plan -m llama2-7b --gpu a100-sxm-80gb -n 1 --seq-length 2048 --vpp 2 --cost-model galvatron --galvatron-profile galvatron-1x8
2> galvatron-sim: error: --vpp cannot restrict Galvatron's space so
2...
? 2

$ galvatron-sim plan -m llama2-7b -n 1 --galvatron-profile galvatron-1x8
2> galvatron-sim: error: --galvatron-profile goes with --cost-model galvatron
2...
? 2
