# validate: sums by feature, ranking, intervals, leaving out.

$ galvatron-sim validate cases.csv --by software,pace,memory
~ ^software +n +MAPE +bias
...
~ ^megatron +3 
...
~ ^pace +n +MAPE
...
~ ^memory kind +n +MAPE
...
> error = predicted / measured - 1 of the iteration time; MAPE its mean size
~ ^intervals: [0-3] of 3 \([0-9]+ %\) runs lie inside the 90 % interval that$
>   runs of other sources give

$ galvatron-sim validate cases.csv --by colour
2> galvatron-sim: error: --by colour: unknown word 'colour'
2...
? 2

# A case without a measurement is predicted and listed all the same; one without a
# source is called by its file.
$ sed 's/,Megatron-LM[^,]*,megatron/,,megatron/; 2s/,3.528,/,,/' cases.csv >some.csv; galvatron-sim validate some.csv --csv | awk -F, 'NR == 2 {print $2, ($3 == ""), ($4 > 0), ($5 == "")}'
> some 1 1 1

$ galvatron-sim validate some.csv --json | jq -e '(.cases | length) == 3 and .n_timed == 2 and ([.sums[] | select(.by == "source")] | length) == 1'
> true

# A sweep: the winner that was predicted, and what it costs.
$ awk -F, -v OFS=, 'NR == 1 {print $0, "sweep"} NR > 1 {print $0, "s"}' cases.csv >sweep.csv; galvatron-sim validate sweep.csv --by sweep
~ ^sweep +n +tau +clear +regret
...
~ ^s +3 +-?[01]\.[0-9]+ +-?[01]\.[0-9]+ +[0-9]+\.[0-9]
~ ^error
~ ^ranking: 1 sweep, Kendall tau -?[01]\.[0-9]+ \(mean of the 1 of 3 or more\),$
~ ^  -?[01]\.[0-9]+ over the [23] pairs that differ by more than noise,$
~ ^  regret of our winner [0-9.]+ % mean, [0-9.]+ % most$
...

$ galvatron-sim validate sweep.csv --json | jq -e '.kendall_tau == .sweeps[0].tau and .regret_frac == .sweeps[0].regret_frac and (.sweeps | length) == 1 and .sweeps[0].n == 3'
> true

# Every prediction has its interval and what it comes from.
$ galvatron-sim validate cases.csv --json | jq -e 'all(.cases[]; (.iteration_time_interval_s[0] < .predicted_iteration_time_s) and (.iteration_time_interval_s[1] > .predicted_iteration_time_s) and .interval_from >= 3 and (.regime | startswith("megatron, Ampere, 16-bit")))'
> true

$ galvatron-sim simulate -m llama3-8b -n 1 --tp 4 --global-batch 32 --json | jq -e '.iteration_time_interval_s[0] < .iteration_time_s and .iteration_time_s < .iteration_time_interval_s[1] and .interval_coverage == 0.9'
> true

# A stack that nobody measured is not given one.
$ galvatron-sim simulate -m llama3-8b -n 1 --tp 4 --global-batch 32 --software oneflow --json | jq -c '[.iteration_time_interval_s, .interval_from, .regime]'
> [null,0,"oneflow, Hopper, 16-bit"]

$ galvatron-sim simulate -m llama3-8b -n 1 --tp 4 --global-batch 32 --software oneflow | grep 'step time'
~ \(predicted; not validated in this regime\)$

$ galvatron-sim validate cases.csv --residuals r.csv >/dev/null; head -n 1 r.csv; wc -l <r.csv | tr -d ' '
2> wrote r.csv
> case_id,source,family,software,generation,precision,pace,nodes,zero,pipeline,experts,tensor,recompute,attention,host_share,memory_share,measured_over_predicted,memory_kind,memory_measured_over_predicted
> 4

# With its only source left out there is nothing to fit to.
$ galvatron-sim validate cases.csv --leave-out source | tail -n 2
> left out: factors fitted anew for 0 of 3 cases; the others have too few
>   like runs elsewhere and are as built in

# Without a measurement there is no error to sum up, so the predictions are listed.
$ sed 's/,3.528,/,,/; s/,3.6974,/,,/' cases.csv >some.csv; galvatron-sim validate some.csv
> predicted, not measured
~ ^case +measured +predicted +error
...
~ ^megatron_sc21_a100-0001 +- +[0-9.]+ +-
~ ^megatron_sc21_a100-0002 +- +[0-9.]+ +-
...
~ ^error = predicted / measured
...

# A row that cannot be read is told with its place; the others are predicted all the
# same, and every case_id is in the document.
$ sed '3s/,megatron,/,megatorn,/' cases.csv >wrong.csv; galvatron-sim validate wrong.csv --json >v.json
2> galvatron-sim: error: wrong.csv:3: column 'software': unknown software 'megatorn'
2>   did you mean 'megatron'?
? 4

$ jq -c '[.cases[] | [.case_id, .predicted_iteration_time_s != null, .why_not]] | .[1], length' v.json
> ["megatron_sc21_a100-0002",false,"column 'software': unknown software 'megatorn'"]
> 3

# One that makes no plan is named, and why.
$ sed '3s/,a100-sxm-80gb,/,a100-sxm-90gb,/' cases.csv >wrong.csv; galvatron-sim validate wrong.csv
2~ ^galvatron-sim: warning: 1 of 3 cases not predicted: wrong.csv:3: unknown GPU 'a100-sxm-90gb'; did you mean 'a100-sxm-[48]0gb'\?
> not predicted
~ ^  megatron_sc21_a100-0002: unknown GPU 'a100-sxm-90gb'; did you mean
...

$ galvatron-sim validate cases.csv cases.csv >/dev/null
2> galvatron-sim: warning: case_id 'megatron_sc21_a100-0001' of cases.csv:2 is one of cases.csv:2 too

$ galvatron-sim validate cases.csv --leave-out colour
2> galvatron-sim: error: --leave-out colour: unknown word 'colour'
2...
? 2

# The peak has its interval too, and its coverage is counted by itself.
$ sed '2s/,3.528,,,/,3.528,60,torch_peak,/' cases.csv >peak.csv; galvatron-sim validate peak.csv --json | jq -c '(.cases[0] | .peak_memory_interval_bytes[0] < .predicted_peak_memory_bytes and .predicted_peak_memory_bytes < .peak_memory_interval_bytes[1]), .n_memory_intervals, .n_intervals'
> true
> 1
> 3

# A timeline of another plan is no measurement of this one.
$ galvatron-sim simulate -m llama3-8b -n 2 --global-batch 32 --tp 4 --pp 2 -o two.json -q >/dev/null; galvatron-sim simulate -m llama3-8b -n 2 --global-batch 32 --tp 4 --pp 4 -o four.json -q >/dev/null; galvatron-sim simulate four.json -o four.csv -q >/dev/null; galvatron-sim validate two.json four.csv
2> galvatron-sim: error: four.csv: 4 pipeline stages, and the plan has 2: a timeline of another plan
? 4
