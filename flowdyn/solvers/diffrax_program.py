"""The compiled program that runs a system by diffrax, or a batch of starts at once."""

import dataclasses
from typing import Any, NamedTuple

import diffrax as dfx
import jax
import jax.numpy as jnp
import optimistix as optx

from flowdyn._tools.quick_compilation import compiles_quickly
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers.crawling import Crawl
from flowdyn.solvers.following_controller import FollowingController, Woken
from flowdyn.solvers.kernels import has_jacobian

FEW = 64  # unknowns up to which explicit steps are looked into for growth that they jump over, too
STAGE_RTOL, STAGE_ATOL = 1e-12, 1e-14  # of the equations of an implicit step of fixed size


@dataclasses.dataclass(frozen=True)
class Program:
    """What the compiled program depends on."""

    method: str
    explicit: bool
    adaptive: bool
    follows: bool  # whether the absolute tolerances follow the state
    max_steps: int
    stop: tuple | None  # (traced margin, spec)


def _stepper(program: Program) -> Any:
    cls = getattr(dfx, program.method)
    if program.adaptive or program.explicit:
        return cls()
    # with fixed steps there are no tolerances that the equations of a step could be solved to
    return cls(root_finder=optx.Newton(rtol=STAGE_RTOL, atol=STAGE_ATOL))


class Numbers(NamedTuple):
    """What the compiled program is given, the same for all members of a batch."""

    t0: Any
    ts: Any  # (T,)
    dt: Any
    rtol: Any
    atol: Any
    dtmax: Any
    breakpoints: Any
    limits: Any  # of stop rules


def _controller(system: ODESystem, program: Program, numbers: Numbers, tolerances: tuple) -> Any:
    if not program.adaptive:
        return dfx.ConstantStepSize()
    t0, t1 = numbers.t0, numbers.ts[-1]
    steps = {"dtmin": 4e-16 * jnp.maximum(jnp.abs(t0), jnp.abs(t1)), "dtmax": numbers.dtmax}
    controller: Any = dfx.PIDController(numbers.rtol, numbers.atol, **steps)
    if program.follows:

        def own_slopes(t: jax.Array, y: jax.Array) -> jax.Array:
            return jnp.diagonal(jax.jacfwd(lambda s: system.drift(t, s))(y))

        path, relative, most_refused = tolerances
        is_spared = program.explicit and (path.scale.size > FEW or not has_jacobian(system, path.scale.shape[-1]))
        controller = FollowingController(
            rtol=numbers.rtol,
            atol=path.atol(numbers.rtol, relative, jnp),
            path=path,
            relative=relative,
            steps=steps,
            own_slopes=None if is_spared else own_slopes,
            norm=optx.rms_norm,
            most_refused=most_refused if program.explicit else jnp.inf,
        )
    if not numbers.breakpoints.size:
        return controller
    return dfx.ClipStepSizeController(controller, jump_ts=numbers.breakpoints)


@compiles_quickly
def integrate(system: ODESystem, program: Program, numbers: Numbers, y0: jax.Array, tolerances: tuple) -> tuple:
    """Rows at the save times, the end and its counts; coordinates that came back, and that woke; where it crawled."""
    ts = numbers.ts
    event = None
    if program.stop is not None:
        traced, spec = program.stop

        def margin(t: jax.Array, y: jax.Array, args: Any, **_: Any) -> jax.Array:
            return traced(system, spec, y, numbers.limits)

        event = dfx.Event(margin, optx.Bisection(rtol=1e-12, atol=1e-14))  # type: ignore[call-arg]
    solution = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, args: system.drift(t, y)),
        _stepper(program),
        numbers.t0,
        ts[-1],
        None if program.adaptive else numbers.dt,
        y0,
        saveat=dfx.SaveAt(subs=(dfx.SubSaveAt(ts=ts), dfx.SubSaveAt(t1=True)), controller_state=program.follows),
        stepsize_controller=_controller(system, program, numbers, tolerances),
        event=event,
        max_steps=program.max_steps,
        adjoint=dfx.ForwardMode(),
        throw=False,
        progress_meter=dfx.NoProgressMeter(),
    )
    saved: Any = solution.ts, solution.ys
    (_, t_end), (rows, y_end) = saved
    codes = [dfx.RESULTS.successful, dfx.RESULTS.event_occurred, dfx.RESULTS.max_steps_reached]
    flags = jnp.stack([solution.result == code for code in codes])
    stats = solution.stats["num_steps"], solution.stats["num_rejected_steps"]
    back, woken = jnp.zeros(y0.shape, bool), Woken(jnp.zeros(y0.shape, bool), numbers.t0, y0)
    crawl = Crawl(jnp.zeros(()), numbers.t0, y0, tolerances[0])
    if program.follows:
        state: Any = solution.controller_state
        _, path, woken, crawl = state.inner_state if numbers.breakpoints.size else state
        back = path.back
    return (rows, t_end[-1], y_end[-1], flags, *stats), back, woken, crawl


@compiles_quickly
def integrate_batch(
    system: ODESystem, program: Program, numbers: Numbers, states0: jax.Array, tolerances: tuple
) -> tuple:
    """The same for every row of `states0`."""
    return jax.vmap(lambda y0, own: integrate(system, program, numbers, y0, own))(states0, tolerances)
