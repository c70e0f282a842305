r"""Section 9.2.4, Theorem 9.14, Lemmas 9.10-9.12, 9.16, 9.17: the signal grows while the noise stays small, bound by bound.

.. math::

    \frac{d}{dt}\log r = 1 - r^2 + O(8\delta), \qquad \|\zeta(t)\|_\infty \le 2\alpha \ \text{ while } t \le \text{window}

Panels:

1. Signal and noise over time where the lemmas apply; the shaded window is theirs.
2. What the finite sample adds to the gradient of the population, below its bounds.
3. Signal and noise on Gaussian data, where no lemma applies and the signal wins all the same.
"""

import itertools

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from flowdyn import theory
from studies.claims import Findings, at_least, at_most, not_applicable


def simplex(n: int):
    """X (n, n + 1) whose columns have squared norm n and inner products -1: fewer samples than features, delta_2 = 1/n."""
    d = n + 1
    values, vectors = np.linalg.eigh((1 + 1 / n) * np.eye(d) - np.ones((d, d)) / n)
    return np.sqrt(n) * (vectors[:, 1:] * np.sqrt(values[1:])).T


def study(quick: bool = False) -> Findings:
    """The decomposition along flow and descent, on data whose window is not empty and on Gaussian data."""
    claims, runs = _isometry_claims(), {}
    g = np.random.default_rng(7)
    cases = {
        "simplex n = 200, d = 201": (simplex(200), 0.01),
        "Gaussian n = 60000, d = 20": (g.standard_normal((60_000, 20)), 0.05),
    }
    shown = None
    for name, (X, alpha) in cases.items():
        more, flow, bound = _in_the_window(name, X, alpha)
        claims += more
        runs[name.split()[0].lower()] = flow
        shown = shown or (flow, bound)
    G = np.random.default_rng(0).standard_normal((40, 100))
    gauss, q = theory.rip_constant(G, 2).delta, fd.problems.SquaredRegression(G, G[:, 0])
    run = fd.solve(fd.GradientFlow(q), q.init(0.01), t=12.0, observe=fd.observables.signal_noise(q))
    limits = theory.recovery_bounds(gauss, 0.01, 100, run.t, run.signal, run.noise_max, run.noise_norm)
    claims += [
        at_most("Gaussian n = 40, d = 100: largest ||u|| over its bound", 1 + 1e-9, (run.u_max / limits.u).max(), "9.54"),
        at_most("Gaussian n = 40, d = 100: largest ||v|| over its bound", 1 + 1e-9, (run.v_max / limits.v).max(), "9.57"),
        not_applicable("Gaussian n = 40, d = 100: noise below 2 alpha at t = 12", f"delta_2 = {gauss:.2f}, window ends at {limits.window:.2g}", "Lemma 9.16"),
        at_least("Gaussian: signal at t = 12, although no lemma says so", 0.9, run.signal[-1], "Theorem 9.14"),
    ]  # fmt: skip
    question = "Why does the signal win? Signal, noise and every bound of the proof, where the proof applies and where it does not."
    return Findings(question, claims, _draw(*shown, run, limits), runs | {"gaussian_small": run})


