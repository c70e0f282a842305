"""Loops over short calls of compiled programs: they run where they are made, and what is raised comes out as it was."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd
from flowdyn._tools.inline_calls import with_inline_calls


def test_it_runs_in_the_thread_that_asks():
    assert with_inline_calls(threading.get_ident) == threading.get_ident()
    with np.errstate(all="raise"):
        assert with_inline_calls(np.geterr)["divide"] == "raise"


def test_what_is_raised_is_raised_again():
    def fails():
        raise ValueError("as it was")

    with pytest.raises(ValueError, match="as it was") as raised:
        with_inline_calls(fails)
    assert any(entry.name == "fails" for entry in raised.traceback)


def test_an_interruption_comes_through():
    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        with_inline_calls(interrupted)
    assert with_inline_calls(lambda: 3) == 3


def test_calls_within_calls_and_in_many_threads():
    assert with_inline_calls(lambda: with_inline_calls(lambda: 5)) == 5
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda i: with_inline_calls(lambda: i), range(64))) == list(range(64))


def test_programs_can_be_compiled_within():
    @jax.jit
    def double(x):
        return 2 * x

    assert with_inline_calls(lambda: double(jnp.arange(3.0)).tolist()) == [0.0, 2.0, 4.0]


SCRIPT = """
    import os
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import numpy as np, jax.numpy as jnp, flowdyn as fd
    for method in ("LSODA", "DOP853", "BDF"):
        run = fd.solve(fd.ODE(lambda t, y: -y * jnp.cos(t)), np.ones(300), t=3.0, solver=fd.solvers.Scipy(method))
        assert abs(run.w.values[-1] - np.exp(-np.sin(3.0))).max() < 1e-6
    print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_one_core_is_enough():
    found = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)], capture_output=True, text=True, timeout=300, check=False
    )
    assert found.stdout == "fine\n", found.stderr[-2000:]


def test_a_user_function_of_numpy_that_fails_is_told_as_before():
    def fails(t, y):
        if t > 0.5:
            raise RuntimeError("no further")
        return -np.asarray(y)

    with pytest.raises(RuntimeError, match="no further") as raised:
        fd.solve(fd.ODE(fails), [1.0], t=1.0, solver=fd.solvers.Scipy())
    assert any("raised by the right-hand side at t =" in note for note in raised.value.__notes__)


def test_interruptions_of_short_runs_are_interruptions():
    """Wherever they come: one between the callback and the function is no error of JAX."""
    script = """
        import os, signal, threading, time
        import numpy as np, jax.numpy as jnp, flowdyn as fd
        from flowdyn._tools import inline_calls
        decay, solver = fd.ODE(lambda t, y: -y), fd.solvers.Scipy("RK45")
        run = lambda: fd.solve(decay, [1.0], t=1.0, saves=2, solver=solver, progress=False)
        run()
        rng, wrong, came = np.random.default_rng(0), [], 0
        for wait in rng.uniform(0, 4e-3, 150):
            try:
                threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT)).start()
                for _ in range(20):
                    run()
                time.sleep(1)
            except KeyboardInterrupt:
                came += 1
            except Exception as error:
                wrong.append(repr(error)[:200])
        assert came > 100 and not wrong, (came, wrong[:3])  # some are lost in a callback of JAX to the collector
        assert not inline_calls._calls
        print("fine")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert found.stdout == "fine\n", found.stderr[-2000:]


def test_guards_of_transfers_and_many_devices():
    script = """
        import os
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
        import numpy as np, jax, flowdyn as fd
        run = lambda: fd.solve(fd.ODE(lambda t, y: -np.asarray(y)), [1.0], t=1.0, solver=fd.solvers.Scipy("RK45"))
        with jax.set_mesh(jax.make_mesh((2,), ("x",))):
            assert abs(float(run().w[-1, 0]) - np.exp(-1)) < 1e-6
            for method in ("DOP853", "RK45", "LSODA"):
                ours = fd.solve(fd.ODE(lambda t, y: -y), [1.0], t=1.0, solver=fd.solvers.Scipy(method))
                assert abs(float(ours.w[-1, 0]) - np.exp(-1)) < 1e-6
        print("fine")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert found.stdout == "fine\n", found.stderr[-2000:]
    with jax.transfer_guard("disallow"):
        assert with_inline_calls(lambda: 3) == 3
