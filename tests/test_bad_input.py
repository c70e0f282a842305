"""Every refusal: the argument in backticks, the rule, the value got, in one line."""

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd

X, Y = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0])
NAN = np.array([[0.0, np.nan, 1.0], [1.0, 2.0, 3.0]])


def quadratic():
    return fd.problems.Quadratic(np.eye(2))


def descent(eta=0.1):
    return fd.GradientDescent(quadratic(), eta)


def flow():
    return fd.GradientFlow(quadratic())


def solve(system=None, w0=(1.0, 1.0), t=1.0, **options):
    return fd.solve(system or flow(), list(w0), t, **options)


W = np.ones(2)
CASES = {
    "X with NaN": (lambda: fd.problems.LinearRegression(NAN, Y), r"`X` must be finite, got nan at X\[0, 1\]"),
    "y of another length": (
        lambda: fd.problems.LinearRegression(X, [1.0]),
        r"`X` and `y` .* \(2, 3\) and y of shape \(1,\)",
    ),
    "X flat": (lambda: fd.problems.DiagonalNetwork(Y, Y), r"`X` must be 2-dimensional, got 'shape \(2,\)'"),
    "X of text": (lambda: fd.problems.LinearRegression([["a", "b"]], [1.0]), "`X` must hold real numbers"),
    "X complex": (lambda: fd.problems.LinearRegression(X + 1j, Y), "`X` must hold real numbers"),
    "X empty": (lambda: fd.problems.LinearRegression(np.zeros((0, 3)), []), "`X` must have at least one sample"),
    "X ragged": (lambda: fd.problems.LinearRegression([[1.0], [1.0, 2.0]], Y), "`X` must be an array"),
    "classes": (lambda: fd.problems.LinearClassifier(X, [0, 1]), r"`y` must hold -1 and \+1 only.*2\*y - 1"),
    "loss name": (
        lambda: fd.problems.LinearClassifier(X, [1, -1], loss="logistc"),
        "`loss` must be one of .*did you mean",
    ),
    "A asymmetric": (lambda: fd.problems.Quadratic([[1.0, 2.0], [0.0, 1.0]]), "`A` must be symmetric"),
    "A not square": (lambda: fd.problems.Quadratic(X), "`A` must be a square matrix"),
    "noise not PSD": (lambda: fd.problems.Quadratic(np.eye(2), -np.eye(2)), "`noise` must be positive semi-definite"),
    "noise shape": (lambda: fd.problems.Quadratic(np.eye(2), np.eye(3)), "`noise` must have the shape"),
    "noise missing": (lambda: quadratic().noise_cov(W), "`noise` is not set"),
    "theta negative": (lambda: fd.problems.SquaredPopulation([-1.0]), "`theta_star` must not be negative"),
    "alpha": (lambda: fd.problems.DiagonalNetwork(X, Y).init(0.0), "`alpha` must be positive, got 0.0"),
    "vector loss": (lambda: fd.problems.CustomProblem(lambda w: w, W), "`loss` must return a real scalar"),
    "numpy loss": (
        lambda: fd.problems.CustomProblem(lambda w: np.sum(np.sin(np.asarray(w))), W),
        r"`loss` .*jax\.numpy",
    ),
    "no function": (lambda: fd.problems.CustomProblem(3.0, W), "`loss` must be a function"),
    "no parameters": (lambda: fd.problems.CustomProblem(lambda w: 1.0, {}), "`w0_like` must hold at least one"),
    "samples": (
        lambda: fd.problems.CustomProblem(lambda w: jnp.sum(w**2), W, sample_losses=lambda w: w**2),
        "`sample_losses` must have the loss as their mean",
    ),
    "predictions": (
        lambda: fd.problems.CustomRegression(lambda w: w, Y[:1], W),
        "`predict` must return one value per target",
    ),
    "no samples": (lambda: quadratic().sample_losses(W), "`sample_losses` is not defined for Quadratic"),
    "problem": (lambda: fd.GradientFlow(X), "`problem` must be a flowdyn problem"),
    "eta zero": (lambda: descent(0.0), r"`eta` must be positive, got 0.0; eta = 0 is the flow"),
    "eta negative": (lambda: descent(-0.1), "`eta` must be positive, got -0.1"),
    "eta NaN": (lambda: descent(np.nan), "`eta` must be finite, got nan"),
    "eta text": (lambda: descent("fast"), "`eta` must be a number, got 'fast'"),
    "eta function": (lambda: descent(lambda k: 0.1), "`eta` must be a positive number or a .*Schedule"),
    "schedule values": (lambda: fd.schedules.PiecewiseConstant([0.1, -1.0], [5]), "`values` must be positive"),
    "schedule edges": (lambda: fd.schedules.PiecewiseConstant([0.1, 0.2], [5, 3]), "`boundaries` must be 1 increasing"),
    "order": (lambda: fd.ModifiedFlow(quadratic(), 0.1, -1), "`order` must be at least 0, got -1"),
    "order float": (lambda: fd.ModifiedFlow(quadratic(), 0.1, 1.5), "`order` must be a whole number, got 1.5"),
    "friction": (lambda: fd.HeavyBall(quadratic(), 0.1, -1.0), "`friction` must not be negative"),
    "momentum": (lambda: fd.HeavyBall(quadratic(), 0.25, 4.0), "`eta` must keep the momentum"),
    "momentum order": (lambda: fd.Nesterov(quadratic(), 0.1).limit(1), "`order` must be 0 for Nesterov"),
    "momentum schedule": (
        lambda: fd.Nesterov(quadratic(), fd.schedules.PowerDecay(0.1)),
        "`eta` must be one number for a momentum method",
    ),
    "t unsorted": (lambda: solve(t=[0.0, 2.0, 1.0]), "`t` must be strictly increasing, got 2.0 before 1.0"),
    "t twice": (lambda: solve(t=[0.0, 1.0, 1.0]), "`t` must be strictly increasing, got 1.0 before 1.0"),
    "t negative": (lambda: solve(t=-1.0), "`t` must be after 0, .*got -1.0"),
    "t NaN": (lambda: solve(t=np.nan), "`t` must be after 0, .*got nan"),
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
    "saves": (lambda: solve(saves=1), "`saves` must be at least 2, got 1"),
    "bytes": (lambda: solve(max_bytes=100), r"`max_bytes` = 100 is below the .* bytes"),
    "w0 shape": (
        lambda: solve(w0=[1.0, 2.0, 3.0]),
        r"`w0` must have shape \(2,\), the parameters w\[2\], got 'shape \(3,\)'",
    ),
    "w0 NaN": (lambda: solve(w0=[1.0, np.nan]), r"`w0` must be finite, got nan at w0\[1\]"),
    "w0 names": (lambda: fd.solve(flow(), {"v": W}, 1.0), r"`w0` must have exactly the keys \['w'\]"),
    "w0 all times": (lambda: fd.solve(flow(), solve(), 2.0), r"`w0` must be a Dataset at one time.*isel\(t=-1\)"),
    "system": (lambda: fd.solve(quadratic(), W, 1.0), "`system` must be a flowdyn system"),
    "solver name": (lambda: solve(solver="LSODA"), r"`solver` must be a solver object, got 'LSODA'; one of"),
    "solver misfit": (
        lambda: solve(solver=fd.solvers.Iteration()),
        "`solver` Iteration cannot run GradientFlow: it runs recursions",
    ),
    "exact misfit": (
        lambda: fd.solve(fd.ODE(lambda t, y: -y), [1.0], 1.0, solver=fd.solvers.Exact()),
        "`solver` Exact cannot run ODE: it has no closed form",
    ),
    "method name": (lambda: fd.solvers.Scipy("LSODE"), "`method` must be one of .*did you mean 'LSODA'"),
    "rtol": (lambda: fd.solvers.Scipy(rtol=1e-16), "`rtol` must be at least 2.2e-14 in float64, got 1e-16"),
    "rtol negative": (lambda: fd.solvers.Scipy(rtol=-1.0), "`rtol` must be positive"),
    "dt and rtol": (lambda: fd.solvers.Diffrax(dt=0.1, rtol=1e-3), "`dt` means fixed steps"),
    "Euler": (lambda: fd.solvers.Diffrax("Euler"), "`dt` must be given for Euler"),
    "stop name": (lambda: solve(stop={"los": ("<", 1.0)}), "`stop` must be one of .*did you mean 'loss'"),
    "stop rule": (lambda: solve(stop={"loss": 1.0}), r'`stop\[\'loss\'\]` must be \("<", value\)'),
    "observe clash": (lambda: solve(observe={"loss": jnp.sum}), "`observe` must not reuse a name"),
    "observe name": (lambda: solve(observe={"a b": jnp.sum}), "`observe` must map names"),
    "observe numpy": (lambda: solve(observe={"n": lambda w: np.linalg.norm(np.asarray(w))}), "`observe` .*jax.numpy"),
    "realizations": (lambda: solve(realizations=5), "`realizations` must be None for a deterministic system"),
    "on_divergence": (lambda: solve(on_divergence="ignore"), "`on_divergence` must be one of"),
    "progress": (lambda: solve(progress="yes"), "`progress` must be None, True, False"),
    "diffrax inf": (
        lambda: solve(t=np.inf, stop={"loss": ("<", 0.1)}, solver=fd.solvers.Diffrax()),
        "`solver` Diffrax cannot run GradientFlow: it needs a finite `t`; use Exact or Scipy",
    ),
    "ladder of a flow": (lambda: fd.eta_limit(flow(), W, 1.0), "`method` must be a recursion"),
    "ladder of a schedule": (
        lambda: fd.eta_limit(descent(fd.schedules.PowerDecay(0.1)), W, 1.0),
        "`eta` must be one number for a ladder over eta",
    ),
    "two rungs": (lambda: fd.eta_limit(descent(), W, 1.0, [0.1, 0.05]), "`etas` must hold at least 3"),
    "rung negative": (
        lambda: fd.eta_limit(descent(), W, 1.0, [0.1, 0.05, -0.1]),
        "`etas` must be positive and increasing or",
    ),
    "rungs equal": (
        lambda: fd.eta_limit(descent(), W, 1.0, [0.1, 0.1, 0.05]),
        "`etas` must be positive and increasing or",
    ),
    "no common times": (
        lambda: fd.eta_limit(descent(), W, 1.0, [0.1, 0.037, 0.01]),
        "`etas` must have a common multiple",
    ),
    "weak error": (
        lambda: fd.eta_limit(descent(), W, 1.0, error="weak"),
        "`error` must be 'sup' for a deterministic method",
    ),
    "predict order": (lambda: fd.fast_forward(descent(), W, 1.0, order=0), "`order` must be at least 1, got 0"),
    "eta is a truth value": (lambda: descent(eta=True), "`eta` must be a number, got True"),
    "eta is text": (lambda: fd.schedules.PowerDecay("0.1"), "`eta0` must hold real numbers"),
    "t is text": (lambda: solve(t="1"), "`t` must be an end time or an array of times, got '1'"),
    "rtol is text": (lambda: fd.solvers.Scipy(rtol="1e-6"), "`rtol` must be a number"),
    "steps beyond int64": (lambda: fd.solve(descent(), W, steps=10**20), r"`steps` must be at most 2\*\*62"),
    "saves beyond memory": (lambda: solve(saves=10**12), "`saves` must be at most 100,000,000"),
    "w0_like of no entry": (lambda: fd.problems.CustomProblem(jnp.sum, np.ones(0)), "`w0_like` must hold at least one"),
    "loss of nothing": (lambda: fd.problems.CustomProblem(lambda: 1.0, 1.0), r"`loss` must be a function loss\(w\)"),
    "loss without data": (
        lambda: fd.problems.CustomProblem(lambda w: w**2, 1.0, data=W),
        r"`loss` must be a function loss\(w, data\), got <Signature \(w\)>",
    ),
    "f without t": (lambda: fd.ODE(lambda y: -y), r"`f` must be a function f\(t, y, \*args\)"),
    "g without t": (lambda: fd.SDE(lambda t, x: -x, lambda x: x), r"`g` must be a function g\(t, x, \*args\)"),
    "f without its argument": (lambda: fd.ODE(lambda t, y: -y, args=(1.0,)), "`f` must be a function"),
    "observe of nothing": (lambda: solve(observe={"a": lambda: 1.0}), r"`observe\['a'\]` must be a function"),
    "observable of two": (
        lambda: fd.eta_limit(
            fd.SGD(fd.problems.LinearRegression(X, Y), 0.01), np.zeros(3), 1.0, observable=lambda w, v: w
        ),
        "`observable` must be a function",
    ),
    "schedule of a number": (lambda: fd.schedules.Scaled(0.1, 2.0), "`base` must be a Schedule"),
    "X beyond squares": (lambda: fd.problems.LinearRegression(X * 1e200, Y), r"`X` must be at most 1e\+75 in size"),
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
        r"`observe\['a'\]` must be defined at the start",
    ),
    "batch of the slow flow": (
        lambda: fd.LabelNoiseFlow(fd.problems.LinearRegression(X, Y), 0.5, batch_size=0),
        "`batch_size` must be at least 1",
    ),
    "slow flow off the manifold of small targets": (
        lambda: fd.solve(fd.LabelNoiseFlow(fd.problems.LinearRegression(np.eye(2), [2e-6, 1e-6]), 0.5), W * 0, 1.0),
        "`w0` must interpolate the data",
    ),
    "kernel distance from a zero kernel": (
        lambda: fd.observables.kernel_distance(fd.problems.SquaredRegression(X, Y), np.zeros(3)),
        "`w0` must have a tangent kernel that is not zero",
    ),
    "normalised flow from afar": (
        lambda: fd.solve(fd.NormalizedFlow(fd.problems.LinearClassifier(np.eye(2), [1, 1])), [1e3, 1e3], 1.0),
        r"`w0` must have a loss between exp\(-600\) and exp\(600\)",
    ),
    "plot": (lambda: fd.plot(3), "`ds` must be a flowdyn result"),
    "save": (lambda: fd.save(3, "x.nc"), "`ds` must be an xarray Dataset"),
    "times that differ": (
        lambda: fd.comparison.sup_error(solve(), solve(t=2.0)),
        "`a` and `b` must have the same times",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_refusal(name):
    call, words = CASES[name]
    with pytest.raises(fd.ArgumentError, match=words) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1


def test_right_hand_side_of_the_wrong_shape():
    for f in (lambda t, y: jnp.sum(y), lambda t, y: np.zeros(3)):
        with pytest.raises(fd.ArgumentError, match=r"`f` must return the shape \(2,\) of y"):
            fd.solve(fd.ODE(f), [1.0, 2.0], 1.0)


def test_containers_masked_values_and_complex_numbers_are_refused():
    p = fd.problems.LinearRegression([[1.0, 2.0]], [5.0])
    flow = fd.GradientFlow(p)
    for call, words in (
        (lambda: fd.solve(flow, p.init(), t=1.0, stop="loss"), "`stop` must map names to rules"),
        (lambda: fd.solve(flow, p.init(), t=1.0, observe=["a"]), "`observe` must map names to functions"),
        (
            lambda: fd.problems.LinearRegression(np.ma.masked_greater([[1.0, 100.0]], 50), [1.0]),
            "`X` must have no masked",
        ),
        (lambda: fd.solve(fd.ODE(lambda t, y: 1j * y), [1.0], t=1.0), "`f` must return real numbers"),
    ):
        with pytest.raises(fd.ArgumentError, match=words):
            call()
