"""Stiff equations of few unknowns: the default solver, Dataset included, beside solve_ivp with a function in numpy."""

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import flowdyn as fd
from benchmarks._timing import Row, compare, table

RTOL = 1e-8


def van_der_pol(xp):  # type: ignore[no-untyped-def]
    return lambda t, y: xp.stack([y[1], 1000 * (1 - y[0] ** 2) * y[1] - y[0]])


def robertson(xp):  # type: ignore[no-untyped-def]
    def f(t, y):  # type: ignore[no-untyped-def]
        a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return xp.stack([b - a, a - b - c, c])

    return f


def decay(xp):  # type: ignore[no-untyped-def]
    return lambda t, y: -2e5 * (y - xp.cos(t))


def rows() -> list[Row]:
    """Measure."""
    found = []
    for make, start, end in ((van_der_pol, [2.0, 0.0], 1500.0), (robertson, [1.0, 0, 0], 1e5), (decay, [1.0], 20.0)):
        system, times = fd.ODE(make(jnp)), np.linspace(0, end, 101)
        for method in ("LSODA", "Radau"):

            def ours(system=system, start=start, end=end):  # type: ignore[no-untyped-def]
                return fd.solve(system, start, t=end, progress=False)

            def peer(f=make(np), start=start, times=times, method=method):  # type: ignore[no-untyped-def]  # noqa: B008
                return solve_ivp(f, (0, times[-1]), start, method, times, rtol=RTOL, atol=1e-4 * RTOL)

            found.append(compare(f"{make.__name__}, default / solve_ivp {method} in numpy", ours, peer, 1.5, runs=5))
    return found


if __name__ == "__main__":
    table(rows())
