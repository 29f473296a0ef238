/* Linear layers of many small networks, one network after the other: forward and backward.
 *
 * native.py compiles this with -Dreal=float or -Dreal=double. All of one lane is done before the next, so that its
 * numbers stay in the first cache. Activations are (lanes, features, rows) as in links.py; inputs may lie row by row.
 */

typedef real v64 __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));
typedef real v32 __attribute__((vector_size(32), aligned(sizeof(real)), may_alias));
typedef real v16 __attribute__((vector_size(16), aligned(sizeof(real)), may_alias));

/* One linear layer, with what follows it. Strides are those from lane to lane, in numbers. */
typedef struct {
    const real *weight, *bias; /* (out, in), (out); bias may be null */
    long weight_stride, bias_stride;
    real *weight_grad, *bias_grad; /* may be null */
    long weight_grad_stride, bias_grad_stride;
    long out, in;
    long relu;                /* whether a ReLU follows */
    long first, last;         /* lanes whose outputs are dropped, from..to */
    const short *threshold;   /* (lanes): an activation stays where its 16 bits reach it */
    const real *scale;        /* (lanes) */
    long bits;                /* where the bits of this layer begin in those of a lane; laid out (rows, out) */
    real *y;                  /* (lanes, out, rows): what it gave */
} layer;

#define ROWS(V, R)                                                                                            \
    static inline __attribute__((always_inline)) void V##_##R(                                                \
        long k, const real *a, long am, long ak, const real *b, long ldb, real *c, long ldc, const real *bias,\
        long adds) {                                                                                           \
        V sum[R];                                                                                             \
        _Pragma("GCC unroll 8") for (int i = 0; i < R; i++) {                                                 \
            V start = {0};                                                                                    \
            if (adds) start = *(V *)(c + i * ldc);                                                            \
            else if (bias) start += bias[i];                                                                  \
            sum[i] = start;                                                                                   \
        }                                                                                                     \
        for (long p = 0; p < k; p++, a += ak, b += ldb) {                                                     \
            V right = *(const V *)b;                                                                          \
            _Pragma("GCC unroll 8") for (int i = 0; i < R; i++) sum[i] += a[i * am] * right;                  \
        }                                                                                                     \
        _Pragma("GCC unroll 8") for (int i = 0; i < R; i++) *(V *)(c + i * ldc) = sum[i];                     \
    }

#define COLUMNS(V)                                                                                            \
    ROWS(V, 8) ROWS(V, 4) ROWS(V, 1)                                                                          \
    static void V##_all(long m, long k, const real *a, long am, long ak, const real *b, long ldb, real *c,    \
                        long ldc, const real *bias, long adds) {                                               \
        long i = 0;                                                                                           \
        for (; i + 8 <= m; i += 8) V##_8(k, a + i * am, am, ak, b, ldb, c + i * ldc, ldc, bias ? bias + i : 0, adds);\
        for (; i + 4 <= m; i += 4) V##_4(k, a + i * am, am, ak, b, ldb, c + i * ldc, ldc, bias ? bias + i : 0, adds);\
        for (; i < m; i++) V##_1(k, a + i * am, am, ak, b, ldb, c + i * ldc, ldc, bias ? bias + i : 0, adds);  \
    }

COLUMNS(v64)
COLUMNS(v32)
COLUMNS(v16)

static void scalar_all(long m, long k, const real *a, long am, long ak, const real *b, long ldb, real *c, long ldc,
                       const real *bias, long adds) {
    for (long i = 0; i < m; i++) {
        real sum = adds ? c[i * ldc] : bias ? bias[i] : 0;
        for (long p = 0; p < k; p++) sum += a[i * am + p * ak] * b[p * ldb];
        c[i * ldc] = sum;
    }
}

/* c (m, n) = [c +] [bias (m) +] a (m, k) b (k, n); a has any strides, b and c have rows of ldb and ldc numbers. */
static void product(long m, long n, long k, const real *a, long am, long ak, const real *b, long ldb, real *c,
                    long ldc, const real *bias, long adds) {
    const long w = 64 / sizeof(real);
    long j = 0;
    for (; j + w <= n; j += w) v64_all(m, k, a, am, ak, b + j, ldb, c + j, ldc, bias, adds);
    if (j + w / 2 <= n) v32_all(m, k, a, am, ak, b + j, ldb, c + j, ldc, bias, adds), j += w / 2;
    if (j + w / 4 <= n) v16_all(m, k, a, am, ak, b + j, ldb, c + j, ldc, bias, adds), j += w / 4;
    for (; j < n; j++) scalar_all(m, k, a, am, ak, b + j, ldb, c + j, ldc, bias, adds);
}

