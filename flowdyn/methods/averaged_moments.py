"""Exact moments of averages where a step is linear with additive noise, or each of its outcomes is affine.

    w_{k+1} ~ (T w_k + c, Q):   (w, s)_{k+1} = [[T, 0], [h T, 1]] (w, s)_k + (c, h c),   noise [[Q, h Q], [h Q, h^2 Q]]

and with kappa h in place of h and 1 - kappa h in place of 1 for an exponential average.
"""

from typing import Any

import numpy as np

from flowdyn.methods.recursion_equation import linear_noise_of
from flowdyn.methods.scattered import Scattered
from flowdyn.methods.systems import Moments
from flowdyn.theory.linear_moments import linear_sgd_mean_cov

MOST = 64  # parameters up to which the law of an average is worked out


def is_whole(system: Any, size: int) -> bool:
    """Whether so many parameters are the whole state, and few enough."""
    return size <= MOST and sum(v.size for v in system.layout(size)) == size


def affine_average(
    method: Any, average: str, shares: tuple[float, float], start: np.ndarray, when: np.ndarray
) -> Moments | None:
    """Moments of state and average together where each outcome of a step is affine in w: z -> A w + c + P_j w + q_j."""
    if not isinstance(method, Scattered) or not is_whole(method, len(start)):
        return None
    parts = method.affine_parts(len(start))
    if parts is None:
        return None
    A, c, P, q = parts
    share, kept = shares
    d = len(c)
    both = np.block([[A, np.zeros((d, d))], [share * A, kept * np.eye(d)]])
    columns = np.concatenate([np.concatenate([P, share * P], axis=1), np.zeros((len(P), 2 * d, d))], axis=2)
    noise = linear_noise_of(
        np.eye(2 * d) - both, np.append(c, share * c), columns, np.concatenate([q, share * q], axis=1)
    )
    state = np.concatenate([start, np.zeros(d) if average == "polyak" else start])
    return linear_sgd_mean_cov(noise, 1.0, 1.0, state, when)


def one_step(method: Any, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The T, c, Q of ``w_{k+1} ~ (T w + c, Q)``, from the method's own moments; None where Q depends on w."""
    if not is_whole(method, size):
        return None
    one = np.array([1])
    known = [method.exact_moments(w, one) for w in (np.zeros(size), *np.eye(size), np.full(size, 1.7))]
    if any(moments is None for moments in known):
        return None
    means, covs = np.array([m[0][0] for m in known]), np.array([m[1][0] for m in known])
    rounding = 64 * np.finfo(float).eps * (np.abs(covs).max() + np.abs(means).max() ** 2)  # E w w^T - E w E w^T
    if np.abs(covs - covs[0]).max() > rounding:
        return None
    return (means[1:-1] - means[0]).T, means[0], covs[0]


def repeated(step: tuple, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An affine map with noise taken `count` times, by doubling."""
    size = len(step[1])
    total = (np.eye(size), np.zeros(size), np.zeros((size, size)))
    while count:
        if count & 1:
            total = _after(step, total)
        step, count = _after(step, step), count >> 1
    return total


def _after(second: tuple, first: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    phi, shift, Q = second
    return phi @ first[0], phi @ first[1] + shift, phi @ first[2] @ phi.T + Q


def moments_of_average(average: str, mean: np.ndarray, cov: np.ndarray, w0: np.ndarray, times: np.ndarray) -> Moments:
    """Moments of the averaged parameters from those of state and average together."""
    d = len(w0)
    m, C = mean[:, d : 2 * d], cov[:, d : 2 * d, d : 2 * d]
    if average == "ema":
        return m, C
    inverse = np.where(times > 0, 1 / np.where(times > 0, times, 1.0), 0.0)
    return np.where((times > 0)[:, None], m * inverse[:, None], w0), C * inverse[:, None, None] ** 2
