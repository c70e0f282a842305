"""Steps of random recursions beside scans written by hand, and a user's own equation per path-step."""

import jax
import jax.numpy as jnp
import numpy as np

import flowdyn as fd
from benchmarks._timing import Row, clock, compare, table

STEPS, BATCH, PATHS = 100_000, 4, 10_000
MEMBERS, MEMBER_STEPS = 2048, 1000


def rows() -> list[Row]:
    """Measure."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 100)) / 10, rng.standard_normal(40)
    w0 = np.full(100, 0.1)
    Xj, yj, eta = jnp.asarray(X), jnp.asarray(y), 1e-3

    def residuals(w, i, shift):  # type: ignore[no-untyped-def]
        return Xj[i].T @ (Xj[i] @ w**2 - yj[i] - shift) / BATCH

    @jax.jit
    def scan(w, key):  # type: ignore[no-untyped-def]
        def step(v, k):  # type: ignore[no-untyped-def]
            i = jax.random.randint(jax.random.fold_in(key, k), (BATCH,), 0, 40)
            return v - eta * 2 * v * residuals(v, i, 0.0), None

        return jax.lax.scan(step, w, jnp.arange(STEPS))[0]

    @jax.jit
    def noisy_scan(w, key):  # type: ignore[no-untyped-def]
        def step(v, k):  # type: ignore[no-untyped-def]
            one, two = jax.random.split(jax.random.fold_in(key, k))
            i = jax.random.randint(one, (BATCH,), 0, 40)
            return v - eta * 2 * v * residuals(v, i, 0.1 * jax.random.normal(two, (BATCH,))), None

        return jax.lax.scan(step, w, jnp.arange(STEPS))[0]

    p, key = fd.problems.SquaredRegression(X, y), jax.random.key(0)
    sgd = fd.SGD(p, eta, batch_size=BATCH)
    noisy = fd.LabelNoiseSGD(p, eta, sigma=0.1, batch_size=BATCH)
    found = []
    for what, method, hand, target in (("SGD", sgd, scan, 1.1), ("label-noise SGD", noisy, noisy_scan, 1.2)):

        def ours(method=method):  # type: ignore[no-untyped-def]
            return fd.solve(method, w0, steps=STEPS, progress=False)

        def peer(hand=hand):  # type: ignore[no-untyped-def]
            return hand(jnp.asarray(w0), key).block_until_ready()

        found.append(compare(f"{what}, batch 4, 1e5 steps / scan by hand", ours, peer, target, runs=3))

    @jax.jit
    def members(w, key):  # type: ignore[no-untyped-def]
        def step(v, k, own):  # type: ignore[no-untyped-def]
            i = jax.random.randint(jax.random.fold_in(own, k), (BATCH,), 0, 40)
            return v - eta * 2 * v * residuals(v, i, 0.0), None

        def one(own):  # type: ignore[no-untyped-def]
            return jax.lax.scan(lambda v, k: step(v, k, own), w, jnp.arange(MEMBER_STEPS))[0]

        return jax.vmap(one)(jax.random.split(key, MEMBERS))

    found.append(
        compare(
            f"SGD, {MEMBERS} members, batch 4, {MEMBER_STEPS} steps / vmapped scan by hand",
            lambda: fd.solve(sgd, w0, steps=MEMBER_STEPS, saves=2, realizations=MEMBERS, progress=False),
            lambda: members(jnp.asarray(w0), key).block_until_ready(),
            0.6,
            runs=3,
        )
    )
    return [*found, *path_steps()]


def path_steps() -> list[Row]:
    """Nanoseconds a path-step of a user's own equation, both precisions."""
    own = fd.SDE(lambda t, y: -y, lambda t, y: 0.3 * jnp.eye(1))
    found = []
    for precision, target in (("float64", 8.0), ("float32", 4.0)):
        solver = fd.solvers.EulerMaruyama(dt=1e-3, precision=precision)

        def paths(solver=solver):  # type: ignore[no-untyped-def]
            return fd.solve(own, [1.0], t=[1.0], realizations=PATHS, solver=solver, progress=False)

        paths()
        nanoseconds = min(clock(paths) for _ in range(3)) / (PATHS * 1e3) * 1e9
        found.append(
            Row(f"a user's equation, {precision}, ns a path-step / 1 ns", nanoseconds, 1.0, nanoseconds, target)
        )
    return found


if __name__ == "__main__":
    table(rows())