/* to (n, m) = from (m, n) transposed */
static void turn(long m, long n, const real *from, real *to) {
    for (long j = 0; j < n; j++)
        for (long i = 0; i < m; i++) to[j * m + i] = from[i * n + j];
}

/* Apply ReLU and dropout in place. space: for a mask. */
static void activate(const layer *l, long lane, long rows, real *y, const short *bits, real *space) {
    long count = l->out * rows;
    if (l->relu)
        for (long i = 0; i < count; i++) y[i] = y[i] <= 0 ? 0 : y[i];
    if (!bits || lane < l->first || lane >= l->last) return;
    const short *own = bits + l->bits, threshold = l->threshold[lane];
    const real scale = l->scale[lane];
    for (long i = 0; i < count; i++) space[i] = own[i] >= threshold ? scale : 0; /* (rows, out) */
    for (long o = 0; o < l->out; o++)
        for (long r = 0; r < rows; r++) y[o * rows + r] *= space[r * l->out + o];
}

static real total(long n, const real *x) {
    const long w = 64 / sizeof(real);
    v64 sums = {0};
    real sum = 0;
    long i = 0;
    for (; i + w <= n; i += w) sums += *(const v64 *)(x + i);
    for (; i < n; i++) sum += x[i];
    for (long j = 0; j < w; j++) sum += sums[j];
    return sum;
}

/* Give what the layers make of x, in the y of the last one.
 * x: (lanes, in, rows), or (lanes, rows, in) where by_row; x_stride from lane to lane.
 * bits: (lanes, ...) of the dropout, or null. space: three times the largest activations of a lane.
 * Without `keep` the y of the other layers stay untouched: nothing goes back. */
void forward(const layer *layers, long count, long lanes, long rows, const real *x, long x_stride, long by_row,
             const short *bits, long bits_stride, long keep, real *space, long largest) {
    for (long k = 0; k < lanes; k++) {
        const real *h = x + k * x_stride;
        if (by_row) turn(rows, layers->in, h, space), h = space;
        for (long n = 0; n < count; n++) {
            const layer *l = layers + n;
            real *y = keep || n == count - 1 ? l->y + k * l->out * rows : space + largest * (1 + n % 2);
            product(l->out, rows, l->in, l->weight + k * l->weight_stride, l->in, 1, h, rows, y, rows,
                    l->bias ? l->bias + k * l->bias_stride : 0, 0);
            activate(l, k, rows, y, bits ? bits + k * bits_stride : 0, space);
            h = y;
        }
    }
}

/* Write the gradients of one layer of one lane from those of what it gave, after ReLU and dropout.
 * h: its inputs, (in, rows), or (rows, in) where by_row. space: for them, turned. */
static void to_weights(const layer *l, long lane, long rows, const real *g, const real *h, long by_row, long adds,
                       real *space) {
    for (long o = 0; l->bias_grad && o < l->out; o++) {
        real *to = l->bias_grad + lane * l->bias_grad_stride + o;
        *to = (adds ? *to : 0) + total(rows, g + o * rows);
    }
    if (!l->weight_grad) return;
    if (!by_row) turn(l->in, rows, h, space), h = space;
    product(l->out, l->in, rows, g, rows, 1, h, l->in, l->weight_grad + lane * l->weight_grad_stride, l->in, 0, adds);
}

/* Write the gradients of all weights, or add them, from g (lanes, out, rows), which is overwritten.
 * x, by_row, space: as in the forward pass. x_grad: (lanes, in, rows), or null where nothing needs it. */
void backward(const layer *layers, long count, long lanes, long rows, const real *x, long x_stride, long by_row,
              long dropped, real *g, real *x_grad, long adds, real *space, long largest) {
    for (long k = 0; k < lanes; k++) {
        real *now = g + k * layers[count - 1].out * rows;
        for (long n = count - 1; n >= 0; n--) {
            const layer *l = layers + n;
            const real *y = l->y + k * l->out * rows;
            const real scale = dropped && k >= l->first && k < l->last ? l->scale[k] : 1;
            for (long i = 0; l->relu && i < l->out * rows; i++) now[i] = y[i] <= 0 ? 0 : now[i] * scale;
            to_weights(l, k, rows, now, n ? layers[n - 1].y + k * l->in * rows : x + k * x_stride, !n && by_row, adds,
                       space);
            real *to = n ? space + largest * (1 + n % 2) : x_grad ? x_grad + k * l->in * rows : 0;
            if (to) product(l->in, rows, l->out, l->weight + k * l->weight_stride, 1, l->in, now, rows, to, rows, 0, 0);
            now = to;
        }
    }
}
