"""Functionals of the state: the problem's own observables and a user's, and the stop rules built on them.

margin(state) = max over rules of  threshold - value  ("<")  or  value - threshold  (">"):   >= 0 means stop
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import ByIdentity, bind, map_blocks, map_in_turn, map_rows, padded
from flowdyn._tools.stacked import bind_stack, padded_batch, stack
from flowdyn.methods.systems import OnProblem, System
from flowdyn.observables import Observable
from flowdyn.problems.base import Variable, Vector
from flowdyn.solvers.base import Stop

LONG_ROW, CACHED = 4096, 1 << 23  # numbers of a state worth a turn of its own, and bytes of states in the caches
TAKEN = ("t", "k", "eta", "realization", "start", "status", "t_stop")


def _seen(system: System) -> Any:
    """What the observables depend on: systems that agree in it share one compiled program."""
    own = type(system).observables is OnProblem.observables and type(system).project is System.project
    return system.on_problem if own else system


def _own(seen: Any, state: jax.Array) -> dict[str, Vector]:
    return seen.observables(state)


def _projected(system: System, state: jax.Array) -> Vector:
    return system.project(state)


def _observed(system: System, function: Callable, state: Any) -> Any:
    """Flat parameters for our own observables, the user's view of them for a user's function."""
    return function(system.project(state) if isinstance(function, Observable) else system.as_user_sees(state))


def _rules(system: System, spec: tuple, state: jax.Array, thresholds: jax.Array) -> jax.Array:
    """Margin of each rule; `spec` is a tuple of (observable name or user function, sign)."""
    own = system.observables(state)
    values = [own[what] if isinstance(what, str) else _observed(system, what, state) for what, _ in spec]
    signs = jnp.array([sign for _, sign in spec])
    return signs * (jnp.stack([jnp.asarray(v, dtype=float).reshape(()) for v in values]) - thresholds)


def _margin(system: System, spec: tuple, state: jax.Array, thresholds: jax.Array) -> jax.Array:
    return jnp.max(_rules(system, spec, state, thresholds))


def _all_rules(system: System, spec: tuple, states: jax.Array, thresholds: jax.Array) -> jax.Array:
    return jax.vmap(lambda state: _rules(system, spec, state, thresholds))(states)


def _viewed(function: Callable, system: System, state: jax.Array) -> jax.Array:
    return jnp.asarray(_observed(system, function, state))


def rows_of_many(observers: "Sequence[Observer]", states: np.ndarray) -> dict[str, np.ndarray]:
    """Observables (B, T, ...) of states (B, T, S), of systems of one form whose observers :attr:`Observer.joins`."""
    first, filled = observers[0], padded_batch(range(len(observers)))
    kernels: list[tuple[list, tuple]] = []
    if first.system.observable_variables:
        kernels.append(([_seen(observers[b].system) for b in filled], (_own_rows,)))
    if first.functions:
        functions = tuple((name, ByIdentity(f, kernel=_viewed)) for name, f in first.functions.items())
        kernels.append(([observers[b].system for b in filled], (_user_rows, functions)))
    found: dict[str, np.ndarray] = {}
    for modules, (kernel, *statics) in kernels:
        rows = bind_stack(kernel, stack(modules), (0,), *statics)(states[filled])
        found |= {name: np.array(values, dtype=np.float64)[: len(observers)] for name, values in rows.items()}
    return found


def map_states(function: Callable, module: Any, states: np.ndarray) -> Any:
    """Apply `function(module, state)` to states (R, S): in turn where all at once would leave the caches.

    That takes a third of the time, and of the memory.
    """
    in_turn = states.shape[-1] >= LONG_ROW and states.nbytes > CACHED
    return (map_in_turn if in_turn else map_rows)(function, module, states)


def _own_rows(seen: Any, states: jax.Array) -> dict[str, Vector]:
    return jax.vmap(seen.observables)(states)


def _user_rows(system: System, functions: tuple, states: jax.Array) -> dict[str, Any]:
    return {name: jax.vmap(lambda state, f=function: f(system, state))(states) for name, function in functions}


class Observer:
    """The observables of one run, their layout, and how they are computed for many states."""

    def __init__(self, system: System, observe: Mapping[str, Callable] | None, state0: np.ndarray):
        self.system, self.state0 = system, state0
        self.functions = dict(observe or {})
        self.traceable = system.is_traceable(state0)
        # a member's observables are the same bits in an ensemble of any size
        self.map = map_blocks if system.is_random else map_in_turn if system.one_at_a_time else map_states
        own = system.observable_variables
        recorded = {v.name for v in own}
        # an observable of ours that the system records anyhow (margins on the normalised clock) is one and the same
        self.functions = {
            name: function
            for name, function in self.functions.items()
            if not (isinstance(function, Observable) and name in recorded)
        }
        pieces = (*system.layout(state0.size), *own)
        data = system.on_problem.arrays.values() if system.on_problem else ()
        dims = {dim for over in (*(v.dims for v in pieces), *(over for over, _ in data)) for dim in over}
        taken = {v.name for v in pieces} | dims | set(TAKEN)
        for name, function in self.functions.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise _check.fail("observe", "must map names (letters, digits, underscore) to functions", name)
            if name in taken:
                way_out = "leave it out if it is the same, or call it something else"
                raise _check.fail("observe", "must not reuse a name of the Dataset", name, way_out)
            _check.function(f"observe[{name!r}]", function, "of the parameters, g(w)", 1)
        self.variables = (*own, *(self._layout(name) for name in self.functions))

    def _layout(self, name: str) -> Variable:
        function = self.functions[name]
        try:
            value = self._at_start(function)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            if isinstance(error, _check.ArgumentError):
                raise
            reason = _check.Words(f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")
            rule = "must be a function of the parameters, defined at the start"
            raise _check.fail(f"observe[{name!r}]", rule, reason) from error
        if isinstance(function, Observable):
            return self._fitting(function.variable(name, value))
        if value.dtype.kind not in "biuf":
            raise _check.fail(f"observe[{name!r}]", "must return real numbers", value)
        dims = tuple(f"{name}_dim_{axis}" for axis in range(value.ndim))
        return Variable(name, dims, value.shape, f"observable {name}")

    def _at_start(self, function: Callable) -> Any:
        """Value at the start; of a shared computation, which may be long, its shape alone."""
        if isinstance(function, Observable) and function.shared is not None and self.traceable:
            return jax.eval_shape(lambda state: function(self.system.project(state)), self.state0)
        return self._user_rows(function, self.state0[None])[0]

    def _fitting(self, found: Variable) -> Variable:
        """Refuse an observable made for a problem of another size."""
        known = {d: n for v in self.system.layout(self.state0.size) for d, n in zip(v.dims, v.shape, strict=True)}
        for dim, size in zip(found.dims, found.shape, strict=True):
            if known.get(dim, size) != size:
                raise _check.fail(
                    f"observe[{found.name!r}]",
                    f"must be made for the system's problem, whose `{dim}` has {known[dim]} entries",
                    _check.Words(f"{size} of them"),
                )
        return found

    def _user_rows(self, function: Callable, states: np.ndarray) -> np.ndarray:
        if not self.traceable:
            return np.array([np.asarray(_observed(self.system, function, state)) for state in states])
        try:
            return self.map(ByIdentity(function, kernel=_viewed), self.system, states)
        except jax.errors.JAXTypeError as error:
            raise _check.ArgumentError(
                f"`observe` functions must be written with jax.numpy, got {str(error).splitlines()[0]}"
            ) from None

    def rows(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """Values of all observables for states (R, S), one row each."""
        if not len(states):
            return {v.name: np.empty((0, *v.shape)) for v in self.variables}
        own = self.map(_own, _seen(self.system), states) if self.system.observable_variables else {}
        found: dict[int, dict[str, np.ndarray]] = {}  # what several observables share is computed once
        for name, function in self.functions.items():
            if not (isinstance(function, Observable) and function.shared is not None and self.traceable):
                own[name] = self._user_rows(function, states)
                continue
            shared = function.shared
            if id(shared) not in found:
                path = map_rows(_projected, self.system, states)
                found[id(shared)] = shared.along(path, remembers=not self.system.is_random)
            own[name] = np.asarray(function.part(found[id(shared)]), dtype=np.float64)
        return own

    @property
    def joins(self) -> bool:
        """Whether it can be computed for many systems in one program."""
        shares = any(isinstance(f, Observable) and f.shared is not None for f in self.functions.values())
        return self.traceable and not shares and not self.system.one_at_a_time

    def stop_rules(self, asked: Mapping[str, tuple[str, float]] | None) -> Stop | None:
        """Margins of the rules of `stop`, whose form has been checked."""
        if not asked:
            return None
        names = [v.name for v in self.variables if not v.shape]
        spec, thresholds, words = [], [], []
        for name, rule in asked.items():
            _check.choice("stop", name, names, f"`observe={{{name!r}: g}}` records more")
            spec.append((self.functions.get(name, name), 1.0 if rule[0] == ">" else -1.0))
            thresholds.append(float(rule[1]))
            words.append(f"{name} {rule[0]} {thresholds[-1]:g}")
        sides = np.array([side for _, side in spec])
        limits = np.nextafter(thresholds, sides * np.inf)  # a rule does not hold yet where they are equal
        limits = np.where(np.array(thresholds) == 0, sides * np.finfo(float).tiny, limits)
        if self.traceable:
            compiled = bind(_all_rules, self.system, tuple(spec))

            def rules(states: np.ndarray) -> np.ndarray:
                return np.asarray(compiled(padded(states), limits))[: len(states)]
        else:

            def rules(states: np.ndarray) -> np.ndarray:
                values = [[float(_observed(self.system, what, s)) for what, _ in spec] for s in states]  # type: ignore[arg-type]
                return np.array([sign for _, sign in spec]) * (np.array(values) - limits)

        return Stop(rules, _margin, _rules, tuple(spec), limits, " or ".join(words))
