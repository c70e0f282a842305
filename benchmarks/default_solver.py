"""The default solver of ODEs on twelve problems, beside each of our solvers and solve_ivp: time and digits.

    error = max |y(t_end) - reference| / max |reference|

The reference is a closed form, or DOP853 (solve_ivp), for stiff problems LSODA with the exact Jacobian, at tolerances
near rounding.
"""

import statistics
import sys
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

import flowdyn as fd
from benchmarks._timing import clock
from flowdyn._tools.compiled import bind
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers import kernels
from flowdyn.solvers.base import Solver

RTOL, PATIENCE = 1e-8, 20.0  # seconds after which a solver is not timed again


class Trial(NamedTuple):
    """A problem of the panel; `truth` is the state at the end, None for a reference by Radau or DOP853."""

    system: ODESystem
    w0: np.ndarray
    end: float
    truth: np.ndarray | None = None
    rtol: float = RTOL
    saves: int = 101
    stiff: bool = False


def network(n: int, d: int, alpha: float, end: float, **more: object) -> Trial:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, d)) / np.sqrt(n)
    p = fd.problems.DiagonalNetwork(X, X[:, 0] - 2 * X[:, 1] + 1.5 * X[:, 2])
    return Trial(fd.GradientFlow(p), np.asarray(p.init(alpha)), end, **more)  # type: ignore[arg-type]


def ode(f: Callable, w0: list[float], end: float, **more: object) -> Trial:
    return Trial(fd.ODE(f), np.array(w0), end, **more)  # type: ignore[arg-type]


def van_der_pol(t, y):  # type: ignore[no-untyped-def]
    return jnp.stack([y[1], 1000 * (1 - y[0] ** 2) * y[1] - y[0]])


def robertson(t, y):  # type: ignore[no-untyped-def]
    a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return jnp.stack([b - a, a - b - c, c])


def lorenz(t, y):  # type: ignore[no-untyped-def]
    return jnp.stack([10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])


def turn(t, y):  # type: ignore[no-untyped-def]
    return jnp.stack([-y[1], y[0]])


TRIALS: dict[str, Callable[[], Trial]] = {
    "network d=200": lambda: network(40, 200, 1e-3, 30.0, saves=201),
    "network d=2000": lambda: network(40, 2000, 1e-3, 30.0),
    "network alpha=3": lambda: network(40, 200, 3.0, 30.0),
    "network alpha=30": lambda: network(40, 200, 30.0, 30.0, stiff=True),
    "small start 1e-20": lambda: network(10, 20, 1e-20, 60.0),
    "tight, rtol 1e-12": lambda: network(40, 200, 1e-1, 10.0, rtol=1e-12),
    "van der Pol, 1000": lambda: ode(van_der_pol, [2.0, 0.0], 1500.0, stiff=True),
    "Robertson": lambda: ode(robertson, [1.0, 0.0, 0.0], 1e5, stiff=True),
    "long oscillation": lambda: ode(turn, [1.0, 0.0], 1e3, truth=np.array([np.cos(1e3), np.sin(1e3)])),
    "Lorenz": lambda: ode(lorenz, [1.0, 1.0, 1.0], 5.0),
    "decay": lambda: ode(lambda t, y: -y, [1.0], 20.0, truth=np.array([np.exp(-20.0)])),
    "stiff decay to cos t": lambda: ode(
        lambda t, y: -2e5 * (y - jnp.cos(t)), [1.0], 20.0, stiff=True,
        truth=np.array([(4e10 * np.cos(20.0) + 2e5 * np.sin(20.0)) / (4e10 + 1)]),
    ),
}  # fmt: skip


def ours_at_the_end(trial: Trial, solver: Solver) -> np.ndarray:
    run = fd.solve(trial.system, trial.w0, trial.end, saves=trial.saves, solver=solver, progress=False)
    names = run.attrs["flowdyn_parameters"].split()
    return np.concatenate([np.ravel(run[name].values[-1]) for name in names])


def solvers(trial: Trial) -> dict[str, Callable[[], np.ndarray]]:
    """Each way to solve a trial, as a call that returns the last state."""
    ours: list[Solver] = [fd.solvers.Auto(rtol=trial.rtol), fd.solvers.Scipy("LSODA", rtol=trial.rtol)]
    ours += [fd.solvers.Scipy("BDF", rtol=trial.rtol)] if trial.stiff else [fd.solvers.Diffrax(rtol=trial.rtol)]
    ours += [] if trial.stiff else [fd.solvers.Scipy("DOP853", rtol=trial.rtol)]
    if trial.w0.size > 1000:
        ours = [s for s in ours if getattr(s, "method", "") != "LSODA"]  # a dense Jacobian of 4000 x 4000

    calls = {
        f"{type(s).__name__} {getattr(s, 'method', '')}".strip(): lambda s=s: ours_at_the_end(trial, s) for s in ours
    }
    for method in ("LSODA", "DOP853") if not trial.stiff else ("LSODA", "BDF"):
        if trial.w0.size <= 1000 or method == "DOP853":
            calls[f"solve_ivp {method}"] = lambda method=method: by_hand(trial, method, trial.rtol)
    return calls


def by_hand(trial: Trial, method: str, rtol: float) -> np.ndarray:
    compiled = bind(kernels.drift, trial.system)
    times = np.linspace(0, trial.end, trial.saves)
    atol = 1e-4 * rtol * min(1.0, float(np.abs(trial.w0).max()))
    run = solve_ivp(
        lambda t, y: np.asarray(compiled(t, y)), (0, trial.end), trial.w0, method, t_eval=times, rtol=rtol, atol=atol
    )
    return run.y[:, -1]


def main() -> None:
    chosen = sys.argv[1:] or list(TRIALS)
    print(f"{'problem':<22}{'solver':<18}{'s':>9}{'to the best':>13}{'error':>10}")
    for name in chosen:
        trial = TRIALS[name]()
        truth = trial.truth
        if truth is None and trial.stiff:
            truth = ours_at_the_end(trial, fd.solvers.Scipy("LSODA", rtol=1e-12))
        elif truth is None:
            truth = by_hand(trial, "DOP853", 3e-14)
        rows = []
        for label, call in solvers(trial).items():
            last = call()
            error = np.abs(last - truth).max() / np.abs(truth).max()
            first = clock(call)
            seconds = first if first > PATIENCE else statistics.median([first, *(clock(call) for _ in range(4))])
            rows.append((label, seconds, error))
        best = min(seconds for _, seconds, _ in rows)
        for label, seconds, error in rows:
            print(f"{name:<22}{label:<18}{seconds:>9.4f}{seconds / best:>13.2f}{error:>10.1e}", flush=True)


if __name__ == "__main__":
    main()
