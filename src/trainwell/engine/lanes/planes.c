/* Convolutions 3 by 3 of small images of many small networks, one network after the other, by Winograd's F(2x2, 3x3).
 *
 * Two by two outputs are made of four by four inputs, a patch, by 16 multiplications in place of 36: patches, weights
 * and outputs are transformed, and each of the 16 places is a product over the channels. What goes back are the adjoints
 * of these transforms. Source: Lavin, Gray 2015, arXiv:1509.09308. Images are (lanes, channels, height, width, rows).
 */

#include "product.h"

/* A convolution with what follows it. Strides are those from lane to lane, in numbers. */
typedef struct {
    const real *weight, *bias; /* (out, in, 3, 3), (out); bias may be null */
    long weight_stride, bias_stride;
    real *weight_grad, *bias_grad; /* may be null */
    long weight_grad_stride, bias_grad_stride;
    long out, in, height, width, padding; /* height and width of the inputs */
    long relu, pool;                      /* whether a ReLU follows, and then the largest of every two by two */
    real *spectrum;                       /* (lanes, 16, out, in): the transformed weights */
    unsigned char *which;                 /* (lanes, outputs): which of the four was the largest */
    real *y;                              /* (lanes, outputs): what it gave */
} plane;

enum { BLOCK_BYTES = 1 << 18 }; /* so much of transformed patches and outputs is held at once: they stay near */

typedef whole flags __attribute__((vector_size(WIDEST), may_alias));
typedef unsigned char bytes __attribute__((vector_size(WIDEST / sizeof(real)), aligned(1), may_alias));

static const real ZEROS[64 / sizeof(real)] = {0};

typedef struct {
    long y, x, column, rows; /* of the first output, and of the rows of the batch that a vector holds */
} item;

static long tall(const plane *l) { return l->height + 2 * l->padding - 2; }
static long broad(const plane *l) { return l->width + 2 * l->padding - 2; }
static long down(const plane *l) { return (tall(l) + !l->pool) / 2; } /* patches; half ones are not pooled */
static long right(const plane *l) { return (broad(l) + !l->pool) / 2; }
static long outputs(const plane *l) { return l->out * (l->pool ? down(l) * right(l) : tall(l) * broad(l)); }
static long items(const plane *l, long rows) { return down(l) * right(l) * ((rows + WIDTH - 1) / WIDTH); }
static long together(const plane *l) {
    long most = BLOCK_BYTES / (16 * (l->in + l->out) * (long)sizeof(wide));
    return most < 2 ? 1 : most & ~1;
}

INLINE item item_at(const plane *l, long rows, long i) {
    long patches = down(l) * right(l), column = i / patches * WIDTH, patch = i % patches;
    return (item){2 * (patch / right(l)), 2 * (patch % right(l)), column,
                  rows - column < WIDTH ? rows - column : WIDTH};
}

INLINE wide load(const real *from, long n) {
    wide v = {0};
    if (n >= WIDTH) return *(const wide *)from;
    for (long i = 0; i < n; i++) v[i] = from[i];
    return v;
}

INLINE void store(real *to, wide v, long n) {
    if (n >= WIDTH) *(wide *)to = v;
    else for (long i = 0; i < n; i++) to[i] = v[i];
}

/* The weights of all places, (16, out, in), from (out, in, 3, 3). */
static void transform_weights(long count, const real *weight, real *to) {
    for (long i = 0; i < count; i++, weight += 9) {
        real t[4][3];
        for (int s = 0; s < 3; s++) {
            real half = (weight[s] + weight[6 + s]) / 2, middle = weight[3 + s] / 2;
            t[0][s] = weight[s], t[1][s] = half + middle, t[2][s] = half - middle, t[3][s] = weight[6 + s];
        }
        for (int r = 0; r < 4; r++) {
            real half = (t[r][0] + t[r][2]) / 2, middle = t[r][1] / 2, *row = to + 4 * r * count + i;
            row[0] = t[r][0], row[count] = half + middle, row[2 * count] = half - middle, row[3 * count] = t[r][2];
        }
    }
}

