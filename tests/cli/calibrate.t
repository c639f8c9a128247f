# calibrate: measured iterations in, a profile of fitted factors out.

$ galvatron-sim calibrate --cases cases.csv -o p.csv
2> wrote p.csv
~ ^a100-sxm-80gb, fp16, megatron: 3 runs, mean error [0-9.]+ % -> [0-9.]+ %$
> 
~ ^factor +built in +fitted +90 % from +to +told by the runs$
...
~ ^run +measured +built in +error +calibrated +error$
...

$ head -n 1 p.csv
> kind,device,precision,op,value,builtin,low,high,runs,mape_before_frac,mape_after_frac,median_before_frac,median_after_frac,source

$ awk -F, 'NR > 1 && ($1 != "factor" || $2 != "a100-sxm-80gb" || $3 != "fp16" || $5 < $7 || $5 > $8)' p.csv

# What it wrote is a profile, and it helps on what it was fitted to.
$ galvatron-sim validate cases.csv --json >before.json; galvatron-sim validate cases.csv --profile p.csv --json | jq -e --slurpfile b before.json '.mape_frac <= $b[0].mape_frac'
> true

$ galvatron-sim calibrate cases.csv --json | jq -e '.schema == "galvatron-sim/calibration" and (.stacks | length) == 1 and .stacks[0].n_runs == 3 and (.runs | length) == 3 and all(.stacks[0].factors[]; .low <= .value and .value <= .high)'
> true

$ for j in 1 2; do galvatron-sim calibrate cases.csv --json -j $j >c$j; done; cmp c1 c2

# A plan and a log of its run: after it, the plan's prediction is the log's median.
$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 4 --pp 2 -o plan.json -q >/dev/null; jq .iteration_time_s plan.json >t; awk '{for (i = 1; i < 8; i++) printf " iteration %d/ 8 | elapsed time per iteration (ms): %.1f | lm loss: 1\n", i, $1 * 1000 * (i == 1 ? 5 : 1.1)}' t >run.log; galvatron-sim calibrate plan.json run.log -o q.csv -q >/dev/null; galvatron-sim simulate plan.json --profile q.csv --json | jq --slurpfile t t '.iteration_time_s / $t[0] | . > 1.08 and . < 1.11'
> true

# The same of a measured timeline.
$ galvatron-sim simulate plan.json -o timeline.csv -q >/dev/null; galvatron-sim calibrate plan.json timeline.csv --json | jq -e '.runs[0].measured_iteration_time_s == .runs[0].before_s and .stacks[0].mape_after_frac < 1e-6'
> true

$ galvatron-sim calibrate
2> galvatron-sim: error: 'calibrate' needs measured iterations
2>   for example: galvatron-sim calibrate --cases measured.csv -o profile.csv
? 2

$ galvatron-sim calibrate plan.json
2> galvatron-sim: error: a plan needs what was measured of it
2...
? 2

$ echo nothing >empty.log; galvatron-sim calibrate plan.json empty.log
2~ ^galvatron-sim: error: empty.log: no 'elapsed time per iteration \(ms\):' in this log$
? 4

# Of one iteration alone it is said that it is the one that warms up.
$ head -n 1 run.log >first.log; galvatron-sim calibrate plan.json first.log --json | jq '.runs | length'
2~ ^galvatron-sim: warning: first.log has one iteration alone: the first warms up and takes longer$
2...
> 1

# Two kinds of software on one device and precision cannot share a profile.
$ sed '2s/,megatron,/,eager,/' cases.csv >mixed.csv; galvatron-sim calibrate mixed.csv
2~ ^galvatron-sim: error: a100-sxm-80gb in fp16 was run with eager and with megatron
2>   choose one with --software
? 4

$ galvatron-sim calibrate mixed.csv --software megatron --json | jq '.stacks[0].n_runs'
> 2

$ galvatron-sim calibrate cases.csv --software oneflow
2> galvatron-sim: error: no measured iteration to calibrate on
? 4

# What one run of a stack is worth for its others, asked of each in turn.
$ awk -F, -v OFS=, 'NR == 1 {print} NR > 1 {id = $1; t = $42; for (i = 0; i < 2; i++) {$1 = id "-" i; $42 = t * (1.2 + i / 100); print}}' cases.csv >slow.csv; galvatron-sim calibrate slow.csv --each
~ ^stack +runs +built in +after one +worst one +harm +after all$
...
~ ^Megatron-LM SC21 Table 1 +6 +1[0-9.]+ +1?[0-9.]+ +[0-9.]+ +0/6 +[0-9.]+$
...
~ ^harm: ones that make it worse by more than 1 %$

$ galvatron-sim calibrate slow.csv --each --json | jq -e '.stacks[0] | .mape_after_others_frac < .mape_after_one_frac and .mape_after_one_frac < .mape_before_frac and .n_runs == 6 and .n_harmed == 0 and .scatter_frac < .mape_before_frac'
> true

$ galvatron-sim calibrate cases.csv --each
2> galvatron-sim: error: no stack has 4 runs to try one on the others
? 4

$ galvatron-sim calibrate slow.csv --each -o p.csv
2> galvatron-sim: error: --each makes no profile: leave out -o
? 2

# What was left out is told, and so is a run that can hardly be of this plan.
$ sed '3s/,a100-sxm-80gb,/,a100-sxm-90gb,/; 2s/,3.528,/,35.28,/' cases.csv >odd.csv; galvatron-sim calibrate odd.csv >/dev/null
2> galvatron-sim: warning: 1 of 3 cases left out: odd.csv:3: unknown GPU 'a100-sxm-90gb'
2~ ^galvatron-sim: warning: megatron_sc21_a100-0001 took [0-9.]+ times what is predicted: was it this plan\?$

$ galvatron-sim simulate -m llama3-8b -n 2 --global-batch 32 --tp 4 --pp 4 -o other.json -q >/dev/null; galvatron-sim simulate other.json -o other.csv -q >/dev/null; galvatron-sim calibrate plan.json other.csv
2> galvatron-sim: error: other.csv: 4 pipeline stages, and the plan has 2: a timeline of another plan
? 4

# A plan beside the log of its run: the iteration, its median without the first.
$ for i in 9000 4850.5 4840 4860 4850; do echo "iteration 1/ 9 | elapsed time per iteration (ms): $i | lm loss: 1.0 |"; done >run.log; echo '{"model": "llama2-7b", "cluster": "dgx-a100", "n_nodes": 4, "tp": 4, "pp": 2, "global_batch_size": 128}' >hand.json; galvatron-sim validate hand.json run.log
>            measured  predicted  error
>                   s          s      %
~ ^iteration +4.85 +[0-9.]+ +[-+][0-9.]+$
> the median of 4 iterations, the first of the log left out, which scatter by 0.2 %

$ galvatron-sim validate hand.json run.log --json | jq -e '(.measured_iteration_time_s - 4.85025 | fabs) < 1e-9 and .iterations == 5 and (.predicted_iteration_time_s / .measured_iteration_time_s - 1 - .error | fabs) < 1e-12'
> true

$ galvatron-sim validate hand.json run.log -o both.png
2> galvatron-sim: error: a log has no timeline to draw: run.log
? 2
