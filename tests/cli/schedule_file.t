# simulate --schedule FILE.csv: orders of one's own.

$ printf 'stage,t_f_s,t_b_s,t_w_s,t_comm_s\n0,1,1.1,0.9,0.05\n1,1.2,1,1,0.05\n2,1,1.3,1,0.05\n3,0.9,1,1,0.05\n' >times.csv

$ galvatron-sim simulate --stage-times times.csv --micro-batches 2 --schedule zb-h1 --print-order | head -n 5
> stage,pass,chunk,micro_batch
> 0,F,0,0
> 0,F,0,1
> 0,I,0,0
> 0,W,0,0

# Every built-in schedule, written and read again, takes the same time and memory.
$ for s in gpipe 1f1b interleaved breadth-first zb-h1 zb-h2 zb-1p zb-2p zb-auto zb-v v-1f1b v-half v-min dualpipe dualpipev; do galvatron-sim simulate --stage-times times.csv --micro-batches 8 --schedule $s --print-order >$s.csv; galvatron-sim simulate --stage-times times.csv --micro-batches 8 --schedule $s --json | jq -c '.schedules[0] | del(.schedule)' >a; galvatron-sim simulate --stage-times times.csv --schedule $s.csv --json | jq -c '.schedules[0] | del(.schedule)' >b; cmp a b || echo $s differs; done

# In a plan too: the same step, the same peak of every stage; and again from the plan
# alone, without the file.
$ set -- simulate -m llama2-7b --gpu a100-sxm-80gb -n 1 --pp 4 --global-batch 16; for s in gpipe 1f1b interleaved breadth-first zb-h1 zb-h2 zb-1p zb-2p zb-auto zb-v v-1f1b v-half v-min; do case $s in interleaved|breadth-first|zb-v|v-*) v=2;; *) v=1;; esac; galvatron-sim "$@" --vpp $v --schedule $s --print-order >o.csv; galvatron-sim "$@" --vpp $v --schedule $s --json >a.json; galvatron-sim "$@" --schedule o.csv --json >b.json; galvatron-sim simulate b.json --json >c.json; jq -s -r --arg s $s '[.[] | [.iteration_time_s, [.stages[].peak_memory_bytes]]] | if (unique | length) == 1 then empty else $s end' a.json b.json c.json; done

$ galvatron-sim simulate -m llama2-7b --gpu a100-sxm-80gb -n 1 --global-batch 16 --schedule zb-v.csv --json >plan.json; jq -c '[.plan.schedule, .plan.vpp, .plan.schedule_order.virtual_stages]' plan.json
> ["custom-split",2,[0,7,1,6,2,5,3,4]]

# Some backwards whole, some split; a second simulator agrees.
$ printf 'stage,pass,micro_batch\n0,F,0\n0,F,1\n0,B,0\n0,I,1\n0,W,1\n1,F,0\n1,I,0\n1,F,1\n1,B,1\n1,W,0\n' >mixed.csv; galvatron-sim simulate -m llama2-7b --gpu a100-sxm-80gb -n 1 --global-batch 8 --schedule mixed.csv --check | grep -c 'replayed by a second'
> 1

# Errors.
$ printf 'stage,pass,micro_batch\n0,F,0\n0,B,0\n0,F,1\n0,B,1\n1,F,0\n1,F,1\n1,B,0\n1,B,1\n' >stuck.csv; galvatron-sim simulate --stage-times times.csv --schedule stuck.csv
2> galvatron-sim: error: stuck.csv: the program deadlocks on a cycle of 8 operations, each after the next: backward of stage 0, chunk 0, micro-batch 0 <- backward of stage 1, chunk 0, micro-batch 0 <- forward of stage 1, chunk 0, micro-batch 1 <- forward of stage 0, chunk 0, micro-batch 1
? 4

$ printf 'stage,pass,micro_batch\n0,F,0\n0,X,0\n' >bad.csv; galvatron-sim simulate --pp 1 --schedule bad.csv
2~ ^galvatron-sim: error: bad.csv:3.*no pass 'X'
2>   F, B (whole backward), I (for inputs) or W (for weights)
? 4

$ galvatron-sim simulate -m llama2-7b --gpu a100-sxm-80gb -n 1 --global-batch 32 --schedule zb-v.csv
2> galvatron-sim: error: the order has 8 micro-batches, the plan 16
2>   a global batch of 16 has as many
? 2

$ galvatron-sim simulate -m llama2-7b --gpu a100-sxm-80gb -n 1 --global-batch 16 --pp 2 --schedule zb-v.csv
2> galvatron-sim: error: the order is for pp 4 and vpp 2, the plan has pp 2 and vpp 2
? 2

$ galvatron-sim plan --schedule zb-v.csv
2> galvatron-sim: error: --schedule zb-v.csv: a search goes by names, and so does a list
2>   an order of one's own: galvatron-sim simulate
? 2

$ galvatron-sim simulate --schedule custom --pp 2
2> galvatron-sim: error: --schedule custom: its order comes from a file, named here
? 2

$ jq '.plan | .schedule_order.stages[0] |= sub("F3"; "G3")' plan.json >broken.json; galvatron-sim simulate broken.json
2~ ^galvatron-sim: error: broken.json:[0-9]+:[0-9]+: .*'G3' is no slot; one is F0, B0, I0 or W0, on another chunk F0.1
? 4

$ jq '.plan | del(.schedule_order)' plan.json >without.json; galvatron-sim simulate without.json
2> galvatron-sim: error: without.json: schedule custom-split without an order
? 4