/* The gradients of the weights, (out, in, 3, 3), from those of the transformed ones. */
static void gather_weights(long count, const real *from, real *grad, long adds) {
    for (long i = 0; i < count; i++, grad += 9) {
        real t[3][4];
        for (int s = 0; s < 4; s++) {
            const real *at = from + s * count + i;
            real sum = (at[4 * count] + at[8 * count]) / 2;
            t[0][s] = at[0] + sum, t[1][s] = (at[4 * count] - at[8 * count]) / 2, t[2][s] = at[12 * count] + sum;
        }
        for (int r = 0; r < 3; r++) {
            real sum = (t[r][1] + t[r][2]) / 2, made[3] = {t[r][0] + sum, (t[r][1] - t[r][2]) / 2, t[r][3] + sum};
            for (int s = 0; s < 3; s++) grad[3 * r + s] = (adds ? grad[3 * r + s] : 0) + made[s];
        }
    }
}

/* Where the 16 numbers of a patch lie in images (places, ...), of so many numbers at each place; zeros beyond the border. */
INLINE void patch_at(const plane *l, item at, const real *x, long numbers, const real **from, long *inside) {
    for (int p = 0; p < 16; p++) {
        long y = at.y + p / 4 - l->padding, across = at.x + p % 4 - l->padding;
        inside[p] = y >= 0 && y < l->height && across >= 0 && across < l->width;
        from[p] = inside[p] ? x + (y * l->width + across) * numbers : ZEROS;
    }
}

/* Transform a patch; its 16 numbers lie `place` apart. */
INLINE void transform_patch(const wide *d, real *to, long place, long n) {
    wide t[16];
    UNROLL for (int s = 0; s < 4; s++) {
        t[s] = d[s] - d[8 + s], t[4 + s] = d[4 + s] + d[8 + s];
        t[8 + s] = d[8 + s] - d[4 + s], t[12 + s] = d[4 + s] - d[12 + s];
    }
    UNROLL for (int r = 0; r < 16; r += 4) {
        store(to + r * place, t[r] - t[r + 2], n), store(to + (r + 1) * place, t[r + 1] + t[r + 2], n);
        store(to + (r + 2) * place, t[r + 2] - t[r + 1], n), store(to + (r + 3) * place, t[r + 1] - t[r + 3], n);
    }
}

/* The transformed patches of some items, (16, in, count, WIDTH), of images (in, height, width, rows). */
static void transform_patches(const plane *l, const real *x, long rows, long first, long count, real *to) {
    const long size = l->height * l->width * rows, place = l->in * count * WIDTH;
    for (long i = 0; i < count; i++) {
        const item at = item_at(l, rows, first + i);
        const real *from[16];
        long inside[16];
        patch_at(l, at, x + at.column, rows, from, inside);
        for (long c = 0; c < l->in; c++) {
            wide d[16];
            UNROLL for (int p = 0; p < 16; p++) d[p] = load(from[p] + c * (inside[p] ? size : 0), at.rows);
            transform_patch(d, to + (c * count + i) * WIDTH, place, WIDTH);
        }
    }
}

/* The same turned, (16, count, WIDTH, in), of images (height, width, rows, in). */
static void transform_turned(const plane *l, const real *x, long rows, long first, long count, real *to) {
    const long place = l->in * count * WIDTH;
    for (long i = 0; i < count; i++) {
        const item at = item_at(l, rows, first + i);
        const real *from[16];
        long inside[16];
        patch_at(l, at, x + at.column * l->in, rows * l->in, from, inside);
        for (long j = 0; j < WIDTH; j++)
            for (long c = 0; c < l->in; c += WIDTH) {
                wide d[16];
                long n = j >= at.rows ? 0 : l->in - c < WIDTH ? l->in - c : WIDTH, skip = j * l->in + c;
                UNROLL for (int p = 0; p < 16; p++) d[p] = load(from[p] + (inside[p] ? skip : 0), n);
                transform_patch(d, to + i * WIDTH * l->in + skip, place, l->in - c < WIDTH ? l->in - c : WIDTH);
            }
    }
}

