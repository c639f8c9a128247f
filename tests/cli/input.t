# Input files are wrong: exit 4, with file and line, and nothing on standard output.

$ galvatron-sim simulate missing.json
2~ ^galvatron-sim: error: missing.json: .*No such file
2...
? 4

$ mkdir folder; galvatron-sim simulate folder
2~ folder
2...
? 4

$ printf '{"schema": "galvatron-sim/plan",' >cut.json; galvatron-sim simulate cut.json
2~ ^galvatron-sim: error: cut.json:1:
2...
? 4

$ : >empty.json; galvatron-sim simulate empty.json
2~ empty.json
2...
? 4

$ head -c 3000 /dev/urandom >binary.json; for c in simulate explain 'render -o a.png' 'validate' 'import huggingface'; do galvatron-sim $c binary.json >out 2>/dev/null; echo "$? $(wc -c <out | tr -d ' ')"; done | sort -u
> 4 0

$ galvatron-sim simulate -n 1 --tp 8 -m llama3-8b -o plan.json -q >/dev/null; jq .plan plan.json >/dev/null && echo written
> written

# Every key that a document may not have is named, with the one that was meant.
$ jq '.plan.plan.pp_degree = 3' plan.json >bad.json 2>/dev/null || jq '.plan.pp_degree = 3' plan.json >bad.json; galvatron-sim simulate bad.json
2~ ^galvatron-sim: error: bad.json:[0-9]+:
2...
? 4

$ galvatron-sim --model model.json 2>/dev/null; galvatron-sim import model llama-config.json -o model.json -q && sed 's/"hidden_size": 2048/"hidden_siez": 2048/' model.json >typo.json; galvatron-sim -m typo.json -n 1
2~ ^galvatron-sim: error: typo.json:[0-9]+:[0-9]+: .*hidden_siez
2~ did you mean 'hidden_size'
? 4

$ sed 's/"hidden_size": 2048/"hidden_size": -2048/' model.json >negative.json; galvatron-sim -m negative.json -n 1
2~ ^galvatron-sim: error: negative.json:[0-9]+
2...
? 4

$ sed 's/"hidden_size": 2048/"hidden_size": 1e400/' model.json >huge.json; galvatron-sim -m huge.json -n 1
2~ ^galvatron-sim: error: huge.json
2...
? 4

$ sed 's/"hidden_size": 2048/"hidden_size": NaN/' model.json >nan.json; galvatron-sim -m nan.json -n 1
2~ ^galvatron-sim: error: nan.json:[0-9]+
2...
? 4

# Every proper prefix of a document is refused, none crashes.
$ n=$(wc -c <model.json); i=1; while [ $i -lt $((n - 2)) ]; do head -c $i model.json >p.json; galvatron-sim -m p.json -n 1 --dry-run >out 2>/dev/null; [ $? -eq 4 ] || echo "$i: $?"; [ ! -s out ] || echo "$i: output"; i=$((i + 97)); done

$ printf 'kind,device\ncompute' >profile.csv; galvatron-sim --profile profile.csv -n 1
2~ ^galvatron-sim: error: profile.csv:2
2...
? 4

$ sed '2s/,3.528,/,-3.528,/' cases.csv >negative.csv; galvatron-sim validate negative.csv >/dev/null
2~ ^galvatron-sim: error: negative.csv:2
2...
? 4

$ sed '2s/,3.528,/,nan,/' cases.csv >nan.csv; galvatron-sim validate nan.csv >/dev/null
2~ ^galvatron-sim: error: nan.csv:2
2...
? 4

$ sed '1s/case_id/case/' cases.csv >column.csv; galvatron-sim validate column.csv
2~ ^galvatron-sim: error: column.csv
2...
? 4

# Standard input is an input file too.
$ echo '{' | galvatron-sim simulate -
2~ ^galvatron-sim: error: standard input:
2...
? 4

$ galvatron-sim render scaling plan.json -o a.png
2~ no sweep in this file
2...
? 4

$ galvatron-sim import galvatron folder --gpu a100-sxm-80gb
2...
? 4

