"""Random runs of a sweep in one program: each cell has the bits of its own run, whatever stands beside it."""

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd
from flowdyn.solvers import ensembles, ensembles_together, exact
from flowdyn.sweeps import cells
from flowdyn.theory.moments import transition

rng = np.random.default_rng(0)
TABLE = fd.problems.LinearRegression(rng.standard_normal((8, 3)) / 3, rng.standard_normal(8))
WIDE = fd.problems.LinearRegression(rng.standard_normal((6, 70)) / 3, rng.standard_normal(6))
BOWL = np.array([[2.0, 0.3], [0.3, 1.0]])


def pull(t, x, rate, spread):
    return -rate * jnp.sin(x) + 0.1 * jnp.cos(1e6 * t)


def shake(t, x, rate, spread):
    return spread * x


def user(rate, seed):
    sde = fd.SDE(pull, shake, noise="diagonal", args=(rate, 0.3))
    return sde, [1.0, rate], {"t": 0.2, "saves": 3, "realizations": 20, "seed": seed}


def by_time(rate, seed):
    """A time for all: the smaller the step size, the more steps."""
    return fd.SGD(TABLE, rate, 2), rate * np.ones(3), {"t": 1.0, "saves": 3, "realizations": 3, "seed": seed}


def alone(rate, seed):
    return fd.SGD(TABLE, rate, 2), np.ones(3), {"steps": 9, "seed": seed}


def wide(rate, seed):
    """A state of 70 numbers, whose single members fill no block."""
    return fd.SGD(WIDE, rate, 2), np.ones(70), {"steps": 9, "saves": 3, "seed": seed}


def epochs(rate, seed):
    sgd = fd.SGD(WIDE, rate, 2, "reshuffle")
    return sgd, np.ones(70), {"steps": 9, "saves": 3, "seed": seed, "realizations": 70}


def noise(rate, seed):
    sgd = fd.SGD(fd.problems.Quadratic(BOWL, noise=rate * np.eye(2)), 0.1)
    return sgd, [1.0, rate], {"steps": 40, "saves": 3, "seed": seed, "realizations": 5, "observe_only": True}


def labels(rate, seed):
    return fd.LabelNoiseSGD(TABLE, 0.1, rate), np.ones(3), {"steps": 9, "saves": 3, "seed": seed, "realizations": 5}


def law(rate, seed):
    ou = fd.OrnsteinUhlenbeck(rate * BOWL, np.eye(2))
    return ou, [1.0, 0.0], {"t": 1.0, "saves": 4, "realizations": 30, "seed": seed}


def stops(rate, seed):
    more = {"stop": {"loss": ("<", 0.42)}, "observe": {"norm": norm}}
    return fd.SGD(TABLE, rate, 2), np.ones(3), {"steps": 40, "seed": seed, "realizations": 6, "saves": 5} | more


def norm(w):
    return jnp.sum(w**2)


MAKERS = [user, by_time, alone, wide, epochs, noise, labels, law, stops]
GRID = {"rate": [0.05, 0.1, 0.25], "seed": [0, 7]}


@pytest.fixture
def one_program(monkeypatch):
    """Fail where a random run is made by itself."""

    def refuse(run):
        raise AssertionError("a run was made by itself")

    monkeypatch.setattr(cells, "run_one", refuse)


@pytest.mark.filterwarnings("ignore::flowdyn.FlowdynWarning")
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_a_cell_is_its_own_run_to_the_bit(make):
    result = fd.sweep(make, GRID, progress=False)
    for rate in GRID["rate"]:
        for seed in GRID["seed"]:
            system, w0, options = make(rate, seed)
            own, cell = fd.solve(system, w0, **options), result.sel(rate=rate, seed=seed)
            for name in ("t", *(name for name in own.data_vars if name != "recipe")):
                found = cell[name].values[..., : own.sizes["t"]] if name in ("t", "recipe_id_t") else cell[name].values
                if "t" in own[name].dims and own[name].dims != ("t",):
                    found = np.take(found, range(own.sizes["t"]), axis=own[name].dims.index("t"))
                assert np.array_equal(found, own[name].values, equal_nan=True), (name, rate, seed)


@pytest.mark.parametrize("make", [user, by_time, law], ids=lambda make: make.__name__)
def test_no_random_cell_is_run_by_itself(make, one_program, monkeypatch):
    calls = []
    inner = ensembles_together._Group.run
    monkeypatch.setattr(ensembles_together._Group, "run", lambda *a: calls.append(a) or inner(*a))
    result = fd.sweep(make, GRID, progress=False)
    assert len(calls) == 1 and (result.failure == "").all()


