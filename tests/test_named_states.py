"""States with names in equations of a user's own: a pendulum, noise by the name of what it moves."""

import jax.numpy as jnp
import numpy as np
import pytest
from refusal import assert_refused

import flowdyn as fd


def decay(t, y):
    """x' = -x, v' = -2 v, of pieces of any shape."""
    return {"x": -y["x"], "v": -2 * y["v"]}


def oscillator(t, y):
    """A frequency of 1, flat."""
    return jnp.stack([y[1], -y[0]])


def swing(t, y):
    """A pendulum in plain numpy, which writes into what it is given."""
    y["theta"] *= 1.0
    return {"theta": y["omega"], "omega": -np.sin(y["theta"])}


def same(a, b):
    return all(a[name].equals(b[name]) for name in a.attrs["flowdyn_parameters"].split())


def test_names_of_a_flat_state():
    ode = fd.ODE(oscillator, names=("position", "speed"))
    run = fd.solve(ode, [1.0, 0.0], t=2.0)
    assert run.position.dims == ("t",)
    assert np.allclose(run.position, np.cos(run.t), atol=1e-7) and np.allclose(run.speed, -np.sin(run.t), atol=1e-7)
    assert same(fd.solve(ode, {"speed": 0.0, "position": 1.0}, t=2.0), run)
    both = fd.solve(ode, [[1.0, 0.0], [2.0, 0.0]], t=2.0)
    assert both.position.dims == ("start", "t") and np.allclose(both.position[1], 2 * np.cos(run.t), atol=1e-6)


def test_a_mapping_names_the_state_and_is_what_f_sees():
    start = {"x": np.ones((2, 3)), "v": np.full(2, 3.0)}
    run = fd.solve(fd.ODE(decay), start, t=1.0, observe={"total": lambda y: y["x"].sum() + y["v"].sum()})
    assert run.x.shape == (101, 2, 3) and run.v.shape == (101, 2)
    assert np.allclose(run.x[-1], np.exp(-1), rtol=1e-6) and np.allclose(run.v[-1], 3 * np.exp(-2), rtol=1e-6)
    assert np.allclose(run.total, 6 * np.exp(-run.t) + 6 * np.exp(-2 * run.t), rtol=1e-6)
    assert run.x_initial.equals(run.x[0].drop_vars(set(run.x.coords) - set(run.x_initial.coords)))


@pytest.mark.parametrize("kind", ["numpy", "jax"])
def test_a_pendulum_travels_goes_on_and_is_joined(kind, tmp_path):
    f = swing if kind == "numpy" else lambda t, y: {"theta": y["omega"], "omega": -jnp.sin(y["theta"])}
    ode, start = fd.ODE(f), {"theta": 1.0, "omega": 0.0}
    run = fd.solve(ode, start, t=2.0)
    energy = run.omega**2 / 2 - np.cos(run.theta)
    assert np.allclose(energy, energy[0], atol=1e-6) and abs(float(run.theta[-1] - run.theta[0])) > 0.1
    back = fd.load(fd.save(run, tmp_path / "p.nc"))
    assert same(fd.rerun(back, f=f), run)
    later = fd.solve(ode, back.isel(t=-1), t=3.0)  # the names are those of the file
    assert float(later.theta[0]) == float(run.theta[-1]) and same(fd.rerun(later, f=f), later)
    high = fd.solve(ode, {"theta": 2.0, "omega": 0.0}, t=2.0)
    joined = fd.concat([run, high], "amplitude")
    assert same(fd.rerun(joined.isel(amplitude=1), f=f), high)


def test_the_title_is_the_name_of_the_function():
    assert fd.solve(fd.ODE(oscillator), [1.0, 0.0], t=0.1, saves=2).title == "ODE oscillator"
    assert fd.solve(fd.ODE(lambda t, y: -y), [1.0], t=0.1, saves=2).title == "ODE"
    assert fd.solve(fd.SDE(oscillator, lambda t, x: x, noise="diagonal"), [1.0, 0.0], t=0.1).title == "SDE oscillator"


def diagonal(t, y):
    """Noise in proportion."""
    return {"x": 0.3 * y["x"], "v": 0.1 * y["v"]}


