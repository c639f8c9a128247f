/* Intervals: the rule on tables made by hand, and coverage on the one compiled in. */
#include "accuracy/interval.h"
#include "tests/support/leaks.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

GALV_TEST_SUITE(sim_interval);

#define HEAD                                                                        \
    "case_id,source,family,software,generation,precision,pace,nodes,zero,pipeline," \
    "experts,tensor,recompute,attention,measured_over_predicted\n"

static galv_status read(galv_residuals *residuals, const char *text, galv_arena *arena,
                        galv_err *err)
{
    galv_csv table;
    galv_status status =
        galv_csv_read_text(&table, "made", text, strlen(text), arena, err);
    return status == GALV_OK ? galv_residuals_read_table(residuals, &table, arena, err)
                             : status;
}

static galv_run_kind kind_of(const char *software)
{
    galv_run_kind kind = {{""}, 0, 0};
    const char *const words[] = {software, "Hopper", "16-bit", "kernel", "one",  "1",
                                 "none",   "dense",  "tp1",    "none",   "fused"};
    for (int f = 0; f < GALV_N_FEATURES; f++) {
        snprintf(kind.words[f], sizeof kind.words[f], "%s", words[f]);
    }
    return kind;
}

/* n runs of a source, all with one ratio. */
static void add(galv_text *text, const char *source, const char *software, int n,
                double ratio)
{
    for (int i = 0; i < n; i++) {
        galv_text_printf(
            text,
            "c,%s,gpt,%s,Hopper,16-bit,kernel,one,1,none,dense,tp1,none,fused,%g\n",
            source, software, ratio);
    }
}

Test(sim_interval, exact_runs_of_one_source_leave_no_width)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_residuals residuals;
    galv_interval interval;
    galv_text text = GALV_TEXT_INIT;
    galv_text_append(&text, HEAD);
    add(&text, "s", "megatron", 8, 1);
    cr_assert_eq(read(&residuals, galv_text_string(&text), arena, &err), GALV_OK, "%s",
                 err.message);
    galv_run_kind kind = kind_of("megatron");
    galv_interval_find(&interval, &residuals, &kind, NULL);
    cr_expect(interval.validated);
    cr_expect_eq(interval.n_runs, 8);
    cr_expect_eq(interval.n_sources, 1);
    cr_expect_float_eq(interval.low_frac, 0, 1e-12);
    cr_expect_float_eq(interval.high_frac, 0, 1e-12);
    galv_text_release(&text);
    galv_arena_free(arena);
}

/* One source, all off by the same 10 %: the median is ln 1.1 on every level, the
 * quantiles are no wider, the spread is 1.2533 ln 1.1, and S = 1. */
Test(sim_interval, the_spread_of_sources_is_joined_by_its_formula)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_residuals residuals;
    galv_interval interval;
    galv_text text = GALV_TEXT_INIT;
    galv_text_append(&text, HEAD);
    add(&text, "s", "megatron", 5, 1.1);
    cr_assert_eq(read(&residuals, galv_text_string(&text), arena, &err), GALV_OK);
    galv_run_kind kind = kind_of("megatron");
    galv_interval_find(&interval, &residuals, &kind, NULL);
    double half = 2.1318467863266499 * sqrt(acos(-1) / 2) * log(1.1) * sqrt(2);
    cr_expect_float_eq(log(1 + interval.low_frac), log(1.1) - half, 1e-9);
    cr_expect_float_eq(log(1 + interval.high_frac), log(1.1) + half, 1e-9);
    galv_text_release(&text);
    galv_arena_free(arena);
}

/* Runs that all hit leave nothing but a run's own part: the spreads of hosts and of
 * memory-bound kernels, for nine in ten of a normal, times the square of the host's
 * share and the share of those kernels; both in quadrature. */
