# Standard output has the result, standard error the rest; widths, colour, failing writes.

# No line of default output is wider than 80 columns.
$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 4 --pp 2 -o p.json -q >/dev/null; { galvatron-sim -n 8 --tp 8 --pp 4; galvatron-sim -m gpt3-175b -n 128 --tp 8 --pp 8 --zero 1; galvatron-sim -m mixtral-8x7b -n 8 --ep 8 --tp 1,2; galvatron-sim sweep -n 4..16:x2 --tp 8 --pp 4 --zero 1; galvatron-sim sweep -m llama3-8b --gpu a100-sxm-80gb,h200-sxm-141gb -n 1,2 --tp 2 --tokens 1T; galvatron-sim simulate p.json; galvatron-sim explain p.json; galvatron-sim compare p.json p.json; galvatron-sim render p.json --ascii; galvatron-sim validate cases.csv --details; for k in models gpus clusters schedules; do galvatron-sim catalog $k; done; galvatron-sim catalog models llama3-70b; galvatron-sim catalog gpus h100-sxm-80gb; galvatron-sim catalog clusters dgx-h100; galvatron-sim catalog schedules 1f1b; galvatron-sim --print-config; galvatron-sim --dry-run; galvatron-sim version; } >all 2>err; LC_ALL=C sed 's/\xc2\xb7/./g; s/\xe2\x80\xa6/./g' all | awk 'length($0) > 80'; cat err; wc -l <all | awk '{print ($1 > 200)}'
> 1

# Nothing that is piped has an escape code, nor trailing blanks.
$ tr -d -c '\033' <all | wc -c | tr -d ' '; grep -c ' $' all; true
> 0
> 0

$ NO_COLOR=1 galvatron-sim simulate p.json --color always | tr -d -c '\033' | wc -c | awk '{print ($1 > 0)}'
> 1

$ galvatron-sim nonsense --color always 2>&1 | tr -d -c '\033' | wc -c | tr -d ' '
> 0

# A name in a file cannot steer the terminal either.
$ galvatron-sim import model llama-config.json | sed 's/"name": "[^"]*"/"name": "a\\u001b[31mb"/' >evil.json; galvatron-sim simulate -m evil.json -n 1 --global-batch 16 --color always | head -n 1
> galvatron-sim 0.1.0   a?[31mb on 1 x dgx-h100

# On a terminal: bold headings, and none with NO_COLOR or a dumb terminal.
$ if script -qec true /dev/null </dev/null >/dev/null 2>&1; then for e in A=b NO_COLOR=1 TERM=dumb; do script -qec "env TERM=xterm $e galvatron-sim catalog models" /dev/null </dev/null | tr -d -c '\033' | wc -c | awk '{print ($1 > 0)}'; done; else printf '1\n0\n0\n'; fi
> 1
> 0
> 0

# ASCII stands in where the locale is not UTF-8.
$ LC_ALL=C galvatron-sim simulate p.json | LC_ALL=C tr -d '\000-\177' | wc -c | tr -d ' '
> 0

$ LC_ALL=C galvatron-sim simulate p.json | sed -n 2p
~ ^8 GPUs h100-sxm-80gb \| seq 8192 \|

# Every command that has --json prints one document and no more.
$ for c in 'plan -m llama3-8b -n 1 --tp 2' 'sweep -m llama3-8b -n 1 --tp 2' 'simulate p.json' 'explain p.json' 'compare p.json p.json' 'validate cases.csv' catalog 'catalog gpus' 'catalog gpus h100-sxm-80gb' version '--print-config' '--dry-run -n 2'; do galvatron-sim $c --json | jq -es 'length == 1' >/dev/null || echo "$c"; done

# The machine fails us.
$ galvatron-sim version >/dev/full
2~ ^galvatron-sim: error: cannot write to standard output
? 1

$ galvatron-sim simulate p.json -o /nonexistent/folder/x.json
2~ ^galvatron-sim: error: 
2...
? 1

# A reader that goes away is no error to talk about.
$ galvatron-sim catalog models --json | head -n 1
> {

# Progress is for terminals; asked for, it is one line, wiped at the end.
$ galvatron-sim -m llama3-8b -n 1 --tp 2 --pp 1 --progress never 2>&1 >/dev/null | wc -c | tr -d ' '
> 0

# Seeds are told and change nothing where nothing is random.
$ galvatron-sim simulate p.json --seed 7 --json | jq .seed
> 7
