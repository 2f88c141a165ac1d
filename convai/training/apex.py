"""NVIDIA's apex, where it is installed: its fused Adam and layer norm (https://github.com/NVIDIA/apex).

Another project has its name on PyPI, a login toolkit for the web framework Pyramid; whoever says
`pip install apex` gets that one.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from torch import nn

from convai.core.errors import SettingsError

_BUILD = "build it as https://github.com/NVIDIA/apex says, CUDA extensions included"


def fused_adam() -> Any:
    """apex.optimizers.FusedAdam, which is AdamW unless told otherwise. Raises SettingsError."""
    return _found("optimizers", "FusedAdam", "--apex-adam")


def fused_layer_norm() -> Any:
    """apex.normalization.FusedLayerNorm. Raises SettingsError."""
    return _found("normalization", "FusedLayerNorm", "--apex-layer-norm")


def fuse_layer_norms(model: nn.Module) -> None:
    """Put apex's layer norm in the place of each of torch's in `model`, around the same parameters."""
    fused = fused_layer_norm()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.LayerNorm:
                norm = made(fused, "--apex-layer-norm", child.normalized_shape, eps=child.eps)
                norm.weight, norm.bias = child.weight, child.bias
                setattr(parent, name, norm)


def made(kind: Any, option: str, *args: Any, **settings: Any) -> Any:
    """An object of apex' class `kind`. Raises SettingsError where apex lacks its CUDA extensions."""
    try:
        return kind(*args, **settings)
    except (ImportError, RuntimeError) as error:  # what its constructors say without them
        reason = str(error).splitlines()[0]
        raise SettingsError(f"{option}: apex is built without its CUDA code ({reason}); {_BUILD}") from None


def _found(module: str, name: str, option: str) -> Any:
    spec = importlib.util.find_spec("apex")
    if spec is None:
        raise SettingsError(
            f"{option}: NVIDIA's apex is not installed; {_BUILD} (PyPI's `apex` is another project), or "
            "leave the option out"
        )
    # looked up, not imported: the other apex may do anything, or fail, when it is imported
    places = [Path(place) for place in spec.submodule_search_locations or ()]
    if not any((place / module).is_dir() for place in places):
        where = places[0] if places else spec.origin
        raise SettingsError(
            f"{option}: the `apex` installed at {where} is not NVIDIA's: PyPI's package of that name is a "
            f"login toolkit for Pyramid. Remove it (pip uninstall apex), then {_BUILD}"
        )
    try:
        return getattr(importlib.import_module(f"apex.{module}"), name)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"{option}: apex.{module} cannot be loaded ({error}); {_BUILD}") from None
