"""Settings from JSON and from typed text: the right type, or one line that says what is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig, TrainConfig
from convai.core.settings_values import from_text, laid_over, nearest

BASE = DecodingConfig()


def outcome(make: Callable[[], DecodingConfig]) -> DecodingConfig | str:
    """What was made, or the message of the SettingsError."""
    try:
        return make()
    except SettingsError as error:
        return str(error)


def test_json_values_replace_fields_and_keep_their_types() -> None:
    made = laid_over(BASE, {"top_p": 1, "max_length": 7, "seed": None})
    assert made == dataclasses.replace(BASE, top_p=1.0, max_length=7)
    assert type(made.top_p) is float
    assert laid_over(BASE, {}) == BASE
    assert laid_over(BASE, {"seed": 2**80}).seed == 2**80


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_length": 3.5}, "max_length=3.5: use a whole number"),
        ({"max_length": "7"}, "max_length='7': use a whole number"),
        ({"max_length": True}, "max_length=True: use a whole number"),
        ({"max_length": None}, "max_length=None: use a whole number"),
        ({"top_p": float("nan")}, "top_p=nan: use a number"),
        ({"top_p": 10**400}, "top_p=int: use a number"),
        ({"top_p": [0.5]}, r"top_p=[0.5]: use a number"),
        ({"seed": 1.5}, "seed=1.5: use a whole number or none"),
        ({"top_p": 1.5}, "top_p=1.5: use a number above 0, up to 1 (off)"),
        ({"top_q": 1}, "there is no setting 'top_q'; did you mean top_p?"),
        ({"xyz": 1}, "there is no setting 'xyz'; there are max_length, min_length"),
    ],
)
def test_what_does_not_fit_is_one_line(values: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        laid_over(BASE, values)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("top_p", "0.8", 0.8),
        ("top-p", "1", 1.0),
        ("top_k", "40", 40),
        ("temperature", "1e-1", 0.1),
        ("seed", "none", None),
        ("seed", "None", None),
        ("seed", "-3", -3),
    ],
)
def test_typed_text_becomes_a_value(name: str, text: str, value: object) -> None:
    made = getattr(from_text(DecodingConfig(seed=9), name, text), name.replace("-", "_"))
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("top_p", "hot", "top_p='hot': use a number"),
        ("top_p", "", "top_p='': use a number"),
        ("top_p", "inf", "top_p=inf: use a number"),
        ("top_p", "none", "top_p=None: use a number"),
        ("top_k", "4.0", "top_k=4.0: use a whole number"),
        ("top_k", "-1", "top_k=-1: use 0 (off) or more"),
    ],
)
def test_typed_text_that_is_no_value(name: str, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_text(BASE, name, text)
    assert str(caught.value) == message


@given(st.sampled_from([f.name for f in dataclasses.fields(DecodingConfig)]), st.text(max_size=60))
def test_any_typed_text_is_a_value_or_a_settings_error(name: str, text: str) -> None:
    made = outcome(lambda: from_text(BASE, name, text))
    assert isinstance(made, DecodingConfig) or "\n" not in made


@given(
    st.dictionaries(
        st.sampled_from([f.name for f in dataclasses.fields(DecodingConfig)]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none()),
    )
)
def test_any_json_is_settings_or_a_settings_error(values: dict[str, object]) -> None:
    made = outcome(lambda: laid_over(BASE, values))
    if isinstance(made, str):
        assert "\n" not in made
        return
    hints = {"int": int, "float": float}
    for field in dataclasses.fields(made):
        kind = hints.get(str(field.type))
        assert kind is None or type(getattr(made, field.name)) is kind


def test_other_configurations_work_too() -> None:
    @dataclass(frozen=True)
    class Sample:
        depth: float | None = None

    assert laid_over(Sample(), {"depth": 2}) == Sample(2.0)


def test_nearest() -> None:
    assert nearest("reg", ["reset", "regenerate"]) == "regenerate"
    assert nearest("rest", ["reset", "regenerate"]) == "reset"
    assert nearest("", ["reset"]) is None
    assert nearest("zzz", ["reset"]) is None


def test_choices_and_switches_are_held_to_their_annotation() -> None:
    base = TrainConfig()
    assert laid_over(base, {"optimizer": "muon", "both_sides": True, "dropout": 0.5}).optimizer == "muon"
    with pytest.raises(SettingsError, match="optimizer='sgd': use adamw or muon"):
        laid_over(base, {"optimizer": "sgd"})
    with pytest.raises(SettingsError, match="both_sides='yes': use true or false"):
        laid_over(base, {"both_sides": "yes"})
    with pytest.raises(SettingsError, match="epochs=True: use a number"):
        laid_over(base, {"epochs": True})
