"""flowdyn: training dynamics and their continuous-time limits, from one loss.

A training method is a recursion with a step size eta; as eta -> 0 it becomes a continuous-time system. flowdyn writes
both down, integrates the one, runs the other, keeps the results as labelled datasets and measures how they part.

Public names load on first use, so that ``import flowdyn`` is quick.
"""

import importlib
import os
import sys
from typing import Any

# float64 is what a comparison as eta -> 0 needs; a user who set the variable to "0" is left alone (solve warns)
os.environ.setdefault("JAX_ENABLE_X64", "1")
if "jax" in sys.modules and os.environ["JAX_ENABLE_X64"] != "0":
    sys.modules["jax"].config.update("jax_enable_x64", True)

_MODULES = ("problems", "methods", "solvers", "schedules", "observables", "comparison", "theory")
_NAMES = {
    # dynamics
    **dict.fromkeys(["GradientDescent", "GradientFlow", "ModifiedFlow", "HeavyBall", "HeavyBallFlow"], "methods"),
    **dict.fromkeys(["Nesterov", "NesterovFlow", "ODE", "SDE"], "methods"),
    **dict.fromkeys(["SGD", "SVAG", "StochasticModifiedEquation", "OrnsteinUhlenbeck"], "methods"),
    **dict.fromkeys(["LabelNoiseSGD", "LabelNoiseEquation"], "methods"),
    **dict.fromkeys(
        ["DualFlow", "KernelFlow", "LabelNoiseFlow", "NormalizedFlow", "NormalizedGradientDescent"], "methods"
    ),
    "linearize": "methods.ornstein_uhlenbeck",
    # running and comparing
    "solve": "integration",
    "eta_limit": "convergence",
    "predict": "prediction",
    # results
    "save": "storage",
    "load": "storage",
    "rebuild": "specs",
    "plot": "plotting",
    # errors
    **dict.fromkeys(["FlowdynError", "ArgumentError", "RunError", "FileError", "FlowdynWarning"], "_check"),
}

__all__ = [*_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _NAMES:
        value = getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    if name == "__version__":
        from importlib.metadata import version

        return version("flowdyn")
    raise AttributeError(f"module 'flowdyn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
