"""What a ladder may spend:  solver steps of each run, and wall time of all of them;  a run gets what is left."""

import dataclasses
import time
from typing import Any, Self

import xarray as xr

from flowdyn import _check
from flowdyn.running.integration import solve


@dataclasses.dataclass(frozen=True)
class Budget:
    """Steps of each run, and seconds of all of them since the budget was made; None sets no bound."""

    max_steps: Any = None  # a whole number once checked
    max_seconds: float | None = None
    began: float = dataclasses.field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.max_steps is not None:
            object.__setattr__(self, "max_steps", _check.integer("max_steps", self.max_steps, minimum=1))
        if self.max_seconds is not None:
            object.__setattr__(self, "max_seconds", _check.real("max_seconds", self.max_seconds, positive=True))

    def with_steps(self, steps: int) -> Self:
        """The same budget with a bound on the steps of a run, where the user set none."""
        return dataclasses.replace(self, max_steps=self.max_steps or steps)

    @property
    def record(self) -> dict[str, Any]:
        """What the user set, as a file keeps it."""
        return {"max_steps": self.max_steps, "max_seconds": self.max_seconds}

    def seconds_left(self) -> float | None:
        """Wall time that is left; refused where none is."""
        if self.max_seconds is None:
            return None
        left = self.began + self.max_seconds - time.monotonic()
        if left <= 0:
            raise _check.BudgetError(f"`max_seconds` = {self.max_seconds:g} are used up")
        return left

    def solve(self, system: Any, w0: Any, t: Any, **options: Any) -> xr.Dataset:
        """Run a system within what is left."""
        try:
            return solve(system, w0, t, max_steps=self.max_steps, max_seconds=self.seconds_left(), **options)
        except _check.RunError as error:  # no caller of a ladder can keep a part of one run
            raise type(error)(str(error).removesuffix(_check.KEEP)) from None
