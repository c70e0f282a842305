r"""Deep linear networks: modes that wait and then switch on, the exact flow of two layers, and what descent conserves.

.. math::

    u' = N\,u^{2 - 2/N}\,(s - u), \qquad W_{j+1}^\top W_{j+1} - W_j W_j^\top = \mathrm{const}

Panels:

1. Strength of three singular values as they are learnt, for two and three layers; dots: half-times by an integral.
2. Gradient descent from a balanced start: imbalance and distance from the exact flow at t = 4, against the step size.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import expm

import flowdyn as fd
from studies.claims import Findings, at_most, equal
from studies.drawing import ticks_at

WHERE = "deep linear networks"
COLOURS = ("#0072B2", "#E69F00", "#009E73")
TIGHT = fd.solvers.Scipy("DOP853", rtol=1e-13)


def half_times():
    """One mode, s = 2 from u0 = .01: time at which u = 1."""
    claims, runs = [], {}
    for depth, expected in ((2, 1.3233262062), (3, 1.9775585796)):
        p = fd.problems.DeepLinear([[2.0]], widths=[1] * (depth - 1))
        solver = None if depth == 2 else TIGHT
        strength = {"strength": lambda w: math.prod(w.values()).sum()}
        flow, start, stop = fd.GradientFlow(p), p.aligned(0.01), {"strength": (">", 1.0)}
        run = fd.solve(flow, start, t=np.inf, observe=strength, stop=stop, solver=solver)
        claims.append(equal(f"half-time of one mode in {depth} layers", expected, run.t_stop, 1e-10, WHERE))
        by_integral = fd.theory.deep_linear_time(depth, 2.0, 0.01, 1.0)
        claims.append(equal("the same by the integral of its equation", expected, by_integral, 1e-10, WHERE))
        runs[f"mode_{depth}"] = run
    return claims, runs


def modes(axis):
    """Three singular values in turn, two layers and three, from strengths of 1e-3."""
    rng = np.random.default_rng(4)
    s = np.array([3.0, 2.0, 1.0])
    U, V = (np.linalg.qr(rng.standard_normal((n, 3)))[0] for n in (4, 5))
    claims, runs = [], {}
    for depth, style in ((2, "-"), (3, "--")):
        p = fd.problems.DeepLinear((U * s) @ V.T, widths=[4] * (depth - 1))
        solver = None if depth == 2 else fd.solvers.Scipy("DOP853", rtol=1e-10)
        run = fd.solve(fd.GradientFlow(p), p.aligned(1e-3 * np.ones(3)), t=12.0, saves=241, solver=solver)
        strengths = np.einsum("om,tof,fm->tm", U, run.theta.values, V)
        late = 0.0
        for i in range(3):
            axis.plot(run.t, strengths[:, i], style, color=COLOURS[i], label=f"s = {s[i]:g}, {depth} layers")
            expected = fd.theory.deep_linear_time(depth, s[i], 1e-3, s[i] / 2)
            axis.plot(expected, s[i] / 2, "o", color=COLOURS[i], markersize=5)
            late = max(late, abs(np.interp(s[i] / 2, strengths[:, i], run.t) - expected))
        claims.append(at_most(f"half-times of three modes, {depth} layers: largest deviation", 2e-3, late, WHERE))
        runs[f"modes_{depth}"] = run
    axis.set(xlabel="training time t", ylabel="strength of a mode", ylim=(-0.1, 3.4))
    axis.legend(frameon=False, fontsize=8, ncols=2, loc="upper right", bbox_to_anchor=(1.0, 0.87))
    return claims, runs


def exact_flow():
    """The formula for Q Q^T by exponentials of matrices, and an adaptive solver for the layers themselves."""
    S = np.random.default_rng(2).standard_normal((4, 4))
    p = fd.problems.DeepLinear(S, widths=[3])
    w0 = p.init(0.3, seed=1)
    run = fd.solve(fd.GradientFlow(p), w0, t=3.0, saves=13, solver=fd.solvers.Exact())
    F, (W1, W2) = np.block([[np.zeros((4, 4)), S.T], [S, np.zeros((4, 4))]]), map(np.asarray, p.layers(w0))
    Q0, E = np.concatenate([W1.T, W2]), expm(3.0 * F)
    integral = np.linalg.solve(F, E @ E - np.eye(8)) / 2
    formula = E @ Q0 @ np.linalg.solve(np.eye(3) + Q0.T @ integral @ Q0, Q0.T @ E)
    Q = np.concatenate([run.W1.values[-1].T, run.W2.values[-1]])
    numeric = fd.solve(fd.GradientFlow(p), w0, t=run.t.values, solver=TIGHT)
    apart = max(float(np.abs(run[name] - numeric[name]).max()) for name in ("W1", "W2"))
    sym = fd.problems.SymmetricFactorization(S + S.T)
    end = fd.solve(fd.GradientFlow(sym), sym.init(0.1, seed=0), t=200.0, saves=3)
    values, vectors = np.linalg.eigh(S + S.T)
    best = (vectors * np.maximum(values, 0.0)) @ vectors.T
    claims = [
        at_most("exact flow: distance of Q Q^T from its formula", 1e-10, np.abs(Q @ Q.T - formula).max(), WHERE),
        at_most("exact flow: distance of W1, W2 from an adaptive solver", 1e-11, apart, WHERE),
        at_most("symmetric flow: distance of its end from the positive part of F", 1e-9, np.abs(end.theta[-1] - best).max(), WHERE),
    ]  # fmt: skip
    return claims, {"exact": run, "symmetric": end}


def descent(axis):
    """The imbalance that the flow conserves, along gradient descent from a balanced start."""
    S = np.random.default_rng(2).standard_normal((3, 4))
    p = fd.problems.DeepLinear(S, widths=[3])
    w0, etas, drifts, runs = p.init(0.5, seed=1), 0.1 / 2.0 ** np.arange(5), [], {}
    for i, eta in enumerate(etas):
        run = fd.solve(fd.GradientDescent(p, eta), w0, t=4.0, observe=fd.observables.imbalance(p))
        drifts.append(float(run.imbalance[-1]))
        runs[f"descent_{i}"] = run
    first = fd.solve(fd.GradientDescent(p, 0.1), w0, steps=1, observe=fd.observables.imbalance(p))
    (W1, W2), rest = map(np.asarray, p.layers(w0)), np.asarray(p.theta(w0)) - S
    change = 0.1**2 * ((rest @ W1.T).T @ (rest @ W1.T) - (W2.T @ rest) @ (W2.T @ rest).T)
    ladder = fd.eta_limit(fd.GradientDescent(p, 0.1), w0, t=4.0, etas=etas)
    runs["ladder"] = ladder
    axis.loglog(etas, drifts, "o", color=COLOURS[0], label="imbalance at t = 4")
    axis.loglog(etas, ladder.sup_error, "s", color=COLOURS[1], label="distance from the exact flow")
    for values, text in ((drifts, "slope 1"), (ladder.sup_error.values, None)):
        axis.loglog(etas, values[-1] * etas / etas[-1], "--", color="#666666", linewidth=1, label=text)
    axis.set(xlabel=r"step size $\eta$", ylabel="gradient descent from a balanced start")
    axis.legend(frameon=False, fontsize=8)
    ticks_at(axis, etas, "{:.3g}")
    axis.set_yticks([0.005, 0.01, 0.02, 0.04], ["0.005", "0.01", "0.02", "0.04"])
    off = np.abs(first.imbalance_1[-1] - first.imbalance_1[0] - change).max()
    claims = [
        at_most("change of the imbalance in one step, less eta^2 (G2^T G2 - G1 G1^T)", 1e-15, off, WHERE),
        equal("order in eta of the imbalance at t = 4", 1.0, np.log2(drifts[-2] / drifts[-1]), 0.05, WHERE),
        equal("order of descent beside the exact flow", 1.0, ladder.order, 0.05, WHERE),
    ]
    return claims, runs


def study(quick: bool = False) -> Findings:
    """Half-times, modes, exact flows, imbalance."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    parts = [half_times(), modes(axes[0]), exact_flow(), descent(axes[1])]
    question = "When does a deep linear network learn which mode, and what do its layers conserve?"
    claims = [claim for part, _ in parts for claim in part]
    return Findings(question, claims, figure, {name: run for _, runs in parts for name, run in runs.items()})
