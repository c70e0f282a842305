"""A run of explicit steps on its way: what is compiled, what a call is given, what it carries, why it returns."""

import enum
from typing import Any, NamedTuple

import numpy as np

from flowdyn.solvers.base import Task
from flowdyn.solvers.tolerances import Path

FEWEST_ROWS, MOST_BYTES = 16, 1 << 24  # of the saves of one call
TIGHT = 1e-12  # a relative tolerance from which on steps of order 8 are fewer by far, and as true


class Why(enum.IntFlag):
    """What needs a look from outside."""

    END = enum.auto()  # a bound was reached
    FULL = enum.auto()  # no place is left for saves: the step was not taken
    BACK = enum.auto()  # a coordinate came back with an error that its tolerance let in
    STIFF = enum.auto()
    ALARM = enum.auto()  # a stop rule may hold inside the last step
    HUGE = enum.auto()  # the step led beyond what is a number, and was not taken
    STUCK = enum.auto()  # the step fell below the spacing of t
    LOOK = enum.auto()  # the time has come to look whether anything moves
    SPENT = enum.auto()  # of steps
    WOKE = enum.auto()  # a coordinate has left zero that nothing drove before
    CRAWL = enum.auto()  # more than a third of the tries is refused


class Method(enum.StrEnum):
    """Whose steps are taken in the compiled loop."""

    TSIT5 = "Tsit5"
    DOP853 = "DOP853"
    RODAS5P = "Rodas5P"

    @property
    def evaluations(self) -> int:
        """Right-hand sides of a step."""
        return {"Tsit5": 6, "DOP853": 12}.get(self, 10)

    @property
    def order(self) -> int:
        """Of its error estimate, plus one: steps go by that root of a tolerance."""
        return 8 if self is Method.DOP853 else 5


class Explicit(NamedTuple):
    """What the compiled program depends on."""

    rows: int  # saves that a call has room for
    each_step: bool  # whether every step is saved, in place of given times
    follows: bool  # whether the absolute tolerances follow the state
    stop: tuple | None  # (kernel of the margins, spec)
    method: Method = Method.TSIT5

    @property
    def dense_rows(self) -> int:
        """Rows of what is kept of a step where stop rules are looked for: t, h, y and the stages."""
        return 0 if self.stop is None else 7 if self.method is Method.RODAS5P else 10


class ExplicitOptions(NamedTuple):
    """What the steps are told."""

    rtol: float
    atol: float | None  # None: it follows the state
    max_step: float | None
    breakpoints: tuple[float, ...]

    @property
    def explicit_method(self) -> Method:
        """The one of high order where a tolerance is tight."""
        return Method.DOP853 if self.rtol <= TIGHT else Method.TSIT5


def program_for(task: Task, options: ExplicitOptions) -> Explicit:
    """What is compiled for a task; the same for all starts and numbers of a system."""
    wanted = 64 if task.t is None else len(task.t)
    room = max(MOST_BYTES // (8 * task.state0.size), FEWEST_ROWS)
    rows = min(max(1 << (wanted - 1).bit_length(), FEWEST_ROWS), 1 << (room.bit_length() - 1))
    stop = None if task.stop is None else (task.stop.each, task.stop.spec)
    return Explicit(rows, task.t is None, options.atol is None, stop, options.explicit_method)


class Numbers(NamedTuple):
    """What a call is given."""

    ts: Any  # (rows,) save times, inf where there are fewer
    next_save: Any  # the one after them
    bound: Any  # time that must not be stepped over
    covered: Any  # time up to which the step that ends there is good
    look: Any
    most_steps: Any  # accepted ones
    patience: Any  # stiff steps
    heeds: Any  # whether what came back may still have the run made again
    most_refused: Any  # tries, less half of those taken
    most_tries: Any  # steps of this call
    rtol: Any
    atol: Any
    max_step: Any
    limits: Any  # of stop rules


def upcoming(ahead: np.ndarray | None, rows: int) -> tuple[np.ndarray, float]:
    """The next save times (rows,), inf where there are fewer, and the one after them."""
    times, following = np.full(rows, np.inf), np.inf
    if ahead is not None:
        times[: len(ahead[:rows])] = ahead[:rows]
        following = float(ahead[rows]) if rows < len(ahead) else np.inf
    return times, following


class Carry(NamedTuple):
    """A run on its way."""

    t: Any
    y: Any  # (S,)
    k: Any  # (S,) right-hand side there
    h: Any  # step to try
    error: Any  # of the last step
    fresh: Any  # whether k and h are still to be found
    path: Path
    relative: Any  # (S,) coordinates whose errors have no absolute part
    accepted: Any
    rejected: Any
    refused: Any  # whether the last try was rejected
    short_of: Any  # size of a try that was rejected, as long as no step has reached it again; else 0
    stiff: Any  # steps counted as stiff
    calm: Any  # steps since then
    crawl: Any  # tries refused, less half of those taken
    dense: Any  # (10 or 7, S) t, h, y and the stages of the last step, where stop rules are looked for
    why: Any

    @classmethod
    def at(cls, t: float, y: np.ndarray, path: Path, relative: np.ndarray, dense_rows: int) -> "Carry":
        """At the start of a stretch."""
        dense = np.zeros((dense_rows, len(y)) if dense_rows else (0,))
        zero, no = np.int64(0), np.bool_(False)
        return cls(
            np.float64(t), y, np.zeros_like(y), np.float64(0.0), np.float64(1e-4), np.bool_(True), path, relative,
            zero, zero, no, np.float64(0.0), zero, zero, np.float64(0.0), dense, zero,
        )  # fmt: skip
