# Keep the plan, or change it: by what was measured of it.
$ galvatron-sim plan -m llama3-8b -n 1 --global-batch 32 -o best -q >/dev/null; galvatron-sim plan best/plan.json --observed best/result.json
2~ ^galvatron-sim: error: best/result.json
...
? 4

# The best plan, measured as it was predicted, is kept.
$ galvatron-sim simulate best/plan.json -o best.csv -q >/dev/null; galvatron-sim plan best/plan.json --observed best.csv -o kept.json | tail -1; cmp kept.json best/plan.json && echo same
~ ^keep: no plan of this space is more than 1 % faster$
> same
2> wrote kept.json

# A slow one is changed, and the change repays itself.
$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 2 --pp 4 -o slow -q >/dev/null; galvatron-sim plan slow/plan.json --observed slow/timeline.csv --restart-time 10s | tail -1
~ ^change: [0-9.]+ % less time a step; the switch takes 10.* s, repaid after [0-9]+ steps$

# A machine twice as slow: predictions follow it, and the advice stands.
$ awk -F, -v OFS=, 'NR==1{for(i=1;i<=NF;i++)c[$i]=i;print;next}{$c["start_s"]=2*$c["start_s"];$c["end_s"]=2*$c["end_s"];print}' slow/timeline.csv >twice.csv; galvatron-sim plan slow/plan.json --observed twice.csv --json | jq -e '.advice == "change" and (.current.iteration_time_s / .measured_iteration_time_s - 1 | fabs) < 0.1 and (.measured_iteration_time_s / .builtin_iteration_time_s - 2 | fabs) < 0.01'
> true

$ galvatron-sim plan slow/plan.json
2> galvatron-sim: error: 'plan' takes a plan and --observed together
2~ ^  for example: galvatron-sim plan plan.json --observed
? 2
