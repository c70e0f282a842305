"""An Ornstein-Uhlenbeck ensemble of 1e4 paths by 1e3 steps: flowdyn beside numpy, diffrax, sdeint and torchsde.

Every row is a ratio of times per path-step; flowdyn's side includes the Dataset.
"""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import sdeint

import flowdyn as fd
from benchmarks._timing import Row, compare, is_here, table

PATHS, STEPS = 10_000, 1_000
OU = fd.OrnsteinUhlenbeck(1.0, 0.1)
H = 1.0 / STEPS
SPREAD = np.sqrt(0.1)


def ours(**options):
    """Euler-Maruyama by flowdyn."""
    solver = fd.solvers.EulerMaruyama(dt=H, **options)
    return lambda: fd.solve(OU, [1.0], t=[1.0], realizations=PATHS, solver=solver)


def numpy_loop():
    """Vectorised Euler-Maruyama as people write it."""
    rng, x = np.random.default_rng(0), np.ones(PATHS)
    for _ in range(STEPS):
        x = x - H * x + SPREAD * np.sqrt(H) * rng.standard_normal(PATHS)
    return x


DIFFRAX_PATHS = 1_000


@jax.jit
def diffrax_paths(keys):
    """Euler by diffrax on its fast Brownian path, vmapped."""

    def one(key):
        path = dfx.UnsafeBrownianPath((), key)
        terms = dfx.MultiTerm(dfx.ODETerm(lambda t, y, a: -y), dfx.ControlTerm(lambda t, y, a: SPREAD, path))
        return dfx.diffeqsolve(terms, dfx.Euler(), 0.0, 1.0, H, 1.0, max_steps=STEPS + 1, adjoint=dfx.ForwardMode()).ys

    return jax.vmap(one)(keys)


def sdeint_path():
    """One path of sdeint."""
    grid = np.linspace(0.0, 1.0, STEPS + 1)
    return sdeint.itoEuler(
        lambda x, t: -x, lambda x, t: np.array([[SPREAD]]), np.ones(1), grid, generator=np.random.default_rng(0)
    )


def torchsde_paths():
    """Euler by torchsde on the same ensemble."""
    import torch
    import torchsde

    class Equation(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, y):
            return -y

        def g(self, t, y):
            return SPREAD + 0 * y

    with torch.no_grad():
        start = torch.ones(DIFFRAX_PATHS, 1, dtype=torch.float64)
        return torchsde.sdeint(Equation(), start, torch.tensor([0.0, 1.0]), dt=H, method="euler")


def rows() -> list[Row]:
    """Measure."""
    kinds = {
        "float64 normals": ({}, 0.7),
        "float32 normals": ({"precision": "float32"}, 0.4),
        "two-point increments": ({"increments": "rademacher"}, 0.1),
        "three-point increments": ({"increments": "three-point"}, float("inf")),
    }
    found = [
        compare(f"{name} / numpy", ours(**options), numpy_loop, target) for name, (options, target) in kinds.items()
    ]
    keys = jax.random.split(jax.random.key(0), DIFFRAX_PATHS)
    scale = PATHS / DIFFRAX_PATHS
    fast = ours(precision="float32")
    found.append(
        compare("float32 / diffrax Euler", fast, lambda: diffrax_paths(keys).block_until_ready(), 1 / 8, scale=scale)
    )
    found.append(
        compare("float64 / diffrax Euler", ours(), lambda: diffrax_paths(keys).block_until_ready(), 1 / 8, scale=scale)
    )
    found.append(compare("float64 / sdeint itoEuler", ours(), sdeint_path, 1 / 300, scale=PATHS, runs=3))
    if is_here("torch", "torchsde"):
        found.append(compare("float64 / torchsde euler", ours(), torchsde_paths, 1 / 30, scale=scale, runs=3))
    return found


if __name__ == "__main__":
    assert jnp.zeros(1).dtype == jnp.float64
    table(rows())
