/* What the parts of the CPU benchmark share. */
#ifndef BENCH_H
#define BENCH_H
#include <stddef.h>
#include <stdint.h>

/* One timed piece of work. It returns a digest of its results, the same on every correct machine. */
struct part {
    const char *name;
    uint64_t (*run)(void);
};

/* Runs the parts one after the other and prints the row: see main.c. */
void measure_parts(const char *row, const struct part *parts, int count);

/* Prints a row of one figure. */
void print_row(const char *row, double value, uint64_t check);

/* The monotonic clock, seconds. */
double now(void);

/* Memory of its own pages; ends the program where there is none. */
void *take(size_t size);

/* Ends the program with `what` and errno. */
_Noreturn void die(const char *what);

/* xorshift64*: the state must not be 0. */
static inline uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}

/* Adds a value to a digest. */
static inline uint64_t digest(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * 0x9e3779b97f4a7c15ull;
    return sum ^ sum >> 29;
}

void integer(void);
void smp2(void);
void calls(void);
void indirect_calls(void);
void fp_double(void);
void pointer_chase(void);
void memory_copy(void);
void system_calls(void);
void page_faults(void);
void pipes(void);
void fork_exec(void);
void gzip_sha256(void);

#endif
