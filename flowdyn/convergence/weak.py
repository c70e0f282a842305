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
from flowdyn.convergence.ladder import Ladder
from flowdyn.convergence.limits import flow_states
from flowdyn.convergence.monte_carlo import RunningMean, chunks, controlled, equation_values, path_values
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import ODESystem, SDESystem, System

EXACT_WORK = 1e11  # operations of exact moments, about a minute, above which means are sampled
BUDGET = 2**19  # members of a rung, unless `realizations` says otherwise


def named_functions(method: Any, observable: Any) -> dict[str, Callable | None]:
    """Named test functions of the parameters as a user sees them; None stands for the loss."""
    problem = method.problem
    if observable is None:
        return {"loss": None}
    given = dict(observable) if isinstance(observable, Mapping) else {"g": observable}
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
        self, ladder: Ladder, functions: Mapping[str, Callable | None], budget: int | None, relative_error: float
    ) -> None:
        problem = ladder.method.problem  # type: ignore[attr-defined]
        self.ladder, self.relative_error = ladder, relative_error
        self.budget, self.exact = budget or BUDGET, budget is None
        # equal, and compiled once, where the user's functions are the same objects
        kernels = [ByIdentity(function, kernel=_scalar) for function in functions.values()]
        self.controlled = controlled(kernels)
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
        return self._sampled(rung, limit, steps, known, report)

    def _known_limit(self, limit: System) -> np.ndarray | None:
        """Means of the limit without sampling: a flow's values, or exact moments."""
        start, t = self.ladder.start, float(self.ladder.times[-1])
        if isinstance(limit, ODESystem):
            w = flow_states(limit, start, [t])[0]
            return np.array([float(g(w)) for g in self.functions])
        if self.quadratic is None:
            return None
        assert isinstance(limit, SDESystem)
        if limit.moments_work(len(start), np.array([t])) > EXACT_WORK:
            return None
        moments = limit.exact_moments(start, np.array([t]))
        return None if moments is None else _expectations(self.quadratic, moments[0][-1], moments[1][-1])

    def needed(self, gaps: RunningMean) -> np.ndarray:
        """Members that the accuracy takes at the least, were the gap as wide as its noise allows."""
        widest = np.abs(gaps.mean) + 2 * gaps.standard_error
        return gaps.count * (gaps.standard_error / np.maximum(self.relative_error * widest, 1e-300)) ** 2

    def is_hopeless(self, gaps: RunningMean) -> bool:
        """Whether the budget cannot resolve some gap: the members that are left are then not run."""
        return bool((self.needed(gaps) > self.budget).any())

    def _sampled(
        self, rung: RandomRecursionSystem, limit: System, steps: int, known: np.ndarray | None, report: Report
    ) -> Gap:
        gaps = means = changes = RunningMean.empty(len(self.functions))
        start, seed, h = self.ladder.start, self.ladder.seed, float(rung.clock(1))
        for members in chunks(self.budget):
            x = path_values(rung, start, steps, self.controlled, seed, members, 1)
            if known is None:
                assert isinstance(limit, SDESystem)
                X, change = equation_values(limit, h, start, steps, self.controlled, seed, members)
            else:
                X, change = np.broadcast_to(known, x.shape), np.zeros_like(x)
            gaps, means, changes = gaps.including(x - X), means.including(x), changes.including(change)
            report(gaps.count / self.budget)
            if (gaps.standard_error <= self.relative_error * np.abs(gaps.mean)).all() or self.is_hopeless(gaps):
                break
        solver_error = np.abs(changes.mean) / 4  # the finer extrapolation gains a factor of 4 to 8
        return Gap(means.mean, means.mean - gaps.mean, gaps.mean, gaps.standard_error, solver_error, gaps.count)


def _quadratic_parts(functions: Sequence[Callable], size: int) -> list[tuple] | None:
    """Value, gradient and Hessian at 0 of each function if all are polynomials of degree 2 at most."""
    zero = jnp.zeros(size)
    if any(degree_of(g, zero) > 2 for g in functions):
        return None
    return [(float(g(zero)), np.asarray(jax.grad(g)(zero)), np.asarray(jax.hessian(g)(zero))) for g in functions]


def _expectations(parts: list[tuple], mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    return np.array([v + s @ mean + 0.5 * (mean @ c @ mean + np.sum(c * cov)) for v, s, c in parts])
