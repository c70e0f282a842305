"""Any loss that JAX can differentiate:  L(w) = loss(w)  or  loss(w, data),  w any pytree."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from flowdyn import _check
from flowdyn.problems.base import Vector
from flowdyn.problems.pytree import PytreeProblem


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
    Gradients are those of automatic differentiation. Source: of our own; the pytrees are JAX's (Bradbury et al., 2018).

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

    def _check_mean(self) -> None:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((self.w0_like, self.data))):
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

    def sample_losses(self, w: Vector) -> jax.Array:
        """The user's losses per sample, shape (n,)."""
        return super().sample_losses(w) if self.samples is None else self._call(self.samples, w)

    def config(self) -> dict[str, Any]:
        """Arguments that build it again, the functions among them: these do not travel in a file."""
        names = {"loss": self.function, "w0_like": self.w0_like, "data": self.data}
        return names | ({} if self.samples is None else {"sample_losses": self.samples})
