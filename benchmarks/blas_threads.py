"""Implicit steppers on the 400-dimensional flow: flowdyn beside solve_ivp with and without limited BLAS threads.

Many factorisations of a 400 x 400 matrix are small work each:
threads that wait for each other cost more than they give.
"""

import jax
import numpy as np
from scipy.integrate import solve_ivp
from threadpoolctl import threadpool_limits

import flowdyn as fd
from benchmarks._network import data, network, plain_loss
from benchmarks._timing import Row, compare, table

ALPHA, T, RTOL = 1e-3, 30.0, 1e-8


def rows() -> list[Row]:
    """Measure."""
    X, y = data()
    p = network()
    w0 = p.init(ALPHA)
    force = jax.jit(lambda t, w: -jax.grad(plain_loss)(w, X, y))
    jacobian = jax.jit(lambda t, w: -jax.hessian(plain_loss)(w, X, y))
    found = []
    for method in ("BDF", "Radau", "LSODA"):

        def ours(method=method):
            return fd.solve(fd.GradientFlow(p), w0, t=T, solver=fd.solvers.Scipy(method, rtol=RTOL), progress=False)

        def threaded(method=method):
            jac = lambda t, w: np.asarray(jacobian(t, w))  # noqa: E731
            t_eval = np.linspace(0, T, 101)
            f = lambda t, w: np.asarray(force(t, w))  # noqa: E731
            return solve_ivp(f, (0, T), w0, method, t_eval, jac=jac, rtol=RTOL, atol=1e-4 * RTOL)

        def single(threaded=threaded):
            with threadpool_limits(1, user_api="blas"):
                return threaded()

        assert np.abs(threaded().y[:200, -1] - ours().w_plus[-1].values).max() < 1e-5
        # LSODA spends its time in cheap Adams steps here, not in linear algebra: its rows show the driver's own checks
        target = float("inf") if method == "LSODA" else 1.2
        found.append(compare(f"{method}, flowdyn / solve_ivp on one BLAS thread", ours, single, target, runs=3))
        found.append(compare(f"{method}, flowdyn / solve_ivp as it comes", ours, threaded, target, runs=3))
    return found


if __name__ == "__main__":
    table(rows())
