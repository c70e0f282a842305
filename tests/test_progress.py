"""Progress: a bar where somebody looks on, lines where it takes long, nothing where it is switched off."""

import math
import sys
import types

import pytest
import tqdm

import flowdyn as fd
from flowdyn._tools import progress


@pytest.fixture
def notebook(monkeypatch):
    """What a Jupyter kernel looks like: IPython's shell says so, and stderr is no terminal."""
    shell = types.ModuleType("IPython")
    shell.get_ipython = lambda: types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", shell)


class Bar:
    """Stands in for tqdm's bar and records how far it came."""

    made = ()

    def __init__(self, **_):
        self.n = 0.0
        Bar.made += (self,)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def update(self, step):
        self.n += step


@pytest.fixture
def bars(monkeypatch):
    monkeypatch.setattr(Bar, "made", ())
    monkeypatch.setattr(progress, "_tqdm", lambda: Bar)
    return lambda: Bar.made


def run(**more):
    p = fd.problems.Quadratic(1.0)
    return fd.solve(fd.GradientDescent(p, 0.1), [1.0], steps=20, saves=2, **more)


def test_a_notebook_has_a_bar_by_default_that_ends_full(notebook, bars):
    run()
    (bar,) = bars()
    assert bar.n == 1.0
    run(progress=False)
    assert len(bars()) == 1


def test_a_bar_of_work_that_breaks_off_stays_where_it_was(notebook, bars):
    def breaks_off():
        with progress.meter(None, "work") as report:
            report(0.25)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks_off()
    assert bars()[0].n == 0.25


def test_nobody_looks_on_off_a_terminal(bars, monkeypatch):
    run()
    terminal = types.ModuleType("IPython")  # IPython in a terminal that is no terminal: a pipe
    terminal.get_ipython = lambda: types.SimpleNamespace(config={})
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    run()
    terminal.get_ipython = lambda: None
    run()
    assert bars() == ()


def test_the_bar_is_the_one_that_suits_the_place():
    assert progress._tqdm() is tqdm.auto.tqdm


def test_long_work_off_a_terminal_says_what_is_left(monkeypatch, capsys):
    clock = iter([0.0, 5.0, 12.0, 20.0, 300.0, 9000.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.meter(None, "sweep of 8 cells", lines=True) as report:
        for fraction in (0.1, 0.25, 0.5, 0.5, 1.0):
            report(fraction)
    assert capsys.readouterr().err.splitlines() == [
        "sweep of 8 cells: 25% after 12 s, 36 s left",
        "sweep of 8 cells: 50% after 5 min, 5 min left",
        "sweep of 8 cells: 100% after 2.5 h",
    ]


def test_what_is_left_is_not_reckoned_from_a_start(monkeypatch, capsys):
    clock = iter([0.0, 16.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.meter(None, "CentralFlow", lines=True) as report:
        report(1e-4)
        report(0.5)
    said = ["CentralFlow: 0% after 16 s", "CentralFlow: 50% after 40 s, 40 s left"]
    assert capsys.readouterr().err.splitlines() == said


def test_a_process_without_a_console_runs(monkeypatch):
    """`pythonw` and daemons have no `sys.stderr`."""
    monkeypatch.setattr("sys.stderr", None)
    run = fd.solve(fd.GradientFlow(fd.problems.Quadratic(1.0)), [1.0], t=1.0)
    assert float(run.w[-1, 0]) == pytest.approx(math.exp(-1.0), rel=1e-12)
