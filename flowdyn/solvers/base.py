"""What a solver is given, what it must give back, and when it must refuse.

To add one: subclass :class:`Solver` as a frozen dataclass whose fields are its options, say in :meth:`Solver.refuses`
what it cannot do, fill a :class:`Result` in :meth:`Solver.run`, and add one line to the registry of this folder.
"""

import abc
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np

from flowdyn.methods.systems import System

Status = Literal["reached_end", "stopped", "diverged", "nonfinite", "max_steps", "max_seconds"]
STATUSES: tuple[Status, ...] = ("reached_end", "stopped", "diverged", "nonfinite", "max_steps", "max_seconds")
HUGE = 1e100  # a state beyond this has diverged: its square is still finite, so it is told before it turns into NaN


@dataclasses.dataclass(frozen=True)
class Stop:
    """Stop rules, each compiled into a margin: it is negative where the rule does not hold."""

    rules: Callable[[np.ndarray], np.ndarray]  # of states (R, S): margins (R, rules)
    traced: Callable[..., Any]  # kernel(system, spec, state, thresholds) for compiled loops
    spec: tuple
    thresholds: np.ndarray
    describe: str

    def holds(self, state: np.ndarray) -> bool:
        """Whether a rule holds at a state."""
        return bool((self.rules(state[None]) >= 0).any())


@dataclasses.dataclass(frozen=True)
class Task:
    """One run. Times are the system's clock; `k` are step numbers for recursions.

    `t` is None for an open end (t = inf), which needs a stop rule; then at most `saves` states are kept.
    """

    system: System
    state0: np.ndarray  # (S,)
    t0: float
    k0: int
    t: np.ndarray | None  # (T,)
    k: np.ndarray | None  # (T,), recursions with a fixed end
    saves: int
    stop: Stop | None
    max_steps: int | None
    max_seconds: float | None
    progress: Callable[[float], None]
    seed: int = 0
    members: int = 1  # of an ensemble
    first: int = 0  # number of its first member
    states0: np.ndarray | None = None  # (members, S), where members start apart
    started: float = dataclasses.field(default_factory=time.monotonic)

    def out_of_time(self) -> bool:
        """Whether the wall-clock budget is spent."""
        return self.max_seconds is not None and time.monotonic() - self.started > self.max_seconds


@dataclasses.dataclass
class Result:
    """States at the times reached. Rows after an early end are simply missing; ``solve`` fills them with NaN."""

    t: np.ndarray  # (R,)
    states: np.ndarray  # (R, S)
    status: Status
    k: np.ndarray | None = None
    message: str = ""
    stats: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    t_stop: float = np.nan  # where a stop rule held, or where the run broke off


class Solver(abc.ABC):
    """Base of the back ends."""

    @abc.abstractmethod
    def refuses(self, system: System, state0: np.ndarray) -> str | None:
        """Say why this solver cannot run the system, in words that end a sentence; None if it can."""

    def run(self, task: Task) -> Result:
        """Run a deterministic system."""
        raise NotImplementedError(f"{type(self).__name__} runs no deterministic systems")

    def run_batch(self, task: Task, states0: np.ndarray) -> list[Result]:
        """Run from each row of `states0`, one after the other unless a back end knows better."""
        return [self.run(dataclasses.replace(task, state0=state)) for state in states0]

    def ensemble(self, task: Task) -> Iterator[Any]:
        """Run the members of a random system; yields blocks of them in order."""
        raise NotImplementedError(f"{type(self).__name__} runs no random systems")

    @property
    def is_explicit(self) -> bool:
        """Whether stiffness bounds its steps."""
        return False

    def effective(self, system: System, span: float) -> "Solver":
        """The same solver with the defaults filled in that depend on the run."""
        return self

    def counters(self, task: Task) -> np.ndarray | None:
        """Step numbers of the solver's noise at the save times, from which a restart goes on; None if it has none."""
        return None

    def noise_record(self, task: Task) -> dict[str, Any] | None:
        """What two runs must have in common to share their noise; None where it cannot be shared."""
        return None

    def tighter(self) -> "Solver | None":
        """The same solver at a tighter tolerance, to measure its error by; None where there is none to measure."""
        return None

    def config(self) -> dict[str, Any]:
        """Effective options, all defaults filled in."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]


def is_bad(states: np.ndarray) -> np.ndarray:
    """Rows that are not finite or beyond HUGE; the magnitude is tested so that NaN counts as bad too."""
    return ~(np.abs(states).max(axis=-1, initial=0.0) <= HUGE)


def blame(bad: np.ndarray, last_good: np.ndarray) -> Status:
    """``diverged`` if the state had grown or overflowed, ``nonfinite`` if it turned NaN out of the blue."""
    grown = np.abs(last_good).max(initial=0.0) > 1e6 or np.isinf(bad).any() or (np.abs(bad) > HUGE).any()
    return "diverged" if grown else "nonfinite"


class Thinned:
    """Rows of an open-ended run: when there are more than `limit`, every other one goes and the stride doubles."""

    def __init__(self, limit: int):
        self.limit, self.stride = max(limit, 2), 1
        self.rows: list[tuple[Any, np.ndarray]] = []

    def add(self, index: int, when: Any, state: np.ndarray) -> None:
        """Offer row number `index` (0, 1, 2, ...); it is kept if it falls on the stride."""
        if index % self.stride == 0:
            self.rows.append((when, state))
            if len(self.rows) >= self.limit:
                self.rows, self.stride = self.rows[::2], self.stride * 2

    def close(self, when: Any, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """End with the given row and return (times, states)."""
        rows = [row for row in self.rows if row[0] < when]
        rows.append((when, state))
        return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
