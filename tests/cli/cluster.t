# simulate --all-ranks and its like: every rank of the cluster by itself.

# Without differences the answer is the folded one.
$ galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 --json >folded.json; galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 --all-ranks --json >all.json; jq -e --slurpfile f folded.json '(.iteration_time_s / $f[0].iteration_time_s - 1 | fabs < 1e-12) and .all_ranks.ranks == 16 and .all_ranks.folded_time_s == $f[0].iteration_time_s and .all_ranks.waiting_s == 0 and ($f[0] | has("all_ranks") | not)' all.json
> true

$ galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 --straggler 5=1.2 | sed -n '/^All/,$p'
> All 16 ranks, each by itself (seed 1)
> 
~ ^  step +\+[0-9.]+ % on .* with ranks alike$
~ ^  waiting +[0-9.]+ % of the step, in collectives for others$
~ ^  straggling +[0-9.]+ % of the step, idle because ranks or links differ$
~ ^  slowest +rank 5 computes .*, its stage .*$

# A file that takes an entry of the catalog, and changes a pool of it.
$ echo '{"schema": "galvatron-sim/cluster", "schema_version": "1.0", "name": "ours", "base": "dgx-h100", "pools": [{"n_nodes": 16, "inter_bytes_per_s": "200Gb/s"}]}' >ours.json; galvatron-sim simulate -m llama3-8b -c ours.json --tp 2 | sed -n 1,2p
~ on 16 x ours$
~ ^128 GPUs h100-sxm-80gb

# A mixed cluster: no stage straddles its pools.
$ echo '{"name": "mixed", "pools": [{"base": "dgx-h100"}, {"base": "dgx-a100"}]}' >mixed.json; galvatron-sim plan -m llama3-8b -c mixed.json --global-batch 64 --json | jq -e '(.plans | length) > 0 and ([.plans[].plan.pp] | min) >= 2'
> true

$ galvatron-sim plan -m llama3-8b -c mixed.json --global-batch 64 | sed -n 2,4p
~ ^16 GPUs h100-sxm-80gb \+ a100-sxm-80gb
~ ^global batch 64 .* bf16$
> 

# The slower pool gets fewer blocks, and it does not matter in which order pools are given.
$ galvatron-sim plan -m llama3-8b -c mixed.json --global-batch 64 | grep ' blocks$'
~ ^  stage 0 +h100-sxm-80gb: 2[0-9] blocks$
~ ^  stage 1 +a100-sxm-80gb: [0-9] blocks$

$ echo '{"name": "mixed", "pools": [{"base": "dgx-a100"}, {"base": "dgx-h100"}]}' >other.json; for c in mixed other; do galvatron-sim plan -m llama3-8b -c $c.json --global-batch 64 -o $c-plan.json --json -q | jq -c '[.plans[0].iteration_time_s, .plans[0].name, .searched.proven_optimal]'; done | uniq | wc -l | tr -d ' '; galvatron-sim simulate other-plan.json --json | jq '.bubble_frac < 0.1'
> 1
> true

$ galvatron-sim plan -m llama3-8b -c mixed.json --pp 1
2> galvatron-sim: error: no candidate plan: with pp 1 a stage of 16 devices straddles two pools
? 2

$ echo '{"name": "none", "pools": [{"n_nodes": 2}]}' >none.json; galvatron-sim plan -c none.json
2> galvatron-sim: error: none.json:1:1: pools[0] has no device
2~ "device": a GPU of the catalog
? 4

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

# Nothing is drawn where nothing is random, and that is said.
$ galvatron-sim simulate -m llama3-8b -n 1 --tp 2 --global-batch 32 --straggler 1=1.2 --mc-runs 20 --json | jq .all_ranks.spread
2> galvatron-sim: warning: --mc-runs has nothing to draw: it goes with --jitter, --straggler SHARE=FACTOR or --run-days
> null

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

# Straggling is a part of its own: nothing without differences, and all parts add up.
$ for o in --all-ranks --contention '--straggler 5=1.2' '--jitter 0.1,0.1 --mc-runs 3' '--slow-link 1=0.1'; do galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 $o --json | jq -c '[.breakdown_s.straggling > 0, (([.breakdown_s[]] | add) / .iteration_time_s - 1 | fabs) < 1e-12]'; done
> [false,true]
> [false,true]
> [true,true]
> [true,true]
> [true,true]

