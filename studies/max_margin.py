"""Section 9.4, Theorem 9.25: on separable data the direction tends to the maximum margin, in logarithmic time."""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from flowdyn import theory
from studies.claims import Outcome, at_least, at_most


def study(quick: bool = False) -> Outcome:
    """The normalised flow out to log t = 1e7, exponential and logistic loss."""
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((30, 5))
    Z *= np.sign(Z @ np.ones(5))[:, None]
    y = np.where(np.arange(30) % 2, -1.0, 1.0)
    X = y[:, None] * (Z + 0.3 * np.ones(5) / np.sqrt(5))
    best = theory.max_margin(X, y)
    claims, runs = [at_most("gap between dual and primal margin", 1e-10, abs(best.gap), "section 9.4")], {}
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for loss, colour in (("exponential", "#0072B2"), ("logistic", "#E69F00")):
        p = fd.problems.LinearClassifier(X, y, loss=loss)
        run = fd.solve(fd.NormalizedFlow(p), p.init(), t=np.inf, saves=400, stop={"log_t": (">", 1e7)})
        log_t, margin = run.log_t.values, run.margin.values
        where = f"Theorem 9.25, {loss}"
        claims += [
            at_most("gbar - gamma at log t = 1e6", 2e-6, best.margin - margin[log_t >= 1e6][0], where),
            at_most("gbar - gamma at log t = 1e7", 2e-7, best.margin - margin[-1], where),
        ]
        late = run.norm.values > 0
        gap = best.margin - run.smooth_margin.values[late]
        bound = theory.margin_bound(run.norm.values[late], 30, loss)
        direction = run.w[-1].values / float(run.norm[-1])
        claims += [
            at_least("smallest gbar - smooth margin", -1e-9, gap.min(), where),
            at_most("largest (gbar - smooth margin) over its bound", 1 + 1e-9, (gap / bound).max(), where),
            at_most(
                "distance from the maximum-margin direction", 1e-5, np.linalg.norm(direction - best.direction), where
            ),
        ]
        shown = log_t > 0.1
        axes[0].loglog(log_t[shown], best.margin - margin[shown], color=colour, label=loss)
        axes[1].loglog(run.norm.values[late], gap, color=colour, label=f"{loss}: smooth margin")
        axes[1].loglog(run.norm.values[late], bound, "--", color=colour, label=f"{loss}: bound")
        runs[loss] = run
    axes[0].set(xlabel="log t", ylabel=r"$\bar\gamma - \gamma$")
    axes[1].set(xlabel=r"$\|w\|$", ylabel=r"$\bar\gamma - \tilde\gamma$")
    for axis in axes:
        axis.legend(frameon=False, fontsize=8)
    return Outcome("Which of all separating directions does training find, and how slowly?", claims, figure, runs)
