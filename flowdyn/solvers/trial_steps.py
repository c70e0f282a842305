"""One step that is tried: explicit by Tsitouras' pair or Dormand and Prince's, or implicit by Rodas5P.

The states inside of a step follow from its stages:

    (t, y, f(t, y), h)  ->  y+, f(t + h, y+), the error, the stages

A right-hand side is traced once for all stages (`jax.jit`), which may be a large part of a first run.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn.methods.systems import ODESystem
from flowdyn.solvers import dormand_prince, rodas, tsitouras
from flowdyn.solvers.explicit_state import Carry, Method
from flowdyn.solvers.small_solutions import solution
from flowdyn.solvers.tolerances import grows


class Trial(NamedTuple):
    """What a step led to."""

    y: Any  # (S,)
    k: Any  # (S,) right-hand side there
    errors: tuple  # (S,) each, the one of highest order first
    stages: Callable  # whether they are wanted -> those of which, times h, states inside are sums
    shift: Any  # (S,) right-hand side of the last stage minus that of the one before
    moved: Any  # (S,) the same of their states
    grown: Any  # (S,) coordinates that were lost and grow by themselves within the step, which jumps over it


def weighted(weights: Any, stages: list) -> jax.Array:
    """Sum of stages, without those of weight 0."""
    terms = [weight * k for weight, k in zip(weights, stages, strict=True) if not isinstance(weight, float) or weight]
    return sum(terms[1:], terms[0])


def inside(share: Any, method: Method) -> list:
    """Weights of the stages at a share of a step."""
    if method is Method.DOP853:
        weights, factors = [share], [1 - share, share]
        while len(weights) < dormand_prince.ROWS:
            weights.append(weights[-1] * factors[(len(weights) + 1) % 2])
        return weights
    powers = rodas.INSIDE if method is Method.RODAS5P else tsitouras.INSIDE
    return [share * (a + share * (b + share * (c + share * d))) for a, b, c, d in powers.tolist()]


def states_inside(dense: np.ndarray, method: Method) -> tuple[float, Callable]:
    """When the last step began, and its states at times (T,), as columns (S, T), or at one, (S,)."""
    low, h, y, stages = float(dense[0, 0]), float(dense[1, 0]), dense[2], dense[3:]
    return low, lambda t: (y + h * (np.stack(inside((t - low) / h, method), axis=-1) @ stages)).T


def explicit(system: ODESystem, carry: Carry, h: jax.Array, t_new: jax.Array) -> Trial:
    """A step of Tsitouras' pair."""
    stages, points, drift = [carry.k], [carry.y], jax.jit(system.drift)
    for c, row in zip(tsitouras.C[1:], tsitouras.A[1:], strict=True):
        points.append(carry.y + h * weighted(row, stages))
        stages.append(drift(t_new if c == 1 else carry.t + c * h, points[-1]))
    error = h * weighted(tsitouras.ERROR, stages)
    shift, moved = stages[6] - stages[5], points[-1] - points[-2]
    return Trial(points[-1], stages[6], (error,), lambda _: stages, shift, moved, jnp.zeros(carry.y.shape, bool))


def _stages(system: ODESystem, given: tuple, rows: np.ndarray, times: np.ndarray, known: jax.Array) -> tuple:
    """The `known` stages (m, S) and those of `rows` (r, m + r) of a tableau, in a loop: one body is compiled, not r.

    With them comes the state at which the last one was evaluated.
    """
    (t, y, h, t_new), first, matrix, when = given, len(known), jnp.asarray(rows), jnp.asarray(times)

    def one(i: jax.Array, carry: tuple) -> tuple:
        stages, _ = carry
        point = y + h * (matrix[i] @ stages)
        value = system.drift(jnp.where(when[i] == 1, t_new, t + when[i] * h), point)
        return stages.at[first + i].set(value), point

    room = jnp.concatenate([known, jnp.zeros((len(rows), y.size))])
    return jax.lax.fori_loop(0, len(rows), one, (room, y))


