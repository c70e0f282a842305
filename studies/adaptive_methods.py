r"""Adaptive methods with noisy gradients: their two regimes, and which of the two limits a ladder sees.

.. math::

    w_{k+1} = w_k - \eta \frac{g_k}{\sqrt{v_k} + \epsilon}, \qquad g_k = \nabla L(w_k) + \sigma \zeta_k; \qquad
    \sigma \text{ fixed},\ t = \eta k \quad\text{or}\quad \sigma = \frac{s_0}{\eta},\ t = \eta^2 k

Panels:

1. RMSProp with noise as it is: error of the mean at t = 1 by the flow and by the equations of order 1 and 2.
2. RMSProp and Adam where noise dominates: weak errors of two means by the equation of order 1.
3. Variance at the end along three ladders of one method: its limit is that of the flow or that of the equation.
"""

import matplotlib.pyplot as plt
import numpy as np

import flowdyn as fd
from studies.claims import Findings, at_least, equal
from studies.drawing import ticks_at
from studies.exact import amplified, ballistic, both, coin, of_linear_law, on_a_grid, slopes

RMSPROP = {"s0": 1.0, "c2": 1.0, "e0": 0.1, "u0": 2.0}
ADAM = {"s0": 1.0, "c1": 4.0, "c2": 1.0, "e0": 0.1, "t0": 0.5, "m0": 0.3, "u0": 0.4}
BOX = ((-0.9, 1.5), (0.22, 1.95))  # of w and v
STEPS, OBSERVED = np.array([5, 10, 20]), ("E w", "E w^2")
PAPER, OURS = "Malladi et al. (2022)", "from the step, of our own"
COLORS, SIGNS = ("#0072B2", "#D55E00", "#009E73"), coin(1.0)


def as_it_is_claims(curves):
    """Noise that stays while eta falls: a flow of order 0, equations of order 1 and 2."""
    methods = [fd.NoisyRMSProp(coin(0.4), 1 / steps, decay_rate=1.0, eps=0.1, v0=1.5) for steps in STEPS]
    chains = np.array([ballistic(m, steps) for m, steps in zip(methods, STEPS.tolist(), strict=True)])
    end = fd.solve(methods[-1].limit(0), [1.0], t=1.0, saves=2, solver=fd.solvers.Scipy("DOP853", 1e-11, 1e-13)).w[-1]
    limits = {0: np.tile(both(end), (3, 1))}
    points = zip(methods, (14, 14, 18), strict=True)
    found = [[on_a_grid(m.limit(p), [1.0, 1.5], 1.0, BOX, n) for p in (1, 2)] for m, n in points]
    limits |= {p: np.array([row[p - 1] for row in found]) for p in (1, 2)}
    known = {1: (0.43434997, 0.19097914), 2: (0.42912731, 0.18643486), "chain": (0.42898481, 0.18639615)}
    claims = []
    for name, found in (("chain", chains), *list(limits.items())[1:]):
        tolerance, what = (6e-9, "chain of 20 steps") if name == "chain" else (4e-7, f"equation of order {name}")
        for o, value, got in zip(OBSERVED, known[name], found[-1], strict=True):
            claims.append(equal(f"RMSProp, noise as it is, {what}: {o}", value, got, tolerance, OURS))
    for order, expected in zip(limits, (1.03, 1.04, 2.05), strict=True):
        curves[order] = gaps = np.abs(chains - limits[order])
        claims.append(equal(f"slope of its E w, order {order}", expected, slopes(gaps, STEPS)[-1, 0], 0.006, OURS))
    return claims


def dominated_claims(curves):
    """Noise that grows as eta falls."""
    known = {
        "RMSProp": (RMSPROP, 1.0, (0.48246928, 0.51870091), {20: (0.4757707, 0.5135934)}),
        "Adam": (ADAM, 0.25, (0.86653811, 0.78945857), {5: (0.86355928,), 10: (0.86486220,), 20: (0.86565268,)}),
    }
    claims = []
    for name, (numbers, t, law, means) in known.items():
        cls = {"RMSProp": fd.NoiseDominatedRMSProp, "Adam": fd.NoiseDominatedAdam}[name]
        limit = cls(SIGNS, 0.1, **numbers).limit(1)
        exact = of_linear_law(limit, limit.lift(np.ones(1)), t)
        chains = np.array([amplified(cls(SIGNS, (t / k) ** 0.5, **numbers), k) for k in STEPS.tolist()])
        curves[name], curves["law", name] = np.abs(chains - exact), exact
        for o, value, got in zip(OBSERVED, law, exact, strict=True):
            claims.append(equal(f"{name} where noise dominates, equation: {o}", value, got, 6e-9, PAPER))
        for steps, values in means.items():
            found = chains[STEPS.tolist().index(steps)]
            for o, value, got in zip(OBSERVED, values, found, strict=False):
                claims.append(equal(f"its chain of {steps} steps: {o}", value, got, 6e-8, PAPER))
    for o, column in zip(OBSERVED, slopes(curves["RMSProp"], STEPS).T, strict=True):
        for value, found in zip({"E w": (1.142, 1.067), "E w^2": (1.018, 1.038)}[o], column, strict=True):
            claims.append(equal(f"slope of RMSProp's {o} where noise dominates", value, found, 6e-4, PAPER))
    return claims


