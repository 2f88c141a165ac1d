"""What the classes of frames have in common: msgspec reads them, and each error names field and mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from convai.core.safe_text import visible
from convai.server.protocol.kinds import bad

_PATH = re.compile(r"\.(\w+)|\[(\d+)\]")
_NAMES = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
_ARTICLES = {"whole": "a", "number,": "a", "line": "a", "list": "a", "object": "an"}
_T = TypeVar("_T")
Check = Callable[[Any, str], Any]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a frame: its fields, checked. Fields that are None, as by default, are not sent."""


class Event(Part, frozen=True, kw_only=True, tag_field="type"):
    """A frame: its `type`, and its fields."""

    @property
    def type(self) -> str:
        """As in the frame."""
        return type_of(type(self))


def type_of(event: type[Event]) -> str:
    """The `type` of an event's class."""
    return str(event.__struct_config__.tag)


def sent(default: _T) -> Any:
    """A default that goes over the wire all the same."""
    return msgspec.field(default_factory=lambda: default)


def build(cls: type[_T], value: object, where: str) -> _T:
    """An instance of `cls` from a JSON value.

    Raises ProtocolError, naming the field, for anything that is unknown, missing, of another type or out
    of range.
    """
    try:
        part = msgspec.convert(value, cls)
    except msgspec.ValidationError as error:
        raise _named(str(error), inspect.type_info(cls), value, where) from None
    check = _check_of_part(cast(Any, cls))
    return part if check is None else check(part, where)


def describe(kind: inspect.Type) -> str:
    """In words, with the range, for the reference and for error lines."""
    match kind:
        case inspect.Metadata(type=inner, extra=extra):
            return str(extra["words"]) if extra and "words" in extra else describe(inner)
        case inspect.UnionType(types=types):
            [inner] = [one for one in types if not isinstance(one, inspect.NoneType)]
            return f"{describe(inner)}, or null"
        case inspect.VarTupleType(item_type=item, max_length=most):
            return f"list of up to {most:,}: {describe(item)}"
        case inspect.TupleType(item_types=items):
            return f"[{', '.join(map(describe, items))}]"
        case inspect.LiteralType(values=values):
            return " or ".join(f'"{value}"' for value in values)
        case inspect.BoolType():
            return "true or false"
        case inspect.StructType(cls=cls):
            return str(cls.__name__)
    raise TypeError(f"no words are known for {kind}")


@cache
def fields_of(cls: type) -> dict[str, inspect.Field]:
    """The fields of a part, in order."""
    kind = inspect.type_info(cls)
    assert isinstance(kind, inspect.StructType)
    return {field.name: field for field in kind.fields}


# -- errors ---------------------------------------------------------------------------------------


def _named(message: str, kind: inspect.Type, value: Any, where: str) -> Exception:
    """The error for what msgspec found wrong, at the end of the path that its `message` tells."""
    problem, _, path = message.rpartition(" - at `$")
    for name, index in _PATH.findall(path) if problem else ():
        kind, place = _inner(kind), name or int(index)
        try:
            value = value[place]
        except (KeyError, IndexError, TypeError):
            break
        where += f".{name}" if name else f"[{index}]"
        kind = _step(kind, place)
    kind = _inner(kind)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        known = {field.name: field for field in kind.fields}
        for name in value:
            if name not in known and name != kind.tag_field:
                place = f"{where}.{visible(str(name))[:40]}"
                return bad(place, f"there is no such field; there are {', '.join(known) or 'none'}")
        for name, field in known.items():
            if field.required and name not in value:
                return bad(f"{where}.{name}", "is missing")
    return bad(where, f"{_found(value)}; use {_mend(kind)}")


def _inner(kind: inspect.Type) -> inspect.Type:
    """What a kind is where it is there: without `or null`, and without what only lists are marked with."""
    if isinstance(kind, inspect.UnionType):
        [kind] = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    while isinstance(kind, inspect.Metadata) and not (kind.extra and "words" in kind.extra):
        kind = kind.type
    return kind


def _step(kind: inspect.Type, place: str | int) -> inspect.Type:
    if isinstance(kind, inspect.StructType):
        return next(field.type for field in kind.fields if field.name == place)
    if isinstance(kind, inspect.TupleType):
        return kind.item_types[int(place)]
    assert isinstance(kind, inspect.VarTupleType)
    return kind.item_type


def _found(value: object) -> str:
    """A wrong value, short enough for an error line."""
    if isinstance(value, str):
        return f'"{visible(value)}"' if len(value) <= 40 else f"{len(value):,} characters"
    if isinstance(value, list) and value:
        return f"a list of {len(value):,} items"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)[:40]
    return _NAMES.get(type(value), "something else")


def _mend(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.StructType):
        return "an object"
    words = describe(kind)
    if words == "identifier":
        return "1 to 64 letters, digits, hyphens or underscores"
    article = _ARTICLES.get(words.split()[0])
    return f"{article} {words}" if article else words


# -- checks that msgspec does not make ------------------------------------------------------------


@cache
def _check_of_part(cls: Any) -> Check | None:
    return _check_of(inspect.type_info(cls))


def _check_of(kind: inspect.Type) -> Check | None:
    """What remains to be checked, or cleaned, in a value of this kind; None: nothing."""
    match kind:
        case inspect.Metadata(type=inner, extra=extra):
            return extra["check"] if extra and "check" in extra else _check_of(inner)
        case inspect.UnionType():
            inside = _check_of(_inner(kind))
            return inside and (lambda value, where: None if value is None else inside(value, where))
        case inspect.VarTupleType(item_type=item):
            each = _check_of(item)
            return each and _each(each)
        case inspect.TupleType(item_types=items):
            checks = [(i, check) for i, item in enumerate(items) if (check := _check_of(item))]
            return _pair(checks) if checks else None
        case inspect.StructType(fields=fields):
            by_name = {field.name: check for field in fields if (check := _check_of(field.type))}
            return _part(by_name) if by_name else None
    return None


def _each(one: Check) -> Check:
    return lambda values, where: tuple(one(value, f"{where}[{i}]") for i, value in enumerate(values))


def _pair(checks: list[tuple[int, Check]]) -> Check:
    def check(value: tuple[Any, ...], where: str) -> tuple[Any, ...]:
        items = list(value)
        for i, one in checks:
            items[i] = one(items[i], f"{where}[{i}]")
        return tuple(items)

    return check


def _part(checks: dict[str, Check]) -> Check:
    def check(value: Any, where: str) -> Any:
        return msgspec.structs.replace(
            value, **{name: one(getattr(value, name), f"{where}.{name}") for name, one in checks.items()}
        )

    return check
