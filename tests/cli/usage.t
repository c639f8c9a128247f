# The command line is wrong: exit 2, nothing on standard output, and what was meant.

$ galvatron-sim pln
2> galvatron-sim: error: unknown command 'pln'
2>   did you mean 'plan'?
? 2

$ galvatron-sim frobnicate
2> galvatron-sim: error: unknown command 'frobnicate'
2>   the commands: galvatron-sim help
? 2

# A file is not a command; the bare form takes options only.
$ galvatron-sim cases.csv
2> galvatron-sim: error: unknown command 'cases.csv'
2>   for a file: galvatron-sim simulate cases.csv
? 2

$ galvatron-sim --nodes 2 plam
2> galvatron-sim: error: unknown command 'plam'
2>   did you mean 'plan'?
? 2

$ galvatron-sim --node 64
2> galvatron-sim: error: unknown option '--node'
2>   did you mean '--nodes'?
? 2

# The value of a mistyped option is not taken for a command.
$ galvatron-sim --nodse 64
2> galvatron-sim: error: unknown option '--nodse'
2>   did you mean '--nodes'?
? 2

# Options are never matched by their beginning.
$ galvatron-sim plan --glob 64
2> galvatron-sim: error: unknown option '--glob'
2>   its options: galvatron-sim help plan
? 2

# Every command, with a letter too many.
$ for c in plan sweep simulate explain compare render validate import catalog help version completion calibrate export profile run; do galvatron-sim ${c}q 2>&1 | grep -q "did you mean '$c'?" || echo "$c"; done

# Every option of every command, with a letter too many.
$ for c in plan sweep simulate explain compare render validate import catalog; do for o in $(galvatron-sim help $c | sed -n 's/^  \(-[a-zA-Z], \|    \)\(--[a-z-]*\).*/\2/p'); do galvatron-sim $c ${o}q 2>&1 | grep -q -- "did you mean '$o'?" || echo "$c $o"; done; done

$ galvatron-sim simulate --top 3
2> galvatron-sim: error: 'simulate' takes no option '--top'
2>   '--top' belongs to: plan
? 2

$ galvatron-sim plan extra more
2> galvatron-sim: error: 'plan': unexpected argument 'more'
2>   usage: galvatron-sim plan [PLAN.json] [OPTIONS]
? 2

$ galvatron-sim compare a.json
2> galvatron-sim: error: 'compare' needs A.json B.json
2>   for example: galvatron-sim compare a.json b.json
? 2

$ galvatron-sim -n
2> galvatron-sim: error: option '--nodes' needs a value
2>   for example: --nodes 64
? 2

$ galvatron-sim --nodes --json
2> galvatron-sim: error: option '--nodes' needs a value
2>   for example: --nodes 64
? 2

$ galvatron-sim --json=yes
2> galvatron-sim: error: option '--json' takes no value
? 2

# Numbers.
$ galvatron-sim -n 0
2> galvatron-sim: error: --nodes 0: 0 is not between 1 and 1000000
? 2

$ galvatron-sim -n 1000000000
2> galvatron-sim: error: --nodes 1000000000: 1000000000 is not between 1 and 1000000
? 2

$ for n in -1 nan inf 1e99 3x 1.5 '' ' ' 0x10 99999999999999999999; do galvatron-sim -n "$n" >out 2>err; echo "$? $(wc -c <out | tr -d ' ') $(wc -l <err | tr -d ' ')"; done | cut -c1-3 | sort -u
> 2 0

$ galvatron-sim --memory-limit 128M
2> galvatron-sim: error: --memory-limit 128M: '128M' can be read two ways
2>   write 128MB (10^6) or 128MiB (2^20)
? 2

$ galvatron-sim --memory-limit 0
2> galvatron-sim: error: --memory-limit 0: 0 bytes are less than any GPU has
2~ 80GiB
? 2

$ galvatron-sim --seq-length 4K
2~ can be read two ways
2...
? 2

$ for v in nan -5 1e30 abc 0; do galvatron-sim --global-batch $v >/dev/null 2>&1; echo $?; done | sort -u
> 2

