"""Stubs of packages whose names load on first use, so that editors and type checkers see them.

    python -m flowdyn._tools.stubs            write the ``__init__.pyi`` of every package that has a registry
    python -m flowdyn._tools.stubs --check    exit status 1 if one is missing or stale

A stub says nothing of its own: each line names the module that a name of the registry is loaded from.
"""

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

TOP = str(__package__).split(".", maxsplit=1)[0]
NAME = f"{__package__}.stubs"  # also where it is run as a program
NOTE = f"# made by `python -m {NAME}` from the registry of this package"


def packages() -> Iterator[ModuleType]:
    """The package itself and every package in it that has a registry."""
    top = importlib.import_module(TOP)
    yield top
    for found in pkgutil.iter_modules(top.__path__, f"{TOP}."):
        if found.ispkg and not found.name.rpartition(".")[2].startswith("_"):
            package = importlib.import_module(found.name)
            if "REGISTRY" in vars(package):
                yield package


def stub(package: ModuleType) -> str:
    """Text of the stub of one package."""
    registry: dict[str, str] = package.REGISTRY
    modules: tuple[str, ...] = getattr(package, "MODULES", ())
    lines = [NOTE, ""]
    lines += [f"from {package.__name__} import {name} as {name}" for name in sorted(modules)]
    lines += [
        f"from {package.__name__}.{module} import {name} as {name}"
        for name, module in sorted(registry.items(), key=lambda item: (item[1], item[0]))
    ]
    lines += ["", *(["MODULES: tuple[str, ...]", "__version__: str"] if modules else []), "REGISTRY: dict[str, str]"]
    lines += ["__all__ = [", *(f'    "{name}",' for name in sorted([*modules, *registry])), "]", ""]
    return "\n".join(lines)


def path_of(package: ModuleType) -> Path:
    """Where the stub of a package stands."""
    return Path(str(package.__file__)).with_name("__init__.pyi")


def stale() -> list[Path]:
    """Stubs that are missing or differ from what the registries say."""
    return [
        path for package in packages()
        if not (path := path_of(package)).is_file() or path.read_text() != stub(package)
    ]  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Write the stubs, or check them."""
    parser = argparse.ArgumentParser(f"python -m {NAME}", description="Write the stubs of the registries.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a stub is stale")
    if parser.parse_args(arguments).check:
        found = stale()
        print(*(f"stale: {path}" for path in found), sep="\n", end="\n" if found else "")
        return 1 if found else 0
    for package in packages():
        path_of(package).write_text(stub(package))
    return 0


if __name__ == "__main__":
    sys.exit(main())
