"""The ``flowdyn`` command."""
