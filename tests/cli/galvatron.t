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
