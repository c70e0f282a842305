"""What a few ordinary jobs cost in counts: programs compiled and called, steps, evaluations, bytes of files.

    python -m benchmarks.counts [--write]

The counts do not depend on how fast or busy a machine is. ``tests/test_counts.py`` holds them against
``counts.json``; what has changed on purpose is written there by ``--write``, and shows in the change that does it.
"""

import collections
import contextlib
import functools
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import flowdyn as fd
from benchmarks._network import network
from flowdyn._tools import compiled, quick_compilation
from flowdyn.cli.commands import main as shell

STORED = Path(__file__).parent / "counts.json"
IN_PIECES = "advance"  # loops that are called for as many steps as a share of a second takes

Counts = dict[str, int]


def _cost(run: xr.Dataset) -> Counts:
    """Steps and evaluations of all members of a run."""
    return {name: int(np.sum(number)) for name, number in json.loads(run.attrs["flowdyn_stats"]).items()}


def _flow(**options: object) -> Counts:
    p = network()
    return _cost(fd.solve(fd.GradientFlow(p), p.init(0.1), t=3.0, progress=False, **options))


def van_der_pol(t, y):  # type: ignore[no-untyped-def]
    return jnp.stack([y[1], 1000 * (1 - y[0] ** 2) * y[1] - y[0]])


def stiff(**options: object) -> Counts:
    return _cost(fd.solve(fd.ODE(van_der_pol), [2.0, 0.0], t=500.0, progress=False, **options))


def starts() -> Counts:
    p = network()
    return _cost(fd.solve(fd.GradientFlow(p), np.stack([p.init(a) for a in (0.1, 0.2, 0.3, 0.4)]), t=3.0, saves=21))


def descent() -> Counts:
    p = network()
    return _cost(fd.solve(fd.GradientDescent(p, 1e-2), p.init(0.1), steps=1000, progress=False))


def random_members() -> Counts:
    p = fd.problems.LinearRegression(*network_data())
    return _cost(fd.solve(fd.SGD(p, 1e-3, batch_size=4), p.init(), steps=64, realizations=32, progress=False))


def network_data() -> tuple[np.ndarray, np.ndarray]:
    p = network()
    return np.asarray(p.X)[:, :20], np.asarray(p.y)


def main_job() -> Counts:
    with contextlib.redirect_stdout(io.StringIO()):
        assert shell(["eta-limit"]) == 0
    return {}


def saved() -> Counts:
    """A file of 101 saves of 400 numbers: bytes."""
    p = network()
    run = fd.solve(fd.GradientDescent(p, 1e-2), p.init(0.1), steps=100, progress=False)
    with tempfile.TemporaryDirectory() as folder:
        fd.save(run, Path(folder) / "run.nc")
        return {"bytes": (Path(folder) / "run.nc").stat().st_size}


JOBS: dict[str, Callable[[], Counts]] = {
    "the main job": main_job,
    "flow, default": _flow,
    "flow, LSODA": functools.partial(_flow, solver=fd.solvers.Scipy("LSODA")),
    "stiff, default": stiff,
    "stiff, LSODA": functools.partial(stiff, solver=fd.solvers.Scipy("LSODA")),
    "four starts": starts,
    "gradient descent": descent,
    "SGD, 32 members": random_members,
    "saves": saved,
}


@contextlib.contextmanager
def _programs() -> Iterator[Counts]:
    """Programs compiled, and calls of each, until the end of the block."""
    counts: Counts = collections.Counter()
    real = compiled._program

    def listen(event: str, *_: object, **__: object) -> None:
        counts["compiled"] += event.endswith("backend_compile_duration")

    def counted(kernel: Callable, structure: tuple, statics: tuple) -> Callable:
        run = real(kernel, structure, statics)

        def call(*args: object) -> object:
            if not run.__name__.lstrip("_").startswith(IN_PIECES):
                counts[f"calls of {run.__name__}"] += 1
            return run(*args)

        return call

    jax.clear_caches()
    real.cache_clear()
    refused = len(quick_compilation._unknown)
    jax.monitoring.register_event_duration_secs_listener(listen)
    compiled._program = counted  # type: ignore[assignment]
    try:
        yield counts
    finally:
        counts["compiled"] -= len(quick_compilation._unknown) - refused  # for an option that XLA has no more
        compiled._program = real
        jax.monitoring.unregister_event_duration_listener(listen)


def count(job: str) -> Counts:
    """Counts of one job in a process that has compiled nothing of it."""
    with _programs() as programs:
        spent = JOBS[job]()
    return dict(sorted((spent | programs).items()))


def main() -> None:
    found = {job: count(job) for job in JOBS}
    text = json.dumps(found, indent=2) + "\n"
    if "--write" in sys.argv[1:]:
        STORED.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
