"""Results of dear functions of arrays, remembered while the same arrays are asked about again."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

KEPT = 8  # results kept, with the arrays that they belong to

_results: OrderedDict[tuple, tuple[tuple, Any]] = OrderedDict()


def recall(function: Callable, *arrays: Any) -> Any:
    """What :func:`remember` has computed for the same arrays, None where it has not."""
    return _results.get((function, *map(id, arrays)), (None, None))[1]


def remember(function: Callable, *arrays: Any) -> Any:
    """``function(*arrays)``, computed once for the same immutable arrays (by identity)."""
    key = (function, *map(id, arrays))
    if key not in _results:
        # the arrays are kept with the result, so that their identities are not given to others
        _results[key] = (arrays, function(*arrays))
        while len(_results) > KEPT:
            _results.popitem(last=False)
    return _results[key][1]