# A file without anything in it is said to be that, whatever it should be.
$ : >nothing; printf ' \n' >blank; for c in 'simulate nothing' 'explain blank' 'compare nothing nothing' 'render nothing -o x.png' 'plan -m nothing' 'plan -c blank' 'validate --cases nothing' 'plan --phases nothing' 'simulate --stage-times nothing'; do galvatron-sim $c 2>&1 >out | sed 's/.*error: //'; test ! -s out || echo output; done
> nothing:1: the file is empty: JSON is needed
> blank:1: the file is empty: JSON is needed
> nothing:1: the file is empty: JSON is needed
> nothing:1: the file is empty: JSON is needed
> nothing:1: the file is empty: JSON is needed
> blank:1: the file is empty: JSON is needed
> nothing: the file is empty: a header row is needed
> nothing: the file is empty: a header row is needed
> nothing: the file is empty: a header row is needed

# A warning becomes an error when asked for.
$ galvatron-sim simulate -n 1 --tp 8 -m llama3-8b --precision nvfp4 >/dev/null
2> galvatron-sim: warning: h100-sxm-80gb has no nvfp4: priced as fp8

$ galvatron-sim simulate -n 1 --tp 8 -m llama3-8b --precision nvfp4 --strict
2> galvatron-sim: error: h100-sxm-80gb has no nvfp4: priced as fp8
2>   a warning without --strict
? 4

$ galvatron-sim simulate -n 1 --tp 8 -m llama3-8b --precision nvfp4 -q >/dev/null

# A configuration that does not say its name is called as its file, or its folder.
$ mkdir tiny-llama; cp llama-config.json tiny-llama/config.json; for path in llama-config.json tiny-llama/config.json; do galvatron-sim import huggingface $path | jq -r .name; done
> llama-config
> tiny-llama

# A schedule that nobody knows is the fault of the file that names it.
$ printf '{"schema": "galvatron-sim/plan", "model": "llama3-8b", "cluster": "dgx-h100", "n_nodes": 1, "tp": 2, "pp": 2, "micro_batch_size": 1, "schedule": "1f1v", "workload": {"global_batch_size": 64}}' >word.json; galvatron-sim simulate word.json
2> galvatron-sim: error: word.json: schedule: no schedule '1f1v'
2~ did you mean '1f1b'
? 4

$ galvatron-sim --schedule nothing
2> galvatron-sim: error: no schedule 'nothing'
2~ catalog schedules
? 2

$ printf '{"schema": "galvatron-sim/cluster", "name": "ours", "base": "dgx-h100", "levels": "leaf"}' >levels.json; galvatron-sim -m llama3-8b -c levels.json -n 1
2~ ^galvatron-sim: error: levels.json:1:[0-9]+: levels: must be a list of up to
? 4

# A slip in the name of a column is no column of others.
$ sed '1s/,recompute,/,recompte,/' cases.csv >slip.csv; galvatron-sim validate --cases slip.csv
2> galvatron-sim: error: slip.csv:1: unknown column 'recompte'
2>   did you mean 'recompute'?
? 4

$ galvatron-sim simulate -n 1 --tp 8 -m llama3-8b -o slip.csv -q >/dev/null; sed '1s/micro_batch/micro_bacth/' slip.csv >t.csv; galvatron-sim render t.csv -o t.png
2> galvatron-sim: error: t.csv:1: unknown column 'micro_bacth'
2~ did you mean 'micro_batch'
? 4

$ printf 'kind,device,precison,op,value\nfactor,a100-sxm-80gb,bf16,gemm,1.2\n' >slip.csv; galvatron-sim simulate -n 1 --tp 8 -m llama3-8b --profile slip.csv
2> galvatron-sim: error: slip.csv:1: unknown column 'precison'
2~ did you mean 'precision'
? 4

# A factor that nothing is called would change nothing.
$ printf 'kind,device,op,value\nfactor,h100-sxm-80gb,netwrok_frac,0.5\nfactor,h100-sxm-80gb,network,0.5\n' >factors.csv; galvatron-sim simulate -n 1 --tp 8 -m llama3-8b --profile factors.csv >/dev/null
2> galvatron-sim: warning: no factor 'netwrok_frac', which a profile gives; did you mean 'network_frac'?
2> galvatron-sim: warning: no factor 'network', which a profile gives
