"""What a result of many runs says of its grid, in words:  eta = 0.1, 0.2; seed = 0, 1, ..., 7."""

from collections import Counter

import numpy as np
import xarray as xr

from flowdyn.results.schema import FAILURE

MOST_VALUES = 8  # of a name of a grid
MOST_REASONS = 3  # for which cells failed


def _over(ds: xr.Dataset) -> tuple[str, ...]:
    """The dimensions of the runs that a Dataset holds: of a sweep, or of runs that were joined; none of one run."""
    return tuple(map(str, ds[held].dims)) if (held := _says_each(ds)) in ds.coords else ()


def _says_each(ds: xr.Dataset) -> str:
    """The coordinate that has an entry for each run: cells of a sweep may share their recipe."""
    return FAILURE if FAILURE in ds.coords else "recipe"


def kind_words(ds: xr.Dataset) -> str:
    """What it is: a run, a ladder, a sweep of so many; a mean over several has no recipe and is none of them."""
    kind = str(ds.attrs.get("flowdyn_kind", ""))
    has_recipe = "recipe" in ds.variables or "flowdyn_system" in ds.attrs  # where files of before had it
    # a mean over starts or members keeps the one recipe, but statuses are no whole numbers of one byte any more
    if not has_recipe or ("status" in ds and ds.status.ndim == 0 and ds.status.dtype.kind == "f" and not _over(ds)):
        return f"taken from {kind}s"
    if not _over(ds):
        return kind
    count = ds[_says_each(ds)].size
    return f"{'sweep of ' * (FAILURE in ds.coords)}{count:,} {kind}{'s' * (count > 1)}"


def grid_words(ds: xr.Dataset) -> str:
    """The numbers over which runs lie side by side: ``eta = 0.1, 0.2; seed = 0, 1, ..., 7``."""
    over = _over(ds)
    along = {str(n): c.values for n, c in ds.coords.items() if c.ndim == 1 and c.dims[0] in over}
    return "; ".join(f"{name} = {_listed(v.tolist())}" for name, v in along.items() if v.dtype.kind in "biuf")


def _listed(values: list) -> str:
    texts = [f"{value:g}" for value in values]
    return ", ".join(texts if len(texts) <= MOST_VALUES else [*texts[: MOST_VALUES - 2], "...", texts[-1]])


def grid_sentence(ds: xr.Dataset) -> str:
    """The grid of a sweep in one sentence, how many of its cells failed, and why."""
    if not _over(ds) or FAILURE not in ds.coords:
        return ""
    said = (text if isinstance(text, str) else "no such cell" for text in np.ravel(ds[FAILURE].values).tolist())
    reasons = [text for text in said if text]  # NaN where `reindex` made cells
    count = ds[FAILURE].size
    grid = f"A grid of {count:,} cell{'s' * (count > 1)}, {grid_words(ds)}; {len(reasons) or 'none'} failed."
    often = [f"{text} ({count})" if count > 1 else text for text, count in Counter(reasons).most_common()]
    more = [f"{len(often) - MOST_REASONS:,} other reasons"] if len(often) > MOST_REASONS else []
    return grid + (f" Why: {'; '.join([*often[:MOST_REASONS], *more])}." if often else "")
