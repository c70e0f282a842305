"""Descent, ensembles and many starts on the device that JAX runs on, beside the processor of the same machine.

``python -m benchmarks device --device gpu``; without a GPU both sides are the processor. A number is that of the whole
`solve`, with saves and Dataset.
"""

from collections.abc import Callable

import jax
import numpy as np

import flowdyn as fd
from benchmarks._timing import Row, compare, table


def jobs() -> dict[str, Callable[[], object]]:
    """What is run on both."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 2000)) / np.sqrt(40)
    p = fd.problems.DiagonalNetwork(X, X[:, 0] - 2 * X[:, 1])
    small = fd.problems.DiagonalNetwork(X[:, :200], X[:, 0] - 2 * X[:, 1])
    w0 = np.stack([small.init(alpha) for alpha in np.geomspace(1e-3, 1, 256)])
    ou = fd.OrnsteinUhlenbeck(1.0, 0.1)
    sgd = fd.SGD(fd.problems.LinearRegression(X[:, :100], X[:, 0]), 1e-3, batch_size=4)

    def paths(precision: str) -> Callable[[], object]:
        solver = fd.solvers.EulerMaruyama(dt=1e-3, precision=precision)
        return lambda: fd.solve(ou, [1.0], t=[1.0], realizations=100_000, solver=solver, progress=False)

    return {
        "descent, d = 2000, 1e4 steps": lambda: fd.solve(
            fd.GradientDescent(p, 1e-3), p.init(0.1), steps=10_000, saves=11, progress=False
        ),
        "256 starts of a flow, d = 200": lambda: fd.solve(fd.GradientFlow(small), w0, t=30.0, saves=21, progress=False),
        "1e5 paths x 1e3 steps, float64": paths("float64"),
        "1e5 paths x 1e3 steps, float32": paths("float32"),
        "SGD, 2048 members, 1e3 steps": lambda: fd.solve(
            sgd, np.zeros(100), steps=1000, saves=2, realizations=2048, seed=0, progress=False
        ),
    }


def rows() -> list[Row]:
    """Measure."""
    here, processor = jax.devices()[0], jax.devices("cpu")[0]

    def on(device: jax.Device, job: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            jax.config.update("jax_default_device", device)
            try:
                return job()
            finally:
                jax.config.update("jax_default_device", None)

        return run

    what = f"{here.device_kind} / processor"
    return [
        compare(f"{name}: {what}", on(here, job), on(processor, job), float("inf"), runs=3)
        for name, job in jobs().items()
    ]


if __name__ == "__main__":
    table(rows())
