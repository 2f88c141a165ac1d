"""Random valid events, from the annotations that the checks are made from."""

from __future__ import annotations

from dataclasses import fields
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from convai.core.dialog import check_text
from convai.core.errors import DataError
from convai.server.protocol import Limits
from convai.server.protocol.kinds import Free, Ident, Kind, Line, Many, Number, Raw, Settings, Whole

LIMITS = Limits()
IDS = st.text("abcXYZ019_-", min_size=1, max_size=64)


def _clean(text: str) -> bool:
    try:
        return check_text(text, "") == text
    except DataError:
        return False


TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
LINES = TEXTS.map(lambda text: " ".join(text.split())).filter(_clean)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 100),
        "top_p": st.floats(0.01, 1),
        "top_k": st.integers(0, 1_000_000),
        "candidates": st.integers(1, LIMITS.candidates),
        "seed": st.none() | st.integers(-(2**53) + 1, 2**53 - 1),
    },
)
JSON_VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | TEXTS
JSON_OBJECTS = st.dictionaries(TEXTS, JSON_VALUES | st.lists(TEXTS, max_size=3))


def events(cls: type) -> st.SearchStrategy[Any]:
    """Instances of an event or of one of its parts."""
    hints = get_type_hints(cls, include_extras=True)
    return st.builds(cls, **{field.name: _of(hints[field.name]) for field in fields(cls)})


def _of(hint: Any) -> st.SearchStrategy[Any]:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return st.none() | _of(next(arg for arg in args if arg is not NoneType))
    if origin is Annotated:
        if isinstance(args[1], Many):
            return st.lists(_of(get_args(args[0])[0]), max_size=3).map(tuple)
        return _kind(args[1])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.tuples(*(_of(arg) for arg in args))
    return st.booleans() if hint is bool else events(hint)


def _kind(kind: Kind) -> st.SearchStrategy[Any]:
    match kind:
        case Line():
            return LINES | st.just("") if kind.blank else LINES
        case Raw():
            return TEXTS
        case Ident():
            return IDS
        case Whole():
            most = getattr(LIMITS, kind.most) if isinstance(kind.most, str) else kind.most
            return st.integers(kind.least, most)
        case Number():
            return st.floats(kind.least, kind.most)
        case Settings():
            return SETTINGS
        case Free():
            return JSON_OBJECTS
    raise AssertionError(f"no strategy for {kind}")
