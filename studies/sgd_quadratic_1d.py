r"""Section 9.5, item 1: SGD in one dimension and its Ornstein-Uhlenbeck limit.

.. math::

    \mathrm{Var}\,w_\infty = \frac{\eta\sigma^2}{\lambda(2 - \eta\lambda)}, \qquad \mathrm{Var}\,X_\infty = \frac{\eta\sigma^2}{2\lambda}

Panels:

1. 500 runs of SGD over time: mean, quantiles, a few runs and the exact law.
2. Histogram at the end, with the exact density.
"""

import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_most, equal


def study(quick: bool = False) -> Findings:
    """Moments of an ensemble beside the closed forms; the weak order."""
    lam, eta, sigma, members = 1.0, 0.2, 1.0, 20_000 if quick else 200_000
    sgd = fd.SGD(fd.problems.Quadratic(lam, noise=sigma**2), eta)
    t = eta * np.arange(0, 61)
    claims, runs = [], {}
    for name, system in (("sgd", sgd), ("equation", sgd.limit(1))):
        run = fd.solve(system, [2.0], t=t, realizations=members, seed=1)
        x = run.w.values[:, :, 0]
        k = np.arange(61)
        if name == "sgd":
            factor = 1 - eta * lam
            mean, var = 2 * factor**k, eta * sigma**2 / (lam * (2 - eta * lam)) * (1 - factor ** (2 * k))
        else:
            mean, var = 2 * np.exp(-lam * t), eta * sigma**2 / (2 * lam) * (1 - np.exp(-2 * lam * t))
        z_mean = np.abs(x.mean(axis=0) - mean)[1:] / np.sqrt(var[1:] / members)
        z_var = np.abs(x.var(axis=0) - var)[1:] / (var[1:] * np.sqrt(2 / members))
        claims += [
            at_most(f"{name}: largest z-score of the mean over 60 times", 4.5, z_mean.max(), "9.5 item 1"),
            at_most(f"{name}: largest z-score of the variance", 4.5, z_var.max(), "9.5 item 1"),
        ]
        runs[name] = run.isel(realization=slice(0, 500))
    ratio = runs["sgd"].w_cov_exact.values[-1, 0, 0] / runs["equation"].w_cov_exact.values[-1, 0, 0]
    claims.append(
        equal("ratio of the stationary variances, 2/(2 - eta lam)", 2 / (2 - eta * lam), ratio, 1e-5, "9.5 item 1")
    )
    observable = {"x": lambda w: w[0], "x2": lambda w: w[0] ** 2}
    for order in (1, 2):
        toy = fd.SGD(fd.problems.LinearRegression([[1.0], [1.0]], [1.0, -1.0]), 0.1)
        ladder = fd.eta_limit(toy, [3.0], t=1.0, etas=0.1 / 2.0 ** np.arange(7), order=order, observable=observable)
        for name in observable:
            measured = ladder.order.sel(observable=name)
            claims.append(
                equal(
                    f"weak order of the equation of order {order}, g = {name}", order, measured, 0.03, "9.5, Li-Tai-E"
                )
            )
        runs[f"ladder_{order}"] = ladder
    figure = fd.plot(runs["sgd"])
    return Findings(
        "How is SGD distributed around a minimum, and how well does a diffusion say so?", claims, figure, runs
    )
