"""scipy's steppers through flowdyn, Dataset included, beside solve_ivp with the gradient written out in numpy."""

import numpy as np
from scipy.integrate import solve_ivp
from threadpoolctl import threadpool_limits

import flowdyn as fd
from benchmarks._network import data, network
from benchmarks._timing import Row, compare, table

RTOL, ATOL, ALPHA, END, SAVES = 1e-8, 1e-13, 0.1, 30.0, 201


def rows() -> list[Row]:
    """Measure, with the same tolerances on both sides."""
    X, y = data()
    d = X.shape[1]
    p = network()
    w0, times = p.init(ALPHA), np.linspace(0, END, SAVES)

    def flow(t, w):  # type: ignore[no-untyped-def]
        u, v = w[:d], w[d:]
        g = 2 * (X.T @ (X @ (u * u - v * v) - y))
        return np.concatenate([-u * g, v * g])

    found = []
    for method in ("LSODA", "DOP853", "RK45"):
        solver = fd.solvers.Scipy(method, rtol=RTOL, atol=ATOL)

        def hand(method=method):  # type: ignore[no-untyped-def]
            with threadpool_limits(1, user_api="blas"):
                return solve_ivp(flow, (0, END), w0, method, times, rtol=RTOL, atol=ATOL).y

        def ours(solver=solver):  # type: ignore[no-untyped-def]
            return fd.solve(fd.GradientFlow(p), w0, t=END, saves=SAVES, solver=solver, progress=False)

        run = ours()
        assert np.abs(np.concatenate([run.w_plus, run.w_minus], axis=1).T - hand()).max() < 1e-5
        found.append(compare(f"flow n=40, d=200, {method} / solve_ivp in numpy", ours, hand, 1.5, runs=9))
    return found


if __name__ == "__main__":
    table(rows())
