/* The tables of commands and options.
 *
 * Everything a user can type is a row here. Names follow the frameworks: Megatron-LM,
 * NCCL, DeepSpeed. Few options have a letter: those typed every day. No option is
 * matched by a part of its name, so adding one never changes what a script means. */
#include "cli/options.h"

#include <string.h>

#define ON(id)   (1u << GALV_COMMAND_##id)
#define JOB      (ON(PLAN) | ON(SWEEP) | ON(SIMULATE))
#define LOADED   (ON(EXPLAIN) | ON(COMPARE) | ON(RENDER))
#define PARALLEL (ON(PLAN) | ON(SWEEP) | ON(EXPLAIN) | ON(VALIDATE) | ON(CALIBRATE))
#define RESULTS \
    (JOB | ON(EXPLAIN) | ON(COMPARE) | ON(VALIDATE) | ON(CALIBRATE) | ON(CATALOG))
#define ALL ((1u << GALV_N_COMMANDS) - 1u)

const char *const galv_option_group_titles[GALV_N_OPTION_GROUPS] = {
    "What to train on what",
    "How: one value, or a list to search within",
    "Search",
    "This command",
    "Input and output",
};

#define OPTION(id) [GALV_OPTION_##id] = {GALV_OPTION_##id,
#define IN(group)  GALV_IN_##group

/* name, letter, argument, words, group, commands, repeatable, default, meaning,
 * example */