$ for v in 1,,2 , 0 -1 a 8..4:x2 1..9:x0 1..9:+0 1..; do galvatron-sim --tp "$v" >out 2>/dev/null; echo "$v $?"; test ! -s out || echo output; done | grep -v ' 2$'; true

# Words.
$ galvatron-sim --sp megatrn
2> galvatron-sim: error: --sp megatrn: unknown word 'megatrn'
2>   did you mean 'megatron'?
? 2

$ galvatron-sim --zero 4
2> galvatron-sim: error: --zero 4: unknown word '4'
2>   one of: 0, 1, 2, 3
? 2

$ galvatron-sim --schedule 1f2b
2~ 1f2b
2>   did you mean '1f1b'?
? 2

$ galvatron-sim --color red
2> galvatron-sim: error: --color red: unknown word 'red'
2>   expected one of: auto, always, never
? 2

# Names.
$ galvatron-sim -m llama3-70
2> galvatron-sim: error: unknown model 'llama3-70'
2~ did you mean 'llama3-70b'
? 2

$ galvatron-sim -c dgx-h10
2> galvatron-sim: error: unknown cluster 'dgx-h10'
2~ did you mean 'dgx-h100'
? 2

$ galvatron-sim --gpu h100
2> galvatron-sim: error: unknown GPU 'h100'
2~ there is: .*h100-sxm-80gb
? 2

$ galvatron-sim --gpu h100-sxm-80gb -c dgx-h100
2> galvatron-sim: error: --gpu and --cluster are two ways to say the same
2>   give one of them
? 2

$ galvatron-sim --set inter.bandwith=2x
2~ 'inter.bandwith' cannot be set
2>   did you mean 'inter.bandwidth'?
? 2

# No key is near: where they are listed is said, and they are there.
$ galvatron-sim --set price=2.5
2> galvatron-sim: error: --set price=2.5: 'price' cannot be set
2>   `galvatron-sim help units` lists the keys
? 2

$ galvatron-sim help units | grep -c -E "(inter.bandwidth|usd_per_device_hour|device.flops) "
> 2

# Gradients are not summed in every precision that products have.
$ galvatron-sim simulate -n 1 --grad-precision tf32
2> galvatron-sim: error: --grad-precision tf32: unknown word 'tf32'
2>   expected one of: fp32, bf16, fp16
? 2

$ for v in foo = inter.bandwidth= inter.bandwidth=-1GB/s inter.bandwidth=nan inter.bandwidth=0x inter.latency=5m; do galvatron-sim --set "$v" >out 2>/dev/null; echo "$v $?"; test ! -s out || echo output; done | grep -v ' 2$'; true

# Degrees that cannot be.
$ galvatron-sim simulate -n 1 --tp 16
2> galvatron-sim: error: tp 16 x cp 1 x pp 1 does not divide 8 GPUs
2>   dp is what is left: GPUs / (tp x cp x pp)
? 2

# 64 heads are not divided by 3.
$ galvatron-sim simulate -n 3 --tp 3
2~ ^galvatron-sim: error: .*tp 3
2...
? 2

$ galvatron-sim -n 3 --tp 3
2~ ^galvatron-sim: error: 
2...
? 2

$ galvatron-sim simulate --tp 1,2
2> galvatron-sim: error: --tp 1,2: one plan takes one value
2>   to search within a list: galvatron-sim plan
? 2

$ galvatron-sim simulate -n 2 --tp 8 --pp 2 --global-batch 13 --micro-batch 2
2~ global batch 13 is not a multiple
2~ 12 and 14
? 2

$ galvatron-sim -o picture.gif
2> galvatron-sim: error: --output picture.gif: not a kind of file that plan writes
2>   known here: .json .csv .png .svg .pdf, or a folder
? 2

# A place that cannot be written to is refused before the search, not after it.
$ timeout 20 galvatron-sim sweep -m deepseek-v3 -n 64..1024:x2 -o nowhere/map.json
2> galvatron-sim: error: nowhere/map.json: cannot create: No such file or directory
? 1
$ timeout 20 galvatron-sim sweep -m deepseek-v3 -n 64..1024:x2 -o cases.csv/out
2> galvatron-sim: error: cases.csv/out: cannot make the folder: Not a directory
? 1

