r"""Section 9.5, item 2: the covariance of SGD in several dimensions, where Hessian and noise do not commute.

.. math::

    S = (I - \eta A)\,S\,(I - \eta A)^\top + \eta^2\Sigma, \qquad AS + SA^\top = \eta\,\Sigma

Panels:

1. First coordinate of 2,000 runs over time: mean, quantiles, a few runs and the exact law.
2. The same of the second coordinate.
3. The cloud at the end, with the ellipses of its sample and of its exact covariance.
"""

import numpy as np
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov

import flowdyn as fd
from studies.claims import Findings, at_least, at_most, equal


def study(quick: bool = False) -> Findings:
    """Sample covariances beside both Lyapunov equations, and a direction without curvature."""
    members, eta = 20_000 if quick else 100_000, 0.1
    rng = np.random.default_rng(3)
    B, C = rng.standard_normal((2, 5, 5))
    A, Sigma = B @ B.T / 5 + 0.5 * np.eye(5), C @ C.T / 5
    sgd = fd.SGD(fd.problems.Quadratic(A, noise=Sigma), eta)
    M = np.eye(5) - eta * A
    laws = {"sgd": solve_discrete_lyapunov(M, eta**2 * Sigma), "equation": solve_continuous_lyapunov(A, eta * Sigma)}
    claims = [
        at_least(
            "largest entry of the commutator A Sigma - Sigma A", 0.1, np.abs(A @ Sigma - Sigma @ A).max(), "9.5 item 2"
        )
    ]
    runs = {}
    for name, system in (("sgd", sgd), ("equation", sgd.limit(1))):
        run = fd.solve(system, np.ones(5), t=[30.0], realizations=members, seed=2)
        S = laws[name]
        error = np.sqrt((np.outer(np.diag(S), np.diag(S)) + S**2) / members)
        z = np.abs(np.cov(run.w.values[:, 0].T) - S) / error
        claims.append(at_most(f"{name}: largest z-score of the covariance's 25 entries", 4.5, z.max(), "9.5 item 2"))
        runs[name] = run.isel(realization=slice(0, 500))
    flat = fd.OrnsteinUhlenbeck(np.diag([1.0, 0.0]), 0.1 * np.diag([1.0, 4.0]))
    t = np.array([1.0, 10.0, 100.0])
    for when, variance in zip(t, flat.mean_cov([0.0, 0.0], t)[1][:, 1, 1], strict=True):
        claims.append(
            equal(
                f"variance along a direction without curvature at t = {when:g}",
                0.4 * when,
                variance,
                1e-10 * when,
                "9.5",
            )
        )
    plane = fd.SGD(fd.problems.Quadratic([[2.0, 0.5], [0.5, 1.0]], noise=[[1.0, -0.6], [-0.6, 0.8]]), eta)
    runs["plane"] = fd.solve(plane, [1.0, -1.0], t=6.0, realizations=2000, seed=3)
    return Findings(
        "What shape does SGD's cloud take when noise and curvature point differently?",
        claims,
        fd.plot(runs["plane"]),
        runs,
    )
