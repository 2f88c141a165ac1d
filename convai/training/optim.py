"""Optimizers: which parameter is stepped by which, and at what rate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from convai.core.settings import TrainConfig
from convai.training import apex
from convai.training.rates import depth, n_blocks


class Optimizers:
    """AdamW, and Muon beside it where asked for; stepped, scheduled and saved as one.

    Muon (Jordan et al. 2024) orthogonalises the momentum of the blocks' matrices; embeddings, norms,
    biases and the next-sentence head stay with AdamW (Loshchilov & Hutter 2019). With `layer_decay` each
    layer's peak rate is that many times smaller than the next one's (Howard & Ruder 2018, arXiv 1801.06146,
    §3.2), whichever of the two steps it. Parameters that need no gradient now are left out for good; those
    that lose it later (convai.training.unfreezing) are skipped while they have none.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.config = config
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        blocks = n_blocks(name for name, _ in model.named_parameters())
        # one group a depth, or one in all where the depth makes no difference; the decayed ones first
        decayed: dict[int, list[Tensor]] = {0: []}
        plain: dict[int, list[Tensor]] = {0: []}
        matrices: dict[int, list[Tensor]] = {}
        for name, p in named:
            if p.dim() < 2:
                kind = plain
            elif config.optimizer == "muon" and ".h." in name:
                kind = matrices
            else:
                kind = decayed
            kind.setdefault(0 if config.layer_decay == 1 else depth(name, blocks), []).append(p)
        adamw = _adamw(
            [
                *({"params": ps, "weight_decay": config.weight_decay} for ps in decayed.values()),
                *({"params": ps, "weight_decay": 0.0} for ps in plain.values()),
            ],
            config,
        )
        self.parts: list[tuple[torch.optim.Optimizer, list[float]]] = [
            (adamw, [self._peak(config.lr, below) for below in (*decayed, *plain)])
        ]
        """Each optimizer with its groups' peak rates."""
        if matrices:
            # Scaled to the size of AdamW's updates (Liu et al. 2025, arXiv 2502.16982, §2.2). The other rule
            # looks at out / in, and our matrices are stored [in, out].
            muon = torch.optim.Muon(
                [{"params": ps} for ps in matrices.values()],
                lr=config.muon_lr,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
            self.parts.append((muon, [self._peak(config.muon_lr, below) for below in matrices]))
        self.parameters: list[Tensor] = [
            p for kind in (decayed, plain, matrices) for ps in kind.values() for p in ps
        ]
        self.set_rate(1.0)

    def _peak(self, rate: float, below: int) -> float:
        return rate * self.config.layer_decay**-below

    def add(self, parameters: Iterable[nn.Parameter]) -> None:
        """Step `parameters` too, with AdamW: what a loss learns beside the model."""
        more = list(parameters)
        if more:
            adamw, peaks = self.parts[0]
            adamw.add_param_group({"params": more, "weight_decay": self.config.weight_decay})
            peaks.append(self.config.lr)
            self.parameters += more

    def set_rate(self, factor: float) -> None:
        """Set every learning rate to `factor` times its peak."""
        for optimizer, peaks in self.parts:
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor

    def clip(self, max_norm: float) -> Tensor:
        """Clip the joint gradient to `max_norm`; return its norm before (not finite: a broken step)."""
        return torch.nn.utils.clip_grad_norm_(self.parameters, max_norm, foreach=True)

    def step(self) -> None:
        for optimizer, _ in self.parts:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer, _ in self.parts:
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer, _ in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for (optimizer, _), state in zip(self.parts, states, strict=True):
            optimizer.load_state_dict(state)


def _adamw(groups: list[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    """Decoupled weight decay, every parameter in one kernel: torch's, or apex' where that is asked for."""
    if config.apex_adam:
        adamw: torch.optim.Optimizer = apex.made(
            apex.fused_adam(), "--apex-adam", groups, lr=config.lr, betas=config.betas, adam_w_mode=True
        )
        return adamw
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True)