/* Add to the gradients of the images what the transformed patches have of them. */
static void scatter_patches(const plane *l, real *x, long rows, long first, long count, const real *from) {
    const long size = l->height * l->width * rows, place = l->in * count * WIDTH;
    for (long i = 0; i < count; i++) {
        const item at = item_at(l, rows, first + i);
        for (long c = 0; c < l->in; c++) {
            wide u[16], t[16];
            UNROLL for (int p = 0; p < 16; p++) u[p] = *(const wide *)(from + p * place + (c * count + i) * WIDTH);
            UNROLL for (int s = 0; s < 4; s++) {
                t[s] = u[s], t[4 + s] = u[4 + s] - u[8 + s] + u[12 + s];
                t[8 + s] = u[4 + s] + u[8 + s] - u[s], t[12 + s] = -u[12 + s];
            }
            UNROLL for (int r = 0; r < 4; r++) {
                const wide *q = t + 4 * r;
                const wide d[4] = {q[0], q[1] - q[2] + q[3], q[1] + q[2] - q[0], -q[3]};
                long y = at.y + r - l->padding;
                if (y < 0 || y >= l->height) continue;
                UNROLL for (int s = 0; s < 4; s++) {
                    long across = at.x + s - l->padding;
                    if (across < 0 || across >= l->width) continue;
                    real *to = x + c * size + (y * l->width + across) * rows + at.column;
                    store(to, load(to, at.rows) + d[s], at.rows);
                }
            }
        }
    }
}

INLINE wide choose(flags first, wide a, wide b) { return (wide)((first & (flags)a) | (~first & (flags)b)); }

/* x where y is above 0, or NaN; else 0. */
INLINE wide passed(wide x, wide y) { return (wide)(~(flags)(y <= (wide){0}) & (flags)x); }

INLINE void store_bytes(unsigned char *to, wide v, long n) {
    bytes made = __builtin_convertvector(v, bytes);
    if (n >= WIDTH) *(bytes *)to = made;
    else for (long i = 0; i < n; i++) to[i] = made[i];
}

INLINE wide load_bytes(const unsigned char *from, long n) {
    bytes v = {0};
    if (n >= WIDTH) return __builtin_convertvector(*(const bytes *)from, wide);
    for (long i = 0; i < n; i++) v[i] = from[i];
    return __builtin_convertvector(v, wide);
}

/* The larger of two, and the number of it; NaN is the largest, as in torch. */
INLINE void larger(wide *most, wide *which, wide other, real number) {
    flags taken = (flags)(other > *most) | (flags)(other != other);
    *most = choose(taken, other, *most), *which = choose(taken, (wide){0} + number, *which);
}

/* The outputs of some items, after ReLU and pooling, from the products, (16, out, count, WIDTH). */
static void transform_outputs(const plane *l, const real *bias, const real *from, long rows, long first, long count,
                              real *y, unsigned char *which) {
    const long place = l->out * count * WIDTH, height = tall(l), width = broad(l);
    for (long i = 0; i < count; i++) {
        const item at = item_at(l, rows, first + i);
        for (long o = 0; o < l->out; o++) {
            wide m[16], t[8], made[4];
            UNROLL for (int p = 0; p < 16; p++) m[p] = *(const wide *)(from + p * place + (o * count + i) * WIDTH);
            UNROLL for (int s = 0; s < 4; s++)
                t[s] = m[s] + m[4 + s] + m[8 + s], t[4 + s] = m[4 + s] - m[8 + s] - m[12 + s];
            UNROLL for (int r = 0; r < 2; r++) {
                made[2 * r] = t[4 * r] + t[4 * r + 1] + t[4 * r + 2] + (bias ? bias[o] : 0);
                made[2 * r + 1] = t[4 * r + 1] - t[4 * r + 2] - t[4 * r + 3] + (bias ? bias[o] : 0);
            }
            if (l->pool) {
                wide most = made[0], number = {0};
                UNROLL for (int p = 1; p < 4; p++) larger(&most, &number, made[p], p);
                if (l->relu) most = passed(most, most);
                long to = ((o * (height / 2) + at.y / 2) * (width / 2) + at.x / 2) * rows + at.column;
                store(y + to, most, at.rows);
                if (which) store_bytes(which + to, number, at.rows);
                continue;
            }
            UNROLL for (int p = 0; p < 4; p++) {
                if (at.y + p / 2 >= height || at.x + p % 2 >= width) continue;
                if (l->relu) made[p] = passed(made[p], made[p]);
                store(y + ((o * height + at.y + p / 2) * width + at.x + p % 2) * rows + at.column, made[p], at.rows);
            }
        }
    }
}

