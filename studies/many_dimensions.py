r"""Many dimensions: one-pass SGD at step gamma/d, its homogenized equation, and the ladder over d.

.. math::

    dX = -\nabla L(X)\,dt + \sqrt{2\eta L(X)}\,H^{1/2}\,dW, \qquad \eta = \gamma/d, \quad t = \eta k

Panels:

1. Excess risk of single runs of SGD in three dimensions, which gather about the solution of Volterra's equation.
2. Gap between the expected risks of SGD and of its equation, against one over the dimension: slope 1.
"""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_most, equal
from studies.drawing import ticks_at

WHERE = "homogenized SGD"
SIGMA, WHEN = 0.1, np.array([1, 5, 20])  # k/d
# excess risks R/2 in 512 dimensions: exact, homogenized
RISKS = {
    0.5: ([0.14353646, 0.02557564, 0.00224895], [0.14352188, 0.02556781, 0.00224815]),
    1.0: ([0.10096892, 0.01060716, 0.00212389], [0.10089878, 0.01059285, 0.0021207]),
}
COLOURS = ("#E69F00", "#009E73", "#0072B2")


def make(d, gamma):
    """SGD and its equation for l_i = i/d, m_i(0) = 1/d."""
    p = fd.problems.Streaming(np.arange(1, d + 1) / d, np.ones(d) / np.sqrt(d), SIGMA)
    return fd.SGD(p, gamma / d), fd.HomogenizedSGD(p, gamma / d), p.init()


def numbers():
    """Risks in 512 dimensions by the recursion of moments, by the equation's own, and by Volterra's equation."""
    d = 512
    l, m = np.arange(1, d + 1) / d, np.ones(d) / d  # noqa: E741
    claims = []
    for gamma, (exact, homogenized) in RISKS.items():
        eta, t = gamma / d, gamma * WHEN
        found = {
            "SGD": (exact, fd.theory.streaming_moments(l, m, eta, SIGMA, WHEN * d) @ l / 2),
            "homogenized SGD": (homogenized, fd.theory.homogenized_moments(l, m, eta, SIGMA, t) @ l / 2),
            "Volterra's equation": (homogenized, fd.theory.volterra_risk(l, m, eta, SIGMA, t) / 2),
        }
        for name, (expected, risks) in found.items():
            for when, one, other in zip(WHEN, expected, risks, strict=True):
                what = f"excess risk of {name}, gamma = {gamma:g}, k/d = {when}"
                claims.append(equal(what, one, other, 5.1e-9, WHERE))
        mean = l.mean()
        floor = gamma * mean * SIGMA**2 / (2 * (2 - gamma * mean))
        rest = fd.theory.homogenized_moments(l, m, eta, SIGMA, [1e6])[0] @ l / 2
        claims.append(equal(f"floor of the excess risk, gamma = {gamma:g}", floor, rest, 1e-12, WHERE))
    return claims


def paths(axis, quick):
    """Single runs concentrate on the risk of the limit as d grows."""
    claims, runs, gamma, members = [], {}, 1.0, 16
    t = np.unique(np.concatenate([np.arange(0, 11) / 10, np.linspace(1, 20, 39).round(1)]))
    dims = (10, 50, 200) if quick else (10, 100, 1000)
    for d, colour in zip(dims, COLOURS, strict=True):
        sgd, _, w0 = make(d, gamma)
        run = fd.solve(sgd, w0, t=t, realizations=members, seed=1)
        runs[f"sgd_{d}"] = run.isel(realization=slice(0, 4))
        risk = run.excess_risk.values
        axis.semilogy(t, risk[:3].T, color=colour, linewidth=0.9, alpha=0.8, label=[f"SGD, d = {d}", None, None])
        l, m = np.arange(1, d + 1) / d, np.ones(d) / d  # noqa: E741
        exact = fd.theory.streaming_moments(l, m, gamma / d, SIGMA, np.rint(t * d).astype(int)) @ l / 2
        at = np.searchsorted(t, [1.0, 5.0])
        score = np.abs(risk.mean(axis=0) - exact)[at] / (risk.std(axis=0)[at] / np.sqrt(members - 1))
        claims.append(at_most(f"mean risk of {members} runs, d = {d}: largest t-score", 4.5, score.max(), WHERE))
    smooth = fd.theory.volterra_risk(l, m, gamma / dims[-1], SIGMA, t) / 2
    axis.semilogy(t, smooth, "k--", linewidth=1.6, label="Volterra's equation")
    axis.set(xlabel=r"training time $t = \gamma k/d$", ylabel="excess risk")
    axis.legend(frameon=False, fontsize=8)
    spread = [float(runs[f"sgd_{d}"].excess_risk.sel(t=1.0).std()) for d in dims]
    what = f"spread of the risk at t = 1: d = {dims[-1]} over d = {dims[0]}, times the root of their ratio"
    claims.append(at_most(what, 3.0, spread[-1] / spread[0] * np.sqrt(dims[-1] / dims[0]), WHERE))
    return claims, runs


def ladders(axis, quick):
    """The gap of the risks over d."""
    dims = [16, 32, 64, 128] if quick else [32, 64, 128, 256, 512]
    claims, runs = [], {}
    for (gamma, when), colour in zip([(0.5, 1), (1.0, 1), (1.0, 20)], COLOURS, strict=True):
        ladder = fd.dimension_limit(lambda d, gamma=gamma: make(d, gamma), dims, t=gamma * when)
        what = f"order in 1/d of the gap, gamma = {gamma:g}, k/d = {when}"
        claims.append(equal(what, 1.0, ladder.order[0], 0.05, WHERE))
        runs[f"ladder_{gamma:g}_{when}".replace(".", "p")] = ladder
        text = rf"$\gamma$ = {gamma:g}, t = {gamma * when:g}: order {float(ladder.order[0]):.3f}"
        gap = np.abs(ladder.error[:, 0].values)
        axis.loglog(ladder.h, gap, "o", color=colour, label=text)
        slope = "slope 1" if when == WHEN[-1] else None
        axis.loglog(ladder.h, gap[-1] * ladder.h / ladder.h[-1], "--", color=colour, linewidth=1, label=slope)
    axis.set(xlabel="1/d", ylabel="gap of the risks, SGD less its equation")
    axis.legend(frameon=False, fontsize=8)
    ticks_at(axis, ladder.h.values)
    axis.set_xticks(ladder.h.values, [f"1/{d}" for d in dims])
    return claims, runs


def study(quick: bool = False) -> Findings:
    """Numbers in 512 dimensions, runs of SGD, and ladders over d."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    claims = numbers()
    seen, runs = paths(axes[0], quick)
    fitted, more = ladders(axes[1], quick)
    question = "What does SGD that sees every sample once become as the dimension grows, at step size gamma/d?"
    return Findings(question, claims + seen + fitted, figure, runs | more)
