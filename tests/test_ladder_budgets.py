"""Budgets of ladders and predictions, what they say before they start, and how they end."""

import json
import re
import time
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd
from flowdyn._check import RunError
from flowdyn._tools import progress
from flowdyn.convergence import budget, deterministic, sampled_gap

KINKED = fd.problems.CustomProblem(lambda w: jnp.sum(jnp.abs(w) ** 1.5), np.zeros(2))
SMOOTH = fd.problems.CustomProblem(lambda w: jnp.sum(w**4) / 4 + jnp.sum(w**2) / 2, np.zeros(2))
W0 = [1.0, -0.3]
NOISY = fd.SGD(fd.problems.Quadratic(1.0, noise=1.0), eta=0.1)
SINE = {"sine": lambda w: jnp.sin(w[0])}


def test_a_kinked_loss_ends_within_its_budget_and_says_why():
    for call in (
        lambda: fd.eta_limit(fd.GradientDescent(KINKED, 0.1), W0, t=4.0, max_steps=3000),
        lambda: fd.fast_forward(fd.GradientDescent(KINKED, 0.1), W0, t=4.0, max_steps=3000),
    ):
        with pytest.raises(fd.RunError, match=r"limit could not be solved .*shrunk to .*kinks .*shorter `t`"):
            call()
    for call in (
        lambda: fd.eta_limit(fd.GradientDescent(KINKED, 0.1), W0, t=4.0, max_steps=1300),
        lambda: fd.fast_forward(fd.GradientDescent(KINKED, 0.1), W0, t=4.0, max_steps=1300),
    ):
        with pytest.raises(fd.RunError, match=r"limit could not be solved .*1,300 steps a run.*raise `max_steps`"):
            call()
    # last: seconds are of runs, not of the compilation of their programs
    for call in (
        lambda: fd.eta_limit(fd.GradientDescent(KINKED, 0.1), W0, t=4.0, max_seconds=2.0),
        lambda: fd.fast_forward(fd.GradientDescent(KINKED, 0.1), W0, t=4.0, max_seconds=2.0),
    ):
        with pytest.raises(fd.RunError, match=r"limit could not be solved .*raise `max_.*shorter `t`"):
            call()


def test_a_limit_has_a_bound_of_its_own():
    """Steps that shrink without end stop there though no budget is given."""
    with pytest.raises(fd.RunError, match="10,000 steps a run"):
        fd.eta_limit(fd.GradientDescent(KINKED, 0.1), W0, t=4.0)


def test_a_rung_beyond_the_budget_is_named():
    with pytest.raises(fd.RunError, match=r"rung eta = 0\.00625 is beyond the budget.*`max_steps`.*raise it$"):
        fd.eta_limit(fd.GradientDescent(SMOOTH, 0.1), W0, t=2.0, max_steps=200)


def test_a_limit_that_the_budget_leaves_rough_counts_with_its_error(monkeypatch):
    """420 steps do for tolerances down to 1e-12 on a loss of many kinks, not for those that are tried next."""
    monkeypatch.setattr(deterministic, "NEGLIGIBLE", 0.0)
    bumpy = fd.problems.CustomProblem(lambda w: jnp.sum(0.1 * jnp.abs(jnp.sin(5 * w)) ** 1.5 - w), np.zeros(2))
    with pytest.warns(fd.FlowdynWarning, match=r"not resolved: .*limit could not be solved.*`max_steps`"):
        ladder = fd.eta_limit(fd.GradientDescent(bumpy, 0.04), W0, t=2.0, etas=[0.02, 0.01, 0.005], max_steps=420)
    assert (ladder.solver_error > 0).all() and '"rtol": 1e-11' in ladder.recipe.item()


def test_budgets_are_recorded():
    ladder = fd.eta_limit(fd.GradientDescent(SMOOTH, 0.1), W0, t=2.0, max_seconds=60.0, max_steps=4000)
    options = json.loads(ladder.recipe.item())["options"]
    assert options["max_seconds"] == 60.0 and options["max_steps"] == 4000
    for bad in ({"max_steps": 0}, {"max_seconds": -1.0}, {"max_seconds": "long"}):
        with pytest.raises(fd.ArgumentError, match=next(iter(bad))):
            fd.eta_limit(fd.GradientDescent(SMOOTH, 0.1), W0, t=2.0, **bad)
        with pytest.raises(fd.ArgumentError, match=next(iter(bad))):
            fd.fast_forward(fd.GradientDescent(SMOOTH, 0.1), W0, t=2.0, **bad)


