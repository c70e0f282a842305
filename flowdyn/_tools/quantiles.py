"""Quantiles of the standard normal law in double precision: algorithm AS 241 of Wichura (1988), error below 1e-15.

    x = q R1(0.180625 - q^2),  |q| <= 0.425,    else  sign(q) R2(r - 1.6)  or  sign(q) R3(r - 5),  r^2 = -log(1/2 - |q|)

q = u - 1/2. Of the three rational functions the coefficients are chosen element by element, so that one of them is
evaluated. XLA calls the C library for each logarithm in double precision; the series below vectorises:

    log(2^e m) = e log 2 + 2 s (1 + s^2/3 + s^4/5 + ...),   s = (m - 1)/(m + 1),   m in [sqrt(1/2), sqrt(2))
"""

import jax
import jax.numpy as jnp
import numpy as np

_CENTRE = (
    (3.387132872796366608e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
     2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_MIDDLE = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
     1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_FAR = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
     7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


_ROOT_HALF = np.uint64(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)
_ONE = np.uint64(0x3FF0000000000000)
_TWO_52 = np.uint64(0x4330000000000000)
_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_LOG2_HIGH, _LOG2_LOW = (
    0.693147180369123816490,
    1.90821492927058770002e-10,
)  # the first has 32 bits: e times it is exact
_SERIES = [2 / (2 * k + 1) for k in range(1, 11)]


def _horner(coefficients: list, x: jax.Array) -> jax.Array:
    value = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value


def _log(x: jax.Array) -> jax.Array:
    """Logarithm of positive normal numbers, error below 2 units in the last place away from 1."""
    shifted = jax.lax.bitcast_convert_type(x, jnp.uint64) - _ROOT_HALF + _ONE
    # the exponent as a float without a conversion of integers, which few processors vectorise
    biased = jax.lax.bitcast_convert_type((shifted >> jnp.uint64(52)) | _TWO_52, jnp.float64)
    e = biased - (2.0**52 + 1023)
    m = jax.lax.bitcast_convert_type((shifted & _MANTISSA) + _ROOT_HALF, jnp.float64)
    s = (m - 1) / (m + 1)
    square = s * s
    tail = s * square * _horner(_SERIES, square)
    return e * _LOG2_HIGH + (2 * s + (tail + e * _LOG2_LOW))


def normal_quantile(q: jax.Array) -> jax.Array:
    """Quantile at u = q + 1/2, for q in the open interval (-1/2, 1/2)."""
    is_near = jnp.abs(q) <= 0.425
    r = jnp.sqrt(-_log(0.5 - jnp.abs(q)))
    is_far = r > 5.0
    x = jnp.where(is_near, 0.180625 - q * q, jnp.where(is_far, r - 5.0, r - 1.6))
    top, bottom = (
        [
            jnp.where(is_near, centre, jnp.where(is_far, far, middle))
            for centre, middle, far in zip(_CENTRE[i], _MIDDLE[i], _FAR[i], strict=True)
        ]
        for i in (0, 1)
    )
    return jnp.where(is_near, q, jnp.sign(q)) * _horner(top, x) / _horner(bottom, x)
