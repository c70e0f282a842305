"""Calls that mypy and pyright must accept."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr

import flowdyn as fd

X = np.eye(3)
p = fd.problems.DiagonalNetwork(X, [1.0, 2.0, 3.0])
q = fd.problems.LinearRegression(pd.DataFrame(X), pd.Series([1.0, 2.0, 3.0]))
w0 = p.init(alpha=1e-2)
run: xr.Dataset = fd.solve(fd.GradientFlow(p), w0, t=30.0)
gd = fd.solve(fd.GradientDescent(p, eta=0.01), w0, t=run.t.values, observe={"norm": jnp.linalg.norm})
again = fd.solve(fd.GradientDescent(p, fd.schedules.PowerDecay(0.1)), w0, steps=5, stop={"loss": ("<", 1e-9)})
lim: xr.Dataset = fd.eta_limit(fd.HeavyBall(q, eta=1e-3, friction=1.0), np.zeros(3), t=1.0, etas=[0.1, 0.05, 0.025])
custom = fd.problems.CustomProblem(lambda w: jnp.sum(w["a"] ** 2), {"a": np.ones(2)})
far = fd.fast_forward(fd.GradientDescent(custom, eta=np.float64(1e-9)), {"a": [1.0, 2.0]}, t=2.0)
sgd = fd.SGD(fd.problems.Quadratic([[2.0, 0.5], [0.5, 1.0]], noise=np.eye(2)), eta=0.1, batch_size=1)
runs = fd.solve(sgd, [1.0, -1.0], t=6.0, realizations=20, seed=0, solver=fd.solvers.Iteration(), progress=False)
other = fd.solve(sgd.limit(1), [1.0, 1.0], t=1.0, solver=fd.solvers.EulerMaruyama(dt=0.1))
path = fd.save(lim, "limit.nc", overwrite=True)
back = fd.load(path)
system, start, options = fd.rebuild(run)
fd.plot(run).savefig("run.png")
best = fd.theory.max_margin([[1.0, 0.0]], [1])
direction: np.ndarray = best.direction
gap: xr.DataArray = fd.comparison.sup_error(run, gd)
seen = fd.observables.sharpness(p, eta=0.1)
stiff = fd.ODE(lambda t, y: -y)
slow = fd.LabelNoiseFlow(q, sigma=1.0)
names: Mapping[str, str] = fd.solvers.REGISTRY
short = fd.solve(
    fd.GradientDescent(q, eta=np.float32(0.1)), w0, steps=np.int64(10), seed=np.int64(3), max_steps=np.int64(99)
)
kept = fd.solve(sgd, [1.0, 1.0], t=1.0, on_divergence="keep", max_bytes=np.int64(2**20))
weak = fd.eta_limit(sgd, [1.0, 1.0], t=1.0, error="weak", order=np.int64(1))
shuffled = fd.SGD(q, eta=0.1, batch_size=2, sampling="reshuffle")
