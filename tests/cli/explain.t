# A plan beside the best of its job: what is lost adds up.
$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 2 --pp 4 -o slow.json >/dev/null 2>&1; galvatron-sim explain slow.json | sed -n '/^against/,$p' | head -3
> against the best plan of this job
...
~ ^  step [0-9.]+ s, [0-9.]+ % less; [0-9.]+ GiB of [0-9.]+ GiB$

$ galvatron-sim explain slow.json --json | jq -e '([.breakdown_s[]] | add) as $a | ([.best.breakdown_s[]] | add) as $b | (($a - $b) - (.iteration_time_s - .best.iteration_time_s) | fabs) < 1e-9 and .best.iteration_time_s < .iteration_time_s'
> true

$ galvatron-sim plan -m llama3-8b -n 1 --global-batch 32 -o best.json >/dev/null 2>&1; galvatron-sim explain best.json | tail -1
>   this is the best, or as good
