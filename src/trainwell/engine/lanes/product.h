/* Vectors, products and transpositions, for block.c and planes.c; `real` is float or double, `whole` an integer of its size. */

typedef real v64 __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));
typedef real v32 __attribute__((vector_size(32), aligned(sizeof(real)), may_alias));
typedef real v16 __attribute__((vector_size(16), aligned(sizeof(real)), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* The widest vector of this machine: of wider ones registers would run out. */
#if defined(__AVX512F__)
#define WIDEST 64
typedef v64 wide;
#elif defined(__AVX__)
#define WIDEST 32
typedef v32 wide;
#else
#define WIDEST 16
typedef v16 wide;
#endif
enum { WIDTH = WIDEST / sizeof(real), ROWS = WIDEST == 64 ? 8 : 4 };

/* R rows of c, as many columns as C vectors hold. */
#define TILE(V, R, C)                                                                                          \
    INLINE void V##_##R##x##C(long k, const real *a, long am, long ak, const real *b, long ldb, real *c,        \
                              long ldc, const real *bias, long adds) {                                         \
        V sum[R][C];                                                                                           \
        UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < C; j++) {                                \
            V start = {0};                                                                                     \
            if (adds) start = ((V *)(c + i * ldc))[j];                                                         \
            else if (bias) start += bias[i];                                                                   \
            sum[i][j] = start;                                                                                 \
        }                                                                                                      \
        for (long p = 0; p < k; p++, a += ak, b += ldb)                                                        \
            UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < C; j++)                              \
                sum[i][j] += a[i * am] * ((const V *)b)[j];                                                    \
        UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < C; j++) ((V *)(c + i * ldc))[j] = sum[i][j]; \
    }
#define STEP(V, R, C) V##_##R##x##C(k, a + i * am, am, ak, b, ldb, c + i * ldc, ldc, bias ? bias + i : 0, adds)

/* All rows of c, as many columns as C vectors hold. */
#define STRIP(V, C)                                                                                            \
    TILE(V, 8, C) TILE(V, 4, C) TILE(V, 2, C) TILE(V, 1, C)                                                    \
    static void V##_strip_##C(long m, long k, const real *a, long am, long ak, const real *b, long ldb,         \
                              real *c, long ldc, const real *bias, long adds) {                                \
        long i = 0;                                                                                            \
        for (; ROWS == 8 && i + 8 <= m; i += 8) STEP(V, 8, C);                                                 \
        for (; i + 4 <= m; i += 4) STEP(V, 4, C);                                                              \
        for (; i + 2 <= m; i += 2) STEP(V, 2, C);                                                              \
        for (; i < m; i++) STEP(V, 1, C);                                                                      \
    }

STRIP(wide, 2)
STRIP(wide, 1)
STRIP(v32, 1)
STRIP(v16, 1)

static void scalar_strip(long m, long k, const real *a, long am, long ak, const real *b, long ldb, real *c,
                         long ldc, const real *bias, long adds) {
    for (long i = 0; i < m; i++) {
        real sum = adds ? c[i * ldc] : bias ? bias[i] : 0;
        for (long p = 0; p < k; p++) sum += a[i * am + p * ak] * b[p * ldb];
        c[i * ldc] = sum;
    }
}

enum { PANEL = 256 }; /* rows of b that are copied so that they lie together; far apart they would push each other out */

/* c (m, n) = [c +] [bias (m) +] a (m, k) b (k, n); a has any strides, b and c have rows of ldb and ldc numbers. */
static void product(long m, long n, long k, const real *a, long am, long ak, const real *b, long ldb, real *c,
                    long ldc, const real *bias, long adds) {
    const long w = 64 / sizeof(real);
    long j = 0;
#define COLUMNS(name) name(m, k, a, am, ak, b + j, ldb, c + j, ldc, bias, adds)
    if (m >= 64 && k <= PANEL && ldb > 2 * WIDTH) {
        wide panel[PANEL][2];
        for (; j + 2 * WIDTH <= n; j += 2 * WIDTH) {
            for (long p = 0; p < k; p++)
                for (int i = 0; i < 2; i++) panel[p][i] = ((const wide *)(b + p * ldb + j))[i];
            wide_strip_2(m, k, a, am, ak, (real *)panel, 2 * WIDTH, c + j, ldc, bias, adds);
        }
    }
    for (; j + 2 * WIDTH <= n; j += 2 * WIDTH) COLUMNS(wide_strip_2);
    for (; j + WIDTH <= n; j += WIDTH) COLUMNS(wide_strip_1);
    for (; WIDEST > 32 && j + w / 2 <= n; j += w / 2) COLUMNS(v32_strip_1);
    for (; WIDEST > 16 && j + w / 4 <= n; j += w / 4) COLUMNS(v16_strip_1);
    for (; j < n; j++) COLUMNS(scalar_strip);
}

/* A block of 4 by 4 numbers, or 8 by 8 shorts, is turned by rounds that put together by turns the vectors of its halves. */
typedef real r4 __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real)), may_alias));
typedef real r8 __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real)), may_alias));
typedef short s8 __attribute__((vector_size(16), aligned(2), may_alias));
#ifdef __clang__
#define SHUFFLE(W, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else /* gcc before 12 has no other */
typedef whole whole4 __attribute__((vector_size(4 * sizeof(real))));
#define SHUFFLE(W, a, b, ...) __builtin_shuffle(a, b, (W){__VA_ARGS__})
#endif

INLINE void zip4(const r4 *from, r4 *to) {
    UNROLL for (int i = 0; i < 2; i++) {
        to[2 * i] = SHUFFLE(whole4, from[i], from[i + 2], 0, 4, 1, 5);
        to[2 * i + 1] = SHUFFLE(whole4, from[i], from[i + 2], 2, 6, 3, 7);
    }
}

INLINE void zip8(const s8 *from, s8 *to) {
    UNROLL for (int i = 0; i < 4; i++) {
        to[2 * i] = SHUFFLE(s8, from[i], from[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
        to[2 * i + 1] = SHUFFLE(s8, from[i], from[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
}

/* to (n, m) = from (m, n) transposed; from has rows of ld numbers */
static void turn(long m, long n, const real *from, long ld, real *to) {
    long i = 0;
    for (; i + 4 <= m; i += 4) {
        long j = 0;
        for (; j + 4 <= n; j += 4) {
            r4 a[4], b[4];
            UNROLL for (int p = 0; p < 4; p++) a[p] = *(const r4 *)(from + (i + p) * ld + j);
            zip4(a, b), zip4(b, a);
            UNROLL for (int p = 0; p < 4; p++) *(r4 *)(to + (j + p) * m + i) = a[p];
        }
        for (; j < n; j++)
            for (int p = 0; p < 4; p++) to[j * m + i + p] = from[(i + p) * ld + j];
    }
    for (; i < m; i++)
        for (long j = 0; j < n; j++) to[j * m + i] = from[i * ld + j];
}

static real total(long n, const real *x) {
    wide sums = {0};
    real sum = 0;
    long i = 0;
    for (; i + WIDTH <= n; i += WIDTH) sums += *(const wide *)(x + i);
    for (; i < n; i++) sum += x[i];
    for (int j = 0; j < WIDTH; j++) sum += sums[j];
    return sum;
}
