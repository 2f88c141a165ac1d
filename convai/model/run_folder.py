"""The folder of a training run: its description, its state, its log. Nothing in it is half-written.

OUT/run.json                the run: settings, data (paths and digests), model shape
OUT/log.jsonl               a line a logged step, or epoch
OUT/config.json, ...        the finished model, or the best so far: what `--model OUT` loads

Dialogue models, whose runs are long, keep a folder a checkpoint; emotion and coreference, which keep the best
model beside the run, one state that each epoch replaces:

OUT/checkpoints/step-00001200/   model, tokenizer and training.pt (optimizer, random state)
OUT/training.pt                  weights, optimizer, what else resuming needs
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import torch

from convai.core.errors import CheckpointError, TrainingError
from convai.core.files import atomic_write, read_json, write_json

RUN: Final = "run.json"
LOG: Final = "log.jsonl"
STATE: Final = "training.pt"
CHECKPOINTS: Final = "checkpoints"


@contextmanager
def saving(folder: Path) -> Iterator[None]:
    """Turn the operating system's complaint about a write into one clear line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = getattr(error, "errno", None)
        full = code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        if not full and not isinstance(error, OSError) and "write" not in str(error):
            raise
        mend = "free some space" if full else "check the folder"
        raise TrainingError(
            f"{folder}: cannot save ({error}); the last checkpoint is intact: {mend} and go on with "
            f"--resume {folder}"
        ) from error


class RunFolder:
    """State that is complete or absent, and the log that belongs to it."""

    def __init__(self, path: Path, keep: int = 2) -> None:
        self.path = path
        self.keep = keep

    def check_unused(self) -> None:
        """Raise TrainingError when the folder holds a run already."""
        if (self.path / RUN).exists():
            raise TrainingError(
                f"{self.path}: holds a run already; go on with --resume {self.path}, or choose another --out"
            )

    def start(self, description: dict[str, Any]) -> None:
        """Begin a new run here. Raises TrainingError when the folder already holds one."""
        self.check_unused()
        self.describe(description)

    def describe(self, description: dict[str, Any]) -> None:
        """Write what the run is, in the place of what stood there."""
        with saving(self.path):
            write_json(self.path / RUN, description)

    def description(self) -> dict[str, Any]:
        """What the run is. Raises CheckpointError where there is none."""
        if not (self.path / RUN).exists():
            raise CheckpointError(
                f"{self.path}: no training run here ({RUN} is missing); give the --out folder of one"
            )
        return read_json(self.path / RUN)

    # -- checkpoints -------------------------------------------------------------------------------

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(p for p in (self.path / CHECKPOINTS).glob("step-*") if p.suffix != ".part")

    def save(self, step: int, state: dict[str, Any], save_model: Any) -> Path:
        """Save a checkpoint aside and rename it when it is complete; then drop the oldest.

        `save_model(folder)` writes model and tokenizer; `state` is what resuming needs besides.
        """
        final = self.path / CHECKPOINTS / f"step-{step:08d}"
        part = final.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        with saving(self.path):
            try:
                part.mkdir(parents=True)
                save_model(part)
                torch.save(state, part / STATE)
                if final.exists():
                    shutil.rmtree(final)
                part.rename(final)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
        for old in self.checkpoints()[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)
        return final

    def load_state(self, checkpoint: Path) -> dict[str, Any]:
        """The training state of `checkpoint`, read by torch's weights-only loader, which runs no code."""
        try:
            state = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds here, all of them a bad file
            reason = str(error).splitlines()[0]
            raise CheckpointError(
                f"{checkpoint / STATE}: damaged or cut short ({reason}); delete {checkpoint} and resume "
                "from the one before"
            ) from None
        if not isinstance(state, dict) or "step" not in state:
            raise CheckpointError(
                f"{checkpoint / STATE}: not a training state; delete {checkpoint} and resume"
            )
        return state

    # -- one state, replaced by every epoch ----------------------------------------------------------

    def save_state(self, state: dict[str, Any]) -> None:
        """Put the state in the place of the one before."""
        with saving(self.path):
            atomic_write(self.path / STATE, lambda path: torch.save(state, path))

    def restore(self, load: Callable[[dict[str, Any]], int]) -> None:
        """Hand the state, where there is one, to `load`, which returns the epochs done; cut the log to them.

        Raises CheckpointError for a state that is damaged or does not fit.
        """
        path = self.path / STATE
        if not path.exists():
            return
        try:
            done = load(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises many kinds here, all of them a bad file
            raise CheckpointError(
                f"{path}: damaged, or of other data ({type(error).__name__}); start the run again"
            ) from None
        self.rewind(done, "epoch")

    # -- log ---------------------------------------------------------------------------------------

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to the log."""
        with saving(self.path), (self.path / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def records(self) -> list[dict[str, Any]]:
        """All complete lines of the log (a killed run may leave half a line at the end)."""
        path = self.path / LOG
        records = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def rewind(self, done: int, unit: Literal["step", "epoch"] = "step") -> None:
        """Drop what was logged after step, or epoch, number `done`, before going on from there."""
        kept = "".join(json.dumps(r) + "\n" for r in self.records() if r.get(unit, 0) <= done)
        with saving(self.path):
            atomic_write(self.path / LOG, lambda part: part.write_text(kept, encoding="utf-8"))
