"""SDEs by sdeint, one path at a time: the back end for drifts and diffusions written in plain numpy.

Its functions take the state first, its grids must be equally spaced, and its integrals need a Generator: all of that is
met here. Brownian increments come from flowdyn's own counters, so that paths can be shared with other solvers.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from flowdyn import _check
from flowdyn._tools import randomness
from flowdyn._tools.compiled import bind
from flowdyn._tools.randomness import RandomInputs
from flowdyn.methods.systems import SDESystem
from flowdyn.solvers import kernels
from flowdyn.solvers.base import STATUSES, Support, Task, failure_status, is_bad
from flowdyn.solvers.ensembles import MemberBlock
from flowdyn.solvers.fixed_step import INTEGRATES, FixedStep

# name -> calculus and strong order of each noise kind. stratKP2iS has order 1/2 only and is left out; where the
# noise does not commute, SRI2 and SRS2 draw their areas apart from the increments: order 1/2 on a shared path
METHODS: dict[str, tuple[str, dict[str, float]]] = {
    "itoEuler": ("ito", {"additive": 1.0, "diagonal": 0.5, "general": 0.5}),
    "itoSRI2": ("ito", {"additive": 1.0, "diagonal": 1.0, "general": 0.5}),
    "stratHeun": ("stratonovich", {"additive": 1.0, "diagonal": 1.0, "general": 0.5}),
    "stratSRS2": ("stratonovich", {"additive": 1.0, "diagonal": 1.0, "general": 0.5}),
}


@dataclasses.dataclass(frozen=True)
class Sdeint(FixedStep):
    r"""Integration by sdeint (GPL-licensed), one path at a time: for functions in plain numpy.

    .. math:: dX = f(t, X)\,dt + g(t, X)\,dW \quad\text{or}\quad g \circ dW, \ \text{as the method's name says}

    Parameters
    ----------
    method : {"itoEuler", "itoSRI2", "stratHeun", "stratSRS2"}
        itoSRI2 and stratSRS2 have strong order 1 for noise that commutes; their cost grows with the square of its
        dimension.
    dt, brownian_dt : float, optional
        As for EulerMaruyama; dt is a thousandth of the time span unless given.

    Raises
    ------
    ArgumentError
        If the method is another, a step is not positive, or `dt` is no multiple of `brownian_dt`.
    RunError
        By :func:`flowdyn.solve`, if sdeint refuses the equation.

    Notes
    -----
    Iterated integrals are drawn from a stream of their own. Source: Rössler (2010) for itoSRI2 and stratSRS2; Kloeden
    and Platen (1992) for the others.

    Examples
    --------
    >>> import flowdyn as fd
    >>> import numpy as np
    >>> sde = fd.SDE(lambda t, x: -x, lambda t, x: np.array([[0.1 * np.cos(float(x[0]))]]))
    >>> run = fd.solve(sde, [1.0], t=1.0, solver=fd.solvers.Sdeint("itoSRI2", dt=0.01), saves=3, seed=4)
    >>> run.sizes["t"]
    3
    """

    method: str = "itoEuler"

    def __init__(self, method: str = "itoEuler", dt: float | None = None, brownian_dt: float | None = None):
        for name, value in (("method", method), ("dt", dt), ("brownian_dt", brownian_dt)):
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:
        _check.choice("method", self.method, METHODS)
        super().__post_init__()

    @property
    def calculus(self) -> str:  # type: ignore[override]
        """Calculus of the method, which its name begins with."""
        return METHODS[self.method][0]

    @property
    def strong(self) -> dict[str, float]:  # type: ignore[override]
        """Strong order of the method for each noise kind."""
        return METHODS[self.method][1]

    @property
    def support(self) -> Support:
        """Equations of the method's calculus, plain numpy included; no stop rules."""
        return Support((SDESystem,), INTEGRATES, plain_numpy=True, calculus=self.calculus, stop=False)

    @classmethod
    def example(cls) -> "Sdeint":
        """Few steps: each is a Python call."""
        return cls(dt=0.05)

    @classmethod
    def variants(cls) -> tuple["Sdeint", ...]:
        """One solver a method of the library."""
        return tuple(cls(method) for method in METHODS)

    def on_path(self, brownian_dt: float, dt: float | None) -> None:
        """None: it is too slow to be chosen by a ladder."""
        return

    def fuses(self, task: Task) -> bool:
        """Never: each path is a loop in Python."""
        return False

    def ensemble(self, task: Task) -> Iterator[MemberBlock]:
        """Members one after the other."""
        for member in range(task.members):
            start = task.state0 if task.states0 is None else task.states0[member]
            yield self._member(task, member, start)
            task.progress((member + 1) / task.members)

    def _member(self, task: Task, member: int, state: np.ndarray) -> MemberBlock:
        assert isinstance(task.system, SDESystem)
        f, g = _functions(task.system, task.state0)
        m = task.system.noise_dim(task.state0)
        segments = self.segments(task)
        refine = 1 if self.brownian_dt is None else round((self.dt or 0) / self.brownian_dt)
        rows = np.full((1, len(segments.last), state.size), np.nan)
        code, t_stop, spent = STATUSES.index("reached_end"), np.nan, 0
        for j, (first, last, t, h) in enumerate(
            zip(segments.first, segments.last, segments.t, segments.h, strict=True)
        ):
            spent += int(last - first)
            if task.out_of_time() or (task.max_steps is not None and spent > task.max_steps):
                code, t_stop = STATUSES.index("max_seconds" if task.out_of_time() else "max_steps"), t
                break
            segment = (int(first), int(last), t, h)
            new = state if last == first else self._segment(f, g, state, segment, task, member, m, refine)
            if is_bad(new[None])[0]:
                code, t_stop = STATUSES.index(failure_status(new, state)), t + (last - first) * h
                break
            rows[0, j] = state = new
        return MemberBlock(member, rows, state[None], np.array([code], dtype=np.int8), np.array([t_stop]))

    def _segment(
        self, f: Callable, g: Callable, state: np.ndarray, segment: tuple, task: Task, member: int, m: int, refine: int
    ) -> np.ndarray:
        import sdeint

        first, last, t, h = segment
        increments = np.sqrt(h) * _increments(task.seed, member, first, last, m, refine)
        grid = t + h * np.arange(last - first + 1)
        options: dict[str, Any] = {"dW": increments}
        if self.method != "stratHeun":
            # iterated integrals are drawn beside the increments: a stream of their own for each member and segment
            options["generator"] = np.random.default_rng([task.seed, member, first])
        with np.errstate(all="ignore"):
            try:
                path = getattr(sdeint, self.method)(f, g, state, grid, **options)
            except sdeint.SDEValueError as error:
                raise _check.RunError(f"sdeint refused the equation: {error}") from None
        return np.asarray(path)[-1]


def _functions(system: SDESystem, state0: np.ndarray) -> tuple[Callable, Callable]:
    """Drift and diffusion as sdeint calls them, f(x, t) and G(x, t) of shape (S, m)."""
    if system.is_traceable(state0):
        drift, diffusion = bind(kernels.drift, system), bind(kernels.diffusion, system)
    else:
        drift, diffusion = system.drift, system.diffusion
    return (
        lambda x, t: np.asarray(drift(t, x), dtype=float),
        lambda x, t: np.asarray(diffusion(t, x), dtype=float),
    )


def _cells(keys: jax.Array, member: jax.Array, steps: jax.Array, m: int, refine: int) -> jax.Array:
    inputs = RandomInputs(numbers=m)
    return jax.vmap(lambda n: randomness.summed_increments(inputs, keys, member[None], n, refine).numbers[:, 0])(steps)


_compiled = jax.jit(_cells, static_argnums=(3, 4))


def _increments(seed: int, member: int, first: int, last: int, m: int, refine: int) -> np.ndarray:
    """Normals (last - first, m) of one member, the same that EulerMaruyama draws."""
    count = last - first
    padded = max(16, 1 << (count - 1).bit_length())
    keys = randomness.lane_keys(seed, RandomInputs(numbers=m).calls)
    return np.asarray(_compiled(keys, np.uint32(member), first + np.arange(padded), m, refine))[:count]
