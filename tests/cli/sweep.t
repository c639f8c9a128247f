# sweep, validate, import, catalog: many of a kind.

$ galvatron-sim sweep -m llama3-8b -n 1..4:x2 --tp 1,2 --pp 1
> galvatron-sim 0.1.0   llama3-8b on dgx-h100
~ ^seq 8192 · global batch [0-9 ]+ \(.* tokens\) everywhere · bf16$
...
~ ^nodes  GPUs  plan
...
~ ^    1     8  
~ ^    2    16  
~ ^    4    32  
...

$ galvatron-sim sweep -m llama3-8b -n 1,2 --gpu a100-sxm-80gb,h100-sxm-80gb --tp 2 --pp 1 --tokens 1T --json | jq -e '.schema == "galvatron-sim/sweep" and (.points | length) == 4 and (.pareto | length) > 0 and .points[0].gpu == "a100-sxm-80gb" and .points[3].days > 0 and .points[3].usd > 0 and .points[0].scaling_frac == 1'
> true

$ for j in 1 2; do galvatron-sim sweep -m llama3-8b -n 1,2 --tp 2 --csv -j $j >s$j; done; cmp s1 s2; head -n 1 s1 | cut -d, -f1-4
> nodes,gpus,gpu,cluster

$ galvatron-sim sweep -m llama3-8b -n 1,2 --tp 2 --pp 1 -o s -q >/dev/null; ls s; for k in scaling pareto; do galvatron-sim render $k s/sweep.json -o $k.svg -q; head -c 5 $k.svg; echo; done
> sweep.csv
> sweep.json
> sweep.png
> <svg 
> <svg 

# Points of one line differ in their size alone: clusters of the same GPU, and batches, have
# lines of their own, in the sweep's picture and in one made of its file.
$ galvatron-sim sweep -m llama3-8b -n 1,2 -c dgx-h100,gcp-a3-high --tp 2 --pp 1 --tokens 1T --global-batch 64,128 -o both -q >/dev/null; jq -c '[.points[].series] | unique' both/sweep.json
> ["dgx-h100, batch 128","dgx-h100, batch 64","gcp-a3-high, batch 128","gcp-a3-high, batch 64"]
$ for k in scaling pareto; do galvatron-sim render $k both/sweep.json -o $k.svg -q; done; grep -o '>gcp-a3-high, batch [0-9]*<' scaling.svg; grep -o '>[a-z ]*for 1e12 tokens<' pareto.svg; grep -o '>16 dgx-h100, batch 128<' pareto.svg
> >gcp-a3-high, batch 64<
> >gcp-a3-high, batch 128<
> >days for 1e12 tokens<
> >16 dgx-h100, batch 128<

$ galvatron-sim sweep -n 1..1000000:+1
2~ ^galvatron-sim: error: --nodes 1..1000000:.1: 
2...
? 2

$ galvatron-sim sweep -n 1,2 --print-config | grep -e --nodes
> --nodes               1,2               command line

# A cluster on which nothing fits is a row; when nothing fits anywhere, exit 3.
$ galvatron-sim sweep -n 1,8 --tp 8 --pp 4 | grep -c 'no plan\|nothing fits'
> 1

$ galvatron-sim sweep -n 1 --tp 8
2~ ^galvatron-sim: error: no plan fits
2...
? 3

# A plan document is not a sweep; candidates make a Pareto figure.
$ galvatron-sim -m llama3-8b -n 1 --tp 1,2 -o c.csv -q >/dev/null; galvatron-sim render pareto c.csv -o p.png
2> wrote p.png

# validate
$ galvatron-sim validate --cases cases.csv
~ ^source .* MAPE
...
~ ^Megatron-LM SC21 Table 1
...

$ galvatron-sim validate cases.csv --details | grep -c megatron_sc21_a100-
> 3

$ galvatron-sim validate cases.csv --json | jq -e '.schema == "galvatron-sim/validate" and (.cases | length) == 3 and .n_timed == 3 and .mape_frac >= 0 and ((.cases[0] | .predicted_iteration_time_s / .measured_iteration_time_s - 1) - .cases[0].error | fabs) < 1e-12'
> true

$ for j in 1 2; do galvatron-sim validate cases.csv --json -j $j >v$j; done; cmp v1 v2

$ galvatron-sim validate cases.csv --csv | wc -l | tr -d ' '
> 4

$ galvatron-sim validate cases.csv --tolerance 100 -o accuracy.png >/dev/null
2> wrote accuracy.png

$ galvatron-sim validate cases.csv --tolerance 0 >/dev/null
2~ ^galvatron-sim: error: the mean error of .* is over the tolerance of 0 %
? 5

$ galvatron-sim validate
2> galvatron-sim: error: 'validate' needs measured cases
2>   for example: galvatron-sim validate --cases measured.csv
? 2