Test(sim_interval, the_shares_of_host_and_memory_widen_it)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_residuals residuals;
    galv_interval interval;
    galv_text text = GALV_TEXT_INIT;
    galv_text_append(&text, HEAD);
    add(&text, "s", "megatron", 8, 1);
    cr_assert_eq(read(&residuals, galv_text_string(&text), arena, &err), GALV_OK);
    static const struct {
        double host_share, memory_share, sd;
    } wanted[] = {{0.5, 0, 0.4 * 0.25}, {0, 0.2, 0.42 * 0.2}, {0.5, 0.2, 0}};
    for (int i = 0; i < 3; i++) {
        galv_run_kind kind = kind_of("megatron");
        kind.host_share = wanted[i].host_share;
        kind.memory_share = wanted[i].memory_share;
        galv_interval_find(&interval, &residuals, &kind, NULL);
        double part = 1.6448536269514722 *
                      (i < 2 ? wanted[i].sd : hypot(wanted[0].sd, wanted[1].sd));
        cr_expect_float_eq(log(1 + interval.high_frac), part, 1e-9);
        cr_expect_float_eq(log(1 + interval.low_frac), -part, 1e-9);
    }
    galv_text_release(&text);
    galv_arena_free(arena);
}

/* Runs that the host paces for the most part are off by far more than those it does
 * not; that is no reason to tell a run of large layers a wide interval. One that had
 * such a part of 0.4 counts with 0.05 / sqrt(0.05^2 + 0.4^2) of what it was off by. */
Test(sim_interval, a_run_counts_without_the_part_of_its_own_shares)
{
    static const char rows[] =
        "case_id,source,family,software,generation,precision,pace,nodes,zero,pipeline,"
        "experts,tensor,recompute,attention,host_share,measured_over_predicted\n"
        "a,s,gpt,megatron,Hopper,16-bit,kernel,one,1,none,dense,tp1,none,fused,1,1.2\n"
        "b,s,gpt,megatron,Hopper,16-bit,kernel,one,1,none,dense,tp1,none,fused,1,1.2\n"
        "c,s,gpt,megatron,Hopper,16-bit,kernel,one,1,none,dense,tp1,none,fused,1,1.2\n";
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_residuals residuals;
    galv_interval interval;
    cr_assert_eq(read(&residuals, rows, arena, &err), GALV_OK, "%s", err.message);
    galv_run_kind kind = kind_of("megatron");
    galv_interval_find(&interval, &residuals, &kind, NULL);
    double e = log(1.2) * 0.05 / hypot(0.05, 0.4);
    double half = 2.1318467863266499 * sqrt(acos(-1) / 2) * e * sqrt(2);
    cr_expect_float_eq(log(1 + interval.low_frac), e - half, 1e-9);
    cr_expect_float_eq(log(1 + interval.high_frac), e + half, 1e-9);
    galv_arena_free(arena);
}

/* Peaks and times have residuals of their own: a row may have one or both. */
Test(sim_interval, peaks_have_an_interval_of_their_own)
{
    static const char rows[] =
        "case_id,source,family,software,generation,precision,zero,recompute,"
        "measured_over_predicted,memory_measured_over_predicted\n"
        "a,s,gpt,megatron,Hopper,16-bit,1,none,,1.1\n"
        "b,s,gpt,megatron,Hopper,16-bit,1,none,1,1.1\n"
        "c,s,gpt,megatron,Hopper,16-bit,1,none,1,1.1\n"
        "d,s,gpt,megatron,Hopper,16-bit,1,none,1,\n";
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_residuals residuals;
    galv_interval interval;
    cr_assert_eq(read(&residuals, rows, arena, &err), GALV_OK, "%s", err.message);
    galv_run_kind kind = kind_of("megatron");
    galv_memory_interval_find(&interval, &residuals, &kind, "", NULL);
    double half = 2.1318467863266499 * sqrt(acos(-1) / 2) * log(1.1) * sqrt(2);
    cr_expect_eq(interval.n_runs, 3);
    cr_expect_float_eq(log(1 + interval.low_frac), log(1.1) - half, 1e-9);
    cr_expect_float_eq(log(1 + interval.high_frac), log(1.1) + half, 1e-9);
    galv_interval_find(&interval, &residuals, &kind, NULL);
    cr_expect_eq(interval.n_runs, 3);
    cr_expect_float_eq(interval.high_frac, 0, 1e-9);
    kind = kind_of("eager");
    galv_memory_interval_find(&interval, &residuals, &kind, "", NULL);
    cr_expect_not(interval.validated);
    galv_arena_free(arena);
}

/* A peak is held against peaks that were measured alike: an allocator's, which are all
 * met, say nothing of what nvidia-smi sees, and the other way round; a table that does
 * not tell speaks for both. */
