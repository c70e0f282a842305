"""Tables that a user looks for, made from the registries and from results."""

import inspect
import re

import jax.numpy as jnp
import numpy as np

import flowdyn as fd
from flowdyn.methods.base import RecursionSystem
from flowdyn.methods.wrapping import Around
from flowdyn.solvers.base import STATUSES

MATH = re.compile(r"\.\. math::[ ]*(.*?)(?=\n\s*\n|\Z)", re.DOTALL)
SPREAD = np.array([1, 2, 3])

# how a clock's step follows from the numbers of a method, the first that is right
CLOCKS = {
    r"\eta k": lambda m, eta: eta,
    r"\sqrt\eta\, k": lambda m, eta: eta**0.5,
    r"\eta^2 k": lambda m, eta: eta**2,
    r"\eta k / l": lambda m, eta: eta / m.numbers["l"],
    r"\eta k / (1 - \beta)": lambda m, eta: eta / (1 - m.numbers["beta"]),
}
# of systems in continuous time that are the limit of no recursion here
OWN_CLOCKS = {
    "CentralFlow": r"that of the recursion whose mean it is",
    "RMSPropCentralFlow": r"$\eta k$ of RMSProp",
    "RMSPropStableFlow": r"$\eta k$ of RMSProp",
    "DualFlow": "that of `GradientFlow`",
    "KernelFlow": "that of `GradientFlow`",
    "LabelNoiseFlow": r"$\tau = \eta^2 k$ of `LabelNoiseSGD`",
    "NormalizedFlow": r"$s$, with $ds = L\,dt$; `log_t` is the logarithm of the gradient flow's own time",
    "HomogenizedSGD": r"$\eta k$ of one-pass SGD, $\eta = \gamma/d$",
    "GradientPenaltyFlow": r"$\eta k$ of gradient descent or `SAM`",
    "ModifiedFlow": r"$\eta k$ of `GradientDescent`",
}
# below which gradient descent is stable at the minimiser, 2 over the largest curvature there
STABLE = {
    "LinearRegression": r"$\eta < 2/\lambda_{\max}(X^\top X)$, which falls like $1/n$",
    "SquaredRegression": r"$\eta < n/\lambda_{\max}(D X^\top X D)$, $D = \operatorname{diag} w$: free of $n$",
    "SquaredPopulation": r"$\eta < 1/\max_j \theta^*_j$",
    "DiagonalNetwork": r"$\eta < 1/(2\,\lambda_{\max}(X D X^\top))$, $D = \operatorname{diag}(w_+^2 + w_-^2)$",
    "LinearClassifier": r"at $w = 0$: $\eta < 2/\lambda_{\max}(X^\top X)$ (exponential), "
    r"$8/\lambda_{\max}(X^\top X)$ (logistic); larger as the loss falls",
    "Quadratic": r"$\eta < 2/\lambda_{\max}(A)$",
    "Streaming": r"$\eta < 2/\lambda_{\max}(H)$ for the mean; "
    r"SGD on single samples: about $\eta < 2/\operatorname{tr} H$",
    "DeepLinear": r"two balanced layers: $\eta < 1/s_{\max}(S)$; see `fd.observables.sharpness`",
    "SymmetricFactorization": r"$\eta < 1/\lambda_{\max}(F)$",
}
MEANINGS = {
    "reached_end": ("the last save time was reached", "all rows are there"),
    "stopped": ("a rule of `stop` held", "a run ends there; a member of an ensemble is NaN after its `t_stop`"),
    "diverged": (
        "the state overflowed, or grew beyond bounds until steps vanished",
        'the run raises `RunError`; with `on_divergence="keep"` it has its rows before that, and `t_stop` says when',
    ),
    "nonfinite": (
        "the right-hand side, the step or the loss gave NaN or infinity, out of a state that had not grown",
        "as above",
    ),
    "max_steps": ("the budget of steps was used up; where steps had shrunk, the message says how far", "as above"),
    "max_seconds": ("the budget of wall time was used up", "as above"),
    "at_rest": ("`stop` is never met: nothing moves any more but rounding", "as above"),
    "stuck": (
        "all is finite, but no step can be taken: the one that the tolerance asks for is below the spacing of numbers "
        "(a kink, a jump that `breakpoints` do not name, a pole, a tolerance out of reach), or the equations of an "
        "implicit step of fixed length have no solution that was found",
        "as above",
    ),
}


def clocks() -> str:
    """Recursions with their clocks and limits, then the systems in continuous time."""
    systems = {name: getattr(fd, name).example()[0] for name in fd.methods.REGISTRY}
    recursions = {name: s for name, s in systems.items() if isinstance(s, RecursionSystem)}
    lines = ["| recursion | time of step $k$ | `limit(p)` | order of the gap at $p$ |", "|---|---|---|---|"]
    followed: dict[str, list[str]] = {}
    for name, system in recursions.items():
        limits = _limits(system)
        for limit in dict.fromkeys(limits.values()):
            followed.setdefault(limit, []).append(name)
        error = "weak" if system.is_random else "sup"
        orders = [f"{system.expected_order(order, error):g}" for order in limits]
        named = ", ".join(f"`{limit}`" for limit in dict.fromkeys(limits.values()))
        lines.append(f"| {_link(name)} | {clock(system)} | {named} | {', '.join(orders)} at {_run_of(limits)} |")
    lines += ["", "| in continuous time | its `t` |", "|---|---|"]
    for name in systems.keys() - recursions.keys():
        of = ", ".join(f"`{recursion}`" for recursion in followed.get(name, []))
        text = OWN_CLOCKS.get(name) or (f"that of {of}" if of else "the time of its equation")
        lines.append(f"| {_link(name)} | {text} |")
    lines[-len(systems) + len(recursions) :] = sorted(lines[-len(systems) + len(recursions) :])
    return "\n".join(lines)


