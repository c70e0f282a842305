"""The diagonal network in n unknowns, section 9.3:  nu(t) = int_0^t r ds,  nu' = X theta(nu) - y.

w+ = a ⊙ exp(-2 X^T nu),   w- = b ⊙ exp(2 X^T nu)       (9.114): w+ ⊙ w- = a ⊙ b to rounding, at any time
theta = a^2 e^{-4 X^T nu} - b^2 e^{4 X^T nu}             = 2 alpha^2 sinh(-4 X^T nu) for a = b = alpha  (9.124)
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn.problems.base import Variable, Vector
from flowdyn.problems.diagonal_network import DiagonalNetwork
from flowdyn.systems import ODESystem, OnProblem

ON_ORBIT = 1e-8  # relative distance at which weights count as reached by the flow from its start


class DualFlow(OnProblem, ODESystem):
    r"""Gradient flow of the diagonal network as n equations instead of 2d.

    .. math:: \nu' = X\theta(\nu) - y, \qquad \theta = a^2 e^{-4X^\top\nu} - b^2 e^{4X^\top\nu}

    Parameters
    ----------
    problem : DiagonalNetwork
        Data X (n, d), y (n,).
    w0 : array_like (2d,) or mapping
        Start [a, b] of the weights; ``solve`` is given the same start.

    Notes
    -----
    The invariant is kept to rounding, and implicit methods cost O(n^3) where the weights' own flow costs O(d^3). The
    Dataset holds `nu`, with the weights and theta as variables. Source: section 9.3, equations (9.114) and (9.124).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.DiagonalNetwork([[1.0, 0.5]], [1.0])
    >>> w0 = p.init(alpha=1e-3)
    >>> run = fd.solve(fd.DualFlow(p, w0), w0, t=float("inf"), stop={"loss": ("<", 1e-16)})
    >>> run.theta.isel(t=-1).values.round(3).tolist()
    [1.0, 0.001]
    """

    problem: DiagonalNetwork
    a: jax.Array
    b: jax.Array
    summary: ClassVar[str] = "gradient flow of the diagonal network in its dual variable"

    def __init__(self, problem: DiagonalNetwork, w0: Any):
        if not isinstance(problem, DiagonalNetwork):
            raise _check.fail("problem", "must be a DiagonalNetwork", type(problem).__name__)
        self.problem = problem
        start = w0 if isinstance(w0, jax.core.Tracer) else problem.ravel(w0)
        self.a, self.b = jnp.split(jnp.asarray(start), 2)

    def config(self) -> dict[str, Any]:
        """Problem and start."""
        return {"problem": self.problem, "w0": jnp.concatenate([self.a, self.b])}

    def drift(self, t: Vector, state: Vector) -> jax.Array:
        """Residual ``X theta(nu) - y``."""
        exponent = -4 * (state @ self.problem.X)
        return self.problem.X @ (self.a**2 * jnp.exp(exponent) - self.b**2 * jnp.exp(-exponent)) - self.problem.y

    def layout(self, size: int) -> tuple[Variable, ...]:
        """``nu`` over the samples."""
        n = self.problem.X.shape[0]
        return (Variable("nu", ("sample",), (n,), "integral of the residual X theta - y over t"),)

    def project(self, state: Vector) -> jax.Array:
        """Weights [w+, w-] of nu."""
        exponent = -2 * (state @ self.problem.X)
        return jnp.concatenate([self.a * jnp.exp(exponent), self.b * jnp.exp(-exponent)])

    def lift(self, w0: Vector) -> Any:
        """Nu of weights that the flow can reach from its start."""
        w0 = np.asarray(w0)
        start = np.concatenate([self.a, self.b])
        n = self.problem.X.shape[0]
        if np.array_equal(w0, start):
            return np.zeros(n)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(w0 / start)
        d = len(self.a)
        nu = np.linalg.lstsq(-2 * np.asarray(self.problem.X).T, np.nan_to_num(ratio[:d]), rcond=None)[0]
        gap = np.abs(np.asarray(self.project(nu)) - w0).max()
        if not gap <= ON_ORBIT * max(np.abs(w0).max(), 1e-300):
            raise _check.fail("w0", "must be reached by the flow from the start of DualFlow", f"a distance {gap:.3g}")
        return nu

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """The problem's, and the weights."""
        return (*super().observable_variables, *self.problem.variables)

    def observables(self, state: Vector) -> dict[str, jax.Array]:
        """Loss, gradient norm, theta, w+ and w-."""
        w = self.project(state)
        w_plus, w_minus = jnp.split(w, 2)
        return self.problem.observables(w) | {"w_plus": w_plus, "w_minus": w_minus}
