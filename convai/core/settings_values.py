"""What the annotations of a configuration's fields say: types, for values from outside, and ranges."""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from convai.core.errors import SettingsError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def laid_over(base: T, values: Mapping[str, object]) -> T:
    """`base` with some fields replaced by `values`, as JSON gives them; a whole number will do for a float.

    Fields may be annotated int, float, either with `| None`, bool, or Literal. Raises SettingsError for a
    name that is no field (and names the nearest), a value of another type, and one that the dataclass
    refuses.
    """
    return replace(base, **{name: _typed(type(base), name, value) for name, value in values.items()})


def from_text(base: T, name: str, text: str) -> T:
    """`base` with the field `name` (a hyphen will do for an underscore) set to what was typed.

    `none` stands for None, and for an empty text; `on` and `off` will do for a switch. Raises SettingsError
    as `laid_over` does.
    """
    value: object = text
    name = name.replace("-", "_")
    known = [field.name for field in fields(base)]
    kind = kind_of(type(base), name) if name in known else FieldKind(str)
    if text.lower() == "none":
        value = "" if kind.type is str and not kind.optional else None
    elif kind.type is bool:
        value = {"on": True, "true": True, "off": False, "false": False}.get(text.lower(), text)
    elif kind.type is not str:
        for convert in (float, int):  # an int where the text is one
            try:
                value = convert(text)
            except ValueError:
                continue
    return laid_over(base, {name: value})


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a setting may be, its ends included: `Annotated[int, Range(1, 64)]`."""

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    """`least` itself is none of them."""
    below: bool = False
    """`most` itself is none of them."""
    words: str = ""
    """The range in words, where some of its numbers mean something."""

    def __contains__(self, value: float) -> bool:
        under = value < self.most if self.below else value <= self.most
        return under and (value > self.least if self.above else value >= self.least)

    def __str__(self) -> str:
        if self.words:
            return self.words
        if math.isinf(self.most):
            return f"a number above {self.least:g}" if self.above else f"{self.least:g} or more"
        if self.above:
            return f"a number between {self.least:g} and {self.most:g}"
        return f"{self.least:g} {'up to' if self.below else 'to'} {self.most:g}"


ABOVE_0: Final = Range(0, above=True)


def wrong(name: str, value: object, mend: str) -> SettingsError:
    """The error of a setting."""
    return SettingsError(f"{name}={value!r}: {mend}")


def check_ranges(config: DataclassInstance) -> None:
    """Raise SettingsError for the first number that is not in its field's Range; None has none."""
    for name, range in _ranges(type(config)).items():
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(number in range for number in numbers):
            raise wrong(name, value, f"use {range}")


@cache
def _ranges(cls: type) -> dict[str, Range]:
    hints = get_type_hints(cls, include_extras=True)
    marks = {field.name: getattr(hints[field.name], "__metadata__", ()) for field in fields(cls)}
    return {name: mark for name, found in marks.items() for mark in found if isinstance(mark, Range)}


@dataclass(frozen=True, slots=True)
class FieldKind:
    """What one field may be."""

    type: Any
    """bool, int, float, str or Path; that of the choices, where there are some."""
    optional: bool = False
    """Whether None will do."""
    choices: tuple[Any, ...] = ()
    """Of a Literal."""
    count: int = 0
    """Of a tuple of so many such values; 0: a single one."""


@cache
def kind_of(cls: type, name: str) -> FieldKind:
    """What the annotation of a field allows.

    Understood: int, float, str, bool, Path, Literal of texts, each also `| None`, and tuples of fixed length
    of one of them. Raises TypeError for another annotation, which means nothing for a setting.
    """
    return _kind(get_type_hints(cls)[name], name)


def _kind(hint: Any, name: str) -> FieldKind:
    args = get_args(hint)
    if get_origin(hint) is Literal:
        return FieldKind(type(args[0]), choices=args)
    if NoneType in args and len(args) == 2:
        [inner] = [arg for arg in args if arg is not NoneType]
        return replace(_kind(inner, name), optional=True)
    if get_origin(hint) is tuple and len(set(args)) == 1:
        return replace(_kind(args[0], name), count=len(args))
    if hint not in (bool, int, float, str, Path):
        raise TypeError(f"field {name}: {hint!r} means nothing for a setting")
    return FieldKind(hint)


def _typed(cls: type, name: str, value: Any) -> Any:
    known = [field.name for field in fields(cls)]
    if name not in known:
        raise unknown_setting(name, known)
    kind = kind_of(cls, name)
    if value is None and kind.optional:
        return None
    if kind.choices:
        if type(value) is kind.type and value in kind.choices:
            return value
    elif isinstance(value, str):
        if kind.type is str:
            return value
    elif isinstance(value, bool):
        if kind.type is bool:
            return value
    elif isinstance(value, int):
        if kind.type is int:
            return value
        if kind.type is float and abs(value) < 2**53:
            return float(value)
    elif isinstance(value, float) and kind.type is float and math.isfinite(value):
        return value
    names = {bool: "true or false", int: "a whole number", float: "a number"}
    wanted = " or ".join(map(str, kind.choices)) or names.get(kind.type, "text")
    shown = repr(value) if len(repr(value)) <= 40 else type(value).__name__
    raise SettingsError(f"{name}={shown}: use {wanted}{' or none' if kind.optional else ''}")


def unknown_setting(name: str, known: Iterable[str]) -> SettingsError:
    """The error for a name that is none of `known`."""
    close = nearest(name, known)
    advice = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
    return SettingsError(f"there is no setting {name[:40]!r}; {advice}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that a mistyped `name` probably means, if any comes near."""
    names = list(known)
    close = [one for one in names if name and one.startswith(name)]
    close = close or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return close[0] if close else None


def field_docs(cls: type) -> dict[str, str]:
    """Field name → the string literal right below the field, on one line; inherited fields included.

    Python throws these strings away when it compiles a class, so they are read from the source. An
    installation without sources yields an empty mapping: help then lacks the texts, nothing else.
    """
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        try:
            tree = ast.parse(inspect.getsource(sys.modules[base.__module__]))
        except (OSError, TypeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name == base.__name__:
                docs.update(_docs_of_body(node.body))
    return docs


def _docs_of_body(body: list[ast.stmt]) -> dict[str, str]:
    docs = {}
    for statement, below in itertools.pairwise(body):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[statement.target.id] = " ".join(str(below.value.value).split())
    return docs
