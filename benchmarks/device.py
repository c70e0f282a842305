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
    """What is run on both: each at a size that a processor takes with ease, and at one that fills an accelerator."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 2000)) / np.sqrt(40)
    wide = rng.standard_normal((2000, 20_000)) / np.sqrt(2000)

    def network(X: np.ndarray) -> fd.problems.DiagonalNetwork:
        return fd.problems.DiagonalNetwork(X, X[:, 0] - 2 * X[:, 1])

    ou = fd.OrnsteinUhlenbeck(1.0, 0.1)
    sgd = fd.SGD(fd.problems.LinearRegression(X[:, :100], X[:, 0]), 1e-3, batch_size=4)

    def descent(p: fd.problems.DiagonalNetwork, eta: float, steps: int) -> Callable[[], object]:
        return lambda: fd.solve(fd.GradientDescent(p, eta), p.init(0.1), steps=steps, saves=11, progress=False)

    def starts(count: int) -> Callable[[], object]:
        p = network(X[:, :200])
        w0 = np.stack([p.init(alpha) for alpha in np.geomspace(1e-3, 1, count)])
        return lambda: fd.solve(fd.GradientFlow(p), w0, t=30.0, saves=21, progress=False)

    def paths(count: int, precision: str) -> Callable[[], object]:
        solver = fd.solvers.EulerMaruyama(dt=1e-3, precision=precision)
        return lambda: fd.solve(ou, [1.0], t=[1.0], realizations=count, solver=solver, progress=False)

    def minibatches(count: int) -> Callable[[], object]:
        return lambda: fd.solve(sgd, np.zeros(100), steps=1000, saves=2, realizations=count, seed=0, progress=False)

    return {
        "descent, 40 x 2000, 1e4 steps": descent(network(X), 1e-3, 10_000),
        "descent, 2000 x 20,000, 1e3 steps": descent(network(wide), 1e-3, 1000),
        "256 starts of a flow, d = 200": starts(256),
        "4096 starts of a flow, d = 200": starts(4096),
        "1e5 paths x 1e3 steps, float64": paths(100_000, "float64"),
        "1e5 paths x 1e3 steps, float32": paths(100_000, "float32"),
        "1e6 paths x 1e3 steps, float64": paths(1_000_000, "float64"),
        "1e6 paths x 1e3 steps, float32": paths(1_000_000, "float32"),
        "SGD, 2048 members, 1e3 steps": minibatches(2048),
        "SGD, 32,768 members, 1e3 steps": minibatches(32_768),
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
