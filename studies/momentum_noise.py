r"""Momentum with noisy gradients: which equation it follows, to which order, and which has its stationary law.

.. math::

    w_{k+1} = w_k + \beta(w_k - w_{k-1}) - \eta\, g_k(w_k), \qquad \beta = 1 - \gamma\sqrt\eta \quad\text{or fixed}

Panels:

1. Weak error of two means beside the equations of order 1 and 2, against h, where the momentum tends to 1.
2. The same against eta over 1 - beta, where the momentum stays: weights beside order 1, their shadow beside order 2.
3. Relative error of the stationary covariance that three equations give, against h: only the matched one gains an order.
"""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg

import flowdyn as fd
from studies.claims import Findings, equal
from studies.drawing import ticks_at
from studies.networks import toy

A, SIGMA = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 0.5]])
NOISY = fd.problems.Quadratic(A, noise=SIGMA)
GAMMA, BETA, W0 = 1.5, 0.8, [1.0, -1.0]
H, E = 0.1 / 2.0 ** np.arange(4), 0.02 / 2.0 ** np.arange(4)
OBSERVED = {"w1": lambda w: w[0], "square": lambda w: w[0] ** 2}
PAPER, OURS = "Li, Tai and E (2017)", "matched covariance, of our own"
COLORS = ("#0072B2", "#D55E00", "#009E73")
EQUATIONS = {"order 1": (1,), "order 2, plain": (2,), "order 2, matched": (2, "matched")}


def slopes(gaps):
    """Between rungs whose time steps halve."""
    return np.log2(np.divide(gaps[:-1], gaps[1:]))


def order_claims(runs, quick):
    """Weak orders by exact moments: in h = sqrt(eta) where momentum tends to 1, in e = eta/(1 - beta) where it stays."""
    ball = fd.NoisyHeavyBall(NOISY, H[0] ** 2, GAMMA)
    cases = [("heavy ball", ball, p, H**2, None) for p in (1, 2)]
    for name in ("heavy ball",) if quick else ("heavy ball", "Nesterov"):
        for tracked, order in (("w", 1), ("shadow", 2)):
            method = fd.FixedMomentum(NOISY, (1 - BETA) * E[0], BETA, name == "Nesterov", tracked)
            cases.append((f"{name}, fixed beta, {tracked}", method, order, (1 - BETA) * E, None))
    if not quick:
        method = fd.NoisyNesterov(NOISY, H[0] ** 2, GAMMA)
        cases += [("Nesterov", method, p, H**2, cov) for p, cov in ((1, None), (2, "matched"))]
    claims, known = [], {1: (0.985, 0.958), 2: (1.96, 1.985)}
    for name, method, order, etas, covariance in cases:
        more = {"etas": etas, "order": order, "observable": OBSERVED, "covariance": covariance}
        ladder = fd.eta_limit(method, W0, t=2.0, **more)
        runs[f"{name.replace(', ', '_').replace(' ', '_')}_{order}"] = ladder
        if method is ball:
            for value, found, what in zip(known[order], slopes(np.abs(ladder.error.values))[-1], OBSERVED, strict=True):
                claims.append(equal(f"slope of {name}'s E {what}, order {order}", value, found, 1e-3, PAPER))
        for what, found in zip(OBSERVED, ladder.order.values, strict=True):
            claims.append(equal(f"order of {name}'s E {what}, equation of order {order}", order, found, 0.05, PAPER))
    return claims


def mean_claims():
    """Fixed beta on a loss that is not quadratic: means beside the drift of order 2, for the shadow and for w."""
    samples = lambda w: toy(w) + jnp.array([0.1, -0.1]) * w[0]  # noqa: E731 - the noise cancels in the mean
    p, gaps = fd.problems.CustomProblem(toy, np.ones(2), sample_losses=samples), {"shadow": [], "w": []}
    for tracked, found in gaps.items():
        for e in E:
            method = fd.FixedMomentum(p, (1 - BETA) * e, BETA, tracked=tracked)
            drift = fd.ShadowEquation(p, (1 - BETA) * e, BETA, order=2).drift
            runs = [fd.solve(s, [1.5, 0.2], t=1.0, saves=2) for s in (fd.MeanRecursion(method), fd.ODE(drift))]
            found.append(np.abs(runs[0].w[-1].values - runs[1].w[-1].values).max())
    claims = [equal("gap of the shadow on the toy loss, e = 0.0025", 1.167e-4, gaps["shadow"][-1], 6e-8, PAPER)]
    for value, found in zip((2.01, 1.98, 1.99), slopes(gaps["shadow"]), strict=True):
        claims.append(equal("its slope", value, found, 0.006, PAPER))
    return [*claims, equal("last slope of w itself: no order 2", 0.67, slopes(gaps["w"])[-1], 0.006, PAPER)]


