"""What flowdyn costs beside its peers.  ``python -m benchmarks`` times all of it; ``counts`` is the guard in the tests."""
