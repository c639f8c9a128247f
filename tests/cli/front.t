# The front of time and memory: slower and smaller from row to row.
$ galvatron-sim plan -m llama3-8b -n 1 --global-batch 16 --micro-batch 1 --front -o front.csv | sed -n '/^the fastest/,/GiB/p;/^proven/,$p'
~ ^the fastest plan for every memory budget, in steps of 0.8 GiB or more$
> memory  step  slower   MFU  plan
>    GiB     s       %     %
> proven: each is the fastest within its memory that has one strategy
> for all layers; --layer-wise mixes them
2> wrote front.csv

$ awk -F, 'NR>1{if(NR>2&&!($2>t&&$3<m))bad=1;t=$2;m=$3;n++}END{print (n>4),bad+0}' front.csv
> 1 0

$ galvatron-sim plan -m llama3-8b -n 1 --global-batch 16 --micro-batch 1 --front --json | jq -e '.schema == "galvatron-sim/front" and (.points | length) > 4 and ([.points[].fits] | all)'
> true

$ galvatron-sim plan -m llama3-8b -n 1 --global-batch 16 --front --memory-limit 1GiB
2~ ^galvatron-sim: error: no plan fits
2...
? 3
