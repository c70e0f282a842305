"""Coverage of the 95 % interval of `eta_limit` on random ladders whose order theory knows.

    python order_coverage.py [group ...] [trials of a cell]        groups: deterministic, moments, sampled

A ladder hits where its interval holds the true order. One whose leading term nearly cancels (the last slope is nearer
to the next order) is counted apart: no interval is asked of it. An order that is doubted because it is above the
expected one counts as a miss where nothing cancels: the fit would have missed.
Takes from minutes (deterministic) to half an hour.
"""

import dataclasses
import sys
import warnings
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from scipy import stats
from xarray import Dataset

import flowdyn as fd
from flowdyn.convergence.order_fit import fit_order
from flowdyn.problems.base import Problem

TRIALS = 50
OUTSTANDING = 5.0  # standard errors of every rung, above which a ladder should be resolved
MEMBERS, PRECISION = 2**15, 0.1  # of a sampled rung: the most, and the standard error over the gap
SAMPLES, FEATURES = 6, 3
WIDE = (0.05, 0.8)  # largest eta times curvature, log-uniform
NOISY = 0.05  # the same of sampled ladders: one sample's curvature is up to six times that of the mean


def first(w):
    """The first parameter."""
    return jnp.ravel(w)[0]


def size(w):
    """The square of the norm."""
    return jnp.sum(w**2)


OBSERVABLES = {"first": first, "size": size}  # the same objects for all ladders, so that they compile once


def tanh_model(w, x):
    """A tanh unit with an output weight."""
    return w[-1] * jnp.tanh(x @ w[:-1])


def quartic_losses(w, A):
    """Quartic in each sample's product, and a little quadratic."""
    return (A @ w) ** 4 / 4 + 0.1 * jnp.sum(w**2)


def quartic(w, A):
    """Mean of the samples' losses."""
    return jnp.mean(quartic_losses(w, A))


def problem(kind: str, rng: np.random.Generator) -> tuple[Problem, np.ndarray]:
    """A random problem, and a start."""
    X, y = rng.standard_normal((SAMPLES, FEATURES)), rng.standard_normal(SAMPLES)
    if kind == "linear":
        return fd.problems.LinearRegression(X, y), rng.standard_normal(FEATURES)
    if kind == "logistic":
        return fd.problems.LinearClassifier(X, np.where(y > 0, 1.0, -1.0)), rng.standard_normal(FEATURES)
    if kind == "quartic":
        start = rng.uniform(0.3, 1.0, FEATURES)
        return fd.problems.CustomProblem(quartic, start, data=X, sample_losses=quartic_losses), start
    if kind == "squared":
        return fd.problems.SquaredRegression(X, y), rng.uniform(0.3, 1.0, FEATURES)
    if kind == "diagonal":
        return fd.problems.DiagonalNetwork(X, y), rng.uniform(0.3, 1.0, 2 * FEATURES)
    start = rng.uniform(0.3, 1.0, FEATURES + 1)
    return fd.problems.CustomRegression(tanh_model, y, start, data=X), start


def scale(p: Problem, w0: np.ndarray) -> float:
    """Largest curvature at the start, by size."""
    return float(np.abs(np.linalg.eigvalsh(np.asarray(p.hessian(w0)))).max())


def wide_eta(rng: np.random.Generator) -> float:
    """A random step size, in units of the inverse curvature."""
    return float(np.exp(rng.uniform(*np.log(WIDE))))


