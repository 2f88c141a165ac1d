"""A checkpoint's variables onto a model's parameters, by walking scopes and attributes together.

The recipe of Wolf 2019, "From TensorFlow to PyTorch": where modules are nested and named as the scopes are,
`model/h0/attn/c_attn/w` is read as a path through attributes, `.h[0].attn.c_attn.weight`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from torch import nn

from convai.core.errors import CheckpointError

ROOT: Final = "model"
_LEAVES: Final = {"w": "weight", "g": "weight", "b": "bias"}
_NUMBERED: Final = re.compile(r"([A-Za-z]+)(\d{1,6})")


@dataclass(slots=True)
class Walk:
    """Where the variables of a checkpoint lead.

    `found`: variable → name of its parameter; `unused` variables lead nowhere; `missing` are the variables
    that the other parameters would have come from.
    """

    found: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def walk(trunk: nn.Module, names: Iterable[str], shape: Callable[[str], tuple[int, ...]], where: str) -> Walk:
    """Match the variables `names` with the parameters of `trunk`, which may be on the meta device.

    The kernels of convolutions of width one, `[1, in, out]`, lose their first axis; nothing is transposed,
    since the model's projections are stored `[in, out]` as TensorFlow's are. Raises CheckpointError, with
    `where` in front, for a variable of another shape than its parameter, and for two of one parameter.
    """
    result = Walk()
    shapes = {name: tuple(p.shape) for name, p in trunk.named_parameters()}
    owner: dict[str, str] = {}
    for name in names:
        parameter = _parameter(trunk, name)
        if parameter is None or parameter not in shapes:
            result.unused.append(name)
            continue
        if parameter in owner:
            raise CheckpointError(
                f"{where}: {name} and {owner[parameter]} are the same parameter; keep one of them"
            )
        own, wanted = tuple(shape(name)), shapes[parameter]
        if own not in (wanted, (1, *wanted)):
            raise CheckpointError(
                f"{where}: {name} has shape {own}, the model's {parameter} {wanted}; "
                "take settings and weights from the same place"
            )
        owner[parameter] = name
        result.found[name] = parameter
    result.missing = [_scope(name) for name in shapes if name not in owner]
    return result


def _parameter(trunk: nn.Module, variable: str) -> str | None:
    """The dotted name that the walk from `trunk` ends at, or None where it leads nowhere."""
    root, *scopes = variable.split("/")
    if root != ROOT or not scopes:
        return None
    pointer, path = trunk, []
    for i, scope in enumerate(scopes):
        children = dict(pointer.named_children())
        numbered = _NUMBERED.fullmatch(scope)
        if scope in children and not isinstance(children[scope], nn.ModuleList):
            pointer = children[scope]
            path.append(scope)
        elif numbered and isinstance(blocks := children.get(numbered[1]), nn.ModuleList):
            if int(numbered[2]) >= len(blocks):
                return None
            pointer = blocks[int(numbered[2])]
            path += [numbered[1], numbered[2]]
        elif scope in _LEAVES and i == len(scopes) - 1:
            return ".".join([*path, _LEAVES[scope]])
        else:
            return None
    return ".".join([*path, "weight"]) if isinstance(pointer, nn.Embedding) else None


def _scope(parameter: str) -> str:
    """The variable that `parameter` would have been read from."""
    *path, leaf = parameter.split(".")
    if path[-1] in ("wte", "wpe"):
        return "/".join([ROOT, *path])
    letter = "b" if leaf == "bias" else "g" if path[-1].startswith("ln_") else "w"
    text = "/".join([ROOT, *path, letter])
    return re.sub(r"/h/(\d+)/", r"/h\1/", text)
