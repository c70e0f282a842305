"""One of scipy's steppers that goes on where explicit steps have left off, with their tolerances and record."""

import dataclasses
import functools
from typing import TYPE_CHECKING

import jax
import numpy as np

from flowdyn._tools.blas_threads import one_blas_thread
from flowdyn.solvers.base import Result
from flowdyn.solvers.stepping import Drive
from flowdyn.solvers.tolerances import Options, Path
from flowdyn.solvers.waking import FirstScales

if TYPE_CHECKING:
    from flowdyn.solvers.explicit_run import ExplicitRun


class ComesBackError(Exception):
    """Raised where coordinates come back from below their tolerances: the run is made again from its start."""

    def __init__(self, back: np.ndarray):
        super().__init__("coordinates came back")
        self.back = back


class Continuation(Drive):
    """The rest of a run."""

    def __init__(self, run: "ExplicitRun", method: str):
        self.run, carry, task = run, run.carry, run.task
        t, state = float(carry.t), np.array(carry.y)
        self.path0: Path = jax.tree.map(np.asarray, carry.path)
        ahead = None if task.t is None else task.t[run.saves.count :]
        whole, passed = run.end - task.t0, t - task.t0
        rest = dataclasses.replace(
            task,
            state0=state,
            t0=t,
            t=ahead,
            max_steps=None if task.max_steps is None else max(task.max_steps - int(carry.accepted), 1),
            progress=lambda share: task.progress((passed + share * (whole - passed)) / whole),
        )
        options = run.options
        super().__init__(Options(method, options.rtol, options.atol, options.max_step, options.breakpoints), rest)

    @functools.cached_property
    def scales(self) -> FirstScales:
        """Those that the explicit steps had."""
        return FirstScales(np.asarray(self.path0.scale), np.asarray(self.path0.asleep))

    def start(self) -> None:
        """Begin with the memory and the tolerances of the explicit steps."""
        super().start()
        self.relative, self.reruns = self.run.relative.copy(), self.run.reruns
        self.path = self.path0
        self.saves.record = self.run.saves.record
        self.follow(self.task.state0)

    def begin_again(self) -> Result:
        """Leave it to the explicit steps to begin again."""
        raise ComesBackError(self.path.back)

    def result_of_both(self) -> Result:
        """Rows and counts of the explicit steps, followed by these."""
        with one_blas_thread(), np.errstate(all="ignore"):
            mine = self.result()
        before = self.run.stats()
        stats = before | dict(mine.stats) | {"n_steps": before["n_steps"] + self.steps}
        t, states = mine.t, mine.states
        if self.task.t is not None:
            t, states = self.run.saves.fill(t, states)
        return dataclasses.replace(mine, t=t, states=states, stats=stats, choice=self.run.choice)