def one_motion(t, y):
    """The same Brownian motion for both."""
    return {"x": 0.3 * y["x"][None], "v": 0.1 * y["v"][None]}


def test_noise_by_the_names_of_what_it_moves(tmp_path):
    run = fd.solve(fd.SDE(decay, diagonal, noise="diagonal"), {"x": 1.0, "v": 2.0}, t=1.0, realizations=400, seed=3)
    f, g = (lambda t, z: jnp.array([-2.0, -1.0]) * z), (lambda t, z: jnp.array([0.1, 0.3]) * z)
    flat = fd.SDE(f, g, noise="diagonal", names=("v", "x"))
    again = fd.solve(flat, [2.0, 1.0], t=1.0, realizations=400, seed=3)
    assert np.allclose(run.x, again.x, rtol=1e-12) and np.allclose(run.v, again.v, rtol=1e-12)
    assert same(fd.rerun(fd.load(fd.save(run, tmp_path / "n.nc")), f=decay, g=diagonal), run)
    later = fd.solve(fd.SDE(decay, diagonal, noise="diagonal"), run.isel(t=-1), t=1.5)
    assert later.x.dims == ("realization", "t") and np.array_equal(later.x[:, 0], run.x[:, -1])
    # d log x = (-1 - 0.045) dt + 0.3 dW,  d log v = (-2 - 0.005) dt + 0.1 dW: log v is log x / 3, but for its drift
    one = fd.solve(
        fd.SDE(decay, one_motion), {"x": 1.0, "v": 1.0}, t=1.0, realizations=50, solver=fd.solvers.EulerMaruyama(1e-3)
    )
    last = one.isel(t=-1)
    assert np.allclose((np.log(last.x) + 1.045) / 0.3, (np.log(last.v) + 2.005) / 0.1, atol=0.15)


def test_a_mean_of_named_states():
    run = fd.solve(fd.averaged(fd.ODE(decay, names={"x": (), "v": ()})), {"x": 1.0, "v": 2.0}, t=2.0)
    assert np.allclose(run.v_mean[1:], (1 - np.exp(-2 * run.t[1:])) / run.t[1:], rtol=1e-5)
    ema = fd.solve(fd.averaged(fd.ODE(decay), "ema", 1.0), {"x": 1.0, "v": 1.0}, t=1.0)
    assert np.allclose(ema.x_ema, (1 + ema.t) * np.exp(-ema.t), rtol=1e-5)  # e' = exp(-t) - e


def test_several_mappings_are_several_starts(tmp_path):
    starts = [{"x": 1.0, "v": 2.0}, {"v": -1.0, "x": 3.0}]
    run = fd.solve(fd.ODE(decay), starts, t=1.0, saves=3)
    assert run.x.dims == ("start", "t") and run.x_initial.values.tolist() == [1.0, 3.0]
    assert np.allclose(run.v, np.array([[2.0], [-1.0]]) * np.exp(-2 * run.t.values), rtol=1e-6)
    fd.save(run, tmp_path / "run.nc")
    loaded = fd.load(tmp_path / "run.nc")
    assert same(fd.rerun(loaded, f=decay), run)
    one = fd.rerun(loaded.isel(start=1), f=decay)  # its seal took a number for another thing than a row of numbers
    assert np.allclose(one.x, 3 * np.exp(-one.t), rtol=1e-6)


