"""Random recursions and equations with noise, with the average of their parameters; averages of any system.

s_{k+1} = s_k + h w_{k+1},  ds = X dt,  Xbar = s/t       e_{k+1} = e_k + kappa h (w_{k+1} - e_k),  de = kappa (X - e) dt
"""

from typing import Any, ClassVar, Self, overload

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn._tools.leaves import Scalar, nonnegative_leaf
from flowdyn._tools.randomness import Draw, RandomInputs
from flowdyn.methods.averaged_moments import MOST, affine_average, is_whole, moments_of_average, one_step, repeated
from flowdyn.methods.averaged_recursion import AveragedFlow, AveragedRecursion
from flowdyn.methods.averaging import Averaging, Kind, check_length, check_rate, checked_average, checked_kind
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.ornstein_uhlenbeck import OrnsteinUhlenbeck
from flowdyn.methods.recursion_equation import RecursionEquation, affine_moments
from flowdyn.methods.sgd import SGD
from flowdyn.methods.stochastic_base import RandomRecursionSystem
from flowdyn.methods.systems import LinearGaussianLaw, Moments, ODESystem, SDESystem, System
from flowdyn.methods.wrapping import AroundSteps
from flowdyn.problems.base import Time, Vector
from flowdyn.theory.moments import ou_mean_cov


