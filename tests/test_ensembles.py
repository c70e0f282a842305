"""Ensembles: a member depends on seed, member and step alone; stops, divergence, restarts, budgets."""

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd

Q2 = fd.problems.Quadratic([[2.0, 0.5], [0.5, 1.0]], noise=[[1.0, 0.2], [0.2, 0.5]])
rng = np.random.default_rng(0)
TABLE = fd.problems.LinearRegression(rng.standard_normal((8, 3)) / 3, rng.standard_normal(8))
NET = fd.problems.CustomRegression(
    lambda w, x: jnp.tanh(x @ w["a"]) @ w["b"], rng.standard_normal(5),
    {"a": 0.3 * rng.standard_normal((2, 7)), "b": rng.standard_normal(7)}, data=rng.standard_normal((5, 2)),
)  # fmt: skip
CASES = {
    "one dimension": lambda: (fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), 0.1), [1.0], None),
    "two dimensions": lambda: (fd.SGD(Q2, 0.1), [1.0, -1.0], None),
    "samples": lambda: (fd.SGD(TABLE, 0.05, 2), np.ones(3), None),
    "without": lambda: (fd.SGD(TABLE, 0.05, 3, "without"), np.ones(3), None),
    "reshuffle": lambda: (fd.SGD(TABLE, 0.05, 3, "reshuffle"), np.ones(3), None),
    "network": lambda: (fd.SGD(NET, 0.05), NET.init(), None),
    "label noise": lambda: (fd.LabelNoiseSGD(NET, 0.05, 0.3, 2, "sign"), NET.init(), None),
    "svag": lambda: (fd.SVAG(TABLE, 0.05, l=3), np.ones(3), None),
    "equation": lambda: (fd.SGD(NET, 0.05).limit(2), NET.init(), fd.solvers.EulerMaruyama(0.025)),
    "two points": lambda: (
        fd.OrnsteinUhlenbeck(1.0, 1.0),
        [1.0],
        fd.solvers.EulerMaruyama(0.01, increments="rademacher"),
    ),
    "float32": lambda: (fd.OrnsteinUhlenbeck(1.0, 1.0), [1.0], fd.solvers.EulerMaruyama(0.01, precision="float32")),
    "exact law": lambda: (fd.OrnsteinUhlenbeck(np.diag([1.0, 2.0, 3.0]), np.eye(3)), np.ones(3), None),
    "diffrax": lambda: (fd.OrnsteinUhlenbeck(1.0, 1.0), [1.0], fd.solvers.DiffraxSDE(dt=0.1)),
}


def states(run):
    names = run.attrs["flowdyn_parameters"].split()
    return np.concatenate([run[n].values.reshape(*run[n].shape[:2], -1) for n in names], axis=-1)


@pytest.mark.parametrize("name", CASES)
def test_a_member_is_the_same_in_any_ensemble(name):
    system, w0, solver = CASES[name]()
    more = {"t": 0.6, "saves": 4, "solver": solver, "seed": 9}
    many = states(fd.solve(system, w0, realizations=150, progress=lambda f: None, **more))
    for count in (1, 3, 70):
        assert np.array_equal(states(fd.solve(system, w0, realizations=count, **more)), many[:count])
    alone = fd.solve(system, w0, **more)
    assert "realization" not in alone.dims
    assert np.array_equal(states(alone.expand_dims("realization")), many[:1])
    other = states(fd.solve(system, w0, realizations=3, **{**more, "seed": 10}))
    assert not np.array_equal(other[:, -1], many[:3, -1])
    assert len(np.unique(many[:, -1], axis=0)) > 100


@pytest.mark.parametrize(("features", "alone"), [(80, 1), (3, 8)])
def test_a_member_alone_takes_no_block_of_its_neighbours(features, alone, monkeypatch):
    from flowdyn.solvers import member_runs

    g, sizes = np.random.default_rng(1), []
    monkeypatch.setattr(
        member_runs, "block_size", lambda *a, real=member_runs.block_size: sizes.append(real(*a)) or sizes[-1]
    )
    p = fd.problems.LinearRegression(g.standard_normal((5, features)) / 10, g.standard_normal(5))
    one, many = (fd.solve(fd.SGD(p, 0.1), np.ones(features), steps=20, realizations=n, seed=2).w.values for n in (1, 2))
    assert sizes[0] == alone < sizes[1]
    assert np.abs(one - many[:1]).max() < 1e-14 * np.abs(many).max() * 20
    assert features > 64 or np.array_equal(one, many[:1])


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_numbers_in_single_precision_are_the_same_in_each_loop(m):
    """Those made for eight steps before them, and those made with each step where saves are near."""
    sde = fd.SDE(lambda t, y: -y, lambda t, y: 0.3 * jnp.eye(m))
    more = {"solver": fd.solvers.EulerMaruyama(dt=2.0**-6, precision="float32"), "seed": 4, "realizations": 90}
    far = states(fd.solve(sde, np.ones(m), t=1.0, saves=2, **more))
    near = states(fd.solve(sde, np.ones(m), t=1.0, saves=5, **more))
    assert np.array_equal(far[:, -1], near[:, -1])


def test_blocks_do_not_show(monkeypatch):
    from flowdyn.solvers import ensembles, step_program

    system, w0, _ = CASES["one dimension"]()
    whole = fd.solve(system, w0, t=1.0, realizations=1000)
    monkeypatch.setattr(step_program, "WIDE", 128)  # blocks of 64
    monkeypatch.setattr(ensembles, "FIRST_PIECE", 3)
    assert np.array_equal(fd.solve(system, w0, t=1.0, realizations=1000).w, whole.w)


