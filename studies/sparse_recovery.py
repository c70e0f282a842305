r"""Section 9.2, Theorem 9.4: from a small start the squared parametrisation finds a sparse truth, from a large one it does not.

.. math::

    \|\theta_\infty - \theta^*\|^2 = \Theta\bigl(\alpha^{4(1-m)}\bigr), \qquad m \text{ by a linear programme}

Panels:

1. Squared error of the flow's limit against the scale of its start, with the slope that a linear programme predicts.
2. Measured beside predicted rates, one data set a dot.
3. Median error from a fixed start, against samples and against features.
"""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from flowdyn import theory
from studies.claims import Findings, at_least, at_most, equal, not_applicable
from studies.drawing import ticks_at

SPARSITY = 3


def instance(n: int, d: int, seed: int):
    """Gaussian data, the truth 1 on the first coordinates, and the problem."""
    X, truth = np.random.default_rng(seed).standard_normal((n, d)), np.zeros(d)
    truth[:SPARSITY] = 1.0
    return X, truth, fd.problems.SquaredRegression(X, X @ truth)


def limit(p, alpha: float, loss: float = 1e-22, saves: int = 60, rtol: float = 1e-10):
    """Flow from alpha * 1 until it interpolates."""
    w0 = p.init(alpha)
    solver = fd.solvers.Scipy("LSODA", rtol=rtol, atol=rtol * 1e-3)
    return fd.solve(fd.DualFlow(p, w0), w0, t=np.inf, stop={"loss": ("<", loss)}, solver=solver, saves=saves)


def squared_error(run, truth) -> float:
    """||theta - theta*||^2 at the end."""
    return float(((run.theta[-1].values - truth) ** 2).sum())


def study(quick: bool = False) -> Findings:
    """Recovery error against alpha, n and d; its predicted rate; the two limits; the window of the theorem."""
    X, truth, p = instance(40, 100, 0)
    exponent = 4 * (1 - theory.recovery_exponent(X, range(SPARSITY)))
    alphas = np.array([3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001])
    runs = {f"alpha_{a:g}".replace(".", "p"): limit(p, a) for a in alphas}
    errors = np.array([squared_error(run, truth) for run in runs.values()])
    slope = np.polyfit(np.log(alphas[-3:]), np.log(errors[-3:]), 1)[0]
    large = [runs["alpha_1"], runs["alpha_3"]]
    gaps = [
        np.abs(r.theta[-1].values - theory.entropy_minimizer(X, X @ truth, a).theta).max()
        for r, a in zip(large, (1.0, 3.0), strict=True)
    ]
    claims = [
        equal("slope of the squared error in alpha, n = 40, d = 100", exponent, slope, 0.05, "Theorem 9.4, rate by a linear programme"),
        at_most("squared error from alpha = 0.001", 1e-8, errors[-1], "Theorem 9.4"),
        at_least("squared error from alpha = 1, at loss 1e-22", 1.0, errors[1], "section 9.2: a large start interpolates only"),
        at_most("that limit from the entropy minimiser, alpha = 1 and 3", 1e-7, max(gaps), "section 9.2"),
    ]  # fmt: skip
    # the window of the theorem, its constants taken as 2, 1 and 1
    for alpha in (1e-6, 1e-2):
        first, last = 2 * np.log(100 / alpha), 1 / np.sqrt(100 * alpha)
        what = f"squared error over alpha sqrt(d) in the window, alpha = {alpha:g}"
        if first >= last:
            claims.append(not_applicable(what, f"empty: {first:.3g} > {last:.3g}", "Theorem 9.4"))
            continue
        run = fd.solve(fd.DualFlow(p, p.init(alpha)), p.init(alpha), t=np.linspace(first, last, 60))
        ratio = ((run.theta.values - truth) ** 2).sum(axis=1).max() / (alpha * np.sqrt(100))
        claims.append(at_most(what, 1.0, ratio, "Theorem 9.4"))
        runs["window"] = run
    # where the linear programme says that the truth is not the limit, the limit is nonnegative basis pursuit
    A, other, q = instance(12, 60, 1)
    margin, best = theory.recovery_exponent(A, range(SPARSITY)), theory.basis_pursuit(A, A @ other, nonnegative=True)
    tiny = [np.linalg.norm(limit(q, a, loss=1e-14, rtol=1e-8).theta[-1].values - best.theta) for a in (1e-5, 1e-6)]
    claims += [
        at_least("n = 12, d = 60: exponent m, by a linear programme (no recovery from 1 on)", 1.0, margin, "Theorem 9.4"),
        at_least("there: distance of nonnegative basis pursuit from the truth", 0.5, np.linalg.norm(best.theta - other), "section 9.2"),
        at_most("there: distance of the limit from nonnegative basis pursuit, alpha = 1e-6", 1e-3, tiny[1], "section 9.2"),
        equal("there: slope of that distance in alpha, 2 (1 - margin of the dual certificate)", 2 * (1 - best.margin), np.log10(tiny[0] / tiny[1]), 0.03, "section 9.2"),
    ]  # fmt: skip
    seeds = range(3 if quick else 8)
    cells = [(n, 100) for n in (15, 20, 25, 30, 40)] + [(25, d) for d in (50, 200, 400)]
    found = {cell: np.array([_rate(*cell, seed) for seed in seeds]) for cell in cells}
    every = np.concatenate(list(found.values()))
    sure = every[(every[:, 0] > 1.2) & (every[:, 0] < 3.99)]  # slower ones are not at their rate yet
    claims.append(at_most(f"largest distance of {len(sure)} measured rates from 4 (1 - m)", 0.3, np.abs(sure[:, 0] - sure[:, 1]).max(), "Theorem 9.4"))  # fmt: skip
    by_n = [np.median(found[n, 100][:, 2]) for n in (15, 20, 25, 30, 40)]
    by_d = [np.median(found[25, d][:, 2]) for d in (50, 100, 200, 400)]
    claims += [
        at_most("median error at n = 40 over that at n = 15 (d = 100)", 0.1, by_n[-1] / by_n[0], "Theorem 9.4"),
        at_least("median error at d = 400 over that at d = 50 (n = 25)", 10.0, by_d[-1] / by_d[0], "Theorem 9.4"),
    ]
    question = "Which starts let training find a sparse truth from few samples, and how exactly does it find it?"
    return Findings(question, claims, _draw(alphas, errors, exponent, sure, by_n, by_d), runs)


