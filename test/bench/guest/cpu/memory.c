/* Loads that each wait for the last one, and copies. */
#include "bench.h"
#include <stdlib.h>
#include <string.h>

/* ---- a chain through 16 MiB in no order ---- */

#define NODES 262144
#define LAPS 20

struct node {
    struct node *next;
    uint64_t number;
    /* A node a cache line. */
    uint64_t padding[6];
};

/* Nanoseconds a load. */
void pointer_chase(void)
{
    struct node *nodes = take(NODES * sizeof *nodes);
    uint32_t *order = take(NODES * sizeof *order);
    uint64_t random = 9;
    for (uint32_t i = 0; i < NODES; i++)
        order[i] = i;
    for (uint32_t i = NODES - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(next_random(&random) % (i + 1)), swapped = order[i];
        order[i] = order[j];
        order[j] = swapped;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        nodes[order[i]].number = i;
        nodes[order[i]].next = &nodes[order[(i + 1) % NODES]];
    }
    const struct node *at = nodes;
    double began = now();
    for (uint64_t i = 0; i < (uint64_t)LAPS * NODES - 1; i++)
        at = at->next;
    double seconds = now() - began;
    print_row("pointer-chase", seconds * 1e9 / ((double)LAPS * NODES), digest(at->number, nodes->number));
}

/* ---- the C library's memcpy ---- */

#define COPY_SIZE (8 << 20)
#define COPIES 450

/* Gigabytes (1e9) a second. */
void memory_copy(void)
{
    /*
     * Of malloc, as programs have theirs. Were they a power of two apart, as two mappings would be, every page of one would
     * fall on the same entry of a direct-mapped TLB as its copy, and that would be measured.
     */
    uint64_t *from = malloc(COPY_SIZE), *to = malloc(COPY_SIZE), random = 13, sum = 0;
    if (!from || !to)
        die("malloc");
    memset(to, 1, COPY_SIZE);
    for (size_t i = 0; i < COPY_SIZE / sizeof *from; i++)
        from[i] = next_random(&random);
    double began = now();
    for (int i = 0; i < COPIES; i++) {
        from[i] += (uint64_t)i;
        memcpy(to, from, COPY_SIZE);
        __asm__ volatile("" ::: "memory");
    }
    double seconds = now() - began;
    for (size_t i = 0; i < COPY_SIZE / sizeof *to; i++)
        sum = digest(sum, to[i]);
    print_row("memcpy", (double)COPIES * COPY_SIZE / seconds / 1e9, sum);
}
