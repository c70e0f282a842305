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
    h = float(recursion.time_step)
    small, larger = (np.linalg.norm(_spread(recursion, part * h, state), axis=0) for part in PARTS)
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
    coefficients = tuple(map(np.asarray, bind(_coefficients, equation)(state)))
    if not all(np.isfinite(part).all() for part in coefficients):
        check_noise(equation.recursion, state)
    finite(coefficients)
    drift, _, columns = coefficients
    directions = np.concatenate([drift[None], columns])
    at_zero, kept = _mean_along(own, 0.0, state, directions)
    moved = np.abs(at_zero - state)
    if (moved > 1e-12 * np.abs(state).max(initial=1.0)).any():
        piece = _name(equation, state, int(moved.argmax()))
        raise _check.fail(
            "step",
            "must tend to the identity as eta -> 0",
            _check.Words(f"{piece} that still changes by {moved.max():.3g} at eta = 0"),
            "let its rates tend to 1 with eta, e.g. decay = 1 - c*h",
        )
    sizes = np.maximum(np.abs(directions).max(axis=1, keepdims=True), np.finfo(float).tiny)
    with np.errstate(all="ignore"):  # of steps that are not finite nothing is said
        forgotten = (np.abs(kept - directions) / sizes).max(axis=0)  # shares of their largest entry
        if own.is_users:
            forgotten = np.maximum(forgotten, lasting(*_along_way(own, state, len(directions)), state))
    if (forgotten > FORGETS).any():
        raise _check.fail(
            "step",
            "must tend to the identity as eta -> 0",
            _check.Words(f"{_name(equation, state, int(forgotten.argmax()))} that {AWAY}"),
            BEFORE,
        )
    check_noise(equation.recursion, state)
    if equation.order == 3:
        _check_third_order(equation, state, columns)


def _name(system: System, state: np.ndarray, entry: int) -> str:
    """Name of the piece of the state that holds an entry."""
    return piece_of(system.layout(len(state)), np.arange(len(state)) == entry)


def _spread(recursion: Any, h: float, state: np.ndarray) -> np.ndarray:
    """Columns of the fluctuation of a step of length h, as rows (m, S)."""
    return np.asarray(bind(_fluctuations, recursion)(np.float64(h), state))


def _fluctuations(recursion: Any, h: jax.Array, state: jax.Array) -> jax.Array:
    return recursion.fluctuations(h, state)


def _mean_along(recursion: Any, h: float, state: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (S,) of a step of length h, and what its derivative makes of directions (N, S): of one program for all."""
    mean, turned = bind(_mean_and_turned, recursion)(np.float64(h), state, directions)
    return np.asarray(mean), np.asarray(turned)


def _mean_and_turned(recursion: Any, h: jax.Array, state: jax.Array, directions: jax.Array) -> tuple[Vector, Vector]:
    mean = lambda z: recursion.mean_at(h, z)  # noqa: E731
    means, turned = jax.vmap(lambda v: jax.jvp(mean, (state,), (v,)))(directions)
    return means[0], turned


def _check_third_order(equation: Any, state: np.ndarray, columns: np.ndarray) -> None:
    recursion, number = equation.recursion, jax.ShapeDtypeStruct((), jnp.float64)
    parts = (lambda h: recursion.mean_at(h, state)), (lambda h: recursion.fluctuations(h, state))
    if max(degree_of(part, number) for part in parts) > 1:
        raise _check.fail("order", "must be at most 2 where a step is not affine in its length h", 3)
    third = np.abs(np.einsum("ia,ib,ic->abc", columns, columns, columns)).max()
    if not recursion.is_symmetric and third > SKEWED * (np.abs(columns) ** 3).sum():
        raise _check.fail("order", "must be at most 2 where the noise has third moments", 3)


def _coefficients(equation: Any, state: jax.Array) -> tuple[Vector, Vector, Vector]:
    return equation.drift(0.0, state), equation.diffusion(0.0, state), equation.columns(state)


def _along_way(recursion: Any, state: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first moves of the means and of the outcomes about them, and what a step of no length changes of them.

    Parameters of before and of now are the same at the start, where b and G vanish: their directions say nothing.
    """
    still = np.zeros((count, state.size))  # for one shape of directions
    moves, changed = np.empty((2, 2, FIRST, count, state.size))
    for i, part in enumerate((1.0, SHORTER)):
        h, z = part * float(recursion.time_step), state
        for k in range(FIRST):
            mean = _mean_along(recursion, h, z, still)[0]
            moves[i, k] = np.concatenate([(mean - z)[None], _spread(recursion, h, z)])
            changed[i, k] = _mean_along(recursion, 0.0, z, moves[i, k])[1] - moves[i, k]
            z = mean
    return moves.reshape(2, -1, state.size), changed.reshape(2, -1, state.size)


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
