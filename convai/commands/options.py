"""Command line options derived from a configuration dataclass, so that no default is written twice.

Each field `top_k: int = 0` becomes an option `--top-k`; its type comes from the annotation, its help from
the docstring below the field, the default shown from the dataclass. Only options that were really given
reach the parsed namespace: `config_from_args` lays them over the defaults, or over the settings that a
model was shipped with.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Collection
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from convai.core.errors import SettingsError
from convai.core.processor import allowed
from convai.core.settings_values import FieldKind, field_docs, kind_of

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

HERE: Final = "here"
APART: Final = "apart"
"""What `--engine` calls this process, and one of the model's own."""
T = TypeVar("T", bound="DataclassInstance")


def add_config_arguments(
    parser: argparse.ArgumentParser,
    cls: type[DataclassInstance],
    *,
    title: str,
    exclude: Collection[str] = (),
) -> None:
    """Give `parser` one option a field of the dataclass `cls`, in a help section called `title`.

    Annotations as in `convai.core.settings_values.kind_of`: None is written `none`, a tuple `--betas 0.9 1`,
    bool `--flag` and `--no-flag`. A field without a default becomes a required option. Fields named in
    `exclude` get no option.

    Raises TypeError for another annotation and ValueError for an excluded name that is no field: both are
    mistakes in the calling code.
    """
    unknown = set(exclude) - {field.name for field in fields(cls)}
    if unknown:
        raise ValueError(f"{cls.__name__} has no fields {sorted(unknown)}")
    docs = field_docs(cls)
    group = parser.add_argument_group(title)
    for field in fields(cls):
        if field.init and field.name not in exclude:
            _add_option(group, field, kind_of(cls, field.name), docs.get(field.name, ""))


def add_context_argument(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the option `--context`: how much of a conversation a model is shown."""
    parser.add_argument(
        "--context",
        type=int,
        metavar="N",
        help="tokens of a prompt and its reply, at most (default: the model's own; 1024 of a long context)",
    )


def add_adapter_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of models that are loaded when a conversation asks for them."""
    parser.add_argument(
        "--adapters",
        nargs="+",
        default=[],
        metavar="DIR",
        help="more models, with the same tokenizer, as adapters of one base have; each is loaded when a "
        "conversation asks for it (its decoding setting `adapter`) by its folder's name",
    )
    parser.add_argument(
        "--adapters-loaded",
        type=_some,
        default=2,
        metavar="N",
        help="how many of them are in memory at a time; the one that was asked for least recently makes room "
        "(default: %(default)s)",
    )


def _some(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 1 or more")
    return int(text)


def where_to_compute() -> str:
    """What `--engine` is where nobody says: a process of its own takes a core of its own to be worth it.

    Call it before torch is imported (see `convai.core.processor`).
    """
    return APART if len(allowed()) > 1 else HERE


def add_threads_argument(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the option `--threads`: processor threads that compute."""
    parser.add_argument(
        "--threads", type=_threads, default=1, metavar="N", help="processor threads (default: %(default)s)"
    )


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of threads, 1 or more")
    return int(text)


def config_from_args(cls: type[T], args: argparse.Namespace, *, base: T | None = None) -> T:
    """The options in `args` laid over `base` (default: the dataclass' own defaults).

    Raises SettingsError, naming the option, when the dataclass refuses a value.
    """
    given = {f.name: getattr(args, f.name) for f in fields(cls) if f.init and hasattr(args, f.name)}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    try:
        return cls(**given) if base is None else replace(base, **given)
    except SettingsError as error:
        name, equals, rest = str(error).partition("=")
        if equals and name in given:
            raise SettingsError(f"{_option(name)}={rest}") from None
        raise


@functools.cache
def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _add_option(group: argparse._ArgumentGroup, field: Field[Any], kind: FieldKind, doc: str) -> None:
    settings: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS}
    if field.default is not MISSING:
        default = field.default
    elif field.default_factory is not MISSING:
        default = field.default_factory()
    else:
        default = MISSING
        settings["required"] = True
    shown = "required" if default is MISSING else f"default: {_show(default)}"
    settings["help"] = f"{doc} ({shown})".strip().replace("%", "%%")
    if kind.type is bool:
        settings["action"] = argparse.BooleanOptionalAction
    else:
        settings |= {"nargs": kind.count} if kind.count else {}
        settings["type"], settings["metavar"] = _parser_of(kind)
    group.add_argument(_option(field.name), **settings)


def _show(value: object) -> str:
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(_show(part) for part in value)
    return str(value)


def _parser_of(kind: FieldKind) -> tuple[Callable[[str], Any], str]:
    """A function from text to value, and the placeholder that the help shows for it."""
    choices = {str(choice): choice for choice in kind.choices}
    convert: Callable[[str], Any] = functools.partial(_choose, choices=choices)
    metavar = "|".join(choices)
    if not kind.choices:
        convert, metavar = _PARSERS[kind.type]
    return (lambda text: None if text == "none" else convert(text)) if kind.optional else convert, metavar


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _choose(text: str, choices: dict[str, Any]) -> Any:
    if text not in choices:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(choices)}")
    return choices[text]


_PARSERS: dict[type, tuple[Callable[[str], Any], str]] = {
    int: (_whole_number, "N"),
    float: (_number, "X"),
    str: (str, "TEXT"),
    Path: (Path, "PATH"),
}


def add_resolving_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of a chat whose pronouns are resolved, behind --coref-model."""
    parser.add_argument(
        "--coref-parser",
        metavar="DIR|NAME",
        help="the spaCy pipeline under it, such as en_core_web_sm (default: the embedded parser)",
    )
    parser.add_argument(
        "--resolved",
        action="store_true",
        help="let the model read earlier turns with their pronouns replaced by what they stand for",
    )
