/* libgalvatron: everything public in one include. Each header can be included alone.
 *
 *     galv_job job = {0};                     plan/plan.h      what to train on what
 *     galv_model_load(&job.model, "llama3-70b", &err);
 *     galv_cluster_load(&job.cluster, "dgx-h100", 64, &err);
 *     job.workload = (galv_workload)GALV_WORKLOAD_INIT;
 *     galv_job_fill_defaults(&job);
 *     galv_costmodel_new(&model, &job, NULL, &err);   costmodel/costmodel.h
 *     galv_search(&found, model, &space, &options, arena, &err);   search/search.h
 *     found.plans[0].result.iteration_time_s
 *
 * examples/ in docs/library.md is a whole program. */
#ifndef GALVATRON_H
#define GALVATRON_H

#include "accuracy/validation.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/status.h"
#include "base/text.h"
#include "base/units.h"
#include "costmodel/costmodel.h"
#include "costmodel/galvatron_model.h"
#include "plan/catalog.h"
#include "plan/order.h"
#include "plan/plan.h"
#include "schedule/program.h"
#include "schedule/schedule.h"
#include "schedule/schedule_file.h"
#include "search/search.h"
#include "search/sweep.h"
#include "sim/critical_path.h"
#include "sim/evaluate.h"
#include "sim/failures.h"
#include "sim/peak.h"
#include "sim/reference.h"
#include "sim/simulate.h"
#include "sim/stage_times.h"
#include "sim/weigh.h"
#include "traces/cases.h"
#include "traces/galvatron_plan.h"
#include "traces/profile.h"
#include "traces/timeline.h"
#include "viz/figure.h"

#endif