class AveragedEquation(Averaging, SDESystem):
    r"""A stochastic differential equation with the average of its parameters.

    .. math:: \bar X(t) = \frac1t \int_0^t X\,ds \quad\text{or}\quad e' = \kappa (X - e), \ e(0) = X(0)

    Parameters
    ----------
    method : SDESystem
        The equation.
    average : {"polyak", "ema"}
        The mean over time, or an exponential average.
    rate : float, optional
        kappa, positive, of the exponential average.
    lag : float
        Step h of a recursion whose averages, of states after each step, are followed to second order: half of it
        later. 0 for the equation's own average.

    Raises
    ------
    ArgumentError
        If `method` is not a stochastic differential equation, the rate does not fit the average, or the lag is
        negative.

    Notes
    -----
    Linear equations have the law of their average too. Source: Polyak and Juditsky (1992); the lag is the difference of
    a sum and an integral, of our own.

    Examples
    --------
    >>> import flowdyn as fd
    >>> ou = fd.averaged(fd.OrnsteinUhlenbeck(2.0, 1.0), "ema", rate=1.0)
    >>> round(float(ou.exact_moments([0.0], [50.0])[1].item()), 9)  # v kappa / (kappa + lam), v = 1/4
    0.083333333
    """

    method: SDESystem
    average: Kind = eqx.field(static=True)
    rate: jax.Array | None
    lag: jax.Array
    moments_of_parameters: ClassVar[bool] = True
    summary: ClassVar[str] = "a stochastic differential equation with the average of its parameters"

    def __init__(self, method: SDESystem, average: Kind = "polyak", rate: Scalar | None = None, lag: Scalar = 0.0):
        self.method, (self.average, self.rate) = checked_kind(method, SDESystem), checked_average(average, rate)
        check_length(method, self.average)
        self.lag = nonnegative_leaf("lag", lag)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """An Ornstein-Uhlenbeck process with its mean."""
        method, w0 = OrnsteinUhlenbeck.example()
        return cls(method), w0

    @property  # type: ignore[misc]
    def calculus(self) -> str:  # type: ignore[override]
        """That of the equation."""
        return self.method.calculus

    @property  # type: ignore[misc]
    def noise(self) -> str:  # type: ignore[override]
        """Additive where the equation's is; the average has none of its own."""
        return "additive" if self.method.noise == "additive" else "general"

    def drift(self, t: Time, state: Vector) -> Vector:
        """The equation's own, then that of the average, half a lag later."""
        own, average = self.split(jnp.asarray(state))
        drift = self.method.drift(t, own)
        w, rate = jax.jvp(self.method.project, (own,), (drift,))
        slope = self.slope_of_average(w, average)
        later = jnp.append(rate, 0.0) if self.average == "polyak" else self.rate * (rate + slope)
        return jnp.concatenate([drift, slope + 0.5 * self.lag * later])

    def diffusion(self, t: Time, state: Vector) -> Vector:
        """The equation's own, and rows of zeros."""
        own, _ = self.split(jnp.asarray(state))
        inner = jnp.asarray(self.method.diffusion(t, own))
        return jnp.concatenate([inner, jnp.zeros((state.shape[0] - own.shape[0], inner.shape[1]))])

    def diffusion_product(self, t: Time, state: Vector, increment: Vector) -> Vector:
        """The equation's own, and zeros."""
        own, _ = self.split(jnp.asarray(state))
        inner = jnp.asarray(self.method.diffusion_product(t, own, increment))
        return jnp.concatenate([inner, jnp.zeros(state.shape[0] - own.shape[0])])

    def noise_dim(self, state: np.ndarray) -> int:
        """As many Brownian motions as the equation has."""
        return self.method.noise_dim(np.asarray(self.split(state)[0]))

    def default_dt(self, span: float) -> float:
        """Step of the equation itself."""
        return self.method.default_dt(span)

    def linear_law(self) -> LinearGaussianLaw | None:
        """Law of state and average together, where the equation's is known and its state is its parameters."""
        law = self.method.linear_law()
        if law is None or len(law.force) > MOST or self._holds_more(len(law.force)):
            return None
        d, more = len(law.force), int(self.average == "polyak")
        eye, half, zero = np.eye(d), 0.5 * float(self.lag), np.zeros((d, d))
        if self.average == "polyak":
            rows, force = np.hstack([half * law.A - eye, zero]), half * law.force
        else:
            kappa = float(self.rate)  # type: ignore[arg-type]
            pull = kappa * (1 + half * kappa) * eye
            rows, force = np.hstack([half * kappa * law.A - pull, pull]), half * kappa * law.force
        A = np.vstack([np.hstack([law.A, zero]), rows])
        A, D = np.pad(A, (0, more)), np.pad(law.D, (0, d + more))
        return LinearGaussianLaw(A, D, np.concatenate([law.force, force, np.ones(more)]))

    def _holds_more(self, size: int) -> bool:
        """Whether the equation's state is more than its parameters, as that of an average is."""
        return jax.eval_shape(self.method.project, jax.ShapeDtypeStruct((size,), jnp.float64)).shape != (size,)

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance of the averaged parameters from flat w0, where the equation is linear."""
        law = self.linear_law()
        if law is None:
            return self._affine_moments(np.asarray(w0, dtype=float), when)
        if len(np.asarray(w0)) != self.sizes(len(law.force))[1]:
            return None
        mean, cov = ou_mean_cov(law.A, law.D, np.asarray(self.lift(w0)), when, force=law.force)
        return moments_of_average(self.average, mean, cov, np.asarray(w0), np.asarray(when, dtype=float))

    def _affine_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """The same where drift and diffusion come from a recursion, and are affine in a state that is w."""
        own = self.method
        if not isinstance(own, RecursionEquation) or not is_whole(own, len(w0)) or not own.is_affine(len(w0)):
            return None
        mean, cov = affine_moments(self, np.asarray(self.lift(w0)), when)
        return moments_of_average(self.average, mean, cov, w0, np.asarray(when, dtype=float))


class AveragedRandomRecursion(Averaging, AroundSteps, RandomRecursionSystem):  # type: ignore[override]
    r"""A random recursion with the average of its iterates.

    .. math:: \bar w_k = \frac1{t_k} \sum_{j=1}^k h\,w_j \quad\text{or}\quad e_{k+1} = e_k + \kappa h\,(w_{k+1} - e_k)

    Parameters
    ----------
    method : RandomRecursionSystem
        SGD, SVAG or another recursion that draws.
    average : {"polyak", "ema"}
        The mean of all iterates after the start, or an exponential average.
    rate : float, optional
        kappa, positive, of the exponential average, per unit of training time.

    Raises
    ------
    ArgumentError
        If `method` is not a random recursion, or the rate does not fit the average.

    Notes
    -----
    Limits: the average around the method's limit, of order 2 half a step later. On a quadratic K Cov(mean of K) tends
    to A^-1 Sigma A^-1 at every step size. Source: Polyak and Juditsky (1992), theorem 1.

    Examples
    --------
    >>> import flowdyn as fd
    >>> sgd = fd.SGD(fd.problems.Quadratic(2.0, noise=1.0), eta=0.1)
    >>> cov = fd.averaged(sgd, "polyak").exact_moments([0.0], [100_000])[1]
    >>> round(100_000 * cov.item(), 4)  # 1/lam^2
    0.25
    """

    method: RandomRecursionSystem
    average: Kind = eqx.field(static=True)
    rate: jax.Array | None
    moments_of_parameters: ClassVar[bool] = True
    summary: ClassVar[str] = "a random recursion with the average of its iterates"

    def __init__(self, method: RandomRecursionSystem, average: Kind = "polyak", rate: Scalar | None = None):
        self.method, (self.average, self.rate) = method, checked_average(average, rate)
        checked_kind(method, RandomRecursionSystem)
        check_length(method, self.average)
        check_rate(self.rate, self.increments(jnp.asarray(0)))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """SGD on a quadratic loss, with its mean."""
        method, w0 = SGD.example()
        return cls(method), w0

    @property
    def random_inputs(self) -> RandomInputs:
        """What the recursion itself draws."""
        return self.method.random_inputs

    @property
    def epoch(self) -> int:
        """Steps of the recursion that share a state."""
        return self.method.epoch

    @property
    def epoch_bits(self) -> int:
        """Random bits of that state."""
        return self.method.epoch_bits

    def start_epoch(self, words: jax.Array) -> Any:
        """State of one epoch of the recursion."""
        return self.method.start_epoch(words)

    @property
    def has_brownian_increments(self) -> bool:
        """Whether the recursion's draws are increments of its limits."""
        return self.method.has_brownian_increments

    def step(self, k: jax.Array, state: Vector, draw: Draw, epoch_state: Any) -> Vector:
        """Step of the recursion, whose outcome is averaged."""
        own, _ = self.split(jnp.asarray(state))
        after = self.method.step(k, own, draw, epoch_state)
        return jnp.concatenate([after, self.averaged_on(self.increments(k), after, state)])

    def mean_step(self, k: jax.Array, state: Vector) -> Vector:
        """Mean step of the recursion, and the average of it."""
        own, _ = self.split(jnp.asarray(state))
        after = self.method.mean_step(k, own)
        return jnp.concatenate([after, self.averaged_on(self.increments(k), after, state)])

    def limit(self, order: int = 0) -> System:
        """The average around the method's limit; half a step later for order 2."""
        inner = self.method.limit(order)
        if isinstance(inner, ODESystem):
            return AveragedFlow(inner, self.average, self.rate)
        lag = float(self.increments(jnp.asarray(0))) if order > 1 else 0.0
        return AveragedEquation(checked_kind(inner, SDESystem), self.average, self.rate, lag)

    def exact_moments(self, w0: np.ndarray, when: np.ndarray) -> Moments | None:
        """Mean and covariance of the averaged iterates, where a step is linear with additive noise."""
        start = np.asarray(w0, dtype=float)
        h = float(self.clock(1))
        share, kept = (h, 1.0) if self.average == "polyak" else (h * float(self.rate), 1 - h * float(self.rate))  # type: ignore[arg-type]
        moved = one_step(self.method, len(start))
        if moved is None:
            found = affine_average(self.method, self.average, (share, kept), start, when)
            return None if found is None else moments_of_average(self.average, *found, start, h * np.asarray(when))
        T, c, Q = moved
        eye, zero = np.eye(len(c)), np.zeros((len(c), len(c)))
        step = (
            np.block([[T, zero], [share * T, kept * eye]]),
            np.concatenate([c, share * c]),
            np.block([[Q, share * Q], [share * Q, share**2 * Q]]),
        )
        state = np.concatenate([start, np.zeros_like(start) if self.average == "polyak" else start])
        means, covs = [], []
        for count in np.asarray(when, dtype=np.int64):
            phi, shift, cov = repeated(step, int(count))
            means.append(phi @ state + shift)
            covs.append(cov)
        return moments_of_average(
            self.average, np.array(means), np.array(covs), start, h * np.asarray(when, dtype=float)
        )