def stationary(system, when):
    """Covariance of w after a long time."""
    return system.exact_moments(np.array([*W0, 0.0, 0.0]), np.array([when]))[1][-1][:2, :2]


def law_claims(curves):
    """Stationary laws of the heavy ball: order 2 is 26 % off unless its covariance is matched."""
    claims, laws = [], []
    for h in H:
        ball = fd.NoisyHeavyBall(NOISY, h**2, GAMMA)
        found = {name: stationary(ball.limit(*which), 400.0) for name, which in EQUATIONS.items()}
        kick = np.hstack([-h * A, (1 - GAMMA * h) * np.eye(2)])
        step = np.vstack([np.eye(2, 4) + h * kick, kick])
        noise = np.kron([[h**4, h**3], [h**3, h**2]], SIGMA)
        laws.append(found | {"recursion": scipy.linalg.solve_discrete_lyapunov(step, noise)[:2, :2]})
    known = {"order 1": (0.01937020, -0.01317972, 0.02443932), "order 2, plain": (0.01444, -0.00982, 0.01808)}
    known["recursion"] = (0.01950711, -0.01325314, 0.02443809)
    for name, values in known.items():
        tolerance = 6e-6 if "plain" in name else 6e-9
        for (i, j), value in zip(((0, 0), (0, 1), (1, 1)), values, strict=True):
            what = f"stationary covariance[{i}, {j}] of {name}, eta = 0.01"
            claims.append(equal(what, value, laws[0][name][i, j], tolerance, PAPER))
    for name in EQUATIONS:
        gaps = [np.linalg.norm(law[name] - law["recursion"]) / np.linalg.norm(law["recursion"]) for law in laws]
        curves[name] = np.array(gaps)
    off = 100 * curves["order 2, matched"]
    for h, value, gap in zip(H, (0.27, 0.065, 0.016), off, strict=False):
        claims.append(equal(f"matched equation off, per cent, eta = {h * h:g}", value, gap, 0.05 * value, OURS))
    return [*claims, equal("slope of that in h", 2, slopes(off)[-1], 0.05, OURS)]


def study(quick: bool = False) -> Findings:
    """Weak orders with a momentum that tends to 1 or stays, and stationary laws."""
    runs, curves = {}, {}
    claims = order_claims(runs, quick) + law_claims(curves) + ([] if quick else mean_claims())
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.8), layout="constrained")
    for order, color in zip((1, 2), COLORS, strict=False):
        for what, mark, shown in (("w1", "o-", "E\\,w_1"), ("square", "s--", "E\\,w_1^2")):
            errors = np.abs(runs[f"heavy_ball_{order}"].error.sel(observable=what))
            axes[0].loglog(H, errors, mark, ms=4, color=color, label=f"order {order}, ${shown}$")
        tracked = ("w", "shadow")[order - 1]
        errors = np.abs(runs[f"heavy_ball_fixed_beta_{tracked}_{order}"].error.sel(observable="w1"))
        axes[1].loglog(E, errors, "o-", ms=4, color=color, label=f"{tracked}, order {order}")
    axes[0].set(xlabel=r"$h = \sqrt{\eta}$", ylabel="weak error at $t = 2$", title=r"$\beta = 1 - 1.5\,h$")
    axes[1].set(xlabel=r"$e = \eta/(1 - \beta)$", ylabel="error of $E w_1$ at $t = 2$", title=r"$\beta = 0.8$ stays")
    for (name, gaps), color in zip(curves.items(), COLORS, strict=False):
        axes[2].loglog(H, gaps, "o-", ms=4, color=color, label=name)
    axes[2].set(xlabel=r"$h = \sqrt{\eta}$", ylabel="relative error", title="stationary covariance of $w$")
    for axis, values in zip(axes, (H, E, H), strict=True):
        axis.legend(frameon=False, fontsize=8)
        ticks_at(axis, values)
    question = "Which equation does momentum with noisy gradients follow, and which equation has its stationary law?"
    return Findings(question, claims, figure, runs)
