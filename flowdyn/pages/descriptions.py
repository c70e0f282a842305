"""What a result says of itself, in words: what ran, how it ended, its numbers, its order, its claims."""

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import xarray as xr

from flowdyn import _check
from flowdyn.pages.formulas import formulas_in
from flowdyn.pages.sections import Claim, Markup, Picture, Section, claim_row, plain
from flowdyn.results.recipes import class_of, read_json

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


def section_of(ds: xr.Dataset, name: str, pictures: Sequence[Picture], file: str = "") -> Section:
    """The section of one Dataset."""
    attrs, recipes = ds.attrs, _recipes(ds)
    facts = {
        "what": attrs.get("title", "no title"),
        "kind": attrs.get("flowdyn_kind", ""),
        "numbers": ", ".join(f"{key} = {value:g}" for key, value in _numbers(ds).items()),
        "ended": _ended(ds),
        "outcome": _outcome(ds),
    }
    return Section(
        name=plain(name),
        title=plain(attrs.get("title", name)),
        words=[plain(text) for text in (attrs.get("summary"), *order_words(ds)) if text],
        formulas=_formulas(recipes[0]) if recipes else [],
        pictures=pictures,
        claims=_claims(attrs),
        facts={key: plain(text) for key, text in facts.items()},
        notes=[plain(text) for text in (attrs.get("references"), attrs.get("history"), _versions(attrs)) if text],
        details={"recipe": _pretty(recipes), "data": Markup(ds._repr_html_())},
        file=file,
        warns=_warns(ds),
    )


def _ended(ds: xr.Dataset) -> str:
    """How the run ended, or how many of them did how."""
    endings = _endings(ds)
    said = {end: ENDINGS.get(end, end.replace("_", " ")) for end in endings}
    return ", ".join(f"{count} {said[end]}" if len(endings) > 1 else said[end] for end, count in endings.items())


def _outcome(ds: xr.Dataset) -> str:
    """The order of a ladder, or the loss at the end of a run."""
    if "order" in ds and "order_interval" in ds:
        parts = zip(np.ravel(ds.order.values), ds.order_interval.values.reshape(-1, 2), strict=True)
        return "order " + ", ".join(f"{order:.4g} [{low:.4g}, {high:.4g}]" for order, (low, high) in parts)
    if "loss" in ds and "t" in ds.loss.dims:
        last = ds.loss.isel(t=-1).mean().item()
        return f"loss {last:.4g}" if ds.loss.ndim == 1 else f"mean loss {last:.4g}"
    return ""


def _warns(ds: xr.Dataset) -> tuple[str, ...]:
    """The facts that a reader is warned of."""
    badly = ("ended",) if set(_endings(ds)) - set(WELL) else ()
    return badly + (("outcome",) if ds.attrs.get("verdict", "resolved") != "resolved" else ())


def _endings(ds: xr.Dataset) -> dict[str, int]:
    """How often each ending occurs among the runs of a Dataset."""
    if "status" not in ds or ds.status.dtype.kind not in "iuf":
        return {}
    meanings = str(ds.status.attrs.get("flag_meanings", "")).split()
    codes = Counter(np.asarray(ds.status.values).ravel().tolist())
    known = {float(code): meaning for code, meaning in zip(_flags(ds), meanings, strict=False)}
    return {known.get(float(code), f"status {code:g}"): count for code, count in sorted(codes.items())}


def _flags(ds: xr.Dataset) -> list[float]:
    return np.atleast_1d(ds.status.attrs.get("flag_values", [])).tolist()


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
        said.append(
            f"Order{of}: {float(part.order):.4g}, 95 % interval [{low:.4g}, {high:.4g}], expected {expected:g}."
        )
    return [*said, f"Verdict: {ds.attrs.get('verdict', 'none')}."]


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
    """Equations of the method and of its problem, from their docstrings."""
    system = recipe.get("system")
    if not isinstance(system, dict):
        return []
    args = system.get("args")
    problem = args.get("problem") if isinstance(args, dict) else None
    found = []
    for spec in (system, problem):
        try:
            found += formulas_in(class_of(spec["class"]).__doc__ or "") if isinstance(spec, dict) else []
        except (KeyError, _check.ArgumentError):  # a class that this version does not know
            continue
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
