"""What label noise adds to the loss, section 9.5:  L + lam tr H,  lam = eta sigma^2 / (4B)  for L = 1/(2n) sum r_i^2"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from flowdyn import _check
from flowdyn._tools.calls import told


@told
def label_noise_penalty(
    H: ArrayLike,
    eta: float,
    sigma: float,
    batch_size: int = 1,
    *,
    scale: float = 0.5,
    form: Literal["trace", "logdet"] = "trace",
) -> float:
    r"""Regulariser that label-noise SGD adds to the loss near interpolation.

    .. math:: \text{trace: } \frac{c\,\eta\sigma^2}{2B} \operatorname{tr} H, \qquad
              \text{logdet: } -\frac{c\,\sigma^2}{B} \operatorname{tr}\log(I - \tfrac{\eta}{2} H),
              \qquad L = \frac{c}{n}\sum r_i^2

    Parameters
    ----------
    H : array_like of float, shape (d, d)
        Hessian of the loss at interpolation, symmetric.
    eta, sigma : float
        Step size, positive, and standard deviation of the label noise, in the units of the targets.
    batch_size : int
        Batch B, drawn with replacement, with fresh noise for every draw.
    scale : float
        c, the constant in front of the mean of squares: 1/2 or (section 9.2) 1/4.
    form : {"trace", "logdet"}
        First order in eta, or the form of Damian, Ma and Lee (2021), which needs eta lambda_max < 2.

    Returns
    -------
    float
        eta sigma^2/(4B) tr H for c = 1/2; both forms agree to O(eta^2).

    Raises
    ------
    ArgumentError
        If H is not symmetric, a number is out of range, or eta lambda_max >= 2 for the log-det form.

    Notes
    -----
    Source: section 9.5, item 3; Damian, Ma and Lee (2021) for the log-det form.

    Examples
    --------
    >>> from flowdyn import theory
    >>> theory.label_noise_penalty([[2.0]], eta=0.1, sigma=1.0)
    0.05
    """
    H = _check.matrix("H", H)
    if H.shape[0] != H.shape[1] or np.abs(H - H.T).max() > 1e-9 * np.abs(H).max():
        raise _check.fail("H", "must be a symmetric matrix", _check.Words(f"shape {H.shape}"))
    eta, sigma = _check.real("eta", eta, positive=True), _check.real("sigma", sigma, nonnegative=True)
    scale = _check.real("scale", scale, positive=True)
    batch = _check.integer("batch_size", batch_size, minimum=1)
    _check.choice("form", form, ("trace", "logdet"))
    if form == "trace":
        return float(scale * eta * sigma**2 / (2 * batch) * np.trace(H))
    values = np.linalg.eigvalsh(H)
    if eta * values[-1] >= 2:
        raise _check.fail("eta", f"must be below 2/lambda_max = {2 / values[-1]:g} for the log-det form", eta)
    return float(-scale * sigma**2 / batch * np.sum(np.log1p(-eta * values / 2)))
