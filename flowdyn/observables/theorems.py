"""Observables of the theorems.

signal and noise  w = r e_j + zeta,  M = X^T X / n:   grad L = m ⊙ w,   m = (r^2 - 1) e_j - u + v         (9.45)-(9.53)
                  u = (r^2 - 1)(I - M) e_j,   v = M (zeta ⊙ zeta)
margins           min_i m_i / ||w||,   -log L / ||w||,   m_i = y_i <w, x_i>                       (9.140), (9.156)
invariant         w+ ⊙ w-                                                                                 (9.114)
span residual     ||(I - X^+ X) theta||                                                               (Theorem 9.3)
kernel distance   ||K(w) - K(w0)|| / ||K(w0)||,  K = J J^T                                                (9.107)
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn.observables.base import Observable, required
from flowdyn.problems.base import Vector
from flowdyn.problems.diagonal_network import DiagonalNetwork
from flowdyn.problems.linear_classifier import LinearClassifier
from flowdyn.problems.linear_regression import LinearRegression
from flowdyn.problems.regression import Regression
from flowdyn.problems.squared_regression import SquaredRegression


@told
def signal_noise(problem: SquaredRegression, coordinate: int = 0) -> dict[str, Observable]:
    r"""Signal and noise of section 9.2.4, for a truth that is the unit vector of one coordinate.

    .. math:: w = r e_j + \zeta, \quad \nabla L = m \odot w, \quad m = (r^2 - 1) e_j - u + v

    Parameters
    ----------
    problem : SquaredRegression
        Targets y = X e_j.
    coordinate : int
        j, the position of the truth.

    Returns
    -------
    dict of str to Observable
        ``signal`` r, ``noise`` zeta, ``m``, ``u``, ``v`` over the features, and the norms ``noise_max``
        (largest entry), ``noise_norm`` (Euclidean), ``u_max``, ``v_max``.

    Raises
    ------
    ArgumentError
        If `problem` is another one, its targets are not X e_j, or `coordinate` is no feature.

    Notes
    -----
    Their bounds are :func:`flowdyn.theory.recovery_bounds`. v is misprinted in the source.
    Source: section 9.2.4, equations (9.45)-(9.53).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.SquaredRegression([[1.0, 0.5]], [1.0])
    >>> seen = fd.observables.signal_noise(p)
    >>> run = fd.solve(fd.GradientFlow(p), p.init(alpha=0.1), t=5.0, observe=seen)
    >>> bool(run.signal[-1] > 0.8)
    True
    """
    X = required(problem, SquaredRegression).X
    d = X.shape[1]
    if _check.integer("coordinate", coordinate, minimum=0) >= d:
        raise _check.fail("coordinate", f"must be below the number of features {d}", coordinate)
    gap = float(jnp.abs(problem.y - X[:, coordinate]).max())
    if gap > 1e-9 * max(1.0, float(jnp.abs(X).max())):
        raise _check.fail(
            "problem", f"must have the targets X e_{coordinate}, the one-sparse truth", f"targets {gap:.3g} away"
        )
    unit = jnp.zeros(d).at[coordinate].set(1.0)

    def product(vector: Vector) -> jax.Array:
        return X.T @ (X @ vector) / X.shape[0]

    def noise(w: Vector) -> Vector:
        return w * (1 - unit)

    def u(w: Vector) -> jax.Array:
        return (w[coordinate] ** 2 - 1) * (unit - product(unit))

    def v(w: Vector) -> jax.Array:
        return product(noise(w) ** 2)

    over = ("feature",)
    return {
        "signal": Observable(lambda w: w[coordinate], "signal r, the entry of w on the support"),
        "noise": Observable(noise, "noise zeta, w off the support", over),
        "m": Observable(lambda w: product(w * w - unit), "m of grad L = m * w", over),
        "u": Observable(u, "u = (r^2 - 1)(I - M) e", over),
        "v": Observable(v, "v = M (zeta * zeta)", over),
        "noise_max": Observable(lambda w: jnp.abs(noise(w)).max(), "largest entry of the noise"),
        "noise_norm": Observable(lambda w: jnp.linalg.norm(noise(w)), "Euclidean norm of the noise"),
        "u_max": Observable(lambda w: jnp.abs(u(w)).max(), "largest entry of u"),
        "v_max": Observable(lambda w: jnp.abs(v(w)).max(), "largest entry of v"),
    }


@told
def margins(problem: LinearClassifier) -> dict[str, Observable]:
    r"""Norm, margin and smooth margin of a linear classifier; 0 at the origin.

    .. math:: \gamma(w) = \min_i y_i\langle w, x_i\rangle / \|w\|, \qquad \tilde\gamma(w) = -\log L(w) / \|w\|

    Parameters
    ----------
    problem : LinearClassifier
        With the logistic loss the smooth margin is -log(e^L - 1) / ||w||, for which the theorem's inequality holds.

    Returns
    -------
    dict of str to Observable
        ``norm``, ``margin`` gamma and ``smooth_margin``, one number each.

    Raises
    ------
    ArgumentError
        If `problem` is not a LinearClassifier.

    Notes
    -----
    Source: section 9.4, equations (9.140) and (9.156); Lyu and Li (2020) for the logistic form.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearClassifier([[2.0, 0.0], [0.0, 1.0]], [1, 1])
    >>> run = fd.solve(fd.GradientDescent(p, 0.1), p.init(), steps=100, observe=fd.observables.margins(p))
    >>> bool(run.smooth_margin[-1] <= run.margin[-1])
    True
    """
    required(problem, LinearClassifier)

    return {
        "norm": Observable(jnp.linalg.norm, "Euclidean norm of w"),
        "margin": Observable(problem.margin, "margin min_i y_i <w, x_i> / ||w||"),
        "smooth_margin": Observable(problem.smooth_margin, "smooth margin"),
    }


@told
def invariant(problem: DiagonalNetwork) -> dict[str, Observable]:
    r"""Product ``w+ ⊙ w-`` of a diagonal network, which its flow conserves.

    .. math:: w_+(t) \odot w_-(t) = w_+(0) \odot w_-(0)

    Parameters
    ----------
    problem : DiagonalNetwork
        The network; descent at step eta keeps the product to O(eta) only.

    Returns
    -------
    dict of str to Observable
        ``invariant`` over the features.

    Raises
    ------
    ArgumentError
        If `problem` is not a DiagonalNetwork.

    Notes
    -----
    Source: section 9.3, equation (9.114): the exponents of the two halves are opposite.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.DiagonalNetwork([[1.0, 0.5]], [1.0])
    >>> run = fd.solve(fd.GradientFlow(p), p.init(alpha=0.5), t=3.0, observe=fd.observables.invariant(p))
    >>> run.invariant.isel(t=-1).values.round(6).tolist()
    [0.25, 0.25]
    """
    required(problem, DiagonalNetwork)

    def product(w: Vector) -> jax.Array:
        w_plus, w_minus = jnp.split(w, 2)
        return w_plus * w_minus

    return {"invariant": Observable(product, "w+ * w-, conserved by the flow", ("feature",))}


@told
def span_residual(problem: LinearRegression | LinearClassifier) -> dict[str, Observable]:
    r"""Norm of the part of w off the span of the rows of X, which no gradient of a linear model changes.

    .. math:: \|(I - X^+ X)\, w\|

    Parameters
    ----------
    problem : LinearRegression or LinearClassifier
        Data X (n, d).

    Returns
    -------
    dict of str to Observable
        ``span_residual``, one number.

    Raises
    ------
    ArgumentError
        If `problem` is another one.

    Notes
    -----
    Source: section 9.1, the proof of Theorem 9.3.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearRegression([[1.0, 0.0]], [2.0])
    >>> run = fd.solve(fd.GradientFlow(p), [0.0, 3.0], t=5.0, observe=fd.observables.span_residual(p))
    >>> run.span_residual.values[[0, -1]].tolist()
    [3.0, 3.0]
    """
    if not isinstance(problem, LinearRegression | LinearClassifier):
        raise _check.fail("problem", "must be a LinearRegression or a LinearClassifier", type(problem).__name__)
    X = np.asarray(problem.X)
    _, s, rows = np.linalg.svd(X, full_matrices=False)
    basis = jnp.asarray(rows[s > max(X.shape) * np.finfo(float).eps * s.max(initial=0.0)])
    text = "norm of the part of w off the span of the data's rows"
    return {"span_residual": Observable(lambda w: jnp.linalg.norm(w - basis.T @ (basis @ w)), text)}


@told
def kernel_distance(problem: Regression, w0: Any) -> dict[str, Observable]:
    r"""Relative distance of the tangent kernel from the one at w0: 0 in the kernel regime.

    .. math:: \|K(w) - K(w_0)\|_F / \|K(w_0)\|_F, \qquad K = J J^\top

    Parameters
    ----------
    problem : Regression
        Squared loss on any predictor.
    w0 : array_like of float, shape (P,), mapping or pytree
        Where the kernel is compared with.

    Returns
    -------
    dict of str to Observable
        ``kernel_distance``, one number.

    Raises
    ------
    ArgumentError
        If `problem` is not a regression, or its kernel vanishes at w0.

    Notes
    -----
    Source: section 9.3, equation (9.107) and Remark 9.21; Jacot, Gabriel and Hongler (2018).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.DiagonalNetwork([[1.0, 0.5]], [1.0])
    >>> w0 = p.init(alpha=10.0)
    >>> run = fd.solve(fd.GradientFlow(p), w0, t=1.0, observe=fd.observables.kernel_distance(p, w0))
    >>> bool(run.kernel_distance[-1] < 1e-4)
    True
    """
    start = jnp.asarray(required(problem, Regression).ravel(w0))
    if not float(jnp.linalg.norm(problem.tangent_kernel(start))) > 0:
        raise _check.fail("w0", "must have a tangent kernel that is not zero", w0, "distances are relative to it")
    text = "relative distance of the tangent kernel from that of the start"
    return {"kernel_distance": Observable(lambda w: problem.kernel_distance(w, start), text)}