Test(sim_interval, peaks_are_held_against_peaks_measured_alike)
{
    static const char rows[] =
        "case_id,source,family,software,generation,precision,zero,recompute,"
        "measured_over_predicted,memory_kind,memory_measured_over_predicted\n"
        "a,s,gpt,megatron,Hopper,16-bit,1,none,,torch_peak,1\n"
        "b,s,gpt,megatron,Hopper,16-bit,1,none,,torch_reserved,1\n"
        "c,s,gpt,megatron,Hopper,16-bit,1,none,,torch_peak,1\n"
        "d,t,gpt,megatron,Hopper,16-bit,1,none,,nvidia_smi,1.1\n"
        "e,t,gpt,megatron,Hopper,16-bit,1,none,,nvidia_smi,1.1\n"
        "f,t,gpt,megatron,Hopper,16-bit,1,none,,unknown,1.1\n";
    static const struct {
        const char *memory_kind;
        size_t n_runs;
        double low; /* of the interval's upper end */
    } wanted[] = {{"torch_peak", 3, 0}, {"nvidia_smi", 3, 0.1}, {"", 6, 0.05}};
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_residuals residuals;
    cr_assert_eq(read(&residuals, rows, arena, &err), GALV_OK, "%s", err.message);
    galv_run_kind kind = kind_of("megatron");
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        galv_interval interval;
        galv_memory_interval_find(&interval, &residuals, &kind, wanted[i].memory_kind,
                                  NULL);
        cr_expect_eq(interval.n_runs, wanted[i].n_runs, "%s", wanted[i].memory_kind);
        cr_expect_geq(interval.high_frac, wanted[i].low, "%s", wanted[i].memory_kind);
        cr_expect(i > 0 || interval.high_frac < 1e-9);
    }
    galv_arena_free(arena);
}

Test(sim_interval, without_like_runs_it_says_so)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_residuals residuals;
    galv_interval interval;
    galv_text text = GALV_TEXT_INIT;
    char line[160];
    galv_text_append(&text, HEAD);
    add(&text, "s", "megatron", 2, 1);
    add(&text, "t", "eager", 9, 1);
    cr_assert_eq(read(&residuals, galv_text_string(&text), arena, &err), GALV_OK);
    galv_run_kind kind = kind_of("megatron");
    galv_interval_find(&interval, &residuals, &kind, NULL);
    cr_expect_not(interval.validated, "two runs are too few");
    cr_expect_str_eq(interval.regime, "megatron, Hopper, 16-bit");
    cr_expect_str_eq(galv_interval_print(line, sizeof line, &interval),
                     "not validated in this regime");
    kind = kind_of("eager");
    galv_interval_find(&interval, &residuals, &kind, NULL);
    cr_expect(interval.validated);
    galv_left_out left_out = {"t", NULL};
    galv_interval_find(&interval, &residuals, &kind, &left_out);
    cr_expect_not(interval.validated);
    residuals.n = 0;
    galv_interval_find(&interval, &residuals, &kind, NULL);
    cr_expect_not(interval.validated);
    galv_text_release(&text);
    galv_arena_free(arena);
}

Test(sim_interval, broken_tables_are_refused_with_their_place)
{
    static const char *const tables[] = {
        "case_id,source\na,b\n",
        HEAD
        "c,s,gpt,megatron,Hopper,16-bit,kernel,one,1,none,dense,tp1,none,fused,x\n",
        HEAD "c,s,gpt,megatron,Hopper,16-bit,kernel,one,1,none,dense,tp1,none,fused,\n",
        HEAD
        "c,s,gpt,megatron,Hopper,16-bit,kernel,one,1,none,dense,tp1,none,fused,-1\n",
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        galv_arena *arena = galv_arena_new();
        galv_err err = GALV_ERR_INIT;
        galv_residuals residuals;
        cr_expect_eq(read(&residuals, tables[i], arena, &err), GALV_INPUT, "case %zu",
                     i);
        galv_arena_free(arena);
    }
}

typedef struct coverage {
    double cases;     /* share of cases inside */
    double by_source; /* mean over sources of the share of their cases inside */
    double width;     /* mean half-width of ln(measured / predicted) */
    size_t n;         /* with an interval */
} coverage;

/* Which runs: those with a share of the host from `least` to below `most`. */
typedef struct shares {
    double least, most;
} shares;

static const shares every = {0, 2};

