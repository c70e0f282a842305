r"""Section 9.3, (9.114): w+ w- is conserved by the flow, and broken by gradient descent in proportion to eta.

.. math::

    w(t) = w(0) \odot \exp\Bigl(-2 \tilde X^\top \int_0^t r\,ds\Bigr) \quad\Rightarrow\quad w_+ \odot w_- = \alpha^2

Panels:

1. Largest drift of the invariant along gradient descent, over time, at five step sizes.
2. The same at its largest, against the step size: slope 1.
"""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_most, equal
from studies.drawing import label_between, ticks_at


def study(quick: bool = False) -> Findings:
    """Drift of the invariant along the flow and along descent at several eta."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((20, 40)) / np.sqrt(20)
    p = fd.problems.DiagonalNetwork(X, X[:, 0] - 2 * X[:, 1])
    alpha, t = 0.1, 5.0
    w0 = p.init(alpha)
    primal = fd.solve(fd.GradientFlow(p), w0, t=t, solver=fd.solvers.Scipy("DOP853", rtol=1e-12))
    dual = fd.solve(fd.DualFlow(p, w0), w0, t=t)
    etas = 0.04 / 2.0 ** np.arange(5)
    runs = {"flow": primal, "dual": dual}
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    drifts = []
    for i, eta in enumerate(etas):
        gd = fd.solve(fd.GradientDescent(p, eta), w0, t=t)
        product = (gd.w_plus * gd.w_minus).values / alpha**2 - 1
        drifts.append(np.abs(product).max())
        axes[0].plot(gd.t, np.abs(product).max(axis=1), label=rf"$\eta$ = {eta:g}")
        runs[f"descent_{i}"] = gd
    axes[0].set(xlabel="training time t", ylabel=r"largest $|w_+ w_- / \alpha^2 - 1|$")
    axes[0].legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1.0, 0.9))
    axes[1].loglog(etas, drifts, "o", label="gradient descent")
    axes[1].loglog(etas, drifts[-1] * etas / etas[-1], "--", color="#D55E00", label="slope 1")
    axes[1].set(xlabel=r"step size $\eta$", ylabel="drift of the invariant")
    axes[1].legend(frameon=False, fontsize=8)
    ticks_at(axes[1], etas)
    label_between(axes[1])
    slope = np.log(drifts[-2] / drifts[-1]) / np.log(2)
    claims = [
        at_most("relative drift along the flow of the weights, rtol 1e-12", 1e-9, np.abs((primal.w_plus * primal.w_minus) / alpha**2 - 1).max(), "9.114"),
        at_most("relative drift along the dual flow", 1e-13, np.abs((dual.w_plus * dual.w_minus) / alpha**2 - 1).max(), "9.114"),
        equal("order in eta of the drift along gradient descent", 1.0, slope, 0.05, "section 9.3"),
    ]  # fmt: skip
    return Findings(
        "What does the flow of a diagonal network conserve, and what is left of it at a finite step size?",
        claims,
        figure,
        runs,
    )
