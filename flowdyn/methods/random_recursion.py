"""A user's own recursion with noise:  z_{k+1} = step(z_k, h, x_k)  at t = h k,  x a random sample, or normals."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import cast_tree, is_traced
from flowdyn._tools.polynomial_degree import degree_of
from flowdyn.methods.equation_checks import check_noise
from flowdyn.methods.recursion_equation import Covariance
from flowdyn.methods.scattered import Scattered
from flowdyn.methods.systems import System
from flowdyn.methods.user_state import UserState, checked_state
from flowdyn.problems.base import Time, Vector
from flowdyn.schedules import Constant, Schedule, StepSize, as_schedule


def _towards(z: Any, h: Any, x: Any) -> Any:
    """Descent on the squared distance from a sample."""
    return z - h * (z - x)


class RandomRecursion(UserState, Scattered):
    r"""A recursion of one's own with noise; its equations of weak order 1, 2 and 3 come from its step.

    .. math:: z_{k+1} = \mathrm{step}(z_k, \eta, x_k), \qquad t = \eta k

    Parameters
    ----------
    step : callable
        ``step(state, eta, x)``, written with jax.numpy; returns the next state. It must tend to the identity as
        eta -> 0 and be smooth there: a momentum method takes eta for its time step and eta^2 before the gradient.
    eta : float
        Step size, positive.
    w0_like : pytree of float arrays, optional
        An example of the parameters w that a run starts from. Without it they are one flat vector, of any length.
    samples : pytree of arrays, optional
        Leading axis n; x is one of the n items, drawn with replacement. Indices (``jnp.arange(n)``) will do; for
        batches hand in the batches.
    normals : int, optional
        In place of `samples`: x is a vector of that many standard normals, and the step is affine in it.
    init : callable, optional
        ``init(w)`` returns the state that starts at w, any pytree of float arrays; the state is w itself unless given.
    params : callable, optional
        ``params(state)`` returns the w of a state, needed with `init`.

    Raises
    ------
    ArgumentError
        If a function does not take its arguments or returns another structure, not exactly one of `samples` and
        `normals` is given, or the step is not affine in its normals.

    Notes
    -----
    ``limit(order, covariance)`` is a :class:`RecursionEquation`; covariance="matched" has stationary laws right to
    eta^2. Its weak errors are exact where steps are affine in the state. Source: Li, Tai and E (2019).

    Examples
    --------
    >>> import flowdyn as fd
    >>> coin = fd.RandomRecursion(lambda z, eta, x: z - eta * (z - x), 0.1, samples=[[-1.0], [1.0]])
    >>> run = fd.solve(coin, [1.0], t=2.0, realizations=100, seed=0)
    >>> ladder = fd.eta_limit(coin, [1.0], t=2.0, order=2, observable={"square": lambda z: z[0] ** 2})
    >>> round(float(ladder.order.item()), 1)
    2.0
    """

    function: Callable
    eta: Schedule
    w0_like: Any
    samples: Any
    normals: int | None = eqx.field(static=True)
    init: Callable | None
    params: Callable | None
    is_users: ClassVar[bool] = True
    summary: ClassVar[str] = "a user's recursion with noise z_{k+1} = step(z_k, eta, x_k)"

    def __init__(
        self,
        step: Callable,
        eta: StepSize,
        w0_like: Any = None,
        *,
        samples: Any = None,
        normals: int | None = None,
        init: Callable | None = None,
        params: Callable | None = None,
    ):
        self.function = _check.function("step", step, "step(state, eta, x)", 3)
        self.eta = as_schedule("eta", eta)
        if (samples is None) == (normals is None):
            rule = "or `normals` must say what the noise is, one of them"
            raise _check.fail("samples", rule, samples, "samples of n items, or normals=m")
        self.samples = _checked_samples(samples)
        self.normals = None if normals is None else _check.integer("normals", normals, minimum=1)
        self.w0_like, self.init, self.params = checked_state(w0_like, init, params)
        if self.w0_like is not None and not is_traced(self.eta(jnp.asarray(0))):
            self.check_structure(lambda z: self.mean_at(self.increments(jnp.asarray(0)), z))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Steps towards one of two points."""
        return cls(_towards, 0.01, samples=[[-1.0, 0.5], [1.0, 0.0]]), np.array([0.3, 0.4])

    def config(self) -> dict[str, Any]:
        """Arguments that build it again, the functions among them: these do not travel in a file."""
        noise = {"samples": self.samples} if self.normals is None else {"normals": self.normals}
        return {"step": self.function, "eta": self.eta, **self.state_config(), **noise}

    @property
    def numbers(self) -> dict[str, Any]:
        """The step and the step size."""
        return {"step": self.function, "eta": self.eta.eta if isinstance(self.eta, Constant) else self.eta}

    @property
    def outcomes(self) -> int | None:
        """Number of samples."""
        return None if self.normals else len(jax.tree.leaves(self.samples)[0])

    @property
    def noise_size(self) -> int:
        """Samples, or normals."""
        return self.normals or self.outcomes or 0

    def next_state(self, h: Time, state: Vector, noise: Any) -> Vector:
        """The user's step with one sample, or with normals."""
        x = noise if self.normals else jax.tree.map(lambda leaf: leaf[noise], self.samples)
        form = "step(state, eta, x), x " + (f"{self.normals} normals" if self.normals else "a sample")
        return self.called_step(self.function, state, h, x, form=form)

    def limit(self, order: int = 0, covariance: Covariance = "plain") -> System:
        """The flow of the mean step, or the equation; noise in a root of eta is refused at once where w is known."""
        found = super().limit(order, covariance)
        if self.w0_like is not None and not is_traced(self.eta(jnp.asarray(0))):
            self._check_noise_anywhere()
        return found

    def _check_noise_anywhere(self) -> None:
        """Refuse noise that is none at two starts: at one alone the step may be that of another place, beyond a max."""
        w = self.ravel(self.w0_like)
        refused = [_refusal_of(self, np.asarray(self.lift(start))) for start in (w, np.cos(1.0 + np.arange(len(w))))]
        if refused[0] and refused[1]:
            raise refused[0]

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse a step that is not affine in its normals."""
        if not self.normals:
            return
        h, xi = self.increments(jnp.asarray(0)), jax.ShapeDtypeStruct((self.normals,), jnp.float64)
        if degree_of(lambda noise: self.next_state(h, jnp.asarray(state0), noise), xi) > 1:
            raise _check.fail(
                "step", "must be affine in its normals", self.function, "draw samples of them and hand these in"
            )


def _refusal_of(recursion: RandomRecursion, state: np.ndarray) -> _check.ArgumentError | None:
    """What is said of the noise at a state, if it is refused."""
    try:
        check_noise(recursion, state)
    except _check.ArgumentError as refusal:
        return refusal
    return None


def _numbers(part: Any) -> jax.Array:
    """A piece of the samples: real numbers, or whole ones that are indices."""
    if not isinstance(part, jax.Array) and np.asarray(part).dtype.kind not in "biuf":
        raise _check.fail("samples", "must hold real numbers", part, "number the samples: jnp.arange(n) are indices")
    return jnp.asarray(part)


def _checked_samples(samples: Any) -> Any:
    """Samples as arrays with one leading axis."""
    if samples is None:
        return None
    if isinstance(samples, list | tuple) and not any(hasattr(part, "shape") for part in samples):
        samples = np.asarray(samples)
    tree = jax.tree.map(_numbers, cast_tree("samples", samples))
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(tree)}
    if len(sizes) != 1 or 0 in sizes:
        raise _check.fail("samples", "must be arrays with one leading axis", _check.Words(f"lengths {sorted(sizes)}"))
    return tree