$ galvatron-sim render cases.csv
2> galvatron-sim: error: where should the picture go?
2>   -o FILE.png, .svg or .pdf; or --ascii for the terminal
? 2

$ for w in 1..0 a..b 1 ..1 -1..1 0s..nan; do galvatron-sim render cases.csv --window $w -o a.png >/dev/null 2>&1; echo $?; done | sort -u
> 2

# What needs hardware is handed to another program, word for word, and so is its end.
$ printf '#!/bin/sh\nprintf "[%%s]" "$@"; echo; exit 7\n' >executor; chmod +x executor; GALVATRON_EXEC=./executor galvatron-sim --color never run 'a plan.json' --steps 3 -o '' --whatever
> [run][a plan.json][--steps][3][-o][][--whatever]
? 7

$ for c in profile run; do GALVATRON_EXEC=./nowhere galvatron-sim $c x.json --whatever 3 2>/dev/null; echo $?; done | sort -u
> 6

$ GALVATRON_EXEC=./nowhere galvatron-sim run plan.json
2> galvatron-sim: error: GALVATRON_EXEC: cannot run './nowhere'
? 6

$ galvatron-sim help run | head -2
> Usage: galvatron-sim run PLAN.json [OPTIONS]
> 

# What was typed cannot steer the terminal.
$ galvatron-sim "$(printf 'a\033[31mb')"
2> galvatron-sim: error: unknown command 'a?[31mb'
2>   the commands: galvatron-sim help
? 2

$ galvatron-sim --model "$(head -c 5000 /dev/zero | tr '\0' x)" 2>&1 | head -c 60
> galvatron-sim: error: unknown model 'xxxxxxxxxxxxxxxxxxxxxxx

# Two formats at once: one would be ignored.
$ galvatron-sim plan -m llama3-8b -n 1 --json --csv
2> galvatron-sim: error: --json and --csv do not go together
? 2

# One micro-batch is one, and what rounds to nothing has no sign.
$ galvatron-sim plan -m llama3-8b -n 1 --global-batch 7 --uniform | grep -c -e 'micro-batches of' -e ' [-+]0.0 '
> 0
? 1

# What Galvatron's model is asked for has no table of candidates.
$ galvatron-sim plan -m llama2-7b --gpu a100-sxm-80gb -n 1 --galvatron-profile nowhere --csv
2> galvatron-sim: error: --csv and --galvatron-profile do not go together
? 2

# Limits that limit everything or nothing are mistakes, and a long list of words is told.
$ galvatron-sim plan --memory-limit 80
2> galvatron-sim: error: --memory-limit 80: 80 bytes are less than any GPU has
2~ 80GiB
? 2

$ galvatron-sim sweep -n 1 --memory-limit 40GiB,0
2> galvatron-sim: error: --memory-limit 0: 0 bytes are less than any GPU has
2...
? 2

$ for c in plan 'plan --front' sweep; do galvatron-sim $c --time-limit 0; done
2> galvatron-sim: error: --time-limit 0: must be more than nothing
2> galvatron-sim: error: --time-limit 0: must be more than nothing
2> galvatron-sim: error: --time-limit 0: must be more than nothing
? 2

$ galvatron-sim validate --cases cases.csv --by nothing
2> galvatron-sim: error: --by nothing: unknown word 'nothing'
2~ one of: all, source, family, .*, attention$
? 2

# Experts are not spread in a model that has none, by hand as in a search.
$ for c in 'simulate --tp 2' plan; do galvatron-sim $c -m llama3-8b -n 1 --ep 2; done
2> galvatron-sim: error: --ep 2: the model has no experts
2> galvatron-sim: error: no candidate plan: the model has no experts for --ep
? 2

# One place for what is written: none is dropped silently.
$ galvatron-sim plan -m llama3-8b -n 1 -o a.png -o b.json
2> galvatron-sim: error: --output is given twice: a.png and b.json
2>   one file, or a folder for all that can be written
? 2

$ galvatron-sim plan -m llama3-8b -n 1 -o ''
2> galvatron-sim: error: --output is empty
2>   known here: .json .csv .png .svg .pdf, or a folder
? 2
