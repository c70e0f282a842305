"""Error estimate of `fast_forward` beside the truth: random losses, starts, step sizes, times and orders 0-3.

The truth is the recursion, run here in plain numpy with gradients written by hand. Takes minutes.
"""

import sys
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

import flowdyn as fd
from flowdyn.problems.base import Problem

RUNS = 500
KINDS = ("wavy", "quartic", "logistic", "tanh", "network")
LEAST, MOST = 0.01, 0.95  # eta times the largest curvature on the way
FLOOR = 1e-13  # of both errors: what float64 leaves of a state of size 1


class Case(NamedTuple):
    """A problem, its gradient in numpy, and a start."""

    problem: Problem
    gradient: Callable[[np.ndarray], np.ndarray]
    start: np.ndarray


def wavy(w):
    """A valley along a cosine, with three waves across it."""
    return w[0] ** 2 / 2 + 0.3 * jnp.sin(3 * w[0]) + (w[1] - jnp.cos(w[0])) ** 2 / 2


def quartic(w, A):
    """Quartic, and a little quadratic."""
    return jnp.sum((A @ w) ** 4) / 4 + 0.05 * jnp.sum(w**2)


def tanh_regression(w, data):
    """Squared error of a tanh unit."""
    X, y = data
    return jnp.mean((jnp.tanh(X @ w) - y) ** 2) / 2


def wavy_gradient(w: np.ndarray) -> np.ndarray:
    """Gradient of `wavy`."""
    rest = w[1] - np.cos(w[0])
    return np.array([w[0] + 0.9 * np.cos(3 * w[0]) + rest * np.sin(w[0]), rest])


def case(kind: str, rng: np.random.Generator) -> Case:
    """A random problem of a kind."""
    if kind == "wavy":
        return Case(fd.problems.CustomProblem(wavy, np.zeros(2)), wavy_gradient, rng.uniform(-2.5, 2.5, 2))
    if kind == "quartic":
        A = rng.standard_normal((4, 3)) / 2
        problem = fd.problems.CustomProblem(quartic, np.zeros(3), data=A)
        return Case(problem, lambda w: A.T @ (A @ w) ** 3 + 0.1 * w, rng.standard_normal(3))
    X, y = rng.standard_normal((6, 3)) / np.sqrt(6), rng.standard_normal(6)
    if kind == "logistic":
        Z = X * np.where(y > 0, 1.0, -1.0)[:, None]
        problem = fd.problems.LinearClassifier(X, np.where(y > 0, 1.0, -1.0), loss="logistic")
        return Case(problem, lambda w: -Z.T @ (1 / (1 + np.exp(Z @ w))), 2 * rng.standard_normal(3))
    if kind == "tanh":
        y = np.tanh(y)
        problem = fd.problems.CustomProblem(tanh_regression, np.zeros(3), data=(X, y))
        return Case(
            problem,
            lambda w: X.T @ ((np.tanh(X @ w) - y) * (1 - np.tanh(X @ w) ** 2)) / 6,
            2 * rng.standard_normal(3),
        )

    def gradient(w: np.ndarray) -> np.ndarray:
        force = X.T @ (X @ (w[:3] ** 2 - w[3:] ** 2) - y)
        return 2 * np.concatenate([w[:3] * force, -w[3:] * force])

    return Case(fd.problems.DiagonalNetwork(X, y), gradient, rng.uniform(0.2, 1.2, 6))


def descend(gradient: Callable, w: np.ndarray, eta: float, steps: int) -> np.ndarray:
    """Iterates (steps + 1, P) of gradient descent, as far as they are of size 1000."""
    path = [w]
    for _ in range(steps):
        path.append(path[-1] - eta * gradient(path[-1]))
        if not np.abs(path[-1]).max() < 1e3:
            break
    return np.array(path)


def largest(gradient: Callable, path: np.ndarray) -> float:
    """Largest curvature on 40 states of a path, by differences of the gradient."""
    found = 0.0
    for w in path[:: max(1, len(path) // 40)]:
        H = np.array([(gradient(w + e) - gradient(w - e)) / 2e-5 for e in 1e-5 * np.eye(len(w))])
        found = max(found, float(np.linalg.eigvalsh((H + H.T) / 2)[-1]))
    return found


def settle(this: Case, product: float, steps: int) -> tuple[float, np.ndarray]:
    """A step size with about that product of eta and largest curvature on the way, and the iterates."""
    eta = product / max(largest(this.gradient, this.start[None]), 0.1)
    for _ in range(8):
        path = descend(this.gradient, this.start, eta, steps)
        found = eta * largest(this.gradient, path)
        if len(path) > steps and abs(found - product) < 0.02:
            break
        eta *= (product / found) ** 0.7 if len(path) > steps and found > 0 else 0.5
    return eta, descend(this.gradient, this.start, eta, steps)


def ratio(kind: str, order: int, rng: np.random.Generator) -> tuple[float, str] | None:
    """Estimate over truth of one run and what it was; NaN where no error is estimated, None where it is no run."""
    this = case(kind, rng)
    steps = int(np.exp(rng.uniform(np.log(3), np.log(4000))))
    eta, path = settle(this, rng.uniform(LEAST, MOST), steps)
    product = eta * largest(this.gradient, path)
    if len(path) <= steps or not LEAST <= product <= MOST:
        return None
    try:
        run = fd.fast_forward(fd.GradientDescent(this.problem, eta), this.start, t=eta * steps, order=order)
    except fd.RunError as error:
        return np.nan, str(error)
    names = run.attrs["flowdyn_parameters"].split()
    truth = float(np.linalg.norm(np.concatenate([run[name].values.ravel() for name in names]) - path[-1]))
    said = float(run.error_estimate[-1])
    what = f"{kind}, order {order}, eta lambda {product:.2f}, {steps} steps: true {truth:.2e}, said {said:.2e}"
    return (said + FLOOR) / (truth + FLOOR), what


def main(runs: int = RUNS) -> None:
    """Print the quantiles of estimate over truth, near and beyond the steps that are taken exactly, and the worst."""
    warnings.simplefilter("ignore", fd.FlowdynWarning)
    rng, found = np.random.default_rng(0), []
    while len(found) < runs:
        i = len(found)
        one = ratio(KINDS[i % len(KINDS)], i // len(KINDS) % 4, rng)
        if one is not None:
            found.append(one)
            if len(found) % 50 == 0:
                print(f"{len(found)} runs", file=sys.stderr, flush=True)
    ratios = np.array([value for value, _ in found])
    known = np.isfinite(ratios)
    quantiles = np.quantile(ratios[known], [0, 0.05, 0.5, 0.95, 1])
    print(f"{known.sum()} estimates, {(~known).sum()} refused; said / true:")
    print("least, 5 %, median, 95 %, most: " + ", ".join(f"{q:.3g}" for q in quantiles))
    print(f"{(ratios[known] < 1 / 3).sum()} below a third; the least and the most:")
    for i in [*np.argsort(ratios)[:4], *np.flatnonzero(known)[np.argsort(-ratios[known])[:3]]]:
        print(f"  {ratios[i]:.3g}: {found[i][1]}")
    for value, what in found:
        if np.isnan(value):
            print(f"  refused: {what}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
