"""Gradient descent on the diagonal network, 10^6 steps: flowdyn, saves and Dataset included, beside loops by hand.

The numpy loop runs 10^4 of the steps, numba's 10^5; their times are scaled.
"""

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

import flowdyn as fd
from benchmarks._network import data, network, plain_loss
from benchmarks._timing import Row, compare, is_here, table

STEPS, ETA, ALPHA = 1_000_000, 1e-3, 0.1


def by_numba(w0, X, y, steps):  # type: ignore[no-untyped-def]
    """The loop as one compiles it with numba."""
    import numba

    @numba.njit
    def loop(w, X, XT, y, eta, steps):  # type: ignore[no-untyped-def]
        d = X.shape[1]
        for _ in range(steps):
            g = 2 * eta * (XT @ (X @ (w[:d] ** 2 - w[d:] ** 2) - y))
            w = np.concatenate((w[:d] - g * w[:d], w[d:] + g * w[d:]))
        return w

    XT = np.ascontiguousarray(X.T)
    return lambda: loop(w0, X, XT, y, ETA, steps)


def rows() -> list[Row]:
    """Measure."""
    X, y = data()
    p = network()
    w0 = p.init(ALPHA)
    gd = fd.GradientDescent(p, ETA)
    Xj, yj, wj = jnp.asarray(X), jnp.asarray(y), jnp.asarray(w0)

    @jax.jit
    def by_hand(w, X, y, eta, steps):
        return jax.lax.fori_loop(0, steps, lambda _, v: v - eta * jax.grad(plain_loss)(v, X, y), w)

    def in_numpy(steps=STEPS // 100):
        w, d = w0.copy(), X.shape[1]
        for _ in range(steps):
            g = X.T @ (X @ (w[:d] ** 2 - w[d:] ** 2) - y)
            w = w - ETA * np.concatenate([2 * g * w[:d], -2 * g * w[d:]])
        return w

    def ours():
        return fd.solve(gd, w0, steps=STEPS, progress=False, solver=fd.solvers.Iteration())

    def hand():
        return by_hand(wj, Xj, yj, ETA, STEPS).block_until_ready()

    run = ours()
    last = np.concatenate([run.w_plus[-1], run.w_minus[-1]])
    assert np.abs(last - hand()).max() < 1e-9
    found = [
        compare("10^6 GD steps, 101 saves and Dataset / jitted fori_loop, no saves", ours, hand, 1.2, runs=5),
        compare("10^6 GD steps, 101 saves and Dataset / numpy loop", ours, in_numpy, 0.2, scale=100.0, runs=3),
    ]
    if is_here("numba"):
        # one thread of BLAS: on two it takes nine times as long
        with threadpool_limits(1, user_api="blas"):
            assert np.abs(last - by_numba(w0, X, y, STEPS)()).max() < 1e-9
            loop = by_numba(w0, X, y, STEPS // 10)
            what = "10^6 GD steps, 101 saves and Dataset / numba, no saves"
            found.append(compare(what, ours, loop, 1.2, scale=10.0, runs=5))
    return found


if __name__ == "__main__":
    table(rows())
