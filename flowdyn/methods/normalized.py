"""Training of a linear classifier on the clock ds = L dt (exponential loss) or ds = G dt (logistic), section 9.4.

    w_s = Z^T p,   p_i = share of sample i in L (or in G = sum sigmoid(-m_i)),   m = Z w                NormalizedFlow
    u = log(1 + t),   u_s = exp(-log L - u)
    w_{k+1} = w_k - eta grad L / L,   u_{k+1} = u_k + log(1 + exp(log eta - log L - u_k))               the recursion

||w|| grows like log t: on this clock it grows like s, and times far beyond overflow (log t = 1e7) are reached.
"""

from typing import ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.systems import ODESystem, OnProblem
from flowdyn.problems.base import Time, Variable, Vector
from flowdyn.problems.linear_classifier import LinearClassifier
from flowdyn.schedules import Schedule, StepSize, as_schedule

STIFF = 1e6  # s max ||x_i||^2 up to which explicit methods take some ten thousand steps, and not millions
FASTEST = 600.0  # of the rates, their logarithm at the start
LARGEST = 700.0  # of an exponent: trial steps of a solver would overflow


def _classifier(problem: LinearClassifier) -> LinearClassifier:
    if not isinstance(problem, LinearClassifier):
        raise _check.fail("problem", "must be a LinearClassifier", type(problem).__name__)
    return problem