def test_sampling_ends_with_its_time():
    asked = {"order": 1, "observable": SINE, "progress": False}
    noisy = fd.SGD(fd.problems.Quadratic([[1.0, 0.2], [0.2, 1.0]], noise=np.eye(2)), eta=0.1)
    fd.eta_limit(noisy, W0, 1.0, realizations=2048, relative_error=0.9, **asked)  # compiles
    began = time.monotonic()
    with pytest.warns(fd.FlowdynWarning, match="not resolved: .*`max_seconds` ended the sampling; raise it"):
        ladder = fd.eta_limit(noisy, [0.0, 0.0], 1.0, relative_error=0.01, realizations=2**30, max_seconds=5.0, **asked)
    assert time.monotonic() - began < 10.0
    assert ladder.sizes["eta"] == 5 and (ladder.members >= 2048).all()
    with pytest.raises(fd.RunError, match=r"`max_steps` = 15 are fewer than the 20 steps of the rung eta = 0\.05"):
        fd.eta_limit(NOISY, [0.3], 1.0, observable=SINE, max_steps=15)


def test_a_sampled_ladder_says_its_cost_where_it_is_long(capfd, monkeypatch):
    run = lambda **more: fd.eta_limit(  # noqa: E731
        NOISY, [1.0], 1.0, order=0, observable=SINE, relative_error=0.3, realizations=4096, **more
    )
    run()
    assert capfd.readouterr().err == ""  # short, and no terminal
    run(progress=True)
    said = capfd.readouterr().err
    assert "eta_limit samples 5 rungs: about " in said and "`max_seconds` bound it" in said
    monkeypatch.setattr(progress, "LONG", 0.0)
    run()
    said = capfd.readouterr().err
    assert "eta_limit samples 5 rungs" in said and re.search(r"eta_limit: \d+% after \d+ s", said)
    for silent in (False, lambda share: None):
        run(progress=silent)
        assert capfd.readouterr().err == ""
    fd.eta_limit(NOISY, [1.0], 1.0, error="strong", saves=11, realizations=200)
    assert "steps of members on 5 rungs" in capfd.readouterr().err


def test_the_cost_that_is_said_is_the_cost(monkeypatch):
    """Members x steps: from start 1, h = .1 ... .00625, and N = N_0 (h_0/h)^2 of a gap of order 1."""
    said = []
    monkeypatch.setattr(sampled_gap, "announce", lambda progress, text, seconds: said.append(text))
    ladder = fd.eta_limit(NOISY, [1.0], 1.0, order=0, observable=SINE, relative_error=0.05, realizations=2**17)
    about = float(said[0].split("about ")[1].split(" ")[0])
    spent = float((ladder.members * ladder.k).sum())
    assert 0.1 < about / spent < 10


@pytest.mark.parametrize(
    "bound", [{"realizations": 100}, {"realizations": 2**30, "max_seconds": 4.0}], ids=["few", "short"]
)
def test_the_cost_that_is_said_does_not_exceed_its_bounds(monkeypatch, bound):
    """A hopeless rung ends with its first members, 100 here; before, 2,048 were counted, and seconds without end."""
    said = []
    monkeypatch.setattr(sampled_gap, "announce", lambda progress, text, seconds: said.append(text))
    asked = {"order": 0, "observable": SINE, "relative_error": 1e-7, "etas": [0.1, 0.05, 0.025]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.FlowdynWarning)
        fd.eta_limit(NOISY, [1.0], 1.0, **asked, **bound)
    numbers = re.search(r"about (\S+) steps of members, (\d+) s \(at most (\S+), (\d+) s\)", said[0]).groups()
    about, about_seconds, most, most_seconds = map(float, numbers)
    assert about <= most and about_seconds <= most_seconds <= bound.get("max_seconds", np.inf)


def test_a_rung_that_fails_for_another_reason_does_not_blame_etas(monkeypatch):
    def fail(*args, **options):
        raise RunError("this process was forked")

    monkeypatch.setattr(budget, "solve", fail)
    with pytest.raises(fd.RunError, match=r"^the rung eta = 0\.1 could not be run: this process was forked$"):
        fd.eta_limit(fd.GradientDescent(SMOOTH, 0.1), W0, t=2.0)


def test_a_rung_that_diverges_blames_etas():
    steep = fd.problems.CustomProblem(lambda w: jnp.sum(w**4) * 1e3, np.zeros(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.FlowdynWarning)
        with pytest.raises(
            fd.RunError, match=r"^`etas` must be small enough for every rung, got eta = 0\.1: .*diverged"
        ):
            fd.eta_limit(fd.GradientDescent(steep, 0.1), W0, t=2.0, etas=[0.1, 0.05, 0.025])
