"""Expectations without sampling: all paths of a recursion, the backward equation on a grid, moments of a linear law."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from scipy.integrate import solve_ivp
from scipy.interpolate import BarycentricInterpolator

import flowdyn as fd

MOST = 2**20  # paths that are followed at once: one program for every number of steps


def coin(size):
    """w^2/2 with a gradient noise of +size or -size."""
    samples = lambda w: 0.5 * w[0] ** 2 + jnp.array([size, -size]) * w[0]  # noqa: E731
    return fd.problems.CustomProblem(lambda w: 0.5 * w[0] ** 2, np.ones(1), sample_losses=samples)


@eqx.filter_jit
def _ends(step, method, steps, noises):
    """Parameters after all paths; path i draws, at step k, as digit k of i says; a path may be there many times."""
    paths, n, start = jnp.arange(MOST), len(noises), method.lift(jnp.ones(1))
    one = jax.vmap(step, (None, None, 0, 0))

    def turn(k, state):
        z, rest = state
        return one(method, k, z, noises[rest % n]), rest // n

    z, _ = jax.lax.fori_loop(0, steps, turn, (jnp.broadcast_to(start, (MOST, len(start))), paths))
    return z[:, 0]


def _single(method, k, z, i):
    return method.next_state(method.time_step, z, i)


def _amplified(method, k, z, zeta):
    return method.next_state(k, z, z[:1] + method.s0 / jnp.sqrt(method.h) * zeta)


def ballistic(method, steps):
    """E w and E w^2, from w = 1, of a method on a coin, its noise as it is."""
    return both(_ends(_single, method, jnp.asarray(steps), jnp.arange(2)))


def amplified(method, steps):
    """The same where noise dominates: a pair of signs a step where SVAG imitates."""
    signs = np.array([1.0, -1.0])
    if method.imitated is not None:
        l = float(method.imitated / method.eta.eta)  # noqa: E741 - the paper's letter
        r = np.sqrt(2 * l**2 - 1)
        signs = np.array([1.0, r, -r, -1.0]) / l
    return both(_ends(_amplified, method, jnp.asarray(steps), jnp.asarray(signs)))


def both(w):
    """E w and E w^2 of equally likely values."""
    return np.array([np.mean(w), np.mean(np.square(w))])


def slopes(gaps, steps):
    """Between rungs, in 1/steps."""
    return -np.diff(np.log(gaps), axis=0) / np.diff(np.log(steps))[:, None]


def _chebyshev(low, high, n):
    """Points of (low, high) and the matrix that differentiates there."""
    x = np.cos(np.pi * np.arange(n + 1) / n)
    c = np.where((np.arange(n + 1) % n) == 0, 2.0, 1.0) * (-1.0) ** np.arange(n + 1)
    D = np.outer(c, 1 / c) / (x[:, None] - x + np.eye(n + 1))
    return (low + high) / 2 + (high - low) / 2 * x, (D - np.diag(D.sum(axis=1))) * 2 / (high - low)


def on_a_grid(equation, start, t, box, n=14):
    """E w and E w^2 of an equation in two variables at time t: its backward equation by collocation in a box.

    The drift points into the box, and noise does not reach its sides: the coarser the steps, the smaller is the n at
    which those still do no harm.
    """
    (w, Dw), (v, Dv) = (_chebyshev(*side, n) for side in box)
    one = np.eye(n + 1)
    points = np.stack([x.ravel() for x in np.meshgrid(w, v, indexing="ij")], axis=1)
    b = np.asarray(jax.vmap(lambda z: equation.drift(0.0, z))(points))
    G = np.asarray(jax.vmap(lambda z: equation.diffusion(0.0, z))(points))
    C, d = G @ np.swapaxes(G, 1, 2), [np.kron(Dw, one), np.kron(one, Dv)]
    generator = sum(b[:, [i]] * d[i] for i in (0, 1))
    generator += sum(C[:, i, [j]] / 2 * (d[i] @ d[j]) for i in (0, 1) for j in (0, 1))
    values = scipy.linalg.expm(t * generator) @ np.stack([points[:, 0], points[:, 0] ** 2], axis=1)
    found = BarycentricInterpolator(w, values.reshape(n + 1, n + 1, 2))(start[0])
    return BarycentricInterpolator(v, found)(start[1])


def of_linear_law(equation, start, t):
    """E w and E w^2 where what is not linear is deterministic: the equations of mean and covariance."""
    z0, n = np.asarray(start), len(start)

    @jax.jit
    def rate(s, y):
        z, C = y[:n], y[n:].reshape(n, n)
        slope, g = jax.jacfwd(lambda x: equation.drift(s, x))(z), equation.diffusion(s, z)
        return jnp.concatenate([equation.drift(s, z), (slope @ C + C @ slope.T + g @ g.T).ravel()])

    y = solve_ivp(rate, (0, t), np.append(z0, np.zeros(n * n)), "DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    return np.array([y[0], y[0] ** 2 + y[n]])
