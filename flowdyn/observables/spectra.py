r"""Spectrum of the Hessian H = grad^2 L(w), from products with it (forward over reverse: two gradients each).

largest eigenvalues   block Lanczos, started from what the state before had
trace                 exact up to 200 parameters; above, Hutch++ with Q an orthonormal basis of H S and random signs g:
                      tr H = tr(Q^T H Q) + E g^T (I - QQ^T) H (I - QQ^T) g
"""

from typing import Any

import jax
import jax.numpy as jnp

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn._tools.lanczos import generic_rows, largest_eigenpairs, warm_start
from flowdyn.observables.base import Observable, Shared, required
from flowdyn.problems.base import Problem, Vector

TOLERANCE = 1e-9  # of an eigenvalue, relative
LOST = 1e-4  # relative error above which a largest eigenvalue is not known
WHOLE_HESSIAN_UP_TO = 200  # below this many parameters the whole Hessian is cheaper than an iteration of products
AT_ONCE = 16  # products of one batch


def _products(problem: Problem, w: Vector) -> Any:
    """Map from rows (b, P) to rows H v; the gradient is traced along w once for all of them."""
    _, product = jax.linearize(problem.grad, w)
    return jax.vmap(product)


def _largest(problem: Problem, options: tuple, w: jax.Array, memory: Any) -> tuple[dict, Any]:
    """The `count` largest eigenvalues with estimates of their errors; eigenvectors are remembered."""
    (count,) = options
    size = w.shape[0]
    if size <= WHOLE_HESSIAN_UP_TO:
        values = jnp.linalg.eigvalsh(problem.hessian(w))[::-1]
        rounding = jnp.full(count, jnp.finfo(float).eps) * jnp.abs(values).max()
        return {"values": values[:count], "errors": rounding}, jnp.zeros(0)
    # a symmetric start would miss an antisymmetric direction
    first = generic_rows(count + 1, size)
    start = first if memory is None else warm_start(memory, first)
    found = largest_eigenpairs(_products(problem, w), start, count, tol=TOLERANCE)
    return {"values": found.values, "errors": found.errors}, found.vectors


@told
def hessian_eigenvalues(problem: Problem, k: int = 5) -> dict[str, Observable]:
    r"""The k largest eigenvalues of the Hessian, each with an estimate of its error.

    .. math:: \lambda_1(\nabla^2 L(w)) \ge \dots \ge \lambda_k(\nabla^2 L(w))

    Parameters
    ----------
    problem : Problem
        Any loss.
    k : int
        How many, from 1 to the number of parameters.

    Returns
    -------
    dict of str to Observable
        ``hessian_eigenvalues`` and ``hessian_eigenvalues_error`` over the dimension ``mode``.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn, or k is out of range.

    Notes
    -----
    The whole Hessian up to 200 parameters; above, block Lanczos in blocks of k + 1, to 1e-9 relative or as far as 128
    products for each vector of a block go: the error says which. It is the residual, or its square over the gap below
    where that is less, with rounding. Along a run each state starts from the eigenvectors of the one before.
    Source: Golub and Van Loan (2013) for the iteration; Wu and Simon (2000) for the restarts.

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic([[3.0, 0.0], [0.0, 1.0]])
    >>> seen = fd.observables.hessian_eigenvalues(p, k=2)
    >>> run = fd.solve(fd.GradientFlow(p), [1.0, 1.0], t=1.0, saves=2, observe=seen)
    >>> run.hessian_eigenvalues[-1].values.round(9).tolist()
    [3.0, 1.0]
    """
    size = required(problem, Problem).size
    if _check.integer("k", k, minimum=1) > size:
        raise _check.fail("k", f"must be at most the number of parameters {size}", k)
    shared, over = Shared(problem, _largest, int(k)), ("mode",)
    text = f"the {k} largest eigenvalues of the Hessian of the loss"
    return {
        "hessian_eigenvalues": Observable.of(shared, lambda found: found["values"], text, over),
        "hessian_eigenvalues_error": Observable.of(shared, lambda found: found["errors"], f"error of {text}", over),
    }


