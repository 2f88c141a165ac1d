"""Options derived from a dataclass: one a field, typed, with help, laid over defaults or shipped settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from convai.__main__ import Parser
from convai.commands.options import add_config_arguments, config_from_args
from convai.core import settings as config
from convai.core.errors import SettingsError
from convai.core.settings import DecodingConfig
from convai.core.settings_values import field_docs

CONFIGS = [
    c for c in vars(config).values() if dataclasses.is_dataclass(c) and c.__module__ == config.__name__
]


@dataclass(frozen=True, kw_only=True)
class Base:
    depth: int = 3
    """How deep,
    in metres."""


@dataclass(frozen=True, kw_only=True)
class Sample(Base):
    share: float = 0.5
    """Up to 100 % of it."""
    name: str = "plain"
    folder: Path = Path("here")
    kind: Literal["warm", "cold"] = "warm"
    level: Literal[1, 2] | None = None
    limit: int | None = None
    both: bool = True
    pair: tuple[float, float] = (0.9, 0.95)
    derived: int = dataclasses.field(init=False, default=1)


def parse(cls: type, *argv: str, **kwargs: object) -> object:
    parser = Parser(prog="convai x")
    add_config_arguments(parser, cls, title="settings", **kwargs)  # type: ignore[arg-type]
    return config_from_args(cls, parser.parse_args(argv))


def test_without_options_the_defaults_hold() -> None:
    assert parse(Sample) == Sample()


@pytest.mark.parametrize("cls", CONFIGS, ids=lambda cls: cls.__name__)
def test_every_configuration_of_the_project_can_be_given_on_the_command_line(cls: type) -> None:
    assert parse(cls) == cls()
    assert set(field_docs(cls)) >= {field.name for field in dataclasses.fields(cls)}, "a field without help"


@pytest.mark.parametrize(
    ("argv", "changes"),
    [
        (["--depth", "7"], {"depth": 7}),
        (["--share", "1e-3", "--name", ""], {"share": 0.001, "name": ""}),
        (["--folder", "a/b"], {"folder": Path("a/b")}),
        (["--kind", "cold", "--level", "2"], {"kind": "cold", "level": 2}),
        (["--level", "none"], {"level": None}),
        (["--limit", "-5"], {"limit": -5}),
        (["--limit", "5", "--limit", "none"], {"limit": None}),
        (["--no-both"], {"both": False}),
        (["--both"], {"both": True}),
        (["--pair", "0.1", "2"], {"pair": (0.1, 2.0)}),
    ],
)
def test_options_become_values_of_the_annotated_type(argv: list[str], changes: dict[str, object]) -> None:
    made = parse(Sample, *argv)
    assert made == Sample(**changes)  # type: ignore[arg-type]
    for name, value in changes.items():
        assert type(getattr(made, name)) is type(value)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--depth", "1.5"], "argument --depth: '1.5' is not a whole number"),
        (["--share", "half"], "argument --share: 'half' is not a number"),
        (["--kind", "hot"], "argument --kind: 'hot' is not one of warm, cold"),
        (["--limit", "None"], "argument --limit: 'None' is not a whole number"),
        (["--pair", "1"], "argument --pair: expected 2 arguments"),
        (["--derived", "2"], "unrecognized arguments: --derived 2"),
    ],
)
def test_values_of_another_type_are_refused(capsys, argv: list[str], message: str) -> None:
    with pytest.raises(SystemExit):
        parse(Sample, *argv)
    assert capsys.readouterr().err == f"convai: error: {message}; see 'convai x --help'\n"


def test_given_options_are_laid_over_shipped_settings() -> None:
    """An option that repeats a default still overrides; one that was not given does not."""
    parser = Parser(prog="convai x")
    add_config_arguments(parser, DecodingConfig, title="decoding")
    shipped = DecodingConfig(temperature=1.5, top_k=50, seed=4)
    args = parser.parse_args(["--temperature", str(DecodingConfig().temperature)])
    made = config_from_args(DecodingConfig, args, base=shipped)
    assert made == dataclasses.replace(shipped, temperature=DecodingConfig().temperature)
    assert vars(args).keys() == {"temperature"}


def test_a_value_out_of_range_is_named_as_the_option() -> None:
    with pytest.raises(SettingsError, match=r"^--top-k=-1: use 0 \(off\) or more$"):
        parse(DecodingConfig, "--top-k", "-1")


def test_excluded_fields_get_no_option(capsys) -> None:
    assert parse(Sample, exclude=["limit"]) == Sample()
    with pytest.raises(SystemExit):
        parse(Sample, "--limit", "3", exclude=["limit"])
    assert "--limit" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no fields"):
        parse(Sample, exclude=["limits"])


def test_help_shows_docstring_and_default(capsys) -> None:
    with pytest.raises(SystemExit) as leave:
        parse(Sample, "--help")
    assert leave.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--depth N How deep, in metres. (default: 3)" in text
    assert "--share X Up to 100 % of it. (default: 0.5)" in text
    assert "--kind warm|cold (default: warm)" in text
    assert "--limit N (default: none)" in text
    assert "--both, --no-both (default: on)" in text
    assert "--pair X X (default: 0.9 0.95)" in text


def test_a_field_without_default_is_a_required_option(capsys) -> None:
    made = dataclasses.make_dataclass("Needed", [("size", int)])
    with pytest.raises(SystemExit):
        parse(made)
    assert "required: --size" in capsys.readouterr().err
    assert parse(made, "--size", "3") == made(3)


def test_an_annotation_without_meaning_on_a_command_line_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="field table"):
        parse(dataclasses.make_dataclass("Odd", [("table", dict, None)]))
