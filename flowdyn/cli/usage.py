"""What the shell says of a call that it does not understand: one line, exit status 2."""

import argparse
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from flowdyn.cli.printing import PROGRAM


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others of flowdyn."""

    commands: Mapping[str, "OneLineParser"] = {}

    def understood(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The options given; one that is unknown is told with the one of its command that was meant."""
        options, unknown = self.parse_known_args(arguments)
        if unknown:
            own = self.commands.get(options.command or "", self)
            flags = sorted(set(re.findall(r"--[a-z][a-z-]*", own.format_usage())))
            asked = unknown[0].partition("=")[0]
            near = difflib.get_close_matches(asked, flags, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            for action in own._actions:
                if not action.option_strings and asked == f"--{action.dest}":
                    meant = f"; {action.metavar or action.dest} is given by its place: {own.prog} {action.metavar}"
            own.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return options

    def error(self, message: str) -> NoReturn:
        """Leave with exit status 2 and one line, which names the choice that was meant."""
        if found := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            near = difflib.get_close_matches(found[1], found[2].replace("'", "").split(", "), 1)
            message += f"; did you mean {near[0]!r}?" if near else ""
        self.exit(2, f"{PROGRAM}: error: {message}; see {self.prog} --help\n")
