r"""Section 5 of the notes on methods: above the stability threshold no flow follows, but a central flow does.

.. math::

    w' = -\bigl[\nabla L + \tfrac12 \nabla \langle\Sigma, H\rangle\bigr], \qquad 0 \preceq \Sigma \perp \tfrac{2}{\eta} I - H \succeq 0

Panels:

1. The toy in the frame that flips at each step: its distance from the limit at t = 10, against the step size.
2. Gradient descent on a tanh network: distance of its midpoints from the central flow and from the gradient flow.
3. The same on scikit-learn's digits (left out by --quick).
4. RMSProp on the tanh network: distance of its midpoints from its central flow and from its stable flow.
5. Loss of descent on the tanh network, its mean over a window, and what the central flow predicts.
6. The same on scikit-learn's digits (left out by --quick).
"""

import warnings

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_least, at_most, equal
from studies.drawing import ticks_at
from studies.networks import beside_central, digits_network, rmsprop, tanh_network

WHERE = "central flows"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"


def along(name, axes, p, w0, eta, steps, window, modes=3):
    """Claims of one network, and its two panels."""
    every = window // 10
    run, central, flow, (near, far) = beside_central(p, w0, eta, steps, every, modes)
    last = slice(steps - window, steps)
    mean, predicted = float(run.loss[last].mean()), float(central.predicted_loss[-window // every - 1 :].mean())
    k = np.arange(every, steps + 1, every)
    axes[0].semilogy(k, far, color=GREY, label="gradient flow")
    axes[0].semilogy(k, near, color=BLUE, label="central flow")
    axes[0].set(xlabel="step k", ylabel="distance to midpoints", title=name)
    axes[1].semilogy(run.k[:-1], run.loss[:-1], color="#BBBBBB", lw=0.6, label="descent")
    averaged = run.loss.rolling(t=window, center=True).mean()
    axes[1].semilogy(run.k, averaged, color=ORANGE, label=f"mean of {window} steps")
    axes[1].semilogy(np.r_[0, k], central.predicted_loss, color=BLUE, label="predicted")
    axes[1].semilogy(np.r_[0, k], flow.loss, color=GREY, label="gradient flow")
    axes[1].set(xlabel="step k", ylabel="loss", title=name)
    claims = [
        at_least(f"{name}: gradient flow over central flow, distance at the end", 5, far[-1] / near[-1], WHERE),
        equal(f"{name}: predicted over mean loss, last {window} steps", 1.0, predicted / mean, 0.2, WHERE),
        equal(f"{name}: eta times sharpness of the central flow", 2.0, eta * float(central.sharpness[-1]), 1e-3, WHERE),
    ]
    return claims, {f"{name}_central": central, f"{name}_flow": flow}


def toy(axis):
    """L = y x^2/2 + k (y - Y)^2/2: an honest limit in the flipping frame, <x^2> = 2 k D on the central flow."""
    k, D, etas, gaps = 0.5, 2.0, np.array([0.04, 0.02, 0.01, 0.005]), []
    frame = fd.ODE(lambda t, z: jnp.array([z[1] * z[0], -(z[0] ** 2) / 2 - k * (z[1] - D)]))
    limit = fd.solve(frame, [0.1, -1.0], t=10.0, solver=fd.solvers.Scipy("DOP853", rtol=1e-12)).w.values[-1]
    for eta in etas:
        p = fd.problems.CustomProblem(
            lambda w, Y: w[1] * w[0] ** 2 / 2 + k * (w[1] - Y) ** 2 / 2, np.zeros(2), 2 / eta + D
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fd.FlowdynWarning)
            run = fd.solve(fd.GradientDescent(p, eta), [0.1, 2 / eta - 1], t=10.0)
        x, y = run.w.values[-1]
        gaps.append(np.abs([(-1) ** int(run.k[-1]) * x - limit[0], y - 2 / eta - limit[1]]).max())
    central = fd.solve(fd.CentralFlow(fd.GradientDescent(p, etas[-1]), modes=1), [0.0, 2 / etas[-1] - 1], t=10.0)
    axis.loglog(etas, gaps, "o-", color=BLUE, label="flipping frame")
    axis.loglog(etas, gaps[-1] * etas / etas[-1], "--", color=ORANGE, label="slope 1")
    axis.set(xlabel=r"$\eta$", ylabel="gap at t = 10", title="toy")
    ticks_at(axis, etas)
    claims = [
        equal("limit of x in the flipping frame", 1.60413788, limit[0], 5e-9, WHERE),
        equal("limit of y in the flipping frame", -0.24293009, limit[1], 5e-9, WHERE),
        equal("slope of the gap in eta", 1.0, np.log2(gaps[-2] / gaps[-1]), 0.06, WHERE),
        equal("<x^2> of the toy's central flow", 2 * k * D, central.sigma_trace[-1], 1e-3, WHERE),
    ]
    return claims, {"toy_last_descent": run, "toy_central": central}


def adaptive(axis):
    """RMSProp on the tanh network beside its central and its stable flow."""
    p, w0 = tanh_network()
    eta, steps = 0.01, 1500
    path = rmsprop(p, w0, eta, 0.99, 0.01, steps + 1)
    middle = (path[:-2] + 2 * path[1:-1] + path[2:]) / 4
    given = {"eta": eta, "beta2": 0.99, "v0": 0.01}
    central = fd.solve(fd.RMSPropCentralFlow(p, **given, modes=6), w0, t=eta * np.arange(0, steps + 1, 50))
    stable = fd.solve(fd.RMSPropStableFlow(p, **given), w0, t=central.t.values)
    near, far = (np.linalg.norm(r.w.values[1:] - middle[49:steps:50], axis=1) for r in (central, stable))
    axis.semilogy(np.arange(50, steps + 1, 50), far, color=GREY, label="stable flow")
    axis.semilogy(np.arange(50, steps + 1, 50), near, color=BLUE, label="central flow")
    axis.set(xlabel="step k", ylabel="distance to midpoints", title="RMSProp")
    mean = np.mean(jax.vmap(p.loss)(path[-100:]))
    claims = [
        at_most("RMSProp: distance of the central flow at the end", 0.034, near[-1], WHERE),
        equal("RMSProp: distance of the stable flow at the end", 0.569, far[-1], 0.001, WHERE),
        equal(
            "RMSProp: predicted over mean loss at the end", 1.0, float(central.predicted_loss[-1]) / mean, 0.2, WHERE
        ),
    ]
    return claims, {"rmsprop_central": central, "rmsprop_stable": stable}


def study(quick: bool = False) -> Findings:
    """The toy, a small network under gradient descent and RMSProp and, unless quick, scikit-learn's digits."""
    figure, axes = plt.subplots(2, 2 if quick else 3, figsize=(8 if quick else 12, 6.6), layout="constrained")
    claims, runs = toy(axes[0, 0])
    found = [adaptive(axes[1, 0]), along("tanh", axes[:, 1], *tanh_network(), eta=0.7, steps=1500, window=100)]
    if not quick:
        found.append(along("digits", axes[:, 2], *digits_network(), eta=0.8, steps=300, window=50, modes=4))
    for more, kept in found:
        claims, runs = claims + more, runs | kept
    for axis in axes.flat:
        if axis.lines:
            axis.legend(frameon=False, fontsize=8)
    question = "What does training do beyond the stability threshold, where no limit eta -> 0 describes it?"
    return Findings(question, claims, figure, runs)
