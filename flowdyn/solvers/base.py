"""What a solver is given, what it must give back, and when it must refuse.

To add one: subclass :class:`Solver` as a frozen dataclass whose fields are its options, declare what it takes in
:attr:`Solver.support` (and its order), fill a :class:`Result` in :meth:`Solver.run`, and add one line to the registry
of this folder.
"""

import abc
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

import numpy as np

from flowdyn import _check
from flowdyn._tools.plain_help import PlainABCMeta
from flowdyn.methods.systems import NOISES, ODESystem, SDESystem, System

Status = Literal["reached_end", "stopped", "diverged", "nonfinite", "max_steps", "max_seconds", "at_rest", "stuck"]
STATUSES: tuple[Status, ...] = get_args(Status)
SPENT: tuple[Status, ...] = ("max_steps", "max_seconds")  # out of a budget
HUGE = 1e100  # a state beyond this has diverged: its square is still finite, so it is told before it turns into NaN


@dataclasses.dataclass(frozen=True)
class Stop:
    """Stop rules, each compiled into a margin: it is negative where the rule does not hold."""

    rules: Callable[[np.ndarray], np.ndarray]  # of states (R, S): margins (R, rules)
    traced: Callable[..., Any]  # kernel(system, spec, state, thresholds) for compiled loops: the largest margin
    each: Callable[..., Any]  # the same: the margin of each rule
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
    choice: str = ""  # of a solver that chooses its method on the way: what it took, and why


@dataclasses.dataclass(frozen=True)
class Support:
    """What a solver takes: declared by each back end, read by the choice of a solver and by every refusal."""

    kinds: tuple[type[System], ...]
    runs: str  # in words, as they follow "it": "integrates ODEs"
    plain_numpy: bool = False  # functions that JAX cannot trace
    calculus: str | None = None  # of equations whose noise is not additive; None takes both
    noises: tuple[str, ...] = NOISES
    stop: bool = True
    open_end: bool = False
    max_seconds: bool = True


class Demand(NamedTuple):
    """What a run asks for beside its system."""

    end: float = 0.0  # last time, inf for an open end
    stop: bool = False
    max_seconds: bool = False


