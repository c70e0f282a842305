r"""Averaged iterates around any system, a recursion or an equation, random or not.

    polyak   wbar_k = (1/t_k) sum_{j=1..k} h w_j           s_{k+1} = s_k + h w_{k+1},    s' = w,    wbar = s/t
    ema      e_{k+1} = e_k + kappa h (w_{k+1} - e_k)                                     e' = kappa (w - e)

The state is the system's own, then the integral s with its time t, or the average e. What is averaged are the
parameters, after each step; the average is what the system hands out as its parameters. In continuous time a step h
that is followed to second order moves the averages by half a step:  s' = w + (h/2) b,  e' = kappa ((w - e) (1 +
kappa h/2) + (h/2) b),  b the drift of w.
"""

from typing import Any, ClassVar, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.leaves import is_traced, leaf
from flowdyn.methods.wrapping import Around
from flowdyn.problems.base import Variable, Vector

Kind = Literal["polyak", "ema"]


class Averaging(Around):
    """A system with the average of its parameters."""

    references: ClassVar[str] = "Polyak and Juditsky (1992); Ruppert (1988)"

    method: eqx.AbstractVar[Any]
    average: eqx.AbstractVar[Kind]
    rate: eqx.AbstractVar[jax.Array | None]

    @property
    def suffix(self) -> str:
        """What names of averaged parameters end in."""
        return "mean" if self.average == "polyak" else "ema"

    def sizes(self, total: int) -> tuple[int, int]:
        """Entries of the system's state and of its parameters, in a state of `total` entries."""
        own = _fixed_size(self.method)
        if own is None:  # a vector of any length is its own parameters
            own = total // 2
        shape = jax.eval_shape(self.method.project, jax.ShapeDtypeStruct((own,), jnp.float64)).shape
        return own, shape[0]

    def split(self, state: Vector) -> tuple[Vector, Vector]:
        """The system's own state, and the integral or average."""
        own, size = self.sizes(state.shape[0])
        return state[:own], state[own : own + size]

    def layout(self, size: int) -> tuple[Variable, ...]:
        """The system's pieces, then those of the average."""
        own, _ = self.sizes(size)
        parameters = self.method.parameters(own)
        if self.average == "ema":
            return (*self.method.layout(own), *self._named(parameters))
        sums = (v._replace(name=f"{v.name}_integral", long_name=f"integral of {v.name} over t") for v in parameters)
        inner = self.method.layout(own)
        return (*inner, *sums, Variable(_unused("averaging_time", inner), (), (), "time that is averaged over"))

    def _named(self, parameters: tuple[Variable, ...]) -> tuple[Variable, ...]:
        text = "mean of {}" if self.average == "polyak" else "exponential average of {}"
        return tuple(v._replace(name=f"{v.name}_{self.suffix}", long_name=text.format(v.name)) for v in parameters)

    def parameters(self, size: int) -> tuple[Variable, ...]:
        """The averaged parameters."""
        return self._named(self.method.parameters(self.sizes(size)[0]))

    def lift(self, w0: Vector) -> Vector:
        """The system's start; nothing is averaged yet, or the average is the start."""
        w = jnp.asarray(w0)
        average = jnp.append(jnp.zeros_like(w), 0.0) if self.average == "polyak" else w
        return jnp.concatenate([jnp.asarray(self.method.lift(w0)), average])

    def project(self, state: Vector) -> Vector:
        """The averaged parameters; those of the system where nothing is averaged yet."""
        own, average = self.split(state)
        if self.average == "ema":
            return average
        time = state[-1]
        return jnp.where(time > 0, average / jnp.where(time > 0, time, 1.0), self.method.project(own))

    def as_user_sees(self, state: Vector) -> Any:
        """The averaged parameters, as the problem's own functions see them."""
        problem = self.method.on_problem
        return self.project(state) if problem is None else problem.unravel(self.project(state))

    @property
    def observable_variables(self) -> tuple[Variable, ...]:
        """Those of the system, the mean where it is no piece of the state, and the loss at the average."""
        found = (*self.method.observable_variables, *self._means)
        if self.method.on_problem is None:
            return found
        return (*found, Variable(self._loss_name, (), (), "loss at the averaged parameters"))

    @property
    def _loss_name(self) -> str:
        return _unused(f"loss_at_{self.suffix}", self.method.observable_variables)

    @property
    def _means(self) -> tuple[Variable, ...]:
        """The mean of all iterates, computed from the state."""
        return self.parameters(0) if self.average == "polyak" else ()

    def observables(self, state: Vector) -> dict[str, Vector]:
        """Those of the system at its own parameters, then what the average is and does."""
        found = dict(self.method.observables(self.split(state)[0]))
        problem, mean, variables = self.method.on_problem, self.project(state), self._means
        if variables:
            parts = jnp.split(mean, np.cumsum([v.size for v in variables])[:-1])
            found |= {v.name: part.reshape(v.shape) for v, part in zip(variables, parts, strict=True)}
        return found if problem is None else found | {self._loss_name: problem.loss(mean)}

    def check_start(self, state0: np.ndarray) -> None:
        """Refuse what the system refuses at its own state."""
        self.method.check_start(np.asarray(self.split(state0)[0]))

    def averaged_on(self, h: Any, after: Vector, state: Vector) -> jax.Array:
        """Integral with its time, or average, a step h after `state`, once the system's own state is `after`."""
        own, average = self.split(state)
        return state[own.shape[0] :] + h * self.slope_of_average(self.method.project(after), average)

    def slope_of_average(self, w: Vector, average: Vector) -> Vector:
        """Rate of change of the integral and its time, or of the average, at the parameters w."""
        if self.rate is None:
            return jnp.append(w, 1.0)
        return self.rate * (w - average)