def clock(system: RecursionSystem) -> str:
    """Formula of the training time of step k."""
    if isinstance(system, Around | fd.MeanRecursion):
        return "that of the recursion inside"
    if isinstance(system, fd.Recursion):
        return r"$t = \eta^q k$, $q$ = `clock_power`"
    times, eta = system.clock(SPREAD), float(system.eta.eta)
    for formula, step in CLOCKS.items():
        try:
            matches = np.allclose(times, SPREAD * float(step(system, eta)), rtol=1e-12)
        except KeyError:
            continue
        if matches and _follows(system, step):
            return f"$t = {formula}$"
    return f"$t_1 = {times[0]:.4g}$ at $\\eta = {eta:g}$"


def _follows(system: RecursionSystem, step) -> bool:
    """Whether the formula holds at another step size too."""
    other = system.with_eta(jnp.asarray(system.eta.eta / 3))
    return bool(np.allclose(other.clock(SPREAD), SPREAD * float(step(other, other.eta.eta)), rtol=1e-12))


def _run_of(orders) -> str:
    """The orders of limits in words: they have no gaps."""
    first, *rest = orders
    return f"$p = {first}$" + (f" to ${rest[-1]}$" if rest else "")


def _limits(system: RecursionSystem) -> dict[int, str]:
    """Order -> name of the limit of that order, up to order 2."""
    found = {}
    for order in range(3):
        try:
            found[order] = type(system.limit(order)).__name__
        except fd.ArgumentError:
            continue
    return found


def losses() -> str:
    """Each problem's loss with its constant, and the step sizes that suit it."""
    lines = ["| problem | loss | gradient descent is stable at the minimiser for |", "|---|---|---|"]
    for name in fd.problems.REGISTRY:
        docstring = inspect.getdoc(getattr(fd.problems, name)) or ""
        found = MATH.search(docstring)
        formula = " ".join(found[1].split()).removesuffix("\\qquad").removesuffix(", ") if found else ""
        stable = STABLE.get(name, "see `fd.observables.sharpness`")
        lines.append(f"| {_link(name, 'flowdyn.problems.')} | ${formula}$ | {stable} |".replace(r"\|", r"\Vert "))
    return "\n".join(lines)


def statuses() -> str:
    """What each value of `status` means."""
    rows = [f"| {code} | `{name}` | {MEANINGS[name][0]} | {MEANINGS[name][1]} |" for code, name in enumerate(STATUSES)]
    return "\n".join(["| value | name | what happened | what there is |", "|---|---|---|---|", *rows])


def schema() -> str:
    """Variables and coordinates of the kinds of result, read off small ones."""
    p = fd.problems.LinearRegression([[1.0, 2.0], [0.0, 1.0]], [1.0, 2.0])
    noisy = fd.problems.Quadratic(np.eye(2), noise=np.eye(2))
    gd, sgd = fd.GradientDescent(p, 0.1), fd.SGD(noisy, 0.1)
    first = {"first": lambda w: w[0]}
    made = {
        ("A run", "fd.solve(fd.GradientDescent(p, 0.1), w0, t=1.0)"): fd.solve(gd, p.init(), t=1.0),
        ("An ensemble", "fd.solve(fd.SGD(p, 0.1), w0, t=1.0, realizations=5)"): fd.solve(
            sgd, [1.0, 1.0], t=1.0, realizations=5
        ),
        ("A ladder", "fd.eta_limit(fd.GradientDescent(p, 0.1), w0, t=1.0)"): fd.eta_limit(gd, p.init(), t=1.0),
        ("A weak ladder", "fd.eta_limit(fd.SGD(p, 0.1), w0, t=1.0, observable=...)"): fd.eta_limit(
            sgd, [1.0, 1.0], t=1.0, observable=first
        ),
    }
    return "\n\n".join(f"### {title}\n\n`{call}`\n\n{_contents(ds)}" for (title, call), ds in made.items())


def _contents(ds) -> str:
    lines = ["| name | dims | what it is |", "|---|---|---|"]
    for place, arrays in (("", ds.data_vars), ("coordinate: ", ds.coords)):
        for name, array in arrays.items():
            text = str(array.attrs.get("long_name", "")).replace("|", "\\|")
            lines.append(f"| `{name}` | {', '.join(array.dims) or 'scalar'} | {place}{text} |")
    return "\n".join(lines)


def solvers() -> str:
    """What each solver takes, as it declares it."""
    lines = ["| solver | it | plain numpy | open end `t = inf` | order without noise |", "|---|---|---|---|---|"]
    for name in fd.solvers.REGISTRY:
        solver = getattr(fd.solvers, name)()
        takes = solver.support
        order = "" if solver.order is None else f"{solver.order:g}"
        yes = ["yes" if flag else "" for flag in (takes.plain_numpy, takes.open_end)]
        lines.append(f"| {_link(name, 'flowdyn.solvers.')} | {takes.runs} | {yes[0]} | {yes[1]} | {order} |")
    return "\n".join(lines)


def _link(name: str, prefix: str = "flowdyn.") -> str:
    return f"{{py:obj}}`{name} <{prefix}{name}>`"


TABLES = {"clocks": clocks, "losses": losses, "statuses": statuses, "schema": schema, "solvers": solvers}
