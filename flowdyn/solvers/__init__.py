"""Solvers: how a system is run. Frozen objects that carry their own options; one back end a file.

The order of the registry is the order in which ``solve(solver=None)`` tries them.
"""

from flowdyn._tools.registry import lazy

REGISTRY = {
    "Exact": "exact",
    "Iteration": "iteration",
    "Auto": "auto",
    "Scipy": "scipy_ivp",
    "Projected": "projected_steps",
    "EulerMaruyama": "euler_maruyama",
    "Heun": "euler_maruyama",
    "Milstein": "euler_maruyama",
    "Diffrax": "diffrax_solve",
    "DiffraxSDE": "diffrax_sde",
    "Sdeint": "sdeint_paths",
}
__all__ = list(REGISTRY)
__getattr__, __dir__ = lazy(__name__, REGISTRY)
