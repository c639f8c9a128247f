# Networks: levels of switches, tori, buses, mixed pools.

$ galvatron-sim simulate -m llama3-8b -c tpu-v4-pod -n 64 --tp 4 --global-batch 64 --json 2>/dev/null | jq -c '.plan.cluster.torus'
> [4,4,4]

# Groups must be boxes of a torus.
$ galvatron-sim simulate -m llama3-8b -c tpu-v4-pod -n 60 --tp 4 --global-batch 60
2> galvatron-sim: error: tp groups of 4 ranks, 1 apart, are no boxes of the torus of 3 x 4 x 5
2>   degrees that divide its sides in turn fit
? 2
