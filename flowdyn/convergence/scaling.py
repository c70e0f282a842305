r"""Scaling rules: what to do to a method when its batch grows by kappa, so that its law at a time stays.

    SGD      eta -> kappa eta,  B -> kappa B            the equation of order 1 is the same: sqrt(eta/B) G stays
    Adam, RMSProp where noise dominates:  eta -> sqrt(kappa) eta,  1 - beta -> kappa (1 - beta),  eps -> eps/sqrt(kappa)

Two laws are compared by their means and covariances: the 2-Wasserstein distance of the Gaussians that have them,

    W^2 = |m - m'|^2 + tr(C + C' - 2 (C^{1/2} C' C^{1/2})^{1/2})
"""

import warnings
from typing import Any, NamedTuple, SupportsIndex

import numpy as np

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.results.dataset import flat_parameters
from flowdyn.running.integration import solve
from flowdyn.theory.moments import root

DEAR = 1e10  # operations of exact moments above which laws are sampled
REALIZATIONS = 4096


class Rescaled(NamedTuple):
    r"""A method at another batch size, and how far its law moved.

    .. math:: W^2 = \|m - m'\|^2 + \mathrm{tr}\big(C + C' - 2 (C^{1/2} C' C^{1/2})^{1/2}\big)

    Parameters
    ----------
    method : RandomRecursionSystem
        The scaled method.
    distance : float
        W at time t, in the units of the parameters.
    spread : float
        Square root of the trace of the unscaled covariance there, to hold the distance against.
    standard_error : float
        Of the distance, where laws were sampled; 0 where moments are exact.

    Notes
    -----
    Source: Dowson and Landau (1982) for the distance of Gaussians.

    Examples
    --------
    >>> import flowdyn as fd
    >>> sgd = fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), eta=0.01)
    >>> found = fd.scaling_rule(sgd, 4, [1.0], t=2.0)
    >>> float(found.method.eta.eta), found.method.batch_size
    (0.04, 4)
    """

    method: RandomRecursionSystem
    distance: float
    spread: float
    standard_error: float


@told
def scaling_rule(
    method: RandomRecursionSystem,
    kappa: SupportsIndex,
    w0: Any,
    t: float,
    *,
    realizations: SupportsIndex | None = None,
    seed: SupportsIndex = 0,
) -> Rescaled:
    r"""Scale a method for a batch that is kappa times as large, and measure how far its law moves.

    .. math:: \eta \to \kappa \eta, \qquad B \to \kappa B

    Parameters
    ----------
    method : RandomRecursionSystem
        Which knows its rule: `SGD`, `NoiseDominatedRMSProp`, `NoiseDominatedAdam`.
    kappa : int
        Factor of the batch size, at least 1.
    w0 : array_like of float, shape (P,), mapping or pytree
        Start.
    t : float
        Time at which the laws are compared, on both clocks.
    realizations : int, optional
        Members of the two ensembles where moments are not known; 4096 unless given. Given, laws are sampled: a distance
        below about the spread over the root of the members is their noise.
    seed : int
        Of the ensembles.

    Returns
    -------
    Rescaled
        The scaled method, the distance of the two laws at t, the spread of the first, and a standard error.

    Raises
    ------
    ArgumentError
        If the method has no rule, kappa is below 1, or t is no time of both clocks.

    Warns
    -----
    FlowdynWarning
        If the scaled method may be unstable where the run starts; the largest kappa that is not is named.

    Notes
    -----
    The rule keeps the equation of order 1; the distance is what orders beyond it say, O(kappa eta). Source: Goyal et
    al. (2017); Malladi et al. (2022) for rules from equations.

    Examples
    --------
    >>> import flowdyn as fd
    >>> sgd = fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), eta=0.01)
    >>> found = fd.scaling_rule(sgd, 4, [1.0], t=2.0)
    >>> bool(found.distance < 0.05 * found.spread + 0.01)
    True
    """
    factor = _check.integer("kappa", kappa, minimum=1)
    if not isinstance(method, RandomRecursionSystem):
        raise _check.fail("method", "must be a random recursion with a scaling rule", method, "e.g. fd.SGD(...)")
    scaled = method.rescaled(factor)
    end = _check.real("t", t, positive=True)
    steps = [_steps(each, end) for each in (method, scaled)]
    number = None if realizations is None else _check.integer("realizations", realizations, minimum=2)
    state0 = np.asarray(method.lift(method.ravel(w0)), dtype=float)
    doubt = _doubt(method, factor, np.asarray(method.project(state0)))
    if doubt:
        warnings.warn(doubt, _check.FlowdynWarning, stacklevel=3)
    laws = None if number else _exact((method, scaled), state0, steps)
    if laws is not None:
        (mean, cov), (other, moved) = laws
        return Rescaled(scaled, _distance(mean, cov, other, moved), float(np.sqrt(np.trace(cov))), 0.0)
    return _sampled((method, scaled), w0, steps, number or REALIZATIONS, _check.seed(seed))


