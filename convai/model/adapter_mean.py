"""The mean of adapters of one lineage, which is as large as each of them and better on the whole.

Runs that went on from one another, or from a common beginning, lie near enough for their factors to be
averaged (Wortsman et al. 2022, "Model soups", arXiv 2203.05482): what one run cost, the others give back. A
part of the base in the mean takes back some of what was learnt by heart (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models", arXiv 2109.01903).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from convai.core.errors import CheckpointError, SettingsError
from convai.core.files import read_json
from convai.model.adapters import CONFIG, HEADS_FILE, WEIGHTS, read_tensors, write_adapter


def average(
    folders: Sequence[Path], weights: Sequence[float], out: Path, *, keep: float = 1.0, dtype: torch.dtype
) -> None:
    """Write the mean of the adapters in `folders` to `out`, in `dtype`, with the heads of the first.

    `weights`: one for each, in any unit. `keep`: the share of the mean beside the base's 1 - `keep`. Raises
    SettingsError for weights that are no weights, CheckpointError for adapters of other layers or another
    rank than the first, or damaged ones, and OSError.
    """
    if len(weights) != len(folders):
        raise SettingsError(f"{len(weights)} weights for {len(folders)} adapters; give one for each")
    total = sum(weights)
    if not (all(math.isfinite(w) and w >= 0 for w in weights) and total > 0):
        raise SettingsError("weights are 0 or more, and one of them is more than 0")
    if not 0 < keep <= 1:
        raise SettingsError(f"keep={keep}: use more than 0, up to 1")
    settings = read_json(folders[0] / CONFIG)
    mean: dict[str, torch.Tensor] = {}
    for folder, weight in zip(folders, weights, strict=True):
        tensors = read_tensors(folder / WEIGHTS)
        same = {name: p.shape for name, p in tensors.items()} == {name: p.shape for name, p in mean.items()}
        if mean and not (same and read_json(folder / CONFIG).get("lora_alpha") == settings.get("lora_alpha")):
            raise CheckpointError(
                f"{folder}: other layers, another rank or alpha than {folders[0]}; give runs of one lineage"
            )
        for name, p in tensors.items():
            mean[name] = mean.get(name, 0) + p.double() * (weight / total)
    mean = {name: (p * keep if ".lora_B." in name else p).to(dtype).contiguous() for name, p in mean.items()}
    write_adapter(out, mean, read_tensors(folders[0] / HEADS_FILE), settings)
