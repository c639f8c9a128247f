# A plan beside the best of its job: what is lost adds up.
$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 2 --pp 4 -o slow.json >/dev/null 2>&1; galvatron-sim explain slow.json | sed -n '/^against/,$p' | head -3
> against the best plan of this job
...
~ ^  step [0-9.]+ s, [0-9.]+ % less; [0-9.]+ GiB of [0-9.]+ GiB$

$ galvatron-sim explain slow.json --json | jq -e '([.breakdown_s[]] | add) as $a | ([.best.breakdown_s[]] | add) as $b | (($a - $b) - (.iteration_time_s - .best.iteration_time_s) | fabs) < 1e-9 and .best.iteration_time_s < .iteration_time_s'
> true

$ galvatron-sim plan -m llama3-8b -n 1 --global-batch 32 -o best.json >/dev/null 2>&1; galvatron-sim explain best.json | tail -1
>   this is the best, or as good as any that was looked at

# A plan that does not fit: each change that is said to make it fit does, when it is made by
# hand, in the very time and memory that were told.
$ galvatron-sim simulate -m llama3-70b -n 8 --tp 4 --pp 4 --global-batch 512 -o large.json >/dev/null 2>&1; galvatron-sim explain large.json >said; grep -c -e '^fits with --' -e '^     or with --' said
> 3

$ galvatron-sim explain large.json --json | jq -r '.variants[] | select(.fits) | "\(.iteration_time_s) \(.peak_memory_bytes) \(.with)"' >fitting; while read -r time bytes change; do galvatron-sim simulate -m llama3-70b -n 8 --tp 4 --pp 4 --global-batch 512 $change --json -q | jq -c "[.fits, (.iteration_time_s / $time - 1 | fabs < 1e-9), (.peak_memory_bytes / $bytes - 1 | fabs < 1e-9)]"; done <fitting | sort | uniq -c | sed 's/^ *//'
~ ^[5-9] \[true,true,true\]$

# Nothing makes it fit, and no plan does: on so many nodes one would, and it does.
$ galvatron-sim simulate -m llama3-70b -n 1 --tp 8 --global-batch 64 -o huge.json >/dev/null 2>&1; galvatron-sim explain huge.json >said; grep -A1 '^nothing that' said; grep -c 'there is none: no plan fits' said; nodes=$(tr '\n' ' ' <said | sed 's/.*it fits with *--nodes *\([0-9]*\).*/\1/'); galvatron-sim -m llama3-70b -n $nodes --global-batch 64 --json | jq '.plans[0].fits'
> nothing that was tried makes it fit: other recomputation, ZeRO or
> micro-batch, twice the tp, cp or pp
> 1
> true

# Too many operations of too many ranks for a critical path: the rest is explained.
$ galvatron-sim simulate -m llama3-70b -n 64 --tp 4 --pp 2 --vpp 8 --schedule interleaved --zero 2 -o wide.json -q >/dev/null; galvatron-sim explain wide.json --straggler 0=1.5 | grep -e '^no critical path' -e '^largest terms' -e '^what if'
~ ^no critical path: [0-9]+ operations of 512 ranks are too many
~ ^largest terms
~ ^what if
$ galvatron-sim explain wide.json --straggler 0=1.5 --json | jq -c '[.critical_path, (.critical_path_left_out | length > 0)]'
> [null,true]

# Rows of the largest terms are told apart by what is printed of them.
$ galvatron-sim simulate -m llama2-7b -n 1 --tp 4 --pp 2 --sp megatron --micro-batch 1 --global-batch 16 -o rows.json -q >/dev/null; galvatron-sim explain rows.json | sed -n '/^largest terms/,/^$/p' | cut -c1-42 | sort | uniq -d
$ galvatron-sim explain rows.json | grep -o '^all_gather [fb]wd *decoder *mlp'
~ ^all_gather bwd +decoder +mlp$
~ ^all_gather fwd +decoder +mlp$
