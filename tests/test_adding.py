"""Adding a problem, a method or a solver is one new file and one registry line, tried on a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flowdyn as fd

ROOT = Path(__file__).parents[1]

PROBLEM = '''"""A quartic bowl:  L(w) = 1/4 sum w^4"""

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from flowdyn.problems.base import Problem, Variable, Vector


class ToyBowl(Problem):
    """Sum of fourth powers."""

    size_: int = eqx.field(static=True)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """Two parameters."""
        return cls(2), np.array([0.5, -0.4])

    def loss(self, w: Vector) -> jax.Array:
        """``1/4 sum w^4``."""
        return jnp.sum(jnp.asarray(w) ** 4) / 4

    @property
    def variables(self) -> tuple[Variable, ...]:
        """One vector."""
        return (Variable("w", ("param",), (self.size_,), "parameters w"),)
'''

METHOD = '''"""Rescaled gradient descent:  w+ = w - eta grad L / (1 + ||grad L||)"""

from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn.methods.base import DiscreteSystem
from flowdyn.methods.systems import ODESystem, OnProblem
from flowdyn.problems.base import Problem, Time, Vector
from flowdyn.problems.quadratic import Quadratic
from flowdyn.schedules import Schedule, StepSize, as_schedule


def _force(problem: Problem, w: Vector) -> jax.Array:
    grad = problem.grad(w)
    return -grad / (1 + jnp.linalg.norm(grad))


class _ToyFlow(OnProblem, ODESystem):
    problem: Problem
    summary: ClassVar[str] = "rescaled gradient flow"

    def drift(self, t: Time, state: Vector) -> Vector:
        return _force(self.problem, state)


class ToyDescent(OnProblem, DiscreteSystem):
    """Gradient descent whose step length is bounded by eta."""

    problem: Problem
    eta: Schedule
    summary: ClassVar[str] = "rescaled gradient descent"

    def __init__(self, problem: Problem, eta: StepSize):
        self.problem, self.eta = problem, as_schedule("eta", eta)

    @classmethod
    def example(cls) -> tuple[Self, np.ndarray]:
        """On a quadratic loss."""
        problem, w0 = Quadratic.example()
        return cls(problem, eta=0.01), w0

    def step(self, k: jax.Array, state: Vector) -> Vector:
        """One step."""
        return state + self.eta(k) * _force(self.problem, state)

    def limit(self, order: int = 0) -> ODESystem:
        """The flow."""
        return _ToyFlow(self.problem)
'''

SOLVER = '''"""Ralston's method:  y+ = y + h (k1 + 3 k2)/4,  k2 = f(t + 2h/3, y + 2h/3 k1)"""

import dataclasses

import jax
import numpy as np

from flowdyn._tools.compiled import bind
from flowdyn.methods.systems import ODESystem
from flowdyn.solvers.base import Result, Solver, Support, Task


def _advance(system: ODESystem, t: jax.Array, y: jax.Array, h: jax.Array, count: jax.Array) -> jax.Array:
    def step(i: jax.Array, y: jax.Array) -> jax.Array:
        s = t + i * h
        k1 = system.drift(s, y)
        return y + h * (k1 + 3 * system.drift(s + 2 * h / 3, y + 2 * h / 3 * k1)) / 4

    return jax.lax.fori_loop(0, count, step, y)


@dataclasses.dataclass(frozen=True)
class ToyRalston(Solver):
    """Ralston's method in equal steps."""

    dt: float = 2.0**-10

    @property
    def support(self) -> Support:
        """Ordinary equations to a finite end."""
        return Support((ODESystem,), "integrates ODEs", stop=False, max_seconds=False)

    @property
    def is_explicit(self) -> bool:
        """Yes."""
        return True

    @classmethod
    def example(cls) -> "ToyRalston":
        """Steps so short that errors stay below 1e-8."""
        return cls(2e-5)

    @property
    def order(self) -> float:
        """2."""
        return 2

    def with_step(self, h: float) -> "ToyRalston":
        """At dt = h."""
        return ToyRalston(h)

    def run(self, task: Task) -> Result:
        """Equal steps from save to save."""
        call, t, y, rows = bind(_advance, task.system), task.t0, np.asarray(task.state0), []
        for end in task.t:
            count = int(np.ceil((end - t) / self.dt * (1 - 1e-9))) if end > t else 0
            y, t = np.asarray(call(t, y, (end - t) / max(count, 1), count)), end
            rows.append(y)
        return Result(t=np.asarray(task.t), states=np.array(rows), status="reached_end")
