"""Gradient flow of the diagonal network by diffrax: flowdyn, Dataset included, beside hand-written diffrax."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

import flowdyn as fd
from benchmarks._network import data, network, plain_loss
from benchmarks._timing import Row, clock, compare, table

RTOL, ALPHA, T = 1e-8, 1e-3, 30.0


@jax.jit
def by_hand(w, X, y, ts):
    field = dfx.ODETerm(lambda t, v, args: -jax.grad(plain_loss)(v, *args))
    return dfx.diffeqsolve(
        field,
        dfx.Tsit5(),
        0.0,
        ts[-1],
        None,
        w,
        args=(X, y),
        saveat=dfx.SaveAt(ts=ts),
        stepsize_controller=dfx.PIDController(RTOL, 1e-4 * RTOL),
        max_steps=100_000,
    ).ys


def row(what: str, scale: float, target: float) -> Row:
    X, y = map(jnp.asarray, data(scale))
    p = network(scale)
    w0, ts = p.init(ALPHA), jnp.linspace(0.0, T, 101)

    def ours():
        return fd.solve(fd.GradientFlow(p), w0, t=T, solver=fd.solvers.Diffrax("Tsit5", rtol=RTOL), progress=False)

    def hand():
        return by_hand(jnp.asarray(w0), X, y, ts).block_until_ready()

    print(f"{what}, first call: by hand {clock(hand):.2f} s, flowdyn {clock(ours):.2f} s")
    run = ours()
    gap = np.abs(np.concatenate([run.w_plus, run.w_minus], axis=1) - hand()).max()
    assert gap < 1e-6, gap
    return compare(f"{what}, warm, with Dataset / diffrax by hand", ours, hand, target, runs=11)


def rows() -> list[Row]:
    """Measure."""
    return [
        row("flow n=40, d=200, X ~ N(0, 1)", 1.0, 1.3),
        # a few milliseconds: what observables, labels and provenance cost by themselves
        row("same, X ~ N(0, 1/40)", 1 / np.sqrt(40), float("inf")),
    ]


if __name__ == "__main__":
    table(rows())