def test_cells_do_not_depend_on_blocks_calls_cores_or_company(monkeypatch):
    whole = fd.sweep(by_time, GRID, progress=False)
    monkeypatch.setattr(ensembles_together, "PER_CALL", 1)
    monkeypatch.setattr(ensembles_together, "cores", lambda: 3)
    for block in (1, 4, 6):
        assert np.array_equal(fd.sweep(by_time, GRID, progress=False, block=block).w, whole.w, equal_nan=True)
    monkeypatch.setattr(ensembles_together, "CHEAP", 1)  # too long to be run beside others
    monkeypatch.setattr(ensembles_together._Group, "run", None)
    assert np.array_equal(fd.sweep(by_time, GRID, progress=False).w, whole.w, equal_nan=True)


def test_a_cell_that_diverges_is_one_failure_and_the_rest_is_kept():
    """Of w_{k+1} = w_k - eta (a w_k + xi), |1 - eta a| > 1 from eta = 2 / a on."""

    def make(eta, seed):
        quadratic = fd.problems.Quadratic(1.0, noise=1.0)
        return fd.SGD(quadratic, eta), [1.0], {"steps": 2000, "saves": 3, "seed": seed, "realizations": 4}

    with pytest.warns(fd.FlowdynWarning) as told:
        result = fd.sweep(make, {"eta": [0.5, 1.5, 3.0], "seed": [0, 1]}, progress=False)
    assert any("2 of 6 cells failed; the first, eta=3, seed=0: 4 of 4 members: the run diverged" in str(w.message)
               for w in told)  # fmt: skip
    assert (result.failure != "").values.tolist() == [[False, False], [False, False], [True, True]]
    assert np.isfinite(result.w.sel(eta=[0.5, 1.5])).all() and np.isnan(result.w.sel(eta=3.0)).all()
    system, w0, options = make(3.0, 1)
    with pytest.raises(fd.RunError) as alone, pytest.warns(fd.FlowdynWarning):
        fd.solve(system, w0, **options)
    assert str(alone.value) == str(result.failure.sel(eta=3.0, seed=1).values)


@pytest.mark.filterwarnings("ignore::flowdyn.FlowdynWarning")
def test_what_is_kept_of_members_that_diverge_is_theirs():
    def make(eta, seed):
        quadratic = fd.problems.Quadratic(1.0, noise=1.0)
        more = {"stop": {"loss": ("<", 1e-3)}, "on_divergence": "keep", "realizations": 5, "seed": seed}
        return fd.SGD(quadratic, eta), [1.0], {"steps": 700, "saves": 36} | more

    result = fd.sweep(make, {"eta": [0.5, 3.0], "seed": [0, 1]}, progress=False)
    for seed in (0, 1):
        system, w0, options = make(3.0, seed)
        own, cell = fd.solve(system, w0, **options), result.sel(eta=3.0, seed=seed)
        assert {"diverged"} <= {fd_status(own, code) for code in own.status.values}
        for name in ("w", "loss", "status", "t_stop"):
            assert np.array_equal(cell[name], own[name], equal_nan=True), name


def fd_status(run, code):
    return run.status.attrs["flag_meanings"].split()[code]


def test_the_time_of_a_step_does_not_depend_on_how_a_run_is_cut(monkeypatch):
    """A step's time was reckoned on from where a call began, whose place depended on how long the last one took."""
    system, w0, options = user(0.2, 0)
    options |= {"solver": fd.solvers.EulerMaruyama(dt=2e-3), "saves": 2}
    found = []
    for piece in (512, 37):
        monkeypatch.setattr(ensembles, "FIRST_PIECE", piece)
        found.append(fd.solve(system, w0, **options).w.values)
    assert np.array_equal(*found)


def test_a_cell_whose_path_does_not_fit_is_one_failure():
    """A Brownian path kept at 0.02 has no increments of 0.05."""

    def make(eta, seed):
        quadratic = fd.problems.Quadratic(1.0, noise=1.0)
        solver = fd.solvers.Iteration(brownian_dt=0.02)
        return fd.SGD(quadratic, eta), [1.0], {"steps": 5, "seed": seed, "realizations": 2, "solver": solver}

    with pytest.warns(fd.FlowdynWarning, match="1 of 3 cells failed"):
        result = fd.sweep(make, {"eta": [0.04, 0.05, 0.1], "seed": [3]}, progress=False)
    assert "`brownian_dt` must divide eta" in str(result.failure.values[1, 0])
    assert np.isfinite(result.w.values[[0, 2]]).all()


def test_the_law_of_each_move_is_found_once(monkeypatch):
    """Saves at equal distances from the start on have two moves: none, and one from save to save."""
    found = []
    monkeypatch.setattr(exact, "transition", lambda *law: found.append(law[-1]) or transition(*law))

    def make(rate, seed):
        system = fd.OrnsteinUhlenbeck(rate, 1.0)
        return system, [1.0], {"t": 1.0, "saves": 5, "seed": seed, "realizations": 3}

    result = fd.sweep(make, {"rate": [1.0, 2.0], "seed": [0, 1, 2]})
    assert sorted(found) == [0.0] * 6 + [0.25] * 6
    for rate in (1.0, 2.0):
        system, w0, options = make(rate, 2)
        assert np.array_equal(result.w.sel(rate=rate, seed=2), fd.solve(system, w0, **options).w)
