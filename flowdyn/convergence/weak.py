r"""Random recursions as eta -> 0, beside their limits.

    weak:    |E g(x_eta(t)) - E g(X(t))|        strong:  (E sup_t ||x_eta(t) - X(t)||^2)^{1/2}

Means of linear problems and quadratic g are propagated exactly; others are sampled until their standard error is a
stated fraction of the gap, or a budget ends: then the verdict says "not resolved", and there is no slope.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.polynomial_degree import polynomial_degree
from flowdyn._tools.progress import Report
from flowdyn.convergence.monte_carlo import Functional, Tally, chunks, equation_values, path_values
from flowdyn.methods.stochastic_base import RandomRecursion, SDESystem
from flowdyn.methods.systems import ODESystem
from flowdyn.running.integration import solve
from flowdyn.solvers.euler_maruyama import Heun
from flowdyn.solvers.exact import Exact
from flowdyn.solvers.iteration import Iteration
from flowdyn.solvers.scipy_ivp import Scipy

BUDGET = 2**19  # members of a rung, unless `realizations` says otherwise
STRONG_BUDGET = 512
CELLS = 32  # cells of the shared Brownian path in the finest step
ALLOWED = 0.1  # solver error over gap


class Gap(NamedTuple):
    """What one rung gives: arrays over the observables (F,)."""

    mean: np.ndarray
    limit: np.ndarray
    error: np.ndarray
    standard_error: np.ndarray
    solver_error: np.ndarray
    members: int


def scalar_observables(method: Any, observable: Any) -> dict[str, Callable]:
    """Named test functions of flat w: the loss unless the user names others."""
    problem = method.problem
    if observable is None:
        return {"loss": _loss}
    given = dict(observable) if isinstance(observable, Mapping) else {"g": observable}
    out: dict[str, Callable] = {}
    for name, function in given.items():
        if not isinstance(name, str) or not callable(function):
            raise _check.fail("observable", "must be a function g(w), or a mapping of names to such", name)
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
            raise _check.fail("observable", f"{name!r} must return one number", f"shape {value.shape}")
        out[name] = _Of(function)
    if not out:
        raise _check.fail("observable", "must hold at least one function", observable)
    return out


def _loss(problem: Any, w: Any) -> jax.Array:
    return problem.loss(w)


class _Of:
    """``g(unravel(w))`` as one number; equal where g is, so that it compiles once."""

    def __init__(self, function: Callable):
        self.function = function

    def __call__(self, problem: Any, w: Any) -> jax.Array:
        return jnp.asarray(self.function(problem.unravel(jnp.asarray(w))), dtype=float).reshape(())

    def __eq__(self, other: object) -> bool:
        # identity: a bound method of a module compares and hashes its arrays, which cannot be hashed
        return isinstance(other, _Of) and self.function is other.function

    def __hash__(self) -> int:
        return id(self.function)


def _quadratic_parts(functions: Sequence[Callable], size: int) -> list[tuple] | None:
    """Value, gradient and Hessian at 0 of each function if all are polynomials of degree 2 at most."""
    zero = jnp.zeros(size)
    if any(polynomial_degree(g, zero) > 2 for g in functions):
        return None
    return [(float(g(zero)), np.asarray(jax.grad(g)(zero)), np.asarray(jax.hessian(g)(zero))) for g in functions]


def _expectations(parts: list[tuple], mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    return np.array([v + s @ mean + 0.5 * (mean @ c @ mean + np.sum(c * cov)) for v, s, c in parts])


class WeakLadder:
    """The gap of means on each rung."""

    def __init__(
        self, problem: Any, functions: list, w0: np.ndarray, seed: int, budget: int | None, resolution: float
    ) -> None:
        self.functions = [functools.partial(g, problem) for g in functions]
        self.w0, self.seed, self.resolution = w0, seed, resolution
        self.budget, self.exact = budget or BUDGET, budget is None
        self.functional = Functional(functions)
        self.quadratic = _quadratic_parts(self.functions, len(w0))

    def gap(self, rung: RandomRecursion, limit: Any, steps: int, t: float, report: Report) -> Gap:
        """Exact where it can be, else sampled."""
        known = self._known_limit(limit, t)
        if self.exact and self.quadratic is not None and known is not None:
            moments = rung.exact_moments(self.w0, np.array([steps]))
            if moments is not None:
                mean = _expectations(self.quadratic, moments[0][-1], moments[1][-1])
                zero = np.zeros(len(mean))
                rounding = 64 * np.finfo(float).eps * (np.abs(mean) + np.abs(known)) * max(1.0, np.log2(max(steps, 2)))
                return Gap(mean, known, mean - known, zero, rounding, 0)
        return self._sampled(rung, limit, steps, known, report)

    def _known_limit(self, limit: Any, t: float) -> np.ndarray | None:
        """Means of the limit without sampling: a flow's values, or exact moments."""
        if isinstance(limit, ODESystem):
            solver = Exact() if limit.closed_form() else Scipy("DOP853", rtol=1e-12)
            run = solve(limit, self.w0, [t], solver=solver, progress=False)
            names = run.attrs["flowdyn_parameters"].split()
            w = np.concatenate([run[name].values.ravel() for name in names])
            return np.array([float(g(w)) for g in self.functions])
        if self.quadratic is None:
            return None
        moments = limit.exact_moments(self.w0, np.array([t]))
        return None if moments is None else _expectations(self.quadratic, moments[0][-1], moments[1][-1])

    def needed(self, gaps: Tally) -> np.ndarray:
        """Members that the resolution takes at the least, were the gap as wide as its noise allows."""
        widest = np.abs(gaps.mean) + 2 * gaps.standard_error
        return gaps.count * (gaps.standard_error / np.maximum(self.resolution * widest, 1e-300)) ** 2

    def is_hopeless(self, gaps: Tally) -> bool:
        """Whether the budget cannot resolve some gap: the members that are left are then not run."""
        return bool((self.needed(gaps) > self.budget).any())

    def _sampled(self, rung: RandomRecursion, limit: Any, steps: int, known: np.ndarray | None, report: Report) -> Gap:
        gaps = sides = changes = None
        h = float(rung.clock(1))
        for members in chunks(self.budget):
            x = path_values(rung, self.w0, steps, self.functional, self.seed, members, 1)
            if known is None:
                assert isinstance(limit, SDESystem)
                X, change = equation_values(limit, h, self.w0, steps, self.functional, self.seed, members)
            else:
                X, change = np.broadcast_to(known, x.shape), np.zeros_like(x)
            parts = Tally.of(x - X), Tally.of(x), Tally.of(change)
            if gaps is None or sides is None or changes is None:
                gaps, sides, changes = parts
            else:
                gaps, sides, changes = gaps.merge(parts[0]), sides.merge(parts[1]), changes.merge(parts[2])
            report(gaps.count / self.budget)
            if (gaps.standard_error <= self.resolution * np.abs(gaps.mean)).all() or self.is_hopeless(gaps):
                break
        assert gaps is not None and sides is not None and changes is not None
        solver_error = np.abs(changes.mean) / 4  # the finer extrapolation gains a factor of 4 to 8
        return Gap(sides.mean, sides.mean - gaps.mean, gaps.mean, gaps.standard_error, solver_error, gaps.count)


