"""Parts of an ensemble on several cores: the same bits as on one, budgets and stops included."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd
from flowdyn._tools.threads import side_by_side
from flowdyn.solvers import ensembles, step_program

rng = np.random.default_rng(0)
TABLE = fd.problems.LinearRegression(rng.standard_normal((8, 3)) / 3, rng.standard_normal(8))
RUNS = {
    "elementwise": (fd.SDE(lambda t, x: -x, lambda t, x: 0.8 * x, noise="diagonal"), [1.0], {"t": 0.1}),
    "sums": (fd.SGD(TABLE, 0.05, 2), np.ones(3), {"steps": 40}),
    "epochs": (fd.SGD(TABLE, 0.05, 3, "reshuffle"), np.ones(3), {"steps": 40}),
    "stops": (fd.SGD(TABLE, 0.05, 2), np.ones(3), {"steps": 40, "stop": {"loss": ("<", 0.4)}}),
    "budget": (fd.SGD(TABLE, 0.05, 2), np.ones(3), {"steps": 40, "max_steps": 15, "on_divergence": "keep"}),
}


@pytest.mark.filterwarnings("ignore::flowdyn.FlowdynWarning")
@pytest.mark.parametrize("name", RUNS)
def test_members_are_the_same_bits_on_any_number_of_cores(name, monkeypatch):
    system, w0, more = RUNS[name]
    found = []
    for count in (1, 3):
        for module in (ensembles, step_program):
            monkeypatch.setattr(module, "cores", lambda count=count: count)
        monkeypatch.setattr(step_program, "FEW", 64)
        run = fd.solve(system, w0, saves=3, realizations=2500, seed=4, **more)
        assert json.loads(run.attrs["flowdyn_stats"])["members"] == 2500
        found.append(run)
    one, three = found
    for variable in ("w", "status"):
        assert np.array_equal(one[variable], three[variable], equal_nan=True)
    assert len(np.unique(one.w.values[:, 1], axis=0)) > 2000


def test_parts_come_back_in_their_order_and_errors_are_raised():
    assert [x.item() for x in side_by_side(lambda a, b: jnp.float64(a + b), [(1, 1), (2, 2), (3, 3)])] == [2, 4, 6]
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda a: 1 / a, [(1,), (0,)])
