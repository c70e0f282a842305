r"""What to say of an order that is not the one that theory expects.

    e_i = A x_i^p + D x_i^q (1 + b_1 rho x_i + ...),      p the expected order, q a later one

Where A nearly vanishes the next term is larger on every rung, and the slopes are those of q. Whether A is zero no fit
can tell: it bounds the share of A x^p at the finest rung. Where the fit sees an A, or the share may be large, the
errors are those of order p or of q; where it is small, the slope is what was measured, and the bound is said beside it.
"""

from typing import NamedTuple

import numpy as np

from flowdyn.convergence.order_evidence import SIZES, best_amplitudes, corrections

LATER = (0.5, 1.0, 2.0)  # by how much the order of the next term may be above, beside that which was measured
HIDDEN = 0.1  # of the finest error, above which a term of the expected order is not small
KNOWN = 0.02  # noise of an error that is known well enough to tell what share a term may have of it
NEAR = 0.05  # distance of an interval from the expected order that is that of a missed interval, no other order


class Doubt(NamedTuple):
    """A verdict on an order that is not the expected one, and whether the order was measured all the same."""

    verdict: str
    is_measured: bool


class HiddenTerm(NamedTuple):
    """Share that a term of lower order has of the finest known error, its 95 % margin, the order it hides behind."""

    share: float
    margin: float
    behind: float


def doubt_of(
    interval: tuple[float, float, float], expected: float, h: np.ndarray, errors: np.ndarray, spread: np.ndarray,
    smaller: str,
) -> Doubt | None:  # fmt: skip
    """What to say where an interval (low, order, high) is away from the expected order; None where it is not."""
    low, order, high = interval
    measured = f"not as expected: measured {order:.2f}, expected {expected:g}"
    if low > expected + NEAR:
        hidden = hidden_term((expected, order), h, errors, spread)
        most = hidden.share + hidden.margin
        if hidden.share > hidden.margin or most > HIDDEN:
            later = f"order {expected:.1f} with a large correction, or {hidden.behind:.1f}"
            return Doubt(f"not resolved: {later}; use {smaller}", False)
        seen = f"a term of order {expected:g} is at most {100 * most:.1g} % of the finest error known well"
        way_out = f"if no step of a higher order by design, use {smaller}, or another observable, start or time"
        return Doubt(f"{measured}: {seen}, so its constant vanishes or nearly cancels here; {way_out}", True)
    if high < expected - NEAR:
        cause = "the step or its loss may be less smooth than theory asks, or the finest rungs are not fine enough"
        return Doubt(f"{measured}: {cause}; use {smaller}", True)
    return None


def hidden_term(orders: tuple[float, float], h: np.ndarray, errors: np.ndarray, spread: np.ndarray) -> HiddenTerm:
    """Fit A x^p beside the later term, and the size of its corrections, that explain the errors best.

    `orders` are p, which is expected, and the order that was measured.
    """
    p, measured = orders
    size = float(np.abs(errors).max())
    x, e = h / h.max(), errors / size
    # the noise of a rung that nearly drowns in it might be a term of any order
    is_known = spread <= KNOWN * np.abs(errors)
    finest = int(np.argmin(np.where(is_known, h, np.inf))) if is_known.any() else int(np.argmin(h))
    s = np.hypot(spread / size, 1e-12 * np.abs(e)) + 1e-15
    best, found = -np.inf, HiddenTerm(1.0, np.inf, p + 1)
    for later in sorted({*LATER, max(round(2 * (measured - p)) / 2, LATER[0])}):
        for tau, rho, weight in SIZES:
            u, K = corrections(np.array([p + later]), x, rho)
            try:
                fit = best_amplitudes(np.stack([x[None] ** p, u], axis=-1), K, e, s, tau)
                deviation = np.sqrt(np.linalg.inv(fit.information)[0, 0, 0])
            except np.linalg.LinAlgError:
                continue
            evidence = np.log(weight) + fit.logs[0] - 0.5 * np.linalg.slogdet(fit.information[0])[1]
            if evidence > best:
                scale = x[finest] ** p / np.abs(e[finest])
                best = evidence
                found = HiddenTerm(abs(fit.best[0, 0]) * scale, 2 * deviation * scale, p + later)
    return found
