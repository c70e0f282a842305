"""Ticks that can be read: on a logarithmic axis of a few values, those values and no others."""

from typing import Any


def ticks_at(axis: Any, values: Any, form: str = "{:g}") -> None:
    """Put the ticks of the horizontal axis at `values`."""
    axis.minorticks_off()
    axis.set_xticks(list(values), [form.format(value) for value in values])
