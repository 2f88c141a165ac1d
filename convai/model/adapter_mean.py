"""The mean of adapters of one base, which is as large as each of them and better on the whole.

Runs that went on from one another lie near enough for their factors to be averaged (Wortsman et al. 2022,
"Model soups", arXiv 2203.05482): what one run cost, the others give back. Of runs that each began with
factors of their own only the changes of the base, the factors' products, have a mean; it is factorised anew.
A part of the base in the mean takes back some of what was learnt by heart (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models", arXiv 2109.01903).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from convai.core.errors import CheckpointError, SettingsError
from convai.core.files import read_json
from convai.model.adapters import CONFIG, HEADS_FILE, WEIGHTS, read_tensors, write_adapter

_DOWN: Final = ".lora_A.weight"
_UP: Final = ".lora_B.weight"


def average(
    folders: Sequence[Path],
    weights: Sequence[float],
    out: Path,
    *,
    keep: float = 1.0,
    rank: int | None = None,
    dtype: torch.dtype,
) -> None:
    """Write the mean of the adapters in `folders` to `out`, in `dtype`, with the heads of the first.

    `weights`: one for each, in any unit. `keep`: the share of the mean beside the base's 1 - `keep`. `rank`:
    the mean of the changes that the adapters make, of any rank each, as an adapter of this rank; None: the
    mean of their factors. Raises SettingsError for weights that are no weights and a rank below 1,
    CheckpointError for adapters of other layers (without `rank`, of another rank) than the first, or damaged
    ones, and OSError.
    """
    if len(weights) != len(folders):
        raise SettingsError(f"{len(weights)} weights for {len(folders)} adapters; give one for each")
    total = sum(weights)
    if not (all(math.isfinite(w) and w >= 0 for w in weights) and total > 0):
        raise SettingsError("weights are 0 or more, and one of them is more than 0")
    if not 0 < keep <= 1:
        raise SettingsError(f"keep={keep}: use more than 0, up to 1")
    if rank is not None and rank < 1:
        raise SettingsError(f"rank={rank}: use 1 or more")
    settings = [read_json(folder / CONFIG) for folder in folders]
    shares = [weight / total for weight in weights]
    if rank is None:
        mean = _of_factors(folders, settings, shares)
    else:
        mean = _of_changes(folders, settings, shares, rank)
        settings[0] |= {"r": rank, "lora_alpha": float(rank)}
    tensors = {
        name: (p * keep if name.endswith(_UP) else p).to(dtype).contiguous() for name, p in mean.items()
    }
    write_adapter(out, tensors, read_tensors(folders[0] / HEADS_FILE), settings[0])


def _of_factors(
    folders: Sequence[Path], settings: Sequence[Mapping[str, Any]], shares: Sequence[float]
) -> dict[str, torch.Tensor]:
    mean: dict[str, torch.Tensor] = {}
    for folder, own, share in zip(folders, settings, shares, strict=True):
        tensors = read_tensors(folder / WEIGHTS)
        same = {name: p.shape for name, p in tensors.items()} == {name: p.shape for name, p in mean.items()}
        if mean and not (same and own.get("lora_alpha") == settings[0].get("lora_alpha")):
            raise CheckpointError(
                f"{folder}: other layers, another rank or alpha than {folders[0]}; give runs of one lineage, "
                "or the mean a --rank"
            )
        for name, p in tensors.items():
            mean[name] = mean.get(name, 0) + p.double() * share
    return mean


def _of_changes(
    folders: Sequence[Path], settings: Sequence[Mapping[str, Any]], shares: Sequence[float], rank: int
) -> dict[str, torch.Tensor]:
    """The mean of the adapters' changes as factors of `rank` with a scale of 1, and of what is no factor (the
    rows of new control tokens).
    """
    adapters = [read_tensors(folder / WEIGHTS) for folder in folders]
    for folder, tensors in zip(folders, adapters, strict=True):
        if tensors.keys() != adapters[0].keys():
            raise CheckpointError(
                f"{folder}: other layers than {folders[0]}; give runs that adapt the same ones"
            )
    mean: dict[str, torch.Tensor] = {}
    for name in adapters[0]:
        if name.endswith(_DOWN):
            up = name.replace(_DOWN, _UP)
            scales = [
                _scale(own, folder) * s for own, folder, s in zip(settings, folders, shares, strict=True)
            ]
            ups = [tensors[up].double() * scale for tensors, scale in zip(adapters, scales, strict=True)]
            downs = [tensors[name].double() for tensors in adapters]
            mean[up], mean[name] = _factors(torch.cat(ups, 1), torch.cat(downs), rank)
        elif not name.endswith(_UP):
            rows = [tensors[name].double() * share for tensors, share in zip(adapters, shares, strict=True)]
            mean[name] = torch.stack(rows).sum(0)
    return mean


def _scale(settings: Mapping[str, Any], folder: Path) -> float:
    try:
        return float(settings["lora_alpha"]) / int(settings["r"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise CheckpointError(f"{folder / CONFIG}: has no rank and alpha; copy it again") from None


def _factors(up: torch.Tensor, down: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`up` (out, n) times `down` (n, in) as factors (out, rank) and (rank, in), as near as that rank allows.

    Eckart and Young 1936, without the product itself: the small middle of two triangles is decomposed.
    """
    left, r_left = torch.linalg.qr(up)
    right, r_right = torch.linalg.qr(down.T)
    u, s, v = torch.linalg.svd(r_left @ r_right.T)
    u, s, v = u[:, :rank], s[:rank].sqrt(), v[:rank]
    missing = (0, rank - s.shape[0])
    return (
        torch.nn.functional.pad(left @ (u * s), missing),
        torch.nn.functional.pad((right @ (v.T * s)), missing).T,
    )
