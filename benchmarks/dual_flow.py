"""The diagonal network's flow at d = 2000, n = 40 by an implicit method: n equations (DualFlow) beside 2d of them."""

import numpy as np

import flowdyn as fd
from benchmarks._timing import Row, compare, table


def rows() -> list[Row]:
    """Measure."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2000)) / np.sqrt(40)
    p = fd.problems.DiagonalNetwork(X, X[:, 0] - X[:, 1])
    w0 = p.init(1e-2)
    solver = fd.solvers.Scipy("BDF", rtol=1e-6)
    dual, primal = fd.DualFlow(p, w0), fd.GradientFlow(p)
    t = 0.05  # the weights' own flow is slow: a short stretch is enough for the ratio
    row = compare(
        "DualFlow / GradientFlow, BDF, d = 2000",
        lambda: fd.solve(dual, w0, t=t, saves=3, solver=solver),
        lambda: fd.solve(primal, w0, t=t, saves=3, solver=solver),
        1 / 100,
        runs=1,
    )
    return [row]


if __name__ == "__main__":
    table(rows())
