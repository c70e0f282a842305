"""Registries: a public name, and the module that holds it; loaded on first use.

Adding a problem, a method or a solver is one new file and one line in the dict of its folder's ``__init__``. The name
alone costs no import, so the shell can list the choices before JAX is loaded; the public names of the package, its
stubs and the contract tests are read off the same dicts.
"""

import importlib
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from flowdyn._check import choice


def lazy(
    package: str,
    names: Mapping[str, str],
    modules: tuple[str, ...] = (),
    renamed: Mapping[str, str] | None = None,
    with_xarray: str = "",
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package whose public names live in the modules of `names`.

    `modules` are public modules of the package itself; `renamed` maps former names to present ones; the module
    `with_xarray` is loaded after the first name that has loaded xarray.
    """
    public = sorted([*names, *modules])

    def __getattr__(name: str) -> Any:  # noqa: N807 - it becomes the package's own
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if renamed and name in renamed:
            now = renamed[name]
            warnings.warn(f"{package}.{name} is now called {package}.{now}", DeprecationWarning, stacklevel=2)
            return __getattr__(now)
        if name == "__version__" and "." not in package:
            from importlib.metadata import version

            return version(package)
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        value = getattr(importlib.import_module(f"{package}.{names[name]}"), name)
        setattr(sys.modules[package], name, value)
        if with_xarray and "xarray" in sys.modules:
            importlib.import_module(f"{package}.{with_xarray}")
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return public

    return __getattr__, __dir__


def look_up(argument: str, name: Any, package: str, names: Mapping[str, str]) -> Any:
    """Return the class called `name`; nothing but an exact key of the registry is ever imported."""
    choice(argument, name, names)
    return getattr(importlib.import_module(f"{package}.{names[name]}"), name)
