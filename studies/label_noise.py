r"""Section 9.5, item 3: noise on the labels finds the sparse solution that gradient descent misses.

.. math::

    w_{k+1} = w_k - \eta \nabla \ell(w_k; y + \epsilon_k), \qquad \frac{dY}{d\tau} = -\frac{\sigma^2}{8B} P_T \nabla \operatorname{tr} H(Y), \qquad \tau = \eta^2 k

Panels:

1. l1 norm of the predictor under label noise (four runs) and under gradient descent, step by step.
2. Mean trace of the Hessian over many runs at two step sizes, beside the slow flow, on its own clock.
"""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_least, at_most


def study(quick: bool = False) -> Findings:
    """Label-noise SGD and gradient descent from alpha = 0.5, and the slow flow of tr H."""
    rng = np.random.default_rng(0)
    X, truth = rng.standard_normal((40, 100)), np.zeros(100)
    truth[:3] = 1.0
    p = fd.problems.SquaredRegression(X, X @ truth)
    w0 = p.init(0.5)
    noisy = fd.solve(fd.LabelNoiseSGD(p, 0.01, 1.0, 4), w0, steps=300_000, saves=201, realizations=4, seed=1)
    plain = fd.solve(fd.GradientDescent(p, 0.01), w0, steps=300_000, saves=201)
    norms = np.abs(noisy.theta.values).sum(axis=-1)
    still = np.abs(plain.theta.values).sum(axis=-1)
    claims = [
        at_most("l1 norm under label noise, largest of 4 members (truth 3)", 3.3, norms[:, -1].max(), "9.5 item 3"),
        at_least("l1 norm under label noise, smallest", 2.9, norms[:, -1].min(), "9.5 item 3"),
        at_least("l1 norm of gradient descent", 10.0, still[-1], "9.5 item 3"),
    ]
    # the slow flow on a smaller problem: the mean of tr H over many runs, at tau = eta^2 k = 1
    g = np.random.default_rng(0)
    A, b = g.standard_normal((6, 10)), 0.5 + g.random(10)
    small = fd.problems.SquaredRegression(A, A @ (b * b))
    weights = (A**2).mean(axis=0)
    slow = fd.solve(fd.LabelNoiseFlow(small, 1.0), b, t=1.0, saves=51)
    prediction = slow.w.values**2 @ weights
    etas, gaps, runs = (0.02, 0.01), [], {"label_noise": noisy, "descent": plain, "slow_flow": slow}
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    axes[1].plot(slow.t, prediction, color="black", label="slow flow")
    for eta in etas:
        run = fd.solve(
            fd.LabelNoiseSGD(small, eta, 1.0), b, steps=round(1 / eta**2), saves=51, realizations=600 if quick else 2000, seed=2,
            observe={"trace": lambda w, v=weights: (w * w) @ v}, observe_only=True,
        )  # fmt: skip
        mean = run.trace.values.mean(axis=0)
        gaps.append(abs(mean[-1] - prediction[-1]) / (prediction[0] - prediction[-1]))
        axes[1].plot(run.k * eta**2, mean, "--", label=rf"SGD, $\eta = {eta:g}$ (mean)")
    claims += [
        at_most("relative deviation of mean tr H from the slow flow, eta = 0.01", 0.15, gaps[1], "9.5 item 3"),
        at_most("deviation at eta = 0.01 over that at 0.02", 0.75, gaps[1] / gaps[0], "9.5 item 3"),
    ]
    axes[0].semilogy(noisy.k, norms.T, color="#0072B2", linewidth=0.8)
    axes[0].plot([], [], color="#0072B2", label="label noise")
    axes[0].semilogy(plain.k, still, color="#D55E00", label="gradient descent")
    axes[0].axhline(3, color="#666666", linestyle=":", label="truth")
    axes[0].set_xticks(noisy.k.values[-1] * np.array([0, 1 / 3, 2 / 3, 1]))
    axes[0].set(xlabel="step k", ylabel=r"$\|\theta\|_1$")
    axes[1].set(xlabel=r"$\tau = \eta^2 k$", ylabel=r"mean of $\sum_j \omega_j w_j^2 \propto$ tr H")
    for axis in axes:
        axis.legend(frameon=False, fontsize=8)
    return Findings("Can noise alone find the sparse solution, and along which path?", claims, figure, runs)
