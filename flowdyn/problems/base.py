"""What every problem gives, from one loss function L(w) of a flat vector w in R^P.

grad L,  H = grad^2 L,  H v,
G(w) = [grad l_i - grad L]_i / sqrt(n)  in R^{P x n},   G G^T = Cov_i(grad l_i),   L = mean_i l_i
"""

import abc
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import shown_call
from flowdyn._tools.plain_help import Module
from flowdyn.problems.inputs import Labels
from flowdyn.problems.named_pieces import flat_parameters, ravel_variables
from flowdyn.theory.linear_moments import SampleGradients
from flowdyn.theory.moments_work import GradientWork
from flowdyn.theory.streaming import FreshNoise

Vector = jax.Array | np.ndarray  # flat; JAX traces the same code with either
Time = float | jax.Array | np.ndarray


class Variable(NamedTuple):
    """A named piece of a flat vector or an observable: how it is labelled in a Dataset."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    long_name: str

    @property
    def size(self) -> int:
        """Number of entries, the product of the shape."""
        return int(math.prod(self.shape))


class Spectrum(NamedTuple):
    """Eigenbasis of a constant Hessian: L(w) = 1/2 sum_i lam_i (v_i . (w - w_star))^2 + const.

    Only the directions with lam_i != 0 are listed; the others never move.
    """

    eigenvalues: np.ndarray  # (r,)
    vectors: np.ndarray  # (P, r), orthonormal columns
    minimizer: np.ndarray  # (r,), coordinates of w_star in the columns


class Problem(Module):
    """A loss with its data. Subclasses define ``loss`` and ``variables``; the rest is inherited.

    Every method takes the parameters as one flat vector `w` of shape (P,); :meth:`ravel` makes it from names or a
    pytree, and :meth:`unravel` gives back what a user's own function wants to see.
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("init", "loss", "sample_losses", "grad", "hessian", "hvp", "sample_grads", "noise_cov", "ravel", "unravel"),
        *("predict", "residuals", "jacobian", "tangent_kernel"),
    )

    def __check_init__(self) -> None:
        labels = vars(self).get("labels")
        if labels is not None and not isinstance(labels, Labels):
            way_out = "leave it out: names come with the data, as a DataFrame or a DataArray has them"
            raise _check.fail("labels", "must be what a problem's own `labels` are", labels, way_out)

    @abc.abstractmethod
    def loss(self, w: Vector) -> jax.Array:
        """Loss L(w), a scalar, for flat w of shape (P,)."""

    @property
    @abc.abstractmethod
    def variables(self) -> tuple[Variable, ...]:
        """Layout of w: its named pieces in order, with dims and shapes."""

    def sample_losses(self, w: Vector) -> jax.Array:
        """Losses l_i(w) of shape (n,), one a sample, whose mean is L(w)."""
        raise _check.ArgumentError(
            f"`sample_losses` is not defined for {type(self).__name__}; it has no samples: use a problem with data, or "
            "CustomProblem(..., sample_losses=...)"
        )

    @property
    def sample_count(self) -> int | None:
        """Number n of samples; None for a loss without samples."""
        if type(self).sample_losses is Problem.sample_losses:
            return None
        return jax.eval_shape(self.sample_losses, jax.ShapeDtypeStruct((self.size,), jnp.float64)).shape[0]

    def batch_losses(self, w: Vector, index: jax.Array) -> jax.Array:
        """``sample_losses(w)[index]`` of shape (B,), at the cost of B samples where the data can be cut."""
        return self.sample_losses(w)[index]

    @property
    def gaussian_factor(self) -> jax.Array | None:
        """Constant G (P, m) of a gradient noise that is Gaussian by definition; None where it comes from samples."""
        return None

    @property
    def fresh_numbers(self) -> int:
        """Normals that one fresh sample takes, where samples are drawn from a law; 0 where they are given."""
        return 0

    def fresh_losses(self, w: Vector, numbers: jax.Array) -> jax.Array:
        """Losses of B fresh samples, made of `numbers` of shape (B, fresh_numbers); their expectation is the loss."""
        raise _check.ArgumentError(f"`fresh_losses` is not defined for {type(self).__name__}; it draws no samples")

    @property
    def noise_dim(self) -> int:
        """Columns of the noise factor G(w), the Brownian motions of an equation that it drives; 0 without noise."""
        if self.fresh_numbers:
            return self.fresh_numbers
        factor = self.gaussian_factor
        return int(self.sample_count or 0) if factor is None else factor.shape[1]

    @property
    def fresh_noise(self) -> FreshNoise | None:
        """Law of fresh samples with exact moments, where it is known."""
        return None

    def grad(self, w: Vector) -> jax.Array:
        """Gradient of the loss, shape (P,)."""
        return jax.grad(self.loss)(jnp.asarray(w))

    def hessian(self, w: Vector) -> jax.Array:
        """Hessian of the loss, shape (P, P)."""
        return jax.hessian(self.loss)(jnp.asarray(w))

    def hvp(self, w: Vector, v: Vector) -> jax.Array:
        """Hessian-vector product H(w) v, shape (P,), at the cost of two gradients."""
        return jax.jvp(jax.grad(self.loss), (jnp.asarray(w),), (jnp.asarray(v),))[1]

    def sample_grads(self, w: Vector) -> jax.Array:
        """Per-sample gradients, shape (n, P)."""
        return jax.jacrev(self.sample_losses)(jnp.asarray(w))

    def noise_factor(self, w: Vector) -> jax.Array:
        """G(w) of shape (P, n) with G G^T = noise_cov(w): no matrix root is taken."""
        grads = self.sample_grads(w)
        return (grads - grads.mean(axis=0)).T / jnp.sqrt(grads.shape[0])

    def noise_product(self, w: Vector, z: Vector) -> jax.Array:
        """``G(w) z`` for z of shape (n,), by one gradient of a weighted sum: G itself is not formed."""
        weights = (z - jnp.mean(z)) / jnp.sqrt(z.shape[0])
        return jax.grad(lambda v: jnp.sum(weights * self.sample_losses(v)))(jnp.asarray(w))

    def noise_cov(self, w: Vector) -> jax.Array:
        """Covariance over samples of the per-sample gradients, shape (P, P)."""
        factor = self.noise_factor(w)
        return factor @ factor.T

    def observables(self, w: Vector) -> dict[str, Vector]:
        """Quantities kept beside w in every Dataset: the loss and the norm of its gradient."""
        value, grad = jax.value_and_grad(self.loss)(w)
        return {"loss": value, "grad_norm": jnp.linalg.norm(grad)}

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Layout of :meth:`observables`, in the same order."""
        return (Variable("loss", (), (), "loss L(w)"), Variable("grad_norm", (), (), "Euclidean norm of the gradient"))

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """A small problem of this class and a start (P,): what the contract tests run."""
        raise NotImplementedError(f"{cls.__name__} has no example; define example() -> (problem, start)")

    def __repr__(self) -> str:
        return shown_call(type(self).__name__, self.numbers)

    @property
    def numbers(self) -> dict[str, Any]:
        """What tells this problem from others of its class, for its `repr`."""
        return {"parameters": self.size}

    @property
    def size(self) -> int:
        """Number P of parameters, the length of flat w."""
        return sum(v.size for v in self.variables)

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Labels along the problem's dimensions, e.g. feature names."""
        return {}

    @property
    def arrays(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """Array fields that travel in the file: field -> (dims, long name)."""
        return {}

    @property
    def target_name(self) -> str:
        """Name of what is predicted, where the data say so."""
        return ""

    @property
    def citation(self) -> str:
        """Where the loss comes from, as a file's references say it."""
        return ""

    def config(self) -> dict[str, Any]:
        """Constructor arguments that make this problem again (labels aside)."""
        return {name: value for name, value in vars(self).items() if not isinstance(value, Labels)}

    @property
    def linear_work(self) -> GradientWork | None:
        """What :meth:`linear_gradients` takes, inf operations if too many; None where none are known."""
        return None

    def linear_gradients(self) -> SampleGradients | None:
        """Sample gradients A_i w - b_i where they are known to be linear in w, and not too many; else None."""
        return None

    def known_spectrum(self) -> Spectrum | None:
        """The :meth:`spectrum` if it has been computed already, else None."""
        return None

    def spectrum(self) -> Spectrum | None:
        """Eigenbasis where the loss is quadratic, else None."""
        return None

    def exact_flow(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
        """Return ``flow(w0, t)``, the gradient-flow states (T, P) at times t (T,), where it is known, else None."""
        return None

    def lacks_exact_flow(self, w0: np.ndarray) -> str | None:
        """Why :meth:`exact_flow` does not hold from flat w0, in words that end a sentence; None where it does."""
        return None

    def unravel(self, w: Any) -> Any:
        """Parameters as a user's own function sees them, from flat ones or from a Dataset at one time.

        They are flat here, and a pytree for custom problems: ``problem.unravel(run.isel(t=-1))`` is the trained model.
        """
        return flat_parameters("w", w, self.variables, self.coords)

    def ravel(self, w: Any) -> np.ndarray:
        """Flat float64 vector (P,) from a flat array, a mapping of variable names to arrays or a Dataset."""
        return ravel_variables("w0", w, self.variables, self.coords)


def predictor_variable(d: int) -> Variable:
    """Layout of the linear predictor theta in R^d, an observable of the overparametrised models."""
    return Variable("theta", ("feature",), (d,), "linear predictor theta")
