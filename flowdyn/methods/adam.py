"""Adam and AdamW and their equation, with memories of a fixed training time: 1 - beta_i = c_i eta.

    m+ = m + c1 eta (g - m),   v+ = v + c2 eta (g^2 - v)
    w+ = w - eta (mhat / (sqrt(vhat) + eps) + decay w)                                     Adam (decay = 0), AdamW
    w' = -mhat/(sqrt(vhat) + eps) - decay w,  m' = c1 (grad L - m),  v' = c2 (grad L^2 - v)   AdamFlow, gap O(eta)

    mhat = m / (1 - b1^{k + 1 + t0/eta})  and, in the flow,  m / (1 - exp(-c1 (t + t0))),   vhat alike from v

t0 is the training time spent before the start. At t + t0 = 0 the flow is singular: its step is +-1 however small g.
"""

from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, nonnegative_leaf
from flowdyn.methods import moment_estimates
from flowdyn.methods.moment_estimates import MomentRecursion, Used, WithMoments, step_direction
from flowdyn.methods.systems import ODESystem, checked_problem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Schedule, as_schedule

_SOURCE = "Kingma and Ba (2015); Loshchilov and Hutter (2019); Malladi, Lyu, Panigrahi and Arora (2022)"


class AdamFlow(WithMoments, ODESystem):
    r"""Flow of two moments of the gradient, the limit of Adam and AdamW as eta -> 0.

    .. math:: w' = -\frac{\hat m}{\sqrt{\hat v} + \epsilon} - \lambda w, \qquad
              m' = c_1 (\nabla L - m), \qquad v' = c_2 (\nabla L^2 - v)

    Parameters
    ----------
    problem : Problem
        What is minimised.
    rates : array_like of float, shape (2,)
        c1 and c2, not negative.
    eps : float
        Floor of the denominator, not negative.
    t0 : float
        Training time spent before the start, positive where bias is corrected.
    m0, v0 : float or array_like of float, shape (P,)
        Moments at the start; v0 is positive.
    bias_correction : bool
        Whether moments are divided by 1 - exp(-c (t + t0)).
    eps_inside : bool
        Whether the denominator is sqrt(vhat + eps).
    decay : float
        Decoupled weight decay lambda, not negative.

    Raises
    ------
    ArgumentError
        If a rate, `eps` or `decay` is negative, v0 is not positive, or t0 is 0 where bias is corrected.

    Notes
    -----
    Source: Malladi et al. (2022); Ma, Wu and E (2022).

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.AdamFlow(fd.problems.Quadratic(1.0), rates=[4.0, 1.0], t0=0.5, m0=0.3, v0=0.4)
    >>> run = fd.solve(flow, [1.0], t=1.0)
    >>> "first_moment" in run, bool(run.loss[-1] < run.loss[0])
    (True, True)
    """

    problem: Problem
    rates: jax.Array
    eps: jax.Array
    t0: jax.Array
    m0: jax.Array
    v0: jax.Array
    bias_correction: bool = eqx.field(static=True)
    eps_inside: bool = eqx.field(static=True)
    decay: jax.Array
    summary: ClassVar[str] = "flow of Adam w' = -mhat / (sqrt(vhat) + eps) - decay w"
    references: ClassVar[str] = _SOURCE

    def __init__(
        self,
        problem: Problem,
        rates: ArrayLike,
        eps: Scalar = 1e-8,
        *,
        t0: Scalar = 0.0,
        m0: ArrayLike = 0.0,
        v0: ArrayLike = 1.0,
        bias_correction: bool = True,
        eps_inside: bool = False,
        decay: Scalar = 0.0,
    ):
        self.problem = checked_problem(problem)
        self.rates = moment_estimates.checked_rates("rates", rates, "betas", None, 2)[0]
        self.eps, self.eps_inside = nonnegative_leaf("eps", eps), _check.flag("eps_inside", eps_inside)
        self.t0, self.decay = nonnegative_leaf("t0", t0), nonnegative_leaf("decay", decay)
        self.m0 = moment_estimates.checked_moment("m0", m0, problem.size)
        self.v0 = moment_estimates.checked_moment("v0", v0, problem.size, nonnegative=True)
        self.bias_correction = _check.flag("bias_correction", bias_correction)
        _check_start(self.t0, self.v0, self.bias_correction)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss, from a warm start."""
        problem, w0 = Quadratic.example()
        return cls(problem, [4.0, 1.0], eps=0.1, t0=0.5, m0=0.1, v0=0.5), w0

    @property
    def at_start(self) -> dict[str, jax.Array]:
        """The moments m0 and v0."""
        return {"first_moment": self.m0, "second_moment": self.v0}

    def drift(self, t: Time, state: Vector) -> Vector:
        """``[-mhat/(sqrt(vhat) + eps) - decay w, c1 (grad L - m), c2 (grad L^2 - v)]``."""
        w, m, v = jnp.split(jnp.asarray(state), 3)
        gradient = self.problem.grad(w)
        own = -jnp.expm1(-self.rates * (t + self.t0)) if self.bias_correction else jnp.ones(2)
        direction = step_direction(m / own[0], v / own[1], self.eps, self.eps_inside)
        return jnp.concatenate(
            [-direction - self.decay * w, self.rates[0] * (gradient - m), self.rates[1] * (gradient**2 - v)]
        )


class Adam(MomentRecursion):
    r"""Adam at training time t = eta k, its moments remembered over fixed training times.

    .. math:: m_{k+1} = m_k + c_1 \eta\,(g_k - m_k), \quad v_{k+1} = v_k + c_2 \eta\,(g_k^2 - v_k), \quad
              w_{k+1} = w_k - \eta \frac{\hat m_{k+1}}{\sqrt{\hat v} + \epsilon}

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float
        Step size, positive.
    rates : array_like of float, shape (2,), optional
        c1 and c2, not negative: beta_i = 1 - c_i eta.
    eps : float
        Floor of the denominator, not negative.
    t0 : float
        Training time spent before the start: bias is corrected as after t0/eta steps.
    m0, v0 : float or array_like of float, shape (P,)
        Moments at the start, before their correction.
    bias_correction : bool
        Whether m and v are divided by 1 - beta^n, n the number of gradients in them.
    v_used : {"after", "before"}
        Whether v in the step is v_{k+1} or v_k; m is always m_{k+1}.
    eps_inside : bool
        Whether the denominator is sqrt(vhat + eps).
    betas : array_like of float, shape (2,), optional
        In place of `rates`, the same at every step size: the recursion runs, its limits are refused.

    Raises
    ------
    ArgumentError
        If both or none of `rates` and `betas` are given, c eta > 1, a number has the wrong sign, or eta is a changing
        schedule; by `limit`, if `betas` are fixed, v0 is 0, or t0 is 0 where bias is corrected.

    Notes
    -----
    Limits: order 0 the :class:`AdamFlow`, order p the flow of that order; they need a warm start. Source: Kingma and Ba
    (2015), algorithm 1; Malladi et al. (2022) for the scaling.

    Examples
    --------
    >>> import flowdyn as fd
    >>> warm = {"t0": 0.5, "m0": 0.3, "v0": 0.4}
    >>> method = fd.Adam(fd.problems.Quadratic(1.0), eta=0.02, rates=[4.0, 1.0], eps=0.05, **warm)
    >>> round(float(fd.eta_limit(method, [1.0], t=1.0, order=1).order), 1)
    2.0
    """

    problem: Problem
    eta: Schedule
    rates: jax.Array | None
    eps: jax.Array
    t0: jax.Array
    m0: jax.Array
    v0: jax.Array
    bias_correction: bool = eqx.field(static=True)
    v_used: Used = eqx.field(static=True)
    eps_inside: bool = eqx.field(static=True)
    betas: jax.Array | None
    summary: ClassVar[str] = "Adam, beta_i = 1 - c_i eta"
    references: ClassVar[str] = _SOURCE

    def __init__(
        self,
        problem: Problem,
        eta: Scalar,
        rates: ArrayLike | None = None,
        eps: Scalar = 1e-8,
        *,
        t0: Scalar = 0.0,
        m0: ArrayLike = 0.0,
        v0: ArrayLike = 0.0,
        bias_correction: bool = True,
        v_used: Used = "after",
        eps_inside: bool = False,
        betas: ArrayLike | None = None,
    ):
        self.problem, self.eta = checked_problem(problem), as_schedule("eta", eta)
        self.rates, self.betas = moment_estimates.checked_rates("rates", rates, "betas", betas, 2)
        self.eps, self.eps_inside = nonnegative_leaf("eps", eps), _check.flag("eps_inside", eps_inside)
        self.t0 = nonnegative_leaf("t0", t0)
        self.m0 = moment_estimates.checked_moment("m0", m0, problem.size)
        self.v0 = moment_estimates.checked_moment("v0", v0, problem.size, nonnegative=True)
        self.bias_correction = _check.flag("bias_correction", bias_correction)
        self.v_used = _check.choice("v_used", v_used, ("after", "before"))  # type: ignore[assignment]
        if self.v_used == "before" and self.bias_correction and _is_zero(self.t0):
            raise _check.fail("t0", "must be positive where v is used before its first update", 0.0, "start warm")
        if not is_traced(self.time_step):
            moment_estimates.check_rate_fits("rates", self.rates, self.constant_eta("Adam"))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss, from a warm start."""
        problem, w0 = Quadratic.example()
        return cls(problem, 0.01, [4.0, 1.0], eps=0.1, t0=0.5, m0=0.1, v0=0.5), w0

    @property
    def at_start(self) -> dict[str, jax.Array]:
        """The moments m0 and v0."""
        return {"first_moment": self.m0, "second_moment": self.v0}

    def slope_along(self, k: Time, state: Vector, gradient: Vector) -> Vector:
        """``[-mhat/(sqrt(vhat) + eps), c1 (g - m), c2 (g^2 - v)]``, m after its update, v after or before."""
        h = self.time_step
        _, m, v = jnp.split(jnp.asarray(state), 3)
        rates = (1 - self.betas) / h if self.rates is None else self.rates  # type: ignore[operator]
        change = rates[0] * (gradient - m), rates[1] * (gradient**2 - v)
        late = self.v_used == "after"
        mhat, vhat = m + h * change[0], v + h * change[1] if late else v
        if self.bias_correction:
            logs = jnp.log1p(-rates * h)
            count = k + self.t0 / h  # gradients in m and v before this step
            mhat = mhat / -jnp.expm1((count + 1) * logs[0])
            vhat = vhat / -jnp.expm1((count + 1 if late else count) * logs[1])
        return jnp.concatenate([-step_direction(mhat, vhat, self.eps, self.eps_inside), *change])

    def limit(self, order: int = 0) -> ODESystem:
        """:class:`AdamFlow` for order 0, else the flow of that order; fixed betas and cold starts are refused."""
        moment_estimates.check_has_limit("betas", self.betas, self.time_step)
        _check_start(self.t0, self.v0, self.bias_correction)
        if order or self.rates is None:
            return super().limit(order)
        given: dict[str, Any] = {
            name: getattr(self, name) for name in ("t0", "m0", "v0", "bias_correction", "eps_inside")
        }
        return AdamFlow(self.problem, self.rates, self.eps, **given, decay=self._shrinkage)

    @property
    def _shrinkage(self) -> Any:
        return 0.0