def ladder_claims(curves):
    """From one method of four steps on: at a fixed problem a ladder sees the flow, or by SVAG the equation."""
    rungs, fine, law = np.array([4, 8, 12, 16, 20]), np.array([4, 6, 8, 10]), curves["law", "RMSProp"]
    plain = {k: fd.NoisyRMSProp(coin(2.0), 2 / k, decay_rate=0.5, eps=0.2, v0=8.0) for k in rungs.tolist()}
    curves["eta falls"] = rungs, np.array([ballistic(m, k) for k, m in plain.items()])
    moved = [amplified(fd.NoiseDominatedRMSProp(SIGNS, k**-0.5, **RMSPROP), k) for k in rungs.tolist()]
    curves["noise grows"] = rungs, np.array(moved)
    refined = [amplified(fd.NoiseDominatedRMSProp(SIGNS, k**-0.5, **RMSPROP, imitated=0.5), k) for k in fine.tolist()]
    curves["SVAG"] = fine, np.array(refined)
    flow = fd.solve(plain[4].limit(0), [1.0], t=2.0, saves=2).w[-1].item()
    found = curves["eta falls"][1]
    start = np.ptp([x[1][0] for x in (curves["eta falls"], curves["noise grows"], curves["SVAG"])], axis=0).max()
    variance = (found[:, 1] - found[:, 0] ** 2)[:, None]
    return [
        equal("three ladders start from one method: largest difference", 0.0, start, 1e-13, PAPER),
        equal("slope of the variance as eta falls", 1.0, slopes(variance, rungs)[-1, 0], 0.05, OURS),
        equal("slope of its E w beside the flow", 1.0, slopes(abs(found[:, :1] - flow), rungs)[-1, 0], 0.05, OURS),
        at_least("its E w^2 stays away from the equation", 0.2, law[1] - found[-1, 1], PAPER),
        equal("slope of SVAG's E w in 1/l^2", 1.0, slopes(abs(refined - law), fine)[-1, 0], 0.07, PAPER),
    ]


def study(quick: bool = False) -> Findings:
    """Weak orders in both regimes; one method refined in three ways."""
    curves, runs = {}, {}
    claims = as_it_is_claims(curves) + dominated_claims(curves) + ladder_claims(curves)
    svag = fd.NoiseDominatedRMSProp(SIGNS, 0.5, **RMSPROP, imitated=0.5)
    if quick:
        runs["svag"] = fd.solve(svag.with_eta(0.125), [1.0], t=1.0, realizations=200)
    else:
        etas = 0.5 / np.sqrt([2, 4, 8, 16])
        more = {"etas": etas, "error": "weak", "observable": {"w": lambda w: w[0]}, "realizations": 200_000, "seed": 1}
        runs["svag"] = ladder = fd.eta_limit(svag, [1.0], t=1.0, order=1, **more)
        claims.append(equal("order of a sampled ladder of SVAG", 1.0, ladder.order.item(), 0.3, PAPER))
    figure, axes = plt.subplots(1, 3, figsize=(12.5, 3.8), layout="constrained")
    for order, color in zip((0, 1, 2), COLORS, strict=True):
        axes[0].loglog(STEPS, curves[order][:, 0], "o-", ms=4, color=color, label=f"order {order}")
    for name, color in zip(("RMSProp", "Adam"), COLORS, strict=False):
        for column, mark, text in ((0, "o-", "E\\,w"), (1, "s--", "E\\,w^2")):
            axes[1].loglog(STEPS, curves[name][:, column], mark, ms=4, color=color, label=f"{name}, ${text}$")
    for name, color in zip(("eta falls", "SVAG", "noise grows"), COLORS, strict=True):
        steps, found = curves[name]
        text = {"eta falls": r"$\eta$ and $1 - \beta$ fall", "SVAG": "SVAG", "noise grows": "noise grows"}[name]
        axes[2].plot(steps, found[:, 1] - found[:, 0] ** 2, "o-", ms=4, color=color, label=text)
    mean, square = curves["law", "RMSProp"]
    axes[2].axhline(square - mean**2, color="#666666", ls=":", label="equation")
    axes[2].axhline(0, color="#666666", ls="--", label="flow")
    axes[0].set(title="noise as it is: RMSProp", ylabel="error of $E\\,w$ at $t = 1$")
    axes[1].set(title="noise dominates, order 1", ylabel="weak error")
    axes[2].set(title="one method, three ladders", ylabel="variance of $w$ at the end", ylim=(-0.02, 0.42))
    for axis, values in zip(axes, (STEPS, STEPS, curves["eta falls"][0]), strict=True):
        axis.set_xlabel("steps $K$")
        axis.legend(frameon=False, fontsize=8, ncols=2 if axis is axes[2] else 1)
        ticks_at(axis, values)
    question = "Which limit of an adaptive method with noisy gradients does a ladder see, and to which order?"
    return Findings(question, claims, figure, runs)
