# made by `python -m flowdyn._tools.stubs` from the registry of this package

from flowdyn.solvers.auto import Auto as Auto
from flowdyn.solvers.diffrax_sde import DiffraxSDE as DiffraxSDE
from flowdyn.solvers.diffrax_solve import Diffrax as Diffrax
from flowdyn.solvers.euler_maruyama import EulerMaruyama as EulerMaruyama
from flowdyn.solvers.euler_maruyama import Heun as Heun
from flowdyn.solvers.euler_maruyama import Milstein as Milstein
from flowdyn.solvers.exact import Exact as Exact
from flowdyn.solvers.iteration import Iteration as Iteration
from flowdyn.solvers.projected_steps import Projected as Projected
from flowdyn.solvers.scipy_ivp import Scipy as Scipy
from flowdyn.solvers.sdeint_paths import Sdeint as Sdeint

REGISTRY: dict[str, str]
__all__ = [
    "Auto",
    "Diffrax",
    "DiffraxSDE",
    "EulerMaruyama",
    "Exact",
    "Heun",
    "Iteration",
    "Milstein",
    "Projected",
    "Scipy",
    "Sdeint",
]
