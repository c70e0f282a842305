"""What is computed beside a run, counted: docs/cost.md has a line for each, and a new one fails here."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from ledger import Ledger

import flowdyn as fd
from flowdyn._tools import compiled
from flowdyn.convergence import budget
from flowdyn.convergence.prediction_error import HEAD, LOOKS
from flowdyn.methods import curvature
from flowdyn.running import exact_law

PAGE = (Path(__file__).parent.parent / "docs" / "cost.md").read_text()
# what may be called beside the run, and the words of its line in the page
LINES = {
    "_hessian": "one Hessian, d gradients",
    "eigvalsh": "one Hessian, d gradients, and 10 d^3",
    "_hvp": "Hessian products",
    "top_eigenvalue": "by Lanczos",
    "_rows": "observables of the problem",
    "_blocks": "observables of the problem",
    "svd": "SVD of X",
    "eigh": "eigenvectors of A",
    "expm": "60 q^3",
    "transition": "30 (2 d + 1)^3 for each save",
    "squarings": "2 q^3 for each doubling",
    "einsum": "one step of the moments",
    "_value_and_slopes": "3 d predictions",
    "_slopes_and_curvatures": "6 (d + 1)^2 times the losses",
    "_gradient": "6 (d + 1)^2 times the losses",
}
RUN = {"advance", "advance_until", "advance_members", "drift", "jacobian"}  # the run itself
SMALL_EAGER = 20_000  # entries made one operation after the other: random keys, starts


def table(n, d):
    g = np.random.default_rng(0)
    return g.standard_normal((n, d)) / np.sqrt(n), g.standard_normal(n)


def linear(n, d):
    return fd.problems.LinearRegression(*table(n, d))


def network(n, d):
    return fd.problems.DiagonalNetwork(*table(n, d))


def own(n, d):
    X, y = table(n, d)
    return fd.problems.CustomRegression(lambda w, x: x @ w, y, np.zeros(d), data=X, scale=0.5)


def losses(n, d):
    X, y = table(n, d)

    def samples(w, data):
        return (data[0] @ w - data[1]) ** 2

    return fd.problems.CustomProblem(lambda w, data: samples(w, data).mean(), np.zeros(d), (X, y), samples)


def sgd(problem, **options):
    return lambda n, d, saves: (fd.SGD(problem(n, d), 1e-4), np.zeros(d), {"steps": 20, "saves": saves, **options})


def descent(n, d, saves):
    p = network(n, d)
    return fd.GradientDescent(p, 1e-4), p.init(0.1), {"steps": 20, "saves": saves}


def equation(n, d, saves):
    return fd.SGD(linear(n, d), 1e-3).limit(2), np.zeros(d), {"t": 0.02, "saves": saves}


def gaussian(n, d, saves):
    p = fd.problems.Quadratic(np.eye(d), noise=np.eye(d))
    return fd.SGD(p, 0.1).limit(1), np.ones(d), {"t": 1.0, "saves": saves}


def exact_flow(n, d, saves):
    return fd.GradientFlow(linear(n, d)), np.zeros(d), {"t": 1.0, "saves": saves}


def quadratic_flow(n, d, saves):
    return fd.GradientFlow(fd.problems.Quadratic(np.eye(d))), np.ones(d), {"t": 1.0, "saves": saves}


def integrated_flow(n, d, saves):
    p = network(n, d)
    return fd.GradientFlow(p), p.init(0.1), {"t": 1.0, "saves": saves}


def many_starts(n, d, saves):
    p = network(n, d)
    return fd.GradientDescent(p, 1e-4), np.full((3, 2 * d), 0.1), {"steps": 20, "saves": saves}


CHECK, RECORD = {"_hessian": 1, "eigvalsh": 1}, {"_blocks": 1}
# what is called beside the run, whatever n, d <= 16 and the saves are
SYSTEMS = {
    "SGD": (sgd(linear), CHECK | RECORD | {"squarings": 1}),
    "SGD, an ensemble": (sgd(linear, realizations=40), CHECK | RECORD | {"squarings": 1}),
    "SGD, predictions": (sgd(own), CHECK | RECORD | {"squarings": 1, "_value_and_slopes": 1}),
    "SGD, losses": (sgd(losses), CHECK | RECORD | {"squarings": 1, "_slopes_and_curvatures": 1, "_gradient": 2}),
    "equation": (equation, RECORD | {"expm": 1}),
    "equation, Gaussian": (gaussian, RECORD | {"transition": None, "eigh": None, "eigvalsh": 1}),
    "descent": (descent, CHECK | {"_rows": 1}),
    "descent, three starts": (many_starts, CHECK | {"_rows": 1}),
    "flow, exact": (exact_flow, {"svd": 1, "_rows": 1}),
    "flow, exact, Quadratic": (quadratic_flow, {"eigh": 1, "_rows": 1}),
    "flow, integrated": (integrated_flow, {"_rows": 1}),
}


@pytest.fixture
def ledger(monkeypatch):
    curvature._found.cache_clear()
    return Ledger(), monkeypatch


@pytest.mark.parametrize("size", [(40, 8, 5), (90, 4, 9)], ids=str)
@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_computed_beside_a_run(ledger, name, size):
    make, expected = SYSTEMS[name]
    n, d, saves = size
    book, patch = ledger
    system, w0, options = make(n, d, saves)
    with book.open(patch):
        run = fd.solve(system, w0, **options)
    beside = {key: count for key, count in book.calls.items() if key not in RUN}
    assert set(beside) == set(expected)
    for key, count in beside.items():
        # None: a law sampled from save to save, with a decomposition each
        assert count == expected[key] if expected[key] is not None else count <= 4 * saves
        assert LINES[key] in PAGE, key
    members = run.sizes.get("realization", 1) * run.sizes.get("start", 1)
    P = np.size(w0) // run.sizes.get("start", 1)
    rows = max(2 * members * saves, 128)
    q = (P + 1) * (P + 2) // 2
    bounds = {
        "_hessian": P * max(n, P),
        "eigvalsh": P * P,
        "_rows": rows * max(n, P, 64),
        "_blocks": rows * max(n, P, 64),
    }
    bounds |= {"svd": n * d, "eigh": P * P, "expm": q * q, "transition": P * P, "squarings": q * q}
    bounds |= {"_value_and_slopes": max(n * P, P * P), "_slopes_and_curvatures": n * P * P, "_gradient": max(n, P)}
    for key in beside:
        assert book.largest[key] <= bounds[key], key
    assert sum(book.eager.values()) <= SMALL_EAGER, book.eager
    assert book.hashed["crc32"] == 0
    data = 8 * (n * d + n + P * (1 + members))
    assert book.hashed["blake2b"] <= data + 8 * d * d + 4000


@pytest.mark.parametrize(("n", "d"), [(30, 40), (60, 40), (30, 80)])
def test_above_32_parameters_products_with_the_hessian_are_few(ledger, n, d):
    book, patch = ledger
    with book.open(patch):
        fd.solve(fd.SGD(linear(n, d), 1e-4), np.zeros(d), steps=1, saves=2)
    assert set(book.calls) - RUN == {"_hvp", "top_eigenvalue", "eigh", "_blocks"} | ({"einsum"} & set(book.calls))
    assert book.calls["_hvp"] <= 60 and book.largest["_hvp"] <= max(n, d)


def test_a_user_asks_for_what_is_dear(ledger):
    """An observable of the user's is one more programme over the saves, and nothing else."""
    p, (book, patch) = network(20, 3), ledger
    observe = {"size": lambda w: jnp.sum(jnp.asarray(w) ** 2)}
    with book.open(patch):
        fd.solve(fd.GradientDescent(p, 1e-4), p.init(0.1), steps=20, saves=5, observe=observe)
    assert book.calls["_rows"] == 3  # own observables, the user's layout at the start, the user's values


