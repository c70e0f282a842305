r"""Section 6 of the theory notes: gradient descent and its modified flows, orders 1 to 4, and where the limit fails.

.. math::

    \sup_t \|w_\eta(t) - w_p(t)\| = O(\eta^{p+1}), \qquad w_p' = -\nabla L(w_p) + O(\eta), \qquad \eta < \frac{2}{\lambda_{\max}}

Panels:

1. Largest distance of gradient descent from its flows of order 0 to 3, against the step size.
2. The steep coordinate of a quadratic below, at and above the stability threshold, step by step.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_most, equal
from studies.drawing import ticks_at


def loss(w):
    """Loss of the notes: 1/2 (w0^2 w1 - 1)^2 + 0.1 sum w^4."""
    return 0.5 * (w[0] ** 2 * w[1] - 1) ** 2 + 0.1 * (w[0] ** 4 + w[1] ** 4)


def study(quick: bool = False) -> Findings:
    """Ladders beside flows of order 0 to 3; a prediction at eta = 1e-8; the stability threshold."""
    p = fd.problems.CustomProblem(loss, np.array([1.2, 0.3]))
    etas = 2.0 ** -np.arange(4, 10)
    claims, runs = [], {}
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for order, colour in zip(range(4), ("#0072B2", "#E69F00", "#009E73", "#D55E00"), strict=True):
        ladder = fd.eta_limit(fd.GradientDescent(p, etas[0]), p.init(), t=2.0, etas=etas, order=order)
        slope = np.log2(ladder.sup_error[-2] / ladder.sup_error[-1])
        claims.append(
            equal(f"slope beside the flow of order {order}, at eta = 2^-9", order + 1, slope, 0.05, "section 6")
        )
        axes[0].loglog(etas, ladder.sup_error, "o-", color=colour, label=f"order {order}: slope {float(slope):.3f}")
        runs[f"order_{order}"] = ladder
    axes[0].set(xlabel=r"step size $\eta$", ylabel=r"$\sup_t \|w_\eta(t) - w(t)\|$")
    axes[0].legend(frameon=False, fontsize=8)
    ticks_at(axes[0], etas, "{:.2g}")
    # prediction at a tiny eta, against the closed form of a quadratic: (1 - eta lam)^(t/eta)
    q = fd.problems.CustomProblem(lambda w: 0.5 * w[0] ** 2 + w[1] ** 2, np.array([1.0, 1.0]))
    far = fd.fast_forward(fd.GradientDescent(q, 1e-8), q.init(), t=1.0)
    truth = np.exp(np.log1p(-1e-8 * np.array([1.0, 2.0])) * 1e8)
    claims.append(
        at_most(
            "error of the prediction of 1e8 steps at eta = 1e-8",
            1e-12,
            np.abs(far.w.values.ravel() - truth).max(),
            "section 6",
        )
    )
    # above 2/lambda_max no flow follows
    quadratic = fd.problems.Quadratic(np.diag([1.0, 10.0]))
    for eta, colour in ((0.19, "#0072B2"), (0.2, "#666666"), (0.205, "#D55E00")):
        run = _run(quadratic, eta)
        axes[1].plot(run.k, run.w[:, 1], color=colour, label=rf"$\eta\lambda$ = {10 * eta:g}")
        runs[f"eta_{eta:g}".replace(".", "p")] = run
        factor = abs(float(run.w[-1, 1])) ** (1 / 40)
        claims.append(
            equal(
                f"growth per step of the steep mode at eta lambda = {10 * eta:g}",
                abs(1 - 10 * eta),
                factor,
                1e-9,
                "section 6",
            )
        )
    axes[1].set(xlabel="step k", ylabel="steep coordinate")
    axes[1].legend(frameon=False, fontsize=8)
    return Findings(
        "How fast does gradient descent approach its flow, can that be made faster, and where does it fail?",
        claims,
        figure,
        runs,
    )


def _run(problem, eta):
    with warnings.catch_warnings():  # the step above the threshold is the point here
        warnings.simplefilter("ignore", fd.FlowdynWarning)
        return fd.solve(fd.GradientDescent(problem, eta), [1.0, 1.0], steps=40)
