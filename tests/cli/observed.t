# Keep the plan, or change it: by what was measured of it.
$ galvatron-sim plan -m llama3-8b -n 1 --global-batch 32 -o best -q >/dev/null; galvatron-sim plan best/plan.json --observed best/result.json
2~ ^galvatron-sim: error: best/result.json
...
? 4

# The best plan, measured as it was predicted, is kept.
$ galvatron-sim simulate best/plan.json -o best.csv -q >/dev/null; galvatron-sim plan best/plan.json --observed best.csv -o kept.json | tail -2; cmp kept.json best/plan.json && echo same
> keep: no plan that was found is more than 1 % faster, and none can be
~ ^more than [0-9.]+ %$
> same
2> wrote kept.json

# A slow one is changed, and the change repays itself.
$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 2 --pp 4 -o slow -q >/dev/null; galvatron-sim plan slow/plan.json --observed slow/timeline.csv --restart-time 10s | tail -1
~ ^change: [0-9.]+ % less time a step; the switch takes 10.* s, repaid after [0-9]+ steps$

# A machine twice as slow: predictions follow it, and the advice stands.
$ awk -F, -v OFS=, 'NR==1{for(i=1;i<=NF;i++)c[$i]=i;print;next}{$c["start_s"]=2*$c["start_s"];$c["end_s"]=2*$c["end_s"];print}' slow/timeline.csv >twice.csv; galvatron-sim plan slow/plan.json --observed twice.csv --json | jq -e '.advice == "change" and (.current.iteration_time_s / .measured_iteration_time_s - 1 | fabs) < 0.1 and (.measured_iteration_time_s / .builtin_iteration_time_s - 2 | fabs) < 0.01'
> true
2> galvatron-sim: warning: twice.csv took 2.00 times what is predicted: was it this plan?

# A world in which products take a third longer: what is said of it is true there, of the
# plan that runs, of the one that is advised, and of what the change gains.
$ printf 'kind,device,precision,op,value,source\nfactor,h100-sxm-80gb,bf16,gemm,1.6,truth\n' >world.csv; galvatron-sim simulate slow/plan.json --profile world.csv -o true.csv -q >/dev/null; galvatron-sim plan slow/plan.json --observed true.csv -o new.json -q --json >said.json; for p in slow/plan.json new.json; do galvatron-sim simulate $p --profile world.csv --json; done | jq -c -s --slurpfile said said.json '.[0].iteration_time_s as $now | .[1].iteration_time_s as $new | $said[0] | [.advice, (.current.iteration_time_s / $now - 1 | fabs < 0.02), (.best.iteration_time_s / $new - 1 | fabs < 0.02), (.gain_s / ($now - $new) - 1 | fabs < 0.05)]'
> ["change",true,true,true]

# A slow rank makes the whole slower; the plan is still the one to leave.
$ galvatron-sim simulate slow/plan.json --all-ranks --straggler 3=1.3 -o straggling.csv -q >/dev/null; galvatron-sim plan slow/plan.json --observed straggling.csv --json | jq -c '[.advice, .measured_iteration_time_s > .builtin_iteration_time_s]'
> ["change",true]

# Files that differ by more than a change would gain decide nothing.
$ galvatron-sim plan slow/plan.json --observed twice.csv --observed slow/timeline.csv | grep -e ^measured -e ^keep
~ ^measured [0-9.]+ s to [0-9.]+ s in 2 files; predicted
~ ^keep: the best gains [0-9.]+ %, less than the measurements scatter \([0-9.]+ %\)$
2> galvatron-sim: warning: twice.csv took 2.00 times what is predicted: was it this plan?

# A timeline of a plan with fewer stages is no measurement of this one.
$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 2 --pp 2 -o two.csv -q >/dev/null; galvatron-sim plan slow/plan.json --observed two.csv
2> galvatron-sim: error: two.csv: 2 pipeline stages, and the plan has 4: a timeline of another plan
? 4

$ galvatron-sim plan slow/plan.json
2> galvatron-sim: error: 'plan' takes a plan and --observed together
2~ ^  for example: galvatron-sim plan plan.json --observed
? 2
