/* The integer loop set: sieve, CRC-32, hashing with division, sorting, strings. On one thread, or on two at once. */
#include "bench.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define KIB 1024

/* ---- sieve of Eratosthenes ---- */

#define SIEVE_LIMIT (256 * KIB)
#define SIEVE_ROUNDS 200

static uint64_t sieve(void)
{
    uint8_t *composite = malloc(SIEVE_LIMIT);
    uint64_t sum = 0;
    if (!composite)
        die("malloc");
    for (unsigned round = 0; round < SIEVE_ROUNDS; round++) {
        unsigned limit = SIEVE_LIMIT - round, primes = 0;
        for (unsigned i = 0; i < limit; i++)
            composite[i] = 0;
        for (unsigned i = 2; i < limit; i++) {
            if (composite[i])
                continue;
            primes++;
            for (unsigned long j = (unsigned long)i * i; j < limit; j += i)
                composite[j] = 1;
        }
        sum = digest(sum, primes);
    }
    free(composite);
    return sum;
}

/* ---- CRC-32 (IEEE 802.3), by table ---- */

#define CRC_SIZE (128 * KIB)
#define CRC_ROUNDS 500

static uint64_t crc32(void)
{
    uint32_t table[256], crc = ~0u;
    uint8_t *data = malloc(CRC_SIZE);
    uint64_t random = 1;
    if (!data)
        die("malloc");
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    for (unsigned i = 0; i < CRC_SIZE; i++)
        data[i] = (uint8_t)(next_random(&random) >> 56);
    for (unsigned round = 0; round < CRC_ROUNDS; round++)
        for (unsigned i = 0; i < CRC_SIZE; i++)
            crc = table[(crc ^ data[i]) & 0xff] ^ crc >> 8;
    free(data);
    return ~crc;
}

/* ---- a hash table of a prime number of slots, linear probing ---- */

#define HASH_SLOTS 32749
#define HASH_KEYS 20000
#define HASH_ROUNDS 600

struct slot {
    uint64_t key, count;
};

static uint64_t hashing(void)
{
    struct slot *slots = malloc(HASH_SLOTS * sizeof *slots);
    uint64_t sum = 0;
    if (!slots)
        die("malloc");
    for (unsigned round = 1; round <= HASH_ROUNDS; round++) {
        uint64_t random = round, probes = 0;
        memset(slots, 0, HASH_SLOTS * sizeof *slots);
        for (unsigned i = 0; i < HASH_KEYS; i++) {
            uint64_t key = next_random(&random) | 1;
            uint64_t at = (key ^ key >> 31) * 0xbf58476d1ce4e5b9ull % HASH_SLOTS;
            while (slots[at].key && slots[at].key != key) {
                at = at + 1 == HASH_SLOTS ? 0 : at + 1;
                probes++;
            }
            slots[at].key = key;
            slots[at].count += key / (i + 1);
        }
        for (unsigned i = 0; i < HASH_SLOTS; i++)
            if (slots[i].key)
                sum = digest(sum, slots[i].count);
        sum = digest(sum, probes);
    }
    free(slots);
    return sum;
}

/* ---- quicksort with insertion sort for the short ranges ---- */

#define SORT_SIZE 100000
#define SORT_ROUNDS 34
#define SORT_SHORT 12

static void insertion_sort(int64_t *a, long n)
{
    for (long i = 1; i < n; i++) {
        int64_t value = a[i];
        long j = i;
        for (; j > 0 && a[j - 1] > value; j--)
            a[j] = a[j - 1];
        a[j] = value;
    }
}

static void quicksort(int64_t *a, long n)
{
    while (n > SORT_SHORT) {
        int64_t first = a[0], middle = a[n / 2], last = a[n - 1];
        int64_t pivot = first < middle ? (middle < last ? middle : first < last ? last : first)
                                       : (first < last ? first : middle < last ? last : middle);
        long i = 0, j = n - 1;
        for (;;) {
            while (a[i] < pivot)
                i++;
            while (a[j] > pivot)
                j--;
            if (i >= j)
                break;
            int64_t swapped = a[i];
            a[i++] = a[j];
            a[j--] = swapped;
        }
        long left = i == j ? i : j + 1;
        quicksort(a, left);
        a += left;
        n -= left;
    }
    insertion_sort(a, n);
}

