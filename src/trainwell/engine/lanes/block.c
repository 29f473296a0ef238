/* Linear layers of many small networks, one network after the other: forward and backward.
 *
 * All of one lane is done before the next, so that its numbers stay in the first cache. Activations are
 * (lanes, features, rows) as in links.py; inputs may lie row by row.
 */

#include "product.h"

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

/* to (features, rows) = scale where the bits (rows, features) reach the threshold, else 0. */
static void mask(long features, long rows, const short *bits, short threshold, real scale, real *to) {
    long r = 0;
    for (; r + 8 <= rows; r += 8) {
        long f = 0;
        for (; f + 8 <= features; f += 8) {
            s8 a[8], b[8];
            UNROLL for (int i = 0; i < 8; i++) a[i] = *(const s8 *)(bits + (r + i) * features + f);
            zip8(a, b), zip8(b, a), zip8(a, b);
            UNROLL for (int i = 0; i < 8; i++)
                *(r8 *)(to + (f + i) * rows + r) = __builtin_convertvector((b[i] >= threshold) & 1, r8) * scale;
        }
        for (; f < features; f++)
            for (long i = r; i < r + 8; i++) to[f * rows + i] = bits[i * features + f] >= threshold ? scale : 0;
    }
    for (; r < rows; r++)
        for (long f = 0; f < features; f++) to[f * rows + r] = bits[r * features + f] >= threshold ? scale : 0;
}

enum { TOGETHER = 128 }; /* rows that go through all layers before the next, so that their activations stay near */

/* Apply ReLU and dropout in place to y (out, rows), whose rows are ld apart. space: for a mask. */
static void activate(const layer *l, long lane, long rows, real *y, long ld, const short *bits, real *space) {
    const long drops = bits && lane >= l->first && lane < l->last;
    if (drops) mask(l->out, rows, bits, l->threshold[lane], l->scale[lane], space);
    for (long o = 0; o < l->out; o++) {
        real *own = y + o * ld;
        if (l->relu)
            for (long i = 0; i < rows; i++) own[i] = own[i] <= 0 ? 0 : own[i];
        if (drops)
            for (long i = 0; i < rows; i++) own[i] *= space[o * rows + i];
    }
}

/* Give what the layers make of x, in the y of the last one.
 * x: (lanes, in, rows), or (lanes, rows, in) where by_row; x_stride from lane to lane.
 * bits: (lanes, ...) of the dropout, or null. space: three times the largest activations of a lane.
 * Without `keep` the y of the other layers stay untouched: nothing goes back. */
void forward(const layer *layers, long count, long lanes, long rows, const real *x, long x_stride, long by_row,
             const short *bits, long bits_stride, long keep, real *space, long largest) {
    long used = 0;
    for (const layer *l = layers; l < layers + count; l++)
        if (l->first < l->last) used = l->bits + l->out * rows;
    for (long k = 0; k < lanes; k++) {
        const short *own = bits ? bits + k * bits_stride : 0;
        for (long i = 0; own && k + 1 < lanes && i < used; i += 32) __builtin_prefetch(own + bits_stride + i);
        for (long r = 0; r < rows; r += TOGETHER) {
            const long some = rows - r < TOGETHER ? rows - r : TOGETHER;
            const real *h = x + k * x_stride + (by_row ? r * layers->in : r);
            long ld = by_row ? some : rows;
            if (by_row) turn(some, layers->in, h, layers->in, space), h = space;
            for (long n = 0; n < count; n++) {
                const layer *l = layers + n;
                const long kept = keep || n == count - 1, to = kept ? rows : some;
                real *y = kept ? l->y + k * l->out * rows + r : space + largest * (1 + n % 2);
                product(l->out, some, l->in, l->weight + k * l->weight_stride, l->in, 1, h, ld, y, to,
                        l->bias ? l->bias + k * l->bias_stride : 0, 0);
                activate(l, k, some, y, to, own ? own + l->bits + r * l->out : 0, space);
                h = y, ld = to;
            }
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
    real *to = l->weight_grad + lane * l->weight_grad_stride;
    for (long r = 0; r < rows; r += TOGETHER) { /* of few rows the inputs stay near */
        const long some = rows - r < TOGETHER ? rows - r : TOGETHER;
        if (!by_row) turn(l->in, some, h + r, rows, space);
        product(l->out, l->in, some, g + r, rows, 1, by_row ? h + r * l->in : space, l->in, to, l->in, 0, adds || r);
    }
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

/* The masks of dropout for many lanes. Shapes: bits (lanes, rows, features) to (lanes, features, rows). */
void masks(long lanes, long features, long rows, const short *bits, long bits_stride, const short *threshold,
           const real *scale, real *to) {
    for (long k = 0; k < lanes; k++)
        mask(features, rows, bits + k * bits_stride, threshold[k], scale[k], to + k * features * rows);
}
