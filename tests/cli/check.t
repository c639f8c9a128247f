# simulate --check: the engine beside a naive simulator.

$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 4 --pp 2 --check | tail -n 2
~ ^check: [0-9 ]+ operations replayed by a second simulator; at most$
~ of the step between starts and ends, .* of a peak$

$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 2 --pp 2 --vpp 2 --check --json | jq -e '.check.operations > 100 and .check.time_frac < 1e-9 and .check.memory_frac < 1e-9 and (.check.iteration_time_s / .iteration_time_s - 1 | fabs) < 1e-9'
> true

# Every second of the critical path and of every stage is accounted for.
$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 2 --pp 2 --json >r.json; jq -e '.critical_path as $c | .iteration_time_s as $t | $c.duration_s == $t and (([$c.spent_s[]] | add) / $t - 1 | fabs) < 1e-12 and ([$c.ranks[] | ([.spent_s[]] | add) / $t - 1 | fabs] | max) < 1e-12 and ([$c.ranks[] | ([.bubble_s[]] | add) - .spent_s.bubble | fabs] | max) < 1e-12 and $c.segments[0].start_s == 0 and $c.segments[-1].end_s == $t' r.json
> true

# The engine's account of the same seconds.
$ jq -e '. as $r | [$r.breakdown_s | to_entries[] | .key as $k | .value - ([$r.critical_path.ranks[].spent_s[$k]] | add / 2) | fabs] | max < 1e-9' r.json
> true

# Such a result is still a plan.
$ galvatron-sim simulate r.json --json | jq .iteration_time_s >a; jq .iteration_time_s r.json | cmp a -