@dataclasses.dataclass
class Count:
    """What came out of the ladders of one cell or of many."""

    ladders: int = 0
    cancelling: int = 0
    resolved: int = 0
    hits: int = 0
    doubted: int = 0  # not resolved, since the order is above the expected one
    clear: int = 0  # every rung stands out
    clear_unresolved: int = 0
    widths: list[float] = dataclasses.field(default_factory=list)

    def add(self, ladder: Dataset, error: np.ndarray, noise: np.ndarray, observable: int | None) -> None:
        """Count one order of a ladder."""
        true = float(ladder.order_expected)
        interval = ladder.order_interval if observable is None else ladder.order_interval[observable]
        low, high = interval.values
        self.ladders += 1
        gap = np.abs(error)
        with np.errstate(divide="ignore"):
            if not np.log2(gap[-2] / gap[-1]) < true + 0.5:
                self.cancelling += 1
                return
        is_clear = bool((gap > OUTSTANDING * noise).all())
        self.clear += is_clear
        self.clear_unresolved += is_clear and bool(np.isnan(low))
        h, floor = ladder.h.values, noise if observable is None else ladder.solver_error.values[:, observable]
        sampled = None if observable is None else ladder.standard_error.values[:, observable]
        verdict = fit_order(h, error, floor, sampled, expected=true).verdict
        self.doubted += verdict.startswith(f"not resolved: order {true:.1f} with a large correction")
        if np.isfinite(low):
            self.resolved += 1
            self.hits += bool(low <= true <= high)
            self.widths.append(float(high - low) / 2)

    def joined(self, other: "Count") -> "Count":
        """Sum of two counts."""
        return Count(*(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self)))

    def line(self) -> str:
        """One line of the table."""
        claimed = max(self.resolved + self.doubted, 1)
        interval = stats.binomtest(self.hits, claimed).proportion_ci(0.95)
        return (
            f"{self.ladders} ladders, {self.cancelling} cancelling, {self.resolved} resolved, {self.doubted} doubted, "
            f"covered {self.hits / claimed:.3f} [{interval.low:.3f}, {interval.high:.3f}], half-width "
            f"{np.median(self.widths or [np.nan]):.3f}; {self.clear_unresolved} of {self.clear} clear ones not resolved"
        )


def deterministic(kind: str, order: int, trials: int, rng: np.random.Generator) -> Count:
    """Gradient descent beside its flow of an order."""
    count = Count()
    for _ in range(trials):
        p, w0 = problem(kind, rng)
        lam = scale(p, w0)
        eta = wide_eta(rng) / lam
        t = int(rng.integers(4, 21)) * eta
        ladder = fd.eta_limit(fd.GradientDescent(p, eta), w0, t=t, order=order, progress=False)
        floor = ladder.solver_error + ladder.rounding_error
        count.add(ladder, ladder.sup_error.values, floor.values, None)
    return count


def random_ladder(kind: str, order: int, trials: int, rng: np.random.Generator, **more: object) -> Count:
    """SGD beside its flow or equation, by the means of a parameter and of the squared norm."""
    count = Count()
    for _ in range(trials):
        p, w0 = problem(kind, rng)
        lam = scale(p, w0)
        eta = (NOISY if more else wide_eta(rng)) / lam
        seed = int(rng.integers(2**31))
        ladder = fd.eta_limit(
            fd.SGD(p, eta), w0, t=8 * eta, etas=eta / 2.0 ** np.arange(5), order=order, observable=OBSERVABLES,
            seed=seed, progress=False, **more,
        )  # fmt: skip
        for i in range(2):
            noise = np.hypot(ladder.standard_error, ladder.solver_error).values[:, i]
            count.add(ladder, ladder.error.values[:, i], noise, i)
    return count


def cells(group: str, trials: int) -> Iterator[tuple[str, Count]]:
    """The cells of a group, each with its count."""
    rng = np.random.default_rng(0)
    if group == "deterministic":
        for order in range(4):
            for kind in ("linear", "logistic", "quartic", "squared", "diagonal", "tanh"):
                yield f"{kind} order {order}", deterministic(kind, order, trials, rng)
    elif group == "moments":
        for order in range(3):
            yield f"linear order {order}", random_ladder("linear", order, 2 * trials, rng)
    else:
        sampling = {"realizations": MEMBERS, "relative_error": PRECISION}
        for order in (0, 1):
            for kind in ("linear", "logistic", "quartic", "tanh"):
                yield f"{kind} order {order}", random_ladder(kind, order, trials, rng, **sampling)


def main(*arguments: str) -> None:
    """Print a line for each cell, and the sums of each group."""
    warnings.simplefilter("ignore", fd.FlowdynWarning)
    groups = [a for a in arguments if not a.isdigit()] or ["deterministic", "moments", "sampled"]
    trials = next((int(a) for a in arguments if a.isdigit()), TRIALS)
    for group in groups:
        total = Count()
        for name, count in cells(group, trials):
            total = total.joined(count)
            print(f"{group} {name}: {count.line()}", flush=True)
        print(f"{group}, all: {total.line()}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
