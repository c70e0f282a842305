"""Loops of small steps as one kernel: the numbers of the same program by operations, and what is left as it is."""

import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flowdyn as fd
from flowdyn._tools import one_kernel, quick_compilation
from flowdyn._tools.one_kernel import NotPlainError, as_one_kernel, in_one_kernel

X = np.linspace(0.1, 0.9, 40)
MATRIX = np.cos(np.arange(1200.0)).reshape(30, 40)


def compiled(function, *args):
    """The program of a function that asks to be one kernel."""

    def run(*args):
        with as_one_kernel():
            return in_one_kernel(function, *args)

    options = {"xla_cpu_experimental_ynn_fusion_type": ""}  # the others concern the time of compilation
    return jax.jit(run, compiler_options=options).lower(*args).compile()


def small_matrices(x):
    left, right = jnp.outer(x[:9], x[:9]), jnp.outer(x[:9], x[9:18])
    return (left @ right)[2]


PLAIN = {
    "exp": (lambda x: jnp.exp(x) - 1, np.expm1(X)),
    "loop": (lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y * (i + 1), x), 6 * X),
    "scan": (lambda x: jax.lax.scan(lambda total, part: (total + part, total), 0.0, x)[1], np.cumsum(X) - X),
    "branch": (lambda x: jax.lax.cond(x[0] > 0, lambda y: 2 * y, lambda y: jnp.zeros(40), x), 2 * X),
    "no branch uses it": (lambda x: jax.lax.cond(x[0] > 0, lambda y: jnp.ones(40), jnp.zeros_like, x), np.ones(40)),
    "product": (lambda x: jnp.asarray(MATRIX) @ x, MATRIX @ X),
    "gradient": (lambda x: jax.grad(lambda y: ((jnp.asarray(MATRIX) @ y) ** 2).sum())(x), 2 * MATRIX.T @ (MATRIX @ X)),
    "small matrices": (small_matrices, X[2] * (X[:9] @ X[:9]) * X[9:18]),
    "one place": (lambda x: x.at[jnp.argmax(x)].set(7.0), np.append(X[:-1], 7.0)),
    "single precision": (lambda x: (x.astype(jnp.float32) * 2).astype(float), 2.0 * X.astype(np.float32)),
}  # fmt: skip


@pytest.mark.parametrize("case", PLAIN)
def test_plain_arithmetic_is_one_kernel_of_the_same_numbers(case):
    function, expected = PLAIN[case]
    program = compiled(function, X)
    assert 'xla_cpu_small_call="true"' in program.as_text()
    np.testing.assert_allclose(program(X), expected, rtol=1e-13, atol=1e-15)