PAIR = {"x": 1.0, "v": 2.0}
REFUSED = {
    "one string": (
        lambda: fd.ODE(decay, names="xv"),
        "`names` must be a tuple of names or a mapping from name to shape",
    ),
    "no names": (lambda: fd.ODE(decay, names=()), "`names` must be a tuple"),
    "time": (lambda: fd.ODE(decay, names=("x", "t")), "must not be those of a Dataset's own"),
    "twice": (lambda: fd.ODE(decay, names=("x", "x")), "`names` must differ"),
    "an ending": (lambda: fd.ODE(decay, names=("x_initial",)), "do not end in _initial"),
    "Greek": (lambda: fd.SDE(decay, diagonal, names=("θ",)), "'theta' for an angle"),
    "a number": (lambda: fd.ODE(decay, names={"x": 3}), r"`names\['x'\]` must be a shape, got 3; \(\) for a number"),
    "another length": (
        lambda: fd.solve(fd.ODE(oscillator, names=("x", "v")), np.ones(3), t=1.0),
        r"`w0` must have shape \(2,\), the state x\[\], v\[\]",
    ),
    "another key": (
        lambda: fd.solve(fd.ODE(decay, names=("x", "v")), {"x": 1.0, "u": 1.0}, t=1.0),
        r"`w0` must have exactly the keys \['x', 'v'\]",
    ),
    "a mapping beside none": (
        lambda: fd.solve(fd.ODE(decay), [PAIR, [1.0, 2.0]], t=1.0),
        "`w0` must hold a mapping for each start, or none",
    ),
    "a start of other names": (
        lambda: fd.solve(fd.ODE(decay), [PAIR, {"x": 1.0}], t=1.0),
        r"`w0` must have exactly the keys \['v', 'x'\], got \['x'\]",
    ),
    "several starts of noise": (
        lambda: fd.solve(fd.SDE(decay, lambda t, y: {"x": jnp.ones(1), "v": jnp.ones(1)}), [PAIR, PAIR], t=1.0),
        "`w0` must be one start for a random system, got 2 of them",
    ),
    "text": (lambda: fd.solve(fd.ODE(decay), {"x": "a", "v": 1.0}, t=1.0), r"`w0\['x'\]` must hold real numbers"),
    "f of an array": (
        lambda: fd.solve(fd.ODE(lambda t, y: -y["x"]), PAIR, t=1.0),
        r"`f` must return a mapping with the names \['v', 'x'\]",
    ),
    "f of an array by numbers": (
        lambda: fd.solve(fd.ODE(lambda t, y: jnp.array([y[1], -y[0]])), PAIR, t=1.0),
        r"`f` is handed the time, the dict v\[\], x\[\] of its start and its `args`, and must take them, "
        r"got KeyError: 1; write y\['v'\], or give names=\(...\) in the order in which f takes an array",
    ),
    "f of a mapping by names": (
        lambda: fd.solve(fd.ODE(lambda t, y: {"x": y["v"], "v": -y["x"]}, names=("x", "v")), PAIR, t=1.0),
        r"`f` is handed the time, an array of shape \(2,\) with the entries x, v and its `args`, and must take them, "
        r"got IndexError: .*; write y\[0\], or start from a mapping without `names`",
    ),
    "f of a mapping of a flat start": (
        lambda: fd.solve(fd.ODE(lambda t, y: -y["v"]), [1.0, 2.0], t=1.0),
        r"`f` is handed the time, an array of shape \(2,\) and its `args`, and must take them, got IndexError",
    ),
    "g of an array by numbers": (
        lambda: fd.solve(fd.SDE(decay, lambda t, x: jnp.array([x[1], 0.0])), PAIR, t=1.0),
        r"`g` is handed the time, the dict v\[\], x\[\] of its start and .*, got KeyError: 1; write x\['v'\]",
    ),
    "f of one name": (
        lambda: fd.solve(fd.ODE(lambda t, y: {"x": y["x"]}), PAIR, t=1.0),
        r"with the names \['v', 'x'\], got \['x'\]",
    ),
    "f of another shape": (
        lambda: fd.solve(fd.ODE(lambda t, y: {"x": y["x"], "v": jnp.ones(2)}), PAIR, t=1.0),
        r"`f` must return real numbers of shape \(\) for 'v', got shape \(2,\)",
    ),
    "g of unlike columns": (
        lambda: fd.solve(fd.SDE(decay, lambda t, y: {"x": jnp.ones(2), "v": jnp.ones(3)}), PAIR, t=1.0),
        "`g` must return as many columns for each name",
    ),
    "g without columns": (
        lambda: fd.solve(fd.SDE(decay, diagonal), PAIR, t=1.0),
        r"`g` must return real numbers of shape \(\) \+ \(m,\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_words(name):
    assert_refused(*REFUSED[name])
