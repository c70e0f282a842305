"""A run saved, loaded and made again, for the tests that ask for the same bits."""

import equinox as eqx
import xarray as xr

import flowdyn as fd
from flowdyn.methods.systems import System
from flowdyn.results.dataset import VOLATILE


def again(ds, tmp_path, **custom):
    """Save, load, rebuild, solve."""
    with fd.load(fd.save(ds, tmp_path / "r.nc")) as back:
        system, w0, options = fd.rebuild(back.load(), **custom)
    return fd.solve(system, w0, **options)


def assert_same_bits(a, b):
    """Everything but times and places."""
    xr.testing.assert_identical(a.drop_attrs(), b.drop_attrs())
    fixed = [{k: v for k, v in ds.attrs.items() if k not in VOLATILE} for ds in (a, b)]
    assert fixed[0] == fixed[1]


def holds_a_function(system):
    """Whether a user's function is among its arguments, or those of a system that it is made of."""
    values = list(system.config().values())
    inner = [value for value in values if isinstance(value, System)]
    return any(callable(v) and not isinstance(v, eqx.Module) for v in values) or any(map(holds_a_function, inner))
