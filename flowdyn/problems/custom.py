"""Any loss that JAX can differentiate:  L(w) = loss(w)  or  loss(w, data),  w any pytree."""

import contextlib
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import is_traced
from flowdyn.problems.base import Vector
from flowdyn.problems.examples import generic_start
from flowdyn.problems.linear_gradients import loss_work, quadratic_losses
from flowdyn.problems.pytree import PytreeProblem
from flowdyn.theory.linear_moments import LinearNoise
from flowdyn.theory.moments_work import GradientWork


def _differentiates_forwards(problem: "CustomProblem", size: int) -> bool:
    """Whether JAX can follow a gradient forwards: not where the loss has a rule of its own backwards."""
    one, two = (jax.ShapeDtypeStruct((*several, size), float) for several in ((), (2,)))
    try:  # along several directions: along one alone JAX refuses no earlier than it compiles
        jax.eval_shape(jax.vmap(super(CustomProblem, problem).hvp, (None, 0)), one, two)
    except TypeError:
        return False
    return True


def _quartic(w: dict[str, jax.Array]) -> jax.Array:
    """A product fitted to 1, with a penalty that makes it coercive."""
    return 0.5 * (w["a"] ** 2 * w["b"] - 1) ** 2 + 0.1 * (w["a"] ** 4 + w["b"] ** 4)


class CustomProblem(PytreeProblem):
    r"""Any scalar loss that JAX can differentiate, of any pytree of parameters.

    .. math:: L(w) = \mathrm{loss}(w) \quad\text{or}\quad \mathrm{loss}(w, \mathrm{data})

    Parameters
    ----------
    loss : callable
        ``loss(w)`` or, where `data` are given, ``loss(w, data)``; returns a real scalar; written with jax.numpy.
    w0_like : pytree of float arrays
        An example of the parameters; its inexact arrays are the parameters, cast to float64.
    data : pytree of arrays, optional
        Handed to every call; new data of the same shape do not compile anew.
    sample_losses : callable, optional
        Same arguments; returns the losses per sample, shape (n,), whose mean is the loss. Needed for SGD's noise.

    Raises
    ------
    ArgumentError
        If the loss is not a real scalar, cannot be traced, or is not the mean of `sample_losses`.

    Notes
    -----
    Gradients are those of automatic differentiation. Where the losses per sample are polynomials of degree 2, SGD and
    its equations have exact moments. Source: of our own; the pytrees are JAX's (Bradbury et al., 2018).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.CustomProblem(lambda w: 0.5 * w["a"] ** 2 + w["b"] ** 4, {"a": 1.0, "b": 0.5})
    >>> run = fd.solve(fd.GradientFlow(p), p.init(), t=1.0)
    >>> round(float(run.a.isel(t=-1).item()), 6)  # exp(-1)
    0.367879
    """

    function: Callable
    samples: Callable | None

    def __init__(self, loss: Callable, w0_like: Any, data: Any = None, sample_losses: Callable | None = None):
        self._set(w0_like, data)
        self.function = loss
        self.samples = sample_losses
        self._check_output("loss", loss, 0)
        if sample_losses is not None:
            self._check_output("sample_losses", sample_losses, 1)
            self._check_mean()

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Loss of two named parameters without samples."""
        return cls(_quartic, {"a": 1.2, "b": 0.3}), generic_start(2)

    @property
    def sample_count(self) -> int | None:
        """Number of `sample_losses`, where they are given."""
        return None if self.samples is None else super().sample_count

    @property
    def numbers(self) -> dict[str, Any]:
        """The loss and the number of parameters."""
        return {"loss": self.function, **super().numbers}

    def _check_mean(self) -> None:
        if any(is_traced(leaf) for leaf in jax.tree.leaves((self.w0_like, self.data))):
            return
        whole, mean = float(self.loss(self.init())), float(self.sample_losses(self.init()).mean())
        if not np.isclose(whole, mean, rtol=1e-8, atol=1e-12):
            raise _check.ArgumentError(
                f"`sample_losses` must have the loss as their mean, got mean {mean:.6g} and loss {whole:.6g}; "
                "scale them (for a sum of n terms, multiply each by n)"
            )

    def loss(self, w: Vector) -> jax.Array:
        """The user's loss at flat w."""
        return self._call(self.function, w)

    def hvp(self, w: Vector, v: Vector) -> jax.Array:
        """Hessian-vector product H(w) v, shape (P,); backwards alone where the loss has a rule of its own for that."""
        if not (is_traced(w) or is_traced(v)):  # what a program would refuse later is refused at once
            with contextlib.suppress(TypeError):
                return super().hvp(w, v)
        elif _differentiates_forwards(self, np.size(w)):
            return super().hvp(w, v)
        return jax.vjp(jax.grad(self.loss), jnp.asarray(w))[1](jnp.asarray(v))[0]

    def hessian(self, w: Vector) -> jax.Array:
        """Hessian of the loss, shape (P, P)."""
        with contextlib.suppress(TypeError):
            return super().hessian(w)
        return jax.jacrev(jax.grad(self.loss))(jnp.asarray(w))

    def sample_losses(self, w: Vector) -> jax.Array:
        """The user's losses per sample, shape (n,)."""
        return super().sample_losses(w) if self.samples is None else self._call(self.samples, w)

    @property
    def linear_work(self) -> GradientWork | None:
        """Of the second derivatives of the losses per sample, where these are quadratic."""
        return None if self.samples is None else loss_work(self)

    def linear_gradients(self) -> LinearNoise | None:
        """Sample gradients where the losses per sample are polynomials of degree 2."""
        return None if self.samples is None else quadratic_losses(self)

    def config(self) -> dict[str, Any]:
        """Arguments that build it again, the functions among them: these do not travel in a file."""
        names = {"loss": self.function, "w0_like": self.w0_like, "data": self.data}
        return names | ({} if self.samples is None else {"sample_losses": self.samples})
