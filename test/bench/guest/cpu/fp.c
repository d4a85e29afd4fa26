/* Double-precision arithmetic. */
#include "bench.h"
#include <math.h>
#include <string.h>

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* ---- Mandelbrot set: multiply, add, compare ---- */

#define SIDE 560
#define ITERATIONS 200

static uint64_t mandelbrot(void)
{
    uint64_t total = 0;
    for (int row = 0; row < SIDE; row++)
        for (int column = 0; column < SIDE; column++) {
            double cr = 3.0 * column / SIDE - 2.2, ci = 2.6 * row / SIDE - 1.3, r = 0, i = 0;
            int n = 0;
            while (n < ITERATIONS) {
                double rr = r * r, ii = i * i;
                if (rr + ii > 4)
                    break;
                i = 2 * r * i + ci;
                r = rr - ii + cr;
                n++;
            }
            total += (uint64_t)n;
        }
    return total;
}

/* ---- the outer planets, in units of the Sun's mass, astronomical units and days: divide, square root ---- */

#define BODIES 5
#define STEPS 240000
#define STEP 0.01

struct body {
    double at[3], speed[3], mass;
};

static uint64_t n_body(void)
{
    struct body bodies[BODIES] = {
        {{0, 0, 0}, {0, 0, 0}, 39.47841760435743},
        {{4.84, -1.16, -0.10}, {0.606, 2.81, -0.02}, 0.03769},
        {{8.34, 4.12, -0.40}, {-1.01, 1.82, 0.008}, 0.01128},
        {{12.89, -15.11, -0.22}, {1.08, 0.868, -0.010}, 0.001723},
        {{15.37, -25.92, 0.179}, {0.979, 0.594, -0.034}, 0.002033},
    };
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < BODIES; i++)
            for (int j = i + 1; j < BODIES; j++) {
                struct body *a = &bodies[i], *b = &bodies[j];
                double d[3], square = 0;
                for (int k = 0; k < 3; k++) {
                    d[k] = a->at[k] - b->at[k];
                    square += d[k] * d[k];
                }
                double force = STEP / (square * sqrt(square));
                for (int k = 0; k < 3; k++) {
                    a->speed[k] -= d[k] * b->mass * force;
                    b->speed[k] += d[k] * a->mass * force;
                }
            }
        for (int i = 0; i < BODIES; i++)
            for (int k = 0; k < 3; k++)
                bodies[i].at[k] += STEP * bodies[i].speed[k];
    }
    uint64_t sum = 0;
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++)
            sum = digest(sum, bits_of(bodies[i].at[k]));
    return sum;
}

/* ---- matrix multiplication: fused multiply-add, loads ---- */

#define ORDER 128
#define PRODUCTS 24

static uint64_t matrix(void)
{
    static double a[ORDER][ORDER], b[ORDER][ORDER], c[ORDER][ORDER];
    uint64_t random = 5, sum = 0;
    for (int i = 0; i < ORDER; i++)
        for (int j = 0; j < ORDER; j++) {
            a[i][j] = (double)(next_random(&random) >> 11) / 9007199254740992.0;
            b[i][j] = (double)(next_random(&random) >> 11) / 9007199254740992.0 - 0.5;
        }
    for (int n = 0; n < PRODUCTS; n++) {
        for (int i = 0; i < ORDER; i++)
            for (int j = 0; j < ORDER; j++) {
                double cell = 0;
                for (int k = 0; k < ORDER; k++)
                    cell += a[i][k] * b[k][j];
                c[i][j] = cell;
            }
        memcpy(a, c, sizeof a);
    }
    for (int i = 0; i < ORDER; i++)
        for (int j = 0; j < ORDER; j++)
            sum = digest(sum, bits_of(c[i][j]));
    return sum;
}

void fp_double(void)
{
    static const struct part set[] = {{"mandelbrot", mandelbrot}, {"n-body", n_body}, {"matrix", matrix}};
    measure_parts("fp-double", set, sizeof set / sizeof *set);
}
