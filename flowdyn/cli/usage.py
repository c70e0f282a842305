"""What the shell says of a call that it does not understand: one line, exit status 2."""

import argparse
import difflib
import re
from typing import NoReturn

from flowdyn.cli.printing import PROGRAM


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others of flowdyn."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit status 2 and one line, which names the choice that was meant."""
        if found := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            near = difflib.get_close_matches(found[1], found[2].replace("'", "").split(", "), 1)
            message += f"; did you mean {near[0]!r}?" if near else ""
        self.exit(2, f"{PROGRAM}: error: {message}; see {self.prog} --help\n")
