"""Squared parametrisations in n unknowns, sections 9.2 and 9.3:  f(w) = A (w ⊙ w),  L = c ||f(w) - y||^2.

nu(t) = int_0^t r ds,   nu' = r = A (w ⊙ w) - y,   w = w(0) ⊙ exp(-4 c A^T nu)                              (9.114)
diagonal network (A = [X, -X], c = 1/2):   w+ ⊙ w- = a ⊙ b to rounding, at any time
        theta = a^2 e^{-4 X^T nu} - b^2 e^{4 X^T nu} = 2 alpha^2 sinh(-4 X^T nu) for a = b = alpha          (9.124)
squared regression (A = X, c = 1/(4n)):    theta = w(0)^2 exp(-(2/n) X^T nu)
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import is_traced
from flowdyn.methods.systems import ODESystem, OnProblem
from flowdyn.problems.base import Problem, Time, Variable, Vector
from flowdyn.problems.diagonal_network import DiagonalNetwork
from flowdyn.problems.squared_regression import SquaredRegression

MANY = 512  # samples, whose equations cost an implicit method more than they spare
WELL = 1e-4  # smallest singular value of the data over the largest, from which on A^T nu is as true as nu
ON_ORBIT = 1e-6  # relative distance at which weights count as reached by the flow from its start


class DualFlow(OnProblem, ODESystem):
    r"""Gradient flow of a squared parametrisation as n equations, one a sample, in place of one a weight.

    .. math:: \nu' = A (w \odot w) - y, \qquad w = w(0) \odot \exp(-4 c A^\top \nu)

    Parameters
    ----------
    problem : DiagonalNetwork or SquaredRegression
        Data X (n, d), y (n,).
    w0 : array_like of float, shape (P,), or mapping
        Start of the weights; ``solve`` is given the same start.

    Raises
    ------
    ArgumentError
        If `problem` is another one; by :func:`flowdyn.solve`, if its start is not on the flow from w0.

    Notes
    -----
    The invariant is kept to rounding, and implicit methods cost O(n^3) where the weights' own flow costs O(P^3). The
    Dataset holds `nu`, with the weights and theta as variables. Unless `atol` is given, absolute errors of nu are held
    small beside what would change a weight by its own size: nu of a start at rest is 0 for good.
    Source: section 9.3, equations (9.114) and (9.124).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.DiagonalNetwork([[1.0, 0.5]], [1.0])
    >>> w0 = p.init(alpha=1e-3)
    >>> run = fd.solve(fd.DualFlow(p, w0), w0, t=float("inf"), stop={"loss": ("<", 1e-16)})
    >>> run.theta.isel(t=-1).values.round(3).tolist()
    [1.0, 0.001]
    """

    problem: DiagonalNetwork | SquaredRegression
    start: jax.Array
    summary: ClassVar[str] = "gradient flow of a squared parametrisation in its dual variable"

    def __init__(self, problem: DiagonalNetwork | SquaredRegression, w0: ArrayLike | Mapping[str, ArrayLike]):
        if not isinstance(problem, DiagonalNetwork | SquaredRegression):
            raise _check.fail("problem", "must be a DiagonalNetwork or a SquaredRegression", type(problem).__name__)
        self.problem = problem
        self.start = jnp.asarray(w0 if is_traced(w0) else problem.ravel(w0))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """One sample of one feature, from a start whose halves differ in sign."""
        w0 = np.array([1.0, -0.5])
        return cls(DiagonalNetwork([[2.0]], [1.0]), w0), w0

    def config(self) -> dict[str, Any]:
        """Problem and start: they build the system again."""
        return {"problem": self.problem, "w0": self.start}

    def drift(self, t: Time, state: Vector) -> Vector:
        """Residual r = A (w ⊙ w) - y at the weights of nu."""
        return self.problem.residuals(self.project(state))

    @property
    def error_unit(self) -> float:
        """The error of nu that changes a weight by about its own size, 1 / (4 c sqrt(n) max_j |x_j|)."""
        X = np.asarray(self.problem.X)
        longest = np.linalg.norm(X, axis=0).max()
        return float(1 / (4 * self.problem.scale * len(X) ** 0.5 * longest)) if longest else 1.0

    def layout(self, size: int) -> tuple[Variable, ...]:
        """One vector ``nu`` over the samples."""
        n = self.problem.X.shape[0]
        return (Variable("nu", ("sample",), (n,), "integral of the residual over t"),)

    def project(self, state: Vector) -> Vector:
        """Weights w(0) ⊙ exp(-4 c A^T nu) (9.114)."""
        exponent = -4 * self.problem.scale * (state @ self.problem.X)
        both = isinstance(self.problem, DiagonalNetwork)  # A = [X, -X]
        return self.start * jnp.exp(jnp.concatenate([exponent, -exponent]) if both else exponent)

    def lift(self, w0: Vector) -> Any:
        """The nu of weights that the flow can reach from its start; others are refused."""
        w0 = np.asarray(w0)
        start = np.asarray(self.start)
        n, d = self.problem.X.shape
        if np.array_equal(w0, start):
            return np.zeros(n)
        rows = -4 * self.problem.scale * np.asarray(self.problem.X).T
        matrix = np.vstack([rows, -rows]) if len(start) > d else rows
        moved = (start != 0) & (w0 / np.where(start == 0, 1.0, start) > 0)
        # logarithms of the smallest weights have the largest errors: each counts with its weight
        heavy = np.abs(w0[moved])
        ratio = np.log(w0[moved] / start[moved])
        nu = np.linalg.lstsq(heavy[:, None] * matrix[moved], heavy * ratio, rcond=None)[0]
        gap = np.abs(np.asarray(self.project(nu)) - w0).max()
        if not gap <= ON_ORBIT * max(np.abs(w0).max(), 1e-300):
            rule = "must be reached by the flow from the start of DualFlow"
            raise _check.fail(
                "w0", rule, _check.Words(f"a distance {gap:.3g}"), "give DualFlow(problem, w0) this start"
            )
        return nu

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Those of the problem, then the weights."""
        return (*super().observable_variables, *self.problem.variables)

    def observables(self, state: Vector) -> dict[str, Vector]:
        """The problem's observables and the weights."""
        w = self.project(state)
        variables = self.problem.variables
        parts = jnp.split(w, len(variables))
        return self.problem.observables(w) | {v.name: part for v, part in zip(variables, parts, strict=True)}


def dual_of(problem: Problem, w0: np.ndarray) -> DualFlow | None:
    """The dual form of a network's flow from w0, where nu has a limit that is as well known as the weights.

    It has where features that move in both signs span the samples: any targets can be met then. Else residuals stay,
    nu grows for ever, and what is left of it in A^T nu is rounding.
    """
    if type(problem) is not DiagonalNetwork:  # a subclass may have another loss
        return None
    n, d = problem.X.shape
    moving = (w0[:d] != 0) & (w0[d:] != 0)
    if n > min(d / 2, MANY) or np.count_nonzero(moving) < n:
        return None
    X = np.asarray(problem.X)
    squares = np.linalg.eigvalsh(X[:, moving] @ X[:, moving].T)  # of singular values, which take fifty times as long
    if not squares[0] > WELL**2 * squares[-1]:
        return None
    return DualFlow(problem, w0)
