"""The options of a run: checked, written into its recipe, and read back from it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.results.sealed_recipe import own_times
from flowdyn.results.user_functions import fingerprints, warn_of_others

RULE = 'must be ("<", value) or (">", value)'


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What :func:`flowdyn.solve` is told beside system, start and solver.

    The fields are the arguments of ``solve``. In a recipe, `t` is a number, "inf", or "array" where the times asked for
    stand in the Dataset; functions are named, with a print of what they are.
    """

    t: Any = None
    steps: int | None = None
    saves: int = 101
    stop: Mapping[str, tuple[str, float]] | None = None
    realizations: int | None = None
    seed: int = 0
    observe: Mapping[str, Callable] | None = None
    observe_only: bool = False
    on_divergence: str = "raise"
    max_steps: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.t, str | bytes | bool | np.bool_):
            raise _check.fail("t", "must be an end time or an array of times", self.t, "e.g. t=10.0")
        _check.integer("saves", self.saves, minimum=2)
        _check.choice("on_divergence", self.on_divergence, ("raise", "keep"))
        _check.seed(self.seed)
        if self.realizations is not None:
            _check.integer("realizations", self.realizations, minimum=1)
        if self.max_steps is not None:
            _check.integer("max_steps", self.max_steps, minimum=1)
        if self.max_seconds is not None:
            _check.real("max_seconds", self.max_seconds, positive=True)
        if self.observe is not None and not isinstance(self.observe, Mapping):
            raise _check.fail("observe", "must map names to functions", self.observe, "e.g. {'norm': jnp.linalg.norm}")
        _check.flag("observe_only", self.observe_only)
        if self.stop is not None and not isinstance(self.stop, Mapping):
            raise _check.fail("stop", "must map names to rules", self.stop, 'e.g. {"loss": ("<", 1e-12)}')
        for name, rule in (self.stop or {}).items():
            if not (isinstance(rule, tuple | list) and len(rule) == 2 and str(rule[0]) in ("<", ">")):
                raise _check.fail(f"stop[{name!r}]", RULE, rule)
            _check.real(f"stop[{name!r}]", rule[1])

    @property
    def is_open(self) -> bool:
        """Whether the run has no end but its stop rules."""
        value = np.asarray(self.t)
        return value.ndim == 0 and value.dtype.kind in "iuf" and bool(np.isinf(value))

    def encode(self) -> dict[str, Any]:
        """The options as JSON can hold them."""
        record = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.steps is not None:
            record["t"] = None
        elif np.ndim(self.t):
            record["t"] = "array"
        else:
            record["t"] = "inf" if self.is_open else float(self.t)
        record["stop"] = {name: list(rule) for name, rule in self.stop.items()} if self.stop else None
        record["observe"] = sorted(self.observe or {})
        record["observe_prints"] = fingerprints(self.observe)
        record["observe_only"] = bool(self.observe_only)
        return record

    @classmethod
    def decode(cls, record: Any, ds: xr.Dataset, observe: Mapping[str, Callable] | None) -> dict[str, Any]:
        """Keyword arguments of ``solve`` from the recipe of a run; the functions observed are handed in again."""
        if not isinstance(record, dict):
            raise _check.FileError("its recipe must describe the options of a run; the file is damaged")
        record = dict(record)
        prints = record.pop("observe_prints", {})
        unknown = sorted(set(record) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise _check.FileError(f"its recipe has the options {unknown}, which `solve` does not take")
        names, stop = record.pop("observe", []), record.get("stop") or {}
        if not isinstance(names, list) or not isinstance(stop, dict) or not all(map(_is_pair, stop.values())):
            raise _check.FileError("its recipe has no such `observe` or `stop`; the file is damaged")
        if sorted(names) != sorted(observe or {}):
            raise _check.fail("observe", f"must hand in the functions {names} again", sorted(observe or {}))
        warn_of_others("observe", prints, observe, 4)
        if record.get("t") == "inf":
            record["t"] = np.inf
        elif record.get("t") == "array":
            requested = np.asarray(ds["t_requested"].values, dtype=float) if "t_requested" in ds else own_times(ds)
            record["t"] = requested[~np.isnan(requested)]
        record["stop"] = {name: tuple(rule) for name, rule in stop.items()} or None
        return record | {"observe": observe}


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2
