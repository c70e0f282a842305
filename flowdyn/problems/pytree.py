"""Parameters that are any pytree (a dict, an Equinox or Flax model), laid out as one flat vector with named pieces."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import cast_tree
from flowdyn._tools.user_calls import not_traceable
from flowdyn.problems.base import Problem, Variable, Vector
from flowdyn.problems.named_pieces import is_dataset, shown_layout
from flowdyn.problems.tree_layout import numbers_of, ravel_tree, tree_variables, unravel_tree


class PytreeProblem(Problem):
    """Base of problems whose parameters are a user's pytree.

    The inexact arrays of `w0_like` are the parameters, cast to float64; its other leaves are carried along unchanged.
    `data` are array leaves: they are neither baked into the compiled code nor compiled anew.
    """

    w0_like: Any
    data: Any

    def _set(self, w0_like: Any, data: Any) -> None:
        if is_dataset(w0_like):
            way_out = "a Dataset goes into problem.unravel(run.isel(t=-1)), which gives parameters like `w0_like`"
            raise _check.fail("w0_like", "must be an example of the parameters", _check.Words("a Dataset"), way_out)
        self.w0_like = cast_tree("w0_like", w0_like)
        self.data = cast_tree("data", data)
        if not sum(leaf.size for leaf in jax.tree.leaves(numbers_of(self.w0_like))):
            raise _check.fail("w0_like", "must hold at least one real number (1.0, not 1)", w0_like)

    def _call(self, function: Callable, w: Vector) -> Any:
        """``function(tree)``, or ``function(tree, data)`` where data were given."""
        tree = self.unravel(jnp.asarray(w))
        return function(tree) if self.data is None else function(tree, self.data)

    def _check_output(self, name: str, function: Callable, ndim: int) -> None:
        """Refuse a function that JAX cannot trace, or whose output has the wrong shape, before anything runs."""
        form = f"{name}(w)" if self.data is None else f"{name}(w, data)"
        _check.function(name, function, form, 1 if self.data is None else 2)
        try:
            out = jax.eval_shape(lambda w: self._call(function, w), jax.ShapeDtypeStruct((self.size,), jnp.float64))
        except jax.errors.JAXTypeError as error:
            raise not_traceable(name, error) from None
        except _check.FlowdynError:
            raise
        except Exception as error:  # whatever it raises on parameters that are not those it was written for
            raise self._misfit(form, error) from error
        if getattr(out, "ndim", None) != ndim or not jnp.issubdtype(out.dtype, jnp.floating):
            kind = "a real scalar" if ndim == 0 else "a real vector (n,), one value a sample"
            raise _check.fail(name, f"must return {kind}", out)

    def _misfit(self, form: str, error: Exception) -> _check.ArgumentError:
        """The error for parameters that a function cannot be called with."""
        given, first = self.w0_like, (str(error).splitlines() or [""])[0]
        numbers = isinstance(given, list | tuple) and all(getattr(part, "ndim", None) == 0 for part in given)
        if numbers and isinstance(error, TypeError):
            rule = f"must be an array where {form} computes with it as one ({first})"
            found = _check.Words(f"a {type(given).__name__} of {len(given)}")
            way_out = "np.array([...]); a list stays the list of parameters that it is"
            return _check.fail("w0_like", rule, found, way_out)
        rule = f"({shown_layout(self.variables)}) must be parameters that {form} can be called with"
        found = _check.Words(f"{type(error).__name__}: {first}")
        return _check.fail("w0_like", rule, found, "the function's own traceback stands above")

    def init(self) -> np.ndarray:
        """The example `w0_like` as one flat vector (P,)."""
        return self.ravel(self.w0_like)

    def unravel(self, w: Any) -> Any:
        """Pytree like `w0_like` with the parameters of flat w (P,), or of a Dataset at one time."""
        return unravel_tree(self.w0_like, super().unravel(w))

    def ravel(self, w: Any) -> np.ndarray:
        """Flat vector from a pytree like `w0_like`, a flat array, a mapping of variable names, or a Dataset."""
        return ravel_tree("w0", w, self.w0_like, self.variables)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One variable a leaf, named by its path in the pytree."""
        return tree_variables(self.w0_like)
