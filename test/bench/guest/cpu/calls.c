/* Direct and indirect calls and jumps. */
#include "bench.h"

/* ---- recursion ---- */

#define FIB_ARGUMENT 37

/* A call is to be a call: neither inlined into itself nor made a loop. */
__attribute__((noinline, noclone, optimize("no-optimize-sibling-calls", "no-inline"))) static uint64_t fib(uint64_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

/* Millions of calls a second. */
void calls(void)
{
    double began = now();
    uint64_t result = fib(FIB_ARGUMENT);
    double seconds = now() - began;
    /* fib(n) takes 2 fib(n + 1) - 1 calls. */
    uint64_t this = 0, next = 1;
    for (int i = 0; i < FIB_ARGUMENT; i++) {
        uint64_t sum = this + next;
        this = next;
        next = sum;
    }
    print_row("calls", (double)(2 * next - 1) / seconds / 1e6, result);
}

/* ---- a table of functions, in no order that could be learnt by heart ---- */

#define TABLE_CALLS 30000000
#define SEQUENCE 4096

#define FUNCTION(number, expression)                                                                                   \
    __attribute__((noinline)) static uint64_t function##number(uint64_t x, uint64_t i)                                \
    {                                                                                                                  \
        return expression;                                                                                             \
    }
FUNCTION(0, x + i)
FUNCTION(1, x ^ i)
FUNCTION(2, x - (i << 3))
FUNCTION(3, x * 5 + i)
FUNCTION(4, (x << 7) ^ (x >> 3) ^ i)
FUNCTION(5, x + (i ^ 0x55))
FUNCTION(6, (x >> 1) + i * 3)
FUNCTION(7, ~x + i)
FUNCTION(8, x | (i & 0xff))
FUNCTION(9, x * 0x9e37 + i)
FUNCTION(10, x - i)
FUNCTION(11, (x ^ x >> 17) + i)
FUNCTION(12, i + (x << 2))
FUNCTION(13, (x & 0xffffffffff) + i)
FUNCTION(14, i - x)
FUNCTION(15, x ^ (i << 11))

static uint64_t (*const functions[])(uint64_t, uint64_t) = {
    function0, function1, function2,  function3,  function4,  function5,  function6,  function7,
    function8, function9, function10, function11, function12, function13, function14, function15,
};

static uint64_t table(void)
{
    uint8_t sequence[SEQUENCE];
    uint64_t random = 11, x = 1;
    for (int i = 0; i < SEQUENCE; i++)
        sequence[i] = (uint8_t)(next_random(&random) >> 60);
    for (uint64_t i = 0; i < TABLE_CALLS; i++)
        x = functions[sequence[i % SEQUENCE]](x, i);
    return x;
}

/* ---- a bytecode interpreter: a jump through a table for each operation ---- */

enum operation { PUSH, LOAD, STORE, ADD, SUB, MUL, XOR, AND, SHR, DUP, SWAP, OVER, DROP, JUMP_IF, HALT };

#define BYTECODE_LOOPS 2000000
#define VARIABLES 4

__attribute__((noinline)) static uint64_t interpret(const int8_t *code, uint64_t variables[VARIABLES])
{
    uint64_t stack[16], *top = stack, value;
    *top = 0;
    for (const int8_t *pc = code;;) {
        switch ((enum operation)*pc++) {
        case PUSH:
            *++top = (uint64_t)*pc++;
            break;
        case LOAD:
            *++top = variables[*pc++];
            break;
        case STORE:
            variables[*pc++] = *top--;
            break;
        case ADD:
            top--;
            top[0] += top[1];
            break;
        case SUB:
            top--;
            top[0] -= top[1];
            break;
        case MUL:
            top--;
            top[0] *= top[1];
            break;
        case XOR:
            top--;
            top[0] ^= top[1];
            break;
        case AND:
            top--;
            top[0] &= top[1];
            break;
        case SHR:
            top--;
            top[0] >>= top[1] & 63;
            break;
        case DUP:
            top++;
            top[0] = top[-1];
            break;
        case SWAP:
            value = top[0];
            top[0] = top[-1];
            top[-1] = value;
            break;
        case OVER:
            top++;
            top[0] = top[-2];
            break;
        case DROP:
            top--;
            break;
        case JUMP_IF:
            value = *top--;
            pc += value ? *pc : 1;
            break;
        case HALT:
            return variables[1];
        }
    }
}

static uint64_t bytecode(void)
{
    /* Variable 0 counts down, 1 is a random number, 2 a sum of some of its bits. */
    static const int8_t code[] = {
        LOAD, 1, DUP, PUSH, 13, SHR, XOR, PUSH, 101, MUL, PUSH, 17, ADD, STORE, 1,
        LOAD, 2, LOAD, 1, PUSH, 63, AND, OVER, SWAP, ADD, SWAP, DROP, STORE, 2,
        LOAD, 1, PUSH, 1, AND, JUMP_IF, 8, LOAD, 2, PUSH, 3, XOR, STORE, 2,
        LOAD, 0, PUSH, 1, SUB, DUP, STORE, 0, JUMP_IF, -52, HALT,
    };
    uint64_t variables[VARIABLES] = {BYTECODE_LOOPS, 12345, 0, 0};
    uint64_t last = interpret(code, variables);
    return digest(last, variables[2]);
}

void indirect_calls(void)
{
    static const struct part set[] = {{"table", table}, {"bytecode", bytecode}};
    measure_parts("indirect-calls", set, sizeof set / sizeof *set);
}
