/* What the benchmarks share: the clock of the processor, and the machine's name. */
#ifndef GALV_BENCHMARKS_MACHINE_H
#define GALV_BENCHMARKS_MACHINE_H

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>

/* Seconds of the processor that this process took so far: other work on the machine
 * counts little. */
static inline double clock_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The most memory that this process held so far. */
static inline double peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static inline void print_machine(void)
{
    struct utsname names;
    char line[256];
    FILE *cpus = fopen("/proc/cpuinfo", "r");
    if (uname(&names) == 0) {
        printf("one core of: %s %s, ", names.sysname, names.machine);
    }
    while (cpus != NULL && fgets(line, sizeof line, cpus) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            printf("%s", colon + 2);
            break;
        }
    }
    if (cpus != NULL) {
        fclose(cpus);
    }
}

#endif