LEFT = {
    "sort": lambda x: jnp.sort(-x),
    "library": lambda x: jnp.linalg.solve(jnp.eye(40) + jnp.outer(x, x), x),
    "many places": lambda x: x.at[jnp.array([1, 3, 3])].add(1.0),
    "large matrices": lambda x: (jnp.outer(x, x) @ jnp.outer(x, x))[0],
    "large results": lambda x: jnp.tile(x, one_kernel.LARGE // 40 + 1) * 2.0,
    "call of Python": lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((40,), float), x),
    "long": lambda x: sum((x * i for i in range(one_kernel.LONG)), x),
    "many functions": lambda x: sum((jnp.sin(x * i) for i in range(one_kernel.MANY)), x),
    "large arguments": lambda x: x * jnp.asarray(np.arange(float(one_kernel.LARGE_MATRIX)))[jnp.argmax(x)],
    "complex numbers": lambda x: jnp.abs(jnp.exp(1j * x)),
    "large integers": lambda x: x * (jnp.asarray(np.array([2**62 + 1])) % 2),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_is_not_plain_or_small_is_left_as_it_is(case):
    with pytest.raises(NotPlainError):
        compiled(LEFT[case], X)
    # nobody has asked then
    np.testing.assert_array_equal(in_one_kernel(LEFT[case], jnp.asarray(X)), LEFT[case](jnp.asarray(X)))


def test_a_function_that_is_left_is_traced_once():
    traced = []

    def sorted_decay(t, y):
        traced.append(t)
        return -jnp.sort(y)

    def decay(t, y):
        traced.append(t)
        return -y

    counts = []
    for function in (decay, sorted_decay):
        traced.clear()
        run = fd.solve(fd.ODE(function), [1.0, 1.0], t=1.0, saves=2)
        assert run.w.values[-1] == pytest.approx(np.exp([-1, -1]), rel=1e-7)
        counts.append(len(traced))
    assert counts[0] == counts[1]


def test_what_xla_cannot_compile_at_once_is_compiled_as_before(monkeypatch, capfd):
    monkeypatch.setitem(one_kernel.KINDS, "sort", one_kernel.PLAIN)
    jumps = fd.ODE(lambda t, y: -jnp.sort(y))
    run = fd.solve(jumps, [1.0, 1.0], t=1.0, saves=2)
    assert run.w.values[-1] == pytest.approx(np.exp([-1, -1]), rel=1e-7)
    assert "Symbols not found" in capfd.readouterr().err  # the way that was meant to fail has


def in_its_own_process(script):
    command = [sys.executable, "-c", textwrap.dedent(script)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_no_argument_is_left_without_use():
    """XLA aborts the process there, so it is tried in one of its own."""
    script = """
        import jax, jax.numpy as jnp, numpy as np, flowdyn as fd
        unused, power = jnp.arange(50.0), jnp.asarray(3.0)
        def loss(w):
            return 0.5 * (w**2).sum() * power**0 + jnp.where(False, unused.sum(), 0.0)
        run = fd.solve(fd.GradientFlow(fd.problems.CustomProblem(loss, np.ones(20))), np.ones(20), t=1.0, saves=2)
        assert abs(run.w.values[-1] - np.exp(-1)).max() < 1e-7
        print("fine")
    """
    found = in_its_own_process(script)
    assert found.stdout == "fine\n", found.stderr[-2000:]


def test_the_default_solver_is_one_kernel():
    """Alone and among others: so it has the same bits."""
    rng = np.random.default_rng(0)
    rotation = rng.standard_normal((30, 30))
    rotation = rotation - rotation.T
    system, starts = fd.ODE(lambda t, y: rotation @ y), rng.standard_normal((3, 30))
    programs = []
    ways = quick_compilation._Way.__call__

    def watched(self, *args):
        programs.append(self.options)
        return ways(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick_compilation._Way, "__call__", watched)
        together = fd.solve(system, starts, t=1.0, saves=3)
        alone = [fd.solve(system, start, t=1.0, saves=3) for start in starts]
    assert programs
    assert all(options == quick_compilation.ONE_KERNEL for options in programs)
    for i, run in enumerate(alone):
        np.testing.assert_array_equal(together.w.values[i], run.w.values)
    eigenvalues, vectors = np.linalg.eig(rotation)
    exact = (vectors * np.exp(eigenvalues)) @ np.linalg.solve(vectors, starts.T)
    np.testing.assert_allclose(together.w.values[:, -1], exact.T.real, atol=1e-6)


def test_single_precision_has_its_whole_numbers_and_a_tolerance_that_it_can_keep():
    script = """
        import os
        os.environ["JAX_ENABLE_X64"] = "0"
        import jax, jax.numpy as jnp, numpy as np, flowdyn as fd
        odd = jnp.asarray(2**24 + 1)
        run = fd.solve(fd.ODE(lambda t, y: -y * (odd % 2)), np.ones(20), t=1.0, saves=2)
        assert abs(run.w.values[-1] - np.exp(-1)).max() < 1e-3, run.w.values[-1]
        X = np.random.default_rng(0).standard_normal((5, 40)) / 5**0.5
        network = fd.problems.DiagonalNetwork(X, X[:, 0])
        run = fd.solve(fd.GradientFlow(network), network.init(0.1), t=300.0, saves=2)
        stats = eval(run.attrs["flowdyn_stats"])  # steps are not refused for rounding alone
        assert stats["n_rejected"] < 10, stats
        print("fine")
    """
    found = in_its_own_process(script)
    assert found.stdout == "fine\n", found.stderr[-2000:]
