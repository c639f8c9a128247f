# simulate --all-ranks and its like: every rank of the cluster by itself.

# Without differences the answer is the folded one.
$ galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 --json >folded.json; galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 --all-ranks --json >all.json; jq -e --slurpfile f folded.json '(.iteration_time_s / $f[0].iteration_time_s - 1 | fabs < 1e-12) and .all_ranks.ranks == 16 and .all_ranks.folded_time_s == $f[0].iteration_time_s and .all_ranks.waiting_s == 0 and ($f[0] | has("all_ranks") | not)' all.json
> true

$ galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 --straggler 5=1.2 | sed -n '/^All/,$p'
> All 16 ranks, each by itself (seed 1)
> 
~ ^  step +\+[0-9.]+ % on .* with ranks alike$
~ ^  waiting +[0-9.]+ % of the step, waiting for slower ranks$
~ ^  slowest +rank 5 computes .*, its stage .*$

# Everything waits for the slowest; a share of all ranks can be named, too.
$ galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 --straggler 5=1.2 --straggler 10%=1.3 --json | jq -e '.iteration_time_s > .all_ranks.folded_time_s * 1.1 and .all_ranks.waiting_s > 0 and (.all_ranks.stragglers | length) == 2 and ([.breakdown_s[]] | add) / .iteration_time_s - 1 < 1e-9'
> true

# Drawn iterations: the same for any number of threads, another for another seed.
$ for o in '-j 1' '-j 2' '-j 2 --seed 2'; do galvatron-sim simulate -m llama3-8b -n 1 --tp 2 --global-batch 32 --jitter 0.05,0.2 --mc-runs 20 --json $o | jq -c '.all_ranks.spread'; done | uniq | wc -l | tr -d ' '
> 2

$ galvatron-sim simulate -m llama3-8b -n 1 --tp 2 --global-batch 32 --jitter 0.05 --mc-runs 20 | sed -n '/^All/,$p'
> All 8 ranks, each by itself, the median run (seed 1)
> 
...
~ ^  20 runs +mean .*, deviation .*$
~ ^ +P50 .* P95 .* P99 .*$

# A slow node slows those who meet over it; an oversubscribed leaf those who cross it.
$ for o in '--contention' '--slow-link 1=0.25' '--contention --set leaf.nodes=1 --set leaf.oversubscription=8'; do galvatron-sim simulate -m llama3-8b -n 4 --global-batch 32 --tp 2 --zero 3 $o --json | jq '.iteration_time_s / .all_ranks.folded_time_s > 1.2'; done
> false
> true
> true

# The timeline shows the pipeline of the straggler.
$ galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 --straggler 13=1.2 -o t.csv -q >/dev/null; head -n 1 t.csv | cut -d, -f1
~ .

$ for o in '--straggler 16=1.1' '--straggler x=1.1' '--straggler 1=0' '--straggler 1.5=2' '--jitter 3' '--jitter 0.1,0.1,0.1' '--jitter -1' '--slow-link 9=0.5' '--slow-link 1=2' '--slow-link 1=0'; do galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 $o >out 2>err; echo "$o $?"; test ! -s out || echo output; grep -q '^galvatron-sim: error: ' err || cat err; done | grep -v ' 2$'
? 1
