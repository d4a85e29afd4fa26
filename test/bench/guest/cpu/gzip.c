/* gzip and sha256sum, of the guest's busybox, on 64 MiB in memory. */
#include "bench.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1 << 20)
/* Far more than gzip's window, so that it finds nothing of one copy in the next. */
#define DISTINCT (4 * MIB)
#define COPIES 16
#define WORDS 4096
#define LONGEST 12

/*
 * Something between text and binary data, which gzip makes two fifths as large: words, the frequent ones far more
 * frequent than the others, and now and then a record of numbers of which some bits are noise.
 */
static void make_data(uint8_t *data, size_t size)
{
    static const char letters[] = "eeeeeetttttaaaaooooiiinnnsssshhhrrrddllluuccmmffwyypvbgkjqxz";
    static char words[WORDS][LONGEST];
    uint64_t random = 17;
    for (int i = 0; i < WORDS; i++) {
        uint64_t bits = next_random(&random);
        int length = 2 + (int)(bits & 7);
        for (int k = 0; k < length; k++)
            words[i][k] = letters[(bits >> (4 + 6 * k)) % (sizeof letters - 1)];
    }
    uint32_t counter = 0;
    for (size_t at = 0; at < size;) {
        uint64_t bits = next_random(&random);
        uint8_t record[16];
        size_t length;
        if (!(bits & 31)) {
            uint64_t noise = next_random(&random) & 0xffffff00ffff;
            memcpy(record, &counter, 4);
            memset(record + 4, 0, 4);
            memcpy(record + 8, &noise, 8);
            counter += (uint32_t)(bits >> 32) & 0xff;
            length = sizeof record;
        } else {
            /* The product of equally distributed numbers is small rather than large. */
            uint64_t rank = (bits >> 8 & 0xfff) * (bits >> 20 & 0xfff) * (bits >> 32 & 0xfff) >> 24;
            length = strlen(words[rank]);
            memcpy(record, words[rank], length);
            record[length++] = bits >> 60 ? ' ' : '\n';
        }
        if (length > size - at)
            length = size - at;
        memcpy(data + at, record, length);
        at += length;
    }
}

/* Seconds for both. */
void gzip_sha256(void)
{
    static const char command[] = "gzip -c <data >data.gz && wc -c <data.gz && sha256sum data data.gz";
    uint8_t *data = take(DISTINCT);
    make_data(data, DISTINCT);
    if (chdir("/tmp"))
        die("/tmp");
    FILE *file = fopen("data", "w");
    if (!file)
        die("data");
    for (int i = 0; i < COPIES; i++)
        if (fwrite(data, DISTINCT, 1, file) != 1)
            die("data");
    if (fclose(file))
        die("data");

    uint64_t sum = 0;
    double began = now();
    FILE *output = popen(command, "r");
    if (!output)
        die("popen");
    for (int byte; (byte = getc(output)) != EOF;)
        sum = digest(sum, (uint64_t)byte);
    if (pclose(output)) {
        errno = ECHILD;
        die(command);
    }
    print_row("gzip-sha256", now() - began, sum);
    unlink("data");
    unlink("data.gz");
}