def _doubt(method: RandomRecursionSystem, kappa: int, w0: np.ndarray) -> str | None:
    """Why the scaled method may be unstable from flat w0, and the largest kappa of which nothing is feared."""
    doubt = method.rescaled(kappa).warn_before(w0)
    if doubt is None:
        return None
    stable, doubtful = 0, kappa
    while doubtful - stable > 1:
        middle = (stable + doubtful) // 2
        if method.rescaled(middle).warn_before(w0) is None:
            stable = middle
        else:
            doubtful = middle
    if not stable:
        return f"`method` is in doubt before it is scaled, and is so by `kappa` = {kappa}: {doubt}"
    eta = method.rescaled(stable).constant_eta("a scaling rule")
    return f"`kappa` = {kappa} scales beyond the largest that is stable, {stable} with eta = {eta:.6g}: {doubt}"


def _steps(method: RandomRecursionSystem, t: float) -> int:
    h = float(method.clock(1))
    count = round(t / h)
    if count < 1 or abs(count * h - t) > 1e-9 * t:
        raise _check.fail("t", f"must be a whole number of steps of {h:g}", t, f"use {max(count, 1) * h:g}")
    return count


def _exact(methods: Any, state0: np.ndarray, steps: list[int]) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Means and covariances of the parameters, where they are known and not too dear."""
    laws = []
    for method, k in zip(methods, steps, strict=True):
        when = np.array([k])
        if not 0 < method.moments_work(len(state0), when) < DEAR:
            return None
        known = method.exact_moments(state0, when)
        if known is None:
            return None
        laws.append((known[0][-1], known[1][-1]))
    return laws


def _distance(mean: np.ndarray, cov: np.ndarray, other: np.ndarray, moved: np.ndarray) -> float:
    """The 2-Wasserstein distance of two Gaussians."""
    half = root(cov)
    cross = root(half @ moved @ half)
    return float(np.sqrt(np.sum((mean - other) ** 2) + max(np.trace(cov + moved - 2 * cross), 0.0)))


def _sampled(methods: Any, w0: Any, steps: list[int], members: int, seed: int) -> Rescaled:
    """Distance of sampled laws; its standard error by the spread over eight parts of the ensembles."""
    ends = [
        flat_parameters(solve(method, w0, steps=k, saves=2, realizations=members, seed=seed + i, progress=False))[:, -1]
        for i, (method, k) in enumerate(zip(methods, steps, strict=True))
    ]

    def between(part: slice) -> float:
        (a, b) = (end[part] for end in ends)
        return _distance(a.mean(axis=0), np.atleast_2d(np.cov(a.T)), b.mean(axis=0), np.atleast_2d(np.cov(b.T)))

    parts = [between(slice(i, None, 8)) for i in range(8)]
    spread = float(np.sqrt(np.trace(np.atleast_2d(np.cov(ends[0].T)))))
    return Rescaled(methods[1], between(slice(None)), spread, float(np.std(parts, ddof=1) / np.sqrt(8)))
