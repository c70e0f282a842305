"""What a result says of itself, in words: what ran, how it ended, its numbers, its order, its claims."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.methods.systems import System
from flowdyn.pages.formulas import formulas_in, mathml
from flowdyn.pages.grids import grid_sentence, grid_words, kind_words
from flowdyn.pages.sections import Claim, Markup, Picture, Section, claim_row, plain
from flowdyn.results.recipes import class_of, read_json
from flowdyn.results.schema import SAVE

ENDINGS = {
    "reached_end": "reached the end",
    "stopped": "stopped by its rule",
    "at_rest": "came to rest",
    "max_steps": "ran out of steps",
    "max_seconds": "ran out of time",
    "nonfinite": "stopped being finite",
}
WELL = ("reached_end", "stopped", "at_rest")
MOST_RECIPES, MOST_TEXT = 3, 20_000  # shown, and characters of them
INNER, DEEPEST = ("recursion", "method", "problem"), 4  # what a method is made from, and how far that is looked into
RESOLVED = "resolved"  # the verdict of a ladder that has an order
GROWN = 1e-12  # share of a loss, that is rounding


def section_of(ds: xr.Dataset, name: str, pictures: Sequence[Picture], file: str = "", why: str = "") -> Section:
    """The section of one Dataset; `why` it has no picture, where it has none."""
    attrs, recipes = ds.attrs, _recipes(ds)
    not_drawn = f"Not drawn: {why}." if why else ""
    facts = {
        "what": attrs.get("title", "no title"),
        "kind": kind_words(ds),
        "numbers": "; ".join(filter(None, [grid_words(ds), _said(_numbers(ds))])),
        "ended": _ended(ds),
        "outcome": _outcome(ds),
    }
    return Section(
        name=plain(name),
        title=plain(attrs.get("title", name)),
        words=[plain(text) for text in (attrs.get("summary"), grid_sentence(ds), *order_words(ds), not_drawn) if text],
        formulas=_formulas(recipes[0]) if recipes else [],
        pictures=pictures,
        claims=_claims(attrs),
        facts={key: plain(text) for key, text in facts.items()},
        notes=[plain(text) for text in (_references(attrs), attrs.get("history"), _versions(attrs)) if text],
        details={"recipe": _pretty(recipes), "data": Markup(ds._repr_html_())},
        file=file,
        warns=_warns(ds),
    )


def _references(attrs: dict) -> str:
    """What is cited; the attribute stands there, for CF asks for it, where there is nothing."""
    references = str(attrs.get("references", ""))
    return "" if references == "none" else references


def _ended(ds: xr.Dataset) -> str:
    """How the run ended, or how many of them did how."""
    endings = _endings(ds)
    said = {end: ENDINGS.get(end, end.replace("_", " ")) for end in endings}
    return ", ".join(f"{count} {said[end]}" if len(endings) > 1 else said[end] for end, count in endings.items())


def _outcome(ds: xr.Dataset) -> str:
    """The order of a ladder, or the loss at the end of a run; the smallest and the largest of several."""
    if "order" in ds and "order_interval" in ds:
        parts = zip(np.ravel(ds.order.values), ds.order_interval.values.reshape(-1, 2), strict=True)
        text = "order " + ", ".join(f"{order:.4g} [{low:.4g}, {high:.4g}]" for order, (low, high) in parts)
        verdict = str(ds.attrs.get("verdict", RESOLVED))
        return text if verdict == RESOLVED else f"{text}; {verdict}"
    first, last = _losses(ds)
    if not last.size:
        return ""
    what = "mean loss" if "realization" in ds.loss.dims else "loss"
    text = f"{what} {last.min():.4g}" + (f" to {last.max():.4g}" if last.size > 1 else "")
    count = int(_has_grown(first, last).sum())
    if last.size > 1:
        return f"{text}, grown in {count:,} of {last.size:,}" if count else text
    return f"{text}, grown from {first.item():.4g}" if count else text


def _losses(ds: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last loss of each run that has one, of the means over members."""
    if "loss" not in ds:
        return np.zeros(0), np.zeros(0)
    loss = ds.loss.mean("realization") if "realization" in ds.loss.dims else ds.loss
    row = next((dim for dim in ("t", SAVE) if dim in loss.dims), "")
    if not row:  # at one time
        loss, row = loss.drop_vars("t", errors="ignore").expand_dims("t"), "t"
    values = loss.transpose(..., row).values.reshape(-1, loss.sizes[row])
    known = np.isfinite(values)
    rows = np.flatnonzero(known.any(axis=-1))
    last = known.shape[-1] - 1 - known[rows, ::-1].argmax(axis=-1)  # where a run has its last number
    return values[rows, known[rows].argmax(axis=-1)], values[rows, last]


