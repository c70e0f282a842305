"""Coverage of the 95 % interval of `eta_limit`: gradient descent on random losses.

It is run beside its limits of order 0-3; a ladder hits where its interval holds order + 1. Takes minutes.
"""

import collections
import warnings

import numpy as np
from scipy import stats

import flowdyn as fd
from flowdyn.problems.base import Problem

TRIALS = 24
KINDS = ("squared", "logistic", "network")


def problem(kind: str, rng: np.random.Generator) -> tuple[Problem, np.ndarray]:
    """A random problem of 6 samples and 3 features, and a start."""
    X, y = rng.standard_normal((6, 3)) / np.sqrt(6), rng.standard_normal(6)
    if kind == "squared":
        return fd.problems.SquaredRegression(X, y), rng.uniform(0.3, 1.0, 3)
    if kind == "logistic":
        return fd.problems.LinearClassifier(X, np.where(y > 0, 1.0, -1.0), loss="logistic"), rng.standard_normal(3)
    return fd.problems.DiagonalNetwork(X, y), rng.uniform(0.3, 1.0, 6)


def outcome(kind: str, order: int, rng: np.random.Generator) -> str:
    """What the interval of one ladder is worth."""
    p, w0 = problem(kind, rng)
    steepest = float(np.abs(np.linalg.eigvalsh(np.asarray(p.hessian(w0)))).max())
    ladder = fd.eta_limit(fd.GradientDescent(p, 0.2 / steepest), w0, t=2.0 / steepest, order=order, progress=False)
    low, high = ladder.order_interval.values
    return "not resolved" if np.isnan(low) else "hit" if low <= order + 1 <= high else "miss"


def main() -> None:
    """Print a line for each kind and order, then the coverage of all with its binomial interval."""
    warnings.simplefilter("ignore", fd.FlowdynWarning)
    rng, total = np.random.default_rng(0), collections.Counter()
    for kind in KINDS:
        for order in range(4):
            counts = collections.Counter(outcome(kind, order, rng) for _ in range(TRIALS))
            total += counts
            print(f"{kind:10} order {order}: {dict(counts)}", flush=True)
    resolved = total["hit"] + total["miss"]
    interval = stats.binomtest(total["hit"], resolved).proportion_ci(0.95)
    print(f"coverage {total['hit'] / resolved:.3f} [{interval.low:.3f}, {interval.high:.3f}] of {resolved} resolved")


if __name__ == "__main__":
    main()
