/*
 * The MIPS benchmark: a bare-metal program for the virt board in M-mode, in the manner of CoreMark but code of our own. Each
 * round searches, reverses and sorts a linked list, multiplies matrices, runs a state machine over text, and takes a CRC of
 * the results. Prints to the UART
 *
 *     bench mips instructions=N ticks=N check=HEX
 *
 * (instructions retired, and time in units of 100 ns, both of the rounds alone) and powers off by the test finisher.
 */
#include <stdint.h>

#define UART ((volatile uint8_t *)0x10000000)
#define UART_LSR 5
#define UART_LSR_THRE 0x20
#define MTIME (*(volatile uint64_t *)0x0200bff8)
#define FINISHER (*(volatile uint32_t *)0x00100000)
#define FINISHER_PASS 0x5555

#ifndef ROUNDS
#define ROUNDS 1500
#endif

__asm__(
    ".section .text.start\n"
    ".globl _start\n"
    "_start:\n"
    "  csrr t0, mhartid\n"
    "  bnez t0, park\n"
    "  li t0, 0x2000\n" /* mstatus.FS: initial */
    "  csrs mstatus, t0\n"
    "  la sp, stack_top\n"
    "  call run\n"
    "park:\n"
    "  wfi\n"
    "  j park\n"
    ".text\n");

static uint8_t stack[16384] __attribute__((aligned(16), used));
__asm__(".globl stack_top\n.set stack_top, stack + 16384\n");

/* gcc may call these. */
void *memset(void *to, int value, unsigned long size)
{
    volatile uint8_t *p = to;
    while (size--)
        *p++ = (uint8_t)value;
    return to;
}

void *memcpy(void *to, const void *from, unsigned long size)
{
    volatile uint8_t *p = to;
    const uint8_t *q = from;
    while (size--)
        *p++ = *q++;
    return to;
}

static uint32_t seed = 0x2545f491;

static uint32_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed;
}

/* ---- lists: pointer chasing, data-dependent branches ---- */

#define NODES 256

struct node {
    struct node *next;
    int16_t value;
    uint16_t index;
};

static struct node nodes[NODES];

static struct node *make_list(void)
{
    for (int i = 0; i < NODES; i++) {
        nodes[i].value = (int16_t)next_random();
        nodes[i].index = (uint16_t)i;
        nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : 0;
    }
    return nodes;
}

static struct node *reverse(struct node *list)
{
    struct node *done = 0;
    while (list) {
        struct node *rest = list->next;
        list->next = done;
        done = list;
        list = rest;
    }
    return done;
}

static struct node *find(struct node *list, uint16_t index)
{
    while (list && list->index != index)
        list = list->next;
    return list;
}

typedef int (*order)(const struct node *, const struct node *);

static int by_value(const struct node *a, const struct node *b)
{
    return a->value - b->value;
}

static int by_index(const struct node *a, const struct node *b)
{
    return a->index - b->index;
}

static struct node *merge(struct node *a, struct node *b, order compare)
{
    struct node head, *tail = &head;
    while (a && b) {
        struct node **least = compare(a, b) <= 0 ? &a : &b;
        tail = tail->next = *least;
        *least = (*least)->next;
    }
    tail->next = a ? a : b;
    return head.next;
}

static struct node *sort(struct node *list, order compare)
{
    struct node *middle = list, *end = list;
    if (!list || !list->next)
        return list;
    while ((end = end->next) && (end = end->next))
        middle = middle->next;
    struct node *second = middle->next;
    middle->next = 0;
    return merge(sort(list, compare), sort(second, compare), compare);
}

/* ---- matrices: multiplication, regular loads and stores ---- */

#define SIDE 24

static int16_t left[SIDE][SIDE], right[SIDE][SIDE];
static int32_t product[SIDE][SIDE];

static void fill_matrices(void)
{
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            left[i][j] = (int16_t)(next_random() & 0xff);
            right[i][j] = (int16_t)(next_random() & 0xff);
        }
}

static int32_t multiply(int16_t scale)
{
    int32_t sum = 0;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            int32_t cell = 0;
            for (int k = 0; k < SIDE; k++)
                cell += left[i][k] * right[k][j];
            product[i][j] = cell + scale;
            sum += (product[i][j] >> 2) & 0xf;
        }
    return sum;
}