/* The gradients of the products, (16, out, count, WIDTH), from those of what the convolution gave. */
static void spread_outputs(const plane *l, const real *g, const real *y, const unsigned char *which, long rows,
                           long first, long count, real *to) {
    const long place = l->out * count * WIDTH, height = tall(l), width = broad(l);
    for (long i = 0; i < count; i++) {
        const item at = item_at(l, rows, first + i);
        for (long o = 0; o < l->out; o++) {
            wide d[4] = {{0}, {0}, {0}, {0}};
            real *own = to + (o * count + i) * WIDTH;
            if (l->pool) {
                long from = ((o * (height / 2) + at.y / 2) * (width / 2) + at.x / 2) * rows + at.column;
                wide back = load(g + from, at.rows), number = load_bytes(which + from, at.rows);
                if (l->relu) back = passed(back, load(y + from, at.rows));
                UNROLL for (int p = 0; p < 4; p++) d[p] = choose((flags)(number == (wide){0} + (real)p), back, d[p]);
            } else UNROLL for (int p = 0; p < 4; p++) {
                if (at.y + p / 2 >= height || at.x + p % 2 >= width) continue;
                long from = ((o * height + at.y + p / 2) * width + at.x + p % 2) * rows + at.column;
                d[p] = load(g + from, at.rows);
                if (l->relu) d[p] = passed(d[p], load(y + from, at.rows));
            }
            wide t[8] = {d[0], d[1], d[0] + d[2], d[1] + d[3], d[0] - d[2], d[1] - d[3], -d[2], -d[3]};
            UNROLL for (int r = 0; r < 4; r++) {
                wide a = t[2 * r], b = t[2 * r + 1];
                *(wide *)(own + 4 * r * place) = a, *(wide *)(own + (4 * r + 1) * place) = a + b;
                *(wide *)(own + (4 * r + 2) * place) = a - b, *(wide *)(own + (4 * r + 3) * place) = -b;
            }
        }
    }
}

/* c (R, C) += a (R, n) times b (C, n) transposed. */
#define DOTS(R, C)                                                                                             \
    INLINE void dots_##R##x##C(long n, const real *a, const real *b, real *c, long ldc) {                      \
        wide sum[R][C];                                                                                        \
        UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < C; j++) sum[i][j] = (wide){0};           \
        for (long p = 0; p < n; p += WIDTH)                                                                    \
            UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < C; j++)                              \
                sum[i][j] += *(const wide *)(a + i * n + p) * *(const wide *)(b + j * n + p);                  \
        UNROLL for (int i = 0; i < R; i++) UNROLL for (int j = 0; j < C; j++) c[i * ldc + j] += sum_of(sum[i][j]); \
    }

INLINE real sum_of(wide v) {
    UNROLL for (int half = WIDTH / 2; half; half /= 2)
        UNROLL for (int i = 0; i < half; i++) v[i] += v[half + i];
    return v[0];
}