@overload
def averaged(system: ODESystem, average: Kind = ..., rate: Scalar | None = ...) -> AveragedFlow: ...
@overload
def averaged(system: DiscreteSystem, average: Kind = ..., rate: Scalar | None = ...) -> AveragedRecursion: ...
@overload
def averaged(system: SDESystem, average: Kind = ..., rate: Scalar | None = ...) -> AveragedEquation: ...
@overload
def averaged(
    system: RandomRecursionSystem, average: Kind = ..., rate: Scalar | None = ...
) -> AveragedRandomRecursion: ...
@told
def averaged(system: System, average: Kind = "polyak", rate: Scalar | None = None) -> System:
    r"""A system with the average of its parameters beside its state, which is what it then hands out.

    .. math:: \bar w_k = \frac1{t_k} \sum_{j=1}^k h\,w_j \quad\text{or}\quad e_{k+1} = e_k + \kappa h\,(w_{k+1} - e_k)

    Parameters
    ----------
    system : System
        A recursion or an equation, with noise or without.
    average : {"polyak", "ema"}
        The mean of all iterates after the start (over time in an equation), or an exponential average.
    rate : float, optional
        kappa, positive, of the exponential average, per unit of training time.

    Returns
    -------
    AveragedRecursion, AveragedFlow, AveragedRandomRecursion or AveragedEquation
        The kind that `system` is.

    Raises
    ------
    ArgumentError
        If `system` is no system, or the rate does not fit the average.

    Notes
    -----
    A function, for it makes one of four classes, by the kind of the system. The Dataset has `w_mean` (or `w_ema`)
    beside `w`, and the loss there; gaps, test functions and what `observe` sees are those of the average. The order of
    a mean of a mean shows at the end (`saves=2`) rather than in the largest gap on the way, which is at its first steps
    and falls more slowly at first.
    Source: Polyak and Juditsky (1992); Ruppert (1988).

    Examples
    --------
    >>> import flowdyn as fd
    >>> gd = fd.averaged(fd.GradientDescent(fd.problems.Quadratic(1.0), eta=0.1), "ema", rate=0.5)
    >>> ladder = fd.eta_limit(gd, [1.0], t=2.0, order=1)  # gaps of the average
    >>> round(float(ladder.order), 1)
    2.0
    """
    kinds: dict[Any, Any] = {
        ODESystem: AveragedFlow,
        DiscreteSystem: AveragedRecursion,
        SDESystem: AveragedEquation,
        RandomRecursionSystem: AveragedRandomRecursion,
    }
    for kind, cls in kinds.items():
        if isinstance(system, kind):
            return cls(system, average, rate)
    raise _check.fail("system", "must be a flowdyn system", system, "e.g. fd.SGD(problem, eta)")
