# simulate --run-days: failures, checkpoints, restarts.

$ galvatron-sim simulate -m llama3-70b -n 64 --tp 8 --pp 4 --run-days 30 --mc-runs 200 | sed -n '/^A run/,$p'
> A run of 30.0 d of work, played 200 times (seed 1)
> 
~ ^  goodput +9[0-9]\.[0-9] %$
~ ^  time to finish +3[0-9]\.[0-9] d expected \(closed form: 3[0-9]\.[0-9] d\)$
~ ^ +P50 .* P95 .* P99 
~ ^  where it goes +work 9.*  restart [0-9.]+  %$
~ ^  fails +something every 4\.1 d: a device [0-9.]+ times$
~ ^  checkpoints +every .*, 1\.0 min each; 5\.0 min to restart$
>   by default       --mtbf-device, --checkpoint-time, --restart-time
...

# The same seed, the same run; another, another.
$ for s in 1 1 2; do galvatron-sim simulate -m llama3-8b -n 8 --run-days 300 --mc-runs 20 --seed $s --json | jq .run.mean_s; done | uniq | wc -l | tr -d ' '
> 2

# What is lost adds up; the mean is the closed form's.
$ galvatron-sim simulate -m llama3-70b -n 64 --tp 8 --pp 4 --tokens 2T --mtbf-device 20kh --mtbf-node 50kh --mtbf-switch 100kh --checkpoint-interval 30min --checkpoint-time 45s --restart-time 8min --json | jq -e '.run as $r | (([$r.lost_s[]] | add) + $r.work_s) / $r.mean_s - 1 | fabs < 1e-9' 
> true

$ galvatron-sim simulate -m llama3-70b -n 64 --tp 8 --pp 4 --run-days 20 --json | jq -e '.run | (.mean_s - .closed_form_s | fabs) < 5 * .standard_error_s and .p50_s < .p95_s and .p95_s < .p99_s and .defaults == ["mtbf-device", "checkpoint-time", "restart-time"] and .spares == -1'
> true

# Given rates stand in the place of the published one, which counts every cause.
$ galvatron-sim simulate -m llama3-8b -n 8 --run-days 100 --mtbf-node 10kh --spares 0 --json | jq -e '.run | .mtbf_s == 1e7 * 3600 / 8000 and .mtbf_of_one_s.device == 0 and .lost_s.waiting > 0 and .failures.device == 0'
> true

# The optimum is no worse than its neighbours.
$ for i in auto 5min 20min 3h; do galvatron-sim simulate -m llama3-8b -n 256 --tp 8 --global-batch 512 --run-days 30 --checkpoint-interval $i --json | jq .run.closed_form_s; done | sort -g | head -n 1 >best; galvatron-sim simulate -m llama3-8b -n 256 --tp 8 --global-batch 512 --run-days 30 --json | jq .run.closed_form_s | cmp best -

$ galvatron-sim simulate -m llama3-8b -n 8 --spares 2
2> galvatron-sim: error: failures need the length of the run
2>   give --run-days or --tokens
? 2

$ for o in '--mtbf-device 0' '--mtbf-device -1h' '--mtbf-device 5' '--checkpoint-interval soon' '--checkpoint-interval 0' '--restart-time -5s' '--spares -1' '--mc-runs 0' '--run-days 0' '--run-days nan'; do galvatron-sim simulate -m llama3-8b -n 8 --run-days 3 $o >out 2>/dev/null; echo "$o $?"; test ! -s out || echo output; done | grep -v ' 2$'
> --mtbf-device 5 3

$ galvatron-sim simulate -m llama3-8b -n 8 --run-days 3 --mtbf-device 1h
2~ ^galvatron-sim: error: the run does not get on: something fails every 56.2 s
? 3

# Ctrl-C among the runs: those that were played, marked.
$ timeout --preserve-status -s INT 1 galvatron-sim simulate -m llama3-8b -n 8 --run-days 30000 --mc-runs 1000000 >cut.txt; echo $?; grep -c '^  interrupted  *of 1 000 000 times asked for' cut.txt
> 130
> 1