'''

ADDED = {
    "problems": ("ToyBowl", "toy_bowl", PROBLEM),
    "methods": ("ToyDescent", "toy_descent", METHOD),
    "solvers": ("ToyRalston", "toy_ralston", SOLVER),
}


def copied(folder):
    """A copy of package and contract tests, to which each toy adds one file and one line."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(fd.__file__).parent, folder / "flowdyn", ignore=ignored)
    (folder / "tests").mkdir()
    for name in ("conftest.py", "rebuilding.py", "test_contract.py", "test_orders.py", "test_layout.py"):
        shutil.copy(ROOT / "tests" / name, folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for place, (name, module, text) in ADDED.items():
        (folder / "flowdyn" / place / f"{module}.py").write_text(text)
        registry = folder / "flowdyn" / place / "__init__.py"
        registry.write_text(
            registry.read_text().replace("REGISTRY = {\n", f'REGISTRY = {{\n    "{name}": "{module}",\n')
        )
    return folder


SCRIPT = """
import sys
import flowdyn as fd
from flowdyn._tools import stubs
from flowdyn.cli.commands import main

assert sys.argv[1] in fd.__file__
assert len(stubs.stale()) == 4 and stubs.main([]) == 0 and stubs.stale() == []
assert "ToyDescent" in dir(fd) and "ToyBowl" in dir(fd.problems) and "ToyRalston" in dir(fd.solvers)
print(repr(fd.ToyDescent.example()[0]))
p, w0 = fd.problems.ToyBowl.example()
lim = fd.eta_limit(fd.ToyDescent(p, eta=0.1), w0, t=2.0)
print(round(float(lim.order), 2))
system, start, options = fd.rebuild(fd.solve(fd.ToyDescent(p, eta=0.1), w0, t=1.0, saves=3))
print(repr(system))
print(main(["solve", "--method", "toy-descent", "--eta", "0.1", "--steps", "3"]))
print(main(["solve", "--method", "ToyDescnt"]))
"""


def run(arguments, folder):
    """A Python process that sees the copy."""
    environment = os.environ | {"PYTHONPATH": str(folder), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )


@pytest.mark.slow
def test_one_file_and_one_line_are_enough(tmp_path):
    folder = copied(tmp_path)
    made = run(["-c", SCRIPT, str(folder)], folder)
    assert made.returncode == 0, made.stderr
    lines = made.stdout.splitlines()
    assert lines[0] == "ToyDescent(Quadratic(d=2, noise=[[1, 0.2], [0.2, 0.5]]), eta=0.01)" and lines[1] == "1.0"
    assert lines[2] == "ToyDescent(ToyBowl(parameters=2), eta=0.1)"
    assert lines[-2:] == ["0", "2"] and "did you mean 'ToyDescent'" in made.stderr
    plain = ["-p", "no:randomly", "-p", "no:cacheprovider"]
    tests = run(["-m", "pytest", "-q", "tests", "-k", "Toy or toy", *plain], folder)
    assert tests.returncode == 0, tests.stdout[-3000:]
    passed = int(re.search(r"(\d+) passed", tests.stdout)[1])
    methods, solvers = len(fd.methods.REGISTRY) + 1, len(fd.solvers.REGISTRY) + 1
    assert passed >= methods + solvers + 15  # the toy solver on every method, the toy method by every solver, and more
