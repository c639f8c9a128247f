# simulate --stage-times: schedules under measured stage times.

$ printf 'stage,t_f_s,t_b_s,t_w_s\n0,1,1,1\n1,1,1,1\n2,1,1,1\n3,1,1,1\n' >even.csv

# (m + p - 1)(F + B), and (p - 1)(F + I - W) left by ZB-H1.
$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 --schedule 1f1b,gpipe,zb-h1
> galvatron-sim 0.1.0   stage times of even.csv
> 4 stages · 8 micro-batches · no cost model · the busiest stage computes 24.0 s
> 
~ ^schedule  chunks  time  slower  bubble  rolling  peak  peak by stage$
~ ^ +s +% +% +% +micro-batches$
~ ^zb-h1 +1  27.0 +0.0 +11.1 +11.1 
~ ^1f1b +1  33.0 +22.2 +27.3 +27.3  4.00  4.00 3.00 2.00 1.00$
~ ^gpipe +1  33.0 +22.2 +27.3 +27.3  8.00  8.00 8.00 8.00 8.00$
> 
~ ^rolling: 

# All of them, by default; what cannot be is said.
$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 --json >all.json; jq -e '(.schedules | length) + (.left_out | length) >= 10 and ([.schedules[].iteration_time_s] | . == sort) and ([.schedules[] | .iteration_time_s >= 24 and .bubble_frac >= 0 and (.busy_s | add - 96 | fabs) < 1e-9] | all) and ([.left_out[].schedule] | index("none") != null)' all.json
> true

$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 --schedule all --csv | head -n 1
> schedule,chunks,stages,micro_batches,iteration_time_s,bubble_frac,rolling_bubble_frac,makespan_s,period_s,peak_activations

$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 --vpp 4 --schedule interleaved --json | jq '.schedules[0].iteration_time_s'
> 26.25

$ for g in 4 8; do galvatron-sim simulate --stage-times even.csv --micro-batches 16 --vpp 2 --group-size $g --schedule interleaved --json | jq -c '.schedules[0] | [.iteration_time_s, .peak_activations]'; done
> [52.5,[5.5,4.5,3.5,2.5]]
> [52.5,[7.5,6.5,5.5,4.5]]

$ galvatron-sim simulate --stage-times even.csv --micro-batches 16 --group-size 3 --schedule interleaved
2> galvatron-sim: error: schedule interleaved: groups of 3 micro-batches are fewer than the 4 pipeline stages; the nearest is 4
? 2

$ galvatron-sim simulate --stage-times even.csv --micro-batches 16 --group-size 8 --schedule 1f1b
2> galvatron-sim: error: --group-size is of schedule interleaved, which is not among those asked for
? 2

# Bytes, chunks with times of their own.
$ printf 'stage,chunk,t_f_s,t_b_s,t_w_s,t_comm_s,activation_bytes\n0,0,1,2,0,0.1,1e9\n0,1,1,2,0,0.1,1e9\n1,0,1,2,0,0.1,1e9\n1,1,3,6,0,0.1,1e9\n' >own.csv; galvatron-sim simulate --stage-times own.csv --micro-batches 4 --schedule interleaved,1f1b --json | jq -c '[.schedules[] | [.schedule, .chunks, .least_time_s, .peak_activation_bytes[1]]]'
> [["interleaved",2,48,3000000000],["1f1b",1,48,2000000000]]

# Messages that block make more chunks cost more.
$ printf 'stage,t_f_s,t_b_s,t_comm_s\n0,1,2,0.25\n1,1,2,0.25\n' >two.csv; for o in p2p none; do galvatron-sim simulate --stage-times two.csv --micro-batches 3 --schedule gpipe --overlap $o --json | jq -c '[.messages_block, .schedules[0].iteration_time_s]'; done
> [false,12.5]
> [true,13.5]

$ galvatron-sim simulate --stage-times two.csv --micro-batches 3 --overlap grad-reduce
2> galvatron-sim: error: --overlap grad-reduce: with --stage-times it is none, or p2p, step or both
? 2

# Steps that overlap: a parallelogram costs no more than a rectangle.
$ for o in p2p p2p,step; do galvatron-sim simulate --stage-times even.csv --micro-batches 8 --schedule zb-h2 --overlap $o --json | jq -c '[.steps_overlap, .messages_block] + [.schedules[0] | .iteration_time_s, .makespan_s, .period_s]'; done
> [false,false,27,27,24]
> [true,false,24,27,24]

# Orders that mind memory keep within what they are given.
$ printf 'stage,t_f_s,t_b_s,t_w_s,activation_bytes\n0,1,1,1,1e9\n1,1,1,1,1e9\n2,1,1,1,1e9\n3,1,1,1,1e9\n' >bytes.csv; for l in 3GB 5GB 7GB; do galvatron-sim simulate --stage-times bytes.csv --micro-batches 12 --schedule zb-auto --memory-limit $l --json; done | jq -s -c '[.[].schedules[0] | {t: .iteration_time_s, p: (.peak_activation_bytes | max)}] | [.[0].p <= 3e9, .[1].p <= 5e9, .[2].p <= 7e9, .[0].t > .[1].t, .[1].t >= .[2].t]'
> [true,true,true,true,true]

$ galvatron-sim simulate --stage-times two.csv --micro-batches 3 --memory-limit 3GB
2> galvatron-sim: error: --memory-limit: the stage times give no activation_bytes
? 2

# Files.
$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 --schedule zb-h1 -o t.csv -q >/dev/null; galvatron-sim render t.csv --ascii | tail -n 1
~ F forward

$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 --schedule 1f1b,zb-h1,dualpipe -o several.svg -q >/dev/null; head -c 5 several.svg; echo
> <svg 

$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 -o all.png >/dev/null
2> wrote all.png

# Every schedule that was played is in the picture.
$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 -o all.svg -q >/dev/null; test "$(grep -c ' 8 micro-batches<' all.svg)" = "$(jq '.schedules | length' all.json)" && echo all
> all

$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 -o all2.json -q >/dev/null; cmp all.json all2.json

# Errors.
$ galvatron-sim simulate --stage-times even.csv
2> galvatron-sim: error: --stage-times needs --micro-batches
2>   for example: --micro-batches 16
? 2

$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 --tp 2
2> galvatron-sim: error: --tp and --stage-times do not go together
2>   the file says it all; beside it: --schedule, --vpp, --group-size, --micro-batches, --overlap, --memory-limit
? 2

$ galvatron-sim simulate --micro-batches 8
2> galvatron-sim: error: --micro-batches goes with --stage-times
2>   a plan's follow from --global-batch and --micro-batch
? 2

$ galvatron-sim simulate --stage-times even.csv --micro-batches 8 --schedule none
2~ ^galvatron-sim: error: .*none
2...
? 2

$ galvatron-sim simulate --stage-times missing.csv --micro-batches 8
2~ missing.csv
? 4

$ printf 'stage,t_f_s,t_b_s\n0,1,1\n1,-1,1\n' >bad.csv; galvatron-sim simulate --stage-times bad.csv --micro-batches 8
2~ ^galvatron-sim: error: bad.csv:3.*t_f_s
2...
? 4

# Peaks are left out whole, never cut in the middle of a number.
$ printf 'stage,t_f_s,t_b_s,activation_bytes\n0,1,2,1e9\n1,1,2,1e9\n2,1,2,1e9\n3,1,2,1e9\n' >long.csv; COLUMNS=80 galvatron-sim simulate --stage-times long.csv --micro-batches 32 --schedule 1f1b,dualpipe | grep 1f1b
~ 3.73 2.79 … 0.931$
