"""What the shell prints: lines for people or one JSON object; errors and warnings in one line, in the shell's terms."""

import argparse
import json
import math
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from flowdyn import _check

PROGRAM = "flowdyn"
# options of methods: flag -> argument of the constructor
METHOD_OPTIONS = {
    "eta": "eta",
    "order": "order",
    "batch_size": "batch_size",
    "sampling": "sampling",
    "sigma": "sigma",
    "label_noise": "noise",
    "refinement": "l",
    "friction": "friction",
}
PLACES = {"data": "DATA", "path": "FILE", "ds": "FILE"}  # arguments that the shell takes by their place
OF_PYTHON = {  # words of the library, and what they are where calls are commands
    "call sweep(make, grid, store) again": "run `flowdyn sweep` with this --store again",
    "; fd.load(store) reads one that is there": "",
    "use the method's .limit()": "that of gradient descent is --method GradientFlow",
    "must be None for": "is not an option for",
}


class Output:
    """What a command has to say, as it asked for it: `--json`, `--quiet`, or in words."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.as_json, self.is_quiet = getattr(options, "json", False), getattr(options, "quiet", False)
        self._data: dict[str, Any] = {}

    @property
    def progress(self) -> bool | None:
        """The `progress` of a run: a bar on a terminal, none where nothing but the result is wanted."""
        return False if self.as_json or self.is_quiet else None

    def say(self, text: str, **data: Any) -> None:
        """Print a line, or keep the data for the JSON object."""
        self._data |= data
        if not self.as_json and not self.is_quiet:
            print(printable(text))

    def note(self, **data: Any) -> None:
        """Keep data for the JSON object alone."""
        self._data |= data

    def wrote(self, path: str) -> None:
        """Tell of a file that was written."""
        self.say(f"wrote {path}", wrote=[*self._data.get("wrote", []), path])

    def close(self) -> None:
        """Print the JSON object, where it is wanted, and see that all of it arrives."""
        if self.as_json:
            print(json.dumps(plain(self._data), indent=1, allow_nan=False))
        sys.stdout.flush()


def plain(value: Any) -> Any:
    """What JSON can hold: arrays as lists, numbers that are not finite as null."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, str | bool | int | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return plain(value.tolist())


def complain(error: object, status: int) -> int:
    """Print an error in one line and return the exit status."""
    text = printable(" ".join(str(error).split()))
    print(f"{PROGRAM}: error: {text}", file=sys.stderr)
    return status


def spare_stdout() -> None:
    """Turn what cannot be printed any more to the null device, so that the end of Python does not stumble over it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warning_printer(options: argparse.Namespace) -> Callable[..., None]:
    """What replaces `warnings.showwarning`: flowdyn's own in one line, others not at all."""

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if issubclass(category, _check.FlowdynWarning):
            text = in_shell_terms(str(message), options)
            print(f"{PROGRAM}: warning: {printable(' '.join(text.split()))}", file=sys.stderr)

    return show


def printable(text: str) -> str:
    """Without control characters: a file's attributes must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def in_shell_terms(message: str, options: argparse.Namespace) -> str:
    """A message of the library in which what has an option bears its name: `--batch-size`, `--index id`."""
    own = vars(options)
    flags = {argument: option for option, argument in METHOD_OPTIONS.items() if option in own}
    flags |= {name: name for name in own if name not in PLACES} | ({"y": "target"} if "target" in own else {})

    def said(found: re.Match[str]) -> str:
        name, value = found[1], found[2]
        if name in PLACES:
            return f"`{PLACES[name]}`" if value is None else found[0]
        if name in own.get("settable", ()):
            return f"`--set {name}`" if value is None else f"`--set {name}={value}`"
        if name not in flags:
            return found[0]
        flag = flags[name].replace("_", "-") + ("s" if own.get(f"{name}s") is not None else "")  # of a list: `--etas`
        if value == "False":
            return f"`--no-{flag}`"
        return (
            f"`--{flag}`" if value in (None, "True") or value.startswith("{") else f"`--{flag} {value.strip(chr(39))}`"
        )

    if "on_divergence" not in own:
        message = message.replace(_check.KEEP, "")
    for words, own_words in OF_PYTHON.items():
        message = message.replace(words, own_words)
    of_grids = re.sub(r"`grid\['([a-z_]+)'\]`", lambda found: f"`--{found[1].replace('_', '-')}s`", message)
    return re.sub(r"`([a-z_]+)(?:=([^`]+))?`", said, of_grids)