DOTS(4, 4) DOTS(4, 2) DOTS(4, 1) DOTS(1, 4) DOTS(1, 2) DOTS(1, 1)
enum { ACROSS = WIDEST == 64 ? 4 : 2 };

/* c (m, k) += a (m, n) times b (k, n) transposed; n is a number of whole vectors. */
static void dots(long m, long k, long n, const real *a, const real *b, real *c) {
    for (long i = 0; i < m;) {
        long j = 0, taller = i + 4 <= m;
        for (; ACROSS == 4 && j + 4 <= k; j += 4) {
            if (taller) dots_4x4(n, a + i * n, b + j * n, c + i * k + j, k);
            else dots_1x4(n, a + i * n, b + j * n, c + i * k + j, k);
        }
        for (; j + 2 <= k; j += 2) {
            if (taller) dots_4x2(n, a + i * n, b + j * n, c + i * k + j, k);
            else dots_1x2(n, a + i * n, b + j * n, c + i * k + j, k);
        }
        for (; j < k; j++) {
            if (taller) dots_4x1(n, a + i * n, b + j * n, c + i * k + j, k);
            else dots_1x1(n, a + i * n, b + j * n, c + i * k + j, k);
        }
        i += taller ? 4 : 1;
    }
}

/* Give what the convolutions make of images x, in the y of the last one. Without `keep` nothing goes back.
 * space: of three activations of the largest layer, and of what planes_space says. */
void planes_forward(const plane *layers, long count, long lanes, long rows, const real *x, long x_stride, long keep,
                    real *space, long largest) {
    for (long k = 0; k < lanes; k++) {
        const real *h = x + k * x_stride;
        for (long n = 0; n < count; n++) {
            const plane *l = layers + n;
            const long all = items(l, rows), most = together(l), size = l->out * l->in;
            real *y = keep || n == count - 1 ? l->y + k * outputs(l) * rows : space + largest * (n % 2);
            real *spectrum = l->spectrum + (keep ? k : 0) * 16 * size, *patches = space + 2 * largest;
            transform_weights(size, l->weight + k * l->weight_stride, spectrum);
            for (long first = 0; first < all; first += most) {
                const long some = all - first < most ? all - first : most, wide_ = some * WIDTH;
                real *made = patches + 16 * l->in * wide_;
                transform_patches(l, h, rows, first, some, patches);
                for (int p = 0; p < 16; p++)
                    product(l->out, wide_, l->in, spectrum + p * size, l->in, 1, patches + p * l->in * wide_, wide_,
                            made + p * l->out * wide_, wide_, 0, 0);
                transform_outputs(l, l->bias ? l->bias + k * l->bias_stride : 0, made, rows, first, some, y,
                                  keep && l->pool ? l->which + k * outputs(l) * rows : 0);
            }
            h = y;
        }
    }
}

/* Write the gradients of one layer of one lane from those of what it gave; x: its inputs, to: for their gradients. */
static void layer_backward(const plane *l, long lane, long rows, const real *g, const real *x, real *to, long adds,
                           real *space, long largest) {
    const long all = items(l, rows), most = together(l), size = l->out * l->in, given = lane * outputs(l) * rows;
    const real *spectrum = l->spectrum + lane * 16 * size;
    real *bias = l->bias_grad ? l->bias_grad + lane * l->bias_grad_stride : 0;
    real *turned = l->weight_grad && 2 * l->in >= WIDTH ? space : 0, *sums = space + largest;
    if (turned) turn(l->in, l->height * l->width * rows, x, l->height * l->width * rows, turned);
    for (long i = 0; i < 16 * size; i++) sums[i] = 0;
    for (long o = 0; bias && !adds && o < l->out; o++) bias[o] = 0;
    for (long i = 0; to && i < l->in * l->height * l->width * rows; i++) to[i] = 0;
    for (long first = 0; first < all; first += most) {
        const long some = all - first < most ? all - first : most, n = some * WIDTH;
        real *patches = sums + 16 * size, *made = patches + 16 * l->in * n;
        spread_outputs(l, g, l->y + given, l->which + given, rows, first, some, made);
        for (long o = 0; bias && o < l->out; o++) bias[o] += total(n, made + (5 * l->out + o) * n); /* of all four */
        if (turned) {
            transform_turned(l, turned, rows, first, some, patches);
            for (int p = 0; p < 16; p++)
                product(l->out, l->in, n, made + p * l->out * n, n, 1, patches + p * l->in * n, l->in, sums + p * size,
                        l->in, 0, 1);
        } else if (l->weight_grad) {
            transform_patches(l, x, rows, first, some, patches);
            for (int p = 0; p < 16; p++)
                dots(l->out, l->in, n, made + p * l->out * n, patches + p * l->in * n, sums + p * size);
        }
        if (!to) continue;
        for (int p = 0; p < 16; p++)
            product(l->in, n, l->out, spectrum + p * size, 1, l->in, made + p * l->out * n, n, patches + p * l->in * n,
                    n, 0, 0);
        scatter_patches(l, to, rows, first, some, patches);
    }
    if (l->weight_grad) gather_weights(size, sums, l->weight_grad + lane * l->weight_grad_stride, adds);
}

