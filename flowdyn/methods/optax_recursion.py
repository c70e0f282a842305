"""Any optimiser of optax as a recursion:  (w, s)_{k+1} = (w + u, s'),  u, s' = update(grad L(w), s, w),  t = eta k

The state s of the optimiser is made of arrays (moments, traces) and of counts of steps. Arrays are pieces of the
recursion's state, under the names that optax gives them; counts are the clock, k + t0/eta, a real number.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import Scalar, is_traced, leaf
from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.following import slope_of
from flowdyn.methods.optax_state import begun, made, moving_leaves, named_arrays, not_counts, updated, with_arrays
from flowdyn.methods.systems import OnProblem, checked_problem
from flowdyn.problems.base import Problem, Time, Variable, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.problems.tree_layout import is_number, numbers_of
from flowdyn.schedules import Schedule, as_schedule


class _Descent(NamedTuple):
    """Plain descent, as optax would write it."""

    eta: Any

    def init(self, params: Any) -> Any:
        """No state."""
        return ()

    def update(self, grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        """Minus eta times the gradient."""
        return jax.tree.map(lambda g: -self.eta * g, grads), state


class Optax(OnProblem, DiscreteSystem):
    r"""An optimiser of optax; its limits of every order come from its update.

    .. math:: w_{k+1} = w_k + u_k, \qquad u_k, s_{k+1} = \mathrm{update}(\nabla L(w_k), s_k, w_k), \qquad t = \eta k

    Parameters
    ----------
    problem : Problem
        What is minimised.
    factory : callable
        ``factory(h)`` returns the optax.GradientTransformation of step size h: ``lambda h: optax.sgd(h)``. Rates of
        moments must follow h, ``decay=1 - c*h``: with fixed ones the optimiser has no limit. Schedules are written
        over ``h * count``, the training time.
    eta : float
        Step size h, positive.
    t0 : float
        Training time spent before the start: counts begin at t0/eta (bias corrections that are over, a warm start).
    moments : mapping of str to array_like of float, shape (...), optional
        Start of pieces of the optimiser's state, by the names that they have in a Dataset (``nu``, ``trace``); the
        others start as optax has them.

    Raises
    ------
    ArgumentError
        If `factory` does not return a deterministic optimiser whose state is made of arrays and step counts, or a name
        of `moments` is none of its pieces; by :func:`flowdyn.solve` and :func:`flowdyn.eta_limit`, if a limit does not
        exist.

    Notes
    -----
    ``limit(order)`` is a :class:`RecursionFlow`. Rates that an optimiser keeps in its state (``inject_hyperparams``)
    are functions of eta and no part of the recursion's. optax itself is only needed by the factory. Source: Babuschkin
    et al. (2020) for optax; Hairer, Lubich and Wanner (2006), section IX.1, for the limits.

    Examples
    --------
    >>> import flowdyn as fd
    >>> import optax
    >>> def rmsprop(h):
    ...     return optax.rmsprop(h, decay=1 - 2 * h, eps=0.05, initial_scale=0.3)
    >>> method = fd.Optax(fd.problems.Quadratic(1.0), rmsprop, eta=0.02)
    >>> ladder = fd.eta_limit(method, [1.0], t=1.0, order=1)
    >>> round(float(ladder.order), 1), "nu" in ladder
    (2.0, True)
    """

    problem: Problem
    factory: Callable
    eta: Schedule
    t0: jax.Array
    moments: dict[str, jax.Array]
    is_users: ClassVar[bool] = True
    of_time: ClassVar[str] = (
        "write a schedule over the training time: optax.sgd(lambda n: h * optax.cosine_decay_schedule(1.0, T)(h * n)), "
        "T a time; rates of moments as 1 - c*h"
    )
    summary: ClassVar[str] = "an optimiser of optax"

    def __init__(
        self,
        problem: Problem,
        factory: Callable,
        eta: Scalar,
        *,
        t0: Scalar = 0.0,
        moments: Mapping[str, Any] | None = None,
    ):
        self.problem = checked_problem(problem)
        self.factory = _check.function("factory", factory, "factory(h)", 1)
        self.eta = as_schedule("eta", eta)
        self.t0 = leaf("t0", t0, ndim=0)
        if is_traced(self.eta(jnp.asarray(0))):
            self.moments = dict(moments or {})
            return
        self.constant_eta("an optimiser of optax")
        if self.t0 < 0:
            raise _check.fail("t0", "must not be negative", t0)
        self.moments = self._checked_moments(moments or {})
        self._check_update()

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Plain descent on a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, _Descent, eta=0.01), w0

    def config(self) -> dict[str, Any]:
        """Arguments that build it again, the factory among them: functions do not travel in a file."""
        found = {"problem": self.problem, "factory": self.factory, "eta": self.eta, "t0": self.t0}
        return found | ({"moments": self.moments} if self.moments else {})

    @property
    def numbers(self) -> dict[str, Any]:
        """The arguments; the step size is its number."""
        return {"problem": self.problem, "factory": self.factory, "eta": self.constant_eta("its limit"), "t0": self.t0}

    def _optimiser(self) -> Any:
        return made(self.factory, self.eta(jnp.asarray(0)))

    def _moving(self) -> tuple[bool, ...]:
        """Which leaves of the optimiser's state are arrays of the recursion's state."""
        return moving_leaves(self.factory, self._params_like())

    def _params(self, w: Vector) -> Any:
        return numbers_of(self.problem.unravel(jnp.asarray(w)))

    def _pieces(self) -> list[tuple[Variable, Any]]:
        """The arrays of the optimiser's state: their layout, and the leaf that each is."""
        flat = jax.ShapeDtypeStruct((self.problem.size,), jnp.float64)
        state = jax.eval_shape(lambda w: begun(self._optimiser(), self._params(w)), flat)
        return named_arrays(state, self._moving(), self._params_like(), self.problem.variables)

    def _params_like(self) -> Any:
        return jax.eval_shape(lambda w: self._params(w), jax.ShapeDtypeStruct((self.problem.size,), jnp.float64))

    def layout(self, size: int) -> tuple[Variable, ...]:
        """The problem's variables, then the arrays of the optimiser's state."""
        return (*self.problem.variables, *(v for v, _ in self._pieces()))

    def lift(self, w0: Vector) -> Vector:
        """The parameters with the optimiser's own start, or the moments given."""
        w = jnp.asarray(w0)
        arrays = named_arrays(
            begun(self._optimiser(), self._params(w)), self._moving(), self._params_like(), self.problem.variables
        )
        started = [jnp.ravel(jnp.asarray({v.name: x, **self.moments}[v.name], dtype=jnp.float64)) for v, x in arrays]
        return jnp.concatenate([w, *started])

    def project(self, state: Vector) -> Vector:
        """The parameters: the head of the state."""
        return state[: self.problem.size]

    def _updated(self, k: Any, state: Vector) -> tuple[Vector, Vector]:
        """Change of the parameters, and the next arrays of the optimiser's state."""
        w, arrays = state[: self.problem.size], state[self.problem.size :]
        optimiser, params = self._optimiser(), self._params(w)
        count = k + self.t0 / self.eta(jnp.asarray(0))
        moving = self._moving()
        own = with_arrays(begun(optimiser, params), moving, arrays, count)
        updates, after = updated(optimiser, self._params(self.problem.grad(w)), own, params)
        change = [jnp.ravel(x) for x in jax.tree.leaves(updates) if is_number(x)]
        kept = [jnp.ravel(x) for x, moves in zip(jax.tree.leaves(after), moving, strict=True) if moves]
        return jnp.concatenate(change), jnp.concatenate([*kept, jnp.zeros(0)])

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """The optimiser's update."""
        change, arrays = self._updated(k, jnp.asarray(state))
        return jnp.concatenate([state[: self.problem.size] + change, arrays])

    def slope(self, k: Time, state: Vector) -> Vector:
        """``(S(z) - z)/h``: the update itself over h, and a difference for the arrays of the optimiser's state."""
        change, arrays = self._updated(k, jnp.asarray(state))
        difference = jnp.concatenate([change, arrays - state[self.problem.size :]]) / self.time_step
        return slope_of(self.step_at, self.time_step, k, state, difference)

    def slope_rounding(self, state: np.ndarray) -> float:
        """As of any step."""
        return self.difference_rounding(state)

    def _checked_moments(self, moments: Mapping[str, Any]) -> dict[str, jax.Array]:
        shapes = {v.name: v.shape for v, _ in self._checked_pieces()}
        found = {}
        for name, value in moments.items():
            if name not in shapes:
                raise _check.fail("moments", f"must have names of the optimiser's arrays, {sorted(shapes)}", name)
            array = _check.real_array(f"moments[{name!r}]", value)
            if array.shape not in ((), shapes[name]):
                raise _check.fail(f"moments[{name!r}]", f"must have shape {shapes[name]}", array.shape)
            found[name] = jnp.broadcast_to(jnp.asarray(array), shapes[name])
        return found

    def _checked_pieces(self) -> list[tuple[Variable, Any]]:
        optimiser = self._optimiser()
        if not (callable(getattr(optimiser, "init", None)) and callable(getattr(optimiser, "update", None))):
            raise _check.fail("factory", "must return an optax.GradientTransformation", optimiser, "e.g. optax.sgd(h)")
        return self._pieces()

    def _check_update(self) -> None:
        """Refuse an optimiser that asks for more than a gradient, or whose counts do not count the steps."""
        optimiser, params = self._optimiser(), self._params(jnp.cos(1.0 + jnp.arange(self.problem.size)))
        state = begun(optimiser, params)
        paths, _ = jax.tree_util.tree_flatten_with_path(state)
        counted = 5.0  # as if five steps had been taken
        moving = self._moving()
        size = sum(x.size for (_, x), moves in zip(paths, moving, strict=True) if moves)
        own = with_arrays(state, moving, jnp.full(size, 0.5), jnp.asarray(counted))
        ends = jax.tree_util.tree_flatten_with_path(updated(optimiser, params, own, params)[1])[0]
        for (path, x), (_, end) in zip(paths, ends, strict=True):
            if not is_number(x) and float(end) != counted + 1:
                raise not_counts(path, f"which went from {counted:g} to {float(end):g}")
