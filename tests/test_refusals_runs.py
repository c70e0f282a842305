"""Refused: times, starts, stops and functionals that a run cannot have."""

import jax.numpy as jnp
import numpy as np
import pytest
from refusal import assert_refused

import flowdyn as fd

W = np.ones(2)
OU = fd.OrnsteinUhlenbeck(1.0, 1.0)
VALLEY = fd.problems.SquaredRegression([[1.0, 2.0]], [1.5])  # interpolated by (1, -1/2)
NET = fd.problems.DiagonalNetwork([[2.0]], [1.0])


def steps_of_two():
    """A sweep whose first cell has fewer rows."""
    return fd.sweep(lambda eta: (descent(eta), W, {"t": 1.0}), {"eta": [0.5, 0.1]}, progress=False)


def quadratic():
    return fd.problems.Quadratic(np.eye(2))


def descent(eta=0.1):
    return fd.GradientDescent(quadratic(), eta)


def flow():
    return fd.GradientFlow(quadratic())


def solve(system=None, w0=(1.0, 1.0), t=1.0, **options):
    return fd.solve(system or flow(), list(w0), t, **options)


CASES = {
    "t unsorted": (lambda: solve(t=[0.0, 2.0, 1.0]), "`t` must be strictly increasing, got 2.0 before 1.0"),
    "t twice": (lambda: solve(t=[0.0, 1.0, 1.0]), "`t` must be strictly increasing, got 1.0 before 1.0"),
    "t negative": (lambda: solve(t=-1.0), "`t` must not be before 0, .*got -1.0"),
    "t NaN": (lambda: solve(t=np.nan), "`t` must not be before 0, .*got nan"),
    "t inf": (lambda: solve(t=np.inf), "`t` must be finite unless `stop` is given"),
    "t text": (lambda: solve(t="long"), "`t` must be an end time or an array"),
    "t off the clock": (
        lambda: solve(descent(), t=[0.1, 0.25]),
        r"`t` .* got t\[1\] = 0.25; the nearest are 0.2 and 0.3",
    ),
    "t below a step": (lambda: solve(descent(), t=0.05), "`t` must reach at least one step of the clock, 0.1"),
    "t missing": (lambda: solve(t=None), "`t` or `steps` must be given"),
    "t and steps": (lambda: solve(descent(), steps=3), "`t` or `steps` must be given, and not both"),
    "steps of a flow": (lambda: solve(t=None, steps=3), "`steps` is for recursions"),
    "too many steps": (
        lambda: solve(descent(1e-12), t=1.0, solver=fd.solvers.Iteration()),
        r"`t` must not need more than .*flowdyn\.fast_forward",
    ),
    "an option of a solver": (
        lambda: solve(breakpoints=[0.5]),
        r"`breakpoints` is an option of a solver \(Auto, Scipy, Diffrax\) and none of solve; "
        r"write solver=fd.solvers.Auto\(breakpoints=...\)",
    ),
    "no option": (
        lambda: solve(step=3),
        r"`argument of solve` must be one of \['system', .*\], got 'step'; did you mean 'steps'",
    ),
    "saves": (lambda: solve(saves=1), "`saves` must be at least 2, got 1"),
    "bytes in words": (lambda: solve(max_bytes="1"), "`max_bytes` must be a whole number, got '1'"),
    "bytes without bound": (lambda: solve(max_bytes=np.inf), "`max_bytes` must be a whole number, got inf"),
    "no bytes": (lambda: solve(max_bytes=0), "`max_bytes` must be at least 1, got 0"),
    "observe_only in words": (lambda: solve(observe_only="no"), "`observe_only` must be True or False, got 'no'"),
    "stop of an empty list": (lambda: solve(stop=[]), r"`stop` must map names to rules, got \[\]"),
    "stop of arrays": (lambda: solve(stop={"loss": (np.array(["<", "<"]), 1)}), r"`stop\['loss'\]` must be"),
    "t beyond floats": (lambda: solve(t=10**400), "`t` must be an end time"),
    "t is a truth": (lambda: solve(t=np.bool_(True)), "`t` must be an end time or an array of times, got True"),
    "t of a numpy scalar": (lambda: solve(t=np.array([-1.0, 1.0])), "`t` must not start before 0.*got -1.0$"),
    "modified flow of high order": (
        lambda: fd.ModifiedFlow(quadratic(), 0.1, order=99),
        "`order` must be at most 20, got 99",
    ),
    "a limit by name": (
        lambda: fd.eta_limit(descent(), W, 1.0, solver="LSODA"),
        "`solver` must be a solver object, got 'LSODA'",
    ),
    "a ladder without end": (lambda: fd.eta_limit(descent(), W, None), "`t` must be the time at which the ladder ends"),
    "a ladder of many starts": (
        lambda: fd.eta_limit(descent(), np.ones((3, 2)), 1.0),
        r"`w0` must have shape \(2,\).*got shape \(3, 2\); give one start",
    ),
    "former and present name": (
        lambda: fd.eta_limit(descent(), W, 1.0, resolution=0.1, relative_error=0.1),
        "`resolution` is the former name of `relative_error`",
    ),
    "observable of no function": (
        lambda: fd.eta_limit(fd.SGD(VALLEY, 0.1), W, 1.0, observable=3),
        "`observable` must be a function .*got 3$",
    ),
    "bytes": (lambda: solve(max_bytes=100), r"`max_bytes` = 100 is below the .* bytes"),
    "w0 shape": (
        lambda: solve(w0=[1.0, 2.0, 3.0]),
        r"`w0` must have shape \(2,\), the parameters w\[2\], got shape \(3,\)",
    ),
    "w0 NaN": (lambda: solve(w0=[1.0, np.nan]), r"`w0` must be finite, got nan at w0\[1\]"),
    "w0 behind the end": (
        lambda: fd.solve(flow(), solve().isel(t=-1).map(lambda v: v * np.nan if v.dtype.kind == "f" else v), 2.0),
        "`w0` must be finite, got nan; rows behind the end of a run hold none",
    ),
    "w0 behind the end of a cell": (
        lambda: fd.solve(descent(), steps_of_two().isel(eta=0, save=-1), steps=9),
        "`w0` must be finite, got nan; rows behind the end of a run hold none",
    ),
    "progress of nothing": (lambda: solve(progress=lambda: 1), "`progress` must be a function of the fraction done"),
    "w0 beyond": (lambda: solve(w0=[1.0, -1e200]), r"`w0` must be at most 1e\+100 in size, .* got 1e\+200"),
    "w0 names": (lambda: fd.solve(flow(), {"v": W}, 1.0), r"`w0` must have exactly the keys \['w'\]"),
    "w0 all times": (lambda: fd.solve(flow(), solve(), 2.0), r"`w0` must be a Dataset at one time.*isel\(t=-1\)"),
    "system": (lambda: fd.solve(quadratic(), W, 1.0), "`system` must be a flowdyn system"),
    "t is text": (lambda: solve(t="1"), "`t` must be an end time or an array of times, got '1'; e.g. t=10.0"),
    "steps beyond int64": (lambda: fd.solve(descent(), W, steps=10**20), r"`steps` must be at most 2\*\*62"),
    "saves beyond memory": (lambda: solve(saves=10**12), "`saves` must be at most 100,000,000"),
    "stop name": (lambda: solve(stop={"los": ("<", 1.0)}), "`stop` must be one of .*did you mean 'loss'"),
    "stop rule": (lambda: solve(stop={"loss": 1.0}), r'`stop\[\'loss\'\]` must be \("<", value\)'),
    "stop of no rules": (lambda: solve(stop="loss"), "`stop` must map names to rules"),
    "observe clash": (lambda: solve(observe={"loss": jnp.sum}), "`observe` must not reuse a name"),
    "observe name": (lambda: solve(observe={"a b": jnp.sum}), "`observe` must map names"),
    "observe numpy": (lambda: solve(observe={"n": lambda w: np.linalg.norm(np.asarray(w))}), "`observe` .*jax.numpy"),
    "observe of nothing": (lambda: solve(observe={"a": lambda: 1.0}), r"`observe\['a'\]` must be a function"),
    "observe of no names": (lambda: solve(observe=["a"]), "`observe` must map names to functions"),
    "observable of another problem": (
        lambda: fd.solve(
            fd.GradientFlow(fd.problems.LinearRegression(np.eye(4), np.ones(4))),
            np.zeros(4),
            1.0,
            observe=fd.observables.invariant(fd.problems.DiagonalNetwork(np.eye(2), np.ones(2))),
        ),
        r"`observe\['invariant'\]` must be made for the system's problem, whose `feature` has 4 entries",
    ),
    "observable of another size": (
        lambda: solve(observe={"a": lambda w: jnp.ones(3) @ w}),
        r"`observe\['a'\]` must be a function of the parameters, defined at the start",
    ),
    "realizations": (lambda: solve(realizations=5), "`realizations` must be None for a deterministic system"),
    "on_divergence": (lambda: solve(on_divergence="ignore"), "`on_divergence` must be one of"),
    "progress": (lambda: solve(progress="yes"), "`progress` must be None, True, False"),
    "slow flow off the manifold of small targets": (
        lambda: fd.solve(fd.LabelNoiseFlow(fd.problems.LinearRegression(np.eye(2), [2e-6, 1e-6]), 0.5), W * 0, 1.0),
        "`w0` must interpolate the data",
    ),
    "normalised flow from afar": (
        lambda: fd.solve(fd.NormalizedFlow(fd.problems.LinearClassifier(np.eye(2), [1, 1])), [1e3, 1e3], 1.0),
        r"`w0` must have a loss between exp\(-600\) and exp\(600\)",
    ),
    "slow flow off the manifold": (
        lambda: fd.solve(fd.LabelNoiseFlow(VALLEY, 0.7), [1.1, -0.5], 1.0),
        "`w0` must interpolate",
    ),
    "dual flow off its orbit": (
        lambda: fd.solve(fd.DualFlow(NET, [1.0, -0.5]), [1.0, 1.0], 1.0),
        "must be reached by the flow",
    ),
    "t of noise unsorted": (lambda: fd.solve(OU, [1.0], t=[1.0, 0.5]), "strictly increasing"),
    "t of noise open": (
        lambda: fd.solve(OU, [1.0], t=np.inf, stop={"x": (">", 1)}, observe={"x": lambda w: w[0]}),
        "must be finite",
    ),
    "no members": (lambda: fd.solve(OU, [1.0], t=1.0, realizations=0), "at least 1"),
    "w0 of noise": (lambda: fd.solve(OU, [1.0, 2.0], t=1.0), "`w0` must have shape"),
    "w0 of noise in rows": (lambda: fd.solve(OU, [[1.0], [2.0]], t=1.0), "`w0`"),
    "budget of an ensemble": (lambda: fd.solve(OU, [1.0], t=1.0, realizations=10**9), "`max_bytes`"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_in_words(name):
    assert_refused(*CASES[name])
