r"""Gradient noise scale: how many samples a batch needs until its gradient is worth more than its noise.

tr(Sigma) / ||g||^2,    tr(H Sigma) / (g^T H g),    g = grad L,  Sigma = Cov_i(grad l_i),  H = grad^2 L
"""

from typing import Any

import jax
import jax.numpy as jnp

from flowdyn import _check
from flowdyn._tools.calls import told
from flowdyn.observables.base import Observable, Shared, required
from flowdyn.problems.base import Problem

AT_ONCE = 16  # gradients, or products, of one batch


def _deviations(problem: Problem, w: jax.Array, g: jax.Array) -> Any:
    """Function (use) -> sum of use(d), d = (grad l_i - g) / sqrt(n), or columns of a factor: never all at once."""
    factor = problem.gaussian_factor
    if factor is not None:
        return lambda use: jax.lax.map(use, factor.T, batch_size=AT_ONCE).sum()
    if problem.fresh_numbers:
        motions = jnp.arange(problem.noise_dim)
        column = lambda i: problem.noise_product(w, (motions == i).astype(w.dtype))  # noqa: E731
        return lambda use: jax.lax.map(lambda i: use(column(i)), motions, batch_size=AT_ONCE).sum()
    n = problem.sample_count
    assert n is not None

    def deviation(i: jax.Array) -> jax.Array:
        own = jax.grad(lambda v: problem.batch_losses(v, i[None])[0])(w)
        return (own - g) / jnp.sqrt(n)

    return lambda use: jax.lax.map(lambda i: use(deviation(i)), jnp.arange(n), batch_size=AT_ONCE).sum()


def _scales(problem: Problem, options: tuple, w: jax.Array, memory: Any) -> tuple[dict, Any]:
    """Both noise scales; what divides by 0 is not a number."""
    (curved,) = options
    g, product = jax.linearize(problem.grad, w)
    total = _deviations(problem, w, g)

    def ratio(spread: jax.Array, signal: jax.Array) -> jax.Array:
        return jnp.where(signal == 0, jnp.nan, spread / jnp.where(signal == 0, 1.0, signal))

    found = {"plain": ratio(total(lambda d: d @ d), g @ g)}
    if curved:
        found["curved"] = ratio(total(lambda d: d @ product(d)), g @ product(g))
    return found, jnp.zeros(0)


@told
def gradient_noise_scale(problem: Problem, curvature: bool = False) -> dict[str, Observable]:
    r"""Batch size at which the noise of a gradient is as large as the gradient, exact over the samples.

    .. math:: \operatorname{tr}\Sigma / \|\nabla L\|^2, \qquad
              \operatorname{tr}(H \Sigma) / (\nabla L^\top H\, \nabla L)

    Parameters
    ----------
    problem : Problem
        A loss with samples, given or fresh, or with Gaussian gradient noise by its definition.
    curvature : bool
        Add the second form, which weighs directions by the Hessian, at the cost of a product with it a sample.

    Returns
    -------
    dict of str to Observable
        ``gradient_noise_scale`` and, with `curvature`, ``gradient_noise_scale_curved``; NaN where the gradient, or its
        curvature, is 0.

    Raises
    ------
    ArgumentError
        If `problem` is not a problem of flowdyn, or has no noise.

    Notes
    -----
    Sigma is the covariance of the gradients over all samples, summed sample by sample, or that of fresh samples in
    closed form: no estimate, so no error but rounding. Source: McCandlish, Kaplan, Amodei et al. (2018).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.LinearRegression([[1.0], [1.0]], [1.0, 3.0])  # gradients 2 (w - 1), 2 (w - 3), at w = 1
    >>> round(float(fd.observables.gradient_noise_scale(p)["gradient_noise_scale"]([1.0])), 12)
    1.0
    """
    curved = _check.flag("curvature", curvature)
    if not required(problem, Problem).noise_dim:
        way_out = "use a problem with data, or CustomProblem(..., sample_losses=...)"
        raise _check.fail("problem", "must have samples or Gaussian noise", type(problem).__name__, way_out)
    shared = Shared(problem, _scales, curved)
    text = "gradient noise scale tr(Sigma) / ||grad L||^2"
    seen = {"gradient_noise_scale": Observable.of(shared, lambda found: found["plain"], text)}
    if curved:
        text = "gradient noise scale tr(H Sigma) / (grad L^T H grad L)"
        seen["gradient_noise_scale_curved"] = Observable.of(shared, lambda found: found["curved"], text)
    return seen
