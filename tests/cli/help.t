# Help: written from the tables, at most 80 columns wide, and complete.

$ galvatron-sim version
> galvatron-sim 0.1.0

$ galvatron-sim --version
> galvatron-sim 0.1.0

$ galvatron-sim plan -V
> galvatron-sim 0.1.0

$ galvatron-sim version --json | jq -r .schema
> galvatron-sim/version

$ galvatron-sim -h
> Usage: galvatron-sim [COMMAND] [OPTIONS]
> Plan and simulate hybrid-parallel transformer training. No GPU needed.
...

$ galvatron-sim help simulate
> Usage: galvatron-sim simulate [PLAN.json] [OPTIONS]
...
~ --program
...

$ galvatron-sim simulate --help >a; galvatron-sim help simulate | cmp a -

# No line is wider than 80 columns: short help, long help, topics.
$ for c in plan sweep simulate explain compare render validate import catalog help version completion calibrate export profile run; do galvatron-sim $c -h; galvatron-sim help $c; done | awk 'length($0) > 80'

$ { galvatron-sim -h; galvatron-sim --help; for t in units exit-codes formats; do galvatron-sim help $t; done; } | awk 'length($0) > 80'

$ galvatron-sim help exit-codes
> Exit status
...
~ 130 .*interrupted
...

# Every command of the short help has a page of its own.
$ galvatron-sim help | sed -n '/^Commands/,/^$/s/^  \([a-z]*\) .*/\1/p' | while read -r c; do galvatron-sim help "$c" | head -n 1; done | wc -l | tr -d ' '
> 16

# Every option in the long help is also in the manual page and in every completion.
$ galvatron-sim help plan | grep -o -- '--[a-z][a-z-]*' | sort -u >options; galvatron-sim help --man plan | sed 's/\\-/-/g' >man; for s in bash zsh fish; do galvatron-sim completion $s >$s; done; sed -i 's/ -l \([a-z-]*\)/ --\1/' fish; while read -r o; do for f in man bash zsh fish; do grep -q -- "$o" $f || echo "$o not in $f"; done; done <options; wc -l <options | tr -d ' '
~ ^[345][0-9]$

$ bash -n bash && echo good
> good

# The completion of bash completes commands, options, names of the catalog, words.
$ printf '%s\n' '. ./bash; COMP_WORDS=(galvatron-sim "$@"); COMP_CWORD=$#; _galvatron_sim; echo "${COMPREPLY[@]}"' >try.bash; for w in 'catalog mo' 'plan --nod' 'plan --model llama3-70' '--precision nv' 'simul' 'help exit'; do bash try.bash $w; done
> models
> --nodes
> llama3-70b
> nvfp4
> simulate
> exit-codes

# The last word of a list, --option=value (three words to bash), and entries of a catalog.
$ for w in 'plan --sp none,m' 'sweep -c dgx-h100,dgx-b2' 'plan --precision = tf' 'plan --color =' 'catalog gpus h200'; do bash try.bash $w; done
> none,megatron
> dgx-h100,dgx-b200
> tf32
> auto always never
> h200-sxm-141gb

$ galvatron-sim help --man | head -n 1
> .TH GALVATRON\-SIM 1 "" "galvatron\-sim 0.1.0" "galvatron\-sim manual"

$ galvatron-sim help --man simulate | grep '^\.SH'
> .SH NAME
> .SH SYNOPSIS
> .SH DESCRIPTION
> .SH OPTIONS
> .SH EXAMPLES
> .SH SEE ALSO

$ galvatron-sim help nonsense
2> galvatron-sim: error: no help on 'nonsense'
2>   what there is: galvatron-sim help
? 2

$ galvatron-sim completion csh
2~ unknown shell 'csh'
2...
? 2
