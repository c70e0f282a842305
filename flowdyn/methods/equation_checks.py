"""Whether a random recursion has an equation:  M_h(z) -> z as h -> 0,  M_h and its columns smooth in h at 0.

Its noise must shrink like h: one of size h^(1/2), as Langevin's, is in the limit itself, which is then neither the flow
of the means nor the equation of section 1. Order 3 needs more: steps affine in h, and noise without third moments.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind
from flowdyn._tools.leaves import is_traced
from flowdyn._tools.polynomial_degree import degree_of
from flowdyn.methods.identity_on_way import FIRST, SHORTER, lasting
from flowdyn.methods.rate_checks import piece_of
from flowdyn.methods.step_checks import AWAY, BEFORE
from flowdyn.methods.step_precision import check_precision
from flowdyn.methods.systems import System
from flowdyn.problems.base import Vector
from flowdyn.problems.named_pieces import shown_layout

PARTS = (2.0**-20, 2.0**-12)  # of h, between which the power of h in the noise is read
SEEN = 1e4  # roundings of a noise from which its power is read
FORGETS = 1e-6  # share of a direction of motion that a step of no length may change
SKEWED = 1e-9  # share of a third moment that rounding may leave


def check_noise(recursion: Any, state: np.ndarray) -> None:
    """Refuse noise of a user's step that does not shrink in proportion to the time step."""
    if not recursion.is_users:
        return
    small, larger = (np.asarray(size) for size in bind(_noise_sizes, recursion)(state))
    is_seen = small > SEEN * np.finfo(float).eps * np.abs(state).max(initial=0.0)
    power = np.ones(len(state))
    power[is_seen] = np.log2(larger[is_seen] / small[is_seen]) / np.log2(PARTS[1] / PARTS[0])
    at = int(np.argmin(power))
    if power[at] < 0.9:
        like = f"shrinks like eta^{recursion.step_power * power[at]:.2g}" if power[at] > 0.1 else "does not shrink"
        raise _check.fail(
            "step",
            "must have noise in proportion to the time step as eta -> 0",
            _check.Words(f"{_name(recursion, state, at)} with one that {like}"),
            "write its equation as fd.SDE (fd.Langevin and fd.SGLD have theirs)",
        )


def finite(value: Any) -> Any:
    """Return coefficients of an equation that are finite, or being traced; else refuse the step."""
    known = [np.asarray(part) for part in jax.tree.leaves(value) if not is_traced(part)]
    if not all(np.isfinite(part).all() for part in known):
        raise _check.fail(
            "step",
            "must have derivatives in eta at 0",
            _check.Words("coefficients that are not finite"),
            "write it in the time step h (h**2 for the step size of a momentum method), without roots of eta",
        )
    return value


def check_equation(equation: Any, state: np.ndarray) -> None:
    """Refuse coefficients that are not finite, a step that is not the identity at h = 0, an order 3 that is none."""
    own = equation.recursion
    check_precision(own, _mean_step, state.size)
    coefficients = bind(_coefficients, equation)(state)
    if not all(np.isfinite(part).all() for part in coefficients):
        check_noise(equation.recursion, state)
    finite(coefficients)
    moved = np.abs(np.asarray(bind(_at_zero, equation)(state)) - state)
    if (moved > 1e-12 * np.abs(state).max(initial=1.0)).any():
        piece = _name(equation, state, int(moved.argmax()))
        raise _check.fail(
            "step",
            "must tend to the identity as eta -> 0",
            _check.Words(f"{piece} that still changes by {moved.max():.3g} at eta = 0"),
            "let its rates tend to 1 with eta, e.g. decay = 1 - c*h",
        )
    forgotten = np.asarray(bind(_forgotten, equation)(state))
    if equation.recursion.is_users:
        moves, changed = map(np.asarray, bind(_along_way, equation)(state))
        forgotten = np.maximum(forgotten, lasting(moves, changed, state))
    if (forgotten > FORGETS).any():
        raise _check.fail(
            "step",
            "must tend to the identity as eta -> 0",
            _check.Words(f"{_name(equation, state, int(forgotten.argmax()))} that {AWAY}"),
            BEFORE,
        )
    check_noise(equation.recursion, state)
    if equation.order == 3:
        _check_third_order(equation, state)