/* clang-format off */
const galv_option galv_options[GALV_N_OPTIONS] = {
    OPTION(MODEL) "model", 'm', "NAME|FILE", NULL, IN(JOB),
        JOB | LOADED | ON(IMPORT), false, "llama3-70b",
        "Model: a catalog name, our JSON, a Hugging Face config.json or a Galvatron "
        "YAML", "--model gpt3-175b"},
    OPTION(CLUSTER) "cluster", 'c', "NAME|FILE", NULL, IN(JOB),
        JOB | LOADED | ON(IMPORT), false,
        "dgx-h100", "Cluster: a catalog name or our JSON (sweep: a list)",
        "--cluster dgx-a100"},
    OPTION(NODES) "nodes", 'n', "N", NULL, IN(JOB), JOB | ON(IMPORT), false, "8",
        "Nodes of that cluster (sweep: a list or range)", "--nodes 64"},
    OPTION(GPU) "gpu", 0, "NAME", NULL, IN(JOB), JOB | LOADED | ON(IMPORT), false,
        NULL, "Instead of --cluster: this GPU in its usual node (sweep: a list)",
        "--gpu h200-sxm-141gb"},
    OPTION(GPUS_PER_NODE) "gpus-per-node", 0, "N", NULL, IN(JOB), JOB | ON(IMPORT),
        false, NULL, "GPUs in one node", "--gpus-per-node 4"},
    OPTION(SEQ_LENGTH) "seq-length", 0, "TOKENS", NULL, IN(JOB),
        JOB | LOADED | ON(IMPORT), false,
        "the model's", "Tokens of one sample (sweep: a list)", "--seq-length 8192"},
    OPTION(GLOBAL_BATCH) "global-batch", 0, "SAMPLES", NULL, IN(JOB), JOB | LOADED,
        false, "about 4 Mi tokens", "Samples of one optimizer step (sweep: a list; plan: of a list, the one that trains "
        "most tokens a second)",
        "--global-batch 512"},
    OPTION(PRECISION) "precision", 0, "WORD", "fp32|tf32|bf16|fp16|fp8|mxfp8|nvfp4",
        IN(JOB), JOB | LOADED | ON(IMPORT), false, "bf16",
        "Precision of the matrix products", "--precision fp8"},
    OPTION(GRAD_PRECISION) "grad-precision", 0, "WORD", "fp32|bf16|fp16", IN(JOB),
        JOB | LOADED, false, "fp32", "Precision in which gradients are summed",
        "--grad-precision bf16"},
    OPTION(SOFTWARE) "software", 0, "WORD", "megatron|eager|deepspeed|oneflow|other",
        IN(JOB), JOB | LOADED | ON(CALIBRATE), false, "megatron",
        "Kernel stack: fused (megatron), PyTorch without compilation (eager)",
        "--software eager"},
    OPTION(RECOMPUTE_MODULES) "recompute-modules", 0, "LIST",
        "core_attn|layernorm|mla_up_proj|moe_act", IN(JOB), JOB | LOADED, false,
        "core_attn", "What selective recomputation makes again with megatron",
        "--recompute-modules layernorm,mla_up_proj,moe_act"},
    OPTION(NO_FLASH_ATTENTION) "no-flash-attention", 0, NULL, NULL, IN(JOB),
        JOB | LOADED, false, NULL, "Attention with its matrix in memory",
        "--no-flash-attention"},
    OPTION(MEMORY_LIMIT) "memory-limit", 0, "SIZE", NULL, IN(JOB), JOB | LOADED, false,
        "what the GPU has", "Bytes a plan may use on each GPU (sweep: a list)", "--memory-limit 72GiB"},
    OPTION(TOKENS) "tokens", 0, "COUNT", NULL, IN(JOB), JOB, false, NULL,
        "Tokens of the whole training: gives days and, with a price, money",
        "--tokens 15T"},
    OPTION(SET) "set", 0, "KEY=VALUE", NULL, IN(JOB), JOB | LOADED, true, NULL,
        "What if: changes one number of the cluster, 2x doubles it",
        "--set cluster.inter.bandwidth=2x"},
    OPTION(PROFILE) "profile", 0, "FILE|DIR", NULL, IN(JOB),
        JOB | LOADED | ON(VALIDATE) | ON(CALIBRATE), true, NULL,
        "Measured numbers (CSV) to use instead of built-in ones",
        "--profile measured.csv"},

    OPTION(TP) "tp", 0, "LIST", NULL, IN(STRATEGY), JOB, false, "open",
        "Tensor-parallel degree", "--tp 4,8"},
    OPTION(CP) "cp", 0, "LIST", NULL, IN(STRATEGY), JOB, false, "open",
        "Context-parallel degree", "--cp 1,2"},
    OPTION(DP) "dp", 0, "LIST", NULL, IN(STRATEGY), JOB, false, "what is left",
        "Data-parallel degree: GPUs / (tp x cp x pp)", "--dp 16"},
    OPTION(EP) "ep", 0, "LIST", NULL, IN(STRATEGY), JOB, false, "open",
        "Expert-parallel degree", "--ep 8"},
    OPTION(PP) "pp", 0, "LIST", NULL, IN(STRATEGY), JOB, false, "open",
        "Pipeline stages", "--pp 1,2,4"},
    OPTION(VPP) "vpp", 0, "LIST", NULL, IN(STRATEGY), JOB, false, "open",
        "Virtual pipeline chunks in each stage", "--vpp 1..8:x2"},
    OPTION(SP) "sp", 0, "LIST", "none|megatron|ulysses", IN(STRATEGY), JOB, false,
        "open", "Sequence parallelism beside tensor parallelism", "--sp megatron"},
    OPTION(ZERO) "zero", 0, "LIST", "0|1|2|3", IN(STRATEGY), JOB, false, "open",
        "ZeRO stage: 0 none, 1 optimizer, 2 + gradients, 3 + parameters", "--zero 1"},
    OPTION(RECOMPUTE) "recompute", 0, "LIST", "none|selective|full", IN(STRATEGY), JOB,
        false, "open", "Activations computed again in backward", "--recompute full"},
    OPTION(MICRO_BATCH) "micro-batch", 0, "LIST", NULL, IN(STRATEGY), JOB, false,
        "open", "Samples of one micro-batch on one rank", "--micro-batch 1,2"},
    OPTION(SCHEDULE) "schedule", 0, "LIST", NULL, IN(STRATEGY), JOB, false, "open",
        "Pipeline schedules by name, see `catalog schedules`; simulate: or an order in "
        "a .csv file",
        "--schedule 1f1b,dualpipev"},
    OPTION(GROUP_SIZE) "group-size", 0, "N", NULL, IN(STRATEGY), ON(SIMULATE), false,
        "the stages",
        "Micro-batches that schedule interleaved takes through a chunk at a time",
        "--group-size 8"},
    OPTION(OVERLAP) "overlap", 0, "LIST", "none|grad-reduce|param-gather|tp-comm|p2p|step",
        IN(STRATEGY), JOB, false, "not tp-comm,step",
        "Communication hidden behind computation where it can be; simulate: step: "
        "iterations follow one another without a common optimizer step; with "
        "--stage-times none, p2p, step",
        "--overlap grad-reduce,p2p"},
    OPTION(INTERNODE_TP) "internode-tp", 0, NULL, NULL, IN(STRATEGY), JOB, false, NULL,
        "Let tensor-parallel groups span nodes", "--internode-tp"},
    OPTION(RANK_ORDER) "rank-order", 0, "LIST", "tp-cp-dp-pp|tp-cp-pp-dp|any",
        IN(STRATEGY), JOB, false, "tp-cp-dp-pp",
        "How ranks fill the nodes, fastest first: with tp-cp-pp-dp the pipeline lies "
        "inside data parallelism; any: search both",
        "--rank-order any"},

    OPTION(LAYER_WISE) "layer-wise", 0, NULL, NULL, IN(SEARCH), ON(PLAN) | ON(SWEEP),
        false, NULL,
        "Mix strategies layer by layer, and divide blocks freely over stages; plan does "
        "so by itself",
        "--layer-wise"},
    OPTION(UNIFORM) "uniform", 0, NULL, NULL, IN(SEARCH), ON(PLAN), false, NULL,
        "Only plans of one strategy for all layers and of even stages: sooner done, and "
        "mostly proven",
        "--uniform"},
    OPTION(TOP) "top", 0, "K", NULL, IN(SEARCH), ON(PLAN), false, "5",
        "How many plans to show", "--top 10"},
    OPTION(PER_KIND) "per-kind", 0, "N", NULL, IN(SEARCH), ON(PLAN), false, "2",
        "Of them, at most so many that differ in schedule, chunks and micro-batch "
        "alone; 0: any number",
        "--per-kind 1"},
    OPTION(TIME_LIMIT) "time-limit", 0, "TIME", NULL, IN(SEARCH), ON(PLAN) | ON(SWEEP),
        false, "none", "Stop searching after this long, with the best so far",
        "--time-limit 30s"},
    OPTION(FRONT) "front", 0, NULL, NULL, IN(SEARCH), ON(PLAN), false, NULL,
        "The Pareto front of time and memory: the fastest plan for every memory budget",
        "--front"},
    OPTION(PHASES) "phases", 0, "FILE", NULL, IN(SEARCH), ON(PLAN), false, NULL,
        "A plan for each phase of a run (CSV: tokens, and phase, seq_length, "
        "global_batch), with the cost of switching",
        "--phases phases.csv"},
    OPTION(OBSERVED) "observed", 0, "FILE", NULL, IN(SEARCH), ON(PLAN), true, NULL,
        "What was measured of PLAN.json, a timeline (CSV) or a Megatron-LM log: "
        "calibrate by it, and say whether to keep the plan or to change",
        "--observed measured.csv"},
    OPTION(DRY_RUN) "dry-run", 0, NULL, NULL, IN(SEARCH), ON(PLAN), false, NULL,
        "Count the plans that would be looked at, and stop", "--dry-run"},

    OPTION(PROGRAM) "program", 0, NULL, NULL, IN(COMMAND), ON(SIMULATE), false, NULL,
        "Print the program: every operation of every rank", "--program"},
    OPTION(PRINT_ORDER) "print-order", 0, NULL, NULL, IN(COMMAND), ON(SIMULATE), false,
        NULL, "Print the order of the schedule as a CSV, which --schedule reads",
        "--print-order"},
    OPTION(CHECK) "check", 0, NULL, NULL, IN(COMMAND), ON(SIMULATE), false, NULL,
        "Replay with a second, naive simulator (every rank where ranks differ); exit 1 "
        "when the two differ",
        "--check"},
    OPTION(COST_MODEL) "cost-model", 0, "WORD", "own|galvatron", IN(COMMAND),
        ON(PLAN) | ON(SIMULATE), false, "own",
        "galvatron: simulate: also say what Galvatron's own cost model makes of the "
        "plan; plan: the best plan under that model, found exactly in its space",
        "--cost-model galvatron"},
    OPTION(GALVATRON_PROFILE) "galvatron-profile", 0, "DIR", NULL, IN(COMMAND),
        ON(PLAN) | ON(SIMULATE), true, NULL,
        "Its profiles, of model and hardware (or two folders, in that order)",
        "--galvatron-profile galvatron/models/llama"},
    OPTION(GALVATRON_TIME) "galvatron-time", 0, "WORD", "static|batch|sequence",
        IN(COMMAND), ON(PLAN) | ON(SIMULATE), false, "batch",
        "How it takes a layer's time from them: its time_profile_mode",
        "--galvatron-time static"},
    OPTION(STAGE_TIMES) "stage-times", 0, "FILE", NULL, IN(COMMAND), ON(SIMULATE),
        false, NULL,
        "Play schedules (default: all) under these stage times (CSV), without a plan",
        "--stage-times times.csv"},
    OPTION(MICRO_BATCHES) "micro-batches", 0, "N", NULL, IN(COMMAND), ON(SIMULATE),
        false, NULL, "Micro-batches of one iteration, with --stage-times",
        "--micro-batches 32"},
    OPTION(RUN_DAYS) "run-days", 0, "DAYS", NULL, IN(COMMAND), ON(SIMULATE), false,
        NULL,
        "Also play a run with failures: so many days of work (or that of --tokens)",
        "--run-days 54"},
    OPTION(MTBF_DEVICE) "mtbf-device", 0, "TIME", NULL, IN(COMMAND), ON(SIMULATE),
        false, "50.7kh", "Mean time between failures of one GPU, whatever the cause",
        "--mtbf-device 50kh"},
    OPTION(MTBF_NODE) "mtbf-node", 0, "TIME", NULL, IN(COMMAND), ON(SIMULATE), false,
        "none", "Mean time between failures of one node, beside those of its GPUs",
        "--mtbf-node 100kh"},
    OPTION(MTBF_SWITCH) "mtbf-switch", 0, "TIME", NULL, IN(COMMAND), ON(SIMULATE),
        false, "none", "Mean time between failures of one leaf switch (32 NICs)",
        "--mtbf-switch 300kh"},
    OPTION(CHECKPOINT_INTERVAL) "checkpoint-interval", 0, "auto|TIME", NULL,
        IN(COMMAND), ON(SIMULATE), false, "auto",
        "Work between two checkpoints; auto: what ends the run soonest",
        "--checkpoint-interval 30min"},
    OPTION(CHECKPOINT_TIME) "checkpoint-time", 0, "TIME", NULL, IN(COMMAND),
        ON(SIMULATE), false, "60s", "How long training stands still for a checkpoint",
        "--checkpoint-time 20s"},
    OPTION(RESTART_TIME) "restart-time", 0, "TIME", NULL, IN(COMMAND),
        ON(SIMULATE) | ON(PLAN), false, "5min",
        "From a failure, or a switch of plans (--phases), until training goes on",
        "--restart-time 10min"},
    OPTION(SPARES) "spares", 0, "N", NULL, IN(COMMAND), ON(SIMULATE), false,
        "always one", "Nodes in reserve", "--spares 4"},
    OPTION(REPAIR_TIME) "repair-time", 0, "TIME", NULL, IN(COMMAND), ON(SIMULATE),
        false, "1d", "Until a node that failed is a spare again", "--repair-time 3d"},
    OPTION(MC_RUNS) "mc-runs", 0, "N", NULL, IN(COMMAND), ON(SIMULATE), false, "1000",
        "How often to play what is random; Ctrl-C: as often as it was by then",
        "--mc-runs 10000"},
    OPTION(ALL_RANKS) "all-ranks", 0, NULL, NULL, IN(COMMAND), ON(SIMULATE) | ON(EXPLAIN), false,
        NULL, "Simulate every rank, not one for each pipeline stage", "--all-ranks"},
    OPTION(CONTENTION) "contention", 0, NULL, NULL, IN(COMMAND), ON(SIMULATE) | ON(EXPLAIN), false,
        NULL, "Share NICs, leaf uplinks and the spine among all groups that use them",
        "--contention"},
    OPTION(STRAGGLER) "straggler", 0, "WHO=FACTOR", NULL, IN(COMMAND), ON(SIMULATE) | ON(EXPLAIN),
        true, NULL, "Slower ranks: a rank, or a share of all with a point or %",
        "--straggler 17=1.1"},
    OPTION(JITTER) "jitter", 0, "COMPUTE[,COMM]", NULL, IN(COMMAND), ON(SIMULATE) | ON(EXPLAIN),
        false, NULL, "Deviation of each operation's time: lognormal, mean 1",
        "--jitter 0.05,0.1"},
    OPTION(SLOW_LINK) "slow-link", 0, "NODE=SHARE", NULL, IN(COMMAND), ON(SIMULATE) | ON(EXPLAIN),
        true, NULL, "A node with this share of its network; implies --contention",
        "--slow-link 3=0.5"},
    OPTION(CASES) "cases", 0, "FILE", NULL, IN(COMMAND),
        ON(VALIDATE) | ON(CALIBRATE), true, NULL,
        "Measured iterations (CSV), one in each row", "--cases measured.csv"},
    OPTION(BY) "by", 0, "LIST", NULL, IN(COMMAND), ON(VALIDATE), false, "source",
        "Sum up by source, family, gpu, memory, confidence, sweep, all, or a feature: "
        "software, generation, precision, pace, nodes, zero, pipeline, experts, tensor, "
        "recompute, attention", "--by software,generation"},
    OPTION(LEAVE_OUT) "leave-out", 0, "WORD", "family|source", IN(COMMAND),
        ON(VALIDATE), false, NULL,
        "Predict each with factors fitted to the others of its stack alone",
        "--leave-out source"},
    OPTION(EACH) "each", 0, NULL, NULL, IN(COMMAND), ON(CALIBRATE), false, NULL,
        "Calibrate on every run by itself and tell how far off the others are then",
        "--each"},
    OPTION(RESIDUALS) "residuals", 0, "FILE", NULL, IN(COMMAND), ON(VALIDATE), false,
        NULL, "Write what intervals are made of: features and measured / predicted",
        "--residuals residuals.csv"},
    OPTION(DETAILS) "details", 0, NULL, NULL, IN(COMMAND), ON(VALIDATE), false, NULL,
        "List every case", "--details"},
    OPTION(TOLERANCE) "tolerance", 0, "PERCENT", NULL, IN(COMMAND), ON(VALIDATE),
        false, NULL, "Exit 5 when the mean error (MAPE) is larger", "--tolerance 10"},
    OPTION(EXIT_CODE) "exit-code", 0, NULL, NULL, IN(COMMAND), ON(COMPARE), false, NULL,
        "Exit 10 when the two differ", "--exit-code"},
    OPTION(ASCII) "ascii", 0, NULL, NULL, IN(COMMAND), ON(RENDER), false, NULL,
        "Draw the timeline with letters, on the terminal", "--ascii"},
    OPTION(WIDTH) "width", 0, "PIXELS", NULL, IN(COMMAND), ON(RENDER), false, "1000",
        "Width of the picture in logical pixels", "--width 1400"},
    OPTION(SCALE) "scale", 0, "FACTOR", NULL, IN(COMMAND), ON(RENDER), false, "2",
        "PNG pixels per logical pixel", "--scale 3"},
    OPTION(WINDOW) "window", 0, "A..B", NULL, IN(COMMAND), ON(RENDER), false, NULL,
        "Show only the time from A to B", "--window 0s..1.5s"},
    OPTION(ROWS) "rows", 0, NULL, NULL, IN(COMMAND), ON(RENDER), false, NULL,
        "Draw every row, even where many are alike", "--rows"},
    OPTION(STREAMS) "streams", 0, NULL, NULL, IN(COMMAND), ON(RENDER), false, NULL,
        "Draw communication in lanes under each row", "--streams"},
    OPTION(MAN) "man", 0, NULL, NULL, IN(COMMAND), ON(HELP), false, NULL,
        "Print the manual page (roff) instead", "--man"},

    OPTION(OUTPUT) "output", 'o', "DIR|FILE", NULL, IN(OUTPUT),
        JOB | ON(RENDER) | ON(VALIDATE) | ON(CALIBRATE) | ON(IMPORT) | ON(EXPORT), false,
        NULL, "Write files there; a file's kind is that of its extension", "-o out"},
    OPTION(JSON) "json", 0, NULL, NULL, IN(OUTPUT), RESULTS | ON(VERSION), false, NULL,
        "Print one JSON document instead", "--json"},
    OPTION(CSV) "csv", 0, NULL, NULL, IN(OUTPUT),
        ON(PLAN) | ON(SWEEP) | ON(SIMULATE) | ON(VALIDATE) | ON(CATALOG), false, NULL,
        "Print CSV instead", "--csv"},
    OPTION(WIDE) "wide", 0, NULL, NULL, IN(OUTPUT), RESULTS, false, NULL,
        "Show every column, however wide the table gets", "--wide"},
    OPTION(QUIET) "quiet", 'q', NULL, NULL, IN(OUTPUT), ALL, false, NULL,
        "No warnings and no progress", "--quiet"},
    OPTION(STRICT) "strict", 0, NULL, NULL, IN(OUTPUT), JOB | LOADED | ON(VALIDATE),
        false, NULL, "Take warnings for errors", "--strict"},
    OPTION(PRINT_CONFIG) "print-config", 0, NULL, NULL, IN(OUTPUT), JOB, false, NULL,
        "Print every value, where it comes from, and stop", "--print-config"},
    OPTION(SEED) "seed", 0, "N", NULL, IN(OUTPUT), JOB | LOADED | ON(VALIDATE), false,
        "1", "Seed of everything random", "--seed 7"},
    OPTION(JOBS) "jobs", 'j', "N", NULL, IN(OUTPUT), PARALLEL | ON(SIMULATE), false,
        "all processors", "Threads; they never change the answer", "-j 4"},
    OPTION(COLOR) "color", 0, "WHEN", "auto|always|never", IN(OUTPUT), ALL, false,
        "auto", "Colour: auto is only on a terminal", "--color never"},
    OPTION(PROGRESS) "progress", 0, "WHEN", "auto|always|never", IN(OUTPUT), PARALLEL,
        false, "auto", "Progress: auto is only on a terminal, after a second",
        "--progress never"},
    OPTION(HELP) "help", 'h', NULL, NULL, IN(OUTPUT), ALL, false, NULL,
        "-h: the short help; --help: all of it", "--help"},
    OPTION(VERSION) "version", 'V', NULL, NULL, IN(OUTPUT), ALL, false, NULL,
        "Print the version", "--version"},
};

