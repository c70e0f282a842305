r"""Weak error:  |E g(x_eta(t)) - E g(X(t))|

Means of linear problems and quadratic g are propagated exactly; others are sampled until their standard error is a
stated fraction of the gap, or a budget ends: then the verdict says "not resolved", and there is no slope.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import ByIdentity, bind
from flowdyn._tools.polynomial_degree import degree_of
from flowdyn._tools.progress import Report
from flowdyn.convergence.gap import Gap
from flowdyn.convergence.ladder import SINGLE, Ladder
from flowdyn.convergence.limits import UNMEASURED
from flowdyn.convergence.monte_carlo import controlled
from flowdyn.convergence.sampled_gap import GapSampler
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import SDESystem, System
from flowdyn.methods.wrapping import Around

EXACT_WORK = 1e11  # operations of exact moments, about a minute, above which means are sampled
BUDGET = 2**19  # members of a rung, unless `realizations` says otherwise


def named_functions(method: System, observable: Any, size: int) -> dict[str, Callable | None]:
    """Named test functions of the parameters as a user sees them; None stands for the loss."""
    if observable is None:
        if method.on_problem is None:
            raise _check.fail("observable", "must be given where there is no loss", None, "a function g(w), or several")
        return {"loss": None}
    given = dict(observable) if isinstance(observable, Mapping) else {SINGLE: observable}
    state = jax.ShapeDtypeStruct((size,), float)
    if not given:
        raise _check.fail("observable", "must hold at least one function", observable)
    for name, function in given.items():
        if not isinstance(name, str) or not callable(function):
            raise _check.fail("observable", "must be a function g(w), or a mapping of names to such", function)
        _check.function("observable", function, "g(w)", 1)
        try:
            value = jax.eval_shape(lambda z, g=function: g(method.as_user_sees(z)), state)
        except jax.errors.JAXTypeError as error:
            raise _check.ArgumentError(
                f"`observable` functions must be written with jax.numpy, got {str(error).splitlines()[0]}"
            ) from None
        if getattr(value, "shape", ()) not in ((), (1,)):
            raise _check.fail("observable", f"{name!r} must return one number", _check.Words(f"shape {value.shape}"))
    return given


def _scalar(function: Callable | None, system: System, state: Any) -> jax.Array:
    """``g(w)`` of a state as one number."""
    if function is None:
        assert system.on_problem is not None
        return system.on_problem.loss(system.project(state))
    return jnp.asarray(function(system.as_user_sees(jnp.asarray(state))), dtype=float).reshape(())


def _of_parameters(function: Callable | None, holder: Any, w: Any) -> jax.Array:
    """``g(w)`` of flat parameters, those of a problem or of a user's recursion, as one number."""
    if function is None:
        return holder.loss(w)
    return jnp.asarray(function(holder.unravel(jnp.asarray(w))), dtype=float).reshape(())


class WeakGaps:
    """The gap of means on each rung of a ladder."""

    def __init__(
        self,
        ladder: Ladder,
        functions: Mapping[str, Callable | None],
        budget: int | None,
        relative_error: float,
        progress: Any,
    ) -> None:
        self.ladder, self.exact = ladder, budget is None
        # equal, and compiled once, where the user's functions are the same objects
        kernels = [ByIdentity(function, kernel=_scalar) for function in functions.values()]
        self.sampler = GapSampler(ladder, controlled(kernels), budget or BUDGET, relative_error, progress)
        # the limit may have another state than the recursion
        systems = (ladder.method, ladder.limits[0])
        seen, self.functions = ([functools.partial(kernel, s) for kernel in kernels] for s in systems)
        self.starts, of_limit = (ladder.state0, ladder.limit_state0), self.functions
        if ladder.method.is_random and ladder.method.moments_of_parameters:  # type: ignore[attr-defined]
            self.starts = (ladder.start, ladder.start)
            around: Any = ladder.method
            while around.on_problem is None and isinstance(around, Around):
                around = around.method
            holder = around if around.on_problem is None else around.on_problem
            seen = [functools.partial(ByIdentity(f, kernel=_of_parameters), holder) for f in functions.values()]
            of_limit = seen
        self.quadratic = _quadratic_parts(seen, len(self.starts[0]))
        self.quadratic_limit = _quadratic_parts(of_limit, len(self.starts[1]))

    def gap(self, index: int, report: Report) -> Gap:
        """Gap of means on one rung: exact where it can be, else sampled."""
        rung, limit = self.ladder.rungs[index], self.ladder.limits[index]
        assert isinstance(rung, RandomRecursionSystem)
        steps = int(self.ladder.steps[index][-1])
        known = self._known_limit(limit)
        is_cheap = rung.moments_work(len(self.starts[0]), np.array([steps])) < EXACT_WORK
        if self.exact and is_cheap and self.quadratic is not None and known is not None:
            moments = rung.exact_moments(self.starts[0], np.array([steps]))
            if moments is not None:
                mean = _expectations(self.quadratic, moments[0][-1], moments[1][-1])
                zero = np.zeros(len(mean))
                rounding = 64 * np.finfo(float).eps * (np.abs(mean) + np.abs(known)) * max(1.0, np.log2(max(steps, 2)))
                return Gap(mean, known, mean - known, zero, rounding + self._flow_error, 0)
        gap = self.sampler.gap(index, known, report)
        return gap._replace(solver_error=gap.solver_error + self._flow_error)

    @functools.cached_property
    def _flow_values(self) -> tuple[np.ndarray, np.ndarray]:
        """Values at the end of the one flow that all rungs of order 0 have, and how far they may be off."""
        looser, tighter = (np.array([float(g(w[-1])) for g in self.functions]) for w in self.ladder.flow_states)
        return tighter, UNMEASURED * np.abs(looser - tighter)

    @property
    def _flow_error(self) -> np.ndarray | float:
        """Error of the limit's values where it is a flow that was integrated."""
        return self._flow_values[1] if self.ladder.has_one_limit else 0.0

    def _known_limit(self, limit: System) -> np.ndarray | None:
        """Means of the limit without sampling: a flow's values, or exact moments."""
        if self.ladder.has_one_limit:
            return self._flow_values[0]
        start, t = self.starts[1], float(self.ladder.times[-1])
        if self.quadratic_limit is None:
            return None
        assert isinstance(limit, SDESystem)
        if limit.moments_work(len(start), np.array([t])) > EXACT_WORK:
            return None
        moments = limit.exact_moments(start, np.array([t]))
        return None if moments is None else _expectations(self.quadratic_limit, moments[0][-1], moments[1][-1])


def _quadratic_parts(functions: Sequence[functools.partial], size: int) -> list[tuple] | None:
    """Value, gradient and Hessian at 0 of each function if all are polynomials of degree 2 at most."""
    zero = jnp.zeros(size)
    if any(degree_of(g, zero) > 2 for g in functions):
        return None
    return [jax.tree.map(np.asarray, bind(_expansion, *g.args, g.func)(zero)) for g in functions]


def _expansion(problem: Any, g: Callable, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Value, gradient and Hessian; compiled as one, since single operations would each be compiled by themselves."""

    def value(v: jax.Array) -> jax.Array:
        return g(problem, v)

    return value(w), jax.grad(value)(w), jax.hessian(value)(w)


def _expectations(parts: list[tuple], mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    return np.array([v + s @ mean + 0.5 * (mean @ c @ mean + np.sum(c * cov)) for v, s, c in parts])