class AdamW(Adam):
    r"""Adam with decoupled weight decay, at training time t = eta k.

    .. math:: w_{k+1} = w_k - \eta \Big(\frac{\hat m_{k+1}}{\sqrt{\hat v} + \epsilon} + \lambda w_k\Big)

    Parameters
    ----------
    problem : Problem
        What is minimised.
    eta : float
        Step size, positive.
    rates : array_like of float, shape (2,), optional
        c1 and c2, as for :class:`Adam`.
    eps : float
        Floor of the denominator, not negative.
    decay : float
        lambda, not negative.
    t0 : float
        Training time spent before the start.
    m0, v0 : float or array_like of float, shape (P,)
        Moments at the start.
    bias_correction, eps_inside : bool
        As for :class:`Adam`.
    v_used : {"after", "before"}
        As for :class:`Adam`.
    betas : array_like of float, shape (2,), optional
        As for :class:`Adam`.

    Raises
    ------
    ArgumentError
        As :class:`Adam`, and if the decay is negative.

    Notes
    -----
    Source: Loshchilov and Hutter (2019), algorithm 2, with the schedule multiplier 1 and the decay times eta.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic(1.0)
    >>> method = fd.AdamW(p, eta=0.01, rates=[4.0, 1.0], eps=0.05, decay=0.1, t0=0.5, m0=0.3, v0=0.4)
    >>> round(float(fd.eta_limit(method, [1.0], t=1.0).order), 1)
    1.0
    """

    decay: jax.Array
    summary: ClassVar[str] = "AdamW, beta_i = 1 - c_i eta"

    def __init__(
        self,
        problem: Problem,
        eta: Scalar,
        rates: ArrayLike | None = None,
        eps: Scalar = 1e-8,
        decay: Scalar = 0.01,
        *,
        t0: Scalar = 0.0,
        m0: ArrayLike = 0.0,
        v0: ArrayLike = 0.0,
        bias_correction: bool = True,
        v_used: Used = "after",
        eps_inside: bool = False,
        betas: ArrayLike | None = None,
    ):
        start: dict[str, Any] = {"t0": t0, "m0": m0, "v0": v0}
        kind: dict[str, Any] = {"bias_correction": bias_correction, "v_used": v_used, "eps_inside": eps_inside}
        super().__init__(problem, eta, rates, eps, **start, **kind, betas=betas)
        self.decay = nonnegative_leaf("decay", decay)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss, from a warm start."""
        problem, w0 = Quadratic.example()
        return cls(problem, 0.01, [4.0, 1.0], eps=0.1, decay=0.2, t0=0.5, m0=0.1, v0=0.5), w0

    def slope_along(self, k: Time, state: Vector, gradient: Vector) -> Vector:
        """As of Adam, and ``-decay w``."""
        shrinking = jnp.zeros_like(state).at[: self.problem.size].set(-self.decay * self.project(state))
        return super().slope_along(k, state, gradient) + shrinking

    @property
    def _shrinkage(self) -> Any:
        return self.decay


def _is_zero(value: Any) -> bool:
    return not is_traced(value) and float(np.asarray(value)) == 0.0


def _check_start(t0: Any, v0: Any, bias_correction: bool) -> None:
    """Refuse a flow that is singular where it starts."""
    moment_estimates.check_warm(v0)
    if bias_correction and _is_zero(t0):
        rule = "must be positive for a limit where bias is corrected: the flow is singular at t + t0 = 0"
        raise _check.fail("t0", rule, 0.0, "start warm: give t0, m0 and v0, or bias_correction=False")