@told
def sharpness(problem: Problem, eta: float | None = None) -> dict[str, Observable]:
    r"""Largest eigenvalue of the Hessian, and eta times it: where that nears 2, no flow follows gradient descent.

    .. math:: \lambda_{\max}(\nabla^2 L(w)), \qquad \eta\, \lambda_{\max}(\nabla^2 L(w))

    Parameters
    ----------
    problem : Problem
        Any loss.
    eta : float, optional
        Step size, positive; adds ``sharpness_eta``.

    Returns
    -------
    dict of str to Observable
        ``sharpness`` and, where eta is given, ``sharpness_eta``, one number each.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn, or eta is not positive.

    Notes
    -----
    As :func:`hessian_eigenvalues`, to 1e-9 relative; NaN where the estimate of its error stays above 1e-4 relative (a
    top eigenvalue lost beside large negative ones).
    Source: Cohen, Kaur, Li, Kolter and Talwalkar (2021).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic([[3.0, 0.0], [0.0, 1.0]])
    >>> seen = fd.observables.sharpness(p, eta=0.5)
    >>> run = fd.solve(fd.GradientDescent(p, 0.5), [1.0, 1.0], steps=2, observe=seen)
    >>> float(run.sharpness_eta[-1].round(9))
    1.5
    """
    shared = Shared(required(problem, Problem), _largest, 1)

    def largest(found: dict) -> jax.Array:
        value, error = jnp.asarray(found["values"])[..., 0], jnp.asarray(found["errors"])[..., 0]
        known = (error <= LOST * jnp.abs(value)) | (value == 0)
        return jnp.where(known, value, jnp.nan)

    seen = {"sharpness": Observable.of(shared, largest, "largest eigenvalue of the Hessian of the loss")}
    if eta is not None:
        step = _check.real("eta", eta, positive=True)
        text = "step size times the largest eigenvalue of the Hessian; gradient descent is stable below 2"
        seen["sharpness_eta"] = Observable.of(shared, lambda found: step * largest(found), text)
    return seen


def _trace(problem: Problem, options: tuple, w: jax.Array, memory: Any) -> tuple[dict, Any]:
    """Trace and its standard error; the random signs are the same at every state."""
    (probes,) = options
    size, rank = w.shape[0], probes // 3
    if size <= WHOLE_HESSIAN_UP_TO:
        return {"trace": jnp.trace(problem.hessian(w)), "error": jnp.zeros(())}, jnp.zeros(0)
    _, product = jax.linearize(problem.grad, w)

    def products(rows: jax.Array) -> jax.Array:
        return jax.lax.map(product, rows, batch_size=AT_ONCE)

    keys = jax.random.split(jax.random.key(1), 2)
    Q = jnp.linalg.qr(products(jax.random.rademacher(keys[0], (rank, size), float)).T)[0].T
    G = jax.random.rademacher(keys[1], (probes - 2 * rank, size), float)
    G = G - (G @ Q.T) @ Q
    terms = jnp.sum(G * products(G), axis=1)
    return {
        "trace": jnp.sum(Q * products(Q)) + terms.mean(),
        "error": terms.std(ddof=1) / jnp.sqrt(len(terms)),
    }, jnp.zeros(0)


@told
def hessian_trace(problem: Problem, probes: int = 60) -> dict[str, Observable]:
    r"""Trace of the Hessian with its standard error: exact up to 200 parameters, an estimate above.

    .. math:: \operatorname{tr} \nabla^2 L(w)

    Parameters
    ----------
    problem : Problem
        Any loss.
    probes : int
        Products with the Hessian that an estimate takes, at least 6.

    Returns
    -------
    dict of str to Observable
        ``hessian_trace`` and its standard error ``hessian_trace_error`` (0 where it is exact), one number each.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn, or there are fewer than 6 probes.

    Notes
    -----
    A third of the products finds the directions of large curvature, a third takes the trace there exactly, the rest
    samples what is left. All states share the random numbers, so that differences along a run have less noise than
    the values. Source: Meyer, Musco, Musco and Woodruff (2021).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.Quadratic([[3.0, 0.0], [0.0, 1.0]])
    >>> run = fd.solve(fd.GradientFlow(p), [1.0, 1.0], t=1.0, saves=2, observe=fd.observables.hessian_trace(p))
    >>> float(run.hessian_trace[-1]), float(run.hessian_trace_error[-1])
    (4.0, 0.0)
    """
    count = _check.integer("probes", probes, minimum=6)
    shared = Shared(required(problem, Problem), _trace, count)
    text = "trace of the Hessian of the loss"
    return {
        "hessian_trace": Observable.of(shared, lambda found: found["trace"], text),
        "hessian_trace_error": Observable.of(shared, lambda found: found["error"], f"standard error of the {text}"),
    }
