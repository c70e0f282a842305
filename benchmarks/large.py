"""Large runs: many starts, many parameters, a large file, a plot of 20,000 parameters; and the dual form.

The loop of ``solve_ivp`` over the starts runs on one BLAS thread; on all of them it takes ten times as long. It is run
for every 16th start and scaled.
"""

import os
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import netCDF4
import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp
from threadpoolctl import threadpool_limits

import flowdyn as fd
from benchmarks._network import network
from benchmarks._timing import Row, clock, compare, table

RTOL, END = 1e-8, 30.0
STARTS, EVERY = 256, 16
FEATURES, SAVES, SIZE = 20_000, 1001, 100


def starts() -> Row:
    """Many starts at once beside a loop."""
    p = network()
    X, y, d = np.asarray(p.X), np.asarray(p.y), p.X.shape[1]
    w0 = np.stack([p.init(alpha) for alpha in np.geomspace(1e-3, 1, STARTS)])
    times = np.linspace(0, END, 21)

    def flow(t, w):  # type: ignore[no-untyped-def]
        u, v = w[:d], w[d:]
        g = 2 * (X.T @ (X @ (u * u - v * v) - y))
        return np.concatenate([-u * g, v * g])

    def loop():  # type: ignore[no-untyped-def]
        with threadpool_limits(1, user_api="blas"):
            for w in w0[::EVERY]:
                solve_ivp(flow, (0, END), w, "LSODA", times, rtol=RTOL, atol=1e-4 * RTOL * min(1, w.max()))

    def ours():  # type: ignore[no-untyped-def]
        return fd.solve(fd.GradientFlow(p), w0, t=END, saves=21, progress=False)

    return compare(f"{STARTS} starts, d = {d} / loop of solve_ivp LSODA", ours, loop, 1 / 150, scale=EVERY, runs=3)


def wide() -> Row:
    """The flow of 20,000 features beside diffrax by hand."""
    import diffrax as dfx

    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, FEATURES)) / np.sqrt(40)
    p = fd.problems.DiagonalNetwork(X, X[:, 0] - 2 * X[:, 1] + 1.5 * X[:, 2])
    w0, times = p.init(1e-3), jnp.linspace(0, END, 101)

    def loss(w, X, y):  # type: ignore[no-untyped-def]
        r = X @ (w[:FEATURES] ** 2 - w[FEATURES:] ** 2) - y
        return 0.5 * (r @ r)

    @jax.jit
    def by_hand(w, X, y):  # type: ignore[no-untyped-def]
        return dfx.diffeqsolve(
            dfx.ODETerm(lambda t, v, args: -jax.grad(loss)(v, *args)), dfx.Tsit5(), 0.0, END, None, w, args=(X, y),
            saveat=dfx.SaveAt(ts=times), stepsize_controller=dfx.PIDController(RTOL, 1e-4 * RTOL), max_steps=100_000,
        ).ys  # fmt: skip

    return compare(
        f"flow, d = {FEATURES:,}, default / diffrax by hand",
        lambda: fd.solve(fd.GradientFlow(p), w0, t=END, progress=False),
        lambda: by_hand(jnp.asarray(w0), p.X, p.y).block_until_ready(),
        1.3,
        runs=5,
    )


def file() -> Row:
    """A file of 1001 matrices beside netCDF4's own write, synced and read back."""
    p = fd.problems.Quadratic(np.diag(np.linspace(0.1, 1, SIZE)), noise=0.1 * np.eye(SIZE))
    run = fd.solve(
        fd.SGD(p, 1e-2), np.ones(SIZE), steps=SAVES - 1, saves=SAVES, observe={"outer": lambda w: jnp.outer(w, w)},
        progress=False,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.nc", Path(folder) / "theirs.nc"
        fd.save(run, ours)
        with netCDF4.Dataset(ours) as made:
            chunks = made["outer"].chunking()
        return compare(
            "save of 81 MB / netCDF4, same encoding, synced and read back",
            lambda: fd.save(run, ours, overwrite=True),
            lambda: plain_write(run["outer"], theirs, chunks),
            1.2,
            runs=3,
        )


def plain_write(values: xr.DataArray, path: Path, chunks: list[int]) -> None:
    with netCDF4.Dataset(path, "w") as out:
        for name, size in values.sizes.items():
            out.createDimension(str(name), size)
        kinds = {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
        out.createVariable("outer", values.dtype, values.dims, chunksizes=chunks, **kinds)[...] = values.values
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
    with netCDF4.Dataset(path) as made:
        made["outer"][...]


def plot() -> Row:
    """A figure of many parameters."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    X = np.random.default_rng(1).standard_normal((40, FEATURES)) / np.sqrt(40)
    p = fd.problems.LinearRegression(X, X[:, 0])
    run = fd.solve(fd.GradientFlow(p), np.zeros(FEATURES), t=0.01, progress=False)

    def figure() -> None:
        fd.plot(run)
        plt.close("all")

    figure()
    seconds = min(clock(figure) for _ in range(3))
    return Row(f"plot of {FEATURES:,} parameters, seconds / 1 s", seconds, 1.0, seconds, 0.5)


def dual() -> Row:
    """The dual form by the default solver."""
    p = network()
    w0 = p.init(1e-3)
    flow = fd.DualFlow(p, w0)

    def run():  # type: ignore[no-untyped-def]
        return fd.solve(flow, w0, t=END, saves=201, progress=False)

    run()
    milliseconds = 1e3 * min(clock(run) for _ in range(7))
    return Row("DualFlow, d = 200, 201 saves, ms / 1 ms", milliseconds, 1.0, milliseconds, 10.0)


def rows() -> list[Row]:
    """Measure."""
    return [starts(), wide(), file(), plot(), dual()]


if __name__ == "__main__":
    table(rows())
