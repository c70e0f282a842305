"""A result that the shell names:  FILE, or FILE:/NODE of a file that holds several."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowdyn import _check


def split_node(path: str) -> tuple[str, str | None]:
    """File and node of ``FILE:/NODE``; a file that has such a name is one."""
    if ":/" not in path or Path(path).expanduser().exists():
        return path, None
    file, _, node = path.rpartition(":/")
    return file, node


@contextlib.contextmanager
def opened(path: str, node: str | None = None) -> Iterator[Any]:
    """What a file holds, or one of its nodes, while it is open."""
    import flowdyn as fd

    file, own = (path, node) if node is not None else split_node(path)
    with fd.load(file) as found:
        if own is None:
            yield found
            return
        if not hasattr(found, "subtree"):
            raise _check.fail("NODE", "is for a file of several results", own, "leave it out")
        yield found[_check.choice("NODE", own.strip("/"), places(found))].to_dataset()


@contextlib.contextmanager
def opened_one(path: str, node: str | None = None) -> Iterator[Any]:
    """The same, of one result alone."""
    with opened(path, node) as found:
        if hasattr(found, "subtree"):
            way_out = f"name one: {split_node(path)[0]}:/{places(found)[0]}"
            raise _check.fail("FILE", "holds several results", places(found), way_out)
        yield found


def places(tree: Any) -> list[str]:
    """The nodes of a tree that hold a result."""
    return [part.path.strip("/") for part in tree.subtree if "flowdyn_kind" in part.attrs]