def strong_gaps(
    rungs: list[Any], limits: list[Any], w0: np.ndarray, times: np.ndarray, seed: int, budget: int | None
) -> tuple[list[Gap], list[np.ndarray]]:
    """Root-mean-square of the largest distance over t on each rung, and its mean square over t."""
    count = budget or STRONG_BUDGET
    finest = min(float(rung.clock(1)) for rung in rungs)
    cell = finest / CELLS
    gaps, curves = [], []
    for rung, limit in zip(rungs, limits, strict=True):
        shared = isinstance(limit, SDESystem)
        runs = [_states(rung, w0, times, Iteration(cell) if shared else Iteration(), count, seed)]
        if shared:
            for factor in (1, 2):
                # noise that is shared is additive: Heun's scheme solves the drift to second order
                solver = Heun(dt=cell * factor, brownian_dt=cell)
                runs.append(_states(limit, w0, times, solver, count, seed))
        else:
            flow = solve(limit, w0, times, solver=Exact() if limit.closed_form() else Scipy("DOP853", rtol=1e-12))
            runs += [_array(flow)[None]] * 2
        squares = np.sum((runs[0] - runs[1]) ** 2, axis=-1)
        worst = squares.max(axis=1)
        error = np.sqrt(worst.mean())
        spread = worst.std(ddof=1) / np.sqrt(count) / (2 * max(error, 1e-300))
        change = np.sqrt(np.sum((runs[2] - runs[1]) ** 2, axis=-1).max(axis=1).mean())
        zero = np.zeros(1)
        gaps.append(Gap(zero, zero, np.array([error]), np.array([spread]), np.array([change]), count))
        curves.append(np.sqrt(squares.mean(axis=0)))
    return gaps, curves


def _array(run: Any) -> np.ndarray:
    names = run.attrs["flowdyn_parameters"].split()
    lead = 2 if "realization" in run.dims else 1
    return np.concatenate([run[name].values.reshape(*run[name].shape[:lead], -1) for name in names], axis=-1)


def _states(system: Any, w0: np.ndarray, times: np.ndarray, solver: Any, count: int, seed: int) -> np.ndarray:
    return _array(solve(system, w0, times, solver=solver, realizations=count, seed=seed, progress=False))


def check_strong(method: RandomRecursion, order: int) -> None:
    """Refuse a strong error where recursion and limit have no noise in common."""
    if order > 0 and not method.shares_noise:
        raise _check.fail(
            "error",
            "cannot be 'strong' where recursion and limit share no noise",
            f"{type(method).__name__} on {type(method.problem).__name__}",  # type: ignore[attr-defined]
            "use error='weak', or SGD on Quadratic(A, noise)",
        )
