"""Files: atomic writes, and reads that trust nothing.

A file is written beside its target under another name, synced and moved into place: a crash leaves the old file or the
new one. Before xarray opens a file, its HDF5 structure is scanned for features that no file of ours uses (external and
soft links, data in other files, sizes declared but not stored); what is read is compared with its checksums.
"""

import contextlib
import glob
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowdyn import _check
from flowdyn._tools.netcdf_files import MAX_BYTES

if TYPE_CHECKING:
    import xarray as xr

LONG_NAME = 200  # bytes of a name from which a temporary one does not repeat it; most systems take 255


def _text(path: Any) -> str:
    if not isinstance(path, str | os.PathLike):
        raise _check.fail("path", "must be a path", path)
    return os.path.expanduser(str(os.fspath(path)))


def writable(path: Any, suffix: str | None, overwrite: bool) -> Path:
    """Absolute path of a file that may be written, or an error that says why not."""
    target = Path(_text(path)).absolute()
    if suffix is not None and target.suffix != suffix:
        raise _check.fail("path", f"must end in {suffix}", str(path))
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.stat(target)
        _check_target(target, str(path), _check.flag("overwrite", overwrite))
    except _check.FileError:
        raise
    except (OSError, ValueError) as error:  # too long, not to be looked at, or with a null in it
        raise _check.FileError(f"`path` cannot be written, got {_check.short(str(path))}: {_reason(error)}") from None
    return target


def _check_target(target: Path, given: str, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise _check.FileError(f"`path` must lie in an existing folder, got {given!r}; create {target.parent} first")
    if target.is_dir():
        raise _check.FileError(f"`path` must be a file, got the folder {given!r}")
    if target.exists() and not overwrite:
        raise _check.FileError(f"`path` must not exist yet, got {given!r}; `overwrite=True` replaces it")
    try:  # the system's own word: what `os.access` says of /proc, or as root, is not
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise _check.FileError(
            f"`path` must lie in a writable folder, got {given!r} ({_reason(error)}); choose another folder"
        ) from None


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; it becomes the target when the block ends well."""
    _sweep(target)
    prefix, suffix = f".{_mark(target)}.{os.getpid()}.", f".tmp{target.suffix}"
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp made it private
        temporary.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def _mark(target: Path) -> str:
    """What the temporary names of a target begin with: its own name, if there is room for it."""
    raw = os.fsencode(target.name)
    return target.name if len(raw) <= LONG_NAME else f"{zlib.crc32(raw):08x}"


def _sweep(target: Path) -> None:
    """Remove what writers that were killed have left for this target."""
    mark = _mark(target)
    for stale in target.parent.glob(f".{glob.escape(mark)}.*.tmp{glob.escape(target.suffix)}"):
        owner = stale.name.removeprefix(f".{mark}.").split(".")[0]
        if owner.isdigit() and not _is_alive(int(owner)):
            stale.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def local_file(path: Any) -> Path:
    """Resolved path of an existing file of this machine."""
    text = _text(path)
    if "://" in text or text.startswith("[") or "#mode" in text:
        raise _check.FileError(f"`path` must be a local file, got {text!r}; download it first")
    place = Path(text)
    if not os.path.isfile(place):  # of a name that is too long, too
        raise _check.FileError(f"`path` must be an existing file, got {text!r}; check the path")
    return place.resolve()


def open_netcdf(path: Any, max_bytes: int = MAX_BYTES, verify: bool | None = None) -> "xr.Dataset | xr.DataTree":
    """Open any local NetCDF-4 file after the scan, lazily if it is large; a file with groups is a tree."""
    from flowdyn._tools.checked_files import open_checked
    from flowdyn._tools.hdf5_scan import scan

    place = local_file(path)
    try:
        return open_checked(place, verify, scan(place, max_bytes))
    except _check.FileError:
        raise
    except Exception as error:  # damaged bytes raise what they like in three libraries
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise _check.FileError(f"cannot read {place}: the file is damaged or truncated ({reason})") from None
