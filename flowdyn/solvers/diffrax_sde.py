"""SDEs by diffrax with adaptive steps, always stepping onto the save times.

diffrax's adaptive solvers solve Stratonovich equations; an Ito equation is handed over with its correction drift
(:meth:`SDESystem.drift_as`), or to Ito-Milstein under step doubling. Interpolated saves would halve the variance
between steps, so every save time is a step.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind
from flowdyn.methods.systems import SDESystem
from flowdyn.solvers.base import STATUSES, Solver, Support, Task, failure_status, is_bad
from flowdyn.solvers.diffrax_solve import MOST_DIFFRAX_STEPS
from flowdyn.solvers.ensembles import MemberBlock
from flowdyn.solvers.fixed_step import INTEGRATES

# diffrax's name -> calculus that it solves, and noise kinds
METHODS = {
    "SPaRK": ("stratonovich", ("additive", "diagonal", "general")),
    "ShARK": ("ito", ("additive",)),
    "Heun": ("stratonovich", ("additive", "diagonal", "general")),
    "ItoMilstein": ("ito", ("additive", "diagonal")),
}
MEMBERS_TOGETHER = 32  # members that run together


class _PathProgram(NamedTuple):
    method: str
    adaptive: bool
    m: int
    max_steps: int


def _path(system: SDESystem, program: _PathProgram, numbers: tuple, y0: jax.Array, key: jax.Array) -> tuple:
    import diffrax as dfx

    t0, ts, steps, rtol, atol, tol = numbers
    calculus = METHODS[program.method][0]
    solver = getattr(dfx, program.method)()
    if program.method == "ItoMilstein" and program.adaptive:
        solver = dfx.HalfSolver(solver)
    path = dfx.VirtualBrownianTree(t0, ts[-1], tol, (program.m,), key, levy_area=dfx.SpaceTimeLevyArea)
    terms: Any = dfx.MultiTerm(
        dfx.ODETerm(lambda t, y, args: system.drift_as(calculus, t, y)),
        dfx.ControlTerm(lambda t, y, args: system.diffusion(t, y), path),
    )
    controller: Any = dfx.StepTo(steps)
    if program.adaptive:
        pid = dfx.PIDController(rtol, atol, pcoeff=0.1, icoeff=0.3, dtmin=2 * tol, force_dtmin=True)
        controller = dfx.ClipStepSizeController(pid, step_ts=ts, store_rejected_steps=100)
    solution = dfx.diffeqsolve(
        terms,
        solver,
        t0,
        ts[-1],
        None,
        y0,
        saveat=dfx.SaveAt(ts=ts),
        stepsize_controller=controller,
        max_steps=program.max_steps,
        adjoint=dfx.ForwardMode(),
        throw=False,
    )
    return solution.ys, solution.result == dfx.RESULTS.max_steps_reached, solution.stats["num_steps"]


def _paths(
    system: SDESystem, program: _PathProgram, numbers: tuple, states: jax.Array, seed: jax.Array, members: jax.Array
) -> tuple:
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(members)
    return jax.vmap(lambda y0, key: _path(system, program, numbers, y0, key))(states, keys)


@dataclasses.dataclass(frozen=True)
class DiffraxSDE(Solver):
    r"""Adaptive (or fixed) steps by diffrax, for Ito and Stratonovich equations alike.

    .. math:: dX = f\,dt + g\,dW = \big(f - \tfrac12 \textstyle\sum_j (D g_j) g_j\big)\,dt + g \circ dW

    Parameters
    ----------
    method : {"SPaRK", "ShARK", "Heun", "ItoMilstein"}
        SPaRK for any noise, ShARK for additive noise, ItoMilstein (under step doubling) for diagonal Ito noise.
    rtol, atol : float, optional
        Tolerances of adaptive steps; 1e-3 and 1e-4 unless given.
    dt : float, optional
        Longest step, fixed between saves; then there are no tolerances.

    Raises
    ------
    ArgumentError
        If the method is another, a tolerance is not positive, or `dt` comes with tolerances; by :func:`flowdyn.solve`,
        if the method does not take the equation's noise.

    Notes
    -----
    The Brownian path is refined down to a fraction of the shortest save interval; about 20 times as dear per step as
    EulerMaruyama. Source: Foster, dos Reis and Strange (2024) for SPaRK and ShARK; Kidger (2021).

    Examples
    --------
    >>> import flowdyn as fd
    >>> sde = fd.SDE(lambda t, x: -x, lambda t, x: 0.8 * x, noise="diagonal")
    >>> run = fd.solve(sde, [1.0], t=1.0, solver=fd.solvers.DiffraxSDE(dt=0.05), saves=3, realizations=4)
    >>> run.w.shape
    (4, 3, 1)
    """

    method: str = "SPaRK"
    rtol: float | None = None
    atol: float | None = None
    dt: float | None = None

    def __post_init__(self) -> None:
        _check.choice("method", self.method, METHODS)
        if self.dt is not None:
            _check.real("dt", self.dt, positive=True)
            if self.rtol is not None or self.atol is not None:
                raise _check.fail("dt", "means fixed steps and excludes `rtol` and `atol`", self.dt)
            return
        for name, default in (("rtol", 1e-3), ("atol", 1e-4)):
            given = getattr(self, name)
            value = default if given is None else _check.real(name, given, positive=True)
            object.__setattr__(self, name, value)

    @property
    def support(self) -> Support:
        """Equations of either calculus whose noise the method takes; one compiled call, without stop rules."""
        kinds = METHODS[self.method][1]
        return Support((SDESystem,), INTEGRATES, noises=kinds, stop=False, max_seconds=False)

    @classmethod
    def example(cls) -> "DiffraxSDE":
        """Fixed steps, for small systems."""
        return cls(dt=0.05)

    @classmethod
    def variants(cls) -> tuple["DiffraxSDE", ...]:
        """One solver a method of the library."""
        return tuple(cls(method) for method in METHODS)

    def ensemble(self, task: Task) -> Iterator[MemberBlock]:
        """Blocks of members, each one vmapped program."""
        assert isinstance(task.system, SDESystem) and task.t is not None
        ts = task.t[task.t > task.t0]
        if not len(ts):  # the start is the one save
            starts = np.tile(task.state0, (task.members, 1)) if task.states0 is None else task.states0
            yield self._block(task, 0, np.empty((len(starts), 0, starts.shape[1])), np.zeros(len(starts), bool), starts)
            return
        steps = self._steps(task.t0, ts)
        span = np.diff(steps if self.dt is not None else ts, prepend=task.t0 if self.dt is None else steps[0] - 1)
        tol = float(span[span > 0].min()) * (0.5 if self.dt is not None else 2.0**-14)
        program = _PathProgram(
            self.method,
            self.dt is None,
            task.system.noise_dim(task.state0),
            task.max_steps or (MOST_DIFFRAX_STEPS if self.dt is None else len(steps) + 1),
        )
        numbers = (task.t0, ts, steps, self.rtol or 0.0, self.atol or 0.0, tol)
        call = bind(_paths, task.system, program)
        for first in range(0, task.members, MEMBERS_TOGETHER):
            count = min(MEMBERS_TOGETHER, task.members - first)
            starts = (
                np.tile(task.state0, (MEMBERS_TOGETHER, 1)) if task.states0 is None else _padded(task.states0[first:])
            )
            rows, exhausted, _ = (
                np.asarray(part)
                for part in call(numbers, starts, task.seed, np.arange(first, first + MEMBERS_TOGETHER))
            )
            yield self._block(task, first, rows[:count], exhausted[:count], starts[:count])
            task.progress((first + count) / task.members)

    def _steps(self, t0: float, ts: np.ndarray) -> np.ndarray:
        if self.dt is None:
            return np.array([t0, ts[-1]])
        edges = np.concatenate([[t0], ts])
        counts = np.maximum(np.ceil(np.diff(edges) / self.dt * (1 - 1e-9)), 1).astype(int)
        pieces = [np.linspace(a, b, n + 1)[1:] for a, b, n in zip(edges, edges[1:], counts, strict=False)]
        return np.concatenate([[t0], *pieces])

    def _block(
        self, task: Task, first: int, rows: np.ndarray, exhausted: np.ndarray, starts: np.ndarray
    ) -> MemberBlock:
        assert task.t is not None
        states = np.full((len(rows), len(task.t), rows.shape[-1]), np.nan)
        skip = len(task.t) - rows.shape[1]
        states[:, :skip], states[:, skip:] = starts[:, None], rows
        codes, t_stop = np.zeros(len(rows), dtype=np.int8), np.full(len(rows), np.nan)
        for i in np.flatnonzero(is_bad(states).any(axis=1)):
            save = int(np.argmax(is_bad(states[i])))
            last = states[i, save - 1] if save else starts[i]
            codes[i] = STATUSES.index("max_steps" if exhausted[i] else failure_status(states[i, save], last))
            states[i, save:], t_stop[i] = np.nan, task.t[save]
        return MemberBlock(first, states, states[:, -1], codes, t_stop)


def _padded(states: np.ndarray) -> np.ndarray:
    return states[np.minimum(np.arange(MEMBERS_TOGETHER), len(states) - 1)]
