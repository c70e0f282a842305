"""Mutate files and read them: ``python tests/fuzz.py files|lazy|tables FOLDER FIRST COUNT``, in a child.

Every file of the folder is an original. Case number n is made from n alone: flipped bytes, a cut, a piece moved, a
piece overwritten, an attribute changed. Right is one of two ends: the numbers that are read equal the original's, or
one FlowdynError. Everything else is printed with the number of its case; a crash or a hang ends the process with a
signal, and the number of its case stands in a file beside the mutated one.
"""

import os
import resource
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import xarray as xr

MEMORY = 2 << 30  # bytes beyond what the interpreter has at the start
SECONDS = 20  # for one case
ALPHABET = list(b'0123456789,.;eE-+xyn"\n\r ')  # of tables


def mutated(raw, rng, alphabet=None):
    """Change one to three places; `alphabet`: the bytes that are put in."""
    data = bytearray(raw)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data)))
        size = int(min(2 ** rng.integers(0, 10), len(data) - at))
        fresh = rng.choice(alphabet, size) if alphabet else rng.integers(0, 256, size)
        kind = rng.integers(8)
        if kind == 0 and len(data) > 16:
            del data[max(at, 8) :]
        elif kind == 1:
            data[at : at + size] = bytes(size)
        elif kind == 2:
            data[at : at + size] = b"\xff" * size if alphabet is None else bytes(fresh.tolist())
        elif kind == 3:  # a piece from elsewhere in its place
            start = int(rng.integers(len(data) - size + 1))
            data[at : at + size] = data[start : start + size]
        elif kind == 4:
            del data[at : at + min(size, 8)]
        elif kind == 5:
            data[at:at] = bytes(fresh.tolist())[:8]
        elif kind == 6:
            data[at] ^= 1 << int(rng.integers(8)) if alphabet is None else data[at] ^ int(fresh[0])
        else:
            data[at : at + min(size, 8)] = bytes(fresh.tolist())[:8]
        if len(data) < 16:
            break
    return bytes(data)


NAMES = ["_FillValue", "missing_value", "scale_factor", "add_offset", "dtype", "coordinates", "units", "calendar"]
NAMES += [
    "flowdyn_checksums",
    "flowdyn_schema",
    "flowdyn_kind",
    "flowdyn_parameters",
    "_Unsigned",
    "_Encoding",
    "bounds",
]
VALUES = [0.0, np.nan, 1e300, np.int8(0), np.arange(3), "bool", "", "t", "days since 2000-01-01", "w t", "{}", "é" * 9]
VALUES += [np.array(["a", "b"], object), b"\xff\xfe", np.array([b"ab", b""]), np.zeros((2, 2)), 2**62, "true", "utf-8"]


def change_attribute(path, rng):
    """One attribute of a group or variable, put in, changed or taken out."""
    import h5py

    with h5py.File(path, "a", locking=False) as file:
        places = [file]
        file.visititems(lambda _, item: places.append(item))
        attrs = places[rng.integers(len(places))].attrs
        own = [name for name in attrs if name not in ("DIMENSION_LIST", "REFERENCE_LIST")]
        name = rng.choice(own) if own and rng.integers(2) else rng.choice(NAMES)
        kind = rng.integers(3)
        if kind == 0 and name in attrs:
            del attrs[name]
        elif kind == 1 and isinstance(attrs.get(name), bytes | str):
            text = attrs[name] if isinstance(attrs[name], bytes) else attrs[name].encode()
            attrs[name] = np.bytes_(mutated(text + b" " * 20, rng, list(b'{}[]:,0123456789"aetx')))
        else:
            attrs[name] = VALUES[rng.integers(len(VALUES))]


def contents(result):
    """Variables by group and name, and under an empty name what else a group has: attributes and its coordinates."""
    nodes = {"/": result} if isinstance(result, xr.Dataset) else {n.path: n.to_dataset(False) for n in result.subtree}
    found = {(group, name): v for group, node in nodes.items() for name, v in node.variables.items()}
    rest = {(group, ""): xr.Variable("coord", sorted(node.coords), node.attrs) for group, node in nodes.items()}
    return found | rest


def read_result(path, want):
    """A word about what is wrong, if anything."""
    from flowdyn.results.storage import load

    with load(path) as found:
        got, right = contents(found.load()), contents(want)
    if set(got) != set(right):
        return f"other variables {set(got) ^ set(right)}"
    return " ".join(f"{at}" for at, v in got.items() if not v.identical(right[at]))


def read_csv(path, want):
    """Any mutated table is another table; what is read must be what stands there."""
    from flowdyn.problems.tables import read_table

    del want
    table = read_table(path, "y")
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    header, *rows = [line.strip("\r").split(",") for line in lines if line.strip("\r")]
    if '"' in "".join(lines) or any("\r" in line.strip("\r") for line in lines):
        return ""  # quotes and lone carriage returns join or part lines; the plain ones are enough of an oracle
    names = [name.strip() for name in header]
    if [str(name) for name in table.features] != [name for name in names if name != "y"]:
        return f"other columns {table.features}"
    numbers = np.array([[float(cell) for cell in row] for row in rows])
    y = names.index("y")
    same = np.array_equal(np.delete(numbers, y, 1), table.X) and np.array_equal(numbers[:, y], table.y)
    return "" if same else "other numbers"


def handles(path):
    """Descriptors that are open on `path`."""
    found = []
    for name in os.listdir("/dev/fd"):
        try:
            found += [name] if os.path.samestat(os.fstat(int(name)), os.stat(path)) else []
        except OSError:
            continue
    return found


def main(what, folder, first, count):
    """Run the cases and print a line for each that ends wrong, then how the others ended."""
    from flowdyn import FlowdynError
    from flowdyn._tools import checked_files
    from flowdyn.results.storage import load

    checked_files.EAGER_BYTES = 0 if what == "lazy" else checked_files.EAGER_BYTES
    warnings.simplefilter("ignore")
    read, suffix = (read_csv, ".csv") if what == "tables" else (read_result, ".nc")
    originals = sorted(Path(folder).glob(f"*{suffix}"))
    raws = [path.read_bytes() for path in originals]
    wants = [None if what == "tables" else load(path).load() for path in originals]
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    place = Path(folder) / "mutated" / f"{first}{suffix}"
    place.parent.mkdir(exist_ok=True)
    refused = equal = 0
    with open(place.with_suffix(f".{what}"), "w") as log:
        for number in range(first, first + count):
            rng = np.random.default_rng(number)
            which = number // 4 % len(raws)
            if what != "tables" and number % 4 == 0:
                place.write_bytes(raws[which])
                change_attribute(place, rng)
            else:
                place.write_bytes(mutated(raws[which], rng, ALPHABET if what == "tables" else None))
            log.seek(0)
            log.write(f"{number} {originals[which].name}\n")
            log.flush()
            signal.alarm(SECONDS)
            try:
                wrong = read(place, wants[which])
                equal += 1
            except FlowdynError as error:
                wrong = "" if len(str(error).splitlines()) == 1 else f"more than a line: {error}"
                refused += 1
            except Exception as error:
                wrong = f"{type(error).__name__}: {error}"
            signal.alarm(0)
            if handles(place):
                wrong += " an open handle"
            if wrong:
                print(number, originals[which].name, wrong[:300].replace("\n", " "), flush=True)
            place.unlink()
    print("refused", refused, "equal", equal, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
