"""Columns out of a .csv file: each cell under its own header, and an index that is none of the features.

A row that is longer than the header would be read as one with an index, and every column would shift by one without a
word; `df.to_csv(path)` writes the index of a frame as a column, which would be learnt from without a word.
"""

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flowdyn import _check

INDEX = "index"  # what a first column without a name is called
NUMBERING = ("id", "index", "key", "no", "nr", "number", "row", "sample")  # names of such columns
COUNTED = 3  # rows from which a column that numbers them is asked about
SAVE = "save without it: df.to_csv(path, index=False)"


class Columns(NamedTuple):
    """Columns by name, and the labels of the rows where a column holds them."""

    columns: dict[str, np.ndarray]
    labels: np.ndarray | None = None


def read_csv(path: Path, index: str | bool | None) -> Columns:
    """Read a table; `index` names the column of labels, or is False where no column is one."""
    import pandas as pd

    header = _checked_header(path, index)
    try:
        frame = pd.read_csv(path, index_col=False, header=0, names=header)
    except (ValueError, OSError) as error:  # parser errors and bad encodings are ValueErrors
        reason = " ".join(str(error).split())[:120]
        raise _check.FileError(f"`data` must be a readable .csv table, got {str(path)!r}: {reason}") from None
    columns = {name: frame[name].to_numpy() for name in header}
    if isinstance(index, str):
        return Columns({name: values for name, values in columns.items() if name != index}, columns[index])
    if index is None and header and (found := _looks_like_index(header[0], columns[header[0]])):
        raise _check.ArgumentError(
            f"`index` must say what column {header[0]!r} of {str(path)!r} is, got none and a column that {found}; "
            f"`index={header[0]!r}` makes it labels of the samples, `index=False` a feature"
        )
    return Columns(columns)


def _looks_like_index(name: str, values: np.ndarray) -> str:
    """Words for a column that numbers its rows from 0 or 1, in any order, or by its name from anywhere; else ""."""
    if values.dtype.kind not in "iu" or len(values) < COUNTED:
        return ""
    first, ordered = int(values.min()), np.sort(values)
    if first in (0, 1) and np.array_equal(ordered, np.arange(first, first + len(values))):
        return f"numbers the rows from {first}"
    return "has a number of its own for each row" if name.casefold() in NUMBERING and np.diff(ordered).all() else ""


def _checked_header(path: Path, index: str | bool | None) -> list[str]:
    """Names of the columns; headers that are empty or stand twice are refused, and rows of another length."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = [name.strip() for name in next(rows, [])]
            if header and not header[0] and index is not None:
                header[0] = INDEX  # labels or a feature: the column has been spoken of
            _check_header(header, path, index)
            for row in rows:
                if row and len(row) != len(header):
                    raise _check.FileError(
                        f"`data` must have {len(header)} cells in each row, got {len(row)} in line {rows.line_num} of "
                        f"{str(path)!r}; mend the row, or give every column a name"
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise _check.FileError(f"`data` must be a readable .csv table, got {str(path)!r}: {error}") from None
    return header


def _check_header(header: list[str], path: Path, index: str | bool | None) -> None:
    for separator in (";", "\t", "|"):
        if len(header) == 1 and separator in header[0]:
            raise _check.FileError(
                f"`data` must be separated by commas, got {separator!r} in {str(path)!r}; save it with commas"
            )
    if "" in header:
        at = header.index("")
        labels = f"`index={INDEX!r}` makes it labels of the samples, `index=False` a feature, or " if at == 0 else ""
        raise _check.FileError(
            f"`data` must have a name for each column, got none for column {at + 1} of {str(path)!r}; "
            f"if it is an index, {labels}{SAVE}"
        )
    if isinstance(index, str):
        _check.choice("index", index, header)
    spoken_of = header[0] if index is False else index
    made_up = [name for name in header if re.fullmatch(r"Unnamed: \d+", name) and name != spoken_of]
    if made_up:
        raise _check.FileError(
            f"`data` must have columns of data only, got {made_up[0]!r} in {str(path)!r}, as pandas names an index; "
            f"`index={made_up[0]!r}` makes it labels of the samples, or {SAVE}"
        )
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise _check.FileError(f"`data` must have each column once, got {twice} twice in {str(path)!r}; rename them")
    copies = sorted({name for name in header if re.sub(r"\.\d+$", "", name) in set(header) - {name}})
    if copies:
        raise _check.FileError(
            f"`data` must have each column once, got {copies} beside columns of the same name in {str(path)!r}, as "
            "pandas names a column that stands twice; rename them"
        )
