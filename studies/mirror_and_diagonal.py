r"""A diagonal network is mirror descent in the hypentropy: the same flow, other recursions; and where the flow ends.

.. math::

    \frac{d}{dt}\nabla\varphi(\theta) = -\nabla L(\theta), \qquad \varphi = \text{hypentropy with } \beta = 2\alpha^2, \ \text{at four times the speed}

Panels:

1. Six coordinates of the network's predictor, and the mirror flow at four times the speed on top of them.
2. Distance at t = 1 between the two recursions, against the step size: slope 1.
"""

import matplotlib.pyplot as plt
import numpy as np
import scipy.optimize

import flowdyn as fd
from studies.claims import Findings, at_most, equal
from studies.drawing import label_between, ticks_at

ALPHA = 0.3
PAPER, BREGMAN = "Ghai, Hazan and Singer (2020)", "Gunasekar et al. (2018)"


def flows(X, y, times):
    """Predictor of the network's flow, and of the mirror flow at 4 times the speed, in steps short enough for rounding."""
    linear, network = fd.problems.LinearRegression(X, y), fd.problems.DiagonalNetwork(X, y)
    fine, coarse = (fd.solvers.Scipy("DOP853", rtol=1e-12, atol=1e-15, max_step=s) for s in (0.02, 0.08))
    one = fd.solve(fd.GradientFlow(network), network.init(ALPHA), t=times, solver=fine)
    two = fd.solve(fd.MirrorFlow(linear, "hypentropy", 2 * ALPHA**2), np.zeros(X.shape[1]), t=4 * times, solver=coarse)
    return one, two


def recursion_gaps(X, y, etas):
    """Distance at t = 1 between gradient descent of the network and mirror descent with 4 times its step size."""
    linear, network, gaps = fd.problems.LinearRegression(X, y), fd.problems.DiagonalNetwork(X, y), []
    for eta in etas:
        one = fd.solve(fd.GradientDescent(network, eta), network.init(ALPHA), t=1.0, saves=2)
        mirror = fd.MirrorDescent(linear, 4 * eta, "hypentropy", 2 * ALPHA**2)
        two = fd.solve(mirror, np.zeros(X.shape[1]), t=4.0, saves=2)
        gaps.append(np.abs(one.theta[-1].values - two.w[-1].values).max())
    return np.array(gaps)


def entropy_end(A, y, w0):
    """Least relative entropy to w0 among interpolants, by its dual: no flow is solved."""
    dual = scipy.optimize.minimize(
        lambda nu: np.sum(w0 * np.exp(A.T @ nu)) - y @ nu,
        np.zeros(len(y)),
        jac=lambda nu: A @ (w0 * np.exp(A.T @ nu)) - y,
        method="BFGS",
        options={"gtol": 1e-12},
    )
    return w0 * np.exp(A.T @ dual.x)


def study(quick: bool = False) -> Findings:
    """The two flows and recursions side by side; orders of mirror descent; the limit of the entropy's flow."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((4, 6)) / 2, rng.standard_normal(4)
    times = np.linspace(0.05, 3.0, 25 if quick else 60)
    one, two = flows(X, y, times)
    same = np.abs(one.theta.values[-len(times) :] - two.w.values[-len(times) :]).max()
    claims = [at_most("distance of the network's flow from the mirror flow at 4 times the speed", 3e-13, same, PAPER)]
    etas = np.array([0.02, 0.01, 0.005, 0.0025])
    gaps = recursion_gaps(X, y, etas)
    claims.append(equal("slope of the distance of the recursions", 1.0, np.log2(gaps[-2] / gaps[-1]), 0.05, PAPER))
    method, runs = fd.MirrorDescent(fd.problems.LinearRegression(X, y), 0.1, "hypentropy", 2 * ALPHA**2), {}
    for order in (0, 1) if quick else (0, 1, 2, 3):
        ladder = fd.eta_limit(method, np.zeros(6), t=2.0, etas=0.1 / 2.0 ** np.arange(5), order=order, saves=3)
        claims.append(equal(f"order of mirror descent's gap, limit {order}", order + 1, ladder.order, 0.06, PAPER))
        runs[f"order_{order}"] = ladder
    A, w0 = np.abs(X), np.full(6, 0.2)
    b = A @ np.array([1.0, 0.5, 0.2, 0.1, 0.3, 0.7])
    flow, solver = fd.MirrorFlow(fd.problems.LinearRegression(A, b), "entropy"), fd.solvers.Scipy("LSODA", rtol=1e-11)
    end = fd.solve(flow, w0, t=np.inf, stop={"loss": ("<", 1e-22)}, solver=solver)
    off = np.abs(end.w[-1].values - entropy_end(A, b, w0)).max()
    claims.append(at_most("end of the entropy's flow from the least relative entropy", 1e-8, off, BREGMAN))
    runs |= {"network": one, "mirror": two, "entropy": end}

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for i in range(6):
        axes[0].plot(one.t, one.theta[:, i], color="#0072B2", label="diagonal network" if i == 0 else None)
        axes[0].plot(two.t / 4, two.w[:, i], "--", color="#D55E00", label="mirror flow, $4t$" if i == 0 else None)
    axes[0].set(xlabel="$t$", ylabel=r"$\theta_i$", title="one flow")
    axes[0].legend(frameon=False, fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 0.16))
    axes[1].loglog(etas, gaps, "o-", color="#0072B2", label=r"$\|\theta_{GD} - \theta_{mirror}\|$ at $t = 1$")
    axes[1].loglog(etas, gaps[-1] * etas / etas[-1], "--", color="#D55E00", label="slope 1")
    axes[1].set(xlabel=r"step size $\eta$", ylabel="distance", title="two recursions")
    axes[1].legend(frameon=False, fontsize=8)
    ticks_at(axes[1], etas)
    label_between(axes[1])
    question = "In which sense is a diagonal network mirror descent, and where does a mirror flow end?"
    return Findings(question, claims, figure, runs)
