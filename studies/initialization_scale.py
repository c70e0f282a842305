r"""Section 9.3, Theorem 9.18: the scale of the initialisation moves the limit from minimum l1 to minimum l2 norm.

.. math::

    \lim_{t\to\infty} \theta(t) = \arg\min_{X\theta = y} Q_\alpha(\theta), \qquad Q_\alpha \to \|\cdot\|_1 \ (\alpha \to 0), \quad \to \|\cdot\|_2 \ (\alpha \to \infty)

Panels:

1. l1 norm of the flow's limit against the scale of its start, between basis pursuit and least squares.
2. Distance of the limit from the interpolant of minimum norm for large scales: slope -4.
"""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from flowdyn import theory
from studies.claims import Findings, at_most, equal
from studies.drawing import ticks_at


def study(quick: bool = False) -> Findings:
    """The dual flow's limit beside argmin Q_alpha, alpha from 1e-4 to 1e2."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((20, 60)), rng.standard_normal(20)
    p = fd.problems.DiagonalNetwork(X, y)
    least, flat = theory.basis_pursuit(X, y), theory.minimum_norm(X, y)
    alphas = np.array([1e-4, 1e-2, 1.0, 1e2]) if quick else 10.0 ** np.arange(-4, 2.1, 0.5)
    claims, runs, thetas = [], {}, []
    solver = fd.solvers.Scipy("LSODA", rtol=1e-11)
    for alpha in alphas:
        w0 = p.init(alpha)
        run = fd.solve(fd.DualFlow(p, w0), w0, t=np.inf, stop={"loss": ("<", 1e-19)}, solver=solver)
        best = theory.q_alpha_minimizer(X, y, alpha)
        gap = np.abs(run.theta[-1].values - best.theta).max()
        claims.append(at_most(f"flow's limit from argmin Q, alpha = {alpha:.2g}", 1e-8, gap, "Theorem 9.18"))
        kkt = theory.kkt_residual(X, y, run.theta[-1].values, alpha)
        claims.append(at_most(f"KKT residual of the limit, alpha = {alpha:.2g}", 1e-6, max(kkt), "9.129"))
        runs[f"alpha_{alpha:.2g}".replace("-", "m").replace("+", "").replace(".", "p")] = run
        thetas.append(run.theta[-1].values)
    a, b = np.linspace(0.2, 1.0, 60), np.linspace(0.8, 0.3, 60)
    general = np.concatenate([a, b])
    run = fd.solve(fd.DualFlow(p, general), general, t=np.inf, stop={"loss": ("<", 1e-19)}, solver=solver)
    gap = np.abs(run.theta[-1].values - theory.q_alpha_minimizer(X, y, (a, b)).theta).max()
    claims.append(at_most("flow's limit from argmin Q, general start", 1e-8, gap, "Theorem 9.18"))
    scales = np.array([2.0, 4.0, 8.0, 16.0])
    gaps = [np.linalg.norm(theory.q_alpha_minimizer(X, y, s).theta - flat.theta) for s in scales]
    slope = np.log(gaps[-1] / gaps[-2]) / np.log(2)
    claims.append(equal("slope of the distance from X^+ y in alpha, large alpha", -4.0, slope, 0.05, "section 9.3"))
    tiny = np.abs(theory.q_alpha_minimizer(X, y, 1e-6).theta).sum() / least.value - 1
    claims.append(at_most("excess of the l1 norm over basis pursuit at alpha = 1e-6", 0.01, tiny, "Theorem 9.18"))

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    axes[0].semilogx(alphas, [np.abs(t).sum() for t in thetas], "o-", label=r"$\|\theta\|_1$ of the flow's limit")
    axes[0].axhline(least.value, color="#D55E00", linestyle="--", label="basis pursuit")
    axes[0].axhline(np.abs(flat.theta).sum(), color="#666666", linestyle=":", label=r"$X^+y$")
    axes[0].set(xlabel=r"scale of the initialisation $\alpha$", ylabel=r"$\ell_1$ norm")
    axes[0].legend(frameon=False, fontsize=8, loc="center right")
    axes[1].loglog(scales, gaps, "o-", label=r"$\|\theta_\alpha - X^+y\|$")
    axes[1].loglog(scales, gaps[-1] * (scales / scales[-1]) ** -4.0, "--", color="#D55E00", label="slope -4")
    axes[1].set(xlabel=r"$\alpha$", ylabel="distance")
    axes[1].legend(frameon=False, fontsize=8)
    ticks_at(axes[1], scales)
    question = "Where does the flow of a diagonal network end, and how does the scale of its start choose between sparse and flat?"
    return Findings(question, claims, figure, runs)
