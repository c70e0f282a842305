"""Stochastic schemes of fixed step (Kloeden and Platen 1992).

    X+ = X + f h + g dW                                        EulerMaruyama (section 10.2), Ito
    X+ = X + f h + g dW + 1/2 g g' (dW^2 - h)                  Milstein (section 10.3), Ito, diagonal noise
    X+ = X + 1/2 (f + f^) h + 1/2 (g + g^) dW                  Heun, Stratonovich;  ^ at the Euler step

In the weak sense dW may be any increments with the right moments (section 14.1): +-sqrt(h), or three points.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from flowdyn import _check
from flowdyn._tools.randomness import RandomInputs
from flowdyn.solvers.fixed_step import FixedStep

INCREMENTS = {"gaussian": "float64", "rademacher": "rademacher", "three-point": "three-point"}


@dataclasses.dataclass(frozen=True)
class EulerMaruyama(FixedStep):
    r"""Euler-Maruyama for Ito equations: a fused loop over all members.

    .. math:: X_{k+1} = X_k + f h + g\,\Delta W_k

    Parameters
    ----------
    dt : float, optional
        Longest step; a thousandth of the time span unless given (and at most eta / 2 for SGD's equations).
    increments : {"gaussian", "rademacher", "three-point"}
        Gaussian, or the two- and three-point increments of weak order 1, which need far fewer random bits (no strong
        convergence: paths mean nothing then).
    precision : {"float64", "float32"}
        Of the Gaussian increments. float32 takes half the bits: tails end at 5.4 standard deviations and moments are
        right to 1e-7; the state is float64 always.
    brownian_dt : float, optional
        Cell of the Brownian path: runs with the same seed and cell share it whatever their dt, a multiple of it.

    Raises
    ------
    ArgumentError
        If a step is not positive, `dt` is no multiple of `brownian_dt`, a choice is another, or a path is to be shared
        by increments that are not Gaussian.

    Notes
    -----
    Strong order 1/2 (1 for additive noise), weak order 1. Source: Kloeden and Platen (1992), sections 10.2 and 14.1.

    Examples
    --------
    >>> import flowdyn as fd
    >>> ou = fd.OrnsteinUhlenbeck(1.0, 2.0)
    >>> run = fd.solve(ou, [0.0], t=2.0, realizations=4000, solver=fd.solvers.EulerMaruyama(dt=0.01), saves=2)
    >>> bool(abs(run.w[:, -1].var() - 0.98) < 0.1)
    True
    """

    increments: str = "gaussian"
    precision: str = "float64"
    calculus: ClassVar[str] = "ito"
    noises: ClassVar[tuple[str, ...]] = ("additive", "diagonal", "general")
    strong: ClassVar[dict[str, float]] = {"additive": 1.0, "diagonal": 0.5, "general": 0.5}
    drift_order: ClassVar[float | None] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check.choice("increments", self.increments, INCREMENTS)
        _check.choice("precision", self.precision, ("float64", "float32"))
        if self.brownian_dt is not None and self.increments != "gaussian":
            raise _check.fail("brownian_dt", "needs Gaussian increments: others have no path to share", self.increments)

    def random_inputs(self, m: int) -> RandomInputs:
        """Gaussian numbers of the precision asked for, or weak ones."""
        kind = self.precision if self.increments == "gaussian" else INCREMENTS[self.increments]
        return RandomInputs(numbers=m, kind=kind)

    @staticmethod
    def step(system: Any, when: Any, extra: Any, state: jax.Array, epoch_state: Any, draw: Any) -> jax.Array:
        """``X + f h + g dW``."""
        noise = system.diffusion_product(when.t, state, jnp.sqrt(when.h) * draw.numbers)
        return state + when.h * system.drift_as("ito", when.t, state) + noise


@dataclasses.dataclass(frozen=True)
class Milstein(FixedStep):
    r"""Milstein's scheme: strong order 1 for Ito equations with diagonal noise.

    .. math:: X_{k+1} = X_k + f h + g\,\Delta W_k + \tfrac12 g g' (\Delta W_k^2 - h)

    Parameters
    ----------
    dt, brownian_dt : float, optional
        As for EulerMaruyama.

    Raises
    ------
    ArgumentError
        If a step is not positive or `dt` is no multiple of `brownian_dt`; by :func:`flowdyn.solve`, if the noise is not
        diagonal.

    Notes
    -----
    Source: Milstein (1975); Kloeden and Platen (1992), section 10.3.

    Examples
    --------
    >>> import flowdyn as fd
    >>> gbm = fd.SDE(lambda t, x: -x, lambda t, x: 0.8 * x, noise="diagonal")
    >>> run = fd.solve(gbm, [1.0], t=1.0, realizations=2000, solver=fd.solvers.Milstein(dt=0.02), saves=2)
    >>> bool(abs(run.w[:, -1].mean() - 0.3679) < 0.03)
    True
    """

    calculus: ClassVar[str] = "ito"
    noises: ClassVar[tuple[str, ...]] = ("additive", "diagonal")
    strong: ClassVar[dict[str, float]] = {"additive": 1.0, "diagonal": 1.0}
    drift_order: ClassVar[float | None] = 1.0

    @staticmethod
    def step(system: Any, when: Any, extra: Any, state: jax.Array, epoch_state: Any, draw: Any) -> jax.Array:
        """Euler-Maruyama and the iterated integral of each component."""
        new = EulerMaruyama.step(system, when, extra, state, epoch_state, draw)
        if system.noise == "additive":
            return new

        def g(x: jax.Array) -> jax.Array:
            return system.diffusion_product(when.t, x, jnp.ones_like(x))

        value = g(state)
        slope = jax.jvp(g, (state,), (value,))[1]  # g_i' g_i, since g_i depends on x_i alone
        return new + 0.5 * when.h * slope * (draw.numbers**2 - 1)


@dataclasses.dataclass(frozen=True)
class Heun(FixedStep):
    r"""Heun's scheme for Stratonovich equations: strong order 1 for diagonal noise, weak order 1.

    .. math:: X_{k+1} = X_k + \tfrac12 (f + \hat f) h + \tfrac12 (g + \hat g)\,\Delta W_k,
              \qquad \hat X = X_k + f h + g\,\Delta W_k

    Parameters
    ----------
    dt, brownian_dt : float, optional
        As for EulerMaruyama.

    Raises
    ------
    ArgumentError
        If a step is not positive or `dt` is no multiple of `brownian_dt`; by :func:`flowdyn.solve`, if the equation is
        an Ito one with noise that is not additive.

    Notes
    -----
    Source: Rümelin (1982); Kloeden and Platen (1992), chapter 14.

    Examples
    --------
    >>> import flowdyn as fd
    >>> sde = fd.SDE(lambda t, x: -x, lambda t, x: 0.8 * x, calculus="stratonovich", noise="diagonal")
    >>> run = fd.solve(sde, [1.0], t=1.0, realizations=2000, solver=fd.solvers.Heun(dt=0.02), saves=2)
    >>> bool(abs(run.w[:, -1].mean() - 0.5066) < 0.05)  # exp(-0.68)
    True
    """

    calculus: ClassVar[str] = "stratonovich"
    noises: ClassVar[tuple[str, ...]] = ("additive", "diagonal", "general")
    strong: ClassVar[dict[str, float]] = {"additive": 1.0, "diagonal": 1.0, "general": 0.5}
    drift_order: ClassVar[float | None] = 2.0

    @staticmethod
    def step(system: Any, when: Any, extra: Any, state: jax.Array, epoch_state: Any, draw: Any) -> jax.Array:
        """Trapezoidal rule at the Euler step."""
        increment = jnp.sqrt(when.h) * draw.numbers
        drift, noise = system.drift(when.t, state), system.diffusion_product(when.t, state, increment)
        guess, later = state + when.h * drift + noise, when.t + when.h
        again = when.h * system.drift(later, guess) + system.diffusion_product(later, guess, increment)
        return state + 0.5 * (when.h * drift + noise + again)
