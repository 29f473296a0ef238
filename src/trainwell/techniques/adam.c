/* Adam for many networks in one pass over the memory; the formula is that of adam.py. `real` is float or double. */

#include <tgmath.h>

/* Move the weights, (lanes, count), against the direction of Adam.
 * rate, take1, take2, eps: (lanes); take1 and take2 are the shares of the gradient in the moments, corrected for the
 * steps taken. */
void adam(long lanes, long count, real *restrict weights, const real *restrict grads, real *restrict mean,
          real *restrict mean_square, const real *rate, const real *take1, const real *take2, const real *eps) {
    for (long k = 0; k < lanes; k++) {
        const real own_rate = rate[k], one = take1[k], two = take2[k], least = eps[k];
        for (long i = k * count; i < (k + 1) * count; i++) {
            const real g = grads[i];
            const real m = mean[i] += one * (g - mean[i]), v = mean_square[i] += two * (g * g - mean_square[i]);
            weights[i] -= own_rate * (m / (sqrt(v) + least));
        }
    }
}
