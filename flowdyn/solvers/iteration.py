"""Recursions:  state_{k+1} = step(k, state_k),  one compiled loop that keeps only what is saved.

Step numbers and step size are arguments of the compiled program, so that runs of any length and a whole ladder over eta
share it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flowdyn import _check
from flowdyn.methods.base import DiscreteSystem, RecursionSystem
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import System
from flowdyn.solvers.base import Result, Solver, Support, Task
from flowdyn.solvers.ensembles import MemberBlock, run_ensemble
from flowdyn.solvers.ensembles_together import is_cheap
from flowdyn.solvers.member_runs import MemberRun
from flowdyn.solvers.recursion_batches import has_fixed_end, run_in_pieces, run_together
from flowdyn.solvers.recursion_run import MOST_RECURSION_STEPS, RecursionRun
from flowdyn.solvers.segments import Segments
from flowdyn.solvers.step_program import StepProgram, recursion_step


@dataclasses.dataclass(frozen=True)
class Iteration(Solver):
    r"""Run a recursion step by step, compiled; a random one with all its members side by side.

    .. math:: s_{k+1} = \mathrm{step}(k, s_k), \qquad t_k = \mathrm{clock}(k)

    Parameters
    ----------
    brownian_dt : float, optional
        For recursions with Gaussian noise and a constant eta: cell of the Brownian path that their noise is the
        increments of, so that they share it with an equation solved by ``EulerMaruyama(dt, brownian_dt)``.

    Raises
    ------
    ArgumentError
        If the system is not a recursion or needs more than 10^9 steps; if `brownian_dt` does not divide eta, or the
        noise is not Gaussian.

    Notes
    -----
    Source: section 9.3.1, equations (9.87) and (9.88): step k ends at time eta (k + 1).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.CustomProblem(lambda w: w**4 / 4, 1.0)
    >>> gd = fd.solve(fd.GradientDescent(p, eta=0.5), 1.0, steps=1, saves=2, solver=fd.solvers.Iteration())
    >>> gd.w.values.tolist()
    [1.0, 0.5]
    """

    brownian_dt: float | None = None

    @property
    def support(self) -> Support:
        """Recursions, with or without noise, to a fixed or an open end."""
        return Support((RecursionSystem,), "runs recursions", open_end=True)

    def on_path(self, brownian_dt: float, dt: float | None) -> "Iteration | None":
        """Recursions with Gaussian noise, whose step is their own eta."""
        return Iteration(brownian_dt) if dt is None else None

    def refuses_system(self, system: System) -> str | None:
        """A shared path needs Gaussian noise."""
        if self.brownian_dt is not None and not (
            isinstance(system, RandomRecursionSystem) and system.has_brownian_increments
        ):
            return "`brownian_dt` is for recursions whose noise is Gaussian, e.g. SGD on Quadratic(A, noise)"
        return None

    def ensemble(self, task: Task) -> Iterator[MemberBlock]:
        """Run all members of a random recursion."""
        return run_ensemble(self.member_run(task))

    def member_run(self, task: Task) -> MemberRun:
        """All members of a random recursion, from save to save."""
        system = task.system
        assert isinstance(system, RandomRecursionSystem) and task.k is not None
        before = np.concatenate([[task.k0], task.k[:-1]])
        segments = Segments(before, task.k, np.zeros(len(before)), np.ones(len(before)))
        refine = 1
        if self.brownian_dt is not None:
            ratio = system.constant_eta("a shared path") / self.brownian_dt
            refine = round(ratio)
            if refine < 1 or abs(ratio - refine) > 1e-9 * ratio:
                raise _check.fail("brownian_dt", "must divide eta", self.brownian_dt)
        program = StepProgram(recursion_step, system.random_inputs, refine)
        return MemberRun(task, program, segments, system.epoch, system.epoch_bits)

    def brownian_id(self, task: Task) -> dict[str, Any] | None:
        """What EulerMaruyama must agree with: cell, dimension and seed."""
        if self.brownian_dt is None:
            return None
        assert isinstance(task.system, RandomRecursionSystem)
        return {"brownian_dt": self.brownian_dt, "dimension": task.system.random_inputs.numbers, "seed": task.seed}

    def run(self, task: Task) -> Result:
        """Run to the last save, the first stop, the first bad state or the end of the budget."""
        count = 0 if task.k is None else int(task.k[-1]) - task.k0
        if task.max_steps is None and count > MOST_RECURSION_STEPS:
            raise _check.ArgumentError(
                f"`t` must not need more than {MOST_RECURSION_STEPS:,} steps, got {count:,}; raise `max_steps`, or use "
                "flowdyn.fast_forward, whose cost does not grow with 1/eta"
            )
        return RecursionRun(task).alone()

    def fuses(self, task: Task) -> bool:
        """Recursions without a budget of seconds, which is one run's own; random ones if they are short."""
        if isinstance(task.system, RandomRecursionSystem):
            return is_cheap(self.member_run(task))
        is_long = task.k is not None and int(task.k[-1]) - task.k0 > MOST_RECURSION_STEPS
        return isinstance(task.system, DiscreteSystem) and task.max_seconds is None and not is_long

    def run_many(self, tasks: Sequence[Task]) -> "list[Result | _check.FlowdynError]":
        """All in one compiled loop; those with an end of their own in pieces, until the last of them has found it."""
        if not all(map(self.fuses, tasks)):
            return super().run_many(tasks)
        return run_together(tasks) if all(map(has_fixed_end, tasks)) else run_in_pieces(tasks)