class Solver(metaclass=PlainABCMeta):
    """Base of the back ends."""

    shown: ClassVar[tuple[str, ...]] = ("order", "support")  # by `help`
    gains_up_to: ClassVar[int] = 64  # tasks that `run_many` is worth being given at once, where it fuses them

    @property
    @abc.abstractmethod
    def support(self) -> Support:
        """What the back end takes, as every refusal reads it."""

    @classmethod
    def example(cls) -> Self:
        """An instance that the contract tests run small systems with."""
        return cls()

    @classmethod
    def variants(cls) -> tuple[Self, ...]:
        """The instances that differ in what they take: one a method, where it has several."""
        return (cls(),)

    def refuses(self, system: System, state0: np.ndarray, demand: Demand = Demand()) -> str | None:  # noqa: B008
        """Say why this solver cannot run the system, in words that end a sentence; None if it can."""
        takes = self.support
        if not isinstance(system, takes.kinds):
            return f"it {takes.runs}, and this is {system.kind}"
        if isinstance(system, SDESystem):
            if takes.calculus not in (None, system.calculus) and system.noise != "additive":
                return f"it solves {takes.calculus} equations, and this one is {system.calculus}"
            if system.noise not in takes.noises:
                return f"it needs {' or '.join(takes.noises)} noise, and this is {system.noise}"
        if not takes.plain_numpy and not system.is_traceable(state0):
            return "it needs functions written with jax.numpy"
        return self.refuses_system(system) or self.refuses_start(system, state0) or self._refuses_demand(system, demand)

    def refuses_system(self, system: System) -> str | None:
        """What `support` cannot say; None if nothing."""
        return None

    def refuses_start(self, system: System, state0: np.ndarray) -> str | None:
        """What keeps it from this start alone; None if nothing."""
        return None

    def _refuses_demand(self, system: System, demand: Demand) -> str | None:
        takes = self.support
        if demand.stop and not takes.stop:
            return "it looks at no `stop` rule"
        if np.isinf(demand.end) and not takes.open_end:
            return "it needs a finite `t`"
        if demand.max_seconds and not takes.max_seconds:
            return "it cannot keep to `max_seconds` (it is one compiled call)"
        if isinstance(system, ODESystem) and self.is_explicit and demand.end > system.explicit_until:
            return (
                f"it takes explicit steps, and the system is stiff beyond t = {system.explicit_until:.3g} "
                f"(this run goes to t = {demand.end:g})"
            )
        return None

    def run(self, task: Task) -> Result:
        """Run a deterministic system from one start."""
        raise NotImplementedError(f"{type(self).__name__} runs no deterministic systems")

    def run_batch(self, task: Task, states0: np.ndarray) -> list[Result]:
        """Run from each row of `states0`, one after the other unless a back end knows better."""
        return [self.run(dataclasses.replace(task, state0=state)) for state in states0]

    def fuses(self, task: Task) -> bool:
        """Whether many such tasks are run as one (`run_many`, `member_run`): a sweep puts them into large blocks."""
        return False

    def run_many(self, tasks: Sequence[Task]) -> "list[Result | _check.FlowdynError]":
        """Run deterministic systems that differ in their numbers alone, each with its own start and times.

        One after the other unless a back end knows better; they share what is compiled. What one of them raises is
        its own result: the others go on.
        """
        return [_tried(self.run, task) for task in tasks]

    def member_run(self, task: Task) -> Any:
        """What the members run, where those of many systems may run in one program; None where each needs its own."""
        return None

    def ensemble(self, task: Task) -> Iterator[Any]:
        """Run the members of a random system; yields blocks of them in order."""
        raise NotImplementedError(f"{type(self).__name__} runs no random systems")

    @property
    def is_explicit(self) -> bool:
        """Whether stiffness bounds its steps."""
        return False

    @property
    def order(self) -> float | None:
        """Order of its steps on smooth ordinary equations; None where it varies or there are no steps."""
        return None

    def with_step(self, h: float) -> "Solver | None":
        """The same solver at steps of length h, by which its order is measured; None where it takes none."""
        return None

    def at_tolerance(self, rtol: float, explicit: bool) -> "Solver | None":
        """The same back end at a relative tolerance; None where errors follow none.

        `explicit` asks for its explicit method of highest order, else for one that stiffness does not slow down.
        """
        return None

    def on_path(self, brownian_dt: float, dt: float | None) -> "Solver | None":
        """The same solver in steps of `dt` on a Brownian path kept at `brownian_dt`; None where it shares none."""
        return None

    def with_defaults(self, system: System, span: float) -> "Solver":
        """The same solver with the defaults filled in that depend on the run."""
        return self

    def noise_steps(self, task: Task) -> np.ndarray | None:
        """Step numbers of the solver's noise at the save times, from which a restart goes on; None if it has none."""
        return None

    def brownian_id(self, task: Task) -> dict[str, Any] | None:
        """What two runs must have in common to share their noise; None where it cannot be shared."""
        return None

    def tighter(self) -> "Solver | None":
        """The same solver at a tighter tolerance, to measure its error by; None where there is none to measure."""
        return None

    def with_steps_below(self, h: float) -> "Solver | None":
        """The same solver in steps of at most `h`; None where it takes no such bound."""
        return None

    def config(self) -> dict[str, Any]:
        """Effective options, all defaults filled in."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]


def _tried(run: Callable[[Task], Result], task: Task) -> "Result | _check.FlowdynError":
    try:
        return run(task)
    except _check.FlowdynError as error:
        return error


def is_bad(states: np.ndarray) -> np.ndarray:
    """Rows that are not finite or beyond HUGE; the magnitude is tested so that NaN counts as bad too."""
    return ~(np.abs(states).max(axis=-1, initial=0.0) <= HUGE)


def failure_status(bad: np.ndarray, last_good: np.ndarray) -> Status:
    """``diverged`` if the state had grown or overflowed, ``nonfinite`` if it turned NaN out of the blue."""
    grown = np.abs(last_good).max(initial=0.0) > 1e6 or np.isinf(bad).any() or (np.abs(bad) > HUGE).any()
    return "diverged" if grown else "nonfinite"