/* Write the gradients of all weights, or add them, from g (lanes, outputs). x, space: as in the forward pass, which kept
 * what it made. x_grad: (lanes, inputs), or null where nothing needs it. */
void planes_backward(const plane *layers, long count, long lanes, long rows, const real *x, long x_stride,
                     const real *g, real *x_grad, long adds, real *space, long largest) {
    for (long k = 0; k < lanes; k++) {
        const real *now = g + k * outputs(layers + count - 1) * rows;
        for (long n = count - 1; n >= 0; n--) {
            const plane *l = layers + n;
            const long size = l->in * l->height * l->width * rows;
            real *to = n ? space + largest * (n % 2) : x_grad ? x_grad + k * size : 0;
            layer_backward(l, k, rows, now, n ? layers[n - 1].y + k * size : x + k * x_stride, to, adds,
                           space + 2 * largest, largest);
            now = to;
        }
    }
}

/* The numbers of space that a layer needs beside its activations. */
long planes_space(const plane *l) {
    return 16 * (l->out * l->in + (l->in + l->out) * together(l) * (long)WIDTH);
}

/* The largest of every two by two, of images (count, height, width, rows), and which it was; `which` may be null. */
void pool_forward(long count, long height, long width, long rows, const real *x, real *y, unsigned char *which) {
    for (long i = 0; i < count * (height / 2) * (width / 2); i++) {
        const long across = i % (width / 2), top = i / (width / 2) % (height / 2), image = i / (width / 2) / (height / 2);
        const real *from = x + ((image * height + 2 * top) * width + 2 * across) * rows;
        for (long r = 0; r < rows; r += WIDTH) {
            wide most = load(from + r, rows - r), number = {0};
            UNROLL for (int p = 1; p < 4; p++)
                larger(&most, &number, load(from + (p / 2 * width + p % 2) * rows + r, rows - r), p);
            store(y + i * rows + r, most, rows - r);
            if (which) store_bytes(which + i * rows + r, number, rows - r);
        }
    }
}

void pool_backward(long count, long height, long width, long rows, const real *g, const unsigned char *which, real *to) {
    for (long i = 0; i < count * height * width; i++) {
        const long across = i % width, top = i / width % height, image = i / width / height;
        const long from = ((image * (height / 2) + top / 2) * (width / 2) + across / 2) * rows;
        const long inside = top / 2 < height / 2 && across / 2 < width / 2;
        for (long r = 0; r < rows; r += WIDTH) {
            wide back = {0};
            if (inside) {
                flags own = (flags)(load_bytes(which + from + r, rows - r) == (wide){0} + (real)(top % 2 * 2 + across % 2));
                back = choose(own, load(g + from + r, rows - r), back);
            }
            store(to + i * rows + r, back, rows - r);
        }
    }
}
