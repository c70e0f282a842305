"""How much of a computed f(y) is rounding:  noise = max |f(y) - 3 f(y + h) + 3 f(y + 2h) - f(y + 3h)|,  h = +-2^-26 y

What is smooth in f cancels in third differences over so short a way; the rounding of its evaluation, and of y, stays.
Source: tables of differences, as in More and Wild (2011), "Estimating computational noise", SIAM J. Sci. Comput. 33.
"""

import numpy as np

PROBES = 8  # directions with random signs
SHIFT = 2.0**-26


def probes(state: np.ndarray, seed: int, shift: float | np.ndarray = SHIFT) -> np.ndarray:
    """The three further states (3 PROBES, S) of each difference; `shift` is relative, one or one a coordinate."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (PROBES, 1, state.size))
    return (state * (1 + shift * np.arange(1, 4)[:, None] * signs)).reshape(-1, state.size)


def noise(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Noise (..., S) of values `here` (..., S), given those at the probes (..., 3 PROBES, S): five times its spread."""
    one, two, three = np.moveaxis(there.reshape(*here.shape[:-1], PROBES, 3, here.shape[-1]), -2, 0)
    return np.abs(here[..., None, :] - 3 * one + 3 * two - three).max(axis=-2)
