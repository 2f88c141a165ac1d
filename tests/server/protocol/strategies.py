"""Random valid events, from the annotations that the checks are made from."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from convai.core.dialog import check_text
from convai.core.errors import DataError
from convai.server.protocol import Limits
from convai.server.protocol.schema import fields_of

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
    return st.builds(cls, **{name: _of(field.type) for name, field in fields_of(cls).items()})


def _of(kind: inspect.Type) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.Metadata(type=inner, extra=extra) if extra:
            return _marked(inner, extra)
        case inspect.Metadata(type=inner):
            return _of(inner)
        case inspect.UnionType(types=types):
            return st.none() | _of(next(one for one in types if not isinstance(one, inspect.NoneType)))
        case inspect.VarTupleType(item_type=item):
            return st.lists(_of(item), max_size=3).map(tuple)
        case inspect.TupleType(item_types=items):
            return st.tuples(*(_of(item) for item in items))
        case inspect.LiteralType(values=values):
            return st.sampled_from(values)
        case inspect.BoolType():
            return st.booleans()
        case inspect.StructType(cls=cls):
            return events(cls)
    raise AssertionError(f"no strategy for {kind}")


def _marked(kind: inspect.Type, extra: dict[str, Any]) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.StrType(pattern=pattern) if pattern:
            return IDS
        case inspect.StrType():
            return TEXTS if "blank" not in extra else LINES | st.just("") if extra["blank"] else LINES
        case inspect.IntType(ge=least, le=most):
            return st.integers(least, most)
        case inspect.FloatType(ge=least, le=most):
            return st.floats(least, most)
        case inspect.DictType():
            return SETTINGS if extra["words"] == "decoding settings" else JSON_OBJECTS
    raise AssertionError(f"no strategy for {kind}")
