"""Counts what is computed: compiled programmes, eager operations of JAX, decompositions, products, bytes hashed.

A new computation shows as a new line of the ledger, or as a larger number on one.
"""

import collections
import contextlib
import hashlib
import sys
import zlib

import jax
import numpy as np
import scipy.linalg
from scipy.sparse import linalg as sparse

from flowdyn._tools import compiled, thick_restart
from flowdyn.theory import moments, symmetric_maps

DECOMPOSITIONS = [
    (np.linalg, name)
    for name in ("svd", "eigh", "eigvalsh", "eig", "eigvals", "qr", "cholesky", "solve", "inv", "pinv", "lstsq")
]
DECOMPOSITIONS += [(np.linalg, "matrix_power"), (np.linalg, "matrix_rank"), (np.linalg, "det"), (np, "einsum")]
DECOMPOSITIONS += [(scipy.linalg, name) for name in ("expm", "svd", "eigh", "eigvalsh", "qr", "solve", "lstsq", "logm")]
DECOMPOSITIONS += [(thick_restart, "top_eigenvalue"), (sparse, "expm_multiply")]
DECOMPOSITIONS += [(symmetric_maps, "squarings"), (moments, "transition")]


class Ledger:
    """What was computed inside of :meth:`open`."""

    def __init__(self):
        self.calls = collections.Counter()  # kernel or function -> calls
        self.largest = collections.Counter()  # the same -> entries of its largest intermediate
        self.eager = collections.Counter()  # primitive -> entries made, operation by operation
        self.hashed = collections.Counter()  # crc32, blake2b -> bytes

    def program(self, real):
        """Count the calls of one compiled programme, and look at its intermediates once."""

        def make(kernel, structure, statics):
            run, name = real(kernel, structure, statics), getattr(kernel, "__name__", "kernel")
            seen = set()

            def call(arrays, *args):
                self.calls[name] += 1
                shapes = str(jax.tree.map(np.shape, (arrays, args)))
                if shapes not in seen:
                    seen.add(shapes)
                    jaxpr = jax.make_jaxpr(lambda a, rest: run.__wrapped__(a, *rest))(arrays, args).jaxpr
                    self.largest[name] = max(self.largest[name], largest(jaxpr))
                return run(arrays, *args)

            return call

        return make

    def counted(self, name, real):
        """Count the calls of a function of numpy or scipy, and the entries of its largest argument."""

        def call(*args, **options):
            self.calls[name] += 1
            sizes = [np.size(a) for a in args if isinstance(a, np.ndarray)]
            self.largest[name] = max(self.largest[name], *sizes, 0, 0)
            return real(*args, **options)

        return call

    @contextlib.contextmanager
    def open(self, monkeypatch):
        """Count until the end of the block."""
        core = jax._src.core.EvalTrace
        process = core.process_primitive

        def eager(trace, primitive, args, params):
            out = process(trace, primitive, args, params)
            if primitive.name not in ("jit", "pjit"):
                leaves = jax.tree.leaves(out)
                self.eager[primitive.name] += sum(np.size(leaf) for leaf in leaves if hasattr(leaf, "shape"))
            return out

        crc, blake = zlib.crc32, hashlib.blake2b

        def counted_crc(data, *start):
            self.hashed["crc32"] += memoryview(data).nbytes
            return crc(data, *start)

        ledger = self

        class Blake:
            def __init__(self, data=b"", digest_size=64, inner=None):
                self.inner = inner or blake(data, digest_size=digest_size)
                ledger.hashed["blake2b"] += memoryview(data).nbytes

            def update(self, data):
                ledger.hashed["blake2b"] += memoryview(data).nbytes
                self.inner.update(data)

            def copy(self):
                return Blake(inner=self.inner.copy())

            def digest(self):
                return self.inner.digest()

        with monkeypatch.context() as patch:
            patch.setattr(compiled, "_program", self.program(compiled._program.__wrapped__))
            patch.setattr(core, "process_primitive", eager)
            patch.setattr(zlib, "crc32", counted_crc)
            patch.setattr(hashlib, "blake2b", Blake)
            for module, name in DECOMPOSITIONS:
                real = getattr(module, name)
                places = [m for key, m in sys.modules.items() if key.split(".")[0] == "flowdyn"]
                for place in (module, *(m for m in places if vars(m).get(name) is real)):
                    patch.setattr(place, name, self.counted(name, real))
            yield self


def largest(jaxpr):
    """Entries of the largest intermediate of a programme and of those that it calls."""
    sizes = [0]
    for equation in jaxpr.eqns:
        sizes += [int(np.prod(v.aval.shape)) for v in equation.outvars if hasattr(v.aval, "shape")]
        for parameter in jax.tree.leaves(
            equation.params, is_leaf=lambda leaf: hasattr(leaf, "eqns") or hasattr(leaf, "jaxpr")
        ):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                sizes.append(largest(inner))
    return max(sizes)
