"""What flowdyn costs beside its peers: ``python -m benchmarks`` times all of it; ``counts`` guards it in the tests."""
