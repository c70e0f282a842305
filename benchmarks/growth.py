"""How costs grow:  log seconds = slope * log size + constant,  as slopes over the upper half of a range of sizes.

``python -m benchmarks.growth FIGURE`` draws them beside the slopes that theory allows. Peak memory is that of a process
of its own, which runs the smallest size before it begins to count.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
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


def rungs(count: int) -> Callable[[], object]:
    p = network(40, 200)
    etas = 10.0 / np.linspace(100, 500, count).astype(int)
    return lambda: fd.eta_limit(fd.GradientDescent(p, 0.02), p.init(0.1), t=10.0, etas=etas, saves=2, progress=False)


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
    Growth("ladder, against rungs", (5, 20, 80), rungs, 1.0),
    Growth("paths of an equation, against members", (1000, 4000, 16_000), members, 1.0),
    Growth("a file, against saves", (500, 2000, 8000), saved, 1.0),
)


def seconds_of(growth: Growth) -> list[float]:
    """Least of three calls at each size."""
    found = []
    for size in growth.sizes:
        call = growth.job(size)
        call()
        found.append(min(clock(call) for _ in range(3)))
    return found


def peak(d: int, saves: int) -> float:
    """Bytes of the highest point of a run above what was there before, over those of its result (Linux)."""
    descent(40, d, saves, 2)()
    Path("/proc/self/clear_refs").write_text("5")  # the highest point is the present one
    before = resident("VmRSS")
    result = descent(40, d, saves, saves)()
    return (resident("VmHWM") - before) / result.nbytes


def resident(name: str) -> int:
    """Bytes of memory, now (VmRSS) or at the highest (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))


def memory() -> list[Row]:
    """Peaks in results, at two sizes: a copy of the result is what may be beside it."""
    found = []
    for d, saves in ((5000, 1000), (20_000, 1000)):
        code = f"from benchmarks.growth import peak; print(peak({d}, {saves}))"
        ratio = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        found.append(Row(f"peak memory of {saves} saves of {2 * d} parameters, in results", np.nan, np.nan, ratio, 2.0))
    return found


def rows(seconds: list[list[float]] | None = None) -> list[Row]:
    """Slopes beside their limits; the seconds are those of the largest and of the smallest size."""
    found = []
    for growth, times in zip(GROWTHS, seconds or map(seconds_of, GROWTHS), strict=True):
        slope = float(np.log(times[-1] / times[-2]) / np.log(growth.sizes[-1] / growth.sizes[-2]))
        what = f"slope of {growth.what} ({growth.sizes[0]} .. {growth.sizes[-1]})"
        found.append(Row(what, times[-1], times[0], slope, growth.limit + 0.15))
    return found + memory()


def draw(seconds: list[list[float]], path: Path) -> None:
    """One panel a job: what was measured, and the limit through the largest size."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(3, 3, figsize=(9, 7), layout="constrained", sharey=True)
    for axes, growth, times in zip(panels.flat, GROWTHS, seconds, strict=True):
        sizes = np.array(growth.sizes, float)
        limit = times[-1] * (sizes / sizes[-1]) ** growth.limit
        axes.loglog(sizes, limit, "--", color="0.5", label=f"limit, slope {growth.limit:g}")
        axes.loglog(sizes, times, "o-", label="measured")
        job, against = growth.what.split(", against ")
        axes.set(title=job, xlabel=against)
        axes.set_xticks(sizes, [f"{size:,}" for size in growth.sizes])
        axes.minorticks_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("seconds")
    panels[0, 0].legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    measured = [seconds_of(growth) for growth in GROWTHS]
    table(rows(measured))
    if sys.argv[1:]:
        draw(measured, Path(sys.argv[1]))
