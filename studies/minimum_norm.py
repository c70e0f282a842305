r"""Section 9.1, Theorem 9.3: from the origin, least squares ends at the interpolant of minimum norm.

.. math::

    w(t) \to X^+ y + (I - P)\,w(0), \qquad P = X^+ X

Panels:

1. Distance of flow and gradient descent from the interpolant of minimum norm, over time.
2. Largest distance between descent and flow against the step size: slope 1.
"""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_most, equal


def study(quick: bool = False) -> Findings:
    """Flow and gradient descent on n = 20 samples in d = 50 dimensions."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 50)), rng.standard_normal(20)
    p = fd.problems.LinearRegression(X, y)
    # independent prediction: normal equations of the second kind
    truth = X.T @ np.linalg.solve(X @ X.T, y)
    null = np.linalg.svd(X)[2][20:]
    flow = fd.solve(fd.GradientFlow(p), p.init(), t=np.inf, stop={"grad_norm": ("<", 1e-11)}, saves=201)
    eta = 1.0 / np.linalg.eigvalsh(X @ X.T)[-1]
    gd = fd.solve(fd.GradientDescent(p, eta), p.init(), steps=20_000, saves=201)
    ladder = fd.eta_limit(fd.GradientDescent(p, 0.2 * eta), p.init(), t=200 * eta)
    off = rng.standard_normal(50)
    other = fd.solve(fd.GradientFlow(p), off, t=float(flow.t[-1]), saves=2)
    kept = null.T @ (null @ off)

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for run, name in ((flow, "gradient flow"), (gd, "gradient descent")):
        distance = np.linalg.norm(run.w.values - truth, axis=1)
        axes[0].loglog(run.t[1:], distance[1:], label=name)
    axes[0].set(xlabel="training time t", ylabel="distance from the minimum-norm interpolant")
    axes[0].legend(frameon=False)
    fd.plot(ladder, ax=axes[1])
    where = "Theorem 9.3"
    claims = [
        at_most("distance of the flow's end from X^T (X X^T)^-1 y", 1e-10, np.abs(flow.w[-1] - truth).max(), where),
        at_most("distance of gradient descent's end", 1e-10, np.abs(gd.w[-1] - truth).max(), where),
        at_most("largest part off the row span, flow", 1e-12, np.abs(flow.w.values @ null.T).max(), "section 9.1"),
        at_most("largest part off the row span, descent", 1e-12, np.abs(gd.w.values @ null.T).max(), "section 9.1"),
        at_most(
            "from w0 off the span: end against X^+ y + (I - P) w0",
            1e-9,
            np.abs(other.w[-1] - truth - kept).max(),
            where,
        ),
        equal("order in eta of the gap between descent and flow", 1.0, ladder.order, 0.03, "section 9.1"),
    ]
    question = "Least squares with more features than samples has many solutions. Which one does training from the origin find?"
    return Findings(question, claims, figure, {"flow": flow, "descent": gd, "ladder": ladder})
