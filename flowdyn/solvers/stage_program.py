r"""The stages of an explicit step in one compiled call, where each by itself would be a call from Python.

.. math::
    k_i = f(t + c_i h, y + h \sum_j a_{ij} k_j), \qquad y^+ = y + h \sum_j b_j k_j, \qquad k_{m} = f(t + h, y^+)

The weights b are one more row of the tableau, so that a loop over its rows holds one right-hand side, whatever the
method: stages first .. last - 1 are those of a step, those for states inside of it, or a single value.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its integrators load where one is named

from flowdyn._tools.compiled import bind, float64_is_on
from flowdyn._tools.quick_compilation import compiles_quickly
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers import dormand_prince

METHODS = ("DOP853", "RK45", "RK23")
WIDE = 1 << 13  # numbers of a state, from which a call is cheap beside a value, and numpy's sums of stages are faster


class Tableau(NamedTuple):
    """Rows of a method."""

    rows: np.ndarray  # (m, m)
    times: np.ndarray  # (m,)
    errors: np.ndarray  # (e, m) estimates of the error of a step, over h
    step: int  # stages of a step, the value at its end included; those that follow are for states inside of it


@functools.cache
def tableau(method: str) -> Tableau:
    """The rows of one of `METHODS`."""
    if method != "DOP853":
        theirs = getattr(scipy.integrate, method)
        count = theirs.n_stages + 1
        rows = np.zeros((count, count))
        rows[:-1, : theirs.A.shape[1]], rows[-1, :-1] = theirs.A, theirs.B
        return Tableau(rows, np.append(theirs.C, 1.0), theirs.E[None], count)
    rows, errors = np.zeros((16, 16)), np.zeros((2, 16))
    rows[1:12, :12], rows[12, :12], rows[13:] = dormand_prince.STAGES, dormand_prince.B, dormand_prince.MORE_STAGES
    errors[:, :13] = dormand_prince.FIFTH, dormand_prince.THIRD
    return Tableau(rows, np.array([*dormand_prince.C, 1.0, *dormand_prince.MORE_C]), errors, 13)


@compiles_quickly
def stages(system: ODESystem, method: str, given: Any, start: Any, atol: Any, known: Any) -> tuple[Any, Any]:
    """Where the stages first .. last - 1 lead from `start`, in one row, and all stages (m, S).

    A row is a state, the right-hand side there, and sums of squares of the error estimates over h, in units of the
    tolerances. `given` is t, h, the relative tolerance, first and last; stages before the first are `known`, and others
    are taken as 0: what a refused step left there may not be a number.
    """
    table, size = tableau(method), atol.size
    rows, times = jnp.asarray(table.rows), jnp.asarray(table.times)
    t, h, rtol = (_at(given, i) for i in range(3))
    first, last = (_at(given, i).astype(int) for i in (3, 4))
    y, rate = (jax.lax.slice(start, (i * size,), ((i + 1) * size,)) for i in range(2))

    def one(i: jax.Array, carry: tuple) -> tuple:
        ks, _ = carry
        point = y + h * (_at(rows, i) @ ks)
        return _set(ks, i, system.drift(t + _at(times, i) * h, point)), point

    rest = (jnp.arange(len(rows)) < first)[:, None]
    ks, end = jax.lax.fori_loop(first, last, one, (_set(jnp.where(rest, known, 0.0), 0, rate), y))
    scale = atol + jnp.maximum(jnp.abs(y), jnp.abs(end)) * rtol
    errors = jnp.asarray(table.errors) @ ks / scale
    return jnp.concatenate([end, _at(ks, last - 1), jnp.sum(errors * errors, axis=1)]), ks


def _at(rows: Any, i: Any) -> jax.Array:
    """Row i; `rows[i]` is traced and compiled as a gather, which takes longer."""
    return jax.lax.dynamic_index_in_dim(rows, i, keepdims=False)


def _set(rows: Any, i: Any, row: Any) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(rows, row.astype(rows.dtype), i, 0)


class StageProgram:
    """The program of a system, a method and a size of states."""

    def __init__(self, system: ODESystem, method: str, size: int):
        self.method, self.table = method, tableau(method)
        self.program = bind(stages, system, method)
        self.blank, self.ones = np.zeros((len(self.table.rows), size)), np.ones(size)

    def row(self, y: np.ndarray, f: np.ndarray) -> np.ndarray:
        """The row of a state (S,) and the right-hand side there."""
        return np.concatenate([y, f, np.zeros(len(self.table.errors))])

    def step(self, start: Any, t: float, h: float, tolerances: tuple[float, np.ndarray], room: Any) -> tuple[Any, Any]:
        """The row to which a step of h leads from that of its start, and its stages, in place of others in a `room`."""
        rtol, atol = tolerances
        return self.program(np.array([t, h, rtol, 1, self.table.step]), start, atol, room)

    def inside(self, start: Any, t: float, h: float, known: Any) -> np.ndarray:
        """All stages (m, S) of a step, given those that led to its end."""
        given = np.array([t, h, 0, self.table.step, len(self.table.rows)])
        return np.asarray(self.program(given, start, self.ones, known)[1])

    def value(self, t: float, y: np.ndarray) -> np.ndarray:
        """The right-hand side (S,)."""
        row, _ = self.program(np.array([t, 0, 0, 1, 2]), self.row(y, np.zeros(y.size)), self.ones, self.blank)
        return np.asarray(row)[y.size : 2 * y.size]


def program_of(system: ODESystem, method: str, size: int) -> StageProgram | None:
    """The program for a right-hand side that JAX can trace; None where single values do as well, or better."""
    if method not in METHODS or size > WIDE or not float64_is_on():
        return None
    return StageProgram(system, method, size)
