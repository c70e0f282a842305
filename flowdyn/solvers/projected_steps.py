r"""Projected flows by stabilised explicit steps: a Runge-Kutta-Chebyshev step, then a projection back onto the set.

Y_0 = y,  Y_1 = Y_0 + m_1 h f(Y_0),
Y_j = (1 - mu_j - nu_j) Y_0 + mu_j Y_{j-1} + nu_j Y_{j-2} + m_j h f(Y_{j-1}) + g_j h f(Y_0),    y_1 = Pi(Y_s)
error of a step:  0.8 (y - y_1) + 0.4 h (f(y) + f(y_1)),    stable for h rho <= 0.65 (s^2 - 1)

At the edge of stability the fastest rate rho is known, and it is there at every time: s stages cover s^2/1.5 steps of
the method, where classical ones cover one each.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.compiled import bind
from flowdyn._tools.quick_compilation import compiles_quickly
from flowdyn.methods.projected import INSIDE, ROUNDS, Look, ProjectedSystem, begin
from flowdyn.solvers.base import Result, Solver, Status, Support, Task, failure_status, is_bad
from flowdyn.solvers.stopping import OUT_OF_REACH, POINTS, bisect, first_bracket

MOST_STAGES = 12
DAMPING = 2 / 13
MOST_STEPS = 100_000
SAFETY, SHRINK, GROW = 0.8, 0.2, 4.0
BEYOND = 1e-6  # excess of a direction that is not followed
CLOSE, CREEPS, PATIENCE = 1e-3, 0.05, 100  # its distance from the edge where it makes so many steps short in h rho
HOLDS, STAYS = 1e-4, 40  # its distance from the edge that so many steps in a row find it held at, in turn with others


@functools.cache
def coefficients(stages: int) -> np.ndarray:
    """Rows mu, nu, m, g over j = 0 .. MOST_STAGES of the method with a number of stages."""
    w0 = 1 + DAMPING / stages**2
    T, dT, ddT = np.zeros((3, stages + 1))
    T[:2], dT[1] = (1.0, w0), 1.0
    for j in range(2, stages + 1):
        T[j] = 2 * w0 * T[j - 1] - T[j - 2]
        dT[j] = 2 * T[j - 1] + 2 * w0 * dT[j - 1] - dT[j - 2]
        ddT[j] = 4 * dT[j - 1] + 2 * w0 * ddT[j - 1] - ddT[j - 2]
    w1 = dT[stages] / ddT[stages]
    b = np.empty(stages + 1)
    b[2:] = ddT[2:] / dT[2:] ** 2
    b[:2] = b[2]
    out = np.zeros((4, MOST_STAGES + 1))
    out[2, 1] = b[1] * w1
    for j in range(2, stages + 1):
        out[0, j], out[1, j] = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2]
        out[2, j] = 2 * b[j] * w1 / b[j - 1]
        out[3, j] = -(1 - b[j - 1] * T[j - 1]) * out[2, j]
    return out


def stages_for(reach: float) -> int:
    """Least number of stages that is stable for h rho = `reach`."""
    return int(np.clip(np.ceil(np.sqrt(1 + reach / 0.65)), 2, MOST_STAGES))


LONGEST = 0.65 * (MOST_STAGES**2 - 1)  # h rho


class _Step(NamedTuple):
    """A step taken, and what tells whether it is good."""

    state: jax.Array
    look: Look
    start: jax.Array  # velocity at the start
    end: jax.Array
    error: jax.Array  # in units of the tolerance
    excess: jax.Array  # how far outside it still is


class _At(NamedTuple):
    """Inside a step: stages first, then the projection."""

    before: jax.Array
    here: jax.Array
    look: Look
    velocity: jax.Array
    number: jax.Array  # of the next stage
    done: jax.Array


@compiles_quickly
def _step(system: ProjectedSystem, state: jax.Array, look: Look, h: Any, stages: Any, table: Any, rtol: Any) -> _Step:
    mu, nu, m, g = table
    start = jnp.asarray(system.velocity(look, h))

    def go_on(at: _At) -> _At:
        seen, j = system.look(at.here, at.look.memory), at.number
        is_stage = j <= stages
        outside = ~is_stage & (seen.distance.min() < -INSIDE) & (j < stages + ROUNDS)
        push = system.force(seen, jnp.where(outside, system.excess(seen), system.room(seen, h))) @ seen.forces
        velocity = seen.free + push
        i = jnp.minimum(j, MOST_STAGES)
        stage = (1 - mu[i] - nu[i]) * state + mu[i] * at.here + nu[i] * at.before
        stage = stage + m[i] * h * velocity + g[i] * h * start
        back = jnp.where(outside, at.here + system.unit * push, at.here)
        return _At(at.here, jnp.where(is_stage, stage, back), seen, velocity, j + 1, ~is_stage & ~outside)

    first = _At(state, state + m[1] * h * start, look, start, jnp.asarray(2), jnp.asarray(False))
    last = jax.lax.while_loop(lambda at: ~at.done, go_on, first)
    end, late = last.here, last.velocity
    estimate = 0.8 * (state - end) + 0.4 * h * (start + late)
    sizes = jnp.maximum(system.sizes(state), system.sizes(end))
    error = jnp.sqrt(jnp.mean((estimate / jnp.maximum(rtol * sizes, 1e-300)) ** 2))
    return _Step(end, last.look, start, late, error, -last.look.distance.min())


@dataclasses.dataclass(frozen=True)
class Projected(Solver):
    r"""Adaptive steps of order 2 for projected flows, each followed by a projection.

    .. math:: y_{n+1} = \Pi\bigl(\Phi_h(y_n)\bigr), \qquad h\rho \le 0.65\,(s^2 - 1)

    Parameters
    ----------
    rtol : float
        Error of a step, relative to the size of the state: the root mean square over its entries.

    Raises
    ------
    ArgumentError
        If rtol is not positive.
    RunError
        By :func:`flowdyn.solve`, if more directions are critical than the system follows.

    Notes
    -----
    The stages are as many as the step needs to be stable, 2 to 12; the force that holds the state inside is found
    anew in each. Source: Verwer, Hundsdorfer and Sommeijer (1990) and Sommeijer, Shampine and Verwer (1998) for the
    steps and the estimate; Hairer, Lubich and Wanner (2006), section IV.4, for projections.

    Examples
    --------
    >>> import flowdyn as fd
    >>> flow = fd.CentralFlow(fd.GradientDescent(fd.problems.Quadratic(1.0), eta=0.1))
    >>> run = fd.solve(flow, [1.0], t=1.0, solver=fd.solvers.Projected(rtol=1e-8))
    >>> round(float(run.w.isel(t=-1).item()), 5)
    0.36788
    """

    rtol: float = 1e-5

    def __post_init__(self) -> None:
        _check.real("rtol", self.rtol, positive=True)

    @property
    def support(self) -> Support:
        """Systems that declare how they are projected."""
        return Support((ProjectedSystem,), "integrates projected flows")

    @classmethod
    def example(cls) -> "Projected":
        """At a tight tolerance, so that errors are those of the test."""
        return cls(rtol=1e-12)

    def tighter(self) -> "Projected":
        """A tenth of the tolerance."""
        return Projected(self.rtol / 10)

    def run(self, task: Task) -> Result:
        """Step to the end, a stop, a bad state or the end of the budget."""
        return _Run(self.rtol, task).result()


class _Run:
    """One run: where it is, and what it has kept."""

    def __init__(self, rtol: float, task: Task):
        assert isinstance(task.system, ProjectedSystem) and task.t is not None
        self.rtol, self.task, self.system = rtol, task, task.system
        self.times = task.t
        self.t, self.state = task.t0, task.state0
        self.rho = float(self.system.stiffness)
        self.h = 1 / self.rho
        self.rows: list[np.ndarray] = []
        self.creeping = self.held = 0
        self.stats = {"n_steps": 0, "n_rejected": 0, "n_looks": 1}

    def result(self) -> Result:
        """Take steps until something ends the run."""
        task = self.task
        if task.stop is not None and task.stop.holds(self.state):
            return self.finish("stopped", task.t0, self.state)
        if self.times[0] == task.t0:
            self.rows.append(self.state)
        begun = bind(begin, self.system)(self.state)
        self.state, self.look = np.asarray(begun.state), begun.look
        self.step = bind(_step, self.system)
        while len(self.rows) < len(self.times):
            ended = self.advance(float(self.times[len(self.rows)]))
            if ended is not None:
                return ended
        return self.finish("reached_end")

    def advance(self, until: float) -> Result | None:
        """One step towards a save, taken or not."""
        h = min(self.h, LONGEST / self.rho)
        left = until - self.t
        h = left if h >= left else left / 2 if h > left / 2 else h
        stages = stages_for(h * self.rho)
        found = self.step(self.state, self.look, h, stages, coefficients(stages), self.rtol)
        self.stats["n_looks"] += stages
        error, state = float(found.error), np.asarray(found.state)
        bad = bool(is_bad(state[None])[0]) or not np.isfinite(error)
        beyond = float(found.look.beyond)
        self.creeping = self.creeping + 1 if h * self.rho < CREEPS and beyond > -CLOSE else 0
        self.held = self.held + 1 if beyond > -HOLDS else 0
        if not bad and (beyond > BEYOND or self.creeping > PATIENCE or self.held > STAYS):
            raise _check.RunError(f"at t = {self.t + h:.6g} {self.system.lost()}")
        if bad or error > 1 or float(found.excess) > 10 * INSIDE:
            self.stats["n_rejected"] += 1
            self.h = h * (SHRINK if bad or error <= 1 else max(SHRINK, SAFETY * error ** (-1 / 3)))
            if self.h < 1e-9 / self.rho:
                if bad:
                    return self.finish(failure_status(state, self.state), self.t)
                return dataclasses.replace(self.finish("stuck", self.t), message=OUT_OF_REACH)
            return self.out_of_budget()
        self.stats["n_steps"] += 1
        self.h = h * min(GROW, max(SHRINK, SAFETY * max(error, 1e-10) ** (-1 / 3)))
        stopped = self.stop_within(h, state, np.asarray(found.start), np.asarray(found.end))
        if stopped is not None:
            return stopped
        self.t, self.state, self.look = (until if h == left else self.t + h), state, found.look
        if self.t == until:
            self.rows.append(state)
        self.task.progress((self.t - self.task.t0) / max(self.times[-1] - self.task.t0, 1e-300))
        return self.out_of_budget()

    def out_of_budget(self) -> Result | None:
        """End of a run that has taken too many steps, or too long."""
        if self.stats["n_steps"] + self.stats["n_rejected"] >= (self.task.max_steps or MOST_STEPS):
            return self.finish("max_steps", self.t)
        return self.finish("max_seconds", self.t) if self.task.out_of_time() else None

    def stop_within(self, h: float, state: np.ndarray, start: np.ndarray, end: np.ndarray) -> Result | None:
        """End of a run where a stop rule holds inside the step, on the cubic through both ends."""
        stop, t, before = self.task.stop, self.t, self.state
        if stop is None:
            return None

        def dense(times: np.ndarray) -> np.ndarray:
            s = ((times - t) / h)[:, None]
            slopes = s * (1 - s) ** 2 * h * start - s**2 * (1 - s) * h * end
            return before + s**2 * (3 - 2 * s) * (state - before) + slopes

        found = first_bracket(lambda times: stop.rules(dense(times)), np.linspace(t, t + h, POINTS + 1))
        if found is None:
            return None
        root = bisect(lambda time: stop.holds(dense(np.array([time]))[0]), *found, False)
        return self.finish("stopped", root, dense(np.array([root]))[0])

    def finish(self, status: Status, t_stop: float = np.nan, state: np.ndarray | None = None) -> Result:
        """Rows and counters; `state` at `t_stop` becomes the last row."""
        t, rows = self.times[: len(self.rows)], self.rows
        if state is not None and (len(t) == 0 or t[-1] < t_stop):
            t, rows = np.append(t, t_stop), [*rows, state]
        states = np.array(rows).reshape(len(t), self.task.state0.size)
        return Result(t=t, states=states, status=status, stats=self.stats, t_stop=t_stop)
