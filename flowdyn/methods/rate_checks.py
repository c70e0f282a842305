r"""Whether the rates of a recursion keep from a step to the next as h -> 0, as those of a flow do.

    u_h(z, k) = (S_h(z, k) - z) / h
    u_h(z, k + 1) - u_h(z, k) -> 0                   k late; else a step counts, and training time tells it nothing
    u_h(S_h(z), k + 1) - u_h(z, k) -> 0              order p: what it adds up does not change its rates

A trace of gradients adds up and moves the parameters less and less; a sum of squares that rates are divided by moves
them as much at any h.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind, by_structure
from flowdyn._tools.polynomial_degree import degree_of
from flowdyn.problems.base import Variable

RIPPLES = (2.0**-20, 2.0**-12)  # of h, at which the rates of two steps are compared
RIPPLED = 1e-3  # change of a rate from a step to the next, as a share, that is none
LATE = 8192  # number of a step, so late that averages over all of them change no more


def check_counted(flow: Any, state0: np.ndarray) -> None:
    """Refuse a step that changes with its number: training time tells it nothing, however small eta is."""
    if not by_structure(_degree_in_number, flow.recursion, len(state0)):
        return
    rates = np.asarray(bind(_late_rates, flow)(state0))
    change = np.abs(np.diff(rates, axis=0)).max(axis=0) / np.maximum(np.abs(rates).max(), np.finfo(float).tiny)
    if change.max(initial=0.0) > RIPPLED:
        raise _check.fail(
            "step",
            "must depend on its number k through the training time alone",
            _check.Words(
                f"{piece_of(flow.layout(len(state0)), change)} whose rate changes by "
                f"{100 * change.max():.2g} % from a step to the next at any eta"
            ),
            "write eta*k for k; for samples in turn or at random use fd.RandomRecursion(..., samples=...)",
        )


def _degree_in_number(own: Any, size: int) -> float:
    return degree_of(lambda k: own.step_at(own.time_step, k, jnp.zeros(size)), jax.ShapeDtypeStruct((), jnp.float64))


def _late_rates(flow: Any, state: jax.Array) -> jax.Array:
    """Rates of eight late steps from one state, at a small h."""
    own = flow.recursion
    h = RIPPLES[0] * own.time_step
    return jax.vmap(lambda k: (own.step_at(h, k, state) - state) / h)(LATE + jnp.arange(8.0))


def check_ripples(flow: Any, state0: np.ndarray, moved: np.ndarray) -> None:
    """Refuse rates that change from a step to the next however small eta is: what adds up in a step steers them.

    A trace of gradients adds up too, but moves the parameters by less and less. Where the change stays the first steps
    leave a gap O(eta) that no order mends: with u = -g/sqrt(s), s+ = s + g^2 (Adagrad), u changes by g^2/(2 s).
    """
    variables = flow.layout(len(state0))
    small, large, size = map(np.asarray, bind(_ripples, flow)(state0))
    lost = 8 * np.finfo(float).eps * np.abs(state0) / (RIPPLES[0] * float(flow.recursion.time_step))
    stays = (small > 0.1 * large) & (small > RIPPLED * size + lost)
    if not stays.any():
        return
    share = np.where(stays, small / np.maximum(size, np.finfo(float).tiny), 0.0)
    raise _check.fail(
        "step",
        f"must keep its rates from a step to the next as eta -> 0 for a flow of order {flow.order}",
        _check.Words(f"{piece_of(variables, stays)} whose rate changes by {100 * share.max():.2g} %"),
        f"{piece_of(variables, moved > 0)} changes by {moved.max():.3g} a step at any eta, so that the gap is O(eta) "
        "at every order: let it change by eta times that, or start it at a size of 1/eta",
    )


def _ripples(flow: Any, state: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Change of the rates from the first step to the second at two small h, and their size there and at h."""
    own, h = flow.recursion, flow.recursion.time_step
    is_fresh = jnp.all(own.lift(own.project(state)) == state)  # then it starts at small h as it does there

    def of(part: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = own.with_eta((part * h) ** (1 / own.step_power)).lift(own.project(state))
        start = jnp.where(is_fresh, start, state)
        first = own.step_at(part * h, 1 / part, start)
        rate = (first - start) / (part * h)
        return jnp.abs((own.step_at(part * h, 1 + 1 / part, first) - first) / (part * h) - rate), jnp.abs(rate)

    changes, sizes = jax.vmap(of)(jnp.array([*RIPPLES, 1.0]))
    return changes[0], changes[1], jnp.maximum(sizes[0], sizes[2])


def piece_of(variables: tuple[Variable, ...], fails: np.ndarray) -> str:
    """Name of the piece of the state in which something fails."""
    edges = np.cumsum([v.size for v in variables])
    return repr(variables[int(np.searchsorted(edges, int(np.argmax(fails)), side="right"))].name)