def _in_the_window(name: str, X, alpha: float):
    """Every bound along flow and descent; outside the window they are not looked at."""
    delta, d, eta = theory.rip_constant(X, 2).delta, X.shape[1], 0.02
    p = fd.problems.SquaredRegression(X, X[:, 0])
    window, seen = theory.lemma_window(delta, alpha, d), fd.observables.signal_noise(p)
    solver = fd.solvers.Scipy("LSODA", rtol=1e-10)
    flow = fd.solve(fd.GradientFlow(p), p.init(alpha), t=2 * window, saves=401, observe=seen, solver=solver)
    bound = theory.recovery_bounds(delta, alpha, d, flow.t, flow.signal, flow.noise_max, flow.noise_norm)
    inside, slack = bound.applies, 1 + 1e-9
    drift = np.abs(flow.u.values[:, 0] - flow.v.values[:, 0])
    half = float(flow.t[np.argmax(flow.signal.values > 0.5)])
    error = float(((flow.theta.values[np.flatnonzero(inside)[-1]] - np.eye(d)[0]) ** 2).sum())
    steps = int(window / eta)
    gd = fd.solve(fd.GradientDescent(p, eta), p.init(alpha), steps=steps, saves=steps + 1, observe=seen)
    r, zeta = gd.signal.values, gd.noise_max.values
    off = np.abs(r[1:] - (1 + eta * (1 - r[:-1] ** 2)) * r[:-1]) / (8 * eta * delta * r[:-1])
    claims = [
        at_least("window's end over the time to r = 1/2", 1.0, window / half, "Lemma 9.16"),
        at_most("largest ||u|| over its bound, any time", slack, (flow.u_max / bound.u).max(), "9.54"),
        at_most("largest ||v|| over its bound, any time", slack, (flow.v_max / bound.v).max(), "9.57"),
        at_most("largest noise entry over 2 alpha, in the window", 1.0, (flow.noise_max / bound.noise_max)[inside].max(), "Lemma 9.16"),
        at_most("||noise||^2 in the window", 0.5, (flow.noise_norm**2)[inside].max(), "Lemma 9.16"),
        at_most("|d log r/dt - (1 - r^2)| over 8 delta, in the window", 1.0, (drift / bound.drift)[inside].max(), "Lemma 9.17"),
        at_most("time to r = 1/2 over log(1/(2 alpha)) / (3/4 - 8 delta)", 1.0, half * (0.75 - 8 * delta) / np.log(0.5 / alpha), "9.81"),
        at_most("descent: |r+ - (1 + eta (1 - r^2)) r| over 8 eta delta r, each step", 1.0, off.max(), "Lemma 9.17"),
        at_most("descent: growth of the noise a step over 1 + 8 eta delta", 1.0, (zeta[1:] / zeta[:-1]).max() / (1 + 8 * eta * delta), "9.70"),
    ]  # fmt: skip
    # what is left of 1 - r^2 decays at rate 2 at least, down to 8 delta, by (9.85)
    left = 8 * delta + np.exp(-(window - half))
    ratio = error / (left**2 + d * (2 * alpha) ** 4)
    claims.append(at_most("squared error at the window's end over its bound", 1.0, ratio, "Theorem 9.14"))
    return [c._replace(what=f"{name}: {c.what}") for c in claims], flow, bound


def _isometry_claims():
    """Lemma 9.11 and Corollary 9.12 in their true form over every pair of supports, and the printed form's failure."""
    g = np.random.default_rng(5)
    A, ratios = g.standard_normal((30, 8)), []
    for S in itertools.combinations(range(8), 2):
        v, w = np.zeros(8), np.zeros(8)
        v[list(S)], w[[7 - i for i in S]] = g.standard_normal(2), g.standard_normal(2)
        for found in (theory.inner_product_distortion(A, v, w), theory.sup_distortion(A, v)):
            ratios.append(found.value / found.bound)
    twin = theory.inner_product_distortion([[1.0, 1.0], [1.0, 1.0]], [1.0, 0.0], [0.0, 1.0])
    one = theory.rip_constant([[1.0, 1.0], [1.0, 1.0]], 1).delta
    return [
        at_most("distortion over its bound, 28 pairs of 2-sparse vectors", 1 + 1e-9, max(ratios), "Lemma 9.11, Corollary 9.12 with delta_2r, delta_r+1"),
        at_least("two equal columns: cross term minus 4 delta_1 (the printed bound)", 1.0, twin.value - 4 * one, "Lemma 9.11 as printed fails for r = 1"),
    ]  # fmt: skip


def _draw(flow, bound, gauss, limits):
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.8), layout="constrained")
    axes[0].semilogy(flow.t, flow.signal, label="signal r")
    axes[0].semilogy(flow.t, flow.noise_max, color="#009E73", label=r"noise $\|\zeta\|_\infty$")
    axes[0].semilogy(flow.t, bound.noise_max, "--", color="#D55E00", label=r"$2\alpha$ (Lemma 9.16)")
    axes[0].set_title("simplex, n = 200, d = 201", fontsize=10)
    for name, limit, colour in (("u_max", bound.u, "#0072B2"), ("v_max", bound.v, "#009E73")):
        axes[1].semilogy(flow.t, flow[name], color=colour, label=rf"$\|{name[0]}\|_\infty$")
        axes[1].semilogy(flow.t, np.maximum(limit, 1e-12), "--", color=colour, alpha=0.6, label="its bound")
    axes[1].set_title("what the gradient adds to the population's", fontsize=10)
    for axis in axes[:2]:
        axis.axvspan(0, bound.window, color="#56B4E9", alpha=0.13, label="window")
    axes[2].semilogy(gauss.t, gauss.signal, label="signal r")
    axes[2].semilogy(gauss.t, gauss.noise_max, color="#009E73", label=r"noise $\|\zeta\|_\infty$")
    axes[2].axvspan(0, limits.window, color="#56B4E9", alpha=0.5, label=f"window: t < {limits.window:.2g}")
    axes[2].set_title("Gaussian, n = 40, d = 100: no lemma, same end", fontsize=10)
    for axis in axes:
        axis.set_xlabel("training time t")
        axis.legend(frameon=False, fontsize=8)
    return figure
