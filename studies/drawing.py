"""Ticks that can be read: on a logarithmic axis of a few values, those values; on a short one more than one."""

from typing import Any


def label_between(axis: Any) -> None:
    """Label 2 and 5 times the powers of ten of the vertical axis too: there are no two powers on it."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def ticks_at(axis: Any, values: Any, form: str = "{:g}") -> None:
    """Put the ticks of the horizontal axis at `values`."""
    axis.minorticks_off()
    axis.set_xticks(list(values), [form.format(value) for value in values])
