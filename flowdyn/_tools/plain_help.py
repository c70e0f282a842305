"""Classes whose `help` and `dir` show what is there to use: no machinery of dataclasses, abstract classes and Equinox.

`help` lists what `dir` of a class does, and shows the signature that the class gives: types by the names that the
documents use, not by all that numpy takes for an array. Instances complete all that they have.
"""

import abc
import functools
import inspect
import types
from typing import TYPE_CHECKING, Any, get_args

import equinox as eqx
import jax
from numpy.typing import ArrayLike

from flowdyn._check import Words
from flowdyn._tools.calls import refuse_call

MACHINERY = ("abc", "builtins", "collections", "dataclasses", "equinox", "typing")  # packages of bases left out
ARRAYS = get_args(ArrayLike)
USED = (staticmethod, classmethod, property, functools.cached_property)


def names_to_use(cls: type) -> list[str]:
    """What a user calls: what the class brings in itself, other ways to build it, and what its bases name in `shown`.

    What a base is there for to be overridden is for those who write such classes; the base's own help has it.
    """
    bases = [base for base in cls.__mro__ if base.__module__.split(".")[0] not in MACHINERY]
    shown = {name for base in bases for name in vars(base).get("shown", ())}
    inherited = {name for base in bases[1:] for name in vars(base)}
    found = {name: value for base in reversed(bases) for name, value in vars(base).items() if name[0] != "_"}
    return sorted(
        name
        for name, value in found.items()
        if name in shown
        or (name not in inherited and _is_used(value))
        or (isinstance(value, classmethod) and name != "example")
    )


def _is_used(value: Any) -> bool:
    return isinstance(value, USED) or (callable(value) and not isinstance(value, type))


def short_signature(signature: inspect.Signature) -> inspect.Signature:
    """The same signature with array types by name."""
    parameters = [p.replace(annotation=_short(p.annotation)) for p in signature.parameters.values()]
    return signature.replace(parameters=parameters)


def _short(annotation: Any) -> Any:
    """A union by the names of its members, numbers and arrays of all kinds as one; what is no union stays."""
    members = get_args(annotation)
    if not any(member in members for member in (jax.Array, *ARRAYS)):
        return annotation
    rest = [member for member in members if member not in ARRAYS and member is not jax.Array]
    names = ["array_like"] if set(ARRAYS) <= set(members) else []
    names += ["None" if member is type(None) else getattr(member, "__name__", str(member)) for member in rest]
    return Words(" | ".join(dict.fromkeys(names)))


class _PlainMeta(type(eqx.Module)):  # type: ignore[misc]
    def __call__(cls, *args: Any, **options: Any) -> Any:
        try:
            return super().__call__(*args, **options)
        except TypeError as error:
            refuse_call(error, cls, args, options)
            raise

    def __dir__(cls) -> list[str]:
        return names_to_use(cls)

    @property
    def __signature__(cls) -> inspect.Signature:
        return short_signature(super().__signature__)


class PlainABCMeta(abc.ABCMeta):
    """Metaclass of abstract classes that `dir` shows plainly, and whose instances are made by arguments that exist."""

    if not TYPE_CHECKING:  # who checks types knows the classes by their `__init__`

        def __call__(cls, *args, **options):
            """An instance; arguments that there are not are told."""
            try:
                return super().__call__(*args, **options)
            except TypeError as error:
                refuse_call(error, cls, args, options)
                raise

        @property
        def __signature__(cls):
            return inspect.Signature(list(inspect.signature(cls.__init__).parameters.values())[1:])

    def __dir__(cls) -> list[str]:
        return names_to_use(cls)


if TYPE_CHECKING:
    Module = eqx.Module
else:

    @jax.tree_util.register_pytree_with_keys_class
    class BoundMethod:
        """A method with its module, which is its one child as a pytree."""

        def __init__(self, function, module):
            self.__dict__.update(_shown(function), __func__=function, __self__=module)

        def __call__(self, *args, **options):
            return self.__func__(self.__self__, *args, **options)

        def __eq__(self, other):
            same = isinstance(other, BoundMethod) and self.__self__ is other.__self__
            return same and self.__func__ is other.__func__

        def __hash__(self):
            return hash((self.__func__, id(self.__self__)))

        def __repr__(self):
            return f"<bound method {self.__qualname__} of {self.__self__!r}>"

        @property
        def __signature__(self):
            return inspect.signature(types.MethodType(self.__func__, self.__self__))

        def tree_flatten_with_keys(self):
            return ((jax.tree_util.GetAttrKey("__self__"), self.__self__),), self.__func__

        @classmethod
        def tree_unflatten(cls, function, children):
            return cls(function, *children)

    @functools.lru_cache(maxsize=4096)
    def _shown(function):
        """What a bound method shows of its function."""
        return {name: getattr(function, name) for name in ("__doc__", "__module__", "__name__", "__qualname__")}

    class Module(eqx.Module, metaclass=_PlainMeta):
        """Equinox's Module, shown plainly; its methods are pytrees too, made in 1 microsecond instead of 20."""

        def __getattribute__(self, name):
            found = object.__getattribute__(self, name)
            if type(found) is not types.MethodType or found.__self__ is not self or name[:2] == "__":
                return found
            return BoundMethod(found.__func__, self)