def _rate(n: int, d: int, seed: int):
    """Predicted and measured rate between alpha = 0.01 and 0.003, and the error at 0.01."""
    X, truth, p = instance(n, d, seed)
    high, low = (squared_error(limit(p, a, loss=1e-16, saves=3, rtol=1e-8), truth) for a in (1e-2, 3e-3))
    m = max(theory.recovery_exponent(X, range(SPARSITY)), 0.0)
    return 4 * (1 - m), np.log(high / low) / np.log(1e-2 / 3e-3), high


def _draw(alphas, errors, exponent, sure, by_n, by_d):
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.8), layout="constrained")
    axes[0].loglog(alphas, errors, "o", label="flow's limit")
    small = alphas < 0.2
    line = errors[-1] * (alphas[small] / alphas[-1]) ** exponent
    axes[0].loglog(alphas[small], line, "--", color="#D55E00", label=f"predicted slope {exponent:.2f}")
    axes[0].set(xlabel=r"scale of the start $\alpha$", ylabel=r"$\|\theta - \theta^*\|^2$")
    axes[1].plot([1, 4], [1, 4], "--", color="#D55E00", label="4 (1 - m), linear programme")
    axes[1].plot(sure[:, 0], sure[:, 1], "o", alpha=0.7, label="flow, one data set a dot")
    axes[1].set(xlabel="predicted rate", ylabel="measured rate")
    axes[2].loglog([15, 20, 25, 30, 40], by_n, "o-", label="against n (d = 100)")
    axes[2].loglog([50, 100, 200, 400], by_d, "s--", color="#009E73", label="against d (n = 25)")
    ticks_at(axes[2], [15, 25, 40, 50, 100, 200, 400])
    axes[2].set(xlabel="samples n, or features d", ylabel=r"median $\|\theta - \theta^*\|^2$, $\alpha = 0.01$")
    for axis in axes:
        axis.legend(frameon=False, fontsize=8)
        axis.grid(alpha=0.25, linewidth=0.6)
    return figure