/* ---- a state machine: is each word an integer, a decimal fraction, a number with exponent, or none? ---- */

enum state { START, INTEGER, FRACTION, EXPONENT, EXPONENT_SIGN, WRONG, STATES };

static const char text[] =
    "5012,1234,-874,+122,35.54400,.1234500,-110.700,+0.64400,5.500e+3,-.123e-2,-87e+832,+0.6e-12,T0.3e-1F,-T.T++Tq,1T3.4e4z,"
    "34.0e-T^,77,0,-0,4.4.4,1e5,1e-5,e5,+-1,9223372036854775807,0x10,3.14159265358979,6.02214076e23,abc,1,2,3,";

static uint32_t words(uint32_t *counts)
{
    uint32_t transitions = 0;
    enum state state = START;
    for (const char *p = text; *p; p++) {
        char c = *p;
        enum state before = state;
        if (c == ',') {
            counts[state]++;
            state = START;
            continue;
        }
        int digit = c >= '0' && c <= '9';
        switch (state) {
        case START:
            state = digit ? INTEGER : c == '+' || c == '-' ? INTEGER : c == '.' ? FRACTION : WRONG;
            break;
        case INTEGER:
            state = digit ? INTEGER : c == '.' ? FRACTION : c == 'e' ? EXPONENT_SIGN : WRONG;
            break;
        case FRACTION:
            state = digit ? FRACTION : c == 'e' ? EXPONENT_SIGN : WRONG;
            break;
        case EXPONENT_SIGN:
            state = digit || c == '+' || c == '-' ? EXPONENT : WRONG;
            break;
        case EXPONENT:
            state = digit ? EXPONENT : WRONG;
            break;
        default:
            break;
        }
        transitions += state != before;
    }
    return transitions;
}

/* ---- CRC-16 (CCITT): shifts and branches ---- */

static uint16_t crc(uint32_t value, uint16_t sum)
{
    for (int i = 0; i < 32; i++) {
        uint32_t bit = (value ^ sum) & 1;
        value >>= 1;
        sum >>= 1;
        if (bit)
            sum ^= 0xa001;
    }
    return sum;
}

static uint16_t round_of(uint16_t sum, int number)
{
    struct node *list = make_list();
    for (int i = 0; i < NODES; i += 16) {
        struct node *found = find(list, (uint16_t)((i * 7 + number) % NODES));
        sum = crc((uint32_t)found->value, sum);
        list = reverse(list);
    }
    list = sort(list, by_value);
    sum = crc((uint32_t)list->value, sum);
    list = sort(list, by_index);
    sum = crc((uint32_t)list->value, sum);

    for (int i = 0; i < 4; i++)
        sum = crc((uint32_t)multiply((int16_t)(number + i)), sum);

    uint32_t counts[STATES] = {0};
    for (int i = 0; i < 8; i++)
        sum = crc(words(counts), sum);
    for (int i = 0; i < STATES; i++)
        sum = crc(counts[i], sum);
    return sum;
}

static void put(char c)
{
    while (!(UART[UART_LSR] & UART_LSR_THRE))
        ;
    UART[0] = (uint8_t)c;
}

static void print(const char *s)
{
    while (*s)
        put(*s++);
}

static void print_number(uint64_t n, unsigned base)
{
    char digits[24];
    int i = 0;
    do
        digits[i++] = "0123456789abcdef"[n % base];
    while (n /= base);
    while (i)
        put(digits[--i]);
}

static inline uint64_t instret(void)
{
    uint64_t n;
    __asm__ volatile("csrr %0, minstret" : "=r"(n));
    return n;
}

void run(void)
{
    fill_matrices();
    uint16_t sum = round_of(0, 0); /* warm */
    uint64_t began = MTIME, first = instret();
    for (int i = 1; i <= ROUNDS; i++)
        sum = round_of(sum, i);
    uint64_t instructions = instret() - first, ticks = MTIME - began;

    print("bench mips instructions=");
    print_number(instructions, 10);
    print(" ticks=");
    print_number(ticks, 10);
    print(" check=");
    print_number(sum, 16);
    print("\n");
    FINISHER = FINISHER_PASS;
}