# The critical path of every rank goes through the slow one; explain shows it, too.
$ galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 --straggler 5=1.5 --json >slow.json; jq -e '.critical_path as $c | ($c.ranks | length) == 16 and $c.ranks_per_stage == 8 and ([$c.ranks[] | .path_s.compute] | index(max)) == 5 and (([$c.spent_s[]] | add) / .iteration_time_s - 1 | fabs) < 1e-12 and ([$c.ranks[] | ([.spent_s[]] | add) / $c.duration_s - 1 | fabs] | max) < 1e-9 and .stages[0].peak.micro_batches_held == 2' slow.json
> true

$ galvatron-sim explain slow.json --straggler 5=1.5 --json | jq -e --slurpfile s slow.json '.iteration_time_s == $s[0].iteration_time_s and .critical_path.ranks_per_stage == 8 and .breakdown_s.straggling > 0'
> true

# The second simulator replays every rank, where that is not too large.
$ galvatron-sim simulate -m llama3-8b -n 1 --tp 2 --pp 2 --global-batch 8 --straggler 3=1.3 --jitter 0.1,0.1 --mc-runs 3 --check --json | jq -e '.check.operations > 1000 and .check.time_frac < 1e-9 and .check.memory_frac < 1e-9 and (.check.iteration_time_s / .iteration_time_s - 1 | fabs) < 1e-9'
> true

$ galvatron-sim simulate -m llama3-8b -n 16 --tp 4 --pp 2 --global-batch 512 --all-ranks --check
2~ error: 1081728 operations of 128 ranks are too many for the second simulator: at most [0-9]+ operations of so many ranks$
2...
? 2

$ galvatron-sim simulate -m llama3-8b -n 2 --tp 4 --pp 2 --global-batch 32 --contention --check
2> galvatron-sim: error: --check: the second simulator has no shared network
2...
? 2

$ galvatron-sim simulate -m llama3-8b -n 16 --tp 4 --pp 2 --global-batch 512 --all-ranks --json | jq -r '.critical_path_left_out, has("critical_path")'
> 1081728 operations of 128 ranks are too many to be written out: at most 1000000
> false

# Sweeps and fronts try the pools in every order too, and a file says how many nodes it has.
$ for c in mixed other; do galvatron-sim sweep -m llama3-8b -c $c.json --global-batch 64 --json | jq -c '[.points[] | .nodes, .iteration_time_s]'; galvatron-sim plan -m llama3-8b -c $c.json --global-batch 64 --tp 4 --pp 2,4 --zero 1 --micro-batch 1 --front --csv | sed -n 2,3p; done >of-each; head -n 3 of-each >one; tail -n 3 of-each | cmp - one && head -n 1 one | jq '.[0]'
> 2

# Each stage may use what its own devices have.
$ echo '{"name": "unlike", "pools": [{"base": "dgx-h100"}, {"base": "dgx-a100", "device": "a100-sxm-40gb"}]}' >unlike.json; galvatron-sim plan -m llama3-8b -c unlike.json --global-batch 64 --json | jq -c '[.plans[].stages[] | .peak_memory_bytes <= .memory_limit_bytes] | all, ([.[]] | length > 0)'; galvatron-sim plan -m llama3-8b -c unlike.json --global-batch 64 --json | jq '[.plans[0].stages[].peak_memory_bytes] | max > 50e9'
> true
> true
> true

# Clusters side by side.
$ galvatron-sim sweep -m llama3-8b -c mixed.json,dgx-a100 --global-batch 64 --tp 4 | sed -n 1,6p
~ ^galvatron-sim .* llama3-8b on several clusters$
~ ^seq 8192 · global batch 64
> 
~ ^nodes +GPUs +cluster +plan
~ 
~ ^    2 +16 +mixed +tp4

# Pools take strategies of their own where that is faster.
$ galvatron-sim plan -m llama2-13b -c unlike.json --global-batch 64 --seq-length 8192 --tp 1 --pp 2 --zero 2 | grep 'blocks, '
~ ^  stage 0 +a100-sxm-40gb: [0-9]+ blocks, dp8 zero2 recompute$
~ ^  stage 1 +h100-sxm-80gb: [23][0-9] blocks, dp8 zero2$

$ for u in '' --uniform; do galvatron-sim plan -m llama2-13b -c unlike.json --global-batch 64 --seq-length 8192 --tp 1 --pp 2 --zero 2 $u --json | jq .plans[0].iteration_time_s; done | jq -s '.[0] < 0.999 * .[1]'
> true

# Ctrl-C: the runs drawn so far.
$ timeout --preserve-status -s INT 1 galvatron-sim simulate -m llama3-8b -n 8 --tp 2 --jitter 0.05 --mc-runs 1000000 -j 1 >cut 2>/dev/null; echo $?; grep -c '^  interrupted: .* of 1 000 000 runs$' cut; grep -c P95 cut
> 130
> 1
> 1
