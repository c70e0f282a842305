"""``python -m flowdyn`` is the ``flowdyn`` command."""

import sys

from flowdyn.cli.commands import main

sys.exit(main())
