"""What flowdyn costs beside its peers.  ``python -m benchmarks`` times it all; ``counts`` guards it."""
