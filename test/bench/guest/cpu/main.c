/*
 * The CPU benchmark's program for the guest: cpu ROW, or cpu clock NAME for the clock alone. Prints
 *
 *     bench ROW=FIGURE [ROW.total=SECONDS ROW.PART=SECONDS...] check=HEX
 *
 * by the guest's monotonic clock. A row of parts has the geometric mean of their times as its figure, so that each part
 * weighs the same however long it takes. The work is fixed, the check a digest of its results. Nothing is run before the
 * clock starts but what makes the data: the time that a translator takes to warm up is part of the figure.
 */
#include "bench.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static const struct {
    const char *name;
    void (*run)(void);
} rows[] = {
    {"integer", integer},
    {"smp2", smp2},
    {"calls", calls},
    {"indirect-calls", indirect_calls},
    {"fp-double", fp_double},
    {"pointer-chase", pointer_chase},
    {"memcpy", memory_copy},
    {"syscall", system_calls},
    {"page-fault", page_faults},
    {"pipe", pipes},
    {"fork-exec", fork_exec},
    {"gzip-sha256", gzip_sha256},
};

double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void die(const char *what)
{
    printf("bench failed: %s: %s\n", what, strerror(errno));
    exit(1);
}

void *take(size_t size)
{
    void *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    return memory;
}

void print_row(const char *row, double value, uint64_t check)
{
    printf("bench %s=%.9f check=%" PRIx64 "\n", row, value, check);
}

void measure_parts(const char *row, const struct part *parts, int count)
{
    double seconds[8], total = 0, logarithms = 0;
    uint64_t check = 0;
    for (int i = 0; i < count; i++) {
        double began = now();
        check = digest(check, parts[i].run());
        seconds[i] = now() - began;
        total += seconds[i];
        logarithms += log(seconds[i]);
    }
    printf("bench %s=%.9f %s.total=%.9f", row, exp(logarithms / count), row, total);
    for (int i = 0; i < count; i++)
        printf(" %s.%s=%.9f", row, parts[i].name, seconds[i]);
    printf(" check=%" PRIx64 "\n", check);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].name, argv[1])) {
            rows[i].run();
            return 0;
        }
    if (argc == 3 && !strcmp(argv[1], "clock")) {
        printf("bench %s=%.9f\n", argv[2], now());
        return 0;
    }
    fprintf(stderr, "usage: cpu ROW | clock NAME\n");
    return 2;
}
