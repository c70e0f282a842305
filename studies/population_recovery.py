r"""Section 9.2, Theorem 9.13: the population flow of the squared parametrisation recovers the support in log time.

.. math::

    w_j' = (\theta_j^* - w_j^2)\,w_j, \qquad T_\epsilon = \tfrac12\bigl[\operatorname{logit}((1-\epsilon)^2) - \operatorname{logit}(\alpha^2)\bigr]

Panels:

1. A weight on the support of the truth and one off it, over time, from two starts.
2. Steps of gradient descent to 0.99 against one over the start's scale: a straight line in its logarithm.
"""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_most, equal


def study(quick: bool = False) -> Findings:
    """Times to reach the truth, and the entries off the support."""
    truth = np.zeros(10)
    truth[:3] = 1.0
    p = fd.problems.SquaredPopulation(truth)
    claims, runs, steps = [], {}, []
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    # THEORY: 1/2 [logit((1 - eps)^2) - logit(alpha^2)]
    for alpha, eps, expected in ((1e-4, 1e-3, 12.3168940), (1e-2, 1e-6, 11.1663011)):
        observe = {"first": lambda w: w[0]}
        run = fd.solve(
            fd.GradientFlow(p), np.full(10, alpha), t=np.inf, stop={"first": (">", 1 - eps)}, observe=observe, saves=201,
            solver=fd.solvers.Scipy("DOP853", rtol=1e-13),
        )  # fmt: skip
        claims.append(equal(f"time to 1 - {eps:g} from alpha = {alpha:g}", expected, run.t[-1], 1e-6, "Theorem 9.13"))
        bound = alpha / np.sqrt(1 + 2 * alpha**2 * run.t.values)
        off = np.abs(run.w.values[:, 3:] / bound[:, None] - 1).max()
        claims.append(
            at_most(f"off the support: distance from alpha/sqrt(1 + 2 alpha^2 t), alpha = {alpha:g}", 1e-7, off, "9.39")
        )
        axes[0].plot(run.t, run.w[:, 0], label=f"on the support, alpha = {alpha:g}")
        axes[0].plot(run.t, run.w[:, 5], "--", label=f"off the support, alpha = {alpha:g}")
        runs[f"alpha_{alpha:g}".replace("-", "m")] = run
    axes[0].set(xlabel="training time t", ylabel="weight")
    axes[0].legend(frameon=False, fontsize=8, ncol=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    alphas = 10.0 ** -np.arange(1, 7)
    for alpha in alphas:
        gd = fd.solve(
            fd.GradientDescent(p, 0.01), np.full(10, alpha), steps=100_000, stop={"first": (">", 0.99)},
            observe={"first": lambda w: w[0]}, saves=2,
        )  # fmt: skip
        steps.append(int(gd.k[-1]))
    slope = np.polyfit(np.log(1 / alphas), steps, 1)[0]
    claims.append(equal("steps per log(1/alpha), times eta", 1.0, slope * 0.01, 0.02, "Theorem 9.13"))
    # 1/2 logit((1 - eps)^2) grows by 1/2 log(1/eps)
    finer = fd.solve(
        fd.GradientDescent(p, 0.01), np.full(10, 1e-3), steps=100_000, stop={"gap": ("<", 1e-10)},
        observe={"gap": lambda w: 1 - w[0]}, saves=10_000,
    )  # fmt: skip
    epsilons = 10.0 ** -np.arange(2, 10)
    needed = [int(finer.k.values[finer.gap.values < eps][0]) for eps in epsilons]
    slope = np.polyfit(np.log(1 / epsilons), needed, 1)[0]
    claims.append(equal("steps per log(1/eps), times eta", 0.5, slope * 0.01, 0.02, "Theorem 9.13"))
    halved = fd.solve(
        fd.GradientDescent(p, 0.005), np.full(10, 1e-3), steps=100_000, stop={"first": (">", 0.99)},
        observe={"first": lambda w: w[0]}, saves=2,
    )  # fmt: skip
    claims.append(equal("steps at eta/2 over steps at eta", 2.0, int(halved.k[-1]) / steps[2], 0.02, "Theorem 9.13"))
    axes[1].semilogx(1 / alphas, steps, "o-")
    axes[1].set(xlabel=r"$1/\alpha$", ylabel="steps to 0.99 (eta = 0.01)")
    question = (
        "How long does training from alpha take to find a sparse truth, and does what is not in the truth stay small?"
    )
    return Findings(question, claims, figure, runs)
