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
    if "recipe" not in ds.variables and "flowdyn_system" not in ds.attrs:  # where files of before had it
        return f"taken from {kind}s"
    if not _over(ds):
        return kind
    return f"{'sweep of ' * (FAILURE in ds.coords)}{ds[_says_each(ds)].size:,} {kind}s"


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
    reasons = [text for text in np.ravel(ds[FAILURE].values.astype(str)).tolist() if text]
    grid = f"A grid of {ds[FAILURE].size:,} cells, {len(reasons) or 'none'} of them failed: {grid_words(ds)}."
    often = [f"{text} ({count})" if count > 1 else text for text, count in Counter(reasons).most_common()]
    more = [f"{len(often) - MOST_REASONS:,} other reasons"] if len(often) > MOST_REASONS else []
    return grid + (f" Why: {'; '.join([*often[:MOST_REASONS], *more])}." if often else "")
