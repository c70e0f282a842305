"""How the library refuses: one error, one line, the words that help."""

import pytest

import flowdyn as fd


def assert_refused(call, words, error=fd.ArgumentError):
    """Check that a call is refused in one line that holds the words."""
    with pytest.raises(error, match=words) as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
