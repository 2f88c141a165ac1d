"""The teacher of a run: the model folder that it is read from, and that a resumed run must find unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convai.conversation.agent import load_agent
from convai.core.errors import CheckpointError, DataError, TrainingError
from convai.core.settings import TrainConfig
from convai.model.checkpoint import WEIGHTS
from convai.model.double_heads import DoubleHeadsModel
from convai.model.folder import model_folder
from convai.text.tokenizer import Tokenizer
from convai.training.corpus import file_digest
from convai.training.distillation import Distiller


@dataclass(frozen=True, slots=True)
class Teacher:
    """A double-heads model tuned for dialogue, its vocabulary, and the folder with both."""

    folder: Path
    model: DoubleHeadsModel
    tokenizer: Tokenizer

    @classmethod
    def load(cls, name: str) -> Teacher:
        """The teacher in a folder, or an embedded model. Raises CheckpointError as `load_agent` does."""
        agent = load_agent(name)
        return cls(model_folder(name), agent.model, agent.tokenizer)

    def describe(self) -> dict[str, Any]:
        """The teacher as run.json keeps it."""
        return {"path": str(self.folder), "sha256": self._digest(self.folder)}

    @classmethod
    def from_description(cls, values: dict[str, Any]) -> Teacher:
        """The teacher of a run that goes on. Raises DataError where it is gone or has changed."""
        folder = Path(values["path"])
        if not folder.is_dir():
            raise DataError(f"{folder}: the run's teacher is gone; put it back to resume")
        teacher = cls.load(str(folder))
        if cls._digest(folder) != values["sha256"]:
            raise DataError(f"{folder}: the teacher has changed since the run began; put the old one back")
        return teacher

    @staticmethod
    def _digest(folder: Path) -> str:
        path = folder / WEIGHTS
        if not path.is_file():
            raise CheckpointError(f"{path}: missing; `convai models export` writes it from older weights")
        return file_digest(path)

    def distiller(self, student: DoubleHeadsModel, tokenizer: Tokenizer, config: TrainConfig) -> Distiller:
        """What teaches `student`. Raises TrainingError where the two have other vocabularies."""
        if tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise TrainingError(
                f"{self.folder}: the teacher's vocabulary ({self.tokenizer.vocab_size} tokens) is not the "
                f"student's ({tokenizer.vocab_size}); distil between models of one tokenizer, or into a "
                "fresh one (--config), which takes the teacher's"
            )
        return Distiller(self.model, student, config, tokenizer.pad_id)
