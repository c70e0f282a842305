"""One step that is tried: explicit by Tsitouras' pair, or implicit by Rodas5P.

The states inside of a step follow from its stages:

    (t, y, f(t, y), h)  ->  y+, f(t + h, y+), the error, the stages
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from flowdyn.methods.systems import ODESystem
from flowdyn.solvers import rodas, tsitouras
from flowdyn.solvers.explicit_state import Carry
from flowdyn.solvers.small_solutions import solution
from flowdyn.solvers.tolerances import grows


class Trial(NamedTuple):
    """What a step led to."""

    y: Any  # (S,)
    k: Any  # (S,) right-hand side there
    error: Any  # (S,)
    stages: list  # of which, times h, states inside are sums
    shift: Any  # (S,) right-hand side of the last stage minus that of the one before
    moved: Any  # (S,) the same of their states
    grown: Any  # (S,) coordinates that were lost and grow by themselves within the step, which jumps over it


def weighted(weights: Any, stages: list) -> jax.Array:
    """Sum of stages, without those of weight 0."""
    terms = [weight * k for weight, k in zip(weights, stages, strict=True) if not isinstance(weight, float) or weight]
    return sum(terms[1:], terms[0])


def inside(share: Any, implicit: bool) -> list:
    """Weights of the stages at a share of a step."""
    powers = rodas.INSIDE if implicit else tsitouras.INSIDE
    return [share * (a + share * (b + share * (c + share * d))) for a, b, c, d in powers.tolist()]


def explicit(system: ODESystem, carry: Carry, h: jax.Array, t_new: jax.Array) -> Trial:
    """A step of Tsitouras' pair."""
    stages, points = [carry.k], [carry.y]
    for c, row in zip(tsitouras.C[1:], tsitouras.A[1:], strict=True):
        points.append(carry.y + h * weighted(row, stages))
        stages.append(system.drift(t_new if c == 1 else carry.t + c * h, points[-1]))
    error = h * weighted(tsitouras.ERROR, stages)
    shift, moved = stages[6] - stages[5], points[-1] - points[-2]
    return Trial(points[-1], stages[6], error, stages, shift, moved, jnp.zeros(carry.y.shape, bool))


def implicit(system: ODESystem, carry: Carry, h: jax.Array, t_new: jax.Array) -> Trial:
    """A step of Rodas5P."""
    t, y = carry.t, carry.y
    jacobian = jax.jacfwd(lambda s: system.drift(t, s))(y)
    by_time = jax.jvp(lambda time: system.drift(time, y), (t,), (jnp.ones_like(t),))[1]
    share = jnp.where(h > 0, h, 1.0)  # a first call has no step yet
    solve = solution(jnp.eye(y.size) / (share * rodas.GAMMA) - jacobian)

    def solved(i: int, point: jax.Array, us: list) -> jax.Array:
        """The unknown of a stage."""
        c = rodas.TIMES[i]
        k = carry.k if i == 0 else system.drift(t_new if c == 1 else t + c * h, point)
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
    middle = y + share * weighted(inside(0.5, True), stages)
    residual = system.drift(t + 0.5 * h, middle) - weighted(rodas.HALFWAY, stages)
    between = solve(residual)
    error = jnp.where(jnp.abs(us[7]) >= jnp.abs(between), us[7], between)
    return Trial(y_new, system.drift(t_new, y_new), error, stages, still, still, _grown(carry, jacobian, h))


def _grown(carry: Carry, jacobian: jax.Array, h: jax.Array) -> jax.Array:
    """Coordinates below their tolerances that grow by themselves by more than a factor e in the step."""
    path = carry.path
    lost = path.lost & ~carry.relative
    rates = jacobian @ jnp.where(lost, path.scale, 0.0) / path.scale
    fastest = (jnp.abs(jacobian) @ path.scale / path.scale).max()
    # others may have pushed it: its own share decides
    return lost & grows(rates, h, fastest) & grows(jnp.diagonal(jacobian), h, 0.0)
