/*
 * The disk benchmark, run in the guest: blk DEVICE [SECONDS]. Direct I/O, so that each request is one of the device. Prints
 *
 *     bench NAME=RATE
 *
 * in requests (4 KiB ones) or MiB (large ones) per second for each pattern, by the guest's monotonic clock. What was on the
 * device is overwritten.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SMALL 4096
#define LARGE (1 << 20)
#define MAX_THREADS 32

struct job {
    const char *device;
    size_t block;
    int write, random;
    uint64_t size;
    double seconds;
    unsigned seed;
    uint64_t requests;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    printf("bench failed: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *work(void *argument)
{
    struct job *job = argument;
    void *buffer;
    int fd = open(job->device, (job->write ? O_RDWR : O_RDONLY) | O_DIRECT);
    if (fd < 0)
        die("open");
    if (posix_memalign(&buffer, LARGE, job->block))
        die("memory");
    memset(buffer, 0x5a, job->block);
    uint64_t blocks = job->size / job->block, at = 0;
    uint64_t random = 0x9e3779b97f4a7c15ull * (job->seed + 1);
    for (double end = now() + job->seconds; now() < end;) {
        /* The clock is not free either: a few requests between looks at it. */
        for (int i = 0; i < 8; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            at = job->random ? random % blocks : (at + 1) % blocks;
            off_t offset = (off_t)(at * job->block);
            ssize_t done = job->write ? pwrite(fd, buffer, job->block, offset) : pread(fd, buffer, job->block, offset);
            if (done != (ssize_t)job->block)
                die(job->write ? "write" : "read");
            job->requests++;
        }
    }
    close(fd);
    free(buffer);
    return 0;
}

static void measure(const char *name, const struct job *pattern, int threads)
{
    pthread_t thread[MAX_THREADS];
    struct job jobs[MAX_THREADS];
    uint64_t requests = 0;
    double began = now();
    for (int i = 0; i < threads; i++) {
        jobs[i] = *pattern;
        jobs[i].seed = (unsigned)i;
        if (pthread_create(&thread[i], 0, work, &jobs[i]))
            die("thread");
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], 0);
        requests += jobs[i].requests;
    }
    double rate = requests / (now() - began);
    printf("bench %s=%.1f\n", name, pattern->block == LARGE ? rate * (LARGE >> 20) : rate);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: blk DEVICE [SECONDS]\n");
        return 2;
    }
    struct job base = {.device = argv[1], .seconds = argc > 2 ? atof(argv[2]) : 2, .random = 1, .block = SMALL};
    int fd = open(base.device, O_RDONLY);
    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &base.size) < 0 || base.size < LARGE)
        die("size");
    close(fd);

    struct job warm = base, read_small = base, write_small = base, read_large = base, write_large = base;
    warm.seconds = 0.5;
    write_small.write = write_large.write = 1;
    read_large.random = write_large.random = 0;
    read_large.block = write_large.block = LARGE;
    measure("warm-up", &warm, 1);
    measure("guest-4k-qd1", &read_small, 1);
    measure("guest-4k-qd32", &read_small, 32);
    measure("randwrite-4k-qd1", &write_small, 1);
    measure("guest-1m-qd4", &read_large, 4);
    measure("read-1m", &read_large, 1);
    measure("write-1m", &write_large, 1);
    return 0;
}
