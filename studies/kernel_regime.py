r"""Section 9.3, Remark 9.21: for large alpha the network trains like its linearisation, with a gap of order alpha^-4.

.. math::

    \theta_{\mathrm{lin}}(s) = X^\top (XX^\top)^{-1} (1 - e^{-XX^\top s})\,y, \qquad s = 8\alpha^2 t, \qquad \sup_s \|\theta - \theta_{\mathrm{lin}}\| = O(\alpha^{-4})

Panels:

1. Distance of the network's flow from its linearisation over the rescaled time, for four scales.
2. The largest distance against the scale: slope -4.
"""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, equal
from studies.drawing import ticks_at


def study(quick: bool = False) -> Findings:
    """Flow of the network beside its exact linearised flow, at alpha = 1 .. 16, in the time s = 8 alpha^2 t."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((20, 60)), rng.standard_normal(20)
    p = fd.problems.DiagonalNetwork(X, y)
    lam, V = np.linalg.eigh(X @ X.T)
    s = np.linspace(0, 0.5, 201)
    # X^T (X X^T)^-1 (1 - exp(-X X^T s)) y, mode by mode
    linear = ((-np.expm1(-lam * s[:, None]) / lam) * (V.T @ y)) @ V.T @ X
    alphas, gaps, runs, betas = np.array([2.0, 4.0, 8.0, 16.0]), [], {}, []
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for alpha in alphas:
        w0 = p.init(alpha)
        run = fd.solve(fd.DualFlow(p, w0), w0, t=s / (8 * alpha**2), solver=fd.solvers.Scipy("DOP853", rtol=1e-13))
        gap = np.linalg.norm(run.theta.values - linear, axis=1)
        gaps.append(gap.max())
        axes[0].semilogy(s[1:], gap[1:], label=rf"$\alpha$ = {alpha:g}")
        runs[f"alpha_{alpha:g}"] = run
        # Lipschitz constant of the Jacobian: grad f_i is linear in w with slopes 2 x_ij
        J = [np.asarray(p.jacobian(v)) for v in (w0, 1.5 * w0)]
        betas.append(np.abs(J[1] - J[0]).max() / (0.5 * alpha))
    axes[0].set(xlabel=r"rescaled time $s = 8\alpha^2 t$", ylabel=r"$\|\theta - \theta_{lin}\|$")
    axes[0].legend(frameon=False, fontsize=8)
    axes[1].loglog(alphas, gaps, "o", label="largest over s")
    axes[1].loglog(alphas, gaps[-1] * (alphas / alphas[-1]) ** -4.0, "--", color="#D55E00", label="slope -4")
    axes[1].set(xlabel=r"$\alpha$", ylabel="gap")
    axes[1].legend(frameon=False, fontsize=8)
    ticks_at(axes[1], alphas)
    sigma = [np.linalg.svd(np.asarray(p.jacobian(p.init(a))), compute_uv=False)[-1] for a in alphas]
    smallest = np.linalg.svd(X, compute_uv=False)[-1]
    claims = [
        equal("slope of the gap in alpha", -4.0, np.polyfit(np.log(alphas), np.log(gaps), 1)[0], 0.1, "Remark 9.21"),
        equal(
            "sigma / (2 sqrt(2) alpha s_min(X))",
            1.0,
            np.mean(sigma / (2 * np.sqrt(2) * alphas * smallest)),
            1e-9,
            "Remark 9.21",
        ),
        equal("beta, for any alpha: 2 max |x_ij|", 2 * np.abs(X).max(), np.mean(betas), 1e-9, "Remark 9.21"),
        equal(
            "slope of beta / sigma^2 in alpha",
            -2.0,
            np.polyfit(np.log(alphas), np.log(betas / np.square(sigma)), 1)[0],
            1e-6,
            "Remark 9.21",
        ),
        equal("spread of beta over alpha", 0.0, np.ptp(betas), 1e-9, "Remark 9.21"),
    ]
    return Findings(
        "When does a network train like a kernel machine, and how fast is that regime approached?",
        claims,
        figure,
        runs,
    )
