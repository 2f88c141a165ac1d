"""From a dataclass's annotations to its check: unknown and missing fields, types, ranges; and back to JSON.

Understood: `Annotated[str | int | float | dict, KIND]`, bool, Literal of texts, dataclasses,
`Annotated[tuple[T, ...], Many(n)]`, pairs `tuple[A, B]`, and each of these with `| None`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from convai.core.limits import Limits
from convai.core.safe_text import visible
from convai.server.protocol.kinds import ASSIGNED, Kind, Many, bad, shown

Reader = Callable[[object, str, Limits], Any]
Describer = Callable[[Limits], str]


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field: how to read it, whether it must be there, its default, and what it is in words."""

    name: str
    read: Reader
    required: bool
    default: object
    describe: Describer


@cache
def specs(cls: type) -> dict[str, FieldSpec]:
    """The fields of a dataclass, in order."""
    hints = get_type_hints(cls, include_extras=True)
    found = {}
    for item in fields(cls):
        required = item.default is MISSING and item.default_factory is MISSING
        required |= ASSIGNED in get_args(hints[item.name])
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        read, describe = _compile(hints[item.name])
        found[item.name] = FieldSpec(item.name, read, required, default, describe)
    return found


def build(cls: type, value: object, where: str, limits: Limits) -> Any:
    """An instance of the dataclass `cls` from a JSON object.

    Raises ProtocolError, naming the field, for anything that is unknown, missing, of another type or out
    of range.
    """
    if not isinstance(value, dict):
        raise bad(where, f"expected an object, found {shown(value)}")
    known = specs(cls)
    for name in value:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise bad(f"{where}.{visible(str(name))[:40]}", f"there is no such field; there are {listed}")
    given = {}
    for name, spec in known.items():
        if name in value:
            given[name] = spec.read(value[name], f"{where}.{name}", limits)
        elif spec.required:
            raise bad(f"{where}.{name}", "is missing")
    return cls(**given)


def plain(value: Any) -> Any:
    """The JSON value of an event or one of its parts: fields that are None, as by default, are left out."""
    if isinstance(value, str | int | float | dict | None):
        return value
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return as_object(value)


def as_object(value: Any) -> dict[str, Any]:
    """`plain` of a dataclass."""
    out = {}
    cls: type = type(value)
    for name, optional, simple in _fields(cls):  # a token a call: as little as can be
        item = getattr(value, name)
        if item is not None or not optional:
            out[name] = item if simple else plain(item)
    return out


@cache
def _fields(cls: type) -> tuple[tuple[str, bool, bool], ...]:
    """Of each field its name, whether None is left out, and whether its values are JSON as they are."""
    hints = get_type_hints(cls)
    plainly = {str, int, float, bool, NoneType}
    return tuple(
        (name, spec.default is None, plainly.issuperset(get_args(hints[name]) or (hints[name],)))
        for name, spec in specs(cls).items()
    )


def _compile(hint: Any) -> tuple[Reader, Describer]:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        (inner,) = (arg for arg in args if arg is not NoneType)
        return _or_none(*_compile(inner))
    if origin is Annotated:
        kind: Kind = args[1]
        if isinstance(kind, Many):
            return _list_of(kind, *_compile(get_args(args[0])[0]))
        return kind.read, kind.describe
    if origin is Literal:
        return _choice(args)
    if origin is tuple:
        return _pair(*(_compile(arg) for arg in args))
    if hint is bool:
        return _switch, lambda limits: "true or false"
    return _part(hint)


def _part(cls: type) -> tuple[Reader, Describer]:
    assert is_dataclass(cls), f"no check is known for {cls}"
    return lambda value, where, limits: build(cls, value, where, limits), lambda limits: cls.__name__


def _or_none(read: Reader, describe: Describer) -> tuple[Reader, Describer]:
    def reader(value: object, where: str, limits: Limits) -> Any:
        return None if value is None else read(value, where, limits)

    return reader, lambda limits: f"{describe(limits)}, or null"


def _list_of(kind: Many, read: Reader, describe: Describer) -> tuple[Reader, Describer]:
    def reader(value: object, where: str, limits: Limits) -> tuple[Any, ...]:
        items = kind.read(value, where, limits)
        return tuple(read(item, f"{where}[{i}]", limits) for i, item in enumerate(items))

    return reader, lambda limits: f"{kind.describe(limits)}: {describe(limits)}"


def _pair(first: tuple[Reader, Describer], second: tuple[Reader, Describer]) -> tuple[Reader, Describer]:
    def reader(value: object, where: str, limits: Limits) -> tuple[Any, Any]:
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise bad(where, "expected a list of two")
        return first[0](value[0], f"{where}[0]", limits), second[0](value[1], f"{where}[1]", limits)

    return reader, lambda limits: f"[{first[1](limits)}, {second[1](limits)}]"


def _choice(allowed: tuple[str, ...]) -> tuple[Reader, Describer]:
    words = " or ".join(f"{one!r}" for one in allowed).replace("'", '"')

    def reader(value: object, where: str, limits: Limits) -> Any:
        if not isinstance(value, str) or value not in allowed:
            found = f'"{value[:40]}"' if isinstance(value, str) else shown(value)
            raise bad(where, f"{found}; use {words}")
        return value

    return reader, lambda limits: words


def _switch(value: object, where: str, limits: Limits) -> bool:
    if not isinstance(value, bool):
        raise bad(where, f"{shown(value)}; use true or false")
    return value
