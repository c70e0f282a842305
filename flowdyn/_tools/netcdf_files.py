"""NetCDF-4 files as netCDF4 opens them, and how much of one is read at once."""

from typing import Any

import netCDF4

MAX_BYTES = 4 << 30  # that a file may declare, unless more is allowed
EAGER_BYTES = 16 << 20  # files of at most so much content are read whole: a tenth of a second


def opened(path: Any, **options: Any) -> netCDF4.Dataset:
    """netCDF4's Dataset, closed if it fails between the opening of the file and the end of its constructor."""
    file = netCDF4.Dataset.__new__(netCDF4.Dataset)
    try:
        netCDF4.Dataset.__init__(file, path, **options)
    except BaseException:
        if file.isopen():
            file.close()
        raise
    return file
