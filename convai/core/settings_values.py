"""Values for a configuration's fields from outside, as typed text or from JSON, held to their annotations."""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

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

    `none` stands for None. Raises SettingsError as `laid_over` does.
    """
    value: object = text
    if text.lower() == "none":
        value = None
    else:
        for convert in (float, int):  # an int where the text is one
            try:
                value = convert(text)
            except ValueError:
                continue
    return laid_over(base, {name.replace("-", "_"): value})


@cache
def _kinds(cls: type) -> dict[str, tuple[Any, ...]]:
    """Field → the types that its annotation allows."""
    hints = get_type_hints(cls)
    return {field.name: get_args(hints[field.name]) or (hints[field.name],) for field in fields(cls)}


def _typed(cls: type, name: str, value: object) -> int | float | str | None:
    kinds = _kinds(cls).get(name)
    if kinds is None:
        raise unknown_setting(name, _kinds(cls))
    if value is None and NoneType in kinds:
        return None
    if isinstance(value, str | bool) and (value in kinds or type(value) in kinds):
        return value  # one of a Literal's, or a switch
    if isinstance(value, int) and not isinstance(value, bool):
        if int in kinds:
            return value
        if float in kinds and abs(value) < 2**53:
            return float(value)
    if isinstance(value, float) and float in kinds and math.isfinite(value):
        return value
    choices = [kind for kind in kinds if isinstance(kind, str)]
    wanted = "a whole number" if int in kinds else "a number"
    wanted = " or ".join(choices) if choices else "true or false" if bool in kinds else wanted
    shown = repr(value) if len(repr(value)) <= 40 else type(value).__name__
    raise SettingsError(f"{name}={shown}: use {wanted}{' or none' if NoneType in kinds else ''}")


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