static coverage cover(const galv_residuals *residuals, bool by_family, bool memory,
                      shares host)
{
    static size_t n_of[4096], inside_of[4096];
    coverage c = {0, 0, 0, 0};
    memset(n_of, 0, sizeof n_of);
    memset(inside_of, 0, sizeof inside_of);
    for (size_t i = 0; i < residuals->n; i++) {
        const galv_residual *r = &residuals->rows[i];
        galv_left_out left_out = {by_family ? NULL : r->source,
                                  by_family ? r->family : NULL};
        galv_interval interval;
        double ratio = memory ? r->memory_log_ratio : r->log_ratio;
        if (memory) {
            galv_memory_interval_find(&interval, residuals, &r->kind, r->memory_kind,
                                      &left_out);
        } else {
            galv_interval_find(&interval, residuals, &r->kind, &left_out);
        }
        if (!interval.validated || isnan(ratio) || r->kind.host_share < host.least ||
            r->kind.host_share >= host.most) {
            continue;
        }
        double low = log(1 + interval.low_frac);
        double high = log(1 + interval.high_frac);
        bool inside = ratio >= low && ratio <= high;
        c.n++;
        c.cases += inside;
        c.width += (high - low) / 2;
        n_of[r->source_index]++;
        inside_of[r->source_index] += inside;
    }
    double n_sources = 0;
    for (size_t i = 0; i < residuals->n; i++) {
        if (n_of[i] > 0) {
            n_sources++;
            c.by_source += (double)inside_of[i] / (double)n_of[i];
        }
    }
    c.cases /= (double)c.n;
    c.width /= (double)c.n;
    c.by_source /= n_sources;
    return c;
}

/* What the interval promises: of a source (or a model family) whose runs were never
 * looked at, about 90 % lie inside. Written with 92.3 % of 469 runs, by source 97 %;
 * of the peaks of allocators 87 % of 76, at half-widths of 6 %. */
Test(sim_interval, about_nine_in_ten_left_out_runs_lie_inside)
{
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_residuals residuals;
    cr_assert_eq(galv_residuals_builtin(&residuals, arena, &err), GALV_OK, "%s",
                 err.message);
    cr_assert_gt(residuals.n, 500);
    cr_assert_lt(residuals.n, 4096);
    coverage source = cover(&residuals, false, false, every);
    coverage family = cover(&residuals, true, false, every);
    cr_expect_gt(source.n, 300);
    cr_expect(source.cases >= 0.88 && source.cases <= 0.95, "%.3f", source.cases);
    cr_expect(source.by_source >= 0.85 && source.by_source <= 0.99, "%.3f",
              source.by_source);
    cr_expect(family.cases >= 0.88, "%.3f of %zu", family.cases, family.n);
    coverage peaks = cover(&residuals, false, true, every);
    cr_expect_gt(peaks.n, 70);
    cr_expect(peaks.by_source >= 0.8, "%.3f of %zu peaks", peaks.by_source, peaks.n);
    cr_expect(peaks.cases >= 0.85, "%.3f of %zu peaks", peaks.cases, peaks.n);
    galv_arena_free(arena);
}

/* And not on the whole alone, too wide here and too narrow there: of each range of the
 * host's share, nine in ten as nearly as so many runs can tell, within 2.5 deviations
 * of a binomial. Before runs had parts of their own in it, 60 % of
 * those at 10 to 20 % lay inside, and 98 % of those above 40 %. */
Test(sim_interval, about_nine_in_ten_lie_inside_whatever_the_share_of_the_host)
{
    static const shares ranges[] = {
        {0, 0.1}, {0.1, 0.2}, {0.2, 0.4}, {0.4, 0.6}, {0.6, 1.01}};
    galv_arena *arena = galv_arena_new();
    galv_err err = GALV_ERR_INIT;
    galv_residuals residuals;
    cr_assert_eq(galv_residuals_builtin(&residuals, arena, &err), GALV_OK, "%s",
                 err.message);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        coverage c = cover(&residuals, false, false, ranges[i]);
        cr_expect_gt(c.n, 50);
        double deviation = sqrt(0.9 * 0.1 / (double)c.n);
        cr_expect(fabs(c.cases - 0.9) <= 2.5 * deviation, "%.3f of %zu from %g",
                  c.cases, c.n, ranges[i].least);
    }
    galv_arena_free(arena);
}
