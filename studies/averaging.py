r"""Averaged iterates: the variance of the mean does not depend on the step size, that of an exponential average does.

.. math::

    K\,\mathrm{Cov}(\bar w_K) \to A^{-1} \Sigma A^{-1} \quad\text{for every } \eta, \qquad \mathrm{Var}(e) = \frac{\eta}{2\lambda}\,\frac{\kappa}{\kappa + \lambda}

Panels:

1. Variance of the mean of K iterates, times K, at three step sizes: all end at the dashed line.
2. One run of SGD and its mean, with two standard deviations of the mean's exact law.
"""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_most, equal

A, SIGMA = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 0.5]])
PAPER = "Polyak and Juditsky (1992)"


def from_stationary(system, count, variance):
    """Variance of the mean of a stationary run of one parameter: the law is linear in the start."""
    response = system.exact_moments([1.0], [count])[0].item() - system.exact_moments([0.0], [count])[0].item()
    return system.exact_moments([0.0], [count])[1].item() + response**2 * variance


def law_claims(noisy, etas):
    """Exact moments: K Cov(mean of K), the mean of a stationary run, exponential averages."""
    claims, counts = [], np.array([20_000, 40_000])
    for eta in etas:
        cov = fd.averaged(fd.SGD(noisy, eta)).exact_moments([1.0, -1.0], counts)[1]
        limit = 2 * counts[1] * cov[1] - counts[0] * cov[0]  # what is left is of order 1/K
        for (i, j), value in {(0, 0): 0.46530612, (0, 1): -0.54693878, (1, 1): 0.93061224}.items():
            claims.append(equal(f"K Cov(mean)[{i}, {j}], eta = {eta}", value, limit[i, j], 1e-8, PAPER))
    lam, eta = 2.0, 0.1
    one = fd.problems.Quadratic(lam, noise=1.0)
    sgd = from_stationary(fd.averaged(fd.SGD(one, eta)), 30, eta / (lam * (2 - eta * lam)))
    ou = from_stationary(fd.averaged(fd.OrnsteinUhlenbeck(lam, eta)), 3.0, eta / (2 * lam))
    claims.append(equal("variance of the mean of SGD, T = 3", 0.0071002938, sgd, 1e-10, "section 9.5, averaged"))
    claims.append(equal("variance of the mean of its equation", 0.0069478872, ou, 1e-10, "section 9.5, averaged"))
    for kappa in (0.2, 1.0, 5.0):
        found = fd.averaged(fd.OrnsteinUhlenbeck(lam, eta), "ema", kappa).exact_moments([0.0], [200.0])[1].item()
        wanted = eta / (2 * lam) * kappa / (kappa + lam)
        claims.append(
            equal(f"variance of an exponential average, kappa = {kappa}", wanted, found, 1e-12, "v k/(k + l)")
        )
    return claims


def study(quick: bool = False) -> Findings:
    """Exact laws of averages, one ensemble beside them, and the weak order of the averaged equation."""
    noisy, etas = fd.problems.Quadratic(A, noise=SIGMA), (0.02, 0.1, 0.5)
    claims = law_claims(noisy, etas)
    runs = {}
    for order in (1, 2):
        ladder = fd.eta_limit(
            fd.averaged(fd.SGD(noisy, 0.1)), [1.0, -1.0], t=2.0, order=order, observable={"square": lambda w: w[0] ** 2}
        )
        runs[f"weak_order_{order}"] = ladder
        claims.append(equal(f"weak order of the averaged equation {order}", order, ladder.order.item(), 0.06, PAPER))
    system, members = fd.averaged(fd.SGD(noisy, 0.1)), 1000 if quick else 8000
    run = fd.solve(system, [1.0, -1.0], steps=400, saves=101, realizations=members, seed=0)
    runs["ensemble"] = run.isel(realization=slice(0, 20))
    exact = system.exact_moments([1.0, -1.0], run.k.values[1:])[1][-1, 0, 0]
    sampled = run.w_mean.isel(t=-1, param=0).values.var()
    z = abs(sampled / exact - 1) * np.sqrt(members / 2)
    claims.append(at_most("sampled variance of the mean, in standard errors from the law", 4.0, z, PAPER))

    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
    for eta, color in zip(etas, ("#0072B2", "#009E73", "#CC79A7"), strict=True):
        counts = np.unique(np.rint(np.geomspace(3, 3e4, 60)).astype(int))
        cov = fd.averaged(fd.SGD(noisy, eta)).exact_moments([1.0, -1.0], counts)[1]
        axes[0].semilogx(counts, counts * cov[:, 0, 0], color=color, label=rf"$\eta = {eta}$")
    limit = np.linalg.inv(A) @ SIGMA @ np.linalg.inv(A)
    axes[0].axhline(limit[0, 0], color="#D55E00", linestyle="--", label=r"$(A^{-1}\Sigma A^{-1})_{11}$")
    axes[0].set(xlabel="steps K", ylabel=r"$K\,\mathrm{Var}(\bar w_1)$", title="mean of K iterates")
    axes[0].legend(frameon=False, fontsize=8)
    member = run.isel(realization=0, param=0)
    axes[1].plot(member.t, member.w, color="#0072B2", lw=0.8, label="one run of SGD")
    axes[1].plot(member.t, member.w_mean, color="#D55E00", label="its mean")
    spread = np.sqrt(system.exact_moments([1.0, -1.0], run.k.values)[1][:, 0, 0])
    centre = system.exact_moments([1.0, -1.0], run.k.values)[0][:, 0]
    axes[1].fill_between(
        run.t, centre - 2 * spread, centre + 2 * spread, color="#D55E00", alpha=0.2, lw=0, label="its law, 2 s.d."
    )
    axes[1].set(xlabel="t", ylabel="$w_1$", title=r"$\eta = 0.1$")
    axes[1].legend(frameon=False, fontsize=8)
    question = "What does averaging the iterates of SGD buy, and does it depend on the step size?"
    return Findings(question, claims, figure, runs)
