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
from flowdyn._tools.compiled import ByIdentity
from flowdyn._tools.polynomial_degree import degree_of
from flowdyn._tools.progress import Report
from flowdyn.convergence.gap import Gap
from flowdyn.convergence.ladder import SINGLE, Ladder
from flowdyn.convergence.limits import flow_states
from flowdyn.convergence.monte_carlo import controlled
from flowdyn.convergence.sampled_gap import GapSampler
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import ODESystem, SDESystem, System

EXACT_WORK = 1e11  # operations of exact moments, about a minute, above which means are sampled
BUDGET = 2**19  # members of a rung, unless `realizations` says otherwise


def named_functions(method: Any, observable: Any) -> dict[str, Callable | None]:
    """Named test functions of the parameters as a user sees them; None stands for the loss."""
    problem = method.problem
    if observable is None:
        return {"loss": None}
    given = dict(observable) if isinstance(observable, Mapping) else {SINGLE: observable}
    if not given:
        raise _check.fail("observable", "must hold at least one function", observable)
    for name, function in given.items():
        if not isinstance(name, str) or not callable(function):
            raise _check.fail("observable", "must be a function g(w), or a mapping of names to such", function)
        _check.function("observable", function, "g(w)", 1)
        try:
            value = jax.eval_shape(
                lambda w, g=function: g(problem.unravel(w)), jax.ShapeDtypeStruct((problem.size,), float)
            )
        except jax.errors.JAXTypeError as error:
            raise _check.ArgumentError(
                f"`observable` functions must be written with jax.numpy, got {str(error).splitlines()[0]}"
            ) from None
        if getattr(value, "shape", ()) not in ((), (1,)):
            raise _check.fail("observable", f"{name!r} must return one number", _check.Words(f"shape {value.shape}"))
    return given


def _scalar(function: Callable | None, problem: Any, w: Any) -> jax.Array:
    """``g(w)`` as one number."""
    if function is None:
        return problem.loss(w)
    return jnp.asarray(function(problem.unravel(jnp.asarray(w))), dtype=float).reshape(())


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
        problem = ladder.method.problem  # type: ignore[attr-defined]
        self.ladder, self.exact = ladder, budget is None
        # equal, and compiled once, where the user's functions are the same objects
        kernels = [ByIdentity(function, kernel=_scalar) for function in functions.values()]
        self.sampler = GapSampler(ladder, controlled(kernels), budget or BUDGET, relative_error, progress)
        self.functions = [functools.partial(kernel, problem) for kernel in kernels]
        self.quadratic = _quadratic_parts(self.functions, len(ladder.start))

    def gap(self, index: int, report: Report) -> Gap:
        """Gap of means on one rung: exact where it can be, else sampled."""
        rung, limit = self.ladder.rungs[index], self.ladder.limits[index]
        assert isinstance(rung, RandomRecursionSystem)
        steps = int(self.ladder.steps[index][-1])
        known = self._known_limit(limit)
        is_cheap = rung.moments_work(len(self.ladder.start), np.array([steps])) < EXACT_WORK
        if self.exact and is_cheap and self.quadratic is not None and known is not None:
            moments = rung.exact_moments(self.ladder.start, np.array([steps]))
            if moments is not None:
                mean = _expectations(self.quadratic, moments[0][-1], moments[1][-1])
                zero = np.zeros(len(mean))
                rounding = 64 * np.finfo(float).eps * (np.abs(mean) + np.abs(known)) * max(1.0, np.log2(max(steps, 2)))
                return Gap(mean, known, mean - known, zero, rounding, 0)
        size = np.asarray(rung.lift(self.ladder.start)).size
        if size != len(self.ladder.start):
            rule = "must have its parameters as its state where means are sampled"
            way_out = "exact means need a quadratic loss, additive noise, quadratic observables, and no `realizations`"
            raise _check.fail("method", rule, type(rung).__name__, way_out)
        return self.sampler.gap(index, known, report)

    def _known_limit(self, limit: System) -> np.ndarray | None:
        """Means of the limit without sampling: a flow's values, or exact moments."""
        start, t = self.ladder.start, float(self.ladder.times[-1])
        if isinstance(limit, ODESystem):
            w = flow_states(limit, start, [t], self.ladder.limit_budget)[0]
            return np.array([float(g(w)) for g in self.functions])
        if self.quadratic is None:
            return None
        assert isinstance(limit, SDESystem)
        if limit.moments_work(len(start), np.array([t])) > EXACT_WORK:
            return None
        moments = limit.exact_moments(start, np.array([t]))
        return None if moments is None else _expectations(self.quadratic, moments[0][-1], moments[1][-1])


def _quadratic_parts(functions: Sequence[Callable], size: int) -> list[tuple] | None:
    """Value, gradient and Hessian at 0 of each function if all are polynomials of degree 2 at most."""
    zero = jnp.zeros(size)
    if any(degree_of(g, zero) > 2 for g in functions):
        return None
    return [(float(g(zero)), np.asarray(jax.grad(g)(zero)), np.asarray(jax.hessian(g)(zero))) for g in functions]


def _expectations(parts: list[tuple], mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    return np.array([v + s @ mean + 0.5 * (mean @ c @ mean + np.sum(c * cov)) for v, s, c in parts])
