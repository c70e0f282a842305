r"""Six optimisers of optax beside the flows that their own updates make: orders 1 to 4, or no limit and why.

.. math::

    w_\eta(t) - w_p(t) = O(\eta^{p+1}), \qquad w_p' = \sum_{j=0}^{p} \frac{(-1)^j}{j+1} \Delta^j u(w_p), \qquad u(z) = \frac{S_\eta(z) - z}{\eta}

Panels:

1. Largest distance of each optimiser from the flows of order 0 to 3 that its own update makes, against its step size.
"""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import flowdyn as fd
from studies.claims import Findings, at_least, equal
from studies.drawing import ticks_at
from studies.networks import toy

START = [1.5, 0.2]
WARM = {"t0": 0.5, "moments": {"mu": [0.3, -0.2], "nu": [0.4, 0.3]}}
SOURCE = "Hairer, Lubich and Wanner (2006), IX.1"


def rmsprop(h):
    """RMSProp from a second moment of 0.3."""
    return optax.rmsprop(h, decay=1 - 2 * h, eps=0.05, initial_scale=0.3)


def adam(h):
    """Adam with memories of 1/4 and 1."""
    return optax.adam(h, b1=1 - 4 * h, b2=1 - h, eps=0.05)


def adamw(h):
    """The same with decoupled decay."""
    return optax.adamw(h, b1=1 - 4 * h, b2=1 - h, eps=0.05, weight_decay=0.1)


def trace(h):
    """Momentum by a trace of gradients, whose step is h^2."""
    return optax.sgd(h * h, momentum=1 - 2 * h)


def chain(h):
    """Clipping, an average of gradients, a second moment, decayed weights."""
    moments = [optax.ema(1 - 4 * h, debias=False), optax.scale_by_rms(decay=1 - h, eps=0.05, initial_scale=0.3)]
    return optax.chain(optax.clip_by_global_norm(2.0), *moments, optax.add_decayed_weights(0.1), optax.scale(-h))


OPTIMISERS = {"sgd": optax.sgd, "rmsprop": rmsprop, "adam": adam, "adamw": adamw, "trace": trace, "chain": chain}
COLORS = ("#0072B2", "#009E73", "#D55E00", "#CC79A7")


def study(quick: bool = False) -> Findings:
    """A ladder for each optimiser and order; a fixed beta2 and the trace at order 0 are refused."""
    p = fd.problems.CustomProblem(toy, jnp.array(START))
    etas = 0.02 / 2.0 ** np.arange(5)
    orders = (0, 3) if quick else (0, 1, 2, 3)
    claims, runs, refused = [], {}, 0
    chosen = ("sgd", "rmsprop") if quick else tuple(OPTIMISERS)
    rows = 1 if quick else 2
    figure, grid = plt.subplots(
        rows, len(chosen) // rows, figsize=(9.5, 3.4 * rows), layout="constrained", sharey=True, squeeze=False
    )
    axes = grid.ravel()
    for axis, name in zip(axes, chosen, strict=True):
        method = fd.Optax(p, OPTIMISERS[name], 0.02, **(WARM if name.startswith("adam") else {}))
        for order in orders:
            if name == "trace" and order == 0:  # a trace of gradients is of size 1/h
                continue
            ladder = fd.eta_limit(method, START, t=1.0, etas=etas, order=order, saves=6)
            claims.append(equal(f"order of {name}'s gap, limit {order}", order + 1, ladder.order.item(), 0.05, SOURCE))
            runs[f"{name}_{order}"] = ladder
            axis.loglog(etas, ladder.sup_error, "o-", ms=3, color=COLORS[order], label=f"limit {order}")
        axis.set(xlabel=r"$\eta$", title=name)
        ticks_at(axis, etas[[0, -1]])
    for axis in grid[:, 0]:
        axis.set_ylabel(r"$\sup_t \|w_\eta - w\|$")
    axes[0].legend(frameon=False, fontsize=8)
    fixed = fd.Optax(p, lambda h: optax.adam(h, b1=1 - h, b2=0.999, eps=0.05), 0.02, **WARM)
    for method in (fixed, fd.Optax(p, trace, 0.02)):
        try:
            fd.eta_limit(method, START, t=1.0, order=0)
        except fd.ArgumentError as error:
            refused += "must tend to the identity" in str(error)
    claims.append(at_least("refused: fixed beta2, and the trace at order 0", 2, refused, SOURCE))
    question = "Which flow does an optimiser that nobody has analysed follow, and to which order?"
    return Findings(question, claims, figure, runs)
