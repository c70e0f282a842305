r"""What a system says of itself on pictures and pages: what its time is, and its equation as it was run.

A result of  ``z_{k+1} = step(z_k, \eta)  or  step(z_k, \eta, k)``  shows the one that it is a result of.
"""

from collections.abc import Mapping
from typing import Any

from flowdyn._tools.plain_help import Module

TRAINING_TIME = "training time t (clock of the dynamics)"
PLAIN_TIME = "time t"  # of an equation that need not be one of training


class Described(Module):
    """Anything that can be run, as far as words and formulas go."""

    @property
    def time_name(self) -> str:
        """What the dimension t of its results is."""
        return TRAINING_TIME

    @property
    def form(self) -> str:
        """How a user's function is called, where its arguments tell of several ways; recipes keep it."""
        return ""

    @classmethod
    def formula(cls, args: Mapping[str, Any], form: str) -> str:
        """Its equation in LaTeX for the arguments and the form of a recipe; empty where the docstring has it."""
        return ""