@pytest.mark.parametrize(("n", "d", "steps"), [(20_640, 8, 50), (20_000, 20, 50), (40, 100, 2000)])
def test_no_intermediate_is_much_larger_than_data_and_run(n, d, steps):
    """The law of 20,640 x 8 once asked for 27 GB; numpy's memory is counted as it is taken."""
    system = fd.SGD(linear(n, d), 1e-4 / n)
    tracemalloc.start()
    try:
        run = fd.solve(system, np.zeros(d), steps=steps)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    q = min((d + 1) * (d + 2) // 2, 528)
    assert peak < 3 * run.nbytes + 8 * (4 * 4_000_000 + 30 * q * q) + 20e6
    known = "w_cov_exact" in run
    assert known or run.attrs["flowdyn_law"].startswith("left out: ")


def test_scales_of_a_start_cost_where_it_has_zeros_alone(ledger):
    """A value, its change, two steps of Euler; a link of a chain is one more; 25 for rounding if tiny."""
    chain, (book, patch) = fd.ODE(lambda t, y: jnp.stack([1 - y[0], y[0] - y[1], y[1] - y[2]])), ledger
    counts = []
    tiny = fd.ODE(lambda t, y: jnp.stack([-y[0], y[1] + 1e-9 * y[0]]))
    starts = ((chain, [0.5, 0.5, 0.5]), (chain, [0.5, 0.0, 0.5]), (chain, [0.0, 0.0, 0.0]), (tiny, [1.0, 0.0]))
    for system, start in starts:
        before = book.calls["drift"]
        with book.open(patch):
            fd.solve(system, start, t=10.0, saves=2, solver=fd.solvers.Diffrax(rtol=1e-3))
        counts.append(book.calls["drift"] - before)
    assert counts == [0, 4, 6, 29]
    assert "4 values of the right-hand side, and 25 more" in PAGE


def test_rows_that_pad_a_block_are_few_beside_much_data(ledger):
    """Two saves of 2,000 x 60: eight rows are taken, not 128."""
    book, patch = ledger
    with book.open(patch):
        fd.solve(fd.SGD(linear(2000, 60), 1e-6), np.zeros(60), steps=2, saves=2)
    assert 2 * 2000 <= book.largest["_blocks"] <= compiled.SHORT_BLOCK * 2000


@pytest.mark.parametrize("members", [1, 1000])
def test_a_law_may_take_as_much_as_its_run(members):
    """The budget grows with steps, members and parameters; beyond it the law is left out, in words."""
    spent = []

    class Spy(fd.SGD):
        def exact_moments(self, w0, when):
            spent.append(self.moments_work(len(w0), when))
            return super().exact_moments(w0, when)

    steps, d = 3000, 33
    run = fd.solve(Spy(linear(40, d), 1e-4), np.zeros(d), steps=steps, saves=5, realizations=members, observe_only=True)
    most = exact_law.WORK + exact_law.STEP_WORK * members * d * steps
    if members == 1:
        assert not spent and "more than the run's own" in run.attrs["flowdyn_law"]
    else:
        assert len(spent) == 1 and exact_law.WORK < spent[0] <= most and "w_cov_exact" in run


def test_save_and_load_read_their_content_once_each_way(ledger, tmp_path):
    book, patch = ledger
    run = fd.solve(fd.GradientFlow(linear(60, 5)), np.zeros(5), t=1.0, saves=20)
    numbers = sum(v.nbytes for v in run.variables.values() if v.dtype.kind in "iuf")
    with book.open(patch):
        fd.save(run, tmp_path / "run.nc")
    written = book.hashed["crc32"]
    with book.open(patch):
        fd.load(tmp_path / "run.nc")
    assert book.hashed["crc32"] - written == written / 2  # written and read back; read
    assert numbers <= written / 2 <= numbers + 8000
    assert not book.calls and not book.eager


def test_rebuild_and_plot_simulate_nothing(ledger):
    book, patch = ledger
    run = fd.solve(fd.GradientDescent(network(30, 3), 1e-3), np.full(6, 0.1), steps=30)
    with book.open(patch):
        fd.rebuild(run)
        fd.plot(run)
    assert not set(book.calls) & (RUN | {"_rows", "_blocks", "_hvp", "_hessian"})
    assert book.hashed["blake2b"] <= 8 * (30 * 3 + 30 + 6) + 4000 and book.hashed["crc32"] == 0


def solves(monkeypatch):
    """Names and numbers of saves of the runs inside of a ladder or a prediction."""
    made, real = [], budget.Budget.solve

    def counted(self, system, w0, t, **options):
        made.append((type(system).__name__, np.size(t), self.max_steps))
        return real(self, system, w0, t, **options)

    monkeypatch.setattr(budget.Budget, "solve", counted)
    return made


def test_what_a_ladder_solves(ledger):
    """Six rungs, and one flow at three tolerances at most, each measured by a tighter one; one look."""
    book, patch = ledger
    made, p = solves(patch), network(30, 3)
    with book.open(patch):
        fd.eta_limit(fd.GradientDescent(p, 1e-2), p.init(0.1), t=0.5)
    names = [name for name, _, _ in made]
    assert names.count("GradientDescent") == 6 and 2 <= names.count("GradientFlow") <= 6 and len(set(names)) == 2
    assert book.calls["_hessian"] == 1 and book.calls["_hvp"] == 0
    assert all(most == 10_000 for name, _, most in made if name == "GradientFlow")


def test_what_a_prediction_solves(ledger):
    """The flow twice, 512 steps of the recursion, one or two flows of higher order; 24 looks and one."""
    book, patch = ledger
    made, p = solves(patch), network(30, 3)
    with book.open(patch):
        fd.fast_forward(fd.GradientDescent(p, 1e-4), p.init(0.1), t=1.0)
    names = [name for name, _, _ in made]
    assert names.count("GradientDescent") == 1 and 3 <= names.count("ModifiedFlow") <= 4 and len(names) <= 5
    assert book.calls["_hessian"] <= LOOKS + LOOKS // 2 + 1 and HEAD == 512
    assert all(most == 50_000 for name, _, most in made if name == "ModifiedFlow")
    for text in ("512 steps", "24 looks", "50,000 steps"):
        assert text in PAGE


def test_an_exact_ladder_draws_no_path(ledger):
    book, patch = ledger
    made = solves(patch)
    with book.open(patch):
        ladder = fd.eta_limit(fd.SGD(linear(30, 3), 1e-3), np.zeros(3), t=0.05)
    assert (ladder.members == 0).all() and not made
    assert book.calls["squarings"] == 5 and book.calls["expm"] == 5 and not set(book.calls) & RUN


def test_the_page_has_the_bounds_of_the_code():
    shown = {
        "220 products": curvature.MOST_PRODUCTS,
        "up to 32 parameters": curvature.MATRIX_UP_TO,
        "200,000 entries": exact_law.ENTRIES,
        "5e8 operations": exact_law.WORK,
        "50 a step": exact_law.STEP_WORK,
        "blocks of 128 (8 beside more than 100,000": compiled.BLOCK,
    }
    for text, number in shown.items():
        assert text in PAGE
        assert f"{number:,}" in text or (number >= 1e8 and float(text.split()[0]) == number), text


def test_rows_are_worked_on_in_pieces(monkeypatch):
    """1000 rows of 50 numbers in pieces of 32: each has its place, and the last piece is no full one."""
    monkeypatch.setattr(compiled, "PIECE", 1600)
    rows = np.random.default_rng(0).standard_normal((1000, 50))

    def moments(module, row):
        return {"sum": jnp.sum(row), "outer": row[:2, None] * row[None, :3]}

    for through in (compiled.map_rows, compiled.map_blocks):
        found = through(moments, fd.OrnsteinUhlenbeck(1.0, 0.1), rows)
        np.testing.assert_allclose(found["sum"], rows.sum(axis=1), rtol=0, atol=1e-13)
        np.testing.assert_array_equal(found["outer"], rows[:, :2, None] * rows[:, None, :3])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the highest point of memory")
@pytest.mark.parametrize("kind", ["descent", "flow", "sgd"])
def test_a_run_holds_at_most_twice_its_result(kind):
    program = f"""
from pathlib import Path
import numpy as np, flowdyn as fd

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(name)))

X = np.random.default_rng(0).standard_normal((40, 20_000)) / 6
p = fd.problems.DiagonalNetwork(X, X[:, 0])
runs = {{
    "descent": lambda n: fd.solve(fd.GradientDescent(p, 1e-4), p.init(.1), steps=1000, saves=n, progress=False),
    "flow": lambda n: fd.solve(fd.GradientFlow(p), p.init(.1), t=1.0, saves=n, progress=False),
    "sgd": lambda n: fd.solve(fd.SGD(p, 1e-4, batch_size=4), p.init(.1), steps=1000, saves=n, seed=0, progress=False),
}}
runs["{kind}"](2)
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
result = runs["{kind}"](1000)
print((memory("VmHWM") - before) / result.nbytes)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2
