"""Registries: a public name, and the module that holds it; loaded on first use.

Adding a problem, a method or a solver is one new file and one line in the dict of its folder's ``__init__``. The name
alone costs no import, so the shell can list the choices before JAX is loaded.
"""

import importlib
from collections.abc import Callable
from typing import Any

from flowdyn._check import choice


def lazy(package: str, names: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package whose public names live in the modules of `names`."""

    def __getattr__(name: str) -> Any:  # noqa: N807 - it becomes the package's own
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {sorted(names)}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    def __dir__() -> list[str]:  # noqa: N807
        return sorted(names)

    return __getattr__, __dir__


def look_up(argument: str, name: Any, package: str, names: dict[str, str]) -> Any:
    """Return the class called `name`; nothing but an exact key of the registry is ever imported."""
    choice(argument, name, names)
    return getattr(importlib.import_module(f"{package}.{names[name]}"), name)
