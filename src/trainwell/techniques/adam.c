/* Adam for many networks in one pass over the memory; the formula is that of adam.py. `real` is float or double. */

#include <math.h>
#include <tgmath.h>

#define OWN(name) (name##s ? name##s[k] : name)

/* Move the weights, (lanes, count), against the direction of Adam.
 * rate ... steps: the numbers of all lanes, or, where the second of a pair is not null, those of each. `steps` counts
 * this one. */
void adam(long lanes, long count, real *restrict weights, const real *restrict grads, real *restrict mean,
          real *restrict mean_square, double rate, const real *rates, double beta1, const real *beta1s, double beta2,
          const real *beta2s, double eps, const real *epss, double step, const real *steps) {
    for (long k = 0; k < lanes; k++) {
        const double first = OWN(beta1), second = OWN(beta2);
        const real own_rate = OWN(rate), least = OWN(eps);
        const real one = (1 - first) / (1 - pow(first, OWN(step))), two = (1 - second) / (1 - pow(second, OWN(step)));
        for (long i = k * count; i < (k + 1) * count; i++) {
            const real g = grads[i];
            const real m = mean[i] += one * (g - mean[i]), v = mean_square[i] += two * (g * g - mean_square[i]);
            weights[i] -= own_rate * (m / (sqrt(v) + least));
        }
    }
}
