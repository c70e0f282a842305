"""What a result can do by itself:  ds.flowdyn.plot(), .order, .recipe, .rebuild(), .unravel(like).

Each is a function of the package on this Dataset, loaded when it is called; xarray knows the name as soon as a public
name has loaded xarray.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.results.dataset import check_kind
from flowdyn.results.sealed_recipe import recipe_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from flowdyn.methods.systems import System
    from flowdyn.plotting.figures import Kind

LADDERS = ("ladder", "weak ladder", "strong ladder")


class Order(NamedTuple):
    """The order of a ladder: fitted, with its 95 % interval, and as theory expects it; arrays over observables."""

    fitted: float | np.ndarray
    interval: np.ndarray  # (2,) or (observables, 2)
    expected: float | np.ndarray


@xr.register_dataset_accessor("flowdyn")
class ResultAccessor:
    """``ds.flowdyn`` of a run or a ladder."""

    def __init__(self, ds: xr.Dataset):
        self._ds = ds

    def plot(self, ax: "Axes | None" = None, *, kind: "Kind | None" = None) -> "Figure":
        """The figure that suits it, as :func:`flowdyn.plot` draws it."""
        from flowdyn.plotting.figures import plot

        return plot(self._ds, ax, kind=kind)

    @property
    def order(self) -> Order:
        """The order of a ladder with its interval and the expected one."""
        check_kind(self._ds, (*LADDERS, "dimension ladder"), "a run has no order: eta_limit(...) makes a ladder")
        fitted, interval, expected = (
            np.asarray(self._ds[name].values) for name in ("order", "order_interval", "order_expected")
        )
        return Order(fitted[()], interval, expected[()])

    @property
    def recipe(self) -> dict[str, Any]:
        """How it was made (system, solver, options), after a look at its checksum."""
        check_kind(self._ds, ("run", *LADDERS), "select one node of a tree: tree[name].to_dataset()")
        return recipe_of(self._ds)

    def rebuild(self, **functions: Any) -> "tuple[System, Any, dict[str, Any]]":
        """The system, start and options that make it again, as :func:`flowdyn.rebuild` returns them."""
        from flowdyn.convergence.rebuilding import rebuild

        return rebuild(self._ds, **functions)

    def unravel(self, like: Any) -> Any:
        """Parameters at one time as `like` has them: a problem, or a pytree (a network) of the same structure."""
        from flowdyn.problems.base import Problem
        from flowdyn.problems.tree_layout import tree_of_dataset

        if like is None:
            raise _check.fail("like", "must be a problem or a pytree like the parameters", like, "e.g. the network")
        return like.unravel(self._ds) if isinstance(like, Problem) else tree_of_dataset(like, self._ds)
