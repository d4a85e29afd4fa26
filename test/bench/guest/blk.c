/*
 * The disk benchmark, run in the guest: blk SECONDS ROW... Direct I/O, so that each request is one of the device. Prints
 *
 *     bench ROW=RATE
 *
 * in requests (4 KiB ones) or MiB (large ones) per second, by the guest's monotonic clock. The disk that a row is about is
 * found by its serial number. What was on it is overwritten.
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

/* The disk with a serial number. */
static const char *find_disk(const char *serial)
{
    static char device[32];
    for (char letter = 'a'; letter <= 'z'; letter++) {
        char path[64], found[32] = "";
        snprintf(path, sizeof path, "/sys/block/vd%c/serial", letter);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        if (!fgets(found, sizeof found, file))
            found[0] = 0;
        fclose(file);
        found[strcspn(found, "\n")] = 0;
        snprintf(device, sizeof device, "/dev/vd%c", letter);
        if (!strcmp(found, serial))
            return device;
    }
    die(serial);
    return 0;
}

static const struct row {
    const char *name, *serial;
    struct job job;
    int threads;
} rows[] = {
    {"guest-4k-qd1", "pci", {.block = SMALL, .random = 1}, 1},
    {"guest-4k-qd32", "pci", {.block = SMALL, .random = 1}, 32},
    {"guest-randwrite-4k-qd1", "pci", {.block = SMALL, .random = 1, .write = 1}, 1},
    {"guest-randwrite-4k-qd32", "pci", {.block = SMALL, .random = 1, .write = 1}, 32},
    {"guest-1m-qd4", "pci", {.block = LARGE}, 4},
    {"guest-read-1m-qd1", "pci", {.block = LARGE}, 1},
    {"guest-write-1m-qd1", "pci", {.block = LARGE, .write = 1}, 1},
    {"guest-mmio-4k-qd1", "mmio", {.block = SMALL, .random = 1}, 1},
    {"guest-mmio-4k-qd32", "mmio", {.block = SMALL, .random = 1}, 32},
};

static void run(const char *name, double seconds)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(rows[i].name, name))
            continue;
        struct job job = rows[i].job;
        job.device = find_disk(rows[i].serial);
        job.seconds = seconds;
        int fd = open(job.device, O_RDONLY);
        if (fd < 0 || ioctl(fd, BLKGETSIZE64, &job.size) < 0 || job.size < LARGE)
            die("size");
        close(fd);
        struct job warm = job;
        warm.seconds = 0.3;
        measure("warm-up", &warm, rows[i].threads);
        measure(name, &job, rows[i].threads);
        return;
    }
    die(name);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: blk SECONDS ROW...\n");
        return 2;
    }
    for (int i = 2; i < argc; i++)
        run(argv[i], atof(argv[1]));
    printf("bench ended=1\n");
    return 0;
}