/* clang-format on */

#define COMMAND(id, name) [GALV_COMMAND_##id] = {GALV_COMMAND_##id, #name,

/* clang-format off */
const galv_command galv_commands[GALV_N_COMMANDS] = {
    COMMAND(PLAN, plan) "find the fastest plan that fits", "[PLAN.json]", 0, 1,
        "Searches every plan for the job: degrees of parallelism, pipeline schedule, "
        "ZeRO, recomputation, micro-batch. The simulator judges each; the best are "
        "listed. Without a command, options alone mean this one.\n"
        "Options under \"How\" narrow the search; what is left open is tried.\n"
        "With --observed it begins at a plan and what was measured of it, and says "
        "whether another is worth the change; with --phases it plans a run whose batch "
        "or sequence length changes.\n"
        "With -o DIR it writes plan.json, result.json, candidates.csv, timeline.png "
        "and trace.json; with -o FILE only that: .json the plan, .csv the candidates, "
        ".png, .svg or .pdf the timeline.",
        {{"galvatron-sim --nodes 64", "the best plans for 64 nodes"},
         {"galvatron-sim plan -m gpt3-175b -c dgx-a100 -n 128", "another model"},
         {"galvatron-sim plan -n 8 --zero 3 --pp 1 --top 10", "only ZeRO-3"},
         {"galvatron-sim plan -n 64 -o out", "and write the files"}},
        galv_cmd_plan},
    COMMAND(SWEEP, sweep) "find the best plan for many clusters", "", 0, 0,
        "Runs the search of `plan` for every number of nodes, GPU, global batch, memory "
        "limit and sequence length given, and puts the answers side by side. A star "
        "marks the Pareto front: no other point is both faster and cheaper.\n"
        "With -o FILE it writes the table (.csv), the document (.json) or the chart "
        "(.png, .svg, .pdf): how it scales, or for one cluster a map of the best plans "
        "by batch and memory limit; with -o DIR all three.",
        {{"galvatron-sim sweep -n 8..512:x2", "how it scales"},
         {"galvatron-sim sweep -n 16 --gpu h100-sxm-80gb,h200-sxm-141gb",
          "which GPU to buy"},
         {"galvatron-sim sweep -n 8..64:x2 --tokens 2T -o scaling.png",
          "days and money, and a chart"},
         {"galvatron-sim sweep -n 8 --global-batch 128..2048:x2 --memory-limit "
          "40GiB,60GiB,79GiB -o map.png",
          "how the best plan changes"}},
        galv_cmd_sweep},
    COMMAND(SIMULATE, simulate) "simulate one plan: time, memory, where it goes",
        "[PLAN.json]", 0, 1,
        "Simulates one iteration of a plan, read from a file (- is standard input) or "
        "given by degrees. What is not given by hand is 1, chunks as few as the schedule "
        "takes; data parallelism takes the GPUs that are left, with ZeRO-1; sequence parallelism goes with --tp. "
        "simulate predicts; run measures.\n"
        "With --cost-model galvatron it also says what Galvatron's own cost model, fed "
        "by the profiles that Galvatron made, makes of the plan.\n"
        "With --all-ranks, --contention, --straggler, --jitter or --slow-link every rank "
        "of the cluster is simulated by itself; what is random is drawn as often as "
        "--mc-runs says.\n"
        "With --run-days it also plays a run of days in which GPUs, nodes and switches "
        "fail: goodput, days, and what they are lost to. With --stage-times no plan is "
        "needed: schedules are played under the times of a file and set side by side.\n"
        "With -o DIR it writes plan.json, result.json, timeline.csv, timeline.png and "
        "trace.json (open it in Perfetto); with -o FILE only that: .json the result, "
        ".csv, .png, .svg or .pdf the timeline.",
        {{"galvatron-sim simulate out/plan.json", "a plan that was found"},
         {"galvatron-sim simulate -n 8 --tp 8 --pp 4", "a plan by hand"},
         {"galvatron-sim simulate out/plan.json --set inter.bandwidth=2x",
          "what a faster network would give"},
         {"galvatron-sim simulate out/plan.json -o out", "and write the files"}},
        galv_cmd_simulate},
    COMMAND(EXPLAIN, explain) "say why a plan takes that long",
        "PLAN.json", 1, 1,
        "Where the time of one iteration goes, what fills the memory of each stage, "
        "which operations cost most, where the numbers come from, and by what parts "
        "the best plan of the same job is faster.",
        {{"galvatron-sim explain out/plan.json", "all of it"}},
        galv_cmd_explain},
    COMMAND(COMPARE, compare) "two plans side by side", "A.json B.json", 2, 2,
        "Simulates two plans and prints what differs: ~ marks what is not the same in "
        "both. With --exit-code the exit status is 10 when anything differs.",
        {{"galvatron-sim compare a.json b.json", "side by side"},
         {"galvatron-sim compare a.json b.json --exit-code --quiet", "for scripts"}},
        galv_cmd_compare},
    COMMAND(RENDER, render) "draw a timeline, memory, breakdown, scaling, Pareto",
        "[KIND] FILE...", 1, 9,
        "KIND is timeline (the default), memory, breakdown, scaling or pareto. FILE is "
        "a timeline (CSV, simulated or measured), a plan or result (JSON), a sweep "
        "(JSON; for scaling and pareto) or candidates (CSV; for pareto). The picture's "
        "format is that of the name after -o: .png, .svg or .pdf; a timeline can also "
        "be written as .csv or as .json, a trace for Perfetto. Several timelines are drawn "
        "above one another, on one time scale.",
        {{"galvatron-sim render out/plan.json -o timeline.png", "the timeline"},
         {"galvatron-sim render memory out/result.json -o memory.svg",
          "what fills the memory"},
         {"galvatron-sim render out/plan.json --ascii", "on the terminal"},
         {"galvatron-sim render a.json b.json -o both.png", "two plans"}},
        galv_cmd_render},
    COMMAND(VALIDATE, validate) "predicted beside measured",
        "CASES.csv... | PLAN.json MEASURED", 0,
        -1,
        "Predicts every measured iteration of the case files and prints the error by "
        "source or by what --by names, how well sweeps are ranked, and how many runs "
        "lie inside the interval that is told. With --tolerance the exit status is 5 "
        "when the mean absolute error is larger. See `help formats` for the columns.\n"
        "With a plan and a measured timeline (CSV) it prints the iteration, the seconds "
        "of each kind of operation, and time and memory of each stage, predicted beside "
        "measured, and the three largest causes of the difference; with -o FILE.png the "
        "two timelines one above the other. With a Megatron-LM log it prints the "
        "iteration, the median of the log's.",
        {{"galvatron-sim validate --cases measured.csv", "the table"},
         {"galvatron-sim validate a.csv b.csv --details", "every case"},
         {"galvatron-sim validate plan.json megatron.log", "one run of a plan"},
         {"galvatron-sim validate a.csv --tolerance 10 -o accuracy.png",
          "a gate, and a figure"}},
        galv_cmd_validate},
    COMMAND(IMPORT, import) "read other tools' files", "FORMAT FILE|DIR", 2, 2,
        "FORMAT is galvatron (a folder of Galvatron's profile files; gives a profile), "
        "galvatron-plan (a strategy that Galvatron's search wrote; gives a plan for "
        "--model on --gpu or --cluster), huggingface (a config.json; gives a model) or "
        "model (any model file that is understood; gives a model). Without -o the "
        "result goes to standard output.",
        {{"galvatron-sim import galvatron DIR --model llama2-7b --gpu a100-sxm-80gb -o "
          "profile.csv",
          "Galvatron's measurements"},
         {"galvatron-sim import galvatron-plan galvatron_config.json -m llama2-7b --gpu "
          "a100-sxm-80gb -n 1 -o plan.json",
          "a strategy of Galvatron's"},
         {"galvatron-sim import huggingface config.json -o model.json", "a model"}},
        galv_cmd_import},
    COMMAND(CATALOG, catalog) "list what is built in, with its sources",
        "[models|gpus|clusters|schedules [NAME]]", 0, 2,
        "Lists the built-in models, GPUs, clusters or schedules, or shows one of them "
        "with the source of its numbers.",
        {{"galvatron-sim catalog models", "the models"},
         {"galvatron-sim catalog gpus h100-sxm-80gb", "one GPU"},
         {"galvatron-sim catalog clusters dgx-h100 --json > mine.json",
          "a file to start from"}},
        galv_cmd_catalog},
    COMMAND(HELP, help) "help on a command or a topic", "[COMMAND|TOPIC]", 0, 1,
        "Topics: units, exit-codes, formats. With --man the manual page is printed as "
        "roff.",
        {{"galvatron-sim help plan", "everything about plan"},
         {"galvatron-sim help units", "how numbers are written"},
         {"galvatron-sim help --man | man -l -", "the manual page"}},
        galv_cmd_help},
    COMMAND(VERSION, version) "print the version", "", 0, 0,
        "Prints the version and what was built in.",
        {{"galvatron-sim version --json", "for scripts"}},
        galv_cmd_version},
    COMMAND(COMPLETION, completion) "print a shell's completions",
        "bash|zsh|fish", 1, 1,
        "Prints a script that completes commands, options and catalog names.",
        {{"galvatron-sim completion bash > /etc/bash_completion.d/galvatron-sim",
          "for bash"},
         {"galvatron-sim completion zsh > ~/.zfunc/_galvatron-sim", "for zsh"},
         {"galvatron-sim completion fish > ~/.config/fish/completions/"
          "galvatron-sim.fish",
          "for fish"}},
        galv_cmd_completion},
    COMMAND(CALIBRATE, calibrate) "fit the cost model to measurements",
        "CASES.csv... | PLAN.json MEASURED...", 0, -1,
        "Fits the named factors of the cost model to measured iterations and writes "
        "them as a profile, with the interval of each and the error before and after. "
        "Measured is a table of cases, or a plan followed by Megatron-LM logs (their "
        "median iteration) or measured timelines (CSV). One device and precision is one "
        "stack with factors of its own; --software chooses where a table has several. Of a "
        "table, a run moves the factors as far as stacks of its kind differ; of a plan, "
        "nearly until it takes what was measured.\n"
        "Give what it wrote to the other commands with --profile.",
        {{"galvatron-sim calibrate --cases measured.csv -o profile.csv", "a table"},
         {"galvatron-sim calibrate plan.json megatron.log -o profile.csv",
          "one run of a plan"},
         {"galvatron-sim validate --cases others.csv --profile profile.csv",
          "what it gained"}},
        galv_cmd_calibrate},
    COMMAND(EXPORT, export) "write other tools' files", "FORMAT PLAN.json", 2, 2,
        "FORMAT is galvatron: the strategy file that Galvatron's runtime reads. What "
        "Galvatron has no word for is refused, with the nearest that it has. Without "
        "-o the result goes to standard output.",
        {{"galvatron-sim export galvatron out/plan.json -o galvatron_config.json",
          "run this plan with Galvatron"}},
        galv_cmd_export},
    COMMAND(PROFILE, profile) "measure this machine", "", 0, -1,
        "Measures layers, collectives and memory on this machine and writes a folder with "
        "a profile and a cluster file, which the other commands take with --profile and "
        "--cluster. Done by galvatron-exec, under "
        "mpirun or Slurm; its options: galvatron-exec help profile.",
        {{"mpirun -np 8 galvatron-sim profile --for plan.json -o ours",
          "what this plan needs"},
         {"galvatron-sim plan --profile ours/profile.csv -c ours/cluster.json",
          "and then"}},
        galv_cmd_profile},
    COMMAND(RUN, run) "run a plan on real hardware and measure it", "PLAN.json", 0, -1,
        "Trains by the plan on random or given tokens and writes a folder with the "
        "measured timeline, which validate sets beside the predicted one. Done by galvatron-exec, under "
        "mpirun or Slurm; its options: galvatron-exec help run. run measures; simulate "
        "predicts.",
        {{"mpirun -np 8 galvatron-sim run plan.json --steps 20 -o out",
          "one step after another"},
         {"galvatron-sim validate plan.json out/timeline.csv", "and then"}},
        galv_cmd_run},
};
/* clang-format on */

const galv_option *galv_option_named(const char *name)
{
    for (size_t i = 0; i < GALV_N_OPTIONS; i++) {
        if (strcmp(galv_options[i].name, name) == 0) {
            return &galv_options[i];
        }
    }
    return NULL;
}

const galv_option *galv_option_lettered(char letter)
{
    for (size_t i = 0; letter != 0 && i < GALV_N_OPTIONS; i++) {
        if (galv_options[i].letter == letter) {
            return &galv_options[i];
        }
    }
    return NULL;
}

const galv_command *galv_command_named(const char *name)
{
    for (size_t i = 0; i < GALV_N_COMMANDS; i++) {
        if (strcmp(galv_commands[i].name, name) == 0) {
            return &galv_commands[i];
        }
    }
    return NULL;
}

bool galv_command_hands_over(const galv_command *command)
{
    return command->id == GALV_COMMAND_PROFILE || command->id == GALV_COMMAND_RUN;
}

bool galv_option_fits(const galv_option *option, const galv_command *command)
{
    return (option->commands >> command->id & 1u) != 0;
}
