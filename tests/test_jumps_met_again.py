"""Right-hand sides that jump often and are constant in between: no step may pass over what the last one met."""

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd


@pytest.mark.parametrize("omega", [3.0, 10.0, 37.0, 100.0, 333.0])
def test_a_square_wave_is_followed_jump_by_jump(omega):
    """y' = sign(sin(omega t)) is a triangle; where a step passed over a pair of jumps, it is off by a half period."""
    t = np.linspace(0.0, 10.0, 41)
    run = fd.solve(fd.ODE(lambda t, y: jnp.sign(jnp.sin(omega * t)) + 0 * y), [0.0], t=t)
    period = 2 * np.pi / omega
    triangle = np.minimum(t % period, period - t % period)
    np.testing.assert_allclose(run.w.values[:, 0], triangle, rtol=0, atol=3e-6)


def test_a_bouncing_state_keeps_its_height():
    """y'' = -sign(y) from rest at 1: parabolas of quarter period sqrt(2)."""
    t = np.linspace(0.0, 20.0, 41)
    run = fd.solve(fd.ODE(lambda t, y: jnp.stack([y[1], -jnp.sign(y[0])])), [1.0, 0.0], t=t)
    quarter = np.sqrt(2)
    s = (t + quarter) % (4 * quarter)
    truth = np.where(s < 2 * quarter, 1 - (s - quarter) ** 2 / 2, (s - 3 * quarter) ** 2 / 2 - 1)
    np.testing.assert_allclose(run.w.values[:, 0], truth, rtol=0, atol=2e-5)


@pytest.mark.parametrize("rtol", [1e-8, 1e-12])
@pytest.mark.parametrize("jumps", [(), (1.0,)])
def test_a_state_that_touches_zero_at_a_jump_is_led_on(rtol, jumps):
    """y' = -1 before t = 1 and +1 after it, y(0) = 1: y = |t - 1|, which is no dip that comes back by itself."""
    system = fd.ODE(lambda t, y: jnp.where(t < 1, -1.0, 1.0) + 0 * y)
    run = fd.solve(system, [1.0], t=[1.0, 1.5, 2.0], solver=fd.solvers.Auto(rtol=rtol, breakpoints=jumps))
    np.testing.assert_allclose(run.w.values[:, 0], [0.0, 0.5, 1.0], rtol=0, atol=1e-10)