def _has_grown(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Whether losses grew by more than rounding: that of a loss, or of a square of a small difference."""
    return last > first * (1 + GROWN) + GROWN**2


def _warns(ds: xr.Dataset) -> tuple[str, ...]:
    """The facts that a reader is warned of."""
    badly = ("ended",) if set(_endings(ds)) - set(WELL) else ()  # no_run, of a failed cell, too
    lost = ds.attrs.get("verdict", RESOLVED) != RESOLVED or _has_grown(*_losses(ds)).any()
    return (*badly, "outcome") if lost else badly


def _endings(ds: xr.Dataset) -> dict[str, int]:
    """How often each ending occurs among the runs of a Dataset."""
    if "status" not in ds or ds.status.dtype.kind not in "iuf":
        return {}
    meanings = str(ds.status.attrs.get("flag_meanings", "")).split()
    known = {float(code): meaning for code, meaning in zip(_flags(ds), meanings, strict=False)}
    codes = Counter(np.asarray(ds.status.values, dtype=float).ravel().tolist())
    if any(code == code and not code.is_integer() for code in codes):  # a mean of them is no ending
        return {}
    codes = Counter({code: count for code, count in codes.items() if code == code})  # a join has filled it up
    return {known.get(code, f"status {code:g}"): count for code, count in sorted(codes.items())}


def _flags(ds: xr.Dataset) -> list[float]:
    return np.atleast_1d(ds.status.attrs.get("flag_values", [])).tolist()


def _said(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in numbers.items())


def _numbers(ds: xr.Dataset) -> dict[str, float]:
    """Scalar coordinates: the numbers of the system by which runs are told apart."""
    return {str(name): c.item() for name, c in ds.coords.items() if c.ndim == 0 and c.dtype.kind in "biuf"}


def order_words(ds: xr.Dataset) -> list[str]:
    """The order of a ladder in one sentence for each observable, with its verdict."""
    if not {"order", "order_interval", "order_expected"} <= set(ds.data_vars):
        return []
    said = []
    parts = [ds.isel(observable=i) for i in range(ds.sizes.get("observable", 1))] if "observable" in ds.dims else [ds]
    for part in parts:
        of = f" of {part.observable.item()}" if "observable" in part.coords else ""
        low, high = np.ravel(part.order_interval.values)[:2]
        expected = float(np.ravel(part.order_expected.values)[0])
        if part.order.ndim:  # many ladders, each with an interval of its own
            least, most = float(part.order.min()), float(part.order.max())
            said.append(f"Order{of}: {least:.4g} to {most:.4g} in {part.order.size} ladders, expected {expected:g}.")
            continue
        said.append(
            f"Order{of}: {float(part.order):.4g}, 95 % interval [{low:.4g}, {high:.4g}], expected {expected:g}."
        )
    return [*said, f"Verdict: {ds.attrs.get('verdict', 'none that all share' if parts[0].order.ndim else 'none')}."]


def _recipes(ds: xr.Dataset) -> list[dict]:
    """The recipes as far as they can be read, one of each; an old or foreign Dataset has none."""
    found = []
    for text in dict.fromkeys(np.ravel(ds.recipe.values).tolist()) if "recipe" in ds.coords else ():
        try:
            found.append(read_json(text, "recipe"))
        except _check.FileError:  # that of a failed cell, say
            continue
    return [recipe for recipe in found if isinstance(recipe, dict)]


def _formulas(recipe: dict) -> list[Markup]:
    """Equations of the method, of what it is made from, and of the problem."""
    found, spec = [], recipe.get("system")
    for _ in range(DEEPEST):
        if not isinstance(spec, dict) or not isinstance(args := spec.get("args"), dict):
            break
        try:
            cls = class_of(spec["class"])
            own = cls.formula(args, str(spec.get("form"))) if issubclass(cls, System) else ""
            found += [mathml(own)] if own else formulas_in(cls.__doc__ or "", args)
        except (KeyError, _check.ArgumentError):  # a class that this version does not know
            pass
        spec = next((args[name] for name in INNER if name in args), None)
    return found


def _pretty(recipes: list[dict]) -> str:
    if not recipes:
        return "This result holds no recipe of its own."
    text = "\n\n".join(json.dumps(recipe, indent=1, sort_keys=True) for recipe in recipes[:MOST_RECIPES])
    more = f"\n\n... and {len(recipes) - MOST_RECIPES} more" if len(recipes) > MOST_RECIPES else ""
    return plain(text[:MOST_TEXT] + more)


def _claims(attrs: dict) -> list[Claim]:
    """The claims that a study has kept with its runs; nothing where they cannot be read."""
    try:
        rows = read_json(attrs.get("claims", "[]"), "claims")
    except _check.FileError:
        return []
    return [claim_row(row) for row in (rows if isinstance(rows, list) else []) if isinstance(row, dict)]


def _versions(attrs: dict) -> str:
    try:
        versions = read_json(attrs.get("flowdyn_versions", "{}"), "versions")
    except _check.FileError:
        return ""
    return ", ".join(f"{key} {value}" for key, value in versions.items()) if isinstance(versions, dict) else ""
