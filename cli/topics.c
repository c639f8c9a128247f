/* The help topics: what holds for every command. */
#include "cli/help.h"

#include <string.h>

const char *const galv_help_topics[] = {"units", "exit-codes", "formats", NULL};

static const char units[] =
    "How numbers are written\n"
    "\n"
    "  sizes       80GiB (2^30), 80GB (10^9), 512MiB, 4096B; a bare number is bytes\n"
    "  bandwidths  400Gb/s (bits), 50GB/s (bytes)\n"
    "  times       1.5ms, 3us, 20s, 2h, 10d, 50kh; a bare number is seconds\n"
    "  counts      512, 8k, 15T (powers of 1000)\n"
    "  lists       1,2,4    8..512:x2 (times two)    1..8:+1 (plus one)\n"
    "  what-if     --set KEY=VALUE; a value that ends in x multiplies: 2x, 0.5x\n"
    "\n"
    "What could be read two ways is refused: 128M may be 128MB or 128MiB, 4K may\n"
    "be 4000 or 4096.\n"
    "\n"
    "Keys of --set (\"cluster.\" may stand before them)\n"
    "  intra.bandwidth  intra.latency                  inside a node\n"
    "  inter.bandwidth  inter.latency  inter.efficiency  inter.nics  between nodes\n"
    "  bus.devices  bus.bandwidth                      PCIe switches\n"
    "  leaf.nodes  pod.nodes                           levels of switches, and their\n"
    "  leaf.oversubscription  pod.oversubscription  spine.oversubscription\n"
    "  device.memory  device.memory_bandwidth  device.flops\n"
    "  devices_per_node  usd_per_device_hour  node_power_w\n"
    "\n"
    "What is printed: k, M, G, T are powers of 1000; GiB is 2^30 bytes. MFU counts\n"
    "model FLOP (forward and backward, nothing twice) against the dense peak, and\n"
    "as Megatron-LM does all of attention, though kernels skip half of a causal\n"
    "one: with long sequences MFU can come near 100 %, and past it. HFU counts what\n"
    "is done, what is done again included, and no more of attention than kernels\n"
    "do: it can be below MFU.\n"
    "\n"
    "Names of plans: degrees (tp, cp, ep, pp, dp; of 1 only dp is named), v chunks a\n"
    "stage, mb samples of a micro-batch, zero the ZeRO stage; sp (Megatron's) or\n"
    "ulysses: sequence parallelism; recompute or selective; vtp2: embedding or head\n"
    "with a degree of their own; per-layer: strategies of blocks differ (tp2/4);\n"
    "uneven: so do the stages' numbers of them; pp-inside: --rank-order; last the\n"
    "schedule, unless it is 1F1B or, in chunks, interleaved.\n";

static const char exit_codes[] =
    "Exit status\n"
    "\n"
    "    0  done\n"
    "    1  the machine failed us: disk full, out of memory\n"
    "    2  the command line is wrong\n"
    "    3  no plan fits in memory\n"
    "    4  an input file is wrong\n"
    "    5  outside the tolerance asked for (validate --tolerance)\n"
    "    6  not built, or no device\n"
    "   10  compare --exit-code found a difference\n"
    "  130  interrupted; what was found or drawn so far was printed\n"
    "\n"
    "Results go to standard output, everything else to standard error. A command\n"
    "that fails (1, 2, 3, 4, 6) prints nothing on standard output; validate, where\n"
    "some of its cases are wrong (4), the others.\n";

static const char formats[] =
    "Files\n"
    "\n"
    "  plan, result, plans, front, phases, sweep, validate, explain, model, cluster,\n"
    "  stage-times: JSON documents with\n"
    "      \"schema\": \"galvatron-sim/...\" and \"schema_version\": \"1.0\". A plan\n"
    "      holds its model, cluster and workload. Whatever contains a plan can be\n"
    "      given where a plan is wanted.\n"
    "  model      also a Hugging Face config.json, or a Galvatron YAML\n"
    "  profile    CSV, one measurement in each row (--profile, repeatable)\n"
    "  cases      CSV, one measured iteration in each row (validate --cases)\n"
    "  stage times  CSV, one chunk of a stage in each row (simulate --stage-times)\n"
    "  schedule   CSV, one slot of a stage in each row (simulate --schedule)\n"
    "  phases     CSV, one phase of a run in each row (plan --phases)\n"
    "  timeline   CSV, one operation in each row (render, validate, plan --observed)\n"
    "  trace.json Chrome trace events: open it in Perfetto\n"
    "  Galvatron  its profiles (import galvatron), its strategies (import\n"
    "             galvatron-plan, export galvatron)\n"
    "\n"
    "CSV files have a header row and no comments; columns stand in any order.\n"
    "\n"
    "Written with -o DIR\n"
    "  plan       plan.json result.json candidates.csv timeline.png trace.json\n"
    "  simulate   plan.json result.json timeline.csv timeline.png trace.json\n"
    "  sweep      sweep.json sweep.csv sweep.png\n"
    "\n"
    "Keys of a result\n"
    "  iteration_time_s  tokens_per_s  tokens_per_s_per_gpu  samples_per_s\n"
    "  model_tflops_per_gpu  hardware_tflops_per_gpu  mfu  hfu\n"
    "  peak_memory_bytes  memory_limit_bytes  fits\n"
    "  bubble_frac  exposed_comm_frac  breakdown_s{}  provenance{}  events  wall_s\n"
    "  stages[]{stage, n_layers, busy_s, peak_memory_bytes, memory_limit_bytes,\n"
    "    memory{}}  plan{}\n"
    "Within a major schema version keys are only added.\n";

const char *galv_help_topic(const char *name)
{
    static const char *const texts[] = {units, exit_codes, formats};
    for (size_t i = 0; galv_help_topics[i] != NULL; i++) {
        if (strcmp(galv_help_topics[i], name) == 0) {
            return texts[i];
        }
    }
    return NULL;
}
