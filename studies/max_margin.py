r"""Section 9.4, Theorem 9.25: on separable data the direction tends to the maximum margin, in logarithmic time.

.. math::

    \gamma(w) = \min_i \frac{y_i \langle x_i, w\rangle}{\|w\|} \to \bar\gamma, \qquad \bar\gamma - \tilde\gamma \le \frac{\log n}{\|w\|}

Panels:

1. What is missing of the maximum margin against the logarithm of time: both losses' flows, and descent at a fixed step.
2. What is missing of the smoothed margin against the size of the weights, below its bound.
3. The same as the first panel on measured data, relative to the maximum margin.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

import flowdyn as fd
from flowdyn import theory
from studies.claims import Findings, at_least, at_most, not_applicable


def study(quick: bool = False) -> Findings:
    """The normalised flow out to log t = 1e7, descent at a fixed step, and measured data."""
    rng = np.random.default_rng(1)
    Z = rng.standard_normal((30, 5))
    Z *= np.sign(Z @ np.ones(5))[:, None]
    y = np.where(np.arange(30) % 2, -1.0, 1.0)
    X = y[:, None] * (Z + 0.3 * np.ones(5) / np.sqrt(5))
    best = theory.max_margin(X, y)
    claims, runs = [at_most("gap between dual and primal margin", 1e-10, abs(best.gap), "section 9.4")], {}
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.8), layout="constrained")
    for loss, colour in (("exponential", "#0072B2"), ("logistic", "#E69F00")):
        p = fd.problems.LinearClassifier(X, y, loss=loss)
        run = fd.solve(fd.NormalizedFlow(p), p.init(), t=np.inf, saves=400, stop={"log_t": (">", 1e7)})
        log_t, margin = run.log_t.values, run.margin.values
        where = f"Theorem 9.25, {loss}"
        late = run.norm.values > 0
        norm = run.norm.values[late]
        gap, bound = best.margin - run.smooth_margin.values[late], theory.margin_bound(norm, 30, loss)
        away = np.linalg.norm(run.w[-1].values / float(run.norm[-1]) - best.direction)
        claims += [
            at_most("gbar - gamma at log t = 1e6", 2e-6, best.margin - margin[log_t >= 1e6][0], where),
            at_most("gbar - gamma at log t = 1e7", 2e-7, best.margin - margin[-1], where),
            at_least("smallest gbar - smooth margin", -1e-9, gap.min(), where),
            at_most("largest (gbar - smooth margin) over its bound", 1 + 1e-9, (gap / bound).max(), where),
            at_most("distance from the maximum-margin direction", 1e-5, away, where),
        ]
        shown = log_t > 0.1
        axes[0].loglog(log_t[shown], best.margin - margin[shown], color=colour, label=loss)
        if loss == "exponential":
            axes[1].loglog(norm, gap, color=colour, label="exponential: smooth margin")
            axes[1].loglog(norm, bound, "--", color="#D55E00", label=r"its bound, $\log n / \|w\|$")
            axes[1].set_xlim(left=0.1)
            axes[1].set_ylim(top=100)
        runs[loss] = run
    more, gd = _descent(X, y, best, runs["logistic"], 30_000 if quick else 1_000_000, axes[0])
    claims += more
    more, cancer = _breast_cancer(axes[2])
    claims += more
    runs |= {"descent": gd} | cancer
    axes[0].set(xlabel="log t", ylabel=r"$\bar\gamma - \gamma$")
    axes[1].set(xlabel=r"$\|w\|$", ylabel=r"$\bar\gamma - \tilde\gamma$")
    for axis in axes:
        axis.legend(frameon=False, fontsize=8)
    return Findings("Which of all separating directions does training find, and how slowly?", claims, figure, runs)


def _descent(X, y, best, flow, steps: int, axis):
    """Plain gradient descent at a fixed step beside the flow at the same time: all that a fixed step reaches is log t = 11."""
    p = fd.problems.LinearClassifier(X, y, loss="logistic")
    eta = 0.1
    gd = fd.solve(fd.GradientDescent(p, eta), p.init(), steps=steps, saves=201, observe=fd.observables.margins(p))
    late = gd.t.values >= 100
    clock = np.log(gd.t.values[late])
    same = np.interp(clock, flow.log_t.values, flow.margin.values)
    gap = best.margin - gd.smooth_margin.values[late]
    bound = theory.margin_bound(gd.norm.values[late], len(y), "logistic")
    shown = clock > clock[0] + np.linspace(0, 1, 12)[:, None] * np.ptp(clock) * 0.999  # a few dots, evenly in log t
    dots = np.unique(shown.argmax(axis=1))
    axis.loglog(
        clock[dots],
        (best.margin - gd.margin.values[late])[dots],
        "o",
        color="#009E73",
        markersize=5,
        label="logistic, descent at fixed eta",
    )
    return [
        at_most(f"descent, {steps:,} steps: margin's distance from the flow's, t >= 100", 2e-3, np.abs(gd.margin.values[late] - same).max(), "Theorem 9.25, fixed eta"),
        at_least("descent: gbar - margin that is left (the flow at log t = 1e7: 1e-8)", 1e-4, best.margin - float(gd.margin[-1]), "Theorem 9.25, fixed eta"),
        at_least("descent: smallest gbar - smooth margin", 0.0, gap.min(), "Theorem 9.25, fixed eta"),
        at_most("descent: largest (gbar - smooth margin) over the flow's bound", 1.0, (gap / bound).max(), "Theorem 9.25, fixed eta"),
    ], gd  # fmt: skip


def _breast_cancer(axis):
    """Standardised, all 30 features: not separable through the origin, separable with a constant feature."""
    data = load_breast_cancer()
    X, y = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0), 2.0 * data.target - 1
    where = "Theorem 9.25, breast cancer"
    claims, runs = [], {}
    try:
        theory.max_margin(X, y)
    except fd.ArgumentError:
        claims.append(
            not_applicable("30 features through the origin", "the linear programme finds them not separable", where)
        )
    X = np.column_stack([X, np.ones(len(y))])
    best = theory.max_margin(X, y)
    claims.append(at_most("with a constant feature: gap between dual and primal margin", 1e-12, abs(best.gap), where))
    for loss, colour in (("exponential", "#0072B2"), ("logistic", "#E69F00")):
        p = fd.problems.LinearClassifier(X, y, loss=loss)
        run = fd.solve(fd.NormalizedFlow(p), p.init(), t=np.inf, saves=200, stop={"log_t": (">", 1e7)})
        late = run.norm.values > 0
        ratio = (best.margin - run.smooth_margin.values[late]) / theory.margin_bound(
            run.norm.values[late], len(y), loss
        )
        away = np.linalg.norm(run.w[-1].values / float(run.norm[-1]) - best.direction)
        claims += [
            at_most(f"{loss}: gbar - gamma over gbar at log t = 1e7", 1e-6, 1 - float(run.margin[-1]) / best.margin, where),
            at_most(f"{loss}: largest (gbar - smooth margin) over its bound", 1 + 1e-9, ratio.max(), where),
            at_least(f"{loss}: smallest gbar - smooth margin, over its bound", -1e-9, ratio.min(), where),
            at_most(f"{loss}: distance from the maximum-margin direction", 1e-6, away, where),
        ]  # fmt: skip
        later = run.margin.values > 0
        axis.loglog(run.log_t.values[later], 1 - run.margin.values[later] / best.margin, color=colour, label=loss)
        runs[f"breast_cancer_{loss}"] = run
    axis.set(xlabel="log t", ylabel=r"$1 - \gamma / \bar\gamma$")
    axis.set_title("breast cancer: n = 569, d = 30 + 1", fontsize=10)
    return claims, runs