def _name(system: System, state: np.ndarray, entry: int) -> str:
    """Name of the piece of the state that holds an entry."""
    return piece_of(system.layout(len(state)), np.arange(len(state)) == entry)


def _noise_sizes(recursion: Any, state: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Size of the noise of each entry at two small time steps."""
    sizes = [jnp.linalg.norm(recursion.fluctuations(part * recursion.time_step, state), axis=0) for part in PARTS]
    return sizes[0], sizes[1]


def _check_third_order(equation: Any, state: np.ndarray) -> None:
    recursion, number = equation.recursion, jax.ShapeDtypeStruct((), jnp.float64)
    parts = (lambda h: recursion.mean_at(h, state)), (lambda h: recursion.fluctuations(h, state))
    if max(degree_of(part, number) for part in parts) > 1:
        raise _check.fail("order", "must be at most 2 where a step is not affine in its length h", 3)
    columns = np.asarray(bind(_plain_columns, equation)(state))
    third = np.abs(np.einsum("ia,ib,ic->abc", columns, columns, columns)).max()
    if not recursion.is_symmetric and third > SKEWED * (np.abs(columns) ** 3).sum():
        raise _check.fail("order", "must be at most 2 where the noise has third moments", 3)


def _coefficients(equation: Any, state: jax.Array) -> tuple[Vector, Vector]:
    return equation.drift(0.0, state), equation.diffusion(0.0, state)


def _plain_columns(equation: Any, state: jax.Array) -> jax.Array:
    return equation.columns(state)


def _at_zero(equation: Any, state: jax.Array) -> Vector:
    return equation.recursion.mean_at(jnp.zeros(()), state)


def _forgotten(equation: Any, state: jax.Array) -> jax.Array:
    """What a step of no length changes of the directions in which the state moves, as shares of their largest entry."""
    directions = jnp.concatenate([equation.drift(0.0, state)[None], equation.columns(state)])
    at_zero = lambda z: equation.recursion.mean_at(jnp.zeros(()), z)  # noqa: E731
    changed = jax.vmap(lambda v: jax.jvp(at_zero, (state,), (v,))[1] - v)(directions)
    sizes = jnp.maximum(jnp.max(jnp.abs(directions), axis=1, keepdims=True), jnp.finfo(float).tiny)
    return jnp.max(jnp.abs(changed) / sizes, axis=0)


def _along_way(equation: Any, state: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The first moves of the means and of the outcomes about them, and what a step of no length changes of them.

    Parameters of before and of now are the same at the start, where b and G vanish: their directions say nothing.
    """
    own = equation.recursion
    nothing = lambda z: own.mean_at(jnp.zeros(()), z)  # noqa: E731

    def at(part: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = part * own.time_step

        def follow(z: jax.Array, _: None) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            mean = own.mean_at(h, z)
            moves = jnp.concatenate([(mean - z)[None], own.fluctuations(h, z)])
            return mean, (moves, jax.vmap(lambda v: jax.jvp(nothing, (z,), (v,))[1] - v)(moves))

        moves, changed = jax.lax.scan(follow, state, None, length=FIRST)[1]
        return moves.reshape(-1, state.size), changed.reshape(-1, state.size)

    return jax.vmap(at)(jnp.array([1.0, SHORTER]))


def whole_state(system: System, w0: Any) -> np.ndarray:
    """Return a flat state whose moments are asked for, if it is one: parameters alone are none where there is more."""
    state = np.asarray(w0, dtype=float)
    variables = system.layout(len(state))
    if sum(v.size for v in variables) != len(state):
        raise _check.fail(
            "w0",
            f"must be a flat state, {shown_layout(variables)}",
            _check.Words(f"{len(state)} numbers"),
            "method.lift(w0) makes one of parameters",
        )
    return state


def _mean_step(recursion: Any, z: jax.Array) -> jax.Array:
    return recursion.mean_at(recursion.time_step, z)
