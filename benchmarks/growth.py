"""How costs grow:  log seconds = slope * log size + constant,  as slopes over the upper half of a range of sizes."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import flowdyn as fd
from benchmarks._timing import Row, clock, table


class Growth(NamedTuple):
    """A job whose size is varied."""

    what: str
    sizes: tuple[int, ...]
    job: Callable[[int], Callable[[], object]]
    limit: float  # slope that theory allows


def network(n: int, d: int) -> fd.problems.DiagonalNetwork:
    X = np.random.default_rng(1).standard_normal((n, d)) / np.sqrt(n)
    return fd.problems.DiagonalNetwork(X, X[:, 0] - 2 * X[:, 1])


def descent(n: int, d: int, steps: int, saves: int) -> Callable[[], object]:
    p = network(n, d)
    method, solver = fd.GradientDescent(p, 1e-4), fd.solvers.Iteration()
    return lambda: fd.solve(method, p.init(0.1), steps=steps, saves=saves, solver=solver, progress=False)


def flow(d: int) -> Callable[[], object]:
    p = network(40, d)
    return lambda: fd.solve(fd.GradientFlow(p), p.init(0.1), t=10.0, saves=11, progress=False)


def starts(count: int) -> Callable[[], object]:
    p = network(40, 200)
    w0 = np.stack([p.init(alpha) for alpha in np.geomspace(1e-3, 1, count)])
    return lambda: fd.solve(fd.GradientFlow(p), w0, t=10.0, saves=21, progress=False)


def members(count: int) -> Callable[[], object]:
    solver = fd.solvers.EulerMaruyama(dt=1e-3)
    ou = fd.OrnsteinUhlenbeck(1.0, 0.1)
    return lambda: fd.solve(ou, [1.0], t=[1.0], realizations=count, solver=solver, progress=False)


def saved(rows: int) -> Callable[[], object]:
    run = descent(10, 500, rows - 1, rows)()

    def write() -> None:
        with tempfile.TemporaryDirectory() as folder:
            fd.save(run, Path(folder) / "run.nc")

    return write


GROWTHS = (
    Growth("gradient descent, against steps", (20_000, 80_000, 320_000), lambda k: descent(40, 200, k, 11), 1.0),
    Growth("gradient descent, against n", (100, 400, 1600), lambda n: descent(n, 400, 2000, 11), 1.0),
    Growth("gradient descent, against d", (1000, 4000, 16_000), lambda d: descent(40, d, 2000, 11), 1.0),
    Growth("gradient descent, against saves", (250, 1000, 4000), lambda s: descent(40, 200, 4000, s), 1.0),
    Growth("flow, default solver, against d", (1000, 4000, 16_000), flow, 1.0),
    Growth("flow, default solver, against starts", (16, 64, 256), starts, 1.0),
    Growth("paths of an equation, against members", (1000, 4000, 16_000), members, 1.0),
    Growth("a file, against saves", (500, 2000, 8000), saved, 1.0),
)


def rows() -> list[Row]:
    """Slopes beside their limits; the seconds are those of the largest and of the smallest size."""
    found = []
    for growth in GROWTHS:
        seconds = []
        for size in growth.sizes:
            call = growth.job(size)
            call()
            seconds.append(min(clock(call) for _ in range(3)))
        slope = float(np.log(seconds[-1] / seconds[-2]) / np.log(growth.sizes[-1] / growth.sizes[-2]))
        what = f"slope of {growth.what} ({growth.sizes[0]} .. {growth.sizes[-1]})"
        found.append(Row(what, seconds[-1], seconds[0], slope, growth.limit + 0.15))
    return found


if __name__ == "__main__":
    table(rows())