def checked_average(kind: Any, rate: Any) -> tuple[Kind, jax.Array | None]:
    """The kind of an average and the rate that it needs, or none."""
    chosen = _check.choice("average", kind, get_args(Kind))
    if chosen == "polyak":
        if rate is not None:
            raise _check.fail("rate", "must be None for the mean of all iterates", rate, 'average="ema" has one')
        return chosen, None  # type: ignore[return-value]
    if not is_traced(rate):
        if rate is None:
            raise _check.fail("rate", "must be the rate kappa of an exponential average", rate, "1/kappa is its time")
        _check.real("rate", rate, positive=True)
    return chosen, leaf("rate", rate, ndim=0)  # type: ignore[return-value]


def checked_kind(method: Any, kind: Any) -> Any:
    """Refuse a system of another kind than the class averages."""
    if not isinstance(method, kind):
        raise _check.fail("method", f"must be {kind.kind}", method, "fd.averaged(system) finds the class that fits")
    return method


def check_length(method: Any, average: Kind) -> None:
    """Refuse the mean of a state of any length, which could not be named beside it."""
    if average == "polyak" and _fixed_size(method) is None:
        rule = "must say how many parameters it has for their mean"
        raise _check.fail(
            "method", rule, type(method).__name__, "give w0_like where it takes one, or use average='ema'"
        )


def check_rate(rate: Any, h: Any) -> None:
    """Refuse an exponential average that forgets more than all in one step."""
    if rate is None or is_traced(rate) or is_traced(h):
        return
    if float(np.asarray(rate)) * float(h) > 1:
        raise _check.fail("rate", "must keep 1 - rate*h >= 0, h the step of the clock", rate, "use a smaller rate")


def _unused(name: str, taken: tuple[Variable, ...]) -> str:
    """The name, numbered where an average inside has it."""
    names, number = {v.name for v in taken}, 2
    if name not in names:
        return name
    while f"{name}_{number}" in names:
        number += 1
    return f"{name}_{number}"


def _fixed_size(method: Any) -> int | None:
    """Entries of a system's state, None where it is a vector of any length."""
    problem = method.on_problem
    sizes = [sum(v.size for v in method.layout(n)) for n in ((problem.size,) if problem is not None else (1, 2))]
    return sizes[0] if len(set(sizes)) == 1 else None