# A timeline beside a plan: the simulator agrees with itself.
$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 4 --pp 2 -o v -q >/dev/null; galvatron-sim validate v/plan.json v/timeline.csv --tolerance 0.001
> operation        stream   measured  predicted  error
...
~ ^iteration +[0-9.]+ +[0-9.]+ +0.0$
...

$ galvatron-sim validate v/plan.json v/timeline.csv --json | jq -e '.error == 0 and (.operations | length) > 3 and ([.operations[] | .measured_s == .predicted_s] | all)'
> true

$ galvatron-sim simulate -m llama3-8b -n 1 --global-batch 32 --tp 4 --pp 2 --recompute full -o w.csv -q >/dev/null; galvatron-sim validate v/plan.json w.csv --tolerance 10 >/dev/null
2~ ^galvatron-sim: error: the mean error of
? 5

# A run that recomputes beside a plan that does not: the difference has a name, and
# its parts add up.
$ galvatron-sim validate v/plan.json w.csv -o pair.png | grep -A1 'largest parts'
~ ^measured is [0-9.]+ m?s longer; the largest parts of that:$
~ ^  \+[0-9.]+ m?s +recompute; most on stage [01], \+[0-9.]+ m?s$
2> wrote pair.png

$ galvatron-sim validate v/plan.json w.csv --json | jq -e '([.parts[] | .measured_s - .predicted_s] | add) as $d | ($d - (.measured_iteration_time_s - .predicted_iteration_time_s) | fabs) < 1e-9 and .causes[0].part == "recompute" and (.stages | length) == 2'
> true

# Batch and memory limit as lists: a map of the best plans; less memory is never faster.
$ galvatron-sim sweep -m llama3-8b -n 1 --global-batch 16,32 --memory-limit 40GiB,79GiB -o map.json | sed -n '2,6p'
> seq 8192 · bf16
> 
~ ^nodes +GPUs +limit +batch +plan +step
...
2> wrote map.json

$ jq -e '[.points[] | .iteration_time_s] as $t | ($t | length) == 4 and $t[2] <= $t[0] and $t[3] <= $t[1]' map.json
> true

$ galvatron-sim sweep -m llama3-8b -n 1 --global-batch 16,32 --memory-limit 1GiB,79GiB -o map.png --csv | cut -d, -f6-8 | sort | uniq -c | sed 's/^ *//'
~ ^1 16,1073741824,0$
~ ^1 16,8.*,1$
~ ^1 32,1073741824,0$
~ ^1 32,8.*,1$
~ ^1 global_batch_size,memory_limit_bytes,fits$
2> wrote map.png

$ galvatron-sim sweep -m llama3-8b -n 1 --memory-limit 40GiB,much
2~ ^galvatron-sim: error: --memory-limit much
2...
? 2

# import
$ galvatron-sim import huggingface llama-config.json | jq -r .schema
> galvatron-sim/model

$ galvatron-sim import galvatron galvatron --gpu a100-sxm-80gb --model llama2-7b -o p.csv
~ ^[0-9]+ measurements from [0-9]+ files$
2> wrote p.csv

$ galvatron-sim simulate -m llama2-7b --gpu a100-sxm-80gb -n 1 --seq-length 2048 --tp 2 --profile p.csv -q --json | jq -e '.provenance | .measured + .interpolated + .fitted + .analytic > 0.999'
> true

$ galvatron-sim import galvatron galvatron
2~ needs --gpu
2...
? 2

# catalog
$ galvatron-sim catalog | awk '{print $2}'
> models
> gpus
> clusters
> schedules

$ for k in models gpus clusters schedules; do galvatron-sim catalog $k --json | jq -e ".$k | length > 2" >/dev/null && galvatron-sim catalog $k --csv | sed -n '2,$p' | wc -l >/dev/null && echo $k; done
> models
> gpus
> clusters
> schedules

# What it prints of one cluster or model can be read again.
$ galvatron-sim catalog clusters dgx-h100 --json >mine.json; galvatron-sim catalog models llama3-8b --json >m.json; galvatron-sim simulate -m m.json -c mine.json -n 1 --tp 2 --json | jq .iteration_time_s >a; galvatron-sim simulate -m llama3-8b -n 1 --tp 2 --json | jq .iteration_time_s | cmp a -

$ galvatron-sim catalog gpus h100-sxm-80gb | head -n 1
~ ^h100-sxm-80gb   NVIDIA

$ galvatron-sim catalog models lama3-8b
2> galvatron-sim: error: unknown model 'lama3-8b'
2~ did you mean 'llama3-8b'
? 2

# What plan finds for the same job can be faster, so the table says what it left out.
$ for options in '' --layer-wise; do galvatron-sim sweep -m llama3-8b -n 1 --tp 2 --pp 1 --zero 1,2 $options | grep -c 'one strategy for all layers; --layer-wise'; done
> 1
> 0
? 1
