"""Compiled programs of the shell, kept from one process to the next in the user's cache folder.

It is JAX's persistent compilation cache, which keeps nothing of small programs unless it is told to. The library never
sets it: only the process that the shell started does, before JAX is loaded. Whatever the user has told JAX holds.
"""

import contextlib
import hashlib
import os
import platform
import sys
from pathlib import Path

SWITCH = "FLOWDYN_NO_CACHE"
OF_JAX = ("JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE")
SETTINGS = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
INLINE = "jax_cpu_enable_async_dispatch"
MOST_PROGRAMS = 1000  # about 50 MB; the oldest leave


def run_inline() -> None:
    """Have JAX run small programs in the thread that calls them: to wake another one takes longer than they do."""
    import jax  # no variable of the environment says it

    jax.config.update(INLINE, False)


def keep_programs() -> None:
    """Have JAX keep its programs, unless the environment says otherwise or the folder cannot be made."""
    if os.environ.get(SWITCH, "0") not in ("", "0") or any(name in os.environ for name in OF_JAX):
        return
    folder = user_cache() / "flowdyn" / f"programs-{_processor()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return
    if not os.access(folder, os.W_OK):
        return
    _thin(folder)
    os.environ[OF_JAX[0]] = str(folder)
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def user_cache() -> Path:
    """The folder for caches by the platform's convention; a relative XDG_CACHE_HOME counts for nothing."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given) if os.path.isabs(given) else Path.home() / ".cache"


def _processor() -> str:
    """Of the machine's instructions: a home may be shared by machines that do not run each other's programs."""
    what = f"{platform.machine()} {platform.processor()}"
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        what += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.blake2b(what.encode(), digest_size=4).hexdigest()


def _thin(folder: Path) -> None:
    """Remove the oldest half where there are too many."""
    with contextlib.suppress(OSError):  # another process may be thinning too
        held = [entry for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]
        if len(held) > MOST_PROGRAMS:
            for entry in sorted(held, key=lambda entry: entry.stat().st_mtime)[: len(held) // 2]:
                os.unlink(entry)
