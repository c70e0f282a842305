"""Processes: a fork after JAX has run is refused in words, a spawned one works."""

import multiprocessing
import os

import pytest

import flowdyn as fd


def end_of_a_run(_=None):
    run = fd.solve(fd.GradientFlow(fd.problems.CustomProblem(lambda w: w**2 / 2, 1.0)), 1.0, t=1.0, saves=2)
    return float(run.w[-1])


@pytest.mark.filterwarnings("ignore:os.fork")
def test_a_forked_process_is_told_to_spawn():
    end_of_a_run()
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            end_of_a_run()
            text = "ran"
        except fd.RunError as error:
            text = str(error)
        os.write(send, text.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert "forked after JAX had run" in os.read(receive, 1000).decode()
    assert end_of_a_run() == pytest.approx(0.367879, abs=1e-6)  # the parent goes on


def test_a_spawned_process_runs():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(end_of_a_run, [0])[0] == pytest.approx(0.367879, abs=1e-6)
