/* What costs a guest's kernel time: system calls, page faults, switches between processes, new processes. */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALLS 1200000

/* Nanoseconds a call. */
void system_calls(void)
{
    uint64_t wrong = 0;
    long parent = syscall(SYS_getppid);
    double began = now();
    for (int i = 0; i < CALLS; i++)
        wrong += syscall(SYS_getppid) != parent;
    print_row("syscall", (now() - began) * 1e9 / CALLS, wrong);
}

#define PAGE 4096
#define MAPPED (16 << 20)
#define MAPPINGS 20

/* Nanoseconds a page: to be mapped at its first touch, and to be unmapped with the others. */
void page_faults(void)
{
    uint64_t sum = 0;
    double began = now();
    for (int n = 0; n < MAPPINGS; n++) {
        volatile uint8_t *memory = mmap(0, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            die("mmap");
        /* A kernel without huge pages knows nothing of them either. */
        if (madvise((void *)memory, MAPPED, MADV_NOHUGEPAGE) && errno != EINVAL)
            die("madvise");
        for (size_t at = 0; at < MAPPED; at += PAGE) {
            memory[at] = (uint8_t)n;
        }
        sum += memory[0];
        if (munmap((void *)memory, MAPPED))
            die("munmap");
    }
    print_row("page-fault", (now() - began) * 1e9 / ((double)MAPPINGS * (MAPPED / PAGE)), sum);
}

#define ROUND_TRIPS 12000

static void end_well(pid_t child)
{
    int status;
    if (waitpid(child, &status, 0) != child)
        die("waitpid");
    if (status) {
        errno = ECHILD;
        die("a child failed");
    }
}

/* Microseconds for a byte to another process and back. */
void pipes(void)
{
    int there[2], back[2];
    uint8_t byte = 0;
    uint64_t sum = 0;
    if (pipe(there) || pipe(back))
        die("pipe");
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (!child) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            byte++;
            if (write(back[1], &byte, 1) != 1)
                _exit(1);
        }
        _exit(0);
    }
    double began = now();
    for (int i = 0; i < ROUND_TRIPS; i++) {
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            die("pipe");
        sum += byte;
    }
    double seconds = now() - began;
    close(there[1]);
    end_well(child);
    print_row("pipe", seconds * 1e6 / ROUND_TRIPS, sum);
}

#define PROCESSES 400

/* Milliseconds for a process that becomes another program and ends. */
void fork_exec(void)
{
    static char *const arguments[] = {"/bench/nothing", 0}, *const environment[] = {0};
    double began = now();
    for (int i = 0; i < PROCESSES; i++) {
        pid_t child = fork();
        if (child < 0)
            die("fork");
        if (!child) {
            execve(arguments[0], arguments, environment);
            _exit(127);
        }
        end_well(child);
    }
    print_row("fork-exec", (now() - began) * 1e3 / PROCESSES, PROCESSES);
}
