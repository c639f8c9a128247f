# A plan for each phase of a run.
$ printf 'phase,seq_length,global_batch,tokens\nshort,2048,64,2G\nlong,131072,16,5G\n' >phases.csv; galvatron-sim plan -m llama3-8b -n 2 --phases phases.csv --restart-time 0s -o pp | sed -n '5,$p'
~ ^phase +seq +batch +plan +step +MFU +time +switch$
~ ^ +s +% +s$
~ ^short +2048 +64 +.* -$
~ ^long +131072 +16 +.* [0-9.]+$
...
~ ^[0-9.]+ [hd] in all, 1 switch$
~ ^keeping .* throughout: [0-9.]+ [hd], [0-9.]+ % more$
~ ^a switch moves
> (--restart-time)
2> wrote pp/plan-1.json
2> wrote pp/plan-2.json

$ galvatron-sim simulate pp/plan-2.json --json | jq -c '[.config.workload.seq_length, .config.workload.global_batch_size] // .' | head -c 40
...

$ galvatron-sim plan -m llama3-8b -n 2 --phases phases.csv --restart-time 0s --json >p1; galvatron-sim plan -m llama3-8b -n 2 --phases phases.csv --restart-time 0s --json -j 2 >p2; jq -e '(.phases | length) == 2 and ((.time_s - ([.phases[] | .time_s + .switch_time_s] | add)) | fabs) < 1e-6 * .time_s and .time_s <= .kept_time_s' p1
> true

$ diff p1 p2 | grep -v wall_s | grep -c '^[<>]'
> 0
? 1

$ printf 'phase,seq_length\na,2048\n' >bad.csv; galvatron-sim plan --phases bad.csv
2~ ^galvatron-sim: error: bad.csv:1.*tokens
...
? 4

# A column that nobody reads would change the answer in silence.
$ printf 'tokens,global_batch_size\n2G,64\n' >bad.csv; galvatron-sim plan --phases bad.csv
2> galvatron-sim: error: bad.csv:1: unknown column 'global_batch_size'
2>   did you mean 'global_batch'?
? 4

$ galvatron-sim plan --phases phases.csv --front
2> galvatron-sim: error: --front and --phases do not go together
? 2

$ printf 'seq_length,tokens\n2048,many\n' >bad.csv; galvatron-sim plan --phases bad.csv
2~ ^galvatron-sim: error: bad.csv:2.*tokens.*many
2...
? 4
