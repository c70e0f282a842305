"""What stochastic schemes of fixed step have in common: steps that land on every save time, and shared Brownian paths.

Between two saves a run of ceil(span / dt) equal steps is taken, so that the variance at a save time is right.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import jax
import numpy as np

from flowdyn import _check
from flowdyn._tools.randomness import RandomInputs
from flowdyn.methods.systems import SDESystem, System
from flowdyn.solvers.base import Solver, Support, Task
from flowdyn.solvers.ensembles import MemberBlock, run_ensemble
from flowdyn.solvers.ensembles_together import is_cheap
from flowdyn.solvers.member_runs import MemberRun
from flowdyn.solvers.segments import Segments
from flowdyn.solvers.step_program import StepProgram

INTEGRATES = "integrates stochastic differential equations"
ON_GRID = 1e-9  # relative distance at which a time counts as a multiple of dt


@dataclasses.dataclass(frozen=True)
class FixedStep(Solver):
    """Base of the schemes: `dt` is the longest step, `brownian_dt` the cell of a path shared between step sizes."""

    dt: float | None = None
    brownian_dt: float | None = None

    calculus: ClassVar[str]
    noises: ClassVar[tuple[str, ...]]
    strong: ClassVar[dict[str, float]]  # strong order for each noise kind
    weak: ClassVar[float] = 1.0
    drift_order: ClassVar[float | None] = None  # where there is no noise

    def __post_init__(self) -> None:
        for name in ("dt", "brownian_dt"):
            if getattr(self, name) is not None:
                _check.real(name, getattr(self, name), positive=True)
        if self.brownian_dt is not None:
            if self.dt is None:
                raise _check.fail("brownian_dt", "needs `dt`, a multiple of it", self.brownian_dt)
            ratio = self.dt / self.brownian_dt
            if abs(ratio - round(ratio)) > ON_GRID * ratio or round(ratio) < 1:
                raise _check.fail("dt", f"must be a multiple of `brownian_dt` = {self.brownian_dt:g}", self.dt)

    def random_inputs(self, m: int) -> RandomInputs:
        """Numbers that one step draws."""
        return RandomInputs(numbers=m)

    @staticmethod
    def step(system: Any, when: Any, extra: Any, state: jax.Array, epoch_state: Any, draw: Any) -> jax.Array:
        """One step; `draw.numbers` have mean 0 and variance 1."""
        raise NotImplementedError

    @property
    def support(self) -> Support:
        """Equations of its calculus and noise kinds."""
        return Support((SDESystem,), INTEGRATES, calculus=self.calculus, noises=self.noises)

    @property
    def order(self) -> float | None:
        """Order where there is no noise."""
        return self.drift_order

    @classmethod
    def example(cls) -> Self:
        """Steps of 0.01."""
        return cls(dt=0.01)

    def with_step(self, h: float) -> Self:
        """The same scheme at steps dt = h."""
        return dataclasses.replace(self, dt=h)

    def on_path(self, brownian_dt: float, dt: float | None) -> Self | None:
        """At steps dt on a path of the given cells."""
        return None if dt is None else dataclasses.replace(self, dt=dt, brownian_dt=brownian_dt)

    def with_defaults(self, system: System, span: float) -> "FixedStep":
        """The same solver with its default step filled in."""
        assert isinstance(system, SDESystem)
        if self.dt is not None:
            return self
        return dataclasses.replace(self, dt=system.default_dt(span) if span > 0 else 1.0)  # no step is taken then

    def segments(self, task: Task) -> Segments:
        """Steps between the save times."""
        assert task.t is not None and self.dt is not None
        before = np.concatenate([[task.t0], task.t[:-1]])
        span = task.t - before
        count = np.maximum(np.ceil(span / self.dt * (1 - ON_GRID)), span > 0).astype(np.int64)
        if self.brownian_dt is not None and (np.abs(count * self.dt - span) > ON_GRID * self.dt * (count + 1)).any():
            raise _check.fail("t", f"must hold multiples of dt = {self.dt:g} where `brownian_dt` is given", task.t[:4])
        last = task.k0 + np.cumsum(count)
        return Segments(last - count, last, before, span / np.maximum(count, 1))

    def member_run(self, task: Task) -> MemberRun:
        """All members in one fused loop over the steps."""
        assert isinstance(task.system, SDESystem) and self.dt is not None
        refine = 1 if self.brownian_dt is None else round(self.dt / self.brownian_dt)
        program = StepProgram(type(self).step, self.random_inputs(task.system.noise_dim(task.state0)), refine)
        return MemberRun(task, program, self.segments(task))

    def ensemble(self, task: Task) -> Iterator[MemberBlock]:
        """Run all members."""
        return run_ensemble(self.member_run(task))

    def fuses(self, task: Task) -> bool:
        """Short runs, which share a program."""
        return task.t is not None and self.dt is not None and is_cheap(self.member_run(task))

    def noise_steps(self, task: Task) -> np.ndarray:
        """Steps taken by each save."""
        return self.segments(task).last

    def brownian_id(self, task: Task) -> dict[str, Any] | None:
        """Which Brownian path was used: runs with equal records share it."""
        if self.brownian_dt is None:
            return None
        assert isinstance(task.system, SDESystem)
        return {"brownian_dt": self.brownian_dt, "dimension": task.system.noise_dim(task.state0), "seed": task.seed}
