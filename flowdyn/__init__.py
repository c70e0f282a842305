"""flowdyn: training dynamics and their continuous-time limits, from one loss.

A training method is a recursion with a step size eta; as eta -> 0 it becomes a continuous-time system. flowdyn writes
both down, integrates the one, runs the other, keeps the results as labelled datasets and measures how they part.

Public names load on first use, so that ``import flowdyn`` is quick.

Computations are in float64: importing flowdyn turns it on in JAX, for all that the process then does with JAX, your own
code too (``jax.numpy.zeros(3).dtype`` becomes float64; name float32 where you want it). ``JAX_ENABLE_X64=0`` in the
environment leaves JAX alone; ``solve`` then warns, for the gap of a recursion and its limit drowns in rounding.
"""

import os
import sys

from flowdyn import methods
from flowdyn._tools.registry import lazy

# float64 is what a comparison as eta -> 0 needs; a user who set the variable to "0" is left alone (solve warns)
os.environ.setdefault("JAX_ENABLE_X64", "1")
if "jax" in sys.modules and os.environ["JAX_ENABLE_X64"] != "0":
    sys.modules["jax"].config.update("jax_enable_x64", True)

MODULES = ("problems", "methods", "solvers", "schedules", "observables", "comparison", "theory")
# public name -> module that holds it; every method is one
REGISTRY = {
    **{name: f"methods.{module}" for name, module in methods.REGISTRY.items()},
    "linearize": "methods.ornstein_uhlenbeck",
    "averaged": "methods.averaged_noise",
    "solve": "running.integration",
    "sweep": "sweeps.sweeping",
    "eta_limit": "convergence.eta_limits",
    "dimension_limit": "convergence.dimension_limits",
    "fast_forward": "convergence.prediction",
    "scaling_rule": "convergence.scaling",
    "save": "results.storage",
    "load": "results.storage",
    "concat": "sweeps.joining",
    "rebuild": "convergence.rebuilding",
    "rerun": "convergence.rebuilding",
    "plot": "plotting.figures",
    "report": "pages.writing",
    "example_table": "problems.examples",
    **dict.fromkeys(["FlowdynError", "ArgumentError", "RunError", "FileError", "FlowdynWarning"], "_check"),
}
__all__ = [*MODULES, *REGISTRY]
__getattr__, __dir__ = lazy(__name__, REGISTRY, MODULES, renamed={"predict": "fast_forward"}, with_xarray="accessor")
