"""Tsitouras' pair of orders 5 and 4:  y+ = y + h sum_i b_i k_i,  k_i = f(t + c_i h, y + h sum_j a_ij k_j)

Inside a step  y(t + theta h) = y + h sum_i b_i(theta) k_i,  and the last stage is the first one of the next step.
Source: Tsitouras (2011), "Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption",
Comput. Math. Appl. 62, table 1 and equation (3).
"""

import numpy as np

C = (0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0)
A = (
    (),
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
    (0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
)
B = (*A[6], 0.0)
ERROR = (  # b_i minus those of order 4
    0.0017800110522257773,
    0.0008164344596567463,
    -0.007880878010261994,
    0.1447110071732629,
    -0.5823571654525552,
    0.45808210592918686,
    -1 / 66,
)
ORDER = 5

# of b_i(theta): a factor, and polynomials with the highest power first, of which it is the product
_FACTORS = (
    (-1.0530884977290216, (1, 0), (1, -1.3299890189751412), (1, -1.4364028541716351, 0.7139816917074209)),
    (0.1017, (1, 0, 0), (1, -2.1966568338249754, 1.2949852507374631)),
    (2.490627285651252793, (1, 0, 0), (1, -2.38535645472061657, 1.57803468208092486)),
    (-16.54810288924490272, (1, 0, 0), (1, -1.21712927295533244), (1, -0.61620406037800089)),
    (47.37952196281928122, (1, 0, 0), (1, -1.203071208372362603), (1, -0.658047292653547382)),
    (-34.87065786149660974, (1, 0, 0), (1, -1.2), (1, -2 / 3)),
    (2.5, (1, 0, 0), (1, -1), (1, -0.6)),
)


def _coefficients() -> np.ndarray:
    """Coefficients (7, 4) of theta, theta^2, theta^3, theta^4 in b_i(theta)."""
    rows = []
    for scale, *factors in _FACTORS:
        product = np.array([scale])
        for factor in factors:
            product = np.polymul(product, np.array(factor, dtype=float))
        rows.append(product[::-1][1:])
    return np.array(rows)


INSIDE = _coefficients()
