"""What the flow of a linear network conserves:  W_{i+1}^T W_{i+1} - W_i W_i^T  between neighbouring layers.

Gradient descent changes it by  eta^2 (G_{i+1}^T G_{i+1} - G_i G_i^T)  a step, G_i the gradient of layer i.
"""

import functools

import jax
import jax.numpy as jnp

from flowdyn._tools.calls import told
from flowdyn.observables.base import Observable, required
from flowdyn.problems.base import Vector
from flowdyn.problems.layered import LayeredProblem


@told
def imbalance(problem: LayeredProblem) -> dict[str, Observable]:
    r"""Imbalance of neighbouring layers of a deep linear network, which its flow conserves.

    .. math:: W_{i+1}^\top W_{i+1} - W_i W_i^\top, \qquad i = 1, \dots, N - 1

    Parameters
    ----------
    problem : DeepLinear
        The network; descent at step eta changes its imbalance by O(eta^2) a step.

    Returns
    -------
    dict of str to Observable
        ``imbalance_1``, ..., one matrix a hidden layer, and ``imbalance``, the Frobenius norm of all of them together.

    Raises
    ------
    ArgumentError
        If `problem` is not a DeepLinear.

    Notes
    -----
    Balanced starts have imbalance 0. Source: Arora, Cohen and Hazan (2018); Saxe, McClelland and Ganguli (2014).

    Examples
    --------
    >>> import flowdyn as fd
    >>> p = fd.problems.DeepLinear([[2.0]], widths=[1])
    >>> run = fd.solve(fd.GradientFlow(p), [0.5, 0.3], t=2.0, observe=fd.observables.imbalance(p))
    >>> run.imbalance.values[[0, -1]].round(6).tolist()  # |0.3^2 - 0.5^2|
    [0.16, 0.16]
    """
    required(problem, LayeredProblem)

    def between(w: Vector, i: int) -> jax.Array:
        low, high = problem.layers(w)[i - 1 : i + 1]
        return high.T @ high - low @ low.T

    count = problem.depth - 1

    def norm(w: Vector) -> jax.Array:
        return jnp.sqrt(sum(jnp.sum(between(w, i) ** 2) for i in range(1, count + 1)))

    found = {"imbalance": Observable(norm, "Frobenius norm of the imbalance of all neighbouring layers")}
    for i in range(1, count + 1):
        text = f"imbalance of layers {i} and {i + 1}, conserved by the flow"
        dims = (f"hidden_{i}", f"hidden_{i}_2")
        found[f"imbalance_{i}"] = Observable(functools.partial(between, i=i), text, dims)
    return found
