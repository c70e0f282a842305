"""On an accelerator all members and starts go at once: the same results as in blocks and in turn, to rounding."""

import numpy as np
import pytest

import flowdyn as fd
from flowdyn._tools import stacked, threads
from flowdyn.solvers import explicit_batch, step_program

rng = np.random.default_rng(0)
X = rng.standard_normal((10, 20)) / np.sqrt(10)
y = X[:, 0] - 2 * X[:, 1]


@pytest.fixture
def accelerator(monkeypatch):
    """Have flowdyn take the processor for an accelerator."""

    def pretend():
        for module in (threads, stacked, explicit_batch, step_program):
            monkeypatch.setattr(module, "is_accelerated", lambda: True)

    return pretend


def starts():
    p = fd.problems.DiagonalNetwork(X, y)
    w0 = np.stack([p.init(alpha) for alpha in (1e-3, 0.03, 1.0)])
    return fd.solve(fd.GradientFlow(p), w0, t=20.0, saves=5)


def stopped_starts():
    p = fd.problems.DiagonalNetwork(X, y)
    w0 = np.stack([p.init(alpha) for alpha in (0.01, 0.1, 1.0)])
    return fd.solve(fd.GradientFlow(p), w0, t=200.0, saves=3, stop={"loss": ("<", 1e-3)})


def minibatches():
    return fd.solve(fd.SGD(fd.problems.LinearRegression(X, y), 1e-2, batch_size=3), np.zeros(20), steps=40, saves=3,
                    realizations=70, seed=1)  # fmt: skip


def paths():
    sde = fd.SDE(lambda t, x: -x + np.cos(1.0) * t, lambda t, x: 0.5 + 0 * x, noise="additive")
    return fd.solve(sde, [1.0], t=1.0, saves=3, realizations=200, solver=fd.solvers.EulerMaruyama(dt=0.01), seed=2)


def cells():
    def make(eta, seed):
        return fd.SGD(fd.problems.LinearRegression(X, y), eta, batch_size=3), np.zeros(20), {"steps": 30, "seed": seed}

    return fd.sweep(make, {"eta": [1e-3, 1e-2], "seed": [0, 1, 2]}, progress=False)


FLOWS = 1e-8  # of steps whose sizes follow errors; the others differ by rounding alone


@pytest.mark.parametrize(
    ("job", "rtol"), [(starts, FLOWS), (stopped_starts, FLOWS), (minibatches, 1e-12), (paths, 1e-12), (cells, 1e-12)]
)
def test_all_at_once_is_the_same_to_rounding(job, rtol, accelerator):
    before = job()
    accelerator()
    assert threads.cores() == 1
    after = job()
    for name, values in before.data_vars.items():
        if values.dtype.kind == "f" and not name.startswith("wall"):
            np.testing.assert_allclose(after[name].values, values.values, rtol=rtol, atol=1e-2 * rtol, err_msg=name)
    assert (after.status.values == before.status.values).all()


def test_the_device_says_whether_it_is_one(monkeypatch):
    assert not threads.is_accelerated()
    import jax

    with jax.default_device("cpu"):
        assert not threads.is_accelerated()
    with jax.default_device(jax.devices("cpu")[0]):
        assert not threads.is_accelerated()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert threads.is_accelerated()
