"""``python -m flowdyn`` is the ``flowdyn`` command."""

import sys

from flowdyn.cli import main

sys.exit(main())
