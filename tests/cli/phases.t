# A plan for each phase of a run.
$ printf 'phase,seq_length,global_batch,tokens\nshort,2048,64,2G\nlong,131072,16,5G\n' >phases.csv; galvatron-sim plan -m llama3-8b -n 2 --phases phases.csv --restart-time 0s -o pp | sed -n '5,$p'
~ ^phase +seq +batch +plan +step( +MFU)? +time +switch$
~ ^ +s( +%)? +s$
~ ^short +2048 +64 +.* -$
~ ^long +131072 +16 +.* [0-9.]+$
...
~ ^[0-9.]+ [hd] in all, 1 switch$
~ ^no sequence of plans takes less than [0-9.]+ [hd] \(-[0-9.]+ %\)$
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

# Uneven batches and lengths; a micro-batch may change without a switch, so one layout is
# kept where switching is dear, with what suits each phase.
$ printf 'phase,seq_length,global_batch,tokens\na,2048,31,1G\nb,8192,100,20G\nc,1000,24,1G\n' >odd.csv; galvatron-sim plan -m llama3-8b -n 3 --phases odd.csv --uniform --restart-time 30d --json | jq -c '[.switches, (.lower_bound_s <= .time_s), (.kept_time_s == .time_s), ([.phases[].switch_time_s] | add)]'
> [0,true,true,0]

$ galvatron-sim plan -m llama3-8b -n 2 --phases phases.csv --uniform --restart-time 0s | grep ^proven
> proven: no sequence of plans takes less

# Bad files: none is read in part, or for something else.
$ for f in '' 'tokens' 'tokens\n0' 'tokens\n-3G' 'tokens,seq_length\n3G,0' 'tokens,global_batch\n3G,1.5' 'tokens,seq_length\n1G,2048,5' 'tokens,tokens\n1G,2G' 'tokens,seq_length\n1G,100000000'; do printf "$f\n" >bad.csv; galvatron-sim plan -m llama3-8b -n 1 --phases bad.csv >/dev/null 2>&1; printf "$?"; done; echo
> 444444443

$ galvatron-sim plan --phases phases.csv --csv
2> galvatron-sim: error: --phases and --csv do not go together
? 2
