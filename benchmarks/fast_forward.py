"""Gradient descent at eta = 1e-8, T = 50 (5 x 10^9 steps) from its modified flow: error, and warm seconds.

The target is one second; the peer is a second, so the ratio is the time itself.
"""

import time

import numpy as np

import flowdyn as fd
from benchmarks._timing import Row, clock, compare, table

ETA, T = 1e-8, 50.0


def rows() -> list[Row]:
    """Measure."""
    rng = np.random.default_rng(0)
    p = fd.problems.LinearRegression(rng.standard_normal((20, 50)), rng.standard_normal(20))
    # the same loss without its closed form
    hidden = fd.problems.CustomProblem(lambda w, d: 0.5 * ((d[0] @ w - d[1]) ** 2).sum(), np.zeros(50), data=(p.X, p.y))
    exact = fd.solve(fd.GradientDescent(p, ETA), p.init(), t=[T], solver=fd.solvers.Exact())
    found = []
    for name, problem, solver in (
        ("fast_forward, closed form", p, None),
        ("fast_forward, default without a closed form", hidden, None),
        ("fast_forward, LSODA", hidden, fd.solvers.Scipy("LSODA", rtol=1e-13)),
        ("fast_forward, Diffrax Dopri8", hidden, fd.solvers.Diffrax("Dopri8", rtol=1e-13)),
    ):

        def ours(problem=problem, solver=solver):
            return fd.fast_forward(fd.GradientDescent(problem, ETA), problem.init(), t=T, solver=solver)

        cold = clock(ours)
        error = float(np.abs(ours().w - exact.w.values).max())
        found.append(
            compare(f"{name} (cold {cold:.2f} s, error {error:.1e})", ours, lambda: time.sleep(1), 1.0, runs=3)
        )
    return found


if __name__ == "__main__":
    table(rows())