@pytest.mark.parametrize("name", ["two dimensions", "reshuffle", "network", "equation", "two points", "exact law"])
def test_a_restart_goes_on_as_if_it_had_not_stopped(name):
    system, w0, solver = CASES[name]()
    t = 0.05 * np.arange(0, 13)
    t = system.clock(np.arange(13)) if isinstance(system, fd.SGD) else t
    more = {"solver": solver, "seed": 3}
    whole = fd.solve(system, w0, t=t, realizations=6, **more)
    half = fd.solve(system, w0, t=t[:8], realizations=6, **more)
    rest = fd.solve(system, half.isel(t=-1), t=t[8:], **more)
    assert rest.sizes["realization"] == 6
    assert np.allclose(states(rest), states(whole)[:, 8:], rtol=1e-12, atol=1e-14)
    if name != "exact law":
        again = (
            fd.solve(*fd.rebuild(rest, predict=NET.function)[:2], **fd.rebuild(rest, predict=NET.function)[2])
            if (name in ("network", "equation"))
            else fd.solve(*fd.rebuild(rest)[:2], **fd.rebuild(rest)[2])
        )
        assert np.array_equal(states(again), states(rest))


def test_stopped_members_are_nan_afterwards():
    ou = fd.OrnsteinUhlenbeck(1.0, 1.0)
    rule = {"x": (">", 1.0)}
    more = {"stop": rule, "observe": {"x": lambda w: w[0]}, "seed": 2}
    sgd = fd.SGD(fd.problems.Quadratic(1.0, noise=4.0), 0.1)
    run = fd.solve(sgd, [0.0], t=3.0, realizations=300, **more)
    stopped = run.status.values == 1
    assert 20 < stopped.sum() < 300 and np.isfinite(run.t_stop.values[stopped]).all()
    for i in np.flatnonzero(stopped)[:20]:
        row, end = run.w.values[i, :, 0], run.t_stop.values[i]
        before = run.t.values < end - 1e-12
        assert (row[before] <= 1.0).all() and np.isnan(row[run.t.values > end + 1e-12]).all()
    free = fd.solve(sgd, [0.0], t=3.0, realizations=300, seed=2)
    first = np.argmax(free.w.values[:, :, 0] > 1.0, axis=1)
    crossed = (free.w.values[:, :, 0] > 1.0).any(axis=1)
    assert np.array_equal(crossed, stopped) and np.allclose(run.t_stop[stopped], free.t.values[first[stopped]])
    alone = fd.solve(ou, [0.0], t=50.0, solver=fd.solvers.EulerMaruyama(0.01), **more)
    assert int(alone.status) == 1 and float(alone.w[-1, 0]) > 1.0


@pytest.mark.filterwarnings("ignore:`eta` = 0.05 is above the stability threshold")
def test_divergence_is_told_or_kept():
    # f_i = c_i w^4: members that draw the steep sample early are beyond its threshold, others are not
    p = fd.problems.CustomProblem(
        lambda w, c: jnp.mean(c) * w**4, 0.0, data=np.array([0.1, 30.0]), sample_losses=lambda w, c: c * w**4
    )
    sgd = fd.SGD(p, 0.05)
    kept = fd.solve(sgd, 0.9, steps=6, realizations=64, seed=1, on_divergence="keep")
    steep = np.isnan(kept.w.values).any(axis=1)
    lost = kept.status.values == 2
    assert np.array_equal(lost, steep) and 0 < lost.sum() < 64
    assert np.isnan(kept.w.values[lost][:, -1]).all() and np.isfinite(kept.w.values[~lost]).all()
    ends = kept.t_stop.values[lost]
    assert np.allclose(ends / 0.05, np.rint(ends / 0.05)) and (ends > 0).all()
    with pytest.raises(fd.RunError, match=rf"{lost.sum()} of 64 members: the run diverged at t = .*step"):
        fd.solve(sgd, 0.9, steps=6, realizations=64, seed=1)


def test_observables_alone_and_budgets():
    ou = fd.OrnsteinUhlenbeck(np.eye(3), np.eye(3))
    observe = {"n2": lambda w: jnp.sum(w**2)}
    full = fd.solve(ou, np.ones(3), t=1.0, saves=11, realizations=200, observe=observe)
    lean = fd.solve(ou, np.ones(3), t=1.0, saves=11, realizations=200, observe=observe, observe_only=True)
    assert "w" not in lean and np.array_equal(lean.n2, full.n2) and np.array_equal(lean.w_last, full.w[:, -1])
    assert np.allclose(full.n2, (full.w**2).sum("param"))
    with pytest.raises(fd.RunError, match="max_steps"):
        fd.solve(ou, np.ones(3), t=1.0, realizations=4, solver=fd.solvers.EulerMaruyama(0.01), max_steps=7)


NUMPY_SDE = fd.SDE(lambda t, x: -np.tanh(np.array([float(v) for v in x])), lambda t, x: np.array([[0.1 * float(x[0])]]))


def test_plain_numpy_goes_to_sdeint():
    run = fd.solve(NUMPY_SDE, [1.0], t=0.2, saves=3, realizations=2, seed=1)
    assert '"Sdeint"' in run.recipe.item() and np.isfinite(run.w).all()


@pytest.mark.parametrize("count", [3, 111])
def test_observables_of_a_member_are_the_same_bits_in_any_ensemble(count):
    g = np.random.default_rng(0)
    p = fd.problems.LinearRegression(g.standard_normal((20, 3)), g.standard_normal(20))
    sgd, seen = fd.SGD(p, 0.002), {"n": lambda w: jnp.sum(w**2)}
    few, many = (
        fd.solve(sgd, np.zeros(3), steps=20, realizations=n, observe=seen, progress=n == count) for n in (count, 700)
    )
    for name in ("w", "loss", "grad_norm", "n"):
        assert np.array_equal(few[name], many[name][:count])
