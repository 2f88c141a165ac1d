"""A parser that has learnt a made-up treebank by heart, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

from convai.__main__ import main
from tests.coref.treebanks import write_treebank


@pytest.fixture(scope="session")
def parser_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parser")
    treebank, entities = write_treebank(folder, copies=40)
    options = "--epochs 5 --width 16 --depth 2 --rows 200 50 50 50 --hidden 16 --batch-words 80 --lower 0.1"
    argv = [
        "coref",
        "parser",
        "train",
        str(treebank),
        "--entities",
        str(entities),
        "--out",
        str(folder / "p"),
    ]
    assert main([*argv, *options.split(), "--warmup-steps", "5", "--learning-rate", "0.02"]) == 0
    return folder / "p"
