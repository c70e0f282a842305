"""Growth that a step jumps over:  h d f_i / d y_i > 1 somewhere in (t, t + h) for a coordinate below its tolerance.

Nothing below its tolerance holds a step, so an implicit one may end where the rate is small again, and the coordinate
never comes back. So the rates are looked at inside of it too.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from flowdyn.solvers.tolerances import Path

if TYPE_CHECKING:
    import scipy.integrate

LOOKS = (0.2, 0.4, 0.6, 0.8)  # shares of a step


def looked_into(
    path: Path,
    lost: np.ndarray,
    stepper: "scipy.integrate.OdeSolver",
    slope: Callable,
    fastest: Callable[[], float],
) -> Path:
    """The path, with those of the `lost` called back that grow by themselves somewhere in the last step.

    `slope` is the derivative of the right-hand side, of (t, state, direction).
    """
    if not lost.any():
        return path
    t, h, dense = stepper.t_old, stepper.t - stepper.t_old, stepper.dense_output()
    for time in t + h * np.array(LOOKS):
        path = path.without_jumps(lost, h / len(LOOKS), functools.partial(slope, time, dense(time)), fastest)
    return path.without_jumps(lost, h, functools.partial(slope, stepper.t, stepper.y), fastest)