class _OnLogTime(OnProblem):
    """State [w, u], u = log(1 + t)."""

    problem: LinearClassifier
    references: ClassVar[str] = "Lyu and Li (2020); section 9.4, Theorem 9.25"

    def log_rate(self, w: Vector) -> tuple[jax.Array, jax.Array]:
        """Log of the clock's rate (L or G), and the shares p (n,)."""
        margins = self.problem.margins(w)
        logs = -margins if self.problem.kind == "exponential" else -jax.nn.softplus(margins)
        return jax.nn.logsumexp(logs), jax.nn.softmax(logs)

    def direction(self, w: Vector) -> tuple[jax.Array, jax.Array]:
        """``-grad L`` over the rate, and the log of the rate."""
        log_rate, shares = self.log_rate(w)
        return (shares * self.problem.y) @ self.problem.X, log_rate

    def layout(self, size: int) -> tuple[Variable, ...]:
        """Weights, then the logarithmic time."""
        return (*self.problem.variables, Variable("u", (), (), "u = log(1 + t), t the time of the gradient flow"))

    def lift(self, w0: Vector) -> Vector:
        """The weights with u = 0, that is t = 0."""
        return jnp.append(jnp.asarray(w0), 0.0)

    def project(self, state: Vector) -> Vector:
        """The weights without u."""
        return state[:-1]

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Quantities that neither overflow nor vanish."""
        texts = {
            "log_t": "log t of the gradient flow",
            "log_loss": "log L(w)",
            "norm": "Euclidean norm of w",
            "margin": "margin min_i y_i <w, x_i> / ||w||",
            "smooth_margin": "smooth margin",
        }
        return tuple(Variable(name, (), (), text) for name, text in texts.items())

    def observables(self, state: Vector) -> dict[str, Vector]:
        """``log t``, ``log L``, norm, margin, and -log L / ||w|| (logistic: -log(e^L - 1) / ||w||); 0 at the origin."""
        w, u = state[:-1], state[-1]
        log_t = u + jnp.log(-jnp.expm1(-u))
        return {
            "log_t": log_t,
            "log_loss": self.problem.log_loss(w),
            "norm": jnp.linalg.norm(w),
            "margin": self.problem.margin(w),
            "smooth_margin": self.problem.smooth_margin(w),
        }


class NormalizedFlow(_OnLogTime, ODESystem):
    r"""Gradient flow of a linear classifier on the clock ds = L dt.

    .. math:: w_s = -\nabla L / L, \qquad \frac{d}{ds}\log(1+t) = \exp(-\log L - \log(1+t))

    Parameters
    ----------
    problem : LinearClassifier
        Exponential loss, or logistic with G = sum sigmoid(-m_i) in place of L.

    Raises
    ------
    ArgumentError
        If `problem` is not a LinearClassifier; by :func:`flowdyn.solve`, if the loss at the start is beyond exp(+-600).

    Notes
    -----
    The path of w is that of the gradient flow; `t` in the Dataset is s, and `log_t` the logarithm of the flow's own
    time. Stop by it: ``stop={"log_t": (">", 1e6)}``. Source: section 9.4, Theorem 9.25.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearClassifier([[2.0, 0.0], [0.0, 1.0]], [1, 1])
    >>> run = fd.solve(fd.NormalizedFlow(p), p.init(), t=float("inf"), stop={"log_t": (">", 1e5)})
    >>> round(float(run.margin.isel(t=-1)), 3)  # 2 / sqrt(5)
    0.894
    """

    problem: LinearClassifier = eqx.field(converter=_classifier)
    summary: ClassVar[str] = "gradient flow of a linear classifier on the clock ds = L dt"
    comes_to_rest: ClassVar[bool] = False

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Two separable samples."""
        return cls(LinearClassifier([[2.0, 0.3], [0.2, 1.0]], [1, 1])), np.array([0.4, 0.35])

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse a start from which t moves faster, or slower, than a double can tell."""
        rate = float(self.log_rate(jnp.asarray(state0[:-1]))[0]) + float(state0[-1])
        if abs(rate) > FASTEST:
            rule = f"must have a loss between exp(-{FASTEST:g}) and exp({FASTEST:g})"
            raise _check.fail("w0", rule, _check.Words(f"about exp({rate:.4g})"), "start nearer to the origin")

    @property
    def explicit_until(self) -> float:
        """The Jacobian of softmax is at most max ||x_i||^2 for ever, while w grows like s: explicit steps do not."""
        return STIFF / max(float(jnp.sum(self.problem.X**2, axis=1).max()), 1e-300)

    def drift(self, t: Time, state: Vector) -> Vector:
        """``[-grad L / L, exp(-log L - u)]``."""
        direction, log_rate = self.direction(state[:-1])
        return jnp.append(direction, jnp.exp(jnp.minimum(-log_rate - state[-1], LARGEST)))


class NormalizedGradientDescent(_OnLogTime, DiscreteSystem):
    r"""Gradient descent whose step is divided by the loss, the recursion of the normalised clock.

    .. math:: w_{k+1} = w_k - \eta_k \nabla L(w_k) / L(w_k)

    Parameters
    ----------
    problem : LinearClassifier
        Exponential loss, or logistic with G in place of L.
    eta : float or Schedule
        Step in s, positive.

    Raises
    ------
    ArgumentError
        If `problem` is not a LinearClassifier, or eta is not positive.

    Notes
    -----
    It divides by L, not by ||grad L||: the Euler map of :class:`NormalizedFlow`. Source: section 9.4, Theorem 9.25;
    Lyu and Li (2020) for the clock.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearClassifier([[2.0, 0.0], [0.0, 1.0]], [1, 1])
    >>> run = fd.solve(fd.NormalizedGradientDescent(p, eta=0.1), p.init(), steps=20_000)
    >>> round(float(run.margin.isel(t=-1)), 3)
    0.894
    """

    problem: LinearClassifier
    eta: Schedule
    summary: ClassVar[str] = "gradient descent divided by the loss"

    def __init__(self, problem: LinearClassifier, eta: StepSize):
        self.problem, self.eta = _classifier(problem), as_schedule("eta", eta)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Two separable samples."""
        return cls(LinearClassifier([[2.0, 0.3], [0.2, 1.0]], [1, 1]), eta=0.01), np.array([0.4, 0.35])

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """Euler step of w in s, and the time that the flow needs for it added to u."""
        direction, log_rate = self.direction(state[:-1])
        eta, u = self.eta(k), state[-1]
        later = u + jax.nn.softplus(jnp.log(eta) - log_rate - u)
        return jnp.append(state[:-1] + eta * direction, later)

    def slope(self, k: Time, state: Vector) -> Vector:
        """Direction of w, and the logarithm's increment over eta, without a difference of states."""
        direction, log_rate = self.direction(state[:-1])
        eta = self.eta(jnp.asarray(k))
        return jnp.append(direction, jax.nn.softplus(jnp.log(eta) - log_rate - state[-1]) / eta)

    def limit(self, order: int = 0) -> ODESystem:
        """:class:`NormalizedFlow` for order 0, else the flow of that order, on the same clock."""
        return NormalizedFlow(self.problem) if order == 0 else super().limit(order)
