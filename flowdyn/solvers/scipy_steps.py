"""Steps of scipy's steppers.

LSODA holds what a step is doing in one place: another step of LSODA inside it, of a run inside its right-hand side,
would write over that, and the outer run would be stuck where it is.
"""

import threading
from typing import Any

import scipy  # its integrators load where one is made

from flowdyn import _check
from flowdyn.solvers.order_eight import Dop853

_thread = threading.local()


def stepper_class(method: str) -> Any:
    """Stepper of a name; LSODA is refused inside a step of LSODA."""
    if method == "DOP853":
        return Dop853
    if method == "LSODA" and getattr(_thread, "in_lsoda", False):
        rule = "must not come to LSODA inside a right-hand side that LSODA integrates"
        raise _check.fail("solver", rule, method, 'give another inside, e.g. fd.solvers.Scipy("DOP853")')
    return getattr(scipy.integrate, method)


def take_step(stepper: "scipy.integrate.OdeSolver", method: str) -> None:
    """Take a step, inside of which LSODA is refused where it is one of LSODA."""
    before = getattr(_thread, "in_lsoda", False)
    _thread.in_lsoda = before or method == "LSODA"
    try:
        stepper.step()
    finally:
        _thread.in_lsoda = before
