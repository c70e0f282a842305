r"""Sharpness-aware minimisation and sign descent: which flows they follow, and where there is none of higher order.

.. math::

    w' = -\nabla L(w + \rho\,n), \quad n = \frac{\nabla L}{\|\nabla L\|}; \qquad w' \in -\operatorname{Sign} \nabla L(w)

Panels:

1. Sharpness-aware minimisation at t = 0.4: distance from its flow, and from the flow of the penalised loss, against the step size.
2. Descent along signs in the plane: the recursion zigzags about the flow that slides along a line where one sign changes.
"""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_least, at_most, equal
from studies.drawing import ticks_at
from studies.networks import toy

START, END = [1.5, 0.2], 0.4
SAM_PAPER, SIGN_PAPER = "Compagnoni et al. (2023)", "Filippov (1988)"


def end_errors(ladder):
    """Euclidean distance of recursion and limit at the end, one a rung."""
    return np.linalg.norm(ladder.w.isel(t=-1).values - ladder.w_limit.isel(t=-1).values, axis=-1)


def slope(errors):
    """Of the finest pair of rungs, which halve the step size."""
    return np.log2(errors[-2] / errors[-1])


def sam_claims(p, etas, curves, runs):
    """Radius fixed, or tied to eta; and the flow of the penalised loss where the radius is fixed."""
    claims = []
    cases = [("rho eta", fd.SAM(p, etas[0], 1.0, "eta"), 1, 2.0), ("rho fixed", fd.SAM(p, etas[0], 0.1), 0, 1.0)]
    for name, method, order, expected in cases:
        ladder = fd.eta_limit(method, START, t=END, etas=etas, order=order, saves=2)
        curves[f"radius {name}, limit of order {order}"] = errors = end_errors(ladder)
        runs["sam_" + name.replace(" ", "_")] = ladder
        claims.append(equal(f"slope of SAM's gap, radius {name}", expected, slope(errors), 0.05, SAM_PAPER))
        if order:
            claims.append(equal("its error at eta = 0.005", 3.336e-5, errors[-1], 1e-8, SAM_PAPER))
    sam = cases[1][1]
    penalised = fd.solve(fd.GradientPenaltyFlow(p, norm=0.1), START, t=END, saves=2).w[-1].values
    ends = [fd.solve(sam.with_eta(eta), START, t=END, saves=2).w[-1].values for eta in etas]
    curves["radius fixed, flow of the penalised loss"] = gaps = np.linalg.norm(np.array(ends) - penalised, axis=-1)
    claims.append(equal("gap to the penalised loss at a fixed radius, eta = 0.005", 0.0064, gaps[-1], 1e-4, SAM_PAPER))
    claims.append(at_most("its slope: it does not vanish with eta", 0.05, slope(gaps), SAM_PAPER))
    cycle = fd.solve(fd.SAM(fd.problems.Quadratic(1.0), 0.1, 0.05), [1.0], steps=1000, saves=2)
    amplitude = abs(cycle.w[-1].item())
    claims.append(equal("amplitude of SAM's two-cycle", 0.00263157895, amplitude, 1e-11, "eta lam rho/(2 - eta lam)"))
    return claims


def study(quick: bool = False) -> Findings:
    """Orders of SAM by how its radius is tied to eta; the sliding flow of sign descent."""
    p, q = fd.problems.CustomProblem(toy, jnp.array(START)), fd.problems.Quadratic([[2.0, 0.5], [0.5, 1.0]])
    etas, curves, runs = [0.04, 0.02, 0.01, 0.005], {}, {}
    claims = sam_claims(p, etas, curves, runs)
    flow = fd.solve(fd.SignFlow(q), [1.0, 0.4], t=1.5, saves=301)
    t = flow.t.values
    exact = np.stack([np.maximum(1 - t, 0), np.where(t < 0.6, 0.4 - t, -0.5 * np.maximum(1 - t, 0))], axis=-1)
    off = np.abs(flow.w.values - exact).max()
    claims.append(at_most("distance of the sliding flow from Filippov's", 1e-5, off, SIGN_PAPER))
    shares = []
    for eta in etas[: 3 if quick else 4]:
        run = fd.solve(fd.SignDescent(q, eta), [1.0, 0.4], t=1.5)
        near = np.stack([np.interp(run.t, t, exact[:, i]) for i in range(2)], axis=-1)
        shares.append(np.abs(run.w.values - near).max() / eta)
    claims.append(at_most("largest gap of sign descent over eta", 2.0, max(shares), SIGN_PAPER))
    claims.append(at_least("its smallest: no higher order", 0.2, min(shares), SIGN_PAPER))
    runs["sign_descent"], runs["sign_flow"] = fd.solve(fd.SignDescent(q, 0.08), [1.0, 0.4], t=1.5), flow

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for (name, errors), color in zip(curves.items(), ("#0072B2", "#009E73", "#D55E00"), strict=True):
        axes[0].loglog(etas, errors, "o-", color=color, label=name)
    axes[0].set(xlabel=r"step size $\eta$", ylabel=r"$\|w_\eta - w\|$ at $t = 0.4$", title="SAM")
    axes[0].legend(frameon=False, fontsize=8)
    axes[0].set_ylim(1e-5, 0.2)
    ticks_at(axes[0], np.array(etas))
    axes[1].plot(*runs["sign_descent"].w.values.T, ".-", color="#0072B2", lw=0.8, label=r"recursion, $\eta = 0.08$")
    axes[1].plot(*flow.w.values.T, color="#D55E00", label="sliding flow")
    a = np.linspace(0, 1, 2)
    axes[1].plot(a, -0.5 * a, ":", color="#666666", label=r"$\partial_2 L = 0$")
    axes[1].set(xlabel="$w_1$", ylabel="$w_2$", title="descent along signs")
    axes[1].legend(frameon=False, fontsize=8)
    question = "Which flows do sharpness-aware minimisation and sign descent follow, and to which order?"
    return Findings(question, claims, figure, runs)
