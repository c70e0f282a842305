"""A user's own functions: what they may do to their arguments, and what becomes of what they raise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd

STEPPERS = ("LSODA", "RK45", "DOP853", "RK23", "Radau", "BDF")


@pytest.mark.parametrize("method", STEPPERS)
def test_a_function_may_write_into_its_argument(method):
    """y' = -y, written in place: it used to flip the sign of the stepper's own state."""

    def f(t, y):
        y *= -1
        return y

    run = fd.solve(fd.ODE(f), [1.0, 2.0], t=1.0, solver=fd.solvers.Scipy(method))
    assert np.allclose(run.w[-1], np.exp(-1) * np.array([1.0, 2.0]), rtol=1e-6)


@pytest.mark.parametrize("method", STEPPERS)
def test_a_function_may_reuse_its_result(method):
    buffer = np.zeros(2)

    def f(t, y):
        buffer[:] = -y
        return buffer

    run = fd.solve(fd.ODE(f), [1.0, 2.0], t=1.0, solver=fd.solvers.Scipy(method))
    assert np.allclose(run.w[-1], np.exp(-1) * np.array([1.0, 2.0]), rtol=1e-6)


def test_drift_and_diffusion_in_place():
    def f(t, x):
        x *= -1.0
        return x

    def g(t, x):
        x[:] = 0.0
        return x.reshape(1, 1)

    run = fd.solve(fd.SDE(f, g), [1.0], t=1.0, saves=2, solver=fd.solvers.Sdeint(dt=1e-3))
    assert run.w[-1].item() == pytest.approx(np.exp(-1), abs=1e-3)


@pytest.mark.parametrize("method", STEPPERS)
def test_what_a_function_raises_is_passed_on_with_the_time(method):
    def f(t, y):
        if t > 0.5:
            raise ValueError("out of the table")
        return -np.asarray(y) * float(y[0])

    with pytest.raises(ValueError, match="out of the table") as caught:
        fd.solve(fd.ODE(f), [1.0], t=1.0, solver=fd.solvers.Scipy(method))
    assert caught.value.__notes__[0].startswith("raised by the right-hand side at t = 0.")


def test_a_shape_that_changes_on_the_way_is_told():
    def f(t, y):
        return np.zeros(3) if float(y[0]) < 0.9 else -y * float(y[0])

    with pytest.raises(fd.ArgumentError, match=r"`f` must return the shape \(1,\) of y") as caught:
        fd.solve(fd.ODE(f), [1.0], t=1.0)
    assert "at t = 0." in caught.value.__notes__[0]


def test_additive_noise_of_one_entry_a_component():
    scale = np.array([0.1, 0.2])
    diagonal = fd.SDE(lambda t, x: -x, lambda t, x: jnp.asarray(scale), noise="additive")
    matrix = fd.SDE(lambda t, x: -x, lambda t, x: jnp.diag(scale), noise="additive")
    runs = [fd.solve(sde, [1.0, 1.0], t=1.0, realizations=4000, seed=1, saves=2) for sde in (diagonal, matrix)]
    assert np.allclose(runs[0].w, runs[1].w, rtol=1e-12)
    truth = scale * np.sqrt((1 - np.exp(-2)) / 2)
    assert np.allclose(runs[0].w[:, -1].std("realization"), truth, rtol=4 / np.sqrt(2 * 4000) + 2e-3)


def test_observables_that_a_system_records_anyhow():
    p = fd.problems.LinearClassifier([[2.0, 0.0], [0.0, 1.0]], [1, 1])
    seen = fd.observables.margins(p)
    run = fd.solve(fd.NormalizedFlow(p), p.init(), t=5.0, observe=seen)
    plain = fd.solve(fd.NormalizedFlow(p), p.init(), t=5.0)
    assert all(
        run[name].drop_vars("recipe").equals(plain[name].drop_vars("recipe"))
        for name in ("norm", "margin", "smooth_margin")
    )
    system, w0, options = fd.rebuild(run, observe=seen)
    assert fd.solve(system, w0, **options).w.equals(run.w)


def test_a_plain_numpy_equation_with_a_stop_rule_is_told_the_way_out():
    sde = fd.SDE(lambda t, x: -x, lambda t, x: np.array([[0.1 * float(x[0])]]))
    rule = {"observe": {"x": lambda w: w[0]}, "stop": {"x": ("<", 0.5)}}
    for solver in (None, fd.solvers.Sdeint()):
        with pytest.raises(fd.ArgumentError, match=r"leave `stop` out, or write its functions with jax\.numpy$"):
            fd.solve(sde, [1.0], t=1.0, solver=solver, **rule)
    strat = fd.SDE(lambda t, x: -x, lambda t, x: np.array([[0.1 * float(x[0])]]), calculus="stratonovich")
    run = fd.solve(strat, [1.0], t=0.1, saves=2)  # no default instance takes it, one of its methods does
    assert '"stratHeun"' in run.recipe.item()


@jax.custom_vjp
def bowl(w):
    return 0.5 * jnp.sum(jnp.array([1.0, 4.0]) * w**2)


bowl.defvjp(lambda w: (bowl(w), w), lambda w, upper: (upper * jnp.array([1.0, 4.0]) * w,))


def test_a_loss_with_a_rule_of_its_own_backwards_has_a_hessian():
    """Forwards over backwards JAX refuses it: the rule calls the loss again."""
    p = fd.problems.CustomProblem(bowl, np.ones(2))
    np.testing.assert_allclose(p.hvp(np.ones(2), np.array([1.0, 2.0])), [1.0, 8.0])
    np.testing.assert_allclose(p.hessian(np.ones(2)), np.diag([1.0, 4.0]))
    run = fd.solve(fd.GradientDescent(p, 0.1), np.ones(2), steps=10)
    np.testing.assert_allclose(run.w[-1], np.array([0.9, 0.6]) ** 10, rtol=1e-12)
    sharp = fd.solve(fd.GradientFlow(p), np.ones(2), t=0.1, saves=2, observe=fd.observables.sharpness(p)).sharpness
    np.testing.assert_allclose(sharp, 4.0)
