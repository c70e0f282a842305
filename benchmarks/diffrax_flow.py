"""Gradient flow of the diagonal network: flowdyn, Dataset included, beside hand-written diffrax and torchdiffeq."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np

import flowdyn as fd
from benchmarks._network import data, network, plain_loss
from benchmarks._timing import Row, clock, compare, is_here, table

RTOL, ALPHA, T, SAVES = 1e-8, 1e-3, 30.0, 201


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


def compared(what: str, scale: float) -> list[Row]:
    """Tsitouras' pair by the default, by `Diffrax` with the tolerances of the peer, and with those that follow."""
    X, y = map(jnp.asarray, data(scale))
    p = network(scale)
    w0, ts = p.init(ALPHA), jnp.linspace(0.0, T, SAVES)
    infinite = float("inf")
    ways = {
        "the default": (fd.solvers.Auto(rtol=RTOL), 1.3),
        "Diffrax, the same tolerances": (fd.solvers.Diffrax("Tsit5", rtol=RTOL, atol=1e-4 * RTOL), 1.3),
        "Diffrax, tolerances that follow": (fd.solvers.Diffrax("Tsit5", rtol=RTOL), infinite),
    }

    def hand():
        return by_hand(jnp.asarray(w0), X, y, ts).block_until_ready()

    found = []
    for way, (solver, target) in ways.items():

        def ours(solver=solver):
            return fd.solve(fd.GradientFlow(p), w0, t=T, saves=SAVES, solver=solver, progress=False)

        print(f"{what}, {way}, first call: by hand {clock(hand):.2f} s, flowdyn {clock(ours):.2f} s")
        run = ours()
        gap = np.abs(np.concatenate([run.w_plus, run.w_minus], axis=1) - hand()).max()
        assert gap < 1e-6, gap
        found.append(compare(f"{what}: {way}", ours, hand, target, runs=11))
    return found


def torch_row() -> Row:
    """The default solver beside dopri5 of torchdiffeq, the gradient written out, on one thread."""
    import torch
    import torchdiffeq

    torch.set_num_threads(1)
    X, y = map(torch.as_tensor, data())
    d = X.shape[1]
    p = network()
    w0, ts = p.init(ALPHA), torch.linspace(0.0, T, 201, dtype=torch.float64)

    def field(t, w):  # type: ignore[no-untyped-def]
        g = 2 * (X.T @ (X @ (w[:d] ** 2 - w[d:] ** 2) - y))
        return torch.cat([-g * w[:d], g * w[d:]])

    def hand():
        with torch.no_grad():
            return torchdiffeq.odeint(field, torch.as_tensor(w0), ts, rtol=RTOL, atol=1e-4 * RTOL, method="dopri5")

    def ours():
        return fd.solve(fd.GradientFlow(p), w0, t=T, saves=201, progress=False)

    run = ours()
    gap = np.abs(np.concatenate([run.w_plus, run.w_minus], axis=1) - hand().numpy()).max()
    assert gap < 1e-6, gap
    return compare("flow n=40, d=200, 201 saves, default / torchdiffeq dopri5", ours, hand, 0.2, runs=5)


def rows() -> list[Row]:
    """Measure."""
    found = compared("flow, X ~ N(0, 1)", 1.0)
    found += compared("flow, X ~ N(0, 1/40)", 1 / np.sqrt(40))
    if is_here("torch", "torchdiffeq"):
        found.append(torch_row())
    return found


if __name__ == "__main__":
    table(rows())