static uint64_t sort(void)
{
    int64_t *a = malloc(SORT_SIZE * sizeof *a);
    uint64_t sum = 0, random = 7;
    if (!a)
        die("malloc");
    for (unsigned round = 0; round < SORT_ROUNDS; round++) {
        for (unsigned i = 0; i < SORT_SIZE; i++)
            a[i] = (int64_t)(next_random(&random) >> (round % 2 ? 1 : 50));
        quicksort(a, SORT_SIZE);
        for (unsigned i = 1; i < SORT_SIZE; i++) {
            if (a[i - 1] > a[i]) {
                errno = EINVAL;
                die("sort");
            }
            sum = digest(sum, (uint64_t)a[i]);
        }
    }
    free(a);
    return sum;
}

/* ---- strings: byte loops of our own, and the C library's ---- */

#define TEXT_SIZE (32 * KIB)
#define STRING_ROUNDS 430

static size_t find(const char *text, const char *word)
{
    for (size_t at = 0; text[at]; at++) {
        size_t i = 0;
        while (word[i] && text[at + i] == word[i])
            i++;
        if (!word[i])
            return at;
    }
    return SIZE_MAX;
}

static size_t capitalise(char *text)
{
    size_t words = 0;
    int inside = 0;
    for (; *text; text++) {
        int letter = (*text | 0x20) >= 'a' && (*text | 0x20) <= 'z';
        if (letter && !inside) {
            *text ^= 0x20;
            words++;
        }
        inside = letter;
    }
    return words;
}

static char *append_number(char *to, uint32_t n)
{
    char digits[12];
    int count = 0;
    do
        digits[count++] = (char)('0' + n % 10);
    while (n /= 10);
    while (count)
        *to++ = digits[--count];
    return to;
}

static uint64_t string(void)
{
    char *text = malloc(TEXT_SIZE + 32), *copy = malloc(TEXT_SIZE + 32);
    uint64_t sum = 0, random = 3;
    if (!text || !copy)
        die("malloc");
    for (unsigned round = 0; round < STRING_ROUNDS; round++) {
        char *end = text;
        while (end < text + TEXT_SIZE - 32) {
            uint64_t bits = next_random(&random);
            if (!(bits & 7))
                end = append_number(end, (uint32_t)(bits >> 32));
            else
                for (unsigned i = 0, letters = 1 + (bits >> 3 & 7); i < letters; i++)
                    *end++ = (char)('a' + (bits >> (6 + 5 * i) & 31) % 26);
            *end++ = ' ';
        }
        *end = 0;
        sum = digest(sum, find(text, "zzyzx"));
        for (char *word = text; word < end;) {
            char *next = strchr(word, ' ');
            sum += (uint64_t)(next - word);
            word = next + 1;
        }
        strcpy(copy, text);
        sum = digest(sum, capitalise(copy));
        sum = digest(sum, strlen(copy) + (size_t)(strcmp(text, copy) > 0));
        sum = digest(sum, capitalise(copy) + (size_t)(memcmp(text, copy, (size_t)(end - text)) == 0));
    }
    free(text);
    free(copy);
    return sum;
}

static const struct part set[] = {
    {"sieve", sieve}, {"crc32", crc32}, {"hash", hashing}, {"sort", sort}, {"string", string},
};
#define SET_SIZE (int)(sizeof set / sizeof *set)

void integer(void)
{
    measure_parts("integer", set, SET_SIZE);
}

static void *whole_set(void *sum)
{
    for (int i = 0; i < SET_SIZE; i++)
        *(uint64_t *)sum = digest(*(uint64_t *)sum, set[i].run());
    return 0;
}

/* Seconds for the set twice, on two threads. */
void smp2(void)
{
    pthread_t other;
    uint64_t sums[2] = {0, 0};
    double began = now();
    if (pthread_create(&other, 0, whole_set, &sums[0]))
        die("thread");
    whole_set(&sums[1]);
    pthread_join(other, 0);
    double seconds = now() - began;
    if (sums[0] != sums[1]) {
        errno = EINVAL;
        die("the threads computed different results");
    }
    print_row("smp2", seconds, sums[0]);
}
