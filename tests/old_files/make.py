"""Write the files of an older flowdyn that `test_old_files.py` loads, rebuilds and runs again.

Run once with the version whose files are to be kept (``python tests/old_files/make.py``); the files of 0.1.0 before the
layout of folders, as of commit 5773f2f, are those beside this script, and the folder `store` is of commit 10e7b8c,
whose sweeps had their times over the whole grid. `processor` stands in each file: the last bits of a run are the
processor's too.
"""

import platform
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd

import flowdyn as fd

FOLDER = Path(__file__).parent


def loss(w, data):
    """Product of two parameters fitted to data, with a quartic penalty."""
    return jnp.mean((w["inner"] @ data["x"] * w["outer"] - data["y"]) ** 2) + 0.01 * jnp.sum(w["inner"] ** 4)


def size(w):
    """Functional that is recorded."""
    return jnp.sum(w["inner"] ** 2)


def processor():
    """What the last bits of a sum depend on: the instruction set, down to the width of its vectors."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    return " ".join([platform.machine(), *sorted(flags & {"avx2", "fma", "avx512f", "avx512_bf16", "amx_tile"})])


def flow():
    """A flow of a labelled diagonal network at given times, by LSODA."""
    rng = np.random.default_rng(11)
    X = pd.DataFrame(rng.standard_normal((4, 3)), columns=["age", "bmi", "s1"], index=list("abcd"))
    p = fd.problems.DiagonalNetwork(X, pd.Series(rng.standard_normal(4), index=X.index, name="target"))
    return fd.solve(fd.GradientFlow(p), p.init(alpha=0.1), t=[0.0, 0.1, 0.3, 1.0, 3.0])


def ensemble():
    """Three members of SGD with a schedule, gone on from an earlier run."""
    rng = np.random.default_rng(12)
    p = fd.problems.SquaredRegression(rng.standard_normal((6, 2)), rng.uniform(0.5, 1.0, 6))
    sgd = fd.SGD(p, fd.schedules.PiecewiseConstant([0.05, 0.02], [20]), batch_size=2, sampling="without")
    half = fd.solve(sgd, p.init(alpha=0.3), steps=10, saves=3, realizations=3, seed=2**40 + 7)
    return fd.solve(sgd, half.isel(t=-1), steps=30, saves=4, seed=2**40 + 7)


def custom():
    """A user's own loss under momentum, with a functional and a stop rule."""
    data = {"x": np.linspace(-1.0, 1.0, 6).reshape(2, 3), "y": np.array([0.3, -0.2, 0.5])}
    p = fd.problems.CustomProblem(loss, {"inner": np.array([0.5, -0.4]), "outer": 0.7}, data=data)
    stop = {"size": ("<", 0.3)}
    return fd.solve(fd.HeavyBall(p, 0.01, friction=1.0), p.init(), t=20.0, saves=5, observe={"size": size}, stop=stop)


def descent(eta, scale):
    """A cell of the store: w_k = (1 - eta)^k scale."""
    return fd.GradientDescent(fd.problems.Quadratic(1.0), eta), [scale], {"steps": 4, "saves": 3}


GRID = {"eta": [0.1, 0.5], "scale": [1.0, 3.0]}
MADE = {"flow": flow, "ensemble": ensemble, "custom": custom}

if __name__ == "__main__":
    for name, make in MADE.items():
        path = fd.save(make().assign_attrs(processor=processor()), FOLDER / f"{name}.nc", overwrite=True)
        assert path.stat().st_size < 100_000, path
    fd.sweep(descent, GRID, FOLDER / "store", block=3)