def explicit_high(system: ODESystem, carry: Carry, h: jax.Array, t_new: jax.Array) -> Trial:
    """A step of Dormand and Prince's method of order 8."""
    y, given = carry.y, (carry.t, carry.y, h, t_new)
    ks, before = _stages(system, given, dormand_prince.STAGES, dormand_prince.TIMES, carry.k[None])
    change = jnp.asarray(dormand_prince.WEIGHTS) @ ks  # of the step, and the two errors, over h
    y_new = y + h * change[0]
    k_new = system.drift(t_new, y_new)

    def complete(_: None) -> jax.Array:
        known = jnp.concatenate([ks, k_new[None]])
        more, _ = _stages(system, given, dormand_prince.MORE_STAGES, dormand_prince.MORE_TIMES, known)
        first, slope, last = change[0], carry.k, k_new
        outer = jnp.stack([first, slope - first, 2 * first - slope - last])
        return jnp.concatenate([outer, jnp.asarray(dormand_prince.INNER) @ more])

    def stages(wanted: jax.Array) -> list:
        none = jnp.zeros((dormand_prince.ROWS, y.size))
        return list(jax.lax.cond(wanted, complete, lambda _: none, None))

    still = jnp.zeros(y.shape, bool)
    return Trial(y_new, k_new, (h * change[1], h * change[2]), stages, k_new - ks[-1], y_new - before, still)


def implicit(system: ODESystem, carry: Carry, h: jax.Array, t_new: jax.Array) -> Trial:
    """A step of Rodas5P."""
    t, y, drift = carry.t, carry.y, jax.jit(system.drift)
    jacobian = jax.jacfwd(lambda s: drift(t, s))(y)
    by_time = jax.jvp(lambda time: drift(time, y), (t,), (jnp.ones_like(t),))[1]
    share = jnp.where(h > 0, h, 1.0)  # a first call has no step yet
    solve = solution(jnp.eye(y.size) / (share * rodas.GAMMA) - jacobian)

    def solved(i: int, point: jax.Array, us: list) -> jax.Array:
        """The unknown of a stage."""
        c = rodas.TIMES[i]
        k = carry.k if i == 0 else drift(t_new if c == 1 else t + c * h, point)
        known = k + h * rodas.SLOPES[i] * by_time if rodas.SLOPES[i] else k
        return solve(known + weighted(rodas.C[i], us) / share if us else known)

    point, us = y, [solved(0, y, [])]
    for i in range(1, 8):
        point = y + weighted(rodas.A[i], us)
        us.append(solved(i, point, us))
    y_new = point + us[7]
    stages = [(y_new - y) / share, *(weighted(row, us) / share for row in rodas.H)]
    still = jnp.zeros_like(y)
    # what is stiff damps the error at the end of a step, not inside of it
    middle = y + share * weighted(inside(0.5, Method.RODAS5P), stages)
    residual = drift(t + 0.5 * h, middle) - weighted(rodas.HALFWAY, stages)
    between = solve(residual)
    error = jnp.where(jnp.abs(us[7]) >= jnp.abs(between), us[7], between)
    return Trial(y_new, drift(t_new, y_new), (error,), lambda _: stages, still, still, _grown(carry, jacobian, h))


def _grown(carry: Carry, jacobian: jax.Array, h: jax.Array) -> jax.Array:
    """Coordinates below their tolerances that grow by themselves by more than a factor e in the step."""
    path = carry.path
    lost = path.lost & ~carry.relative
    rates = jacobian @ jnp.where(lost, path.scale, 0.0) / path.scale
    fastest = (jnp.abs(jacobian) @ path.scale / path.scale).max()
    # others may have pushed it: its own share decides
    return lost & grows(rates, h, fastest) & grows(jnp.diagonal(jacobian), h, 0.0)


TRIALS = {Method.TSIT5: explicit, Method.DOP853: explicit_high, Method.RODAS5P: implicit}
